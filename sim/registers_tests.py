"""has_registers alone: random accesses and events, against the register map."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from core_registers import (
    ADDRESS,
    AT,
    BATCH,
    COMMIT,
    CONTROL,
    CYCLES,
    FETCH,
    ILLEGAL,
    IMAGES,
    IRQ,
    IRQ_ENABLE,
    LANES,
    OKAY,
    PACKET,
    RESTART,
    SELECT,
    SHAPE,
    SLVERR,
    STAGE_CYCLES,
    STATUS,
    VALUES,
    VERSION,
)
from module_bench import any_bits, begin, drive, edge, settle, size, value

WORD = 0xFFFFFFFF
TEST, TEST_SHAPE, TEST_BASE = (AT[name] for name in ("TEST", "TEST_SHAPE", "TEST_BASE"))
TEST_LIMITS, TEST_WORDS = AT["TEST_LIMITS"], AT["TEST_WORDS"]


class Model:
    """What the register map says."""

    def __init__(self, dut: Any) -> None:
        depths = size(dut, "DEPTHS")
        self.depths = [depths >> 32 * i & WORD for i in range(size(dut, "MEMORIES"))]
        self.words, self.width = size(dut, "VALUE_WORDS"), size(dut, "VALUE_BITS")
        self.address_bits = size(dut, "MEMORY_BITS")
        self.lanes, self.fetch_cycles = size(dut, "LANES"), size(dut, "FETCH_CYCLES")
        self.stages = [0] * size(dut, "STAGES")
        self.constants = {SHAPE: size(dut, "SHAPE"), VERSION: size(dut, "VERSION")}
        self.steps, self.passes = size(dut, "MOST_STEPS"), size(dut, "MOST_PASSES")
        self.tests = {TEST: 0, TEST_SHAPE: 0, TEST_BASE: 0}
        # of a batch, the most; 1 where none are built
        self.most = size(dut, "MOST_IMAGES") if hasattr(dut, "MOST_IMAGES") else 1
        self.constants |= {
            LANES: self.lanes, TEST_LIMITS: self.passes << 16 | self.steps,
            TEST_WORDS: self.depths[0],
        }  # fmt: skip
        self.parts = [0] * self.words  # of the word that stands at the memory
        self.value = [0] * self.words
        self.cycles = 0
        self.reset()

    def reset(self) -> None:
        """As after a reset: counters and values stay."""
        self.control, self.error, self.busy, self.halted = 1, 0, 0, 0
        self.images = self.select = self.address = 0
        self.illegal = self.irq = self.irq_enable = 0
        self.packet, self.lane = 1, -1  # no lane yet
        self.tests[TEST] = 0
        self.batch = self.most

    def depth(self) -> int:
        """Words of the chosen memory."""
        return self.depths[self.select] if self.select < len(self.depths) else 0

    def bad(self, at: int, write: int) -> int:
        """An illegal access is noted, the first of them with its address; the response."""
        if not self.error >> 4:
            self.illegal = write << 31 | at
        self.error |= 0x10
        self.irq |= 2
        return SLVERR if self.control & 8 else OKAY

    def may_test(self, at: int, data: int) -> bool:
        """Whether it is one of test mode's registers, and takes the data now."""
        fits = {
            TEST: True, TEST_BASE: data < self.depths[0],
            TEST_SHAPE: data & 0xFFFF < self.steps and data >> 16 < self.passes,
        }  # fmt: skip
        return not self.control & 1 and not self.busy and fits.get(at, False)

    def may_access(self) -> bool:
        """Whether a memory word may be written or read."""
        return not self.control & 1 and not self.busy and self.address < self.depth()

    def write(self, at: int, data: int, strobe: int) -> tuple[int, list[tuple[int, int, int]], int]:
        """Response, memory words that are written, restarts."""
        commits: list[tuple[int, int, int]] = []
        page, restart = at >> 8, 0
        if strobe != 0xF or at & 3:
            return self.bad(at, 1), commits, 0
        if page >= 8 and (at >> 2 & 0x1FF) < self.words:
            self.value[at >> 2 & 0x1FF] = data
        elif at == CONTROL:
            self.control, restart = data & 11, data >> 2 & 1
        elif at == FETCH and self.may_access() and data < self.lanes:
            self.lane = data
            self.address += 1
        elif at == COMMIT and self.may_access():
            word = sum(v << 32 * i for i, v in enumerate(self.value)) & ((1 << self.width) - 1)
            commits.append((1 << self.select, self.address % (1 << self.address_bits), word))
            self.address += 1
        elif self.may_test(at, data):
            self.tests[at] = data & 7 if at == TEST else data
        elif not self.set_plain(at, data):
            return self.bad(at, 1), commits, 0
        return OKAY, commits, restart

    def set_plain(self, at: int, data: int) -> bool:
        """A write that only sets a register; whether there is one."""
        names = {SELECT: "select", ADDRESS: "address", IMAGES: "images"}
        if at in names:
            setattr(self, names[at], data)
        elif at == STATUS:
            self.error &= ~(data >> 8)
        elif at == PACKET:
            self.packet = data & 0xFFFF
        elif at == BATCH and self.most > 1 and 0 < data <= self.most:
            self.batch = data
        elif at == IRQ_ENABLE:
            self.irq_enable = data & 3
        elif at == IRQ:
            self.irq &= ~data
        else:
            return False
        return True

    def read(self, at: int) -> tuple[int, int]:
        """Value and response."""
        known = {
            CONTROL: self.control, STATUS: self.error << 8 | self.halted << 1 | self.busy,
            CYCLES: self.cycles, IMAGES: self.images, SELECT: self.select, ADDRESS: self.address,
            ILLEGAL: self.illegal, PACKET: self.packet, IRQ: self.irq, IRQ_ENABLE: self.irq_enable,
            **self.tests, **self.constants,
            **{STAGE_CYCLES + 4 * i: v for i, v in enumerate(self.stages)},
        }  # fmt: skip
        if self.most > 1:
            known[BATCH] = self.most << 16 | self.batch
        if at in known:
            return known[at], OKAY
        if not at & 3 and at >> 11 and (at >> 2 & 0x1FF) < self.words:
            return self.parts[at >> 2 & 0x1FF], OKAY
        return 0, self.bad(at, 0)


