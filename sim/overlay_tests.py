"""The module that is packaged for a board, has_overlay, with the driver's files and DMAs on it.

Environment: as driver_steps.py says. Weights are streamed where the module has their port.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, FallingEdge
from driver_board import Board, Memory
from driver_steps import blocking, board, expected, images, opened
from numpy.typing import NDArray


class Wrapper:
    """What the board's model takes for the core: it knows neither tkeep nor a missing port."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_tkeep"):
            raise AttributeError(name)
        if name == "s_axis_weight_tvalid" and not hasattr(self._dut, name):
            return SimpleNamespace(value=0)
        return getattr(self._dut, name)

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._dut) if not name.endswith("_tkeep")]


class Dirty:
    """Memory whose every beat has ones above the bits that count."""

    def __init__(self, memory: Memory, width: int, bits: int) -> None:
        self._memory, self._beat = memory, width // 8
        ones = (1 << width) - (1 << bits)
        self._ones = np.frombuffer(ones.to_bytes(self._beat, "little"), np.uint8)

    def get(self, address: int, size: int) -> NDArray[np.uint8]:
        """Read bytes."""
        found = self._memory.get(address, size).reshape(-1, self._beat)
        return (found | self._ones).reshape(-1)


async def powered(dut: Any) -> Board:
    """The board around it."""
    streamed = hasattr(dut, "s_axis_weight_tvalid")
    assert streamed == expected()["streamed"]
    return await board(Wrapper(dut), weights=streamed)


@cocotb.test()
async def images_have_the_logits_and_classes_of_the_engine(dut: Any) -> None:
    """With every byte of an answer marked as data."""
    made = await powered(dut)
    job = images()
    beats, whole = 0, (1 << len(dut.m_axis_result_tkeep)) - 1
    assert 8 * len(dut.m_axis_result_tkeep) == len(dut.m_axis_result_tdata)

    async def keep() -> None:
        nonlocal beats
        while True:
            await FallingEdge(dut.clk)
            if int(dut.m_axis_result_tvalid.value) and int(dut.m_axis_result_tready.value):
                assert dut.m_axis_result_tkeep.value.to_unsigned() == whole
                beats += 1

    watch = cocotb.start_soon(keep())

    def run() -> None:
        core = opened(made)
        got = core.logits_of_codes(job["codes"])
        assert got.size and np.array_equal(got, job["logits"]), (got, job["logits"])
        classes = core.classes_of_codes(job["codes"])
        assert np.array_equal(classes, np.argmax(job["logits"], axis=1))

    await blocking(run)
    watch.cancel()
    assert beats == job["logits"].size + len(job["codes"])


@cocotb.test()
async def padding_is_not_read(dut: Any) -> None:
    """Whatever stands beyond the core's bits of a beat, the logits are the same."""
    made = await powered(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        for name, (bits, padding) in expected()["lanes"].items():
            channel = getattr(made, name)
            width = len(channel.source.bus.tdata)
            assert width - bits == padding > 0
            channel.memory = Dirty(made.memory, width, bits)
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])

    await blocking(run)


@cocotb.test()
async def a_packet_that_has_left_raises_the_interrupt(dut: Any) -> None:
    """Where it is enabled, until it is cleared."""
    made = await powered(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        at = core.built.registers
        link = core._runner.link
        link.write(at["IRQ_ENABLE"], 1)
        assert not int(dut.interrupt.value)
        core.logits_of_codes(job["codes"][:1])
        assert int(dut.interrupt.value)
        link.write(at["IRQ"], 1)
        assert link.read(at["IRQ"]) == 0

    await blocking(run)
    await ClockCycles(dut.clk, 3)
    assert not int(dut.interrupt.value)
