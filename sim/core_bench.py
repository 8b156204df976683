"""The parts of the benches of has_core: drivers, monitors, the job and what is held against it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cocotb
import numpy as np
from axi_monitor import LiteMonitor, watch
from axil import Lite
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from streams import IntArray, Pace, Pauses, pack, signed

from hascodesign.contract.batches import batch_sizes
from hascodesign.contract.registers import REGISTERS

OKAY, SLVERR = 0, 2
AT = {one.name: one.address for one in REGISTERS}
CONTROL, STATUS, CYCLES, IMAGES = (AT[name] for name in ("CONTROL", "STATUS", "CYCLES", "IMAGES"))
SHAPE, VERSION, STAGE_CYCLES = (AT[name] for name in ("SHAPE", "VERSION", "STAGE_CYCLES"))
SELECT, ADDRESS, COMMIT, VALUES = (AT[name] for name in ("SELECT", "ADDRESS", "COMMIT", "VALUE"))
FETCH, LANES, ILLEGAL = (AT[name] for name in ("FETCH", "LANES", "ILLEGAL"))
PACKET, IRQ_ENABLE, IRQ = (AT[name] for name in ("PACKET", "IRQ_ENABLE", "IRQ"))
BATCH = AT["BATCH"]
BUSY, HALTED = 1, 2
SHORT, LONG, WEIGHTS, ROW_MAP, BAD_ACCESS = (1 << bit for bit in range(8, 13))
ENABLE, CLASS_ONLY, RESTART, STRICT = 1, 2, 4, 8
PACKET_LEFT, ERROR_SET = 1, 2
STALLED = int(os.environ.get("HAS_STALLED", "200000"))  # cycles without a beat: given up
PORT_CYCLES = int(os.environ.get("HAS_PORT_CYCLES", "1"))  # of a beat of streamed weights
TOLD = 200  # cycles between two lines of progress

Beat = tuple[int, int]  # data, last


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


class CodeMonitor:
    """Watches what the layers give and what the poolings write, inside the core."""

    def __init__(self, dut: Any) -> None:
        array = dut.layers
        self._valid, self._lanes = dut.taken, array.m_axis_result_lanes
        self._layer, self._column = dut.layer, array.m_axis_result_column
        lanes = len(self._lanes)
        self._fields = [getattr(array, f"m_axis_result_{n}") for n in ("row", "acc", "v", "code")]
        self._bits = [len(field) // lanes for field in self._fields]
        self._put_valid, self._pooling = dut.codes_valid, dut.pooling
        self._put = [dut.stage, dut.pool_element_out, dut.codes_lanes, dut.codes]
        self._base = base_of(dut)
        self._merge = MergeMonitor(dut) if int(dut.MERGE.value) else None
        self.results: list[tuple[int, ...]] = []  # layer, column, row, acc, v, code
        self.puts: list[tuple[int, ...]] = []  # stage, element, lanes, codes

    def edge(self) -> None:
        """Note the results of this cycle."""
        if int(self._valid.value):
            shared = int(self._layer.value), int(self._column.value)
            words = [str(field.value) for field in self._fields]  # idle lanes hold unknown bits
            for lane, used in enumerate(reversed(str(self._lanes.value))):
                if used == "1":
                    parts = zip(words, self._bits, strict=True)
                    values = (int(lane_of(word, lane, bits), 2) for word, bits in parts)
                    self.results.append((*shared, *values))
        if int(self._pooling.value) and int(self._put_valid.value):
            stage, element, *rest = (int(field.value) for field in self._put)
            self.puts.append((stage, element - self._base(), *rest))
        if self._merge is not None:
            self.puts += self._merge.edge()


class MergeMonitor:
    """Watches the maxima that a convolution keeps: what stands in its map when it has ended."""

    def __init__(self, dut: Any) -> None:
        self._begin, self._skipped, self._stage = dut.begin_stage, dut.skipped, dut.stage
        merge = dut.merge
        self._enable = merge.write_enable
        self._address, self._data = merge.write_address, merge.write_data
        self._banks = len(self._enable)
        self._base = base_of(dut)
        self._held: dict[int, int] = {}  # element -> code

    def edge(self) -> list[tuple[int, ...]]:
        """(stage, element, 1, code) of every element, when the stage of the pooling comes."""
        found: list[tuple[int, ...]] = []
        if int(self._begin.value):
            if int(self._skipped.value):
                stage = int(self._stage.value)
                found = [(stage, element, 1, code) for element, code in sorted(self._held.items())]
            self._held.clear()
        enable = int(self._enable.value)
        if enable:
            words, codes = str(self._address.value), str(self._data.value)
            for bank in range(self._banks):
                if enable >> bank & 1:
                    word = int(lane_of(words, bank, len(words) // self._banks), 2)
                    code = int(lane_of(codes, bank, len(codes) // self._banks), 2)
                    self._held[word * self._banks + bank - self._base()] = code
        return found


def base_of(dut: Any) -> Callable[[], int]:
    """Where an image's part of the map begins that is written: elsewhere than at 0 in a batch."""
    base = getattr(dut, "write_base", None)
    return (lambda: 0) if base is None else (lambda: int(base.value))


