"""A fleet from its chips to a store in which every one of them is done."""

from __future__ import annotations

import hashlib
import time
import traceback
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from distributed import Client, as_completed

from hascodesign import __version__
from hascodesign.common import files, inputs, records
from hascodesign.common.display import Display
from hascodesign.contract.errors import (
    ConfigError,
    HascodesignError,
    StepFailed,
    VerificationMismatch,
)
from hascodesign.faults import formats
from hascodesign.fleet import chips as chip_lists
from hascodesign.fleet import cluster, work
from hascodesign.fleet.chips import Chip, key_of, sample
from hascodesign.fleet.store import Asked, ChipRow, Store, VerifiedRow
from hascodesign.flow.config import FlowConfig
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.run import run_flow
from hascodesign.flow.store import KeepsNothing, source_digest

AHEAD = 2  # tasks that a thread of the cluster has before it, the one it is at included
AGAIN_S = 1.0  # between two looks at what another client is at
COUNT_S = 5.0  # between two looks at how large the cluster is

Kind: TypeAlias = type[ChipRow] | type[VerifiedRow]


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """One call of `fleet`."""

    request: Request  # config, model and data; ``out`` is the store
    chips: Path | None = None  # folder or table; None: drawn
    draw: int = 0
    faulty: tuple[int, int] = (0, 0)  # least and most faulty PEs of a drawn chip
    scheduler: str | None = None  # None: a cluster on this machine
    workers: int = 1  # of that
    verify: float = 0.01  # share of the chips whose Verilog is simulated
    below: float = 1.0  # points lost beyond which a chip's Verilog is simulated, too


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet in the store."""

    id: str
    chips: int  # asked for
    distinct: int  # of different faults
    found: int  # of these, done before
    made: int  # and by this client
    verified: int  # by this client
    seconds: float


def run(asked: FleetRequest) -> Fleet:
    """Schedule every chip of a fleet that the store does not hold yet.

    Raises
    ------
    HascodesignError
        Anything the user can act on. What is done is in the store, whatever ends the run; the same
        call goes on there.
    """
    start = time.perf_counter()
    folder = asked.request.out
    new = not folder.exists()
    with (
        Display(files.usable_folder(folder) / "fleet.log") as display,
        closing(Store(folder)) as store,
    ):
        display.record(asked.request.command)
        try:
            shared, chips = _prepare(asked, display)
            work_on = _Work(asked, shared, chips, store, display)
        except ConfigError:
            if new:
                store.discard()
            raise
        work_on.run()
        store.fold()
        return work_on.summary(time.perf_counter() - start)


def _prepare(asked: FleetRequest, display: Display) -> tuple[work.Shared, tuple[Chip, ...]]:
    """What all chips share, and the chips, checked."""
    config = asked.request.config
    if len(config.schedule.objectives) > 1:
        raise ConfigError(
            "a fleet's chips get one schedule each: objectives must be accuracy alone"
        )
    for name in ("spare_passes", "extra_passes"):
        if value := getattr(config.schedule, name):
            raise ConfigError(
                f"a fleet's chips run one bitstream, which has one number of passes: {name} must be"
                f" 0, not {value:g}"
            )
    config = bitstream_config(config)
    flow = Flow(replace(asked.request, config=config, faults=None), KeepsNothing(), display)
    network, equivalence = flow.network, flow.integers[1]  # as the array is built
    flow.check_images()
    flow.say_accuracy()
    words, array = flow.network_words, flow.array
    if asked.chips is None:
        own = replace(array, wmem_depth=words)
        chips = chip_lists.draw(asked.draw, asked.faulty, own, config.faults, config.seed)
    else:
        chips = chip_lists.read(asked.chips, array, words)
    return work.Shared(network, equivalence, flow.dataset, config), chips


def bitstream_config(config: FlowConfig) -> FlowConfig:
    """What all chips of a fleet are built with: rows may be written for any layer."""
    render = config.render.model_copy(update={"thresholds": bool(config.schedule.moves)})
    return config.model_copy(update={"render": render})


def render_bitstream(request: Request) -> None:
    """Render, verify and deliver the one build of a fleet: rows as trained, in plain order.

    Parameters
    ----------
    request : of a flow; its faults are left out.

    Raises
    ------
    HascodesignError
        As the flow does.
    """
    config = bitstream_config(request.config)
    none = config.faults.model_copy(update={"faulty_pes": 0})
    run_flow(replace(request, config=config.model_copy(update={"faults": none}), faults=None))


def base_of(shared: work.Shared) -> str:
    """Digest of all that a chip's result depends on beside its profile."""
    options = shared.config.model_dump(exclude={"model", "faults", "verify"})
    alone = shared.config.verify.core_images == 0  # the array is built without the accelerator
    return records.digest(
        "fleet", source_digest(), shared.network, shared.dataset, shared.equivalence, options, alone
    )


