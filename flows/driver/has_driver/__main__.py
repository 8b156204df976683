"""The command line: ``python -m has_driver classify|verify|check|throughput|...``.

Exit codes: 0 done; 1 a difference, or the accelerator failed; 2 bad input or usage; 3 pynq or a
part of the overlay is missing; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import description
from .accelerator import BITSTREAM, SCHEDULE, Accelerator
from .diagnosis import NotRestored
from .errors import UNREADABLE, DriverError, InputError
from .serial_link import SerialLink


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        core = Accelerator(
            options.bitstream,
            options.schedule,
            batch=options.batch,
            timeout=options.timeout,
            attach=options.command == "status",
            link=_line(options),
        )
        return int(options.run(core, options))
    except DriverError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _line(options: argparse.Namespace) -> SerialLink | None:
    if options.port is None:
        if options.baud is not None:
            raise InputError("--baud is of a serial line, which --port names")
        return None
    built = description.read(options.schedule)
    return SerialLink(options.port, built, options.baud, batch=options.batch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="has_driver", description="Runs the accelerator.")
    parser.add_argument("--bitstream", type=Path, default=BITSTREAM, help="the overlay's .bit")
    parser.add_argument("--schedule", type=Path, default=SCHEDULE, help="what was built with it")
    parser.add_argument("--port", help="of a board on a serial line, /dev/ttyUSB0 or the like")
    parser.add_argument("--baud", type=int, help="of that line, where it is not the build's own")
    parser.add_argument("--load", type=Path, help="another schedule, to be loaded first")
    parser.add_argument("--batch", type=int, default=64, help="images of a batch, at most")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds of any wait, at most")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, words in (
        ("classify", _classify, "classes of images; of those that came with the build by default"),
        ("verify", _verify, "hold logits and memories to what they must be"),
        ("check", _check, "hold the array to what it was; no memory is written"),
        ("throughput", _throughput, "time images"),
        ("diagnose", _diagnose, "play test vectors, for `hascodesign diagnose infer`"),
        ("heal", _heal, "change over to what `hascodesign heal` made, and hold all to it"),
        ("status", _status, "what the registers say, with nothing loaded or reset"),
    ):
        one = commands.add_parser(name, help=words)
        one.set_defaults(run=run)
        if name == "classify":
            one.add_argument("images", type=Path, nargs="?", help=".npy, or .npz with images")
        if name == "diagnose":
            one.add_argument("tests", type=Path, help="folder of `hascodesign diagnose vectors`")
            one.add_argument("--out", type=Path, required=True, help="the answers, .npz")
            one.add_argument("--runs", type=int, default=1, help="times that all is played")
        if name == "heal":
            one.add_argument("folder", type=Path, help="board/ of what `hascodesign heal` wrote")
        if name in ("verify", "throughput", "heal"):
            one.add_argument("--images", type=int, help="how many")
    return parser


def _loaded(core: Accelerator, options: argparse.Namespace) -> Accelerator:
    if options.load is not None:
        core.load_schedule(options.load)
    return core


def _classify(core: Accelerator, options: argparse.Namespace) -> int:
    _loaded(core, options)
    if options.images is not None:
        print(*core.classify(_read(options.images)), sep="\n")
        return 0
    job = core.expected()
    got = core.classes_of_codes(job.codes)
    print(f"{np.count_nonzero(got == job.labels)} of {len(got)} held-out images are right")
    return 0


def _read(path: Path) -> Any:
    try:
        found = np.load(path, allow_pickle=False)
        return found if isinstance(found, np.ndarray) else found["images"]
    except UNREADABLE as error:
        raise InputError(f"{path} must be .npy, or .npz with images: {error!r}") from None


def _verify(core: Accelerator, options: argparse.Namespace) -> int:
    found = _loaded(core, options).verify(options.images)
    print(found)
    return 0 if found.good else 1


def _check(core: Accelerator, options: argparse.Namespace) -> int:
    found = _loaded(core, options).check()
    print(found)
    return 0 if found.good else 1


def _throughput(core: Accelerator, options: argparse.Namespace) -> int:
    print(_loaded(core, options).throughput(options.images or 1000))
    return 0


def _diagnose(core: Accelerator, options: argparse.Namespace) -> int:
    if options.out.suffix != ".npz":
        raise InputError(f"--out must end in .npz, not {options.out.name}")
    try:
        found = _loaded(core, options).answers(options.tests, options.runs)
    except NotRestored as error:
        error.answers.save(options.out)
        raise DriverError(f"{error}; the answers are in {options.out}") from None
    found.save(options.out)
    print(f"{found.acc.size} answers of {found.acc.shape[1]} PEs in {options.out}")
    return 0


def _heal(core: Accelerator, options: argparse.Namespace) -> int:
    found = _loaded(core, options).heal(options.folder, options.images)
    print(found)
    return 0 if found.good else 1


def _status(core: Accelerator, options: argparse.Namespace) -> int:
    if options.load is not None:
        raise InputError("--load changes the accelerator, status does not: give it to another")
    print(core.status())
    for name, cycles in core.stage_cycles().items():
        print(f"{name}: {cycles} cycles")
    return 0


if __name__ == "__main__":
    sys.exit(main())
