"""What a worker does: a chip's schedule, its judgement, its delta; the simulation of its Verilog.

Network, data and options come once to each worker and stay there, with the kernels that were
loaded for them; a task brings a profile. A process does one chip at a time, whatever threads its
worker has: the kernels are not made to be called by two at once.
"""

from __future__ import annotations

import math
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hascodesign import __version__
from hascodesign.common import records
from hascodesign.common.display import Display
from hascodesign.contract import array as arrays
from hascodesign.contract.build import Rom
from hascodesign.contract.errors import ConfigError, VerificationMismatch
from hascodesign.contract.results import SearchResult
from hascodesign.contract.types import Dataset, Equivalence, FaultProfile, IntegerNetwork
from hascodesign.faults import formats
from hascodesign.fleet import delta
from hascodesign.flow.config import FlowConfig, Simulator
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.store import KeepsNothing, source_digest

if TYPE_CHECKING:
    from hascodesign.render.core_sizes import CoreOptions

Result = TypeVar("Result")

_lock = threading.Lock()
_supplied: dict[str, bytes] = {}


class Silent(Display):
    """Nobody looks at a worker's screen."""

    def line(self, text: str) -> None:
        """Say nothing."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Show nothing."""


@dataclass(frozen=True, slots=True)
class Bitstream:
    """The one bitstream of a fleet."""

    roms: tuple[Rom, ...]
    hardware: CoreOptions  # how it is fitted to the board


@dataclass(frozen=True, slots=True)
class Shared:
    """What all chips of a fleet have in common."""

    network: IntegerNetwork
    equivalence: Equivalence
    dataset: Dataset
    config: FlowConfig

    def encode(self) -> bytes:
        """Bytes for the workers."""
        config = self.config.model_dump_json()
        return records.encode((self.network, self.equivalence, self.dataset, config))

    @staticmethod
    def decode(content: bytes) -> Shared:
        """What `encode` gave."""
        network, equivalence, dataset, config = records.decode(content)
        return Shared(network, equivalence, dataset, FlowConfig.model_validate_json(config))

    @staticmethod
    def of(flow: Flow) -> Shared:
        """What a flow shares with those that differ in seed or profile."""
        return Shared(flow.network, flow.integers[1], flow.dataset, flow.config)

    def flow(
        self, profile: FaultProfile, out: Path = Path(), simulator: Simulator = "icarus"
    ) -> Flow:
        """The flow of one chip; ``out`` takes what simulations leave."""
        request = Request(config=self.config, out=out, cache=Path(), simulator=simulator)
        flow = Flow(request, KeepsNothing(), Silent())
        known = {"integerise": (self.network, self.equivalence), "faults": profile}
        flow.take({"load": self.dataset, **known})
        return flow

    def of_seed(self, seed: int) -> Flow:
        """The flow of another seed, which draws its own profile."""
        config = self.config.model_copy(update={"seed": seed})
        flow = Flow(Request(config=config, out=Path(), cache=Path()), KeepsNothing(), Silent())
        flow.take({"load": self.dataset, "integerise": (self.network, self.equivalence)})
        return flow

    def bitstream(self) -> Bitstream:
        """What all chips run: the plain build, whatever a chip's faults."""
        from hascodesign.render import rom  # noqa: PLC0415  (jinja2)

        flow = self.flow(FaultProfile(self.config.array.spec()))
        plain = arrays.identity_schedule(self.network, flow.profile.array)
        flow.take({"schedule": SearchResult(plain, "given", 0, 0.0, math.nan, (), ())})
        return Bitstream(rom.build_roms(self.network, plain, flow.on_chip), flow.hardware)


def supply(name: str, content: bytes) -> None:
    """Keep what all chips of a fleet share, for the tasks that name it."""
    _supplied[name] = content


@lru_cache(maxsize=2)
def _shared(name: str) -> Shared:
    return Shared.decode(_supplied[name])


@lru_cache(maxsize=2)
def _bitstream(name: str) -> Bitstream:
    return _shared(name).bitstream()


class OtherProgram(ConfigError):
    """A worker that must not work for this client."""


def identity(simulator: str | None) -> dict[str, Any]:
    """Which program this process runs, and whether it can simulate."""
    return {
        "version": __version__,
        "digest": source_digest(),
        "simulator": None if simulator is None else _missing(simulator),
    }


def _missing(simulator: str) -> str:
    """Why a simulator cannot run here; empty where it can."""
    from hascodesign.contract.errors import ToolNotFound  # noqa: PLC0415
    from hascodesign.verify import simulate  # noqa: PLC0415

    try:
        simulate.require(simulator)
    except ToolNotFound as error:
        return str(error)
    return ""


def require_same(digest: str, where: str) -> None:
    """Refuse to work with another program than the client's: its bits may be others."""
    if digest != source_digest():
        raise OtherProgram(
            f"worker {where} must run the client's program, {digest[:12]}, not hascodesign"
            f" {__version__} with source {source_digest()[:12]}; install the same version there"
        )


@contextmanager
def _alone() -> Iterator[dict[str, Any]]:
    """One chip at a time, on one thread; gives the times of the row."""
    import numba  # noqa: PLC0415  (start-up time)
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    with _lock, threadpool_limits(1):
        numba.set_num_threads(1)
        times: dict[str, Any] = {"worker": socket.gethostname()}
        wall, cpu = time.perf_counter(), _cpu()
        yield times
        times["seconds"] = time.perf_counter() - wall
        times["cpu_seconds"] = _cpu() - cpu
        times["finished"] = datetime.now(UTC).isoformat(timespec="milliseconds")


