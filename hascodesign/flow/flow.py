"""The flow: what each step of the table does, and all that the steps ask of one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from hascodesign.board import tools
from hascodesign.board.boards import find
from hascodesign.board.capacity import check_array, words_allowed
from hascodesign.common import files
from hascodesign.common.display import Display
from hascodesign.common.inputs import SCHEDULE, read
from hascodesign.common.interrupt import whole
from hascodesign.contract import arithmetic
from hascodesign.contract import array as arrays
from hascodesign.contract.build import Build, BuildPlan
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.memories import written_memories
from hascodesign.contract.results import (
    Accuracy,
    Masking,
    Resources,
    SearchResult,
    Verification,
    WholeImages,
)
from hascodesign.contract.types import (
    ArraySpec,
    Board,
    Dataset,
    Equivalence,
    FaultProfile,
    IntegerNetwork,
    Schedule,
    Split,
)
from hascodesign.faults import commands, generate, power, voltage
from hascodesign.faults import formats as fault_formats
from hascodesign.faults.profile import check
from hascodesign.faults.sources import kind_of
from hascodesign.flow import delivery, judging, oddities
from hascodesign.flow.request import Request, content, is_qonnx, is_user_model, size
from hascodesign.flow.steps import STEPS
from hascodesign.flow.store import StepStore
from hascodesign.report import record

if TYPE_CHECKING:
    from hascodesign.models.load import Loaded
    from hascodesign.schedule.individuals import PowerShares

NOMINAL_VOLTS = 1.0
PLACER_SEED = 1
#: The bundled network whose weights and images are part of the program and its libraries.
SHIPPED = "digits-cnn"
#: Held-out images whose every code says, in each run, whether a model does what it did before.
EVIDENCE = 32


class Flow:
    """The steps of one request.

    Each step's record is a property: asking for one runs, or reads back, all that it needs.
    """

    def __init__(self, request: Request, store: StepStore, display: Display) -> None:
        self.request = request
        self.config = request.config
        self.store = store
        self.display = display
        self._records: dict[str, Any] = {}

    def result(self, name: str) -> Any:
        """A step's record: that of this run, the stored one where its inputs are the same, or new.

        Parameters
        ----------
        name : of the table of steps, which says what goes in and which method computes it.
        """
        if name not in self._records:
            step = STEPS[name]
            inputs = tuple(_plain(attrgetter(key)(self)) for key in step.inputs)
            afresh = name == "load" and not self.shipped
            compute = getattr(self, step.method)
            self._records[name] = self.store.run(name, inputs, compute, afresh=afresh)
        return self._records[name]

    def share_model(self, other: Flow) -> None:
        """Take model, data and integer graph from a flow that differs in its seed only."""
        self._records |= {name: other.result(name) for name in ("load", "integerise")}

    # ------------------------------------------------------------------------------- set-up

    @cached_property
    def board(self) -> Board:
        """The board's record."""
        return find(self.config.board)

    @cached_property
    def given_profile(self) -> FaultProfile | None:
        """The user's own profile, checked; None where one has to be drawn or derived."""
        path = self.request.faults
        if path is None or self.derived:
            return None
        return fault_formats.read(path)

    @cached_property
    def derived(self) -> bool:
        """Whether the profile follows from cells, probabilities or a measured list."""
        path, volts = self.request.faults, self.request.voltage
        if path is None:
            return volts is not None
        kind = kind_of(path)
        if volts is not None and kind in ("profile", "probabilities"):
            raise ConfigError(f"{path}: its faults are the same at every voltage, not of {volts} V")
        return kind != "profile"

    @cached_property
    def array(self) -> ArraySpec:
        """The array: the profile's where one is given, else the configured one."""
        spec = self.config.array.spec()
        if self.given_profile is not None:
            spec = self.given_profile.array
            self._check_size(spec)
        check_array(spec, self.board, self.config.render.multipliers)
        return spec

    def _check_size(self, given: ArraySpec) -> None:
        spec = self.config.array.spec()
        if replace(given, wmem_depth=0) != spec:
            raise ConfigError(
                f"{self.request.faults}: the profile's array must be the flow's, {size(spec)},"
                f" not {size(given)}; name it with --pe, --simd and the --*-bits options"
            )

    # ------------------------------------------------------------------------- load, integerise

    @cached_property
    def loaded(self) -> Loaded:
        """The Brevitas model itself; only the steps that need it import torch."""
        from hascodesign.models import load  # noqa: PLC0415  (torch takes seconds to import)

        model, request = self.config.model, self.request
        if is_user_model(model):
            if request.data is None:
                raise ConfigError(f"--model {model} needs --data: an .npz or a folder of IDX files")
            if is_qonnx(model):
                return load.load_qonnx(model, request.data)
            return load.load_user(model, request.checkpoint, request.data)
        if request.checkpoint is not None:
            raise ConfigError(f"--checkpoint goes with --model file.py:factory, not with {model}")
        return load.load_bundled(model, request.data, request.cache, self.display.progress)

    @property
    def shipped(self) -> bool:
        """Whether network and data come with the program, whose digest is in every step's key."""
        return self.config.model == SHIPPED and self.request.checkpoint is None

    def _load(self) -> Dataset:
        return self.loaded.dataset

    @property
    def dataset(self) -> Dataset:
        """Images and labels of both splits.

        What is not shipped is loaded in every run: a file of the user's may import, read or ask
        for anything, so that only what it made tells whether it is what an earlier run made.
        """
        return self.result("load")

    def check_images(self) -> None:
        """Refuse to run more images through the accelerator than are held out."""
        if self.config.verify.core_images is not None:
            from hascodesign.flow import proof  # noqa: PLC0415

            proof.check_images(self.config.verify.core_images, len(self.dataset.heldout.labels))

    @property
    def what_was_loaded(self) -> tuple[Any, ...]:
        """Network and data as they are, from whatever they came."""
        if self.shipped:
            return (self.config.model,)
        return (self._loaded_network, self._evidence, self.dataset)

    @cached_property
    def _loaded_network(self) -> IntegerNetwork:
        """The integer graph of what was loaded, not compared yet."""
        from hascodesign.models import integer  # noqa: PLC0415  (torch takes seconds to import)

        loaded = self.loaded
        network = integer.integerise(
            loaded.model, loaded.name, loaded.in_shape, self.array.acc_bits
        )
        arrays.check_widths(network, self.array)
        return network

    @property
    def _evidence(self) -> tuple[Any, ...]:
        """What the integer graph alone does not tell of the model: its answers and its source."""
        from hascodesign.models import equivalence  # noqa: PLC0415  (torch: seconds to import)

        loaded, network = self.loaded, self._loaded_network
        images = self.dataset.heldout.images[:EVIDENCE]
        return (equivalence.answers(loaded.model, network, images), loaded.sources)

    def _integerise(self) -> tuple[IntegerNetwork, Equivalence]:
        from hascodesign.models import integer  # noqa: PLC0415  (torch takes seconds to import)

        network = self._loaded_network
        equivalence = integer.compare(
            self.loaded.model, network, self.dataset.heldout, self.array.acc_bits
        )
        integer.require_equal(equivalence)
        return network, equivalence

    def say_accuracy(self) -> None:
        """Tell the healthy accuracy, and what makes it or a later figure say less than it seems."""
        network, equivalence = self.integers
        self.display.line(oddities.healthy(equivalence, self.dataset))
        if equivalence.tied:
            self.display.line(record.ties_words(equivalence))
        for warning in oddities.warnings(
            network, equivalence, self.dataset, factory_weights=self.factory_weights
        ):
            self.display.line(f"warning: {warning}")

    @property
    def factory_weights(self) -> bool:
        """Whether the weights are those that the user's factory gives, no checkpoint's."""
        return is_user_model(self.config.model) and self.request.checkpoint is None

    @property
    def integers(self) -> tuple[IntegerNetwork, Equivalence]:
        """The integer graph, and how it was held against the model."""
        return self.result("integerise")

    @property
    def network(self) -> IntegerNetwork:
        """The integer graph."""
        return self.integers[0]

    @property
    def brevitas_correct(self) -> int:
        """Held-out images that the model itself classifies correctly."""
        return self.integers[1].brevitas_correct

    # ------------------------------------------------------------------------------------ faults

    @property
    def profile(self) -> FaultProfile:
        """The array's faults, checked."""
        return self.result("faults")

    @cached_property
    def source(self) -> tuple[float | None, str | None]:
        """What the user gave to draw or to derive the profile from."""
        return self.request.voltage, content(self.request.faults)

    def _derived(self) -> FaultProfile:
        spec, path = replace(self.array, wmem_depth=self.network_words), self.request.faults
        volts, seed = self.request.voltage, self.config.seed
        if path is not None:
            options = commands.LoadOptions(spec, volts, seed=seed)
            loaded = commands.load(path, options)
            self._check_size(loaded.array)
            return check(loaded, words=self.network_words)
        cells = voltage.draw_cells(spec, arrays.generator(seed, "cells"), seed=seed)
        return voltage.at_voltage(cells, NOMINAL_VOLTS if volts is None else volts)

    def _faults(self) -> FaultProfile:
        if self.derived:
            return self._derived()
        if self.given_profile is not None:
            return check(self.given_profile, words=self.network_words)
        drawn, spec = self.config.faults, replace(self.array, wmem_depth=self.network_words)
        rng = arrays.generator(self.config.seed, "faults")
        return generate.by_area(
            spec,
            rng,
            faulty_pes=drawn.faulty_pes,
            faults_per_pe=drawn.faults_per_pe,
            weights=drawn.site_area or None,
            bits=drawn.bits,
            seed=self.config.seed,
        )

    @cached_property
    def network_words(self) -> int:
        """Words of each weight bank that the network may take, spare passes included."""
        words, chosen = arrays.wmem_words(self.network, self.array), self.config.schedule
        allowed = words_allowed(self.network, self.array, chosen.extra_passes, chosen.spare_passes)
        front = len(chosen.objectives) > 1
        return max(allowed, words * (1 + max(1, chosen.extra_passes))) if front else allowed

    # ----------------------------------------------------------------------------------- schedule

    @property
    def search(self) -> SearchResult:
        """What the search found, or what a given schedule is worth."""
        return self.result("schedule")

    @property
    def schedule(self) -> Schedule:
        """The schedule that is rendered."""
        return self.search.schedule

    @cached_property
    def given_schedule(self) -> bytes | None:
        """The user's own schedule file; None where one is searched for."""
        path = self.request.schedule
        return None if path is None else read(path, SCHEDULE)

    def _schedule(self) -> SearchResult:
        if self.config.verify.core_images:  # refused now rather than after the search
            from hascodesign.render import build  # noqa: PLC0415  (jinja2)

            plain = arrays.identity_schedule(self.network, self.profile.array)
            self._check_core(build.core_refusal(self.network, plain, self.profile))
        return whole(lambda: self._search(self.given_schedule))

    def search_longer(self, times: int) -> SearchResult:
        """A search of so many times the size, started anew and not stored."""
        return whole(lambda: self._search(None, times))

    def _search(self, given: bytes | None, times: int = 1) -> SearchResult:
        from hascodesign.engine.network import Evaluator  # noqa: PLC0415  (numba compiles)
        from hascodesign.schedule import evolve, front, written  # noqa: PLC0415
        from hascodesign.schedule import formats as schedule_formats  # noqa: PLC0415

        evaluator = self.evaluator(self.dataset.calibration, Evaluator)
        chosen = self.config.schedule
        options = evolve.SearchOptions(**chosen.model_dump()).longer(times)
        if given is not None:
            return evolve.judge_given(
                evaluator,
                options,
                self.config.seed,
                schedule_formats.from_json(given, self.network, self.profile.array),
                self.display.progress,
                written=written.from_json(given, self.network, self.profile.array),
            )
        if len(options.objectives) > 1:
            return front.search_front(
                evaluator,
                options,
                self.config.seed,
                power_shares(self.profile),
                self.display.progress,
            )
        return evolve.search(evaluator, options, self.config.seed, self.display.progress)

    def evaluator(
        self,
        split: Split,
        kind: Any,
        profile: FaultProfile | None = None,
        network: IntegerNetwork | None = None,
    ) -> Any:
        """The engine's evaluator of a split; the flow's profile and network, or others."""
        codes = arithmetic.quantise(split.images, self.network.input)
        return kind(
            network or self.network,
            profile or self.profile,
            codes,
            split.labels,
            device=self.request.device,
        )

    # -------------------------------------------------------------------------------------- judge

    @property
    def accuracy(self) -> Mapping[str, Accuracy]:
        """Every figure on held-out data."""
        return self.result("judge")

    @property
    def candidates(self) -> dict[str, tuple[Schedule, float]]:
        """Schedule and loss of each baseline of the search."""
        return {b.name: (b.schedule, b.loss) for b in self.search.baselines}

    @property
    def deployed(self) -> IntegerNetwork:
        """The network that is rendered: its rows as written for the schedule's slots."""
        return self.search.written or self.network

    def _judge(self) -> dict[str, Accuracy]:
        from hascodesign.engine.network import Evaluator  # noqa: PLC0415  (numba compiles)

        heldout = self.dataset.heldout
        return judging.accuracies(
            lambda written: self.evaluator(heldout, Evaluator, network=written),
            self.network,
            self.profile.array,
            self.search,
            self.brevitas_correct,
            len(heldout.labels),
        )

    @property
    def masking(self) -> Masking:
        """Faults of the profile that stay without effect."""
        return self.result("masked")

    def _masked(self) -> Masking:
        return judging.masking(
            self.deployed,
            self.profile,
            self.schedule,
            self.dataset.calibration.images,
            self.config.seed,
        )

    # ------------------------------------------------------------------------------------- render

    @cached_property
    def on_chip(self) -> tuple[bool, ...]:
        """Per layer: whether its weights are kept in the banks."""
        from hascodesign.render import build  # noqa: PLC0415  (jinja2)

        with_core = self.core_refusal is None
        return build.kept_on_chip(self.deployed, self.schedule, self.board, with_core=with_core)

    @property
    def plan(self) -> BuildPlan:
        """Every file of the build, in memory."""
        return self.result("render")

    def _render(self) -> BuildPlan:
        from hascodesign.render import build, rtl  # noqa: PLC0415  (jinja2)

        chosen = self.config.render
        rendered = build.build_files(
            self.deployed,
            self.schedule,
            self.profile,
            self.board,
            rtl.RtlOptions(chosen.pipeline, chosen.multipliers, self.on_chip),
            clock_mhz=chosen.clock_mhz,
            with_core=self.core_refusal is None,
        )
        records = self.records(self.schedule, self.search.written)
        return BuildPlan.merge([rendered, BuildPlan(records)])

    @cached_property
    def core_refusal(self) -> str | None:
        """Why the accelerator around the array is not built; None where it is."""
        from hascodesign.render import build  # noqa: PLC0415  (jinja2)

        chosen = self.config.verify.core_images
        if chosen == 0:
            return "--core-images 0"
        refused = build.core_refusal(self.deployed, self.schedule, self.profile)
        self._check_core(refused)
        return refused

    def _check_core(self, refused: str | None) -> None:
        chosen = self.config.verify.core_images
        if refused is not None and chosen:
            raise ConfigError(f"--core-images {chosen}: {refused}")

    def records(
        self, schedule: Schedule | None, written: IntegerNetwork | None = None
    ) -> dict[str, bytes]:
        """faults.json and, where there is a schedule, schedule.json with the rows as written."""
        return delivery.records(self.network, self.profile, schedule, written)

    # --------------------------------------------------------------------------- verify, estimate

    @cached_property
    def simulator_identity(self) -> str:
        """The simulator and its version: another one has proven nothing yet."""
        from hascodesign.verify import simulate  # noqa: PLC0415

        return simulate.identity(self.request.simulator)

    @cached_property
    def yosys_identity(self) -> str:
        """The yosys that is there."""
        return tools.identity("yosys")

    @cached_property
    def nextpnr_identity(self) -> str:
        """The nextpnr that is there."""
        return tools.identity("nextpnr-ecp5")

    @property
    def verified(self) -> tuple[Verification, Mapping[str, bytes], WholeImages]:
        """The plan's own bytes in the simulator, the vectors, whole images."""
        return self.result("verify")

    def _verify(self) -> tuple[Verification, Mapping[str, bytes], WholeImages]:
        from hascodesign.flow import proof  # noqa: PLC0415

        work = self.request.out / "sim"
        files.remove(work)
        job = proof.VerifyJob(
            Build(self.deployed, self.schedule, self.profile, self.plan),
            arithmetic.quantise(self.dataset.heldout.images, self.network.input),
            self.on_chip,
            self.config.verify,
            self.request.simulator,
            self.core_refusal,
        )
        return proof.verify(job, work, self.display)

    @property
    def timing(self) -> Mapping[str, Any] | None:
        """Clock of the plan's array between registers; None where it was not asked for."""
        return self.result("timing") if self.request.post_route else None

    def _timing(self) -> dict[str, Any]:
        from hascodesign.board import post_route  # noqa: PLC0415

        work = self.request.out / "timing"
        files.remove(work)  # with what a killed run has left in it
        got = post_route.post_route_mhz(
            self.plan.files,
            work=work,
            multipliers=self.config.render.multipliers,
            seed=PLACER_SEED,
            progress=self.display.progress,
        )
        return {
            "top": "has_array",
            "mhz": got.mhz,
            "device": got.device,
            "tool": got.tool,
            "seed": PLACER_SEED,
            "note": got.note,
            "from": got.path[0].cell if got.path else "",
            "to": got.path[-1].cell if got.path else "",
            "cells": dict(got.cells),
        }

    @property
    def resources(self) -> Resources:
        """What yosys makes of the plan's own bytes."""
        return self.result("estimate")

    def _estimate(self) -> Resources:
        from hascodesign.board import synthesis  # noqa: PLC0415

        work = self.request.out / "sim" / "synth"  # not where an earlier run delivered its log
        files.remove(work)
        core = self.core_refusal is None
        return synthesis.estimate(
            self.plan,
            self.board,
            self.deployed,
            self.on_chip,
            work=work,
            progress=self.display.progress,
            multipliers=self.array.pe * self.array.simd,
            say=self.display.line,
            written=written_memories(self.deployed, self.schedule, self.on_chip, core=core),
        )


def _plain(value: Any) -> Any:
    """An input of a step as something that can be hashed."""
    return value.model_dump() if isinstance(value, BaseModel) else value


def power_shares(profile: FaultProfile) -> PowerShares:
    """The power model for a search: at the voltage of the profile's cells, else at nominal."""
    from hascodesign.schedule.individuals import PowerShares  # noqa: PLC0415  (pymoo: start-up time)

    model = power.PowerModel()
    volts = power.supply(profile)
    if volts is None or not 0 < volts <= model.nominal:
        volts = model.nominal
    share = model.power(volts)
    label = (
        f"{model.label}; at {volts:g} V, dynamic power in proportion to the cycles of an image"
        " (a fixed rate of images, an array that rests between them)"
    )
    return PowerShares(share.dynamic, share.static, label)
