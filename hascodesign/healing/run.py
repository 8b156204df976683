"""`heal`: answers in, a healed schedule out; where there is a link to the chip, loaded and held."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs

from hascodesign.board.boards import find
from hascodesign.common import files
from hascodesign.common.display import Display
from hascodesign.contract.errors import ConfigError
from hascodesign.diagnose import files as tests_files
from hascodesign.diagnose.vectors import TestSet, vectors
from hascodesign.faults import formats
from hascodesign.faults.profile import check
from hascodesign.flow.config import Simulator, board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.store import StepStore
from hascodesign.healing import build as builds
from hascodesign.healing import simulated, ssh
from hascodesign.healing.build import InUse
from hascodesign.healing.plan import BOARD, Healed, plan
from hascodesign.render.driver import FOLDER

MARK = f"{BOARD}/predicted.npz"  # of a folder that `heal` wrote
MOST_NAMED = 16
DIFFERS = "the healed chip must be as predicted, and is not: what differs stands above"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    healed: Healed
    folder: Path
    failure: str  # why the chip is not healed as predicted; empty where it is
    seen: simulated.Seen | None = None  # what the chip showed, where there was a way to it


def heal(
    build: str | Path,
    *,
    answers: str | Path | None = None,
    simulate: str | Path | None = None,
    host: str | None = None,
    in_use: str | Path | None = None,
    tests: str | Path | None = None,
    out: str | Path | None = None,
    board: str = "pynq-z2",
    data: str | Path | None = None,
    checkpoint: str | Path | None = None,
    simulator: Simulator = "icarus",
    **options: Any,
) -> Outcome:
    """Heal a chip that runs a build, as `hascodesign heal` does it.

    Parameters
    ----------
    build : output folder of the flow.
    answers : file of the driver's `diagnose`; the board loads what is made of it.
    simulate : or a profile, whose chip is simulated; the whole loop is gone through.
    host : or the board, user@host, that ssh reaches; the whole loop there.
    in_use : schedule.json of what runs on the build; its own where None.
    tests : folder of the vectors; those of the array and seed 0 where None.
    out : output folder; that of the build with `-healed` where None.
    board, data, checkpoint : as of the flow that built it.
    simulator : of ``simulate``.
    options : keys of a flow file with __ for the dot, ``model`` one of them.

    Raises
    ------
    HascodesignError
        As `from_answers` and `in_simulation`.
    """
    folder, record = Path(build), find(board)
    changes = {"board": record.name} | {k.replace("__", "."): v for k, v in options.items()}
    request = Request(
        config=load_config(board_config(record.name), changes),
        out=_path(out) or folder.with_name(f"{folder.name}-healed"),
        cache=Path(platformdirs.user_cache_dir("hascodesign")),
        data=_path(data),
        checkpoint=_path(checkpoint),
        simulator=simulator,
    )
    given = (answers is not None, simulate is not None, host is not None)
    running, played = _path(in_use), _path(tests)
    if answers is not None and sum(given) == 1:
        return from_answers(request, folder, Path(answers), in_use=running, tests=played)
    if simulate is not None and sum(given) == 1:
        return in_simulation(request, folder, Path(simulate), in_use=running, tests=played)
    if host is not None and sum(given) == 1:
        return on_board(request, folder, host, in_use=running, tests=played)
    raise ConfigError("one way to the chip must be given: answers, simulate or host")


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def opened(request: Request, build: Path, in_use: Path | None, display: Display) -> InUse:
    """The build in use, with the network and the images that a request names."""
    core = builds.read_core(build / builds.CORE)
    request = replace(request, config=builds.settings(core, request.config))
    return builds.read(build, Flow(request, StepStore(build / "steps"), display), in_use)


def tests_of(in_use: InUse, folder: Path | None) -> TestSet:
    """The vectors of a folder, or those of the array in use."""
    if not in_use.bank_words:
        raise ConfigError("the build must have weights on chip: vectors lie in the weight banks")
    found = vectors(in_use.array) if folder is None else tests_files.read_tests(folder)
    array = in_use.array
    if replace(found.array, wmem_depth=0) != replace(array, wmem_depth=0):
        raise ConfigError(f"the vectors must be of the array in use, {array}, not {found.array}")
    return found


def from_answers(
    request: Request,
    build: Path,
    answers: Path,
    *,
    in_use: Path | None = None,
    tests: Path | None = None,
) -> Outcome:
    """Make what heals a chip of a file of its answers.

    Parameters
    ----------
    request : network, images, search; ``out`` takes what is made.
    build : output folder of the flow whose accelerator the chip runs.
    answers : of the driver's `diagnose`.
    in_use : schedule.json of what runs on it; that of ``build`` where None.
    tests : folder of the vectors; those of the array and seed 0 where None.

    Raises
    ------
    ConfigError
        Bad input; nothing is written.
    HascodesignError
        A PE that is not explained cannot be left idle; nothing is written.
    """
    _check_out(request.out)
    with Display() as display:
        running = opened(request, build, in_use, display)
        test_set = tests_of(running, tests)
        acc = tests_files.read_responses(answers, test_set)
        healed = plan(running, test_set, acc, display)
        _write(request.out, healed.files)
        for line in sentences(healed):
            display.line(line)
    return Outcome(healed, request.out, failure(healed))


def in_simulation(
    request: Request,
    build: Path,
    faults: Path,
    *,
    in_use: Path | None = None,
    tests: Path | None = None,
    images: int = 32,
) -> Outcome:
    """The whole loop on the build's Verilog with faults that only the simulated chip knows.

    Parameters
    ----------
    request, build, in_use, tests : as for `from_answers`.
    faults : profile of the chip.
    images : of the build's held-out ones that are classified before and after.
    """
    _check_out(request.out)
    with Display() as display, tempfile.TemporaryDirectory(prefix=files.TEMPORARY) as work:
        running = opened(request, build, in_use, display)
        test_set = tests_of(running, tests)
        read = formats.read(faults)
        if replace(read.array, wmem_depth=0) != replace(running.array, wmem_depth=0):
            raise ConfigError(
                f"{faults}: the profile's array must be the build's, {running.array}, not"
                f" {read.array}"
            )
        profile = check(replace(read, array=running.array), words=running.bank_words)
        chip = simulated.Chip(running, build / FOLDER, profile, images)
        return played(chip, test_set, Path(work), request, display)


def on_board(
    request: Request,
    build: Path,
    host: str,
    *,
    in_use: Path | None = None,
    tests: Path | None = None,
) -> Outcome:
    """The whole loop on a board that ssh reaches.

    Parameters
    ----------
    request, build, in_use, tests : as for `from_answers`; beside ``in_use``, the schedule.json of
        an earlier healing, lies what the board has to load.
    host : user@host.

    Raises
    ------
    StepFailed
        The board cannot be reached, or its driver refuses.
    """
    _check_out(request.out)
    board = ssh.Board(host)
    loaded = None if in_use is None else in_use.parent / BOARD / "schedule"
    if loaded is not None and not loaded.is_dir():
        raise ConfigError(f"--in-use must be of a healing's folder: {loaded} is not there")
    with Display() as display, tempfile.TemporaryDirectory(prefix=files.TEMPORARY) as work:
        running = opened(request, build, in_use, display)
        test_set = tests_of(running, tests)
        answers = board.play(tests_files.write_tests(test_set), loaded, Path(work))
        acc = tests_files.read_responses(answers, test_set)
        healed = plan(running, test_set, acc, display)
        made = Path(work) / "made"  # the folder of before may say what runs till the board has it
        files.write_tree(made, healed.files)
        good, said = board.heal(made / BOARD, in_use=loaded is not None)
        _write(request.out, healed.files)
        for line in (*sentences(healed), *said.splitlines()):
            display.line(line)
    return Outcome(healed, request.out, failure(healed) or ("" if good else DIFFERS))


def played(
    chip: simulated.Chip, test_set: TestSet, work: Path, request: Request, display: Display
) -> Outcome:
    """A simulated chip healed, its schedule in the request's folder."""
    made: list[Healed] = []

    def answered(answers: Path) -> Path:
        acc = tests_files.read_responses(answers, test_set)
        made.append(plan(chip.in_use, test_set, acc, display))
        files.write_tree(work / "made", made[0].files)
        return (work / "made" / BOARD).resolve()

    seen = simulated.play(chip, test_set, work, request.simulator, answered)
    _write(request.out, made[0].files)
    for line in (*sentences(made[0]), *seen.sentences()):
        display.line(line)
    words = failure(made[0])
    if not (seen.good or words):
        words = DIFFERS
    return Outcome(made[0], request.out, words, seen)


