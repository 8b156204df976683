"""What the benches of single modules have in common. Each takes the sizes from the parameters."""

from __future__ import annotations

import random
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer


def size(dut: Any, name: str) -> int:
    """Value of a parameter."""
    return int(getattr(dut, name).value)


def split(word: int, bits: int, count: int) -> list[int]:
    """Fields of a word, the lowest first."""
    return [word >> (bits * place) & ((1 << bits) - 1) for place in range(count)]


def join(fields: list[int], bits: int) -> int:
    """A word of fields, the lowest first."""
    return sum((field & ((1 << bits) - 1)) << (bits * place) for place, field in enumerate(fields))


def as_signed(value: int, bits: int) -> int:
    """Two's complement of the low bits."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def any_bits(rng: random.Random, bits: int) -> int:
    """A word that is now and then at an end of its range."""
    ends = (0, 1, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1)
    return rng.choice(ends) & ((1 << bits) - 1) if rng.random() < 0.2 else rng.getrandbits(bits)


async def begin(dut: Any, **values: int) -> None:
    """Start the clock with these values on the inputs."""
    drive(dut, **values)
    Clock(dut.clk, 10, unit="ns").start()
    await edge(dut)  # at time 0, before the inputs or after
    await edge(dut)


def drive(dut: Any, **values: int) -> None:
    """Values of inputs."""
    for name, value in values.items():
        getattr(dut, name).value = value


async def edge(dut: Any) -> None:
    """One rising edge, and all that follows from it."""
    await RisingEdge(dut.clk)
    await Timer(1, unit="ns")


async def settle() -> None:
    """What combinational logic makes of the inputs."""
    await Timer(1, unit="ns")


def value(dut: Any, name: str) -> int:
    """Value of an output, which must be known."""
    return int(getattr(dut, name).value)
