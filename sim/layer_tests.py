"""Run every layer of a job folder through has_array, and hold it to what the folder expects.

Environment: HAS_VECTORS, folder of one npz per layer; HAS_RESULTS, folder for what came out
(default ``results``); HAS_PAUSES, seed of random idle cycles and back-pressure (default none);
HAS_STALLED, cycles without a beat or a result after which the array is given up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from axi_monitor import watch
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from streams import Checker, Driver, IntArray, Monitor, Pauses, Results, pack

SET = "set_"  # keys of run-time faults: registers of tb_fault_masks
TOLD = 20  # times that a layer's progress is told
STALLED = int(os.environ.get("HAS_STALLED", "100000"))  # cycles without a beat: given up


@dataclass(frozen=True, slots=True)
class Job:
    """One layer: what goes in, and what is to come out."""

    name: str
    index: int
    weights: IntArray  # [R, K]
    activations: IntArray  # [K, N]
    order: IntArray  # [T, S]
    slots: IntArray  # [passes, P]
    columns: IntArray  # [N] column counters
    expected: Results
    faults: dict[str, IntArray]  # of tb_fault_masks, e.g. "set_weight_and" [P, S]

    @staticmethod
    def read(path: Path) -> Job:
        """One layer's file."""
        with np.load(path, allow_pickle=False) as file:
            data = {key: file[key].astype(np.int64) for key in file.files}
        return Job(
            path.stem,
            int(data["layer_index"]),
            data["weights"],
            data["activations"],
            data["k_order"],
            data["slots"],
            data["columns"],
            Results(data["acc"], data["codes"]),
            {key: value for key, value in data.items() if key.startswith(SET)},
        )

    def act_beats(self, bits: int) -> Iterator[tuple[int, int]]:
        """For each pass, column, step: one beat of SIMD codes, code 0 at padding; and its offset.

        The offset makes the column's own counter of the column's place in this run.
        """
        padded = np.vstack([self.activations, np.zeros_like(self.activations[:1])])
        beats = [pack(padded[self.order, n], bits) for n in range(self.activations.shape[1])]
        offsets = [(int(column) - n) & 0xFFFFFFFF for n, column in enumerate(self.columns)]
        for _ in self.slots:
            for column, offset in zip(beats, offsets, strict=True):
                for beat in column:
                    yield beat, offset

    def weight_beats(self, bits: int) -> Iterator[int]:
        """For each pass and step: one beat of PE x SIMD weights; 0 at idle slots and padding."""
        padded = np.pad(self.weights, ((0, 1), (0, 1)))
        for slots in self.slots:
            words = padded[slots[None, :, None], self.order[:, None, :]]  # [T, P, S]
            yield from pack(words.reshape(len(words), -1), bits)


class ActPort:
    """The activation stream's data with the column offset that goes along."""

    def __init__(self, dut: Any) -> None:
        self._data, self._offset = dut.s_axis_act_tdata, dut.column_offset
        self._last = -1

    def _set(self, beat: tuple[int, int]) -> None:
        self._data.value, offset = beat
        if offset != self._last:
            self._offset.value = self._last = offset

    value = property(fset=_set)


