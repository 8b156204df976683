"""The store of a fleet: Parquet parts that are added and never changed, and a delta for each chip.

    store.json               what the folder is
    fleets/<id>.parquet      the chips that were asked for, with their profiles: one row each
    chips/<key>.parquet      one row: a chip that is done; its delta lies there before its row
    chips/part-<id>.parquet  rows of many such parts, folded into one when a fleet is done
    deltas/<xx>/<key>.npz    what to write at run time
    verified/...             as chips/: Verilog that was held to the fault model
    claims, lock             which client is at which chip: held by the system, gone with the client

The key is a hash of network, data, profile, options and program. Rows carry a digest of
themselves. But for `TIMES` a row is the same whoever makes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, TypeVar, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from hascodesign.common import files, inputs, records
from hascodesign.contract.errors import ConfigError

FORMAT = 1
MARK = "store.json"
#: Columns that differ from run to run.
TIMES = ("seconds", "cpu_seconds", "worker", "finished")
_FOLDED = 4096  # rows of a folded part, at most


@dataclass(frozen=True, slots=True)
class Asked:
    """A chip of a fleet."""

    chip: str
    key: str
    profile: str  # faults.json, on which chips of the same faults agree


@dataclass(frozen=True, slots=True)
class ChipRow:
    """A chip that is done: counts of held-out images, losses of calibration images in nats."""

    key: str
    faults: int
    faulty_pes: int
    heldout: int  # images
    healthy_correct: int  # without faults
    plain_correct: int  # rows as trained, in plain order
    scheduled_correct: int
    passes: int  # of all layers
    least_passes: int
    evaluations: int
    healthy_loss: float
    plain_loss: float
    scheduled_loss: float
    notes: tuple[str, ...]  # of the search
    roms_sha256: str  # of the ROM files
    delta_sha256: str
    delta_bytes: int  # 0 where the bitstream cannot take its memories, as a note says
    seconds: float
    cpu_seconds: float
    worker: str  # host
    finished: str  # UTC

    def points(self, correct: int) -> float:
        """Points of accuracy that so many correct images are below the healthy network."""
        return 100 * (self.healthy_correct - correct) / self.heldout


@dataclass(frozen=True, slots=True)
class VerifiedRow:
    """A chip whose Verilog gave, in the simulator, the integers of the fault model."""

    key: str
    roms_sha256: str
    simulator: str
    integers: int  # compared
    differ: int
    images: int  # through the whole accelerator
    notes: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    worker: str
    finished: str


Row = TypeVar("Row", bound="ChipRow | VerifiedRow | Asked")
_TYPES: Mapping[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    tuple[str, ...]: pa.list_(pa.string()),
}


class Store:
    """A store on disk, opened by one client among others.

    Parameters
    ----------
    folder : of the store; made where it is absent.

    Raises
    ------
    ConfigError
        A folder that holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = files.usable_folder(folder)
        held = [path for path in folder.iterdir() if path.name != MARK]
        mark = folder / MARK
        if not mark.exists():
            if any(not path.name.startswith((files.TEMPORARY, "fleet.log")) for path in held):
                raise ConfigError(
                    f"a fleet's store must be a folder of its own or a new one, and {folder} holds"
                    f" {sorted(path.name for path in held)[0]}"
                )
            files.write_atomic(mark, json.dumps({"format": FORMAT}).encode() + b"\n")
        _check_mark(mark)
        self._claims = (folder / "claims").open("a+b")  # NFS locks need both
        self._lock = (folder / "lock").open("a+b")
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        if not _same(
            self._lock, folder / "lock"
        ):  # another client that began here has just discarded it
            self.close()
            raise ConfigError(f"{folder}: another run has just removed it; run again")

    def discard(self) -> None:
        """Remove a store in which no fleet was noted, unless another client is at it."""
        with self._alone() as alone:
            if alone and not any((self.folder / "fleets").glob("*")):
                files.remove(self.folder)

    def close(self) -> None:
        """Let go of every claim."""
        self._claims.close()
        self._lock.close()

    # -------------------------------------------------------------------------------------- claims

    def claim(self, kind: type[Row], key: str) -> bool:
        """Whether this client is now the one at a chip; the system lets go when it ends."""
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(kind, key))
        except (BlockingIOError, PermissionError):  # which of them depends on the system
            return False
        return True

    def release(self, kind: type[Row], key: str) -> None:
        """Let other clients at a chip."""
        fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, _place(kind, key))

    # --------------------------------------------------------------------------------------- parts

    def rows(self, kind: type[Row]) -> dict[str, Row]:
        """Every row by its key.

        Raises
        ------
        ConfigError
            A part that is damaged, or two rows of one chip that differ: the file, what to do.
        """
        found: dict[str, Row] = {}
        for path in sorted((self.folder / _ROOMS[kind]).glob("*.parquet")):
            for row in read(path, kind):
                known = found.setdefault(row.key, row)
                if _lasting(known) != _lasting(row):
                    raise ConfigError(
                        f"{path}: what it holds of chip {row.key} must be what another part holds,"
                        " and differs: the machines that made them disagree"
                    )
        return found

    def row(self, kind: type[Row], key: str) -> Row | None:
        """The row of a chip that this client or another has done since the rows were read."""
        path = self._path(kind, key)
        return read(path, kind)[0] if path.exists() else None

    def put(self, row: ChipRow | VerifiedRow) -> None:
        """Add a part of one row."""
        files.write_atomic(self._path(type(row), row.key), encode([row]))

    def put_delta(self, key: str, content: bytes) -> None:
        """Add a delta; before its row."""
        files.write_atomic(self.delta_path(key), content)

    def delta(self, row: ChipRow) -> bytes | None:
        """The delta of a chip; None where it is missing or is not what the row says."""
        path = self.delta_path(row.key)
        content = inputs.read(path, inputs.ANY) if path.exists() else b""
        return content if hashlib.sha256(content).hexdigest() == row.delta_sha256 else None

    def delta_path(self, key: str) -> Path:
        """Where the delta of a chip lies."""
        return self.folder / "deltas" / key[:2] / f"{key}.npz"

    def put_fleet(self, chips: Sequence[Asked], about: Mapping[str, Any]) -> str:
        """Note which chips were asked for; the same fleet once. Gives its id."""
        name = records.digest([asdict(chip) for chip in chips], dict(about))[:16]
        path = self.folder / "fleets" / f"{name}.parquet"
        if not path.exists():
            files.write_atomic(path, encode(chips, about))
        return name

    def fleets(self) -> dict[str, tuple[dict[str, Any], list[Asked]]]:
        """What was asked for: what the fleet is about, and its chips, by id."""
        found = {}
        for path in sorted((self.folder / "fleets").glob("*.parquet")):
            chips = read(path, Asked)
            about = pq.read_schema(path).metadata or {}
            found[path.stem] = (json.loads(about.get(b"about", b"{}")), chips)
        return found

    def _path(self, kind: type[Row], key: str) -> Path:
        return self.folder / _ROOMS[kind] / f"{key}.parquet"

    def fold(self) -> None:
        """Put the rows of single parts together, where no other client is at work.

        The rows are on disk twice before the single parts go: whoever is killed on the way leaves
        nothing to put right.
        """
        with self._alone() as alone:
            if not alone:
                return
            for kind, room in _ROOMS.items():
                if kind is Asked:
                    continue
                singles = [
                    path
                    for path in sorted((self.folder / room).glob("*.parquet"))
                    if not path.name.startswith("part-")
                ]
                for first in range(0, len(singles), _FOLDED):
                    _fold(singles[first : first + _FOLDED], kind)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            yield False
            return
        yield True
        fcntl.flock(self._lock, fcntl.LOCK_SH)


