"""The readers that are fuzzed: a few sound files of each, how they are damaged, what must hold."""

from __future__ import annotations

import gzip
import io
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hascodesign.common import inputs
from hascodesign.common.arrays import read_npz
from hascodesign.contract.array import identity_map, identity_schedule
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Dataset, FaultProfile, Schedule
from hascodesign.faults import bram, commands, formats, transient, voltage
from hascodesign.flow.config import FlowConfig, board_config, load_config
from hascodesign.healing import build as builds
from hascodesign.models import qonnx
from hascodesign.models.data import user_data
from hascodesign.models.load import load_checkpoint
from hascodesign.render.driver import describe
from hascodesign.schedule import formats as schedules
from tests import fuzz_mutations as mutations
from tests import qonnx_cases
from tests.fuzz_mutations import ANY, TABLE, TEXT, Mutation
from tests.schedule_stand_in import array, dense_network

NETWORK = dense_network([6, 3], 5, seed=1)
ARRAY = array()
SMALL = ArraySpec(4, 2, 4, 8, 24, "os", 64)


@dataclass(frozen=True)
class Case:
    """One reader."""

    name: str  # of the file
    seeds: Sequence[bytes]
    mutations: Sequence[Mutation]
    read: Callable[[Path], Any]
    check: Callable[[Any, Path], None]  # an accepted input, and a folder to write it into anew
    beside: tuple[str, bytes] | None = None  # a sound file beside the damaged one


# ------------------------------------------------------------------------------------ fault files


def _profile_again(profile, folder):
    for form in ("json", "csv"):
        assert formats.parse(formats.write(profile, form), form) == profile
    assert len({fault for fault in profile.faults if fault.kind == "dead"}) <= profile.array.pe


def _same_cells(cells, folder):
    again = voltage.parse_cells(voltage.write_cells(cells))
    assert again.profile == cells.profile
    assert np.array_equal(again.thresholds_uv, cells.thresholds_uv)
    assert (again.floor_uv, again.nominal_uv) == (cells.floor_uv, cells.nominal_uv)


def _same_list(measured, folder):
    rows = [f"{uv / 1e6:.6f},{b},{a},{bit}" for uv, bits in measured.faults.items()
            for b, a, bit in bits.tolist()]  # fmt: skip
    (folder / "again.csv").write_text("\n".join([",".join(bram.COLUMNS), *rows, ""]))
    again = bram.read_map(folder / "again.csv")
    assert again.faults.keys() == measured.faults.keys()
    assert all(np.array_equal(again.faults[uv], measured.faults[uv]) for uv in again.faults)


def _same_chances(values, folder):
    assert values.dtype == np.float64
    assert ((values >= 0) & (values <= 1)).all()
    np.save(folder / "again.npy", values)
    assert np.array_equal(transient.read_probabilities(folder / "again.npy"), values)


def _npy(values, version=(1, 0)):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(values), version)
    return buffer.getvalue()


def _measured() -> bytes:
    rows = ["0.60,3,7,1", "0.55,3,7,1", "0.55,0,1023,15", "0.53,889,0,0"]
    return "\n".join([",".join(bram.COLUMNS), *rows, ""]).encode()


def fault_cases() -> list[Case]:
    drawn = [commands.draw(SMALL, seed, method, form, commands.DrawOptions(count=3))
             for seed, method, form in ((1, "uniform", "json"), (2, "lim", "json"),
                                        (3, "dead", "json"))]  # fmt: skip
    tables = [formats.write(formats.parse(data, "json"), "csv") for data in drawn]
    cells = voltage.write_cells(voltage.draw_cells(SMALL, np.random.default_rng(0)))
    drawn_chances = np.random.default_rng(0).random((20, 16))
    ones = np.asfortranarray(np.eye(4, dtype=">f8"))
    arrays = [_npy(drawn_chances), _npy(np.zeros((1, 4), "<f4"), (2, 0)), _npy(ones),
              _npy(np.ones((2, 2), "u1"))]  # fmt: skip
    binary = (
        *ANY,
        *[mutations.payload] * 4,
        mutations.header,
        mutations.header,
        mutations.number,
        mutations.number,
    )
    return [
        Case("faults.json", drawn, (*ANY, *TEXT, *TEXT), formats.read, _profile_again),
        Case("faults.csv", tables, (*ANY, *TABLE, *TABLE), formats.read, _profile_again),
        Case("chip.cells.json", [cells], (*ANY, *TEXT, *TEXT), voltage.read_cells, _same_cells),
        Case("list.csv", [_measured()], (*ANY, *TABLE), bram.read_map, _same_list),
        Case("p.npy", arrays, binary, transient.read_probabilities, _same_chances),
    ]


# --------------------------------------------------------------------------- schedules, flow files


def _read_schedule(path):
    return schedules.from_json(inputs.read(path, inputs.SCHEDULE), NETWORK, ARRAY)


def _same_schedule(schedule, folder):
    again = schedules.from_json(schedules.to_json(schedule), NETWORK, ARRAY)
    for one, other in zip(again.layers, schedule.layers, strict=True):
        assert np.array_equal(one.slots, other.slots)


def _same_config(config, folder):
    assert FlowConfig.model_validate(config.model_dump()) == config


def _read_core(path):
    """Read as `heal` does: the options that it fixes, and the schedule held against it."""
    core = builds.read_core(path)
    builds.settings(core, load_config(board_config("pynq-z2"), {}))
    plain = identity_schedule(NETWORK, ARRAY)
    refusal = builds.InUse(None, core, plain, NETWORK).refusal(NETWORK, plain)
    if refusal:
        raise ConfigError(f"{path}: {refusal}")
    return core