def sentences(healed: Healed) -> list[str]:
    """What was made, in words."""
    found, pes = healed.diagnosis, healed.diagnosis.profile.array.pe
    named = ", ".join(
        f"{name.replace('_', ' ')} {one.value:.2f} % ({one.ci95[0]:.2f}..{one.ci95[1]:.2f})"
        for name, one in healed.accuracy.items()
    )
    n = healed.accuracy["healthy"].n
    left = []
    if healed.untested > 0:
        left.append(
            f"{healed.untested} words of each weight bank were not tested; --tests of `diagnose"
            " vectors` with the build's --wmem-depth tests all"
        )
    return [
        f"{pes - len(found.unexplained)} of {pes} PEs explained,"
        f" {len(found.profile.faults)} entries",
        *(f"PE {pe}: {varying}" for pe, varying in found.transients.items()),
        f"held-out accuracy, n = {n}: {named}",
        f"{healed.changed} of {healed.words} words differ from those in use",
        *healed.search.notes,
        *left,
    ]


def failure(healed: Healed) -> str:
    """Why a chip is not whole for all that was found; empty where it is."""
    left = healed.diagnosis.unexplained
    if not left:
        return ""
    named = ", ".join(map(str, left[:MOST_NAMED])) + ", ..." * (len(left) > MOST_NAMED)
    return f"every PE must be explained, but these are not, and are left idle: {named}"


def _check_out(out: Path) -> None:
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out must be a new folder or one that `heal` wrote, not {out}")


def _write(out: Path, content: Mapping[str, bytes]) -> None:
    """The whole folder, in place of the one before."""
    folder = files.usable_folder(out.parent)
    staging = Path(tempfile.mkdtemp(dir=folder, prefix=files.TEMPORARY))
    try:
        files.write_tree(staging / "new", content, durable=True)
        if out.exists():
            os.rename(out, staging / "old")  # noqa: PTH104  (Path.rename says no more)
        os.rename(staging / "new", out)  # noqa: PTH104
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    files.sync_folder(folder)