#: Folder of each kind of row.
_ROOMS: Mapping[Any, str] = {ChipRow: "chips", VerifiedRow: "verified", Asked: "fleets"}


def _fold(paths: Sequence[Path], kind: type[Any]) -> None:
    if len(paths) < 2:
        return
    rows = [row for path in paths for row in read(path, kind)]
    name = records.digest([row.key for row in rows])[:16]
    files.write_atomic(paths[0].with_name(f"part-{name}.parquet"), encode(rows))
    for path in paths:
        path.unlink()


def _place(kind: type[Any], key: str) -> int:
    """Byte of the file of claims that stands for a chip, to be scheduled or to be verified."""
    return 2 * int(key[:15], 16) + (kind is VerifiedRow)


def _same(handle: IO[bytes], path: Path) -> bool:
    """Whether a file that was opened still lies there."""
    return path.exists() and os.path.samestat(os.fstat(handle.fileno()), path.stat())


def _check_mark(mark: Path) -> None:
    try:
        found = json.loads(inputs.read(mark, inputs.ANY))["format"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{mark}: must be the mark of a fleet's store, and is damaged") from None
    if found != FORMAT:
        raise ConfigError(f"{mark}: the store's format must be {FORMAT}, not {found}")


# --------------------------------------------------------------------------------- bytes of a part


def _schema(kind: type[Any]) -> pa.Schema:
    hints = get_type_hints(kind)
    columns = [(field.name, _TYPES[hints[field.name]]) for field in fields(kind)]
    return pa.schema([*columns, ("seal", pa.string())])


def _lasting(row: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name not in TIMES}


def encode(rows: Sequence[Any], about: Mapping[str, Any] | None = None) -> bytes:
    """Bytes of a part."""
    schema = _schema(type(rows[0]))
    values = [asdict(row) | {"seal": records.digest(asdict(row))} for row in rows]
    if about is not None:
        schema = schema.with_metadata({"about": json.dumps(about, sort_keys=True)})
    sink = io.BytesIO()
    table = pa.Table.from_pylist(values, schema)
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read(path: Path, kind: type[Row]) -> list[Row]:
    """Rows of a part, each as it was written.

    Raises
    ------
    ConfigError
        The file cannot be read, or a row is not what its seal says.
    """
    content = inputs.read(path, inputs.ANY)
    try:
        values: Iterable[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
        rows = []
        for value in values:
            seal = value.pop("seal")
            if records.digest(value) != seal:
                raise ValueError("a row is not what its seal says")
            rows.append(_row(kind, value))
    # what damaged bytes raise in Arrow, in the order of its own classes
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: the part must be whole, and is damaged ({inputs.one_line(error)[:80]});"
            " remove it and run again: what else is in the store stays, the chips of this part are"
            " done anew"
        ) from None
    return rows


def _row(kind: type[Row], value: Mapping[str, Any]) -> Row:
    lists = {name: tuple(item) for name, item in value.items() if isinstance(item, list)}
    return kind(**{**value, **lists})
