"""What a flow is about: board, array, network, images and chip, as steps of the table."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from hascodesign.board.boards import find
from hascodesign.board.capacity import check_array, words_allowed
from hascodesign.common.display import Display
from hascodesign.contract import array as arrays
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import (
    ArraySpec,
    Board,
    Dataset,
    Equivalence,
    FaultProfile,
    IntegerNetwork,
)
from hascodesign.faults import commands, generate, voltage
from hascodesign.faults import formats as fault_formats
from hascodesign.faults.profile import check
from hascodesign.faults.sources import Kind, kind_of
from hascodesign.flow import oddities
from hascodesign.flow.request import SHIPPED, Request, content, is_qonnx, is_user_model, size
from hascodesign.flow.steps import STEPS
from hascodesign.flow.store import StepStore
from hascodesign.report import record

if TYPE_CHECKING:
    from hascodesign.models.load import Loaded

NOMINAL_VOLTS = 1.0
#: Held-out images whose every code says, in each run, whether a model does what it did before.
EVIDENCE = 32

#: Where a profile comes from, by the kind of what --faults names.
_ORIGINS: dict[Kind, str] = {
    "profile": "given",
    "cells": "given as cells that fail at voltages",
    "probabilities": "drawn from given probabilities",
    "measured": "given as a measured list",
}


class Subject:
    """The network of one request, its images and the chip.

    Each step's record is a property: asking for one runs, or reads back, all that it needs.
    """

    def __init__(self, request: Request, store: StepStore, display: Display) -> None:
        self.request = request
        self.config = request.config
        self.store = store
        self.display = display
        self._records: dict[str, Any] = {}
        self._begun: dict[str, Future[tuple[Any, float]] | None] = {}

    def result(self, name: str) -> Any:
        """A step's record: that of this run, the stored one where its inputs are the same, or new.

        Parameters
        ----------
        name : of the table of steps, which says what goes in and which method computes it.
        """
        if name not in self._records:
            compute = getattr(self, STEPS[name].method)
            self._records[name] = self.store.run(
                name,
                self._inputs(name),
                compute,
                afresh=name == "load" and not self.shipped,
                begun=self._begun.get(name),
            )
        return self._records[name]

    def begin(self, name: str, pool: Executor) -> None:
        """Have a pool compute a step whose inputs are all there; its ``result`` waits for it."""
        compute = getattr(self, STEPS[name].method)
        self._begun[name] = self.store.begin(name, self._inputs(name), compute, pool)

    def _inputs(self, name: str) -> tuple[Any, ...]:
        return tuple(_plain(attrgetter(key)(self)) for key in STEPS[name].inputs)

    def share_model(self, other: Subject) -> None:
        """Take model, data and integer graph from a flow that differs in its seed only."""
        self.take({name: other.result(name) for name in ("load", "integerise")})

    def take(self, records: Mapping[str, Any]) -> None:
        """Take records of steps, by the step's name, made elsewhere of the same inputs."""
        self._records |= records

    def holds(self, name: str) -> bool:
        """Whether a step's record is stored for inputs that are all there."""
        return self.store.holds(name, self._inputs(name))

    def keep(self, name: str, record: Any) -> None:
        """Store a step's record that was made elsewhere of the same inputs."""
        self._records[name] = self.store.run(name, self._inputs(name), lambda: record)

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
        from hascodesign.models import source  # noqa: PLC0415  (torch: seconds to import)

        images = self.dataset.heldout.images[:EVIDENCE]
        return (source.answers(self.loaded.model, images), self.loaded.sources)

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
        notes = (record.lowered_words(network, equivalence), record.factor_words(network))
        for note in (*notes, record.ties_words(equivalence)):
            if note:
                self.display.line(note)
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
        """The integer graph, for the array as it is built: with preloads, all 0, and thresholds."""
        network = self.integers[0]
        if self.config.render.thresholds:
            from hascodesign.schedule.written import with_thresholds  # noqa: PLC0415  (numba)

            network = with_thresholds(network)
        return arrays.with_preloads(network) if self.config.render.preload else network

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

    @cached_property
    def origin(self) -> str:
        """Where the profile comes from, in words."""
        path, volts = self.request.faults, self.request.voltage
        if path is None:
            return "drawn" if volts is None else "drawn for a supply voltage"
        return _ORIGINS[kind_of(path)]

    @property
    def profile_warning(self) -> str | None:
        """What may have been overlooked where a schedule is given, one chip's, and no chip."""
        if self.request.schedule is None or self.request.faults is not None:
            return None
        return (
            f"{self.request.schedule} is judged on faults that are {self.origin}, seed"
            f" {self.config.seed}: a schedule is for one chip, whose own profile --faults names"
        )

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


def _plain(value: Any) -> Any:
    """An input of a step as something that can be hashed."""
    return value.model_dump() if isinstance(value, BaseModel) else value
