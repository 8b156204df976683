"""Networks of the field: their integer graphs against Brevitas, and whole flows of four of them.

    python -m tests.regress_networks [--only codes|flows] [--save FOLDER] [NAME ...]

Codes: TFC, SFC, LFC and CNV of every width, and the ResNet-18, as the classes that Brevitas ships
make them, of random weights and settled scales; every code of some images.

Flows, where HASCODESIGN_DATA names the data: each of ``FLOWS`` is trained by
flows/training/train.py and runs the whole flow with 8 of 16 PEs faulty, two images through the
whole accelerator. A line says its held-out accuracies and what was compared.

Exit code 1 where a code or an integer differs or a network is refused. With ``--save`` what has
been trained, and every step of a flow that has been done, is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brevitas_examples.bnn_pynq.models import model_with_cfg
from torch import nn

from hascodesign.contract.errors import HascodesignError
from hascodesign.contract.types import Dataset, Equivalence, Split, frozen
from hascodesign.flow.config import board_config
from hascodesign.models.equivalence import compare, require_equal
from hascodesign.models.idx import read_idx
from hascodesign.models.integer import integerise
from hascodesign.models.load import quantised_images
from tests.model_cases import settle

NAMES = (
    *(f"{kind}_{width}" for kind in ("tfc", "sfc", "cnv") for width in ("1w1a", "1w2a", "2w2a")),
    *("lfc_1w1a", "lfc_1w2a", "resnet18_4w4a"),
)
TRAINING = Path(__file__).parent.parent / "flows" / "training"
HELD = 500  # test images that are the held-out ones of a flow
FAULTY = 8  # PEs of 16
IMAGES = 2  # through the whole accelerator


@dataclass(frozen=True)
class Trained:
    """A network that is trained, and runs the whole flow."""

    data: str  # folder below HASCODESIGN_DATA
    images: int  # that it is trained on
    calibration: int  # of them, that the search may look at
    epochs: int
    board: str
    simulator: str


FLOWS = {
    "tfc_2w2a": Trained("mnist-t10k", 8000, 2000, 3, "pynq-z2", "icarus"),
    "separable": Trained("cifar10-small", 10_000, 1000, 12, "zcu104", "verilator"),
    "resnet8": Trained("cifar10-small", 10_000, 1000, 3, "zcu104", "verilator"),
    "cnv_1w1a": Trained("cifar10-small", 2000, 1000, 1, "zcu104", "verilator"),
}


def checked(name: str) -> Equivalence:
    """How a network's integer graph was held against it."""
    model: nn.Module = model_with_cfg(name, pretrained=False)[0]
    shape = (3, 32, 32) if name.startswith(("cnv", "resnet")) else (1, 28, 28)
    settle(model, shape)
    count = 8 if shape[0] == 3 else 60
    bytes_ = np.random.default_rng(1).integers(0, 256, (count, *shape))
    split = Split(frozen(bytes_ / 255, np.float32), frozen(np.arange(count) % 10))
    model = quantised_images(model, Dataset(name, split, split))
    found = compare(model, integerise(model, name, shape), split)
    require_equal(found)
    return found


def codes(name: str) -> str:
    """What the comparison of codes showed, in words."""
    found = checked(name)
    return f"{sum(found.compared):,} codes, 0 differ, {sum(found.ties)} on a step"


# ------------------------------------------------------------------------------------------- flows


def images(run: Trained) -> dict[str, np.ndarray[Any, Any]]:
    """Train and test images and labels, bytes."""
    folder = Path(os.environ["HASCODESIGN_DATA"]) / run.data
    if run.data.startswith("mnist"):
        digits = read_idx(folder / "t10k-images-idx3-ubyte.gz", 3)[:, None]
        labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz", 1)
        held = slice(run.images, run.images + HELD)
        return {
            "train_images": digits[: run.images], "train_labels": labels[: run.images],
            "test_images": digits[held], "test_labels": labels[held],
        }  # fmt: skip
    with np.load(folder / f"{run.data}.npz") as file:
        most = {"train": run.images, "test": HELD}
        return {
            f"{part}_{what}": file[f"{part}_{what}"][:count]
            for part, count in most.items()
            for what in ("images", "labels")
        }


