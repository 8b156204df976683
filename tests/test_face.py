"""``import hascodesign`` is enough for a notebook, and costs nothing until it is used."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import hascodesign as has
from hascodesign.contract.arithmetic import quantise, walk
from hascodesign.contract.array import identity_schedule, wmem_bases
from hascodesign.contract.results import SearchResult
from hascodesign.contract.types import ArraySpec
from hascodesign.engine import reference
from hascodesign.flow import notebook
from hascodesign.render.rom import build_roms, rom_files
from hascodesign.render.rom_format import on_chip_of

ARRAY = ArraySpec(8, 4, 4, 8, 24)


@pytest.fixture(scope="module")
def loaded():
    return has.load("digits-cnn")


@pytest.fixture(scope="module")
def network(loaded):
    return has.integerise(loaded)


def test_the_import_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.process_time(); import hascodesign as has; dir(has); "
        "late = time.process_time() - start > 0.1; "
        "sys.exit(late or any(m in sys.modules for m in ('torch', 'numba', 'numpy', 'pymoo')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_name_of_the_face_is_there():
    assert {name for name in has.__all__ if getattr(has, name) is not None} == set(has.__all__)
    assert has.Array is ArraySpec and has.run is notebook.flow
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = has.nothing


def test_from_a_model_to_roms(loaded, network):
    chip = has.draw_faults(ARRAY, seed=3, faulty_pes=2)
    found = has.search(
        network, chip, loaded.dataset.calibration, moves=(), evaluations=30, random_maps=2
    )
    judged = has.evaluator(network, chip, loaded.dataset.heldout).judge(found.schedule)
    assert judged.n == 539
    plan = has.build(network, found, chip)
    assert {"faults.json", "schedule.json", "roms/row_map.mem", "rtl/has_core.v"} <= set(plan.files)
    module = has.torch.FaultyNetwork(network, chip, found)
    images = torch.from_numpy(np.array(loaded.dataset.heldout.images))
    classes = module(images).argmax(dim=1).numpy()
    assert int((classes == loaded.dataset.heldout.labels).sum()) == judged.correct


def test_the_module_answers_as_the_reference_does(loaded, network):
    chip = has.draw_faults(ARRAY, seed=5, faulty_pes=8, bits="upper")
    images = loaded.dataset.heldout.images[:3]
    got = has.torch.FaultyNetwork(loaded, chip).integers(torch.from_numpy(np.array(images)))
    schedule = identity_schedule(network, ARRAY)
    bases = wmem_bases(network, schedule)

    def accumulate(layer, activations):
        row_map, base = schedule.layers[layer.index], bases[layer.index]
        return reference.accumulate(chip, layer, row_map, activations, wmem_base=base)

    traces = list(walk(network, quantise(images, network.input), accumulate))
    assert np.array_equal(got.numpy(), traces[-1].codes.T) and got.numel() == 30


def test_gradients_are_refused(network):
    module = has.torch.FaultyNetwork(network, has.draw_faults(ARRAY))
    with pytest.raises(has.HascodesignError, match=r"must not require gradients"):
        module(torch.zeros((1, 1, 8, 8), requires_grad=True))


def test_what_does_not_fit_is_refused(network):
    with pytest.raises(has.HascodesignError, match="needs data"):
        has.load("net.py:factory")
    narrow = has.draw_faults(ArraySpec(8, 4, 2, 8, 24))
    with pytest.raises(has.HascodesignError, match="weight-bits"):
        notebook.check_fit(network, narrow)
    wide = has.draw_faults(ArraySpec(8, 4, 4, 8, 32))
    with pytest.raises(has.HascodesignError, match="integerise it with acc_bits=32"):
        notebook.check_fit(network, wide)
    with pytest.raises(has.HascodesignError, match="digits-cnn brings its own"):
        has.load("digits-cnn", data="images.npz")
    plain = identity_schedule(network, ARRAY)
    found = SearchResult(plain, "given", 1, 0.0, 0.0, (), ())
    with pytest.raises(has.HascodesignError, match="render pipeline: Input should be less than"):
        has.build(network, found, has.draw_faults(ARRAY), pipeline=9)


@pytest.mark.parametrize("inside", [(True, True, True), (True, False, True), (False,) * 3])
def test_a_plan_says_which_weights_it_holds(network, inside):
    files = rom_files(build_roms(network, identity_schedule(network, ARRAY), inside))
    assert on_chip_of(files, [layer.name for layer in network.layers]) == inside
