"""Bodies of the `faults` commands: every method draws, every source loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract.errors import ConfigError, FaultProfileError
from hascodesign.contract.types import ArraySpec, Fault
from hascodesign.faults import commands
from hascodesign.faults.commands import DrawOptions, LoadOptions
from hascodesign.faults.formats import parse, read
from hascodesign.faults.show import render_svg, render_text

ARRAY = ArraySpec(16, 8, 4, 8, 24, "os", 100)


@pytest.mark.parametrize(
    "method", ["by-area", "uniform", "clustered", "dead", "lim", "inf", "threshold"]
)
@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_every_method_draws_the_same_bytes_from_the_same_seed(method: str, dataflow: str) -> None:
    array = ArraySpec(16, 8, 4, 8, 24, dataflow, 100)
    options = DrawOptions(volts=0.53)
    data = commands.draw(array, 5, method, "csv", options)
    assert data == commands.draw(array, 5, method, "csv", options)
    profile = parse(data, "csv")
    assert profile.faults
    assert profile.seed == 5
    assert profile.array == array
    if method != "inf":  # a mean of 20,000 differs in the last digits only
        assert (
            profile.faults != parse(commands.draw(array, 6, method, "csv", options), "csv").faults
        )


def test_unknown_names_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"the method must be by-area, .* or threshold, not 'gauss'"
    ):
        commands.draw(ARRAY, 1, "gauss")
    with pytest.raises(FaultProfileError, match="the format must be json or csv, not 'xml'"):
        commands.draw(ARRAY, 1, form="xml")
    with pytest.raises(ConfigError, match="block must be a number, mean or all, not 'x'"):
        commands.draw(ARRAY, 1, "lim", options=DrawOptions(block="x"))


def test_a_profile_is_converted_and_shown(tmp_path: Path) -> None:
    path, other = tmp_path / "faults.json", tmp_path / "faults.csv"
    data = commands.draw(ARRAY, 5)
    path.write_bytes(data)
    other.write_bytes(commands.convert(path, "csv"))
    assert commands.convert(other, "json") == data
    profile = read(path)
    assert commands.load(other) == profile
    assert commands.show_text(other).plain == render_text(profile).plain
    assert commands.show_svg(other) == render_svg(profile)
    assert "masks.json" in commands.mask_files(other)


def test_cells_give_a_profile_at_each_voltage(tmp_path: Path) -> None:
    path = tmp_path / "board.cells.json"
    path.write_bytes(commands.draw(ARRAY, 1, "threshold"))
    low = commands.load(path, LoadOptions(volts=0.53))
    high = commands.load(path, LoadOptions(volts=0.55))
    assert set(high.faults) < set(low.faults)
    with pytest.raises(ConfigError, match=r"board\.cells\.json: the voltage must be given"):
        commands.load(path)


def test_probabilities_become_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "p.npy"
    np.save(path, np.full((3, 16), 0.25))
    profile = commands.load(path, LoadOptions(array=ARRAY, block="mean", seed=3))
    assert profile.faults[15] == Fault(15, "transient", "psum", p=0.25, bits=(6, 14))
    assert profile.seed == 3
    with pytest.raises(ConfigError, match=r"p\.npy: the array must be given"):
        commands.load(path)


def test_a_measured_list_becomes_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "faults.csv"
    path.write_text("vccbram_volt,bram,address,bit\n0.53,3,7,5\n")
    for source in (path, tmp_path):
        profile = commands.load(source, LoadOptions(array=ARRAY, volts=0.53, first_bram=3))
        assert profile.faults == (Fault(0, "sa0", "wmem", 1, 1, 7),)
    with pytest.raises(ConfigError, match="the voltage must be given"):
        commands.load(path, LoadOptions(array=ARRAY))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("a.csv", "a.json", "a.npy", "a.cells.json", "a"):
        with pytest.raises(ConfigError, match=f"{name}: ") as caught:
            commands.load(tmp_path / name, LoadOptions(array=ARRAY, volts=0.53))
        assert "\n" not in str(caught.value)
