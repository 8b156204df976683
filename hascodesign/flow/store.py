"""Results of the flow's steps, kept under a hash of all that went in."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hascodesign.common import interrupt, records
from hascodesign.common.files import remove, write_atomic
from hascodesign.common.packed import DAMAGE
from hascodesign.common.shipped import share
from hascodesign.contract.results import StepRecord

LARGEST_META = 1 << 16  # bytes of a step's .json, which takes about 200
#: Libraries whose code the steps' results come from.
LIBRARIES = (
    "brevitas",
    "cocotb",
    "jinja2",
    "numba",
    "numpy",
    "pymoo",
    "scikit-learn",
    "scipy",
    "torch",
)


@lru_cache(maxsize=1)
def source_digest() -> str:
    """Hash of the program and its libraries: a step made by other code is never served."""
    total = hashlib.sha256()
    for library in LIBRARIES:
        total.update(f"{library} {version(library)}\n".encode())
    for name, path in sources():
        total.update(name.encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def sources() -> Iterator[tuple[str, Path]]:
    """Every file that steps' results come from: its name in its folder, and where it lies."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package, share("rtl_templates"), share("sim"), share("flows")):
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder)
            made = any(part.startswith((".", "__pycache__", "sim_build")) for part in inner.parts)
            if path.is_file() and not made:
                yield inner.as_posix(), path


@dataclass(slots=True)
class StepStore:
    """The steps/ folder of one output folder."""

    folder: Path
    redo: frozenset[str] = frozenset()  # steps that are computed again whatever is stored
    announce: Callable[[StepRecord], None] | None = None
    records: list[StepRecord] = field(default_factory=list)

    def run(
        self,
        name: str,
        inputs: tuple[Any, ...],
        compute: Callable[[], Any],
        *,
        afresh: bool = False,
        begun: Future[tuple[Any, float]] | None = None,
    ) -> Any:
        """The step's record: the stored one where code and inputs are the same, else computed.

        Parameters
        ----------
        name : of the step; of its files.
        inputs : all that the result depends on; records or plain values.
        compute : called where nothing fitting is stored.
        afresh : compute whatever is stored: the inputs cannot tell what the result will be.
        begun : what :meth:`begin` gave for the same inputs, waited for in place of ``compute``.
        """
        stored = None if afresh else self._look(name, inputs)
        if stored is not None:
            record, seconds = stored
            self._note(name, seconds, cached=True)
            return record
        record, seconds = _timed(compute) if begun is None else begun.result()
        interrupt.check()  # of a signal that was swallowed in it, nothing is stored
        content = records.encode(record)
        path, meta = self._places(name)
        # the key goes last: a run killed in between leaves a key that does not fit its content
        for place in (meta, path):
            if place.is_dir() or place == meta:
                remove(place)
        write_atomic(path, content)
        summary = {
            "key": _key(name, inputs),
            "seconds": seconds,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        write_atomic(meta, json.dumps(summary, indent=2).encode() + b"\n")
        self._note(name, seconds, cached=False)
        return record

    def begin(
        self, name: str, inputs: tuple[Any, ...], compute: Callable[[], Any], pool: Executor
    ) -> Future[tuple[Any, float]] | None:
        """Have a pool compute a step while others run; None where it is stored."""
        if self._look(name, inputs) is not None:
            return None
        return pool.submit(_timed, compute)

    def holds(self, name: str, inputs: tuple[Any, ...]) -> bool:
        """Whether the step's record is stored."""
        return self._look(name, inputs) is not None

    def _look(self, name: str, inputs: tuple[Any, ...]) -> tuple[Any, float] | None:
        """The stored record and the seconds it took."""
        path, meta = self._places(name)
        return None if name in self.redo else _stored(path, meta, _key(name, inputs))

    def _places(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}.npz", self.folder / f"{name}.json"

    def _note(self, name: str, seconds: float, *, cached: bool) -> None:
        self.records.append(StepRecord(name, seconds, cached))
        if self.announce is not None:
            self.announce(self.records[-1])


def _key(name: str, inputs: tuple[Any, ...]) -> str:
    return records.digest(name, source_digest(), *inputs)


def _timed(compute: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    record = compute()
    return record, time.perf_counter() - start


class KeepsNothing(StepStore):
    """Computes every step, for a run whose records are kept elsewhere."""

    def __init__(self) -> None:
        super().__init__(Path())

    def run(
        self,
        name: str,
        inputs: tuple[Any, ...],
        compute: Callable[[], Any],
        *,
        afresh: bool = False,
        begun: Future[tuple[Any, float]] | None = None,
    ) -> Any:
        """The step's record, computed."""
        del name, inputs, afresh
        return compute() if begun is None else begun.result()[0]


def _stored(path: Path, meta: Path, key: str) -> tuple[Any, float] | None:
    try:
        if not (path.is_file() and meta.is_file()) or meta.stat().st_size > LARGEST_META:
            return None  # nor a folder nor a pipe, which would be waited for
        summary = json.loads(meta.read_bytes())
        content = path.read_bytes()
        if summary["key"] != key or summary["sha256"] != hashlib.sha256(content).hexdigest():
            return None
        seconds = float(summary["seconds"])
        return (records.decode(content), seconds) if 0 <= seconds < math.inf else None
    except (OSError, TypeError, AttributeError, *DAMAGE):
        return None  # absent or damaged: computed again