class _Work:
    """One client at work on a fleet."""

    def __init__(
        self,
        asked: FleetRequest,
        shared: work.Shared,
        chips: Sequence[Chip],
        store: Store,
        display: Display,
    ) -> None:
        self.asked, self.shared, self.store, self.display = asked, shared, store, display
        base = base_of(shared)
        self.keys = [key_of(base, chip) for chip in chips]
        self.profiles = {
            key: formats.write_json(chip.profile)
            for key, chip in zip(self.keys, chips, strict=True)
        }
        self.names = {key: chip.name for key, chip in zip(self.keys, chips, strict=True)}
        listed = [
            Asked(chip.name, key, self.profiles[key].decode())
            for key, chip in zip(self.keys, chips, strict=True)
        ]
        self.id = store.put_fleet(listed, self._about(base))
        self.sampled = sample(self.keys, asked.verify, shared.config.seed)
        self.simulator = asked.request.simulator if self._simulates else None
        self.damaged: set[str] = set()  # chips whose deltas were found so, and said
        held = store.rows(ChipRow)
        self.rows = {k: r for k, r in held.items() if k in self.profiles and self._has_delta(r)}
        self.found = len(self.rows)
        roms = {key: row.roms_sha256 for key, row in self.rows.items()}
        proofs = store.rows(VerifiedRow)
        self.verified = {key for key, one in proofs.items() if roms.get(key) == one.roms_sha256}
        self.made = self.simulated = 0
        self.failed: dict[str, BaseException] = {}
        self.todo: deque[tuple[Kind, str]] = deque(
            (ChipRow, key) for key in self.profiles if key not in self.rows
        )
        for row in self.rows.values():
            self._see(row)
        self.waiting: deque[tuple[Kind, str]] = deque()  # for what another client is at

    @property
    def _simulates(self) -> bool:
        return self.asked.verify > 0

    def _about(self, base: str) -> dict[str, Any]:
        asked, shared = self.asked, self.shared
        return {
            "base": base,
            "board": shared.config.board,
            "model": shared.network.name,
            "seed": shared.config.seed,
            "pe": shared.config.array.pe,
            "simd": shared.config.array.simd,
            "heldout": len(shared.dataset.heldout.labels),
            "calibration": len(shared.dataset.calibration.labels),
            "healthy_correct": shared.equivalence.integer_correct,
            "verify": asked.verify,
            "below": asked.below,
            "drawn": asked.chips is None,
            "faulty": list(asked.faulty),
            "version": __version__,
            "source": source_digest(),
        }

    def run(self) -> None:
        """All chips, or as many as the cluster gives."""
        total = len(self.profiles)
        self.display.line(
            f"{len(self.keys)} chips, {total} of different faults, {self.found} of them done"
        )
        if not self.todo:
            return
        where = cluster.Where(self.asked.scheduler, self.asked.workers)
        with cluster.connected(where) as client:
            count = cluster.check(client, self.simulator)
            self.display.line(f"{count} {'worker' if count == 1 else 'workers'}")
            self._all(client, cluster.supply(client, self.shared))
        self._raise_failures()

    def _all(self, client: Client, name: str) -> None:
        flying: dict[Any, tuple[Kind, str]] = {}
        done, threads, counted, looked = as_completed(), 1, -COUNT_S, 0.0
        while self.todo or self.waiting or flying:
            now = time.monotonic()
            if now - counted >= COUNT_S:
                threads, counted = max(1, sum(client.nthreads().values())), now
            if now - looked >= AGAIN_S:
                self.todo.extend(self.waiting)
                self.waiting.clear()
                looked = now
            while self.todo and len(flying) < AHEAD * threads:
                future = self._submit(client, name, *(one := self.todo.popleft()))
                if future is not None:
                    flying[future] = one
                    done.add(future)
            if flying:
                future = next(done)
                self._take(future, *flying.pop(future))
                self.display.progress("chips", len(self.rows), len(self.profiles))
            elif not self.todo and self.waiting:
                time.sleep(AGAIN_S)

    def _submit(self, client: Client, name: str, kind: Kind, key: str) -> Any:
        """The task of a chip; None where another client has done it or is at it."""
        if not self._made_elsewhere(kind, key):
            if not self.store.claim(kind, key):
                self.waiting.append((kind, key))
                return None
            # it may have been done between the look and the claim
            if not self._made_elsewhere(kind, key):
                return self._task(client, name, kind, key)
            self.store.release(kind, key)
        return None

    def _made_elsewhere(self, kind: Kind, key: str) -> bool:
        row = self.store.row(kind, key)
        if isinstance(row, ChipRow):
            if not self._has_delta(row):
                return False
            self.rows[key] = row
            self._see(row)
        elif row is not None:
            self.verified.add(key)
        return row is not None

    def _has_delta(self, row: ChipRow) -> bool:
        """Whether the store has the delta that a row is of; says so where it has not."""
        if self.store.delta(row) is not None:
            return True
        if row.key not in self.damaged:
            self.damaged.add(row.key)
            self.display.line(
                f"{self.store.delta_path(row.key)}: the delta of {self.names[row.key]} must be that"
                " of its row, and is missing or damaged; the chip is done anew"
            )
        return False

    def _task(self, client: Client, name: str, kind: Kind, key: str) -> Any:
        common: tuple[Any, ...] = (name, source_digest(), key, self.profiles[key])
        options = {"key": f"{kind.__name__}-{key}-{uuid.uuid4()}", "pure": False}
        if kind is ChipRow:
            return client.submit(work.chip, *common, **options)
        content = self.store.delta(self.rows[key])
        if content is None:  # since the run began
            self._has_delta(self.rows.pop(key))
            self.todo.append((ChipRow, key))
            self.store.release(kind, key)
            return None
        return client.submit(work.verify, *common, content, self.simulator, **options)

    def _take(self, future: Any, kind: Kind, key: str) -> None:
        """Put what a task gave into the store."""
        try:
            given = future.result()
        except CancelledError:
            raise ConfigError(
                f"--scheduler {self.asked.scheduler}: the scheduler must stay until all chips are"
                f" done, and went away; {len(self.rows)} of {len(self.profiles)} are in"
                f" {self.store.folder}, the same command goes on there"
            ) from None
        except work.OtherProgram:
            raise
        # an array that does not fit, a bug, a program that failed, a worker that died with this
        # chip time and again: the other chips are not to be lost with it
        except Exception as error:
            self.failed[key] = error
            self.display.record("".join(traceback.format_exception(error)))
            self.store.release(kind, key)
            return
        finally:
            future.release()
        if kind is ChipRow:
            columns, content = given
            self.store.put_delta(key, content)
            digest = hashlib.sha256(content).hexdigest()
            sealed = {"delta_sha256": digest, "delta_bytes": len(content)}
            row = ChipRow(**_tuples(columns | sealed))
            self.store.put(row)
            self.rows[key] = row
            self.made += 1
            self._see(row)
        else:
            self.store.put(VerifiedRow(**_tuples(given)))
            self.verified.add(key)
            self.simulated += 1
        self.store.release(kind, key)

    def _see(self, row: ChipRow) -> None:
        """Have a chip's Verilog simulated, where it is of the sample or has lost too much."""
        lost = row.points(row.scheduled_correct) > self.asked.below
        if not row.delta_bytes:
            why = row.notes[-1]
            self.display.line(f"{self.names[row.key]}: {why} Its Verilog is not simulated.")
        elif self._simulates and row.key not in self.verified and (row.key in self.sampled or lost):
            self.todo.append((VerifiedRow, row.key))

    def _raise_failures(self) -> None:
        if not self.failed:
            return
        key, error = next(iter(self.failed.items()))
        text = (
            f"{len(self.failed)} of {len(self.profiles)} chips failed, first {self.names[key]}:"
            f" {inputs.one_line(error)}; the others are in {self.store.folder}, and"
            " fleet.log there has the whole story"
        )
        errors = self.failed.values()
        kind: type[HascodesignError] = StepFailed
        if any(isinstance(one, VerificationMismatch) for one in errors):
            kind = VerificationMismatch
        elif all(isinstance(one, ConfigError) for one in errors):
            kind = ConfigError
        raise kind(text)

    def summary(self, seconds: float) -> Fleet:
        """What this run has done."""
        return Fleet(
            id=self.id,
            chips=len(self.keys),
            distinct=len(self.profiles),
            found=self.found,
            made=self.made,
            verified=self.simulated,
            seconds=seconds,
        )


def _tuples(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {n: tuple(v) if isinstance(v, list) else v for n, v in columns.items()}