def _same_core(core, folder):
    (folder / "again.json").write_text(json.dumps(core))
    assert builds.read_core(folder / "again.json") == core
    assert {one["name"] for one in core["memories"]} >= {"weights", "row_map"}
    assert 0 < core["clock_mhz"] < 1e6


def text_cases() -> list[Case]:
    cores = [json.dumps(describe(NETWORK, identity_schedule(NETWORK, ARRAY), FaultProfile(ARRAY),
                                 (True, True), clock, baud), indent=1).encode()
             for clock, baud in ((100.0, None), (40.625, 2_000_000))]  # fmt: skip
    plain = schedules.to_json(identity_schedule(NETWORK, ARRAY))
    maps = tuple(identity_map(layer, ARRAY.pe, passes=3) for layer in NETWORK.layers)
    spare = schedules.to_json(Schedule(ARRAY, maps))
    flows = [board_config(name).read_bytes() for name in ("pynq-z2", "kv260")]
    changes = {"array.pe": 8, "seed": 5}
    return [
        Case("schedule.json", [plain, spare], (*ANY, *TEXT, *TEXT), _read_schedule, _same_schedule),
        Case("flow.toml", flows, (*ANY, *TEXT, *TEXT),
             lambda path: load_config(path, changes), _same_config),
        Case("core.json", cores, (*ANY, *TEXT, *TEXT), _read_core, _same_core),
    ]  # fmt: skip


# ------------------------------------------------------------------------------ data, checkpoints


def _sound_data(data: Dataset, folder):
    for split in (data.calibration, data.heldout):
        assert split.images.dtype == np.float32
        assert split.images.ndim == 4
        assert np.isfinite(split.images).all()
        assert split.labels.dtype == np.int64
        assert split.labels.shape == split.images.shape[:1] != (0,)
        assert split.labels.min() >= 0
    kept = data.heldout
    np.savez(folder / "again.npz", images=kept.images, labels=kept.labels)
    again = read_npz(folder / "again.npz", inputs.NPZ, ("images", "labels"))
    assert np.array_equal(again["images"], kept.images)
    assert np.array_equal(again["labels"], kept.labels)


def _idx(values):
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def data_cases() -> list[Case]:
    rng = np.random.default_rng(0)
    labels = np.arange(18) % 3
    images = rng.integers(0, 256, (18, 4, 3))
    archives = []
    for save, pixels in (
        (np.savez, rng.random((18, 1, 4, 4)).astype(np.float32)),
        (np.savez_compressed, images.astype(np.uint8)),
        (np.savez_compressed, rng.random((18, 3, 2, 2))),
    ):
        buffer = io.BytesIO()
        save(buffer, images=pixels, labels=labels)
        archives.append(buffer.getvalue())
    member = mutations.inside_zip(
        (*ANY, *[mutations.payload] * 3, mutations.header, mutations.number, mutations.token)
    )
    packed = mutations.inside_gzip(
        (*ANY, *[mutations.payload] * 3, mutations.header, mutations.header)
    )
    plain = (_idx(images), _idx(images[:, :2]))
    beside = ("t10k-labels-idx1-ubyte", _idx(labels))
    name = "t10k-images-idx3-ubyte"

    def folder(path):
        return user_data(path.parent)

    return [
        Case("data.npz", archives, (*ANY, *[mutations.zip_field] * 6, *[member] * 12), user_data,
             _sound_data),
        Case(name, plain, (*ANY, *[mutations.header] * 4), folder, _sound_data, beside),
        Case(f"{name}.gz", [gzip.compress(p, mtime=0) for p in plain],
             (*ANY, mutations.header, *[packed] * 10), folder, _sound_data, beside),
    ]  # fmt: skip


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def _filled(path):
    model = _model()
    load_checkpoint(model, path)
    return model


def _same_model(model, folder):
    torch.save(model.state_dict(), folder / "again.pt")
    again = _filled(folder / "again.pt").state_dict()
    for key, value in model.state_dict().items():
        one, other = (t.reshape(-1).view(torch.uint8) for t in (value, again[key]))
        assert torch.equal(one, other)


def checkpoint_cases() -> list[Case]:
    torch.set_num_threads(1)
    state = _model().state_dict()
    forms: dict[bool, list[bytes]] = {True: [], False: []}
    for new, found in forms.items():
        for content in (state, {"state_dict": dict(state), "epoch": 3}):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=new)
            found.append(buffer.getvalue())
    forms[False].append(pickle.dumps({"a": [1, 2]}, 2))
    inner = mutations.inside_zip(
        (*ANY, *[mutations.payload] * 3, mutations.header, mutations.number, mutations.token)
    )
    edits = (*ANY, mutations.header, mutations.number, mutations.token)
    return [
        Case("new.pt", forms[True], (*edits, *[mutations.zip_field] * 5, *[inner] * 8), _filled,
             _same_model),
        Case("old.pt", forms[False], (*edits, *ANY), _filled, _same_model),
    ]  # fmt: skip


def _runs(network, folder):
    """What was accepted gives something for an image of zeros."""
    with torch.no_grad():
        out = network.eval()(torch.zeros((1, *network.in_shape), dtype=torch.float64))
    assert getattr(out, "value", out).shape[0] == 1


def network_cases() -> list[Case]:
    seeds = [made().bytes() for made in (qonnx_cases.mlp, qonnx_cases.cnn, qonnx_cases.binary)]
    return [Case("net.onnx", seeds, (*ANY, mutations.number, mutations.token), qonnx.load, _runs)]


def cases() -> dict[str, Case]:
    """Every reader by the name of its file."""
    found = [*fault_cases(), *text_cases(), *data_cases(), *checkpoint_cases()]
    found += network_cases()
    return {case.name: case for case in found}
