"""A whole network on the faulty array: its logits, its loss, its every layer.

Rows are kept by what they depend on: the layer, the content of its input, the row and the class of
its slot. Two schedules that differ only in which healthy PE a row stands on are one evaluation,
and a layer whose input has the same content as before is not computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.arithmetic import LayerTrace, max_pool
from hascodesign.contract.array import identity_schedule, wmem_bases
from hascodesign.contract.types import (
    FaultProfile,
    IntArray,
    IntegerNetwork,
    RowMap,
    Schedule,
)
from hascodesign.engine import gemm
from hascodesign.engine.cache import ByteLru
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.loss import Judgement, judge
from hascodesign.engine.planes import Block, Planes, blocks_of, leading_pools, planes_of
from hascodesign.engine.rows import compute
from hascodesign.engine.slots import pe_faults

ENTRY_BYTES = 510  # what an entry takes besides its array, by tracemalloc


@dataclass(frozen=True, slots=True)
class Assignment:
    """One layer on the array, and the class of the slot of each of its rows."""

    on_array: LayerOnArray
    classes: IntArray  # [R]

    def keys(self) -> list[bytes]:
        """Key of each row's class."""
        known = self.on_array.classes
        return [known[c].key for c in self.classes.tolist()]


@dataclass(frozen=True, slots=True)
class Row:
    """One output channel over all images, and a digest of it."""

    values: NDArray[Any]  # uint8 [height, width, images] after pooling; last layer int64 [images]
    token: bytes


