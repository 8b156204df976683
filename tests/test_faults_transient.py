"""The study's LIM and INF profiles and its probability files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError, FaultProfileError
from hascodesign.contract.types import ArraySpec, Fault
from hascodesign.faults.transient import from_probabilities, inf, lim, read_probabilities

ARRAY = ArraySpec(4, 2, 4, 8, 24)
TABLE = np.array([[0.1, 0.2, 0.0, 1.0], [0.3, 0.4, 0.0, 0.5]])


def test_a_block_and_the_mean() -> None:
    one = from_probabilities(ARRAY, TABLE, block=1, bits=(3, 9), seed=4)
    assert one.faults == (
        Fault(0, "transient", "psum", p=0.3, bits=(3, 9)),
        Fault(1, "transient", "psum", p=0.4, bits=(3, 9)),
        Fault(3, "transient", "psum", p=0.5, bits=(3, 9)),
    )
    assert one.seed == 4
    mean = from_probabilities(ARRAY, TABLE, block="mean")
    assert [fault.p for fault in mean.faults] == [0.2, 0.30000000000000004, 0.75]


def test_all_blocks_side_by_side() -> None:
    wide = from_probabilities(ArraySpec(8, 2, 4, 8, 24), TABLE, block="all")
    assert {fault.pe: fault.p for fault in wide.faults} == {
        0: 0.1,
        1: 0.2,
        3: 1.0,
        4: 0.3,
        5: 0.4,
        7: 0.5,
    }


def test_in_ws_the_partial_sum_is_the_last_cell_s() -> None:
    profile = from_probabilities(ArraySpec(4, 2, 4, 8, 24, "ws"), TABLE)
    assert {fault.simd for fault in profile.faults} == {1}


def test_lim_and_inf() -> None:
    array = ArraySpec(1000, 2, 4, 8, 24)
    one = [fault.p or 0 for fault in lim(array, generator(1, "x"), pmax=0.5).faults]
    assert len(one) == 1000
    assert max(one) <= 0.5
    assert np.mean(one) == pytest.approx(0.25, abs=0.02)
    assert np.std(one) == pytest.approx(0.5 / 12**0.5, rel=0.1)
    mean = lim(array, generator(1, "x"), pmax=0.5, block="mean")
    assert np.std([f.p or 0 for f in mean.faults]) == pytest.approx(0.5 / 120**0.5, rel=0.1)
    small = ArraySpec(8, 2, 4, 8, 24)
    every = [fault.p or 0 for fault in inf(small, generator(1, "x"), pmax=0.5).faults]
    assert every == pytest.approx([0.25] * 8, abs=0.005)
    assert inf(small, generator(1, "x"), pmax=0.5).conditions["blocks"] == 20_000
    wide = lim(ArraySpec(320, 2, 4, 8, 24), generator(1, "x"), pmax=0.005, block="all")
    assert len(wide.faults) == 320


def test_what_does_not_fit_is_named() -> None:
    rng = np.random.default_rng(1)
    for call, words in (
        (lambda: lim(ARRAY, rng, pmax=1.5), r"pmax must be a number in \[0, 1\], not 1\.5"),
        (lambda: lim(ARRAY, rng, pmax=0.5, blocks=0), "blocks must be 1.."),
        (lambda: lim(ARRAY, rng, pmax=0.5, block=10), r"block must be 0\.\.9, mean or all, not 10"),
        (lambda: lim(ARRAY, rng, pmax=0.5, block="all"), "multiple of the 10 blocks, not 4"),
        (lambda: lim(ARRAY, rng, pmax=0.5, bits=(0, 24)), "entry 0: bits at site psum must be"),
        (lambda: from_probabilities(ARRAY, TABLE[:, :3]), "must be the 4 PEs, not 3"),
        (lambda: from_probabilities(ARRAY, TABLE, block="all"), "2 blocks x 4 threads, not 4"),
    ):
        with pytest.raises(ConfigError, match=words):
            call()


def saved(path: Path, values: object) -> Path:
    np.save(path, np.asarray(values), allow_pickle=True)
    return path


def test_a_file_of_probabilities(tmp_path: Path) -> None:
    path = saved(tmp_path / "p.npy", TABLE.astype(np.float32))
    np.testing.assert_array_equal(read_probabilities(path), TABLE.astype(np.float32))
    for values, words in (
        (TABLE[0], "must hold numbers [blocks, threads], not float64 (4,)"),
        (np.empty((0, 4)), "not float64 (0, 4)"),
        ([["a"]], "must be a .npy file of numbers, not dtype '<U1'"),
        ([[{}]], "must be a .npy file of numbers"),
        ([[0.5, np.nan]], "block 0, thread 1: p must be in [0, 1], not nan"),
        ([[0.5], [1.5]], "block 1, thread 0: p must be in [0, 1], not 1.5"),
        ([[-1e-9]], "block 0, thread 0: p must be in [0, 1], not -1e-09"),
    ):
        bad = saved(tmp_path / "bad.npy", values)
        with pytest.raises(FaultProfileError) as caught:
            read_probabilities(bad)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    archive = tmp_path / "z.npy"
    with archive.open("wb") as stream:
        np.savez(stream, p=TABLE)
    with pytest.raises(FaultProfileError, match=r"not an \.npz archive"):
        read_probabilities(archive)


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    buffer = io.BytesIO()
    np.save(buffer, TABLE)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        values = read_probabilities(path)
    except FaultProfileError as error:
        assert "\n" not in str(error)
    else:
        assert values.ndim == 2
        assert ((values >= 0) & (values <= 1)).all()