class Port:
    """The AXI4-Lite side, and what leaves on the other."""

    def __init__(self, dut: Any, rng: random.Random) -> None:
        self.dut, self.rng = dut, rng
        self.commits: list[tuple[int, int, int]] = []
        self.restarts = self.packets = 0
        self.parts: list[int] = []
        self.place = dut.memory_place.value  # a cycle ago

    async def edge(self) -> None:
        """One cycle; what is read back comes two after its place is shown."""
        place, self.place = self.place, self.dut.memory_place.value
        await edge(self.dut)
        known = place.is_resolvable and int(place) < len(self.parts)
        drive(self.dut, memory_read=self.parts[int(place)] if known else 0)
        if value(self.dut, "memory_write"):
            fields = ("memory_write", "memory_address", "memory_value")
            memory, address, word = (value(self.dut, name) for name in fields)
            self.commits.append((memory, address, word))
        self.restarts += value(self.dut, "restart")
        self.packets += value(self.dut, "packet_set")

    async def move(self, channels: set[str], answer: str) -> None:
        """Show each channel's beat from some moment on until it is taken; then take the answer."""
        dut, left, shown = self.dut, set(channels), set[str]()
        gone = came = None  # cycles: the last beat was taken, the answer was shown
        for cycle in range(200):
            shown |= {name for name in sorted(left) if self.rng.random() < 0.6}
            ready = self.rng.random() < 0.5
            drive(dut, **{f"s_axil_{name}valid": int(name in left & shown) for name in channels})
            drive(dut, **{f"s_axil_{answer}ready": int(ready)})
            await settle()
            taken = {n for n in left & shown if value(dut, f"s_axil_{n}ready")}
            came = cycle if came is None and value(dut, f"s_axil_{answer}valid") else came
            answered = ready and came is not None
            if answered:
                self.answer = {n: value(dut, f"s_axil_{n}") for n in (f"{answer}resp",)}
                if answer == "r":
                    self.answer["rdata"] = value(dut, "s_axil_rdata")
            await self.edge()
            left -= taken
            gone = cycle if gone is None and not left else gone
            if answered:
                assert gone is not None and came is not None, "an answer comes after all of it"
                self.waited = came - gone
                drive(dut, **{f"s_axil_{answer}ready": 0})
                return
        raise AssertionError("an access must be answered")

    async def write(self, at: int, data: int, strobe: int) -> int:
        """Response."""
        drive(self.dut, s_axil_awaddr=at, s_axil_wdata=data, s_axil_wstrb=strobe)
        await self.move({"aw", "w"}, "b")
        return self.answer["bresp"]

    async def read(self, at: int) -> tuple[int, int]:
        """Value and response."""
        drive(self.dut, s_axil_araddr=at)
        await self.move({"ar"}, "r")
        return self.answer["rdata"], self.answer["rresp"]


