"""A Dask cluster: one on this machine, on the loopback address alone, or the user's."""

from __future__ import annotations

import hashlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from distributed import Client, LocalCluster, WorkerPlugin, as_completed

from hascodesign import __version__
from hascodesign.common import process_memory
from hascodesign.contract.errors import ConfigError, ToolNotFound
from hascodesign.fleet import work
from hascodesign.flow.store import source_digest

ANSWER_S = 15.0  # that a scheduler has to answer
PAUSE_S = 0.5  # before workers that went away are asked anew
WORKERS_S = 60.0  # that its workers have to come
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Where:
    """Which cluster."""

    scheduler: str | None = None  # address; None: on this machine
    workers: int = 1  # processes of that


#: One thread in each worker: two that spin would take the cores from each other.
THREADS = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
}


class Supply(WorkerPlugin):  # type: ignore[misc]  # dask tells no types
    """Brings what all chips share to each worker, those that come later too."""

    idempotent = True

    def __init__(self, name: str, content: bytes) -> None:
        self.name = f"hascodesign-{name}"
        self._name, self._content = name, content

    def setup(self, worker: Any) -> None:
        """Hand it over."""
        del worker
        process_memory.hold_freed()
        work.supply(self._name, self._content)


@contextmanager
def local(workers: int) -> Iterator[Client]:
    """A cluster of so many processes on this machine, that listens on loopback alone."""
    _quiet()
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            env={**THREADS, "OMP_WAIT_POLICY": "passive"},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def at(address: str) -> Iterator[Client]:
    """The user's cluster; certificates for ``tls://`` are those of Dask's own configuration.

    Raises
    ------
    ConfigError
        Nothing answers at the address, or no worker comes.
    """
    _quiet()
    try:
        client = Client(address, timeout=ANSWER_S)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"--scheduler {address}: a Dask scheduler must answer there within {ANSWER_S:g} s:"
            f" {reason}"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError:
            raise ConfigError(
                f"--scheduler {address}: a worker must be there within {WORKERS_S:g} s, and none"
                " came; start one with `dask worker`"
            ) from None
        yield client


def connected(where: Where) -> AbstractContextManager[Client]:
    """A cluster on this machine, or the user's."""
    return local(where.workers) if where.scheduler is None else at(where.scheduler)


def supply(client: Client, shared: work.Shared) -> str:
    """Bring to every worker what all tasks share; gives the name that tasks call it by."""
    content = shared.encode()
    name = hashlib.sha256(content).hexdigest()[:16]
    client.register_plugin(Supply(name, content))
    return name


def spread(
    where: Where,
    shared: work.Shared | None,
    function: Callable[..., Result],
    calls: Sequence[tuple[Any, ...]],
) -> Iterator[tuple[int, Result]]:
    """Place and result of each call, as they come.

    Parameters
    ----------
    where : the cluster.
    shared : first argument of every call; None: there is none.
    function : of a module that the workers have.
    calls : the other arguments of each.

    Raises
    ------
    ConfigError
        No cluster, a worker with another program, or a scheduler that goes away.
    """
    with connected(where) as client:
        check(client, None)
        name = None if shared is None else supply(client, shared)
        program = source_digest()
        places = {
            client.submit(work.call, name, program, function, arguments, pure=False): place
            for place, arguments in enumerate(calls)
        }
        for future in as_completed(list(places)):
            try:
                result = future.result()
            except CancelledError:
                raise ConfigError(
                    f"--scheduler {where.scheduler}: the scheduler must stay until all is done, and"
                    " went away; the same command goes on where it was"
                ) from None
            yield places.pop(future), result


def _quiet() -> None:
    """Dask's own log stays off the screen: what matters is said here, in one line."""
    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="distributed")


def _answers(client: Client, simulator: str | None) -> dict[str, Any]:
    """What each worker says of itself; one that goes away meanwhile says nothing.

    Who comes in its place, or later, is asked again with each chip (`work.require_same`).
    """
    end = time.monotonic() + WORKERS_S
    while True:
        found = client.run(work.identity, simulator, on_error="return")
        there = {name: one for name, one in found.items() if not isinstance(one, OSError)}
        if there or time.monotonic() > end:
            return there
        time.sleep(PAUSE_S)


def check(client: Client, simulator: str | None) -> int:
    """Whether every worker runs this program, and can simulate; gives their number.

    Parameters
    ----------
    simulator : that chips are verified with; None where none is.

    Raises
    ------
    ConfigError
        A worker that does not, or none at all.
    """
    answers = _answers(client, simulator)
    for address, found in sorted(answers.items()):
        if isinstance(found, BaseException):
            raise ConfigError(
                f"worker {address} must run hascodesign as this client does: {found}; install it"
                " there"
            )
        if found["digest"] != source_digest():
            raise ConfigError(
                f"worker {address} must run the client's program, hascodesign"
                f" {__version__} with source {source_digest()[:12]}, not {found['version']}"
                f" with source {found['digest'][:12]}; install the same version there"
            )
        if found["simulator"]:
            raise ToolNotFound(f"worker {address}: {found['simulator']}")
    if not answers:
        raise ConfigError(f"a worker must answer within {WORKERS_S:g} s, and all went away")
    return len(answers)
