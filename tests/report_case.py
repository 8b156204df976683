"""A made-up flow with every kind of entry, for the tests of the report."""

from __future__ import annotations

import numpy as np

from hascodesign.board.boards import available, find
from hascodesign.common.stats import accuracy
from hascodesign.contract.array import identity_map
from hascodesign.contract.results import (
    Baseline,
    CoreRun,
    CoreStage,
    FaultCoverage,
    HlsRun,
    LayerVerification,
    Masking,
    Resources,
    SearchResult,
    StepRecord,
    Verification,
    WholeImages,
    WrittenSlot,
)
from hascodesign.contract.types import (
    ArraySpec,
    Conv,
    Equivalence,
    Fault,
    FaultProfile,
    InputQuant,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    frozen,
)
from hascodesign.report.record import FlowResult

ARRAY = ArraySpec(pe=16, simd=8, weight_bits=4, act_bits=8, acc_bits=24, wmem_depth=58)
PROFILE = FaultProfile(
    ARRAY,
    (
        Fault(2, "sa1", "product", 3, 11),
        Fault(5, "sa0", "psum", None, 9),
        Fault(9, "flip", "weight", 0, 0),
        Fault(13, "dead"),
    ),
    seed=7,
)


def network() -> IntegerNetwork:
    def layer(index: int, name: str, rows: int, depth: int, conv: Conv | None) -> MultiplyLayer:
        return MultiplyLayer(
            name, index, frozen(np.ones((rows, depth))), frozen(np.zeros(rows)), 4, 4, False,
            conv, None, 0, False,
        )  # fmt: skip

    return IntegerNetwork(
        "digits-cnn",
        InputQuant(0.0625, 8, False, 0, 255),
        (8, 8, 1),
        (
            layer(0, "conv0", 16, 9, Conv((8, 8, 1), (3, 3), (1, 1), (1, 1))),
            layer(1, "conv1", 32, 144, Conv((8, 8, 16), (3, 3), (1, 1), (1, 1))),
            layer(2, "dense2", 10, 512, None),
        ),
        0.01,
    )


def schedule(seed: int = 1) -> Schedule:
    rng = np.random.default_rng(seed)
    maps = []
    for layer in network().layers:
        plain = identity_map(layer, ARRAY.pe)
        slots = rng.permutation(plain.slots.ravel()).reshape(plain.slots.shape)
        maps.append(RowMap(layer.name, layer.rows, frozen(slots)))
    return Schedule(ARRAY, tuple(maps))


def search() -> SearchResult:
    rng = np.random.default_rng(0)
    history = 0.09 + 0.35 * np.exp(-np.arange(40) / 9)
    randoms = tuple(
        Baseline(f"random_{i:02d}", schedule(i), float(rng.uniform(0.6, 2.6)), 0.5)
        for i in range(20)
    )
    plain = Baseline("identity", schedule(30), 2.31, 0.41)
    assigned = Baseline("assignment", schedule(31), 0.44, 0.93)
    return SearchResult(
        schedule(), "assignment + GA + swaps", 1234, 21.5, 0.0872,
        tuple(float(v) for v in np.minimum.accumulate(history)),
        (plain, *randoms, assigned), ("One seed of the search was the assignment.",),
    )  # fmt: skip


def verification(mismatches: int = 0) -> Verification:
    layers = tuple(
        LayerVerification(run, layer.name, 32, layer.rows * 64, mismatches, 1440, 1152, 4.25)
        for run in ("healthy", "faulty")
        for layer in network().layers
    )
    coverage = tuple(
        FaultCoverage(entry, entry != 3, entry < 2) for entry in range(len(PROFILE.faults))
    )
    return Verification("icarus", layers, coverage, (), 25.5)


def resources() -> Resources:
    board = find("pynq-z2")
    return Resources(
        "Yosys 0.23 (git sha1 7ce5011c24b)",
        {"LUT": 2451, "FF": 1652, "BRAM36": 9, "URAM": 0, "DSP": 128},
        available(board),
        {"LUT": 70.0, "FF": 50.0, "BRAM36": 80.0, "URAM": 80.0, "DSP": 50.0},
        {"conv0": "on chip", "conv1": "on chip", "dense2": "external"},
        ("DSP: 128 is 58 % of pynq-z2, above the guideline of 50 % up to which timing closes",),
    )


def result(n: int = 360) -> FlowResult:
    correct = {
        "brevitas": 356, "integer": 356, "faulty_identity": 141, "faulty_random_mean": 190,
        "faulty_random_best": 301, "assignment": 339, "scheduled": 352,
    }  # fmt: skip
    return FlowResult(
        command="hascodesign flow --board pynq-z2",
        board=find("pynq-z2"),
        profile=PROFILE,
        origin="given",
        seed=1,
        network=network(),
        dataset="digits",
        calibration=1437,
        heldout=n,
        held="held out of the search",
        equivalence=Equivalence(
            ("conv0", "conv1", "dense2"),
            (0, 0, 0),
            (9, 8, 7),
            (5, 4, 3),
            2.5e-9,
            n,
            356,
            356,
            0.0,
            ties=(0, 3, 0),
        ),
        warnings=("the images are few",),
        accuracy={name: accuracy(count, n) for name, count in correct.items()},
        search=search(),
        verification=verification(),
        whole=WholeImages(
            built=True,
            runs=tuple(
                CoreRun(
                    run,
                    2,
                    13372,
                    3867,
                    (
                        CoreStage("conv0", 1116, 128, 0, 128 / 1116),
                        CoreStage("pool2", 261, 0, 0, 0.0),
                    ),
                    1.5,
                )
                for run in ("healthy", "faulty")
            ),
            notes=("conv0 takes 12 % more cycles.",),
            hls=(HlsRun("healthy", 20, 61740, 1.0), HlsRun("faulty", 20, 61740, 1.0)),
        ),
        slots=(
            WrittenSlot("conv0", 3, 0, 5, ("sign", "words 2", "constant -40"), 12.5, 0.25),
            WrittenSlot("dense2", 4, 1, 7, (), 0.5, 0.5),
        ),
        masking=Masking(4, 4, 256, 0.25, 0.5),
        power=None,
        timing=None,
        resources=resources(),
        files={"roms/row_map.mem": b"0\n", "faults.json": b"{}"},
        steps=(StepRecord("load", 1.5, True), StepRecord("verify", 25.5, False)),
        peak_rss_bytes=1 << 30,
    )