def command(words: list[str]) -> None:
    """Run a program of Python; what it says goes where this one's does."""
    done = subprocess.run([sys.executable, *words], check=False)
    if done.returncode:
        raise HascodesignError(f"exit code {done.returncode}: {' '.join(words)}")


def trained(name: str, work: Path) -> tuple[Path, Path]:
    """Checkpoint and data of a network, trained where that has not been done."""
    run, out = FLOWS[name], work / name
    made = (out / "net.pth", out / "images.npz")
    if not all(path.is_file() for path in made):
        out.mkdir(parents=True, exist_ok=True)
        np.savez(out / "data.npz", **images(run))
        options = ["--data", str(out / "data.npz"), "--epochs", str(run.epochs)]
        options += ["--calibration", str(run.calibration)]
        command([str(TRAINING / "train.py"), name, *options, "--out", str(out)])
    return made


def flow_file(board: str, work: Path) -> Path:
    """The board's own flow file with 8 PEs faulty; few random maps are judged beside the search."""
    text = board_config(board).read_text("utf-8")
    path = work / f"{board}.toml"
    before, after = text.split("faulty_pes = 4")
    path.write_text(f"{before}faulty_pes = {FAULTY}{after}\n[schedule]\nrandom_maps = 2\n", "utf-8")
    return path


def whole(name: str, work: Path) -> str:
    """What the whole flow of a network showed, in words."""
    run, out = FLOWS[name], work / name / "flow"
    checkpoint, data = trained(name, work)
    command(
        [
            *("-m", "hascodesign", "flow", "--config", str(flow_file(run.board, work))),
            *("--model", f"{TRAINING / 'networks.py'}:{name}", "--checkpoint", str(checkpoint)),
            *("--data", str(data), "--simulator", run.simulator),
            *("--core-images", str(IMAGES), "--out", str(out)),
        ]
    )
    return told(json.loads((out / "report.json").read_text("utf-8")))


def told(report: dict[str, Any]) -> str:
    """Accuracies and what was compared; a flow that compared too little is an error."""
    layers, runs = report["verification"]["layers"], report["core"]["runs"]
    compared = sum(layer["compared"] for layer in report["equivalence"]["layers"])
    differ = report["equivalence"]["differences"] + report["verification"]["mismatches"]
    outputs = sum(layer["outputs"] for layer in layers)
    inside = sum(run["outputs"] for run in runs)
    if differ or not (compared and outputs and inside):
        raise HascodesignError(f"{differ} of {compared}, {outputs} and {inside} integers differ")
    if [run["images"] for run in runs] != [IMAGES, IMAGES]:
        raise HascodesignError(f"{IMAGES} whole images must have run healthy and faulty")
    names = {"healthy": "integer", "plain": "faulty_identity", "scheduled": "scheduled"}
    shares = []
    for words, key in names.items():
        found = report["accuracy"][key]
        low, high = found["ci95"]
        shares.append(f"{words} {found['value']:.2f} % ({low:.1f} to {high:.1f})")
    return (
        f"{', '.join(shares)} of {report['data']['heldout']:,} held-out images;"
        f" 0 of {compared:,} codes, {outputs:,} integers of layers and {inside:,} of"
        f" {IMAGES} whole images differ, {runs[-1]['image_cycles']:,} cycles an image"
        f" ({report['verification']['simulator']})"
    )


def main() -> int:
    """Every network, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--only", choices=("codes", "flows"))
    parser.add_argument("--save", type=Path, help="folder that keeps what the flows made")
    given = parser.parse_args()
    torch.manual_seed(0)
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        work = given.save or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        jobs = [("codes", name) for name in NAMES]
        if "HASCODESIGN_DATA" in os.environ:
            jobs += [("flows", name) for name in FLOWS]
        for what, name in jobs:
            if given.only not in {None, what} or (given.names and name not in given.names):
                continue
            start = sum(os.times()[:4])  # of this process and of those that it has run
            try:
                said = codes(name) if what == "codes" else whole(name, work)
            except HascodesignError as error:
                failed, said = 1, str(error)
            print(f"{name}, {what}: {said}, {sum(os.times()[:4]) - start:.0f} s CPU", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
