"""Vector files: content, bytes, and what a stranger finds in them."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract import arithmetic, array
from hascodesign.contract.types import Fault, FaultProfile
from hascodesign.engine import reference
from hascodesign.verify.vectors import KEYS, Vectors, check_vectors, npz
from tests import verify_cases as cases


def vectors(profile=cases.PROFILE, index=0, seed=0):
    net = cases.network()
    schedule = cases.schedule(net)
    layer, row_map = net.layers[index], schedule.layers[index]
    base = array.wmem_bases(net, schedule)[index]
    activations = np.random.default_rng(seed).integers(0, 256, (layer.depth, 6))
    counters = np.array([3, 8, 9, 1000, 70000, 70001])
    acc = reference.accumulate(
        profile, layer, row_map, activations, wmem_base=base, columns=counters
    )
    codes = acc if layer.output is None else arithmetic.output_codes(layer.output, acc)
    order = array.k_order(layer.depth, profile.array.simd)
    return Vectors(layer, row_map, order, base, counters, activations, acc, codes)


def load(content):
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def test_result_file_holds_what_the_simulation_gave():
    made = vectors()
    content = load(made.result_file(made.acc + 1, made.codes + 2))
    assert tuple(content) == KEYS
    assert np.array_equal(content["weights"], made.layer.weights)
    assert np.array_equal(content["activations"], made.activations)
    assert not content["act_signed"]
    assert np.array_equal(content["k_order"], made.order)
    assert np.array_equal(content["slots"], made.row_map.slots)
    assert content["wmem_base"] == 0
    assert content["layer_index"] == 0
    assert np.array_equal(content["columns"], made.columns)
    assert np.array_equal(content["acc"], made.acc + 1)
    assert np.array_equal(content["codes"], made.codes + 2)
    assert load(vectors(index=1).result_file(made.acc, made.codes))["wmem_base"] == 12


def test_bench_file_holds_the_expectation_and_the_bias():
    made = vectors()
    content = load(made.bench_file())
    assert set(content) == {*KEYS, "bias"}
    assert np.array_equal(content["bias"], made.layer.bias)
    assert np.array_equal(content["acc"], made.acc)
    assert np.array_equal(content["codes"], made.codes)


def test_same_content_same_bytes():
    made = vectors()
    assert made.result_file(made.acc, made.codes) == vectors().result_file(made.acc, made.codes)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(io.BytesIO(npz({"a": np.arange(3)}, compression))) as archive:
            (entry,) = archive.infolist()
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.compress_type == compression


def test_no_pickle():
    with pytest.raises(ValueError, match="pickle"):
        npz({"a": np.array([json], dtype=object)})


@pytest.mark.parametrize("index", [0, 1])
def test_check_vectors_counts_wrong_accumulators(index):
    made = vectors(index=index)
    right = made.result_file(made.acc, made.codes)
    assert check_vectors(right, cases.PROFILE) == 0
    wrong = made.acc.copy()
    wrong[1, 2] ^= 1
    wrong[0, 5] ^= 1 << 15
    assert check_vectors(made.result_file(wrong, made.codes), cases.PROFILE) == 2


def test_check_vectors_sees_the_wrong_profile_map_or_sign():
    made = vectors()
    healthy = replace(cases.PROFILE, faults=())
    assert check_vectors(made.result_file(made.acc, made.codes), healthy) > 0
    turned = replace(made.row_map, slots=np.roll(made.row_map.slots, 1, axis=1))
    moved = replace(made, row_map=turned)
    assert check_vectors(moved.result_file(made.acc, made.codes), cases.PROFILE) > 0
    signed = replace(made, layer=replace(made.layer, in_signed=True))
    assert check_vectors(signed.result_file(made.acc, made.codes), cases.PROFILE) > 0


def test_check_vectors_takes_the_files_order_counters_and_base():
    transient = FaultProfile(
        cases.ARRAY,
        (
            Fault(2, "transient", "psum", p=0.5, bits=(0, 7)),
            Fault(1, "flip", "wmem", simd=0, bit=3, address=13),
        ),
        seed=3,
    )
    made = vectors(transient, index=1)
    assert check_vectors(made.result_file(made.acc, made.codes), transient) == 0
    for other in (
        replace(made, columns=made.columns + 1),
        replace(made, wmem_base=made.wmem_base + 1),
        replace(made, order=made.order[::-1]),
        replace(made, layer=replace(made.layer, index=2)),
    ):
        assert check_vectors(other.result_file(made.acc, made.codes), transient) > 0
