"""What a flow leaves in its folder: put there as a whole, taken away, and checked.

``report.json`` is the mark of a whole delivery. It holds a digest of every other file and, in its
last field, of itself, goes first where anything of a delivery changes, and comes last: a folder
without it promises nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hascodesign.common import files
from hascodesign.common.seal import is_sealed
from hascodesign.contract.errors import ConfigError, DiskError
from hascodesign.contract.types import FaultProfile, IntegerNetwork, Schedule
from hascodesign.faults import formats as fault_formats

#: Folders that a flow renders.
FOLDERS = ("rtl", "roms", "hls", "vivado", "synth", "vectors", "deploy", "unverified")
MARK = "report.json"
#: All that a flow delivers, in the order in which an old delivery goes.
NAMES = (MARK, "report.html", "schedule.json", "faults.json", *FOLDERS)
LARGEST_REPORT = 64 << 20  # bytes


def records(
    network: IntegerNetwork,
    profile: FaultProfile,
    schedule: Schedule | None,
    written: IntegerNetwork | None = None,
) -> dict[str, bytes]:
    """faults.json and, where there is a schedule, schedule.json with the rows as written."""
    from hascodesign.schedule import formats as schedule_formats  # noqa: PLC0415
    from hascodesign.schedule.written import rows_of  # noqa: PLC0415

    made = {"faults.json": fault_formats.write_json(profile)}
    if schedule is not None:
        rows = None
        if written is not None:
            rows = [[row.text() for row in layer] for layer in rows_of(network, written)]
        made["schedule.json"] = schedule_formats.to_json(schedule, rows)
    return made


def deliver(
    out: Path, content: Mapping[str, bytes], *, inputs: Collection[Path] = (), alone: bool = False
) -> None:
    """Put a delivery in place of the one before.

    All is written and synced beside the old delivery first, so that a full disk leaves the old
    one as it was. Then the old mark goes, the rest of the old, the new comes, and its mark last:
    renames alone.

    Parameters
    ----------
    out : the flow's folder, held by this run.
    content : path -> content.
    inputs : files that the user gave; they stay where nothing comes in their place.
    alone : whether only the names in ``content`` are replaced and all else stays.

    Raises
    ------
    DiskError
        Something of the old delivery can be neither moved nor removed.
    OSError
        The new one cannot be written.
    ValueError
        A name that a delivery does not have.
    """
    tops = {path.split("/")[0] for path in content}
    if not tops <= set(NAMES):
        raise ValueError(f"a delivery has names of its own alone, not {sorted(tops - set(NAMES))}")
    with _staging(out) as (new, old):
        files.write_tree(new, content, durable=True)
        _take_away(out, old, [n for n in NAMES if n in tops or not alone], inputs)
        for name in sorted(tops, key=lambda name: (name == MARK, name)):
            if name == MARK:
                files.sync_folder(out)  # the mark never reaches the disk before what it vouches for
            (new / name).rename(out / name)
        files.sync_folder(out)


def withdraw(out: Path, *, inputs: Collection[Path] = ()) -> None:
    """Take a whole delivery away, its mark first; what the user gave as an input stays."""
    with _staging(out) as (_, old):
        _take_away(out, old, NAMES, inputs)


@contextmanager
def _staging(out: Path) -> Iterator[tuple[Path, Path]]:
    """Folders for the new and the old in ``out``, where a rename reaches them."""
    staging = Path(tempfile.mkdtemp(dir=out, prefix=files.TEMPORARY))
    try:
        new, old = staging / "new", staging / "old"
        new.mkdir()
        old.mkdir()
        yield new, old
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            files.remove(staging)
        raise
    try:
        files.remove(staging)
    except OSError as error:
        raise _stays(error) from error


def _take_away(out: Path, old: Path, names: Collection[str], inputs: Collection[Path]) -> None:
    given = {os.path.realpath(path) for path in inputs}
    for name in names:
        path = out / name
        if not os.path.lexists(path) or os.path.realpath(path) in given:
            continue
        try:
            path.rename(old / name)
        except OSError as error:
            raise _stays(error) from error
        if name == MARK:
            files.sync_folder(out)
    files.sync_folder(out)


def _stays(error: OSError) -> DiskError:
    return DiskError(
        f"what an earlier run left must be removable: {error.filename}: {error.strerror};"
        " remove it and run again"
    )


# -------------------------------------------------------------------------------------- checking


def differences(out: Path) -> list[str]:
    """What a folder lacks or has beyond the delivery that its report.json lists.

    Parameters
    ----------
    out : a flow's folder.

    Returns
    -------
    One line for each file that is missing, changed or extra; empty for a whole delivery.

    Raises
    ------
    ConfigError
        There is no such folder.
    """
    if not out.is_dir():
        raise ConfigError(f"the folder to check must exist: {out}")
    try:
        listed, whole = _listed(out / MARK)
    except FileNotFoundError:
        return [f"missing: {MARK}, the mark of a whole delivery"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return [f"changed: {MARK} is not a report that lists its files"]
    found = [] if whole else [f"changed: {MARK}"]
    for path, wanted in sorted(listed.items()):
        digest = _digest(out / path)
        if digest is None:
            found.append(f"missing: {path}")
        elif digest != wanted:
            found.append(f"changed: {path}")
    folders = {path.split("/")[0] for path in listed if "/" in path} | {*FOLDERS} - {"unverified"}
    return found + [f"extra: {path}" for path in _held(out, sorted(folders)) if path not in listed]


def _listed(report: Path) -> tuple[dict[str, str], bool]:
    """Paths and digests of a report, and whether its bytes are those that were written.

    ValueError and the like where it is no report.
    """
    if not stat.S_ISREG(report.lstat().st_mode) or report.stat().st_size > LARGEST_REPORT:
        raise ValueError("not a regular file of a report's size")
    content = report.read_bytes()
    entries: list[dict[str, Any]] = json.loads(content)["files"]
    listed = {str(entry["path"]): str(entry["sha256"]) for entry in entries}
    for path in listed:
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in path:
            raise ValueError(f"not a path below the folder: {path!r}")
    if not listed:
        raise ValueError("a delivery has files")
    return listed, is_sealed(content)


def _digest(path: Path) -> str | None:
    """sha256 of a regular file; empty of anything else, None where nothing is there."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ""


def _held(out: Path, folders: Collection[str]) -> Iterator[str]:
    """Every file, link or other thing in the folders, but no folder."""
    for folder in folders:
        if (out / folder).is_symlink():
            yield folder
            continue
        for place, inner, names in os.walk(out / folder):
            links = [name for name in inner if (Path(place) / name).is_symlink()]
            for name in sorted([*names, *links]):
                yield (Path(place) / name).relative_to(out).as_posix()
