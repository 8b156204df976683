"""Writing to disk so that a killed run leaves nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.errors import ConfigError, DiskError, HascodesignError

_PARSING = threading.Lock()
#: Beginning of the name of every file and folder that is to be renamed or removed.
TEMPORARY = ".hascodesign-"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new, never a part.

    File and folder are on disk when it returns. Where the process is killed on the way, a file
    whose name begins with TEMPORARY stays beside the target; :func:`sweep` removes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not named after the target, whose name may be as long as a name can be
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            # mkstemp makes private files; the umask is what a plain open() would have followed
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(file.fileno(), 0o666 & ~umask)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of an .npz file; safe in threads.

    numpy parses each array's header with ``ast``, which in Python before 3.11.8 and 3.12.2 now and
    then raises SystemError where two threads parse at once (github.com/python/cpython, 106905).
    """
    with _PARSING, np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def write_tree(folder: Path, files: Mapping[str, bytes], *, durable: bool = False) -> None:
    """Write files below ``folder``, which need not exist; not atomic as a whole.

    Parameters
    ----------
    folder : what the paths are below.
    files : path -> content.
    durable : whether all files and folders must be on disk when it returns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folders = {folder}
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        folders.update(folder / inner for inner in Path(path).parents)
        with target.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    if durable:
        for made in sorted(folders, reverse=True):  # a folder after what is in it
            sync_folder(made)


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk: names made, moved and removed in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; nothing where it is absent.

    Raises
    ------
    OSError
        It, or something in it, stays.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed runs have left of :func:`write_atomic` and of staged deliveries."""
    for path in sorted(folder.glob(f"{TEMPORARY}*")):
        remove(path)


def usable_folder(out: Path) -> Path:
    """``out`` as an existing folder that can be written to, else ConfigError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        if error.errno in DISK:
            raise
        raise ConfigError(f"output folder must be writable: {out}: {error.strerror}") from error
    return out


#: Errors of the disk, not of what the user named.
DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS))


def in_words(error: OSError) -> HascodesignError:
    """An error of the file system that nobody has handled, as one line with its remedy."""
    where = error.filename2 or error.filename
    place = "" if where is None else f"{os.fsdecode(where)}: "
    reason = f"{place}{error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(f"the disk must have room, and is full: {reason}; free some, run again")
    if error.errno == errno.EFBIG:
        return DiskError(f"files must fit the limit on their size: {reason}; see ulimit -f")
    if error.errno in DISK:
        return DiskError(f"the disk must take what is written: {reason}")
    return ConfigError(f"a file or folder must be usable: {reason}")
