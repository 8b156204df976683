"""The HAS study in its own arithmetic: the faults to the bit, the schedule, the files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError, ModelError
from hascodesign.study.has import experiment as has
from hascodesign.study.has import forward as has_forward
from hascodesign.study.has import integer as has_integer
from hascodesign.study.has import layers as has_layers
from hascodesign.study.has import model as has_model
from hascodesign.study.has import report as has_report
from hascodesign.study.has import search as has_search
from hascodesign.study.has.faults import (
    KINDS,
    PMAX,
    BlockProfile,
    corrupted,
    draw_profile,
    first_tiles,
    plain_map,
    strike,
)
from hascodesign.study.has.forward import FirstLayer, Strike, walk
from hascodesign.study.has.model import Images, StudyLayer, StudyNetwork
from hascodesign.study.has.rescale import rescaled

SMALL = has_model.Recipe(16, (64, 10), 3, 64, 5e-3)


def network(rng, hot=()):
    """Random network of 16x16 images; the rows in ``hot`` have partial sums above 2."""
    scale = np.full((32, 1), 0.1)
    scale[list(hot)] = 2.0
    shapes = [(32, 16, 16), (40, 32 * 36, 32), (10, 40, 32)]
    layers = [
        StudyLayer(
            (rng.normal(size=(rows, depth)) * (scale if n == 0 else 0.05)).astype(np.float32),
            rng.normal(size=rows).astype(np.float32) * np.float32(0.1),
            tile,
        )
        for n, (rows, depth, tile) in enumerate(shapes)
    ]
    return StudyNetwork("digits", 16, tuple(layers))


def labelled(net, rng, n):
    """Images whose labels are what the healthy network answers."""
    pixels = rng.normal(size=(n, 16, 16)).astype(np.float32)
    return Images(pixels, walk(net, pixels, (None, None, None), 0).argmax(axis=1))


def bits(value):
    return int(np.float32(value).view(np.uint32))


# ---------------------------------------------------------------------------------- the corruption


@pytest.mark.parametrize("value", [3.0, -1.7, 0.3, 2.0])
def test_kinds_change_the_drawn_bit_and_no_other(value):
    for place in range(7):
        draw, bit = (place + 0.5) / 7, 1 << (23 + place)
        assert bits(corrupted(np.float32(value), 0, draw)) == bits(value) ^ bit
        assert bits(corrupted(np.float32(value), 1, draw)) == bits(value) | bit
        assert bits(corrupted(np.float32(value), 2, draw)) == bits(value) & ~bit
    assert bits(corrupted(np.float32(value), 3, 0.5)) == bits(value) >> 13 << 13
    assert bits(corrupted(np.float32(value), 4, 0.5)) == bits(value) >> 16 << 16


def test_below_two_stays_below_two_and_above_explodes():
    for place in range(7):
        assert abs(corrupted(np.float32(1.99), 0, (place + 0.5) / 7)) < 2
    assert corrupted(np.float32(3.0), 0, 6.5 / 7) == np.float32(3.0) * np.float32(2.0**64)


def test_strikes_are_bernoulli_and_nested():
    rng = np.random.default_rng(1)
    healthy = rng.uniform(0.5, 1.9, (3, 40_000)).astype(np.float32)
    none, weights = np.zeros((0, 16), np.float32), np.zeros((3, 16), np.float32)
    struck = []
    for chance in (0.004, 0.01, 0.02):
        sums = healthy.copy()
        p = np.array([[chance], [0.02], [0.0]])
        strike(sums, none, weights, p, 0.02, 16, KINDS.index("invert"), 7)
        struck.append(sums != healthy)
    low, middle, high = (one[0] for one in struck)
    assert not (low & ~middle).any() and not (middle & ~high).any()
    for one, chance in zip((low, middle, high), (0.004, 0.01, 0.02), strict=True):
        assert abs(one.mean() - chance) < 5 * np.sqrt(chance / 40_000)
    assert (struck[0][1] == struck[2][1]).all()  # the row at one probability meets one set
    assert not struck[0][2].any()


def test_each_tile_is_struck_on_its_own():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(2, 80)).astype(np.float32)
    inputs = rng.normal(size=(500, 80)).astype(np.float32)
    healthy = weights @ inputs.T
    p = np.array([[0.0, 0.05, 0.0], [0.0, 0.0, 0.05]])
    sums = healthy.copy()
    strike(sums, inputs, weights, p, 0.05, 32, KINDS.index("set1"), 3)
    for row, (start, stop) in enumerate([(32, 64), (64, 80)]):
        columns = np.flatnonzero(sums[row] != healthy[row])
        assert 5 < len(columns) < 60
        for column in columns:
            partial = np.float32(weights[row, start:stop] @ inputs[column, start:stop])
            options = [
                healthy[row, column] + (corrupted(partial, 1, (place + 0.5) / 7) - partial)
                for place in range(7)
            ]
            assert np.isclose(sums[row, column], options, rtol=1e-4, atol=1e-4).any()


# ------------------------------------------------------------------------------------- the blocks


def test_blocks_are_taken_in_turn():
    profile = BlockProfile(np.arange(10 * 32).reshape(10, 32) / 320, 1.0)
    slots = profile.slots(2, 4, first=7)
    assert slots.shape == (64, 4)
    # group 1, K-tile 2 is the seventh tile of the layer, behind seven of the layers before
    assert slots[32 + 5, 2] == profile.p[(7 + 4 + 2) % 10, 5]


def test_tiles_of_earlier_layers_count():
    assert first_tiles(network(np.random.default_rng(0))) == (0, 1, 1 + 2 * 36)


def test_profiles_fill_the_range():
    profile = draw_profile(generator(3, "p"), 0.5, "inf")
    assert profile.p.shape == (20_000, 32)
    assert profile.p.max() < 0.5 and abs(profile.p.mean() - 0.25) < 0.01
    assert PMAX[0] == 0.001 and PMAX[-1] == 0.999 and len(PMAX) == 11


@pytest.mark.parametrize(("pmax", "blocks", "words"), [(0, "lim", "above 0"), (0.1, "x", "lim")])
def test_bad_profiles_are_refused(pmax, blocks, words):
    with pytest.raises(ConfigError, match=words):
        draw_profile(generator(3, "p"), pmax, blocks)


# -------------------------------------------------------------------------------- the evaluations


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pmax", [0.01, 0.9])
def test_only_what_changes_gives_the_same_as_the_whole_walk(kind, pmax):
    rng = np.random.default_rng(4)
    net = network(rng, hot=(1, 5))
    images = labelled(net, rng, 60)
    first = FirstLayer(net, images, kind)
    assert first.healthy.all()
    for seed in range(3):
        p = rng.random(32) * pmax
        struck = (Strike(p[:, None], pmax, kind), None, None)
        expected = walk(net, images.pixels, struck, seed).argmax(axis=1) == images.labels
        # sums in another order may round a tie apart, no more
        assert (first.correct(p, pmax, seed) != expected).sum() <= 1
    assert (first.correct(np.zeros(32), pmax, 0) == first.healthy).all()


def test_a_later_layer_can_be_struck():
    rng = np.random.default_rng(5)
    net = network(rng)
    pixels = rng.normal(size=(50, 16, 16)).astype(np.float32)
    healthy = walk(net, pixels, (None, None, None), 0)
    p = np.zeros((10, 2))
    p[3, 1] = 0.5
    faulty = walk(net, pixels, (None, None, Strike(p, 0.5, "invert")), 0)
    changed = (faulty != healthy).any(axis=0)
    assert changed[3] and changed.sum() == 1


# ---------------------------------------------------------------------------------- the schedules


def test_hot_rows_go_to_the_best_threads():
    rng = np.random.default_rng(6)
    net = network(rng, hot=(2, 9))
    first = FirstLayer(net, labelled(net, rng, 200), "invert")
    curves = has_search.measure_curves(first, 0.02, 1)
    assert (np.diff(curves.lost, axis=1) >= 0).all()
    assert set(np.argsort(-curves.lost[:, -1])[:2]) == {2, 9}
    p = rng.permutation(np.linspace(0.0005, 0.02, 32))
    found = has_search.schedule(first, curves, p, 0.02, 1)
    assert sorted(found.slots) == list(range(32))
    assert {*np.argsort(p[found.slots])[:3]} >= {2, 9}
    assert found.bound < found.plain_cost
    identity = plain_map(32)
    scheduled, plain = (
        np.mean([first.correct(p[slots], 0.02, 50 + n).mean() for n in range(4)])
        for slots in (found.slots, identity)
    )
    assert scheduled > plain + 0.02


def test_costs_add_where_chances_multiply():
    curves = has_search.Curves(np.array([0.0, 0.1]), np.array([[0.0, 0.5], [0.0, 0.75]]), 0.0)
    half, quarter = curves.cost(np.array([0.1, 0.05]))
    assert has_search.share_lost(half[0] + quarter[0]) == pytest.approx(1 - 0.5 * 0.25)
    # half the probability: the square root of what survives
    assert has_search.share_lost(half[1]) == pytest.approx(1 - 0.5**0.5)


@pytest.mark.parametrize("every", [False, True])
def test_rescaled_rows_are_the_same_function_below_one(every):
    rng = np.random.default_rng(12)
    net = network(rng, hot=(1, 5))
    images = labelled(net, rng, 60)
    scaled = rescaled(net, images, every=every)
    healthy = (None, None, None)
    before, after = (walk(one, images.pixels, healthy, 0) for one in (net, scaled))
    power = np.float32(before[0, 0] / after[0, 0])
    assert np.frexp(power)[0] == 0.5 and (power != 1) == every
    np.testing.assert_array_equal(after * power, before)  # to the bit
    sums = np.abs(has_forward.conv_sums(scaled, images.pixels)).max(axis=(1, 2, 3))
    assert (sums < 1).all() and (sums >= 0.5).all()


def test_rescaled_rows_lose_less():
    rng = np.random.default_rng(13)
    net = network(rng, hot=(2, 9, 20))
    images = labelled(net, rng, 200)
    scaled = rescaled(net, images, every=False)
    p = np.full(32, 0.02)
    plain, other = (
        FirstLayer(one, images, "invert").correct(p, 0.02, 3).mean() for one in (net, scaled)
    )
    assert other > plain + 0.02


def test_the_assignment_is_the_bound():
    cost = np.random.default_rng(7).random((6, 8))
    slots = has_search.assign(cost)
    least = cost[np.arange(6), slots].sum()
    rng = np.random.default_rng(8)
    for _ in range(200):
        assert cost[np.arange(6), has_search.random_map(rng, 6, 8)].sum() >= least


def test_harm_is_of_rows_that_turn_the_answer():
    rng = np.random.default_rng(9)
    net = network(rng)
    images = labelled(net, rng, 20)
    invert, dropped = (has_layers.harms(net, images, kind) for kind in ("invert", "bf16"))
    assert [one.shape for one in invert] == [(40, 36), (10, 2)]
    assert all(((one >= 0) & (one <= 1)).all() for one in (*invert, *dropped))
    assert invert[1].mean() > 100 * dropped[1].mean()


# ---------------------------------------------------------------------------------- the whole study


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(has_model, "RECIPES", {"digits": SMALL})


def options(**changes):
    sizes = {"pmax": (0.02,), "kinds": ("invert",), "models": 1, "profiles": 2}
    return has.HasOptions(**(sizes | {"images": 300, "redraws": 2, "random": 2} | changes))


def timeless(result):
    return [replace(case, seconds=0) for case in result.cases]


def test_the_same_seed_gives_the_same_numbers(small, tmp_path):
    told = []
    first = has.run(options(), tmp_path, lambda *a: told.append(a))
    assert len(first.cases) == 2 and first.cases[0].plain != first.cases[1].plain
    assert ("cases", 2, 2) in told and any(what.startswith("train") for what, *_ in told)
    told.clear()
    assert timeless(has.run(options(), tmp_path, lambda *a: told.append(a))) == timeless(first)
    assert not any(what.startswith("train") for what, *_ in told)
    assert timeless(has.run(options(seed=2), tmp_path, lambda *a: None)) != timeless(first)


def test_all_layers(small, tmp_path):
    result = has.run(options(layer="all", profiles=1), tmp_path, lambda *a: None)
    (case,) = result.cases
    assert case.bound is None or case.bound <= 1
    assert 0 <= case.scheduled.value <= 100


def test_searching_and_judging_share_no_image():
    images = has_model.load_data("digits")
    seen = {pixels.tobytes() for pixels in images.calibration.pixels}
    both = sum(pixels.tobytes() in seen for pixels in images.heldout.pixels)
    assert len(images.calibration) + len(images.heldout) == 1797
    assert both <= 2  # the set itself holds a few twins


def test_mnist_needs_its_files(monkeypatch):
    monkeypatch.delenv("HASCODESIGN_DATA", raising=False)
    with pytest.raises(ModelError, match="HASCODESIGN_DATA"):
        has_model.load_data("mnist")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "cifar"}, "dataset must be one of mnist, digits, not cifar"),
        ({"kinds": ("stuck",)}, "kinds must be one of"),
        ({"pmax": (1.0,)}, "below 1, not 1"),
        ({"models": 0}, "models must be 1 or more, not 0"),
        ({"blocks": "few"}, "blocks must be one of lim, inf, not few"),
    ],
)
def test_bad_options_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        has.HasOptions(**changes)


# ---------------------------------------------------------------------------------------- the files


def result():
    def mean(value):
        return has.Mean(value, (value - 1, value + 1))

    cases = [
        has.HasCase(
            0, n, "invert", 0.005, 97.0, mean(77.0), mean(80.0), mean(94.0), mean(95.0 - 2 * n),
            0.95, 12, 20.0 + n, mean(96.0), mean(96.5),
        )
        for n in range(2)
    ]  # fmt: skip
    integer = has_integer.IntegerCase(
        "quarter", 0.01, 0, 96.0, 86.0, 87.0, 91.0, 92.0, 0.1, 0.5, 0.3, 0.28, 60, 3.0, ()
    )
    chosen = has.HasOptions("mnist", kinds=("invert",), pmax=(0.005,))
    return has.HasResult(chosen, 2000, 2000, tuple(cases), (integer,), 50.0)


def test_rows_hold_the_study_beside_ours():
    (row,) = has_report.rows(result())
    assert row.recovery == pytest.approx((0.9 + 0.8) / 2)
    assert row.recovery_of_means == pytest.approx((94.0 - 77.0) / 20.0)
    assert row.seconds == 21.0 and row.counted == 2
    assert row.rescaled_recovery == pytest.approx((96.5 - 77.0) / 20.0)
    assert row.study_recovery == pytest.approx(0.716, abs=1e-3)
    console = Console(width=200, record=True)
    console.print(has_report.table(result()))
    console.print(has_report.integer_table(result()))
    console.print(has_report.rescaled_table(result()))
    text = console.export_text()
    assert "96.50" in text and "97.5" in text  # rescaled, scheduled, and what that wins back
    assert "85.0" in text and "99.2 / 57.6 / 87.4" in text and "72" in text
    assert "Fashion conv0 and conv1" in text and "93.1 / 63 / 72.3" in text
    assert "quarter" in text and "50.0" in text and "60.0" in text  # won back, and by ten times


def test_no_ratio_below_a_point_of_loss():
    case = replace(result().cases[0], clean=77.5)
    assert case.recovery is None
    row = has_report.rows(replace(result(), cases=(case,)))[0]
    assert row.recovery is None and row.counted == 0


def test_files_are_written(tmp_path):
    has_report.write(result(), tmp_path / "out")
    content = json.loads((tmp_path / "out" / "has.json").read_text())
    assert content["version"] == 1 and content["cases"][1]["recovery"] == pytest.approx(0.8)
    assert content["integer"][0]["recovery"] == pytest.approx(0.5)
    svg = (tmp_path / "out" / "has.svg").read_bytes()
    assert svg.startswith(b"<?xml") and has_report.to_svg(result()) == svg


def test_a_quarter_of_the_pes_is_faulty():
    from hascodesign.contract.types import IntegerNetwork  # noqa: PLC0415

    net = IntegerNetwork("empty", None, (1, 1, 1), (), 1.0)
    sizes = has_integer.IntegerOptions("digits", "lim", (0.01,), 1, 1, 10, 10)
    quarter, every = (has_integer.draw(net, sizes, s, 0.01, 0) for s in ("quarter", "all"))
    assert len(quarter.faults) == 4 and len(every.faults) == 16
    assert set(quarter.faults) <= set(every.faults)
    assert all(fault.site == "psum" and fault.p <= 0.01 for fault in every.faults)
