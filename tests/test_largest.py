"""The largest array that a board holds for a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from hascodesign.board import boards
from hascodesign.cli.main import app
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, IntegerNetwork
from hascodesign.flow.largest import largest
from hascodesign.render.core_fit import port_cycles
from hascodesign.render.core_sizes import CoreOptions, image_cycles
from tests import core_cases

SPEC = ArraySpec(4, 4, 4, 4, 24)
Z2 = boards.find("pynq-z2")


def network(hidden: int = 0) -> IntegerNetwork:
    rng = np.random.default_rng(3)
    return core_cases.random_network(rng, SPEC, (6, 6, 4), [(8, 3, 1, 1)], hidden=hidden)


def test_the_dsps_bound_a_small_network() -> None:
    net = network()
    one = largest(net, SPEC, Z2)
    assert one.dsp == one.pe * one.simd == 128  # 80 % of 220 are 176, and 256 are more
    assert one.streamed == ()
    assert one.images_per_second == Z2.clock_mhz * 1e6 / one.cycles
    assert largest(net, SPEC, replace(Z2, dsp=320)).dsp == 256


def test_two_products_to_a_dsp() -> None:
    net = network()
    two = largest(net, SPEC, Z2, "dsp2")
    assert (two.pe * two.simd, two.dsp) == (256, 128)
    with pytest.raises(ConfigError, match="at most 25 for a DSP of pynq-z2, not 26"):
        largest(net, replace(SPEC, weight_bits=8, act_bits=8), Z2, "dsp2")


def test_block_ram_bounds_it_too() -> None:
    """Fewer blocks: a smaller array; and none at all is refused with the reason."""
    net = network()
    plenty = largest(net, SPEC, Z2)
    few = largest(net, SPEC, replace(Z2, bram36=plenty.bram18 // 2))
    assert few.bram18 <= plenty.bram18 * 0.8
    assert few.images_per_second < plenty.images_per_second  # fewer multipliers, or fewer lanes
    with pytest.raises(ConfigError, match="must hold an array of 4 PEs or more: block RAM"):
        largest(net, SPEC, replace(Z2, bram36=1))


def test_streamed_weights_wait_for_the_port() -> None:
    net = network()
    spec = replace(SPEC, pe=16, simd=8)
    assert port_cycles(spec, Z2) == 16 * 8 * 4 // 64
    assert port_cycles(SPEC, Z2) == 1
    # a byte takes ten bits of 25 cycles, 50 MHz by 2 Mbaud
    assert port_cycles(spec, boards.find("ulx3s-85f")) == 16 * 8 * 4 // 8 * 10 * 25
    schedule, options = identity_schedule(net, SPEC), CoreOptions()
    once, slow = (image_cycles(net, schedule, (True, False), options, n) for n in (1, 8))
    beats = schedule.layers[1].passes * SPEC.steps(net.layers[1].depth)
    assert slow - once == 7 * beats


def test_the_command_line() -> None:
    """A row for each board, and an option that does nothing is refused."""
    run = CliRunner().invoke(app, ["boards", "--fit", "digits-cnn"])
    assert run.exit_code == 0, run.output
    for name in boards.BOARDS:
        assert name in run.output
    assert "16 x 8" in run.output
    for given in (["--data", "here"], ["--multipliers", "dsp2"]):
        run = CliRunner().invoke(app, ["boards", *given])
        assert isinstance(run.exception, ConfigError)
        assert str(run.exception) == f"{given[0]} has no effect without --fit MODEL; leave it out"
