"""Images for has_core, and what every layer is to give for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from streams import IntArray, pack

Beat = tuple[int, int]  # data, last


@dataclass(frozen=True, slots=True)
class ImageJob:
    """Images, and what every layer is to give for them."""

    codes: IntArray  # [n, elements] input codes
    acc: dict[int, IntArray]  # by layer [R, n * positions]
    out: dict[int, IntArray]  # by layer, codes; of the last ACC + bias
    pools: dict[int, IntArray]  # by stage [n, elements] pooled codes
    signed: dict[str, bool]  # "layer0" or "pool1": output codes are two's complement
    external: dict[int, dict[str, IntArray]]  # by layer: weights, slots, k_order
    batch: int = 1  # images for which streamed weights come once
    shared: range = range(0)  # layers that run once for all of a batch

    @staticmethod
    def read(path: Path) -> ImageJob:
        """One job file."""
        with np.load(path, allow_pickle=False) as file:
            data = {key: file[key].astype(np.int64) for key in file.files}

        def numbered(prefix: str) -> dict[int, IntArray]:
            return {int(k[len(prefix) :]): v for k, v in data.items() if k.startswith(prefix)}

        parts = {name: numbered(f"{name}_") for name in ("weights", "slots", "order")}
        external = {
            layer: {name: part[layer] for name, part in parts.items()} for layer in parts["weights"]
        }
        batch, *shared = data["batch"].tolist() if "batch" in data else (1, 0, 0)
        flags = {k[7:]: bool(v) for k, v in data.items() if k.startswith("signed_")}
        return ImageJob(
            data["codes"], numbered("acc_"), numbered("out_"), numbered("pool_"), flags, external,
            batch, range(*shared),
        )  # fmt: skip

    @property
    def logits(self) -> IntArray:
        """[n, classes]."""
        return self.out[max(self.out)].T

    def image_beats(
        self, simd: int, bits: int, images: Iterable[int] | None = None
    ) -> Iterator[Beat]:
        """Beats of images, all by default, back to back."""
        for image in range(len(self.codes)) if images is None else images:
            yield from with_last(image_words(self.codes[image], simd, bits))

    def weight_beats(self, bits: int) -> Iterator[Beat]:
        """Beats of one image's external weights: layer by layer, pass by pass."""
        for layer in sorted(self.external):
            part = self.external[layer]
            padded = np.pad(part["weights"], ((0, 1), (0, 1)))
            for slots in part["slots"]:
                words = padded[slots[None, :, None], part["order"][:, None, :]]  # [T, P, S]
                yield from with_last(pack(words.reshape(len(words), -1), bits))


def image_words(codes: IntArray, simd: int, bits: int) -> list[int]:
    """One image as words of ``simd`` codes, code 0 beyond its end."""
    return pack(np.pad(codes, (0, -len(codes) % simd)).reshape(-1, simd), bits)


def with_last(words: list[int]) -> Iterator[Beat]:
    """Beats of a packet."""
    return ((word, int(place == len(words) - 1)) for place, word in enumerate(words))