def call(
    name: str | None, program: str, function: Callable[..., Result], arguments: tuple[Any, ...]
) -> Result:
    """What a function of a study gives for what was supplied and its own arguments.

    Parameters
    ----------
    name : of what was supplied; None: nothing was.
    program : digest of the client's program.
    function : takes the `Shared` that was supplied, if any, and the arguments.
    """
    require_same(program, socket.gethostname())
    with _alone():
        shared = () if name is None else (_shared(name),)
        return function(*shared, *arguments)


def _cpu() -> float:
    """Processor time of this process and of the programs that it has waited for, seconds."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def chip(name: str, program: str, key: str, profile: bytes) -> tuple[dict[str, Any], bytes]:
    """Schedule one chip.

    Parameters
    ----------
    name : of what was supplied.
    program : digest of the client's program.
    key : of the result.
    profile : faults.json.

    Returns
    -------
    Columns of the chip's row, without those that say which fleet it is of; its delta, empty where
    the bitstream cannot take its memories.
    """
    from hascodesign.engine.network import Evaluator  # noqa: PLC0415  (numba compiles)
    from hascodesign.render import rom  # noqa: PLC0415  (jinja2)

    require_same(program, socket.gethostname())
    with _alone() as times:
        shared, bitstream = _shared(name), _bitstream(name)
        flow = shared.flow(formats.parse(profile, "json"))
        flow.hardware = bitstream.hardware
        search, heldout = flow.search, shared.dataset.heldout
        plain = arrays.identity_schedule(shared.network, flow.profile.array)
        lost = flow.evaluator(heldout, Evaluator).judge(plain)
        won = flow.evaluator(heldout, Evaluator, network=search.written).judge(search.schedule)
        roms = rom.build_roms(flow.deployed, flow.schedule, flow.on_chip)
        schedule = flow.records(search.schedule, search.written)["schedule.json"]
        misfit = delta.misfit(bitstream.roms, roms)
        content = b"" if misfit else delta.encode(key, bitstream.roms, roms, schedule)
        named = {one.name: one for one in search.baselines}
        row = {
            "key": key,
            "faults": len(flow.profile.faults),
            "faulty_pes": len({fault.pe for fault in flow.profile.faults}),
            "heldout": len(heldout.labels),
            "healthy_correct": shared.equivalence.integer_correct,
            "plain_correct": lost.correct,
            "scheduled_correct": won.correct,
            "passes": sum(one.passes for one in search.schedule.layers),
            "least_passes": sum(one.passes for one in plain.layers),
            "evaluations": search.evaluations,
            "healthy_loss": float(search.healthy_loss or 0.0),
            "plain_loss": float(named["identity"].loss),
            "scheduled_loss": float(search.loss),
            "notes": [*search.notes, *([f"There is no delta: {misfit}."] if misfit else [])],
            "roms_sha256": delta.digest(roms),
        }
    return row | times, content


def verify(
    name: str, program: str, key: str, profile: bytes, content: bytes, simulator: Simulator
) -> dict[str, Any]:
    """Hold the Verilog of a chip, with the memories that its delta gives, to the fault model.

    Parameters
    ----------
    name, program, key, profile : as for `chip`.
    content : the chip's delta, from which schedule and rows are read.
    simulator : "icarus" or "verilator".

    Returns
    -------
    Columns of the row of the verification.

    Raises
    ------
    VerificationMismatch
        An integer that differs, or memories that are not those that were kept.
    """
    from hascodesign.render import rom  # noqa: PLC0415  (jinja2)
    from hascodesign.schedule import formats as schedules  # noqa: PLC0415
    from hascodesign.schedule import written  # noqa: PLC0415

    require_same(program, socket.gethostname())
    with _alone() as times, tempfile.TemporaryDirectory(prefix="hascodesign-fleet-") as folder:
        shared, kept = _shared(name), delta.decode(content)
        flow = shared.flow(formats.parse(profile, "json"), Path(folder), simulator)
        array = flow.profile.array
        schedule = schedules.from_json(kept.schedule, shared.network, array)
        rows = written.from_json(kept.schedule, shared.network, array)
        given = SearchResult(schedule, "given", 0, 0.0, math.nan, (), (), written=rows)
        flow.take({"schedule": given})
        base = _bitstream(name)
        flow.hardware = base.hardware
        roms = rom.build_roms(flow.deployed, schedule, flow.on_chip)
        wanted = delta.memories(roms)
        whole = (kept.key, kept.roms) == (key, delta.digest(roms))
        if not whole or delta.apply(base.roms, kept) != {m.name: m.words for m in wanted}:
            raise VerificationMismatch(f"the delta of {key} must give the memories of its plan")
        checked, _, images = flow.verified
        row = {
            "key": key,
            "roms_sha256": kept.roms,
            "simulator": flow.simulator_identity,
            "integers": sum(one.outputs for one in checked.layers)
            + sum(one.outputs for one in images.runs),
            "differ": checked.mismatches,
            "images": sum(one.images for one in images.runs),
            "notes": list(images.notes),
        }
    return row | times