def lane_of(word: str, lane: int, bits: int) -> str:
    """Bits of one lane, lane 0 at the right."""
    end = len(word) - lane * bits
    return word[end - bits : end]


class Unwatched:
    """Stands for ``CodeMonitor`` where nothing inside the core is looked at."""

    def __init__(self) -> None:
        self.results: list[tuple[int, ...]] = []
        self.puts: list[tuple[int, ...]] = []


class Registers:
    """The AXI4-Lite side, one access at a time; ``port`` takes several at once."""

    def __init__(self, dut: Any, edge: Callable[[], Any], pauses: int | None = None) -> None:
        self._edge = edge
        self.port = Lite(dut, "s_axil", pauses)

    async def settle(self) -> None:
        """Let time pass until all that was asked has been answered."""
        while not self.port.settled:
            await self._edge()

    async def write(self, address: int, value: int, strobe: int = 0xF) -> int:
        """Response of one write."""
        self.port.write(address, value, strobe)
        await self.settle()
        return self.port.b.taken[-1][0]

    async def read(self, address: int) -> tuple[int, int]:
        """(value, response) of one read."""
        self.port.read(address)
        await self.settle()
        value, response = self.port.r.taken[-1]
        return value, response

    async def value(self, address: int) -> int:
        """Value of a register that is there."""
        value, response = await self.read(address)
        assert response == OKAY, f"register {address:#x} must answer OKAY, not {response}"
        return value

    async def set(self, address: int, value: int) -> None:
        """Write that must be taken."""
        response = await self.write(address, value)
        assert response == OKAY, f"register {address:#x} must answer OKAY, not {response}"

    async def write_memory(
        self, memory: int, words: Iterable[int], width: int, at: int = 0
    ) -> None:
        """Words into one memory, from word ``at`` on."""
        await self.set(SELECT, memory)
        await self.set(ADDRESS, at)
        for word in words:
            for place in range(-(-width // 32)):
                await self.set(VALUES + 4 * place, (word >> (32 * place)) & 0xFFFFFFFF)
            await self.set(COMMIT, 0)

    async def read_memory(
        self, memory: int, count: int, width: int, at: int = 0, lane: int = 0
    ) -> list[int]:
        """Words of one memory, from word ``at`` on, of a lane's copy; nothing above their width."""
        await self.set(SELECT, memory)
        await self.set(ADDRESS, at)
        words = []
        for _ in range(count):
            await self.set(FETCH, lane)
            parts = [await self.value(VALUES + 4 * place) for place in range(-(-width // 32))]
            words.append(sum(part << (32 * place) for place, part in enumerate(parts)))
        return words


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
