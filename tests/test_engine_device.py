"""The torch tensors of a device give the integers of the kernels; here the device is the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hascodesign.cli.main import app
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.engine import device, device_walk
from hascodesign.engine.network import Evaluator
from tests.engine_helpers import (
    random_faults,
    random_inputs,
    random_network,
    random_schedule,
)

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def both(network, profile, codes, labels, schedule, name="cpu"):
    plain = Evaluator(network, profile, codes, labels).logits(schedule)
    on_torch = Evaluator(network, profile, codes, labels, device=name).logits(schedule)
    return plain, on_torch


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(12))
def test_whole_networks_are_the_same(seed, dataflow, monkeypatch):
    rng = np.random.default_rng(seed)
    spec = ArraySpec(4, 3, 4, 5, int(rng.choice([16, 20, 32])), dataflow)
    network = random_network(rng, spec)
    profile = FaultProfile(spec, random_faults(rng, spec, 8, words=40), seed=seed)
    codes, labels = random_inputs(rng, network, 7)
    monkeypatch.setattr(device, "CHUNK_BYTES", int(rng.choice([500, 1 << 20])))
    monkeypatch.setattr(device_walk, "BLOCK", int(rng.choice([90, 1 << 20])))
    for spare in (0, 1):
        schedule = random_schedule(rng, network, spec, spare)
        plain, on_torch = both(network, profile, codes, labels, schedule)
        np.testing.assert_array_equal(on_torch, plain)


@pytest.mark.parametrize("name", ["cpu", pytest.param("cuda", marks=on_gpu)])
@pytest.mark.parametrize("site", ["wmem", "weight", "act", "product", "psum", "acc"])
@pytest.mark.parametrize("kind", ["sa0", "sa1", "flip", "transient"])
def test_each_site_and_kind(site, kind, name):
    """Each by itself, and so that it changes the result: none is left out in silence."""
    rng = np.random.default_rng(7)
    spec = ArraySpec(4, 3, 4, 5, 16, "ws" if site == "acc" else "os")
    network = random_network(rng, spec)
    codes, labels = random_inputs(rng, network, 20)
    schedule = identity_schedule(network, spec)
    faults = random_faults(rng, spec, 40, words=30, kinds=(kind,), sites=(site,))
    profile = FaultProfile(spec, faults, seed=3)
    plain, on_torch = both(network, profile, codes, labels, schedule, name)
    np.testing.assert_array_equal(on_torch, plain)
    healthy, _ = both(network, replace(profile, faults=()), codes, labels, schedule)
    assert not np.array_equal(plain, healthy)


def test_wide_sums_are_taken_in_float64(monkeypatch):
    """8-bit weights and codes over 2,000 products pass 2^24."""
    kinds = []
    real = torch.Tensor.to

    def noted(tensor, *arguments, **named):
        kinds.extend(a for a in arguments if isinstance(a, torch.dtype))
        return real(tensor, *arguments, **named)

    monkeypatch.setattr(torch.Tensor, "to", noted)
    weights = device.Weights(np.full((2, 2000), 127, dtype=np.int8))
    codes = torch.full((2000, 3), 255, dtype=torch.uint8)
    assert device._product(weights, codes).tolist() == [[127 * 255 * 2000] * 3] * 2
    assert torch.float64 in kinds and torch.float32 not in kinds


def test_judgements_are_the_same():
    rng = np.random.default_rng(3)
    spec = ArraySpec(4, 3, 4, 5, 20, "os")
    network = random_network(rng, spec)
    profile = FaultProfile(spec, random_faults(rng, spec, 6, words=40), seed=3)
    codes, labels = random_inputs(rng, network, 30)
    schedules = [random_schedule(rng, network, spec) for _ in range(4)]
    plain = Evaluator(network, profile, codes, labels)
    on_torch = Evaluator(network, profile, codes, labels, device="cpu", cache_bytes=9000)
    assert on_torch.judge_many(schedules) == plain.judge_many(schedules)
    assert on_torch.healthy_judgement() == plain.healthy_judgement()


def test_no_gpu_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.check_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="--device cuda needs a GPU"):
        device.check_device("cuda")
    for command in (["bench", "--quick"], ["flow"]):
        arguments = [*command, "--device", "cuda", "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(app, arguments)
        assert isinstance(done.exception, ConfigError) and done.exception.exit_code == 2
    assert not (tmp_path / "out").exists()


@on_gpu
@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(6))
def test_a_gpu_gives_the_same(seed, dataflow):
    rng = np.random.default_rng(seed)
    spec = ArraySpec(4, 3, 4, 5, 20, dataflow)
    network = random_network(rng, spec)
    profile = FaultProfile(spec, random_faults(rng, spec, 10, words=40), seed=seed)
    codes, labels = random_inputs(rng, network, 50)
    schedule = random_schedule(rng, network, spec)
    plain, gpu = both(network, profile, codes, labels, schedule, "cuda")
    np.testing.assert_array_equal(gpu, plain)
