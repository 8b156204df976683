"""The engine against a clean float32 forward pass of the same network, all in one run.

    python bench/bench_engine.py [--images 1000] [--repeats 5] > engine.json

Every ratio is a median over repeats to the median of the clean pass, with the least and greatest
beside it. The network has the shape of mnist-cnn with random 4-bit weights.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from hascodesign.array import identity_schedule
from hascodesign.engine import gemm
from hascodesign.engine.network import Evaluator
from hascodesign.types import (
    ArraySpec,
    Conv,
    Fault,
    FaultProfile,
    InputQuant,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    RowMap,
    Schedule,
    Thresholds,
    frozen,
)

ARRAY = ArraySpec(pe=16, simd=8, weight_bits=4, act_bits=8, acc_bits=24)
SHARES = (0, 25, 50, 100)  # percent of the PEs that are faulty
TARGETS = {  # greatest ratio to the clean pass at a share of faulty PEs
    "weight 25": 1.2,
    "wmem 25": 1.2,
    "act 25": 2.0,
    "product 25": 3.0,
    "psum 25": 5.0,
    "psum 100": 15.0,
    "transient psum 25": 8.0,
    "healthy": 1.2,
    "candidate": 0.5,
}


def dense(rng: np.random.Generator, index: int, rows: int, depth: int, last: bool) -> MultiplyLayer:
    """A layer of random 4-bit weights with thresholds over the spread of its sums."""
    spread = 8 * depth**0.5
    steps = np.sort(rng.normal(spread, spread, (rows, 15)).astype(np.int64), axis=1)
    return MultiplyLayer(
        name=f"layer{index}",
        index=index,
        weights=frozen(rng.integers(-7, 8, (rows, depth))),
        bias=frozen(np.zeros(rows)),
        weight_bits=4,
        in_bits=8 if index == 0 else 4,
        in_signed=False,
        conv=None,
        output=None if last else Thresholds(frozen(steps), frozen(np.zeros(rows), bool), 0),
        out_bits=0 if last else 4,
        out_signed=False,
    )


def mnist_shape(
    rng: np.random.Generator, widths: tuple[int, ...] = (1024, 256, 64, 10)
) -> IntegerNetwork:
    """Layers: conv 32 of 4x4 on 28x28, pool 2, dense layers of the given widths."""
    first = dense(rng, 0, 32, 16, last=False)
    conv = Conv((28, 28, 1), (4, 4), (1, 1), (0, 0))
    pool = MaxPool((2, 2), (2, 2), (25, 25, 32))
    stages: list[MultiplyLayer | MaxPool] = [replace(first, conv=conv), pool]
    depth = 12 * 12 * 32
    for index, rows in enumerate(widths, start=1):
        stages.append(dense(rng, index, rows, depth, last=index == len(widths)))
        depth = rows
    source = InputQuant(1 / 255, 8, False, 0, 255)
    return IntegerNetwork("mnist-cnn shape", source, (28, 28, 1), tuple(stages), 1e-3)


def clean(widths: tuple[int, ...] = (1024, 256, 64, 10)) -> nn.Sequential:
    """The float32 network of the same shape, BatchNorm folded away."""
    parts: list[nn.Module] = [nn.Conv2d(1, 32, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    depth = 12 * 12 * 32
    for rows in widths:
        parts += [nn.Linear(depth, rows), nn.ReLU()]
        depth = rows
    return nn.Sequential(*parts[:-1]).eval()


def measure(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median, least and greatest time in milliseconds, after one run that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return {"ms": statistics.median(times), "least": min(times), "greatest": max(times)}


def faults(site: str, pes: int, everywhere: bool) -> Iterator[Fault]:
    """One faulty multiplier on each of some PEs, or all of them."""
    for pe in range(pes):
        if site.endswith("psum"):
            if site == "psum":
                yield Fault(pe, "sa1", "psum", None, 9)
            else:
                yield Fault(pe, "transient", "psum", None, None, None, 1e-3, (6, 14))
            continue
        for simd in range(ARRAY.simd) if everywhere else (pe % ARRAY.simd,):
            bit = {"weight": 2, "wmem": 2, "act": 2, "product": 9}[site]
            address = 40 + pe if site == "wmem" else None
            yield Fault(pe, "sa1", site, simd, bit, address)  # type: ignore[arg-type]


def by_site(
    network: IntegerNetwork, codes: np.ndarray, labels: np.ndarray, base: float, repeats: int
) -> list[dict[str, object]]:
    """Ratio of one pass to the clean one, by site and share of faulty PEs."""
    out: list[dict[str, object]] = []
    cases = [("healthy", 0, False)]
    for site in ("weight", "wmem", "act", "product", "psum", "transient psum"):
        for share in SHARES[1:]:
            cases.append((site, share, False))
            if not site.endswith("psum"):
                cases.append((site, share, True))
    plain = identity_schedule(network, ARRAY)
    for site, share, everywhere in cases:
        profile = FaultProfile(ARRAY, tuple(faults(site, share * ARRAY.pe // 100, everywhere)))
        evaluator = Evaluator(network, profile, codes, labels, cache_bytes=0)
        timed = measure(lambda: evaluator.logits(plain), repeats)  # noqa: B023
        name = site if site == "healthy" else f"{site} {share}"
        out.append(
            {
                "name": name,
                "multipliers": "all" if everywhere else "one",
                "ratio": timed["ms"] / base,
                "target": None if everywhere else TARGETS.get(name),
                **timed,
            }
        )
        print(f"{name} {out[-1]['multipliers']}: {out[-1]['ratio']:.2f}", file=sys.stderr)
    return out


def offspring(rng: np.random.Generator, parent: Schedule) -> Schedule:
    """A copy with two slots exchanged in one to all layers."""
    maps = []
    for row_map in parent.layers:
        slots = row_map.slots.copy().reshape(-1)
        if rng.random() < 0.5:
            one, other = rng.choice(slots.size, 2, replace=False)
            slots[[one, other]] = slots[[other, one]]
        maps.append(RowMap(row_map.name, row_map.rows, frozen(slots.reshape(row_map.slots.shape))))
    return Schedule(parent.array, tuple(maps))


def candidates(
    network: IntegerNetwork, codes: np.ndarray, labels: np.ndarray, base: float, count: int
) -> dict[str, object]:
    """Mean cost of a candidate map in an evolving population, in clean passes."""
    rng = np.random.default_rng(1)
    profile = FaultProfile(
        ARRAY,
        (
            Fault(1, "sa1", "product", 3, 9),
            Fault(4, "sa0", "weight", 2, 1),
            Fault(7, "sa1", "psum", None, 10),
            Fault(11, "sa1", "product", 5, 7),
        ),
    )
    evaluator = Evaluator(network, profile, codes, labels)
    population = [identity_schedule(network, ARRAY)]
    losses = [evaluator.judge(population[0]).loss]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    for _ in range(count // 8):
        children = [offspring(rng, population[i]) for i in rng.integers(0, len(population), 8)]
        losses += [judged.loss for judged in evaluator.judge_many(children)]
        population += children
        best = np.argsort(losses, kind="stable")[:8]
        population, losses = [population[i] for i in best], [losses[i] for i in best]
    each = 1e3 * (time.perf_counter() - start) / (count // 8 * 8)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "name": "candidate",
        "ratio": each / base,
        "target": TARGETS["candidate"],
        "ms": each,
        "per_second": 1e3 / each,
        "peak_growth_bytes": 1024 * (after - before),
        "cached_bytes": evaluator.cached_bytes,
    }


def growth(rng: np.random.Generator, repeats: int) -> list[dict[str, object]]:
    """Time of one layer over images, K, rows and PEs, psum faults on a quarter of the PEs."""
    out: list[dict[str, object]] = []
    standard = {"images": 512, "depth": 1152, "rows": 128, "pe": 16}
    sweeps = {
        "images": (256, 512, 1024, 2048),
        "depth": (576, 1152, 2304, 4608),
        "rows": (64, 128, 256, 512),
        "pe": (8, 16, 32, 64, 128),
    }
    for axis, values in sweeps.items():
        for value in values:
            size = {**standard, axis: value}
            array = replace(ARRAY, pe=size["pe"])
            layer = dense(rng, 0, size["rows"], size["depth"], last=True)
            bad = tuple(Fault(pe, "sa1", "psum", None, 9) for pe in range(array.pe // 4))
            (row_map,) = identity_schedule(
                IntegerNetwork("one", InputQuant(1, 8, False, 0, 255), (1, 1, 1), (layer,), 1.0),
                array,
            ).layers
            x = rng.integers(0, 16, (size["depth"], size["images"])).astype(np.uint8)
            timed = measure(
                lambda: gemm.accumulate(FaultProfile(array, bad), layer, row_map, x, wmem_base=0),  # noqa: B023
                repeats,
            )
            out.append({"axis": axis, "value": value, **timed})
    return out


def main() -> None:
    """Measure everything and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=80)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    network = mnist_shape(rng)
    codes = rng.integers(0, 256, (options.images, 28, 28, 1))
    labels = rng.integers(0, 10, options.images)
    model, images = clean(), torch.rand(options.images, 1, 28, 28)
    with torch.inference_mode():
        reference = measure(lambda: model(images), max(options.repeats, 5))
    print(f"clean float32: {reference['ms']:.1f} ms", file=sys.stderr)
    base = reference["ms"]
    result = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "images": options.images,
        "repeats": options.repeats,
        "clean_float32": reference,
        "passes": by_site(network, codes, labels, base, options.repeats),
        "candidates": candidates(network, codes, labels, base, options.candidates),
        "growth": growth(rng, options.repeats),
        "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    with torch.inference_mode():
        result["clean_float32_again"] = measure(lambda: model(images), max(options.repeats, 5))
    json.dump(result, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
