"""Writing to disk so that a killed run leaves nothing half-written."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.errors import ConfigError

_PARSING = threading.Lock()


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; the umask is what a plain open() would have followed
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # noqa: PTH101
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of an .npz file; safe in threads.

    numpy parses each array's header with ``ast``, which in Python before 3.11.8 and 3.12.2 now and
    then raises SystemError where two threads parse at once (github.com/python/cpython, 106905).
    """
    with _PARSING, np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def write_tree(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below ``folder``, which need not exist; not atomic as a whole."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def replace_trees(out: Path, files: Mapping[str, bytes]) -> None:
    """Put whole subfolders of ``out`` in place: staged beside it, then renamed one by one.

    Every top-level folder that ``files`` names is replaced as a whole, so that no file of an
    earlier build stays in it. Plain files at the top are written atomically.
    """
    staging = Path(tempfile.mkdtemp(dir=out, prefix=".staging-"))
    try:
        write_tree(staging / "new", {p: b for p, b in files.items() if "/" in p})
        for folder in sorted({p.split("/")[0] for p in files if "/" in p}):
            target = out / folder
            if target.exists():
                target.rename(staging / f"old-{folder}")
            (staging / "new" / folder).rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for path, content in files.items():
        if "/" not in path:
            write_atomic(out / path, content)


def usable_folder(out: Path) -> Path:
    """``out`` as an existing folder that can be written to, else ConfigError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ConfigError(f"output folder must be writable: {out}: {error.strerror}") from error
    return out