def any_address(rng: random.Random, model: Model) -> int:
    """Mostly of a register."""
    named = [CONTROL, STATUS, CYCLES, IMAGES, SHAPE, VERSION, SELECT, ADDRESS, COMMIT, COMMIT]
    named += [TEST, TEST_SHAPE, TEST_BASE, TEST_LIMITS, TEST_WORDS]
    named += [ILLEGAL, PACKET, FETCH, FETCH, IRQ_ENABLE, IRQ, LANES, BATCH, BATCH]
    named += [STAGE_CYCLES + 4 * rng.randrange(len(model.stages) + 1)]
    named += [VALUES + 4 * rng.randrange(model.words + 1)] * 3
    at = rng.choice(named)
    if rng.random() < 0.25:
        at ^= 1 << rng.randrange(12)
    return at


def any_data(rng: random.Random, model: Model, at: int) -> int:
    """What makes sense there, mostly."""
    if at == BATCH:
        return rng.randrange(model.most + 3) | (rng.random() < 0.1) << 16
    below = {SELECT: len(model.depths), FETCH: model.lanes, TEST_BASE: model.depths[0]}
    if at in below:
        return rng.randrange(below[at] + 1)
    if at == ADDRESS and rng.random() < 0.8:
        return max(0, model.depth() - rng.randrange(1, 1 + max(1, model.depth())))
    if at == CONTROL:
        return rng.choice((0, 0, 2, 1, 3, RESTART)) | rng.choice((0, 8))
    if at == TEST_SHAPE:
        return rng.randrange(model.steps + 1) | rng.randrange(model.passes + 1) << 16
    return any_bits(rng, 32)


async def events(dut: Any, rng: random.Random, model: Model, port: Port) -> None:
    """Pulses of the core and its state, in some cycles."""
    model.busy, model.halted = int(rng.random() < 0.2), int(rng.random() < 0.2)
    drive(dut, busy=model.busy, halted=model.halted)
    for _ in range(rng.randrange(3)):
        errors = rng.getrandbits(4) & rng.getrandbits(4)
        stage = rng.randrange(len(model.stages))
        cycles, count = any_bits(rng, 32), any_bits(rng, 32)
        image, ended, left = (rng.random() < 0.5 for _ in range(3))
        drive(dut, errors=errors, image_done=int(image), image_cycles=cycles, packet_left=int(left))
        after = rng.randrange(model.depths[0])
        drive(dut, stage_done=int(ended), stage=stage, stage_cycles=count, test_next=after)
        await port.edge()
        drive(dut, errors=0, image_done=0, stage_done=0, stage_cycles=0, image_cycles=0)
        drive(dut, packet_left=0)
        model.error |= errors
        model.irq |= 2 * (errors > 0) | int(left)
        if image and model.tests[TEST] & 5 == 5:
            model.tests[TEST_BASE] = after
        if image:
            model.cycles, model.images = cycles, (model.images + 1) & WORD
        if ended:
            model.stages[stage] = count
    await port.edge()


