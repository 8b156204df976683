"""Damaged files for every reader: each is read or refused in one line, soon, in little memory.

    python -m tests.fuzz_readers --count 100000 --seed 1

The same seed damages the same files in the same ways. What is accepted must be sound: written
anew, it reads back the same. A reader that takes longer than LIMIT_SECONDS ends the run; so does
one that asks for more than MEMORY, as far as it does not say so in one line.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from hascodesign.contract.errors import HascodesignError

LIMIT_SECONDS = 10
MEMORY = 1 << 30  # bytes over what the process takes before it reads
MOST_TEXT = 2000  # characters of a refusal, the path aside


def damaged(case, seed: int, number: int) -> bytes:
    """The file of one number: a sound one, damaged one to three times; each 50th is left whole."""
    from tests.fuzz_mutations import pick  # noqa: PLC0415

    rng = np.random.default_rng([seed, zlib.crc32(case.name.encode()), number])
    content, other = pick(rng, case.seeds), pick(rng, case.seeds)
    for _ in range(pick(rng, (1, 1, 1, 2, 3)) if number % 50 else 0):
        content = pick(rng, case.mutations)(rng, content, other)
        content = content[: 4 << 20]
    return content


def outcome(case, content: bytes, folder: Path) -> str:
    """``accepted`` or ``refused``; anything else is a failure, in words."""
    path = folder / case.name
    path.write_bytes(content)
    faulthandler.dump_traceback_later(LIMIT_SECONDS, exit=True)
    try:
        result = case.read(path)
        case.check(result, folder)
    except HascodesignError as error:
        text = str(error).replace(str(folder), "")
        sound = error.exit_code == 2 and text.isprintable() and len(text) < MOST_TEXT
        sound = sound and "MemoryError" not in text
        return "refused" if sound else f"refused with exit {error.exit_code}: {text!a}"
    except Exception:  # what must not come, whatever it is
        return traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    return "accepted"


def limit_memory() -> None:
    """Let the process take MEMORY more than it has."""
    status = Path("/proc/self/status").read_text("utf-8")
    now = int(status.partition("VmSize:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))


def fuzz(count: int, seed: int, first: int, only: list[str], keep: Path | None) -> int:
    """Number of failures; the counts by reader go to the terminal."""
    from tests.fuzz_cases import cases  # noqa: PLC0415  (torch)

    chosen = {name: case for name, case in cases().items() if not only or name in only}
    folder = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
    print(f"if this run ends early, the file that ended it lies in {folder}", flush=True)
    tally: dict[str, Counter[str]] = {name: Counter() for name in chosen}
    slowest: dict[str, float] = dict.fromkeys(chosen, 0.0)
    failures = 0
    for name, case in chosen.items():
        place = folder / name.replace(".", "-")
        place.mkdir()
        if case.beside is not None:
            (place / case.beside[0]).write_bytes(case.beside[1])
        outcome(case, case.seeds[0], place)  # what is imported late is here before the limit
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limit_memory()
    for number in range(first, first + count):
        if number > first and (number - first) % 10_000 == 0:
            print(f"{number - first} of {count} files, {failures} failed", flush=True)
        name = list(chosen)[number % len(chosen)]
        content = damaged(chosen[name], seed, number // len(chosen))
        start = time.perf_counter()
        found = outcome(chosen[name], content, folder / name.replace(".", "-"))
        slowest[name] = max(slowest[name], time.perf_counter() - start)
        tally[name][found if found in ("accepted", "refused") else "failed"] += 1
        if found not in ("accepted", "refused"):
            failures += 1
            print(f"{name}, number {number}, {len(content)} bytes:\n{found}", flush=True)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{number}-{name}").write_bytes(content)
    for name, counts in tally.items():
        told = ", ".join(f"{counts[what]} {what}" for what in ("accepted", "refused", "failed"))
        print(f"{name}: {told}; slowest {slowest[name]:.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{count} files, {failures} failed, peak memory {peak >> 10} MiB over the start")
    shutil.rmtree(folder)
    return failures


def main() -> None:
    """Fuzz the readers as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_readers", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--only", action="append", default=[], help="reader, by its file's name")
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    given = parser.parse_args()
    sys.exit(1 if fuzz(given.count, given.seed, given.first, given.only, given.keep) else 0)


if __name__ == "__main__":
    main()
