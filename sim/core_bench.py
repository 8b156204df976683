"""The core in a bench: its clock, streams, registers and monitors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import cocotb
import numpy as np
from axi_monitor import LiteMonitor, watch
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from core_job import Beat, ImageJob
from core_monitors import CodeMonitor, Unwatched
from core_registers import BATCH, Registers
from streams import IntArray, Pace, Pauses, signed

from hascodesign.contract.batches import batch_sizes

STALLED = int(os.environ.get("HAS_STALLED", "200000"))  # cycles without a beat: given up
PORT_CYCLES = int(os.environ.get("HAS_PORT_CYCLES", "1"))  # of a beat of streamed weights
TOLD = 200  # cycles between two lines of progress


class Watched(Protocol):
    """A part that moves with the clock."""

    def edge(self) -> None:
        """One rising clock edge."""


class StreamDriver:
    """Source of a stream with tlast; ``edge`` is called at every rising clock edge."""

    def __init__(self, dut: Any, name: str, pauses: Pauses | Pace) -> None:
        self._valid, self._ready, self._last, self._data = (
            getattr(dut, f"{name}_t{part}") for part in ("valid", "ready", "last", "data")
        )
        self._pauses = pauses
        self._beats: Iterator[Beat] = iter(())
        self._showing = False
        self.sent = 0
        self._valid.value = 0
        self._last.value = 0

    def send(self, beats: Iterable[Beat]) -> None:
        """Beats to come next, in place of those that were still to come."""
        self._beats, self._showing = iter(beats), False
        self._valid.value = 0

    def edge(self) -> None:
        """Note whether the shown beat was taken, and show the next."""
        if self._showing:
            if not int(self._ready.value):
                return
            self.sent += 1
        beat = None if self._pauses() else next(self._beats, None)
        if beat is not None:
            self._data.value, self._last.value = beat
        if self._showing or beat is not None:
            self._valid.value = int(beat is not None)
        self._showing = beat is not None


class ResultMonitor:
    """Sink of the result stream: one list of (data, user) for each packet.

    ``hold`` keeps it from being ready.
    """

    def __init__(self, dut: Any, pauses: Pauses) -> None:
        self._pauses = pauses
        self._valid, self._ready, self._last, self._data, self._user = (
            getattr(dut, f"m_axis_result_t{part}")
            for part in ("valid", "ready", "last", "data", "user")
        )
        self._packet: list[tuple[int, int]] = []
        self._resting = False
        self.hold = False
        self.packets: list[list[tuple[int, int]]] = []
        self._ready.value = 1

    def taken(self) -> list[tuple[int, int]]:
        """Beats of the packet that has begun."""
        return self._packet

    def abandon(self) -> None:
        """Forget the packet that has begun."""
        self._packet = []

    def edge(self) -> None:
        """Take the shown beat, if this side was ready, and choose readiness anew."""
        if not self._resting and int(self._valid.value):
            self._packet.append((int(self._data.value), int(self._user.value)))
            if int(self._last.value):
                self.packets.append(self._packet)
                self._packet = []
        rest = self.hold or self._pauses()
        if rest != self._resting:
            self._resting = rest
            self._ready.value = int(not rest)


class CoreBench:
    """The core with its clock, streams, registers and monitors."""

    def __init__(self, dut: Any, pauses: int | None = None, watch: bool = True) -> None:
        self.dut = dut
        seeds = [None if pauses is None else pauses + i for i in range(3)]
        self.images = StreamDriver(dut, "s_axis_image", Pauses(seeds[0]))
        rests = Pauses(seeds[1]) if PORT_CYCLES == 1 else Pace(PORT_CYCLES)
        self.weights = StreamDriver(dut, "s_axis_weight", rests)
        self.results = ResultMonitor(dut, Pauses(seeds[2]))
        self.codes = CodeMonitor(dut) if watch else Unwatched()
        self.registers = Registers(dut, self.edge, pauses)
        self._clock_edge = RisingEdge(dut.clk)
        self._watch: list[Watched] = [self.images, self.weights, self.results]
        self._watch.append(self.registers.port)
        if isinstance(self.codes, CodeMonitor):
            self._watch.append(self.codes)
        self.pe, self.simd, self.weight_bits, self.act_bits, self.acc_bits, self.v_bits = (
            int(getattr(dut, name).value)
            for name in ("PE", "SIMD", "WEIGHT_BITS", "ACT_BITS", "ACC_BITS", "V_BITS")
        )
        self.cycles = 0

    async def edge(self) -> None:
        """One clock cycle of every part."""
        await self._clock_edge
        self.cycles += 1
        for part in self._watch:
            part.edge()

    async def start(self) -> None:
        """Start the clock and the monitors, and reset."""
        payload = tuple(f"m_axis_result_t{name}" for name in ("data", "user", "last"))
        cocotb.start_soon(watch(self.dut, "m_axis_result_t", payload))
        self.lite = LiteMonitor(self.dut, "s_axil")
        Clock(self.dut.clk, 10, unit="ns").start()
        await self.reset()

    async def reset(self) -> None:
        """Hold reset for two cycles, with nothing on the streams."""
        self.images.send(())
        self.weights.send(())
        self.registers.port.abandon()
        self.dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    async def until(self, packets: int) -> None:
        """Run until so many packets have come."""
        idle, seen, first = 0, -1, len(self.results.packets)
        while len(self.results.packets) < packets:
            await self.edge()
            if self.cycles % TOLD == 0:
                done = len(self.results.packets) - first
                print(f"progress cycles {self.cycles} {done} {packets - first}", flush=True)
            moved = self.images.sent + self.weights.sent + len(self.codes.results)
            idle = 0 if moved != seen else idle + 1
            seen = moved
            assert idle < STALLED, f"no beat moved for {STALLED} cycles"

    async def classify(self, job: ImageJob) -> None:
        """Send a job's images back to back, and take their results; the last batch by itself."""
        sizes, start = batch_sizes(len(job.codes), job.batch), 0
        whole = sizes.count(job.batch)
        for batches in (sizes[:whole], sizes[whole:]):
            if not batches:
                continue
            if job.batch > 1:
                await self.registers.set(BATCH, batches[0])
            await self._classify(job, range(start, start + sum(batches)), len(batches))
            start += sum(batches)

    async def _classify(self, job: ImageJob, images: range, batches: int) -> None:
        before = len(self.results.packets)
        self.images.send(job.image_beats(self.simd, self.act_bits, images))
        self.weights.send(
            beat for _ in range(batches) for beat in job.weight_beats(self.weight_bits)
        )
        await self.until(before + len(images))

    def logits(self, packet: list[tuple[int, int]]) -> IntArray:
        """Logits of one packet; its class must stand on every beat."""
        bits = len(self.dut.m_axis_result_tdata)
        values = signed(np.array([data for data, _ in packet], dtype=np.int64), bits)
        users = {user for _, user in packet}
        assert users == {int(np.argmax(values))}, f"class of {values} must be its first greatest"
        return values
