"""Train a network for this flow, and write its checkpoint and the data it is judged on.

    python flows/training/train.py digits --out build/digits
    python flows/training/train.py resnet8 --data cifar10-small.npz --out build/resnet8

Writes ``net.pth`` and ``images.npz``, and prints the command of the flow. The images of digits come
with scikit-learn; other data is an ``.npz`` with ``train_images`` and ``test_images`` [n, channels,
height, width], uint8, and ``train_labels`` and ``test_labels``: 32 x 32 colour images, for tfc_2w2a
28 x 28 digits. The test images stay unseen here
and are the held-out ones of the flow. The same seed and torch give the same network.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import networks  # the file beside this one
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH = 64
DIGITS_HELD = 3  # every third digit is held out
#: What each network is trained on, and the epochs that it is by default.
KINDS = {
    "digits": ("8 x 8 digits", 30),
    "tfc_2w2a": ("28 x 28 digits", 30),
    "resnet8": ("32 x 32 colour images", 12),
    "separable": ("32 x 32 colour images", 12),
    "cnv_1w1a": ("32 x 32 colour images", 12),
}


def split(name: str, data: Path | None) -> dict[str, np.ndarray[Any, Any]]:
    """Images in the range of their quantiser, and labels: train and test."""
    if name == "digits":
        from sklearn.datasets import load_digits  # noqa: PLC0415  (for this one alone)

        images, labels = load_digits(return_X_y=True)
        images = images.reshape(-1, 1, 8, 8).astype(np.float32)
        held = np.arange(len(labels)) % DIGITS_HELD == 0
        return {
            "train_images": images[~held], "train_labels": labels[~held],
            "test_images": images[held], "test_labels": labels[held],
        }  # fmt: skip
    if data is None:
        raise SystemExit(f"{name} must have --data, an .npz of {KINDS[name][0]}")
    with np.load(data) as held_in:
        given = {key: held_in[key] for key in held_in.files if key.startswith(("train_", "test_"))}
    for part in ("train_images", "test_images"):
        if given[part].dtype != np.uint8:
            raise SystemExit(f"{data}: {part} must be uint8, not {given[part].dtype}")
        given[part] = given[part].astype(np.float32) / 255
    return given


def augmented(images: Tensor, most: int) -> Tensor:
    """A batch moved by up to ``most`` pixels, half of it mirrored where ``most`` is not 0."""
    if not most:
        return images
    down, right = (int(n) for n in torch.randint(0, 2 * most + 1, (2,)))
    height, width = images.shape[2:]
    moved = functional.pad(images, (most,) * 4)[:, :, down : down + height, right : right + width]
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, moved.flip(3), moved)


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, shift: int) -> None:
    """AdamW and one cycle of rates."""
    steps = epochs * -(-len(labels) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-3)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    start = time.process_time()
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for chosen in torch.split(torch.randperm(len(labels)), BATCH):
            logits = model(augmented(images[chosen], shift))
            loss = functional.cross_entropy(logits, labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rates.step()
            total += float(loss.detach()) * len(chosen)
        spent = time.process_time() - start
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(labels):.3f}, {spent:.0f} s CPU")


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of correct answers."""
    model.eval()
    found = [model(batch).argmax(dim=1) for batch in torch.split(images, 250)]
    return float((torch.cat(found) == labels).double().mean())


def main() -> None:
    """Train, write, and say what to run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=list(KINDS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=0, help="0 = 30, of colour images 12")
    parser.add_argument(
        "--calibration", type=int, default=2000, help="images trained on that the search looks at"
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = split(given.network, given.data)
    torch.manual_seed(given.seed)
    torch.set_num_threads(1)  # sums over threads round as many ways as there are threads
    model = getattr(networks, given.network)()
    kind, epochs = KINDS[given.network]
    tensors = {key: torch.from_numpy(values) for key, values in data.items()}
    train(
        model,
        tensors["train_images"],
        tensors["train_labels"].long(),
        given.epochs or epochs,
        2 if "colour" in kind else 0,
    )
    share = accuracy(model, tensors["test_images"], tensors["test_labels"].long())
    given.out.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), given.out / "net.pth")
    np.savez_compressed(
        given.out / "images.npz",
        images=data["train_images"][: given.calibration],
        labels=data["train_labels"][: given.calibration],
        heldout_images=data["test_images"],
        heldout_labels=data["test_labels"],
    )
    file = Path(networks.__file__ or "networks.py")
    print(f"{given.network}: {100 * share:.2f} % of {len(data['test_labels'])} test images")
    print(
        f"hascodesign flow --board pynq-z2 --model {file}:{given.network}"
        f" --checkpoint {given.out / 'net.pth'} --data {given.out / 'images.npz'}"
    )


if __name__ == "__main__":
    main()
