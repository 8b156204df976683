"""Running the user's own Python: whatever it does ends in one line, and it changes nothing here.

Out of reach stays code that ends the process itself (``os._exit``, a signal) or never returns.
"""

from __future__ import annotations

import importlib
import io
import os
import site
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch

from hascodesign.contract.errors import HascodesignError, ModelError

_PACKAGE = Path(__file__).resolve().parent.parent
#: Modules that the user's file imported from his own folders, by name.
_imported: set[str] = set()


@contextmanager
def running(what: str, script: Path | None = None) -> Iterator[None]:
    """Run code of the user's, or code that calls his.

    Output to the standard streams goes to the error stream, input is at its end, and warnings are
    silent; options of the command line, working folder and numeric settings are as before after it.

    Parameters
    ----------
    what : what must succeed, the start of the message.
    script : the user's file: its folder comes first on the path, and it sees no options.

    Raises
    ------
    ModelError
        Whatever the code raised but Ctrl-C, with the file and line of the user's own.
    """
    said = io.StringIO()
    try:
        with _settings_kept(script), redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with redirect_stderr(said):
                yield
    except (KeyboardInterrupt, HascodesignError):
        raise
    except BaseException as error:
        words = said.getvalue().strip().splitlines()
        told = f" ({words[-1]})" if words and isinstance(error, SystemExit) else ""
        raise ModelError(f"{what}: {reason(error)}{told}{_place(error)}") from error


@contextmanager
def _settings_kept(script: Path | None) -> Iterator[None]:
    """The state of the process that a careless script changes."""
    path, argv, stdin, bytecode = sys.path[:], sys.argv, sys.stdin, sys.dont_write_bytecode
    folder, dtype, threads = Path.cwd(), torch.get_default_dtype(), torch.get_num_threads()
    grad = torch.is_grad_enabled()
    sys.stdin = io.StringIO()  # input() meets the end of a file; it would wait without end
    sys.dont_write_bytecode = True  # a source changed within the second looks as old as its code
    if script is not None:
        sys.path.insert(0, str(script.parent.resolve()))
        sys.argv = [str(script)]
    try:
        with np.errstate():
            yield
    finally:
        sys.path[:], sys.argv, sys.stdin = path, argv, stdin
        sys.dont_write_bytecode = bytecode
        os.chdir(folder)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)


def forget() -> None:
    """Drop what an earlier model's file imported: the next one reads its neighbours anew."""
    for name in _imported:
        sys.modules.pop(name, None)
    _imported.clear()
    importlib.invalidate_caches()


def sources(before: frozenset[str]) -> dict[str, bytes]:
    """Source of each module of the user's own that was imported since, by name.

    Parameters
    ----------
    before : names that ``sys.modules`` had.
    """
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name in before or not isinstance(file, str) or not _own(file):
            continue
        _imported.add(name)
        if file.endswith(".py") and Path(file).is_file():
            found[name] = Path(file).read_bytes()
    return found


def reason(error: BaseException) -> str:
    """First line of an error, with its kind."""
    try:
        text = str(error).split("\n")[0].strip()
    except Exception:  # the user's own class, whose __str__ may raise whatever it likes
        text = ""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: BaseException) -> str:
    """File and line of the user's own code that an error passed last; empty where none is."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {error.filename} line {error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _own(f.filename)]
    return f" at {frames[-1].filename} line {frames[-1].lineno}" if frames else ""


def _own(file: str) -> bool:
    """Whether a source file is neither Python's, nor an installed package's, nor this one's."""
    if file.startswith("<"):
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(folder) for folder in _INSTALLED)


def _installed() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    named = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    named += [*site.getsitepackages(), site.getusersitepackages()]
    return (_PACKAGE, *(Path(p).resolve() for p in named))


_INSTALLED = _installed()
