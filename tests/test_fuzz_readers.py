"""Two thousand damaged files over all readers; `make fuzz` takes more, from any seed."""

import re
import subprocess
import sys

from hascodesign.contract.errors import ConfigError
from tests import fuzz_readers
from tests.fuzz_cases import Case, cases
from tests.fuzz_mutations import truncate


def test_every_damaged_file_is_read_or_refused_in_one_line():
    command = [sys.executable, "-m", "tests.fuzz_readers", "--count", "2000", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.findall(r"^(\S+): (\d+) accepted, (\d+) refused, 0 failed", done.stdout, re.M)
    assert [name for name, *_ in counts] == list(cases())
    # each reader got files that it takes and files that it does not
    assert all(int(taken) > 3 and int(refused) > 20 for _, taken, refused in counts)


def told(tmp_path, read, check=lambda result, folder: None) -> str:
    """What the harness makes of a reader."""
    case = Case("a.json", [b"{}"], [truncate], read, check)
    return fuzz_readers.outcome(case, b"{}", tmp_path)


def test_the_harness_sees_what_it_is_there_for(tmp_path):
    def raises(error):
        def read(path):
            raise error

        return read

    assert told(tmp_path, lambda path: 1) == "accepted"
    assert told(tmp_path, raises(ConfigError("a line"))) == "refused"
    for error in (ConfigError("two\nlines"), ConfigError("x" * 3000), ConfigError("\x1b[2J")):
        assert told(tmp_path, raises(error)).startswith("refused with exit 2")
    for error in (ValueError("no"), RecursionError(), MemoryError(), AttributeError("x")):
        assert type(error).__name__ in told(tmp_path, raises(error))

    def unsound(result, folder):
        assert not result

    assert "AssertionError" in told(tmp_path, lambda path: 1, unsound)


def test_the_same_seed_damages_the_same_files():
    case = cases()["faults.csv"]
    one, again, other = (
        [fuzz_readers.damaged(case, seed, number) for number in range(40)] for seed in (1, 1, 2)
    )
    assert one == again != other
    assert one[0] in case.seeds


LOOPS = """
from pathlib import Path
from types import SimpleNamespace
from tests import fuzz_readers
fuzz_readers.LIMIT_SECONDS = 0.5

def endless(path):
    while True:
        pass

def large(path):
    return bytearray(4 << 30)

case = SimpleNamespace(name="a", read={read}, check=lambda result, folder: None)
fuzz_readers.limit_memory()
print(fuzz_readers.outcome(case, b"", Path({folder!r})))
"""


def test_the_harness_ends_what_hangs_and_bounds_memory(tmp_path):
    def run(read):
        code = LOOPS.format(read=read, folder=str(tmp_path))
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    hung = run("endless")
    assert hung.returncode == 1
    assert "Timeout" in hung.stderr
    assert "in endless" in hung.stderr
    assert "MemoryError" in run("large").stdout
