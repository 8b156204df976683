"""The flow: what is made of a network and a chip, step by step of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hascodesign.board import tools
from hascodesign.common import files
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
    WrittenSlot,
)
from hascodesign.contract.types import FaultProfile, IntegerNetwork, Schedule, Split
from hascodesign.faults import power
from hascodesign.flow import delivery, judging
from hascodesign.flow.subject import Subject

if TYPE_CHECKING:
    from hascodesign.render.core_sizes import CoreOptions
    from hascodesign.schedule.individuals import PowerShares

PLACER_SEED = 1


class Flow(Subject):
    """The steps of one request.

    Each step's record is a property: asking for one runs, or reads back, all that it needs.
    """

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
        if self.config.render.batch is not None:  # likewise
            plain = arrays.identity_schedule(self.network, self.profile.array)
            self._fitted(self.network, plain)
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

    @property
    def slots(self) -> tuple[WrittenSlot, ...]:
        """Rows written for faulty slots; none where rows stay as trained."""
        return self.result("slots")

    def _slots(self) -> tuple[WrittenSlot, ...]:
        if self.search.written is None:
            return ()
        from hascodesign.engine.network import Evaluator  # noqa: PLC0415  (numba compiles)
        from hascodesign.schedule.fitting import told  # noqa: PLC0415

        evaluator = self.evaluator(self.dataset.calibration, Evaluator)
        return told.faulty_slots(evaluator, self.schedule, self.search.written, self.config.seed)

    # ------------------------------------------------------------------------------------- render

    @cached_property
    def hardware(self) -> CoreOptions:
        """How array and accelerator are built, fitted to the board."""
        return self._fitted(self.deployed, self.schedule)

    def _fitted(self, network: IntegerNetwork, schedule: Schedule) -> CoreOptions:
        from hascodesign.render import core_fit, rtl  # noqa: PLC0415  (jinja2)

        chosen = self.config.render
        found = core_fit.fitted(
            network,
            schedule,
            self.board,
            rtl.RtlOptions(chosen.pipeline, chosen.multipliers),
            with_core=self._refused(network, schedule) is None,
            batch=chosen.batch,
        )
        return replace(found, watch=chosen.watch)

    @property
    def on_chip(self) -> tuple[bool, ...]:
        """Per layer: whether its weights are kept in the banks."""
        return self.hardware.array.on_chip

    @property
    def fit(self) -> tuple[int, int, int]:
        """Lanes and runs, 0 as the network needs them, and images of a batch."""
        return self.hardware.lanes, self.hardware.runs, self.hardware.batch

    @property
    def plan(self) -> BuildPlan:
        """Every file of the build, in memory."""
        return self.result("render")

    def _render(self) -> BuildPlan:
        from hascodesign.render import build  # noqa: PLC0415  (jinja2)

        chosen = self.config.render
        rendered = build.build_files(
            self.deployed,
            self.schedule,
            self.profile,
            self.board,
            self.hardware,
            clock_mhz=chosen.clock_mhz,
            with_core=self.core_refusal is None,
        )
        records = self.records(self.schedule, self.search.written)
        return BuildPlan.merge([rendered, BuildPlan(records)])

    @cached_property
    def core_refusal(self) -> str | None:
        """Why the accelerator around the array is not built; None where it is."""
        refused = self._refused(self.deployed, self.schedule)
        self._check_core(refused)
        return refused

    def _refused(self, network: IntegerNetwork, schedule: Schedule) -> str | None:
        from hascodesign.render import build  # noqa: PLC0415  (jinja2)

        if self.config.verify.core_images == 0:
            return "--core-images 0"
        return build.core_refusal(network, schedule, self.profile)

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
    def compiler_identity(self) -> str:
        """The compiler of the HLS C++; empty where there is none."""
        return tools.identity("g++") if tools.find("g++") else ""

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
        from hascodesign.render import core_fit  # noqa: PLC0415  (jinja2)

        work = self.request.out / "sim"
        for name in proof.FOLDERS:  # not all of it: the synthesis may be at work in its own
            files.remove(work / name)
        job = proof.VerifyJob(
            Build(self.deployed, self.schedule, self.profile, self.plan),
            arithmetic.quantise(self.dataset.heldout.images, self.network.input),
            self.dataset.heldout.labels,
            self.on_chip,
            self.config.verify,
            self.request.simulator,
            self.core_refusal,
            self.hardware,
            core_fit.port_cycles(self.array, self.board),
            self.config.render.clock_mhz or self.board.clock_mhz,
        )
        return proof.verify(job, work, self.display)

    @property
    def timing(self) -> Mapping[str, Any] | None:
        """Clock of the plan's array between registers, or of the board's bitstream where it can be
        routed; None where it was not asked for.
        """
        return self.result("timing") if self.request.post_route else None

    def _timing(self) -> dict[str, Any]:
        from hascodesign.board import post_route  # noqa: PLC0415
        from hascodesign.render import ulx3s  # noqa: PLC0415  (jinja2)

        work = self.request.out / "timing"
        files.remove(work)  # with what a killed run has left in it
        top, progress = "has_array", self.display.progress
        if ulx3s.PINS in self.plan.files:
            top = ulx3s.TOP
            got = post_route.board_mhz(
                self.plan, self.board, pins=ulx3s.PINS, work=work, seed=PLACER_SEED,
                progress=progress,
            )  # fmt: skip
        else:
            got = post_route.post_route_mhz(
                self.plan.files,
                work=work,
                multipliers=self.config.render.multipliers,
                seed=PLACER_SEED,
                progress=progress,
            )
        return {
            "top": top,
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