class Bench:
    """The array with its clock, streams and reset."""

    def __init__(self, dut: Any, pauses: int | None) -> None:
        self.dut = dut
        self._set: dict[tuple[str, int], bytes] = {}
        seeds = [None if pauses is None else pauses + i for i in range(3)]
        self.acts = self._driver("act", Pauses(seeds[0]), ActPort(dut))
        self.weights = self._driver("weight", Pauses(seeds[1]), dut.s_axis_weight_tdata)
        self.monitor = Monitor(dut, Pauses(seeds[2]))
        names = ("tlast", "lanes", "row", "column", "acc", "v", "code")
        payload = tuple(f"m_axis_result_{name}" for name in names)
        cocotb.start_soon(watch(dut, "m_axis_result_t", payload))

    def _driver(self, name: str, pauses: Pauses, data: Any) -> Driver:
        valid, ready = (getattr(self.dut, f"s_axis_{name}_t{part}") for part in ("valid", "ready"))
        return Driver(valid, ready, data, pauses)

    async def reset(self) -> None:
        """Start the clock and hold reset for two cycles."""
        self.dut.start.value = 0
        self.dut.rst.value = 1
        Clock(self.dut.clk, 10, unit="ns").start()
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    def set_faults(self, job: Job) -> None:
        """Write a job's faults into an array that was built with tb_fault_masks."""
        for name, values in job.faults.items():
            for pe, fields in enumerate(values.reshape(len(values), -1)):
                if self._set.get((name, pe)) == fields.tobytes():
                    continue
                self._set[name, pe] = fields.tobytes()
                handle = getattr(self.dut.array.g_pe[pe].g_masks.masks, name)
                handle.value = pack(fields[None], len(handle) // len(fields))[0]

    async def run(self, job: Job) -> int:
        """Compute one layer; cycles from the first beat in to the last result out."""
        dut, monitor = self.dut, self.monitor
        monitor.results, monitor.lasts = [], []
        self.set_faults(job)
        self.acts.send(job.act_beats(int(dut.ACT_BITS.value)))
        self.weights.send(job.weight_beats(int(dut.WEIGHT_BITS.value)))
        dut.layer.value = job.index
        dut.columns.value = job.activations.shape[1]
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        cycles, last, idle, seen, done, edge = 0, 0, 0, 0, dut.done, RisingEdge(dut.clk)
        parts = (self.acts, self.weights, monitor)
        beats = len(job.slots) * job.activations.shape[1] * len(job.order)
        told = 0
        while True:
            await edge
            for part in parts:
                part.edge()
            moved = self.acts.sent + self.weights.sent + len(monitor.results)
            cycles += moved > 0
            if self.acts.sent * TOLD >= (told + 1) * beats:
                told = self.acts.sent * TOLD // beats
                print(f"progress {job.name} {self.acts.sent} {beats}", flush=True)
            last = cycles if moved > seen else last
            idle = 0 if moved > seen else idle + 1
            seen = moved
            assert idle < STALLED, f"layer {job.name}: no beat moved for {STALLED} cycles"
            if int(done.value):
                for stream in ("act", "weight"):
                    ready = int(getattr(dut, f"s_axis_{stream}_tready").value)
                    assert not ready, f"no {stream} beat is let in after the layer's last"
                return last


@cocotb.test()
async def layers(dut: Any) -> None:
    """Every layer gives the expected accumulators and codes."""
    folder = Path(os.environ["HAS_VECTORS"])
    results = Path(os.environ.get("HAS_RESULTS", "results"))
    pauses = os.environ.get("HAS_PAUSES")
    jobs = [Job.read(path) for path in sorted(folder.glob("*.npz"))]
    jobs.sort(key=lambda job: job.index)
    assert jobs, f"{folder} holds no layer"
    results.mkdir(parents=True, exist_ok=True)
    bench = Bench(dut, int(pauses) if pauses else None)
    await bench.reset()
    wrong = []
    for job in jobs:
        start = time.perf_counter()
        cycles = await bench.run(job)
        seconds = time.perf_counter() - start
        checker = Checker(
            *job.expected.acc.shape,
            acc_bits=int(dut.ACC_BITS.value),
            v_bits=int(dut.V_BITS.value),
        )
        got = checker.arrange(
            bench.monitor,
            int(dut.ACT_BITS.value),
            bool(int(dut.code_signed.value)),
            bool(int(dut.logits.value)),
        )
        np.savez(
            results / f"{job.name}.npz",
            acc=got.acc,
            codes=got.codes,
            cycles=cycles,
            seconds=seconds,
        )
        dut._log.info(f"{job.name}: {cycles} cycles, {cycles / seconds:.0f} cycles/s")
        wrong += [f"layer {job.name}, {line}" for line in checker.mismatches(got, job.expected)]
    assert not wrong, f"{len(wrong)} integers differ:\n" + "\n".join(wrong[:5])