async def started(dut: Any, rng: random.Random) -> tuple[Model, Port]:
    """Both sides after a reset, with nothing asked."""
    channels = {f"s_axil_{n}": 0 for n in ("awvalid", "wvalid", "arvalid", "bready", "rready")}
    await begin(dut, rst=1, busy=0, halted=0, errors=0, image_done=0, stage_done=0, packet_left=0,
                memory_read=0, **channels)  # fmt: skip
    model, port = Model(dut), Port(dut, rng)
    port.parts = model.parts
    drive(dut, rst=0)
    await edge(dut)
    return model, port


@cocotb.test()
async def the_map_holds(dut: Any) -> None:
    """Every access answers and does what the map says, and nothing else."""
    rng = random.Random(1)
    model, port = await started(dut, rng)
    at_first = [(VALUES + 4 * word, 0) for word in range(model.words)]
    for at, data in (*at_first, (CONTROL, 0), (TEST_SHAPE, 0), (TEST_BASE, 0), (CONTROL, 1)):
        assert await port.write(at, data, 0xF) == OKAY
    for number in range(900):
        await events(dut, rng, model, port)
        if number % 100 == 99:
            drive(dut, rst=1)
            await edge(dut)
            drive(dut, rst=0)
            await edge(dut)
            model.reset()
            drive(dut, busy=0, halted=0)
        at = any_address(rng, model)
        model.parts[:] = [any_bits(rng, 32) for _ in model.parts]
        if rng.random() < 0.5:
            assert await port.read(at) == model.read(at), f"read of {at:#x}"
        else:
            await write(rng, model, port, at)
        await port.edge()
        await port.edge()
        assert value(dut, "interrupt") == int(model.irq & model.irq_enable > 0), f"{at:#x}"


async def write(rng: random.Random, model: Model, port: Port, at: int) -> None:
    """One write, and what it does on the other side; a FETCH takes its time."""
    dut, data = port.dut, any_data(rng, model, at)
    strobe = 0xF if rng.random() < 0.9 else rng.getrandbits(4)
    before = model.address
    response, commits, restarts = model.write(at, data, strobe)
    fetched = at == FETCH and model.address != before
    port.commits, port.restarts, port.packets = [], 0, 0
    assert await port.write(at, data, strobe) == response, f"write of {at:#x}"
    assert port.waited == (2 + model.fetch_cycles * fetched), "a FETCH is answered when it is done"
    await port.edge()
    await port.edge()
    assert port.commits == commits, f"write of {at:#x}"
    assert port.restarts == restarts, f"write of {at:#x}"
    assert port.packets == int(at == PACKET and strobe == 0xF), f"write of {at:#x}"
    assert (value(dut, "images"), value(dut, "packet")) == (model.images, model.packet)
    if model.most > 1:
        assert value(dut, "batch_less_1") == model.batch - 1
    if model.lane >= 0:
        assert value(dut, "memory_lane") == model.lane
    assert value(dut, "memory_address") == (model.address - 1) % (1 << model.address_bits)
    shape = value(dut, "test_passes_less_1") << 16 | value(dut, "test_steps_less_1")
    assert shape == model.tests[TEST_SHAPE] and value(dut, "test_base") == model.tests[TEST_BASE]
    assert value(dut, "test_signed") << 1 | value(dut, "test") == model.tests[TEST] & 3
    assert (value(dut, "enable"), value(dut, "class_only")) == (
        model.control & 1, model.control >> 1 & 1,
    )  # fmt: skip


@cocotb.test()
async def each_memory_is_written_alone(dut: Any) -> None:
    """Its first and last word, and not the one after."""
    rng = random.Random(2)
    model, port = await started(dut, rng)
    for memory in rng.sample(range(len(model.depths)), len(model.depths)):
        depth = model.depths[memory]
        for address in sorted({0, max(depth - 1, 0), depth}):
            steps = [(CONTROL, 0), (SELECT, memory), (ADDRESS, address)]
            steps += [(VALUES + 4 * word, any_bits(rng, 32)) for word in range(model.words)]
            for at, data in (*steps, (COMMIT, 0)):
                response, commits, _ = model.write(at, data, 0xF)
                port.commits = []
                assert await port.write(at, data, 0xF) == response, f"write of {at:#x}"
                await port.edge()
                await port.edge()
                assert port.commits == commits, f"memory {memory}, word {address}"
            assert bool(commits) == (address < depth)