class Evaluator:
    """Judges schedules of one network on one profile, on one set of images.

    Results are the same to the bit in any order, with any cache size and any number of threads.

    Parameters
    ----------
    network : the network.
    profile : a profile that has been checked.
    codes : [n, height, width, channels] input codes.
    labels : [n] classes.
    cache_bytes : bound on the rows kept between judgements; 0 keeps none.
    device : a torch device that rows are computed on, "cuda" where there is a GPU; None takes the
        kernels for this processor.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        profile: FaultProfile,
        codes: NDArray[Any],
        labels: IntArray,
        *,
        cache_bytes: int = 512 << 20,
        device: str | None = None,
    ) -> None:
        self.device = device
        self.network = network
        self.profile = profile
        self.codes = codes
        self.labels = labels
        self.blocks = blocks_of(network)
        maps = codes
        for pool in leading_pools(network.stages):
            maps = max_pool(pool, maps)
        self.planes = planes_of(maps)
        self._faults = pe_faults(profile)
        self._banks_matter = any(fault.site == "wmem" for fault in profile.faults)
        self._on_arrays: dict[tuple[int, int, int], LayerOnArray] = {}
        self._rows: ByteLru[Row] = ByteLru(cache_bytes)

    @property
    def cached_bytes(self) -> int:
        """Bytes kept between judgements."""
        return self._rows.held

    def judge(self, schedule: Schedule) -> Judgement:
        """Loss and correct answers of the network under a schedule."""
        return judge(self.logits(schedule), self.labels, self.network.logit_scale)

    def judge_many(self, schedules: Sequence[Schedule]) -> list[Judgement]:
        """`judge` of each; those that share their first layers are judged one after another."""
        prints = [b"".join(b"".join(a.keys()) for a in self.assignments(s)) for s in schedules]
        judged: dict[bytes, Judgement] = {}
        for place in sorted(range(len(schedules)), key=lambda i: prints[i]):
            if prints[place] not in judged:
                judged[prints[place]] = self.judge(schedules[place])
        return [judged[one] for one in prints]

    def judge_once(self, schedules: Sequence[Schedule]) -> list[Judgement]:
        """`judge` of each, of schedules that no later one resembles: less is kept, and sooner done.

        Only rows of the first layer are kept, whose input is the same for every schedule.
        """
        found = []
        for schedule in schedules:
            logits = self._run_once(self.assignments(schedule))
            found.append(judge(logits, self.labels, self.network.logit_scale))
        return found

    def healthy_judgement(self) -> Judgement:
        """The same network on an array without faults."""
        return judge(self.run(self.healthy()), self.labels, self.network.logit_scale)

    def logits(self, schedule: Schedule) -> IntArray:
        """[n, classes] integer logits, ACC + bias of the last layer."""
        return self.run(self.assignments(schedule))

    def trace(self, schedule: Schedule) -> Iterator[LayerTrace]:
        """Every multiply layer in turn: what it took and gave."""
        return gemm.trace(self.network, schedule, self.profile, self.codes)

    # --------------------------------------------------------------------------- assignments

    def assignments(self, schedule: Schedule) -> list[Assignment]:
        """What a schedule comes to: a class for each row of each layer."""
        bases = wmem_bases(self.network, schedule)
        return [
            self._assignment(block, row_map.passes, base, row_map)
            for block, row_map, base in zip(self.blocks, schedule.layers, bases, strict=True)
        ]

    def healthy(self) -> list[Assignment]:
        """Every row on a healthy slot."""
        plain = self.assignments(identity_schedule(self.network, self.profile.array))
        return [Assignment(a.on_array, np.full_like(a.classes, HEALTHY)) for a in plain]

    def _assignment(self, block: Block, passes: int, base: int, row_map: RowMap) -> Assignment:
        index = block.layer.index
        if not self._banks_matter:
            base = 0  # one object for every place in the banks
        key = (index, passes, base)
        if key not in self._on_arrays:
            same = [one for (layer, *_), one in self._on_arrays.items() if layer == index]
            self._on_arrays[key] = LayerOnArray(
                self.profile,
                self._faults,
                block.layer,
                passes=passes,
                base=base,
                layer_index=index,
                taken=block.taken,
                like=same[0] if same else None,
            )
        on_array = self._on_arrays[key]
        return Assignment(on_array, on_array.classes_of(row_map))

    # -------------------------------------------------------------------------------- rows

    def run(self, assignments: Sequence[Assignment]) -> IntArray:
        """[n, classes] integer logits."""
        token = b"input"
        source = self._input
        rows: list[Row] = []
        for block, assignment in zip(self.blocks, assignments, strict=True):
            rows = self._layer(block, assignment, token, source)
            token = _digest(b"".join(row.token for row in rows))
            source = _stack(rows)
        return np.ascontiguousarray(np.stack([row.values for row in rows], axis=1))

    def _run_once(self, assignments: Sequence[Assignment]) -> IntArray:
        """As `run`, without digests and kept rows after the first layer."""
        values = _stack(self._layer(self.blocks[0], assignments[0], b"input", self._input))()
        for block, assignment in zip(self.blocks[1:], assignments[1:], strict=True):
            rows = np.arange(block.layer.rows)
            values = self._compute(block, assignment.on_array, rows, assignment.classes, values)
        return np.ascontiguousarray(values.T)

    def _input(self) -> Planes:
        return self.planes

    def _layer(
        self, block: Block, assignment: Assignment, token: bytes, source: Callable[[], Planes]
    ) -> list[Row]:
        index = block.layer.index
        keys = [(index, token, r, key) for r, key in enumerate(assignment.keys())]
        rows = [self._rows.get(key) for key in keys]
        missing = np.array([r for r, row in enumerate(rows) if row is None], dtype=np.int64)
        if len(missing):
            classes = assignment.classes[missing]
            values = self._compute(block, assignment.on_array, missing, classes, source())
            for r, value in zip(missing.tolist(), values, strict=True):
                # a copy, so that dropping the row frees it
                row = Row(value.copy(), _digest(value))
                self._rows.put(keys[r], row, row.values.nbytes + ENTRY_BYTES)
                rows[r] = row
        return [row for row in rows if row is not None]

    def _compute(
        self,
        block: Block,
        on_array: LayerOnArray,
        rows: IntArray,
        classes: IntArray,
        planes: Planes,
    ) -> NDArray[Any]:
        if self.device is None:
            return compute(block, on_array, rows, classes, planes)
        from hascodesign.engine import device  # noqa: PLC0415  (torch takes seconds to import)

        return device.compute(block, on_array, rows, classes, planes, self.device)


def _digest(content: bytes | NDArray[Any]) -> bytes:
    data = content if isinstance(content, bytes) else np.ascontiguousarray(content).data
    return hashlib.blake2b(data, digest_size=16).digest()


def _stack(rows: list[Row]) -> Callable[[], Planes]:
    return lambda: np.stack([row.values for row in rows])
