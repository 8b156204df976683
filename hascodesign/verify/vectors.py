"""Vector files: what a layer was fed and what it gave, enough for a stranger to check it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import FaultProfile, IntArray, MultiplyLayer, RowMap
from hascodesign.engine import reference

KEYS = (
    "weights",
    "activations",
    "act_signed",
    "k_order",
    "slots",
    "wmem_base",
    "layer_index",
    "columns",
    "acc",
    "codes",
)
STAMP = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip file can hold: same content, same bytes


@dataclass(frozen=True, slots=True)
class Vectors:
    """One layer of one run at the verified columns."""

    layer: MultiplyLayer
    row_map: RowMap
    order: IntArray  # [T, S] K index per step and multiplier, -1 for padding
    wmem_base: int
    columns: IntArray  # [N] column counters of the run
    activations: IntArray  # X [K, N]
    acc: IntArray  # [R, N]
    codes: IntArray  # [R, N]; for the last layer ACC + bias

    def arrays(self, acc: IntArray, codes: IntArray) -> dict[str, NDArray[np.generic]]:
        """Contents of the vector file that reports ``acc`` and ``codes`` [R, N]."""
        narrow = np.int32  # weights and activations have at most 8 bits; products may be summed
        return {
            "weights": self.layer.weights.astype(narrow),
            **self._preload,
            "activations": self.activations.astype(narrow),
            "act_signed": np.array(self.layer.in_signed),
            "k_order": self.order.astype(np.int64),
            "slots": self.row_map.slots.astype(np.int64),
            "wmem_base": np.array(self.wmem_base, dtype=np.int64),
            "layer_index": np.array(self.layer.index, dtype=np.int64),
            "columns": self.columns.astype(np.int64),
            "acc": acc.astype(np.int64),
            "codes": codes.astype(np.int64),
        }

    @property
    def _preload(self) -> dict[str, NDArray[np.generic]]:
        """``preload`` [R], where the array is built with it."""
        preload = self.layer.preload
        return {} if preload is None else {"preload": preload.astype(np.int64)}

    def bench_file(self) -> bytes:
        """Input of the test bench: the expected values stand for acc and codes, plus the bias."""
        content = self.arrays(self.acc, self.codes)
        return npz({**content, "bias": self.layer.bias.astype(np.int64)}, zipfile.ZIP_STORED)

    def result_file(self, acc: IntArray, codes: IntArray) -> bytes:
        """The vector file of a run that gave ``acc`` and ``codes``."""
        return npz(self.arrays(acc, codes))


def npz(
    arrays: Mapping[str, NDArray[np.generic]], compression: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """Bytes of an npz file, the same for the same arrays."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, values in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", STAMP)
            entry.compress_type = compression
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(values), allow_pickle=False)
            archive.writestr(entry, content.getvalue())
    return packed.getvalue()


def check_vectors(content: bytes, profile: FaultProfile) -> int:
    """Accumulators of a vector file that the step-by-step reference does not agree with.

    Parameters
    ----------
    content : bytes of a vector file.
    profile : the faults of its run; for a healthy run the array without faults.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        data = {key: file[key] for key in KEYS}
        preload = file["preload"].astype(np.int64) if "preload" in file else None
    rows = len(data["weights"])
    layer = MultiplyLayer(
        name="vectors",
        index=int(data["layer_index"]),
        weights=data["weights"].astype(np.int64),
        bias=np.zeros(rows, dtype=np.int64),
        weight_bits=profile.array.weight_bits,
        in_bits=profile.array.act_bits,
        in_signed=bool(data["act_signed"]),
        conv=None,
        output=None,
        out_bits=0,
        out_signed=True,
        preload=preload,
    )
    acc = reference.accumulate(
        profile,
        layer,
        RowMap(layer.name, rows, data["slots"]),
        data["activations"].astype(np.int64),
        layer_index=layer.index,
        wmem_base=int(data["wmem_base"]),
        columns=data["columns"],
        order=data["k_order"],
    )
    return int(np.count_nonzero(acc != data["acc"]))
