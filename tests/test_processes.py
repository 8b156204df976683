"""Programs end with this process, at their limit, and on any signal; their children too."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hascodesign.common import processes
from hascodesign.common.shipped import share
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import StepFailed
from hascodesign.verify import simulate

#: A program with a child in the background, both of which write their numbers and go on.
FAMILY = "echo $$ > first; (sh -c 'echo $$ > second; exec sleep 1000') & sleep 1000"
START = """
import signal, sys
from pathlib import Path
from hascodesign.common import interrupt, processes
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
interrupt.install()
try:
    with processes.threads(1) as pool:
        pool.submit(processes.run, ["sh", "-c", {family!r}], cwd=Path({folder!r})).result()
except BaseException as error:
    sys.exit(getattr(error, "exit_code", 130))
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has asked after does not."""
    try:
        state = (
            Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
        )
    except OSError:
        return False
    return state != "Z"


def gone(*pids: int, seconds: float = 1.0) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(map(alive, pids))


def number_in(path: Path) -> int:
    for _ in range(6000):
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError(f"{path} never came")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)],
)
def test_no_program_outlives_its_parent(tmp_path: Path, number: int, code: int) -> None:
    program = START.format(family=FAMILY, folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", program])
    family = [number_in(tmp_path / name) for name in ("first", "second")]
    assert all(map(alive, family))
    parent.send_signal(number)  # to the process alone, not to its group
    assert parent.wait(60) == code
    assert gone(*family)


def test_a_limit_ends_the_whole_family(tmp_path: Path) -> None:
    done = processes.run(["sh", "-c", FAMILY], cwd=tmp_path, limit_s=3.0)
    assert (done.status, done.words) == (None, "was stopped at its limit")
    assert gone(number_in(tmp_path / "first"), number_in(tmp_path / "second"))


def test_what_a_program_leaves_running_ends_with_it(tmp_path: Path) -> None:
    command = (
        "sh -c 'echo $$ > second; exec sleep 1000' & while ! test -s second; do :; done; exit 3"
    )
    assert processes.run(["sh", "-c", command], cwd=tmp_path).status == 3
    assert gone(number_in(tmp_path / "second"))


def test_output_lines_status_and_signal(tmp_path: Path) -> None:
    lines: list[str] = []
    command = ["sh", "-c", "echo one; echo two >&2; printf three; exit 7"]
    done = processes.run(command, log=tmp_path / "log", on_line=lines.append)
    assert (done.status, done.output, lines) == (7, b"one\ntwo\nthree", ["one", "two"])
    assert (tmp_path / "log").read_bytes() == done.output
    assert processes.run(["sh", "-c", "kill -SEGV $$"]).words == "was ended by SIGSEGV"
    assert processes.run(["sh", "-c", "kill -KILL $$"]).words == "was ended by SIGKILL"


def test_a_limit_on_the_size_of_files_is_said(tmp_path: Path) -> None:
    command = ["sh", "-c", "ulimit -f 1; head -c 100000 /dev/zero > big"]
    done = processes.run(command, cwd=tmp_path)
    assert done.status != 0 and (tmp_path / "big").stat().st_size <= 1024


def test_a_log_that_cannot_be_written_ends_the_program(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo $$ > first; while :; do echo x; done"]
    with pytest.raises(OSError, match="No space"):
        processes.run(command, cwd=tmp_path, log=Path("/dev/full"))
    assert gone(number_in(tmp_path / "first"))


def test_an_error_in_a_pool_ends_its_programs_and_starts_no_more(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), processes.threads(1) as pool:
        pool.submit(processes.run, ["sh", "-c", FAMILY], cwd=tmp_path)
        pool.submit(processes.run, ["sh", "-c", "echo > late"], cwd=tmp_path)
        family = [number_in(tmp_path / name) for name in ("first", "second")]
        raise KeyboardInterrupt
    assert gone(*family) and not (tmp_path / "late").exists()


def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A simulator on PATH that never ends; it writes its number."""
    folder = tmp_path / "bin"
    folder.mkdir()
    vvp = folder / "vvp"
    vvp.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/first\nexec sleep 1000\n")
    vvp.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "vectors").mkdir()
    return tmp_path


PLAN = BuildPlan(
    {"rtl/has_array.v": b"module has_array #(parameter FAULT_SITES = 0)();\nendmodule\n"}
)


def test_a_hanging_simulator_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = hanging(tmp_path, monkeypatch)
    with pytest.raises(
        StepFailed, match=r"icarus simulation must end within 15 s.*simulation\.log"
    ):
        simulate.simulate(PLAN, work / "vectors", work / "work", faults=False, limit=15)
    assert gone(number_in(work / "first"))


def test_the_simulator_ends_with_the_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL of the process that simulates: vvp is its great-grandchild."""
    work = hanging(tmp_path, monkeypatch)
    program = (
        "from pathlib import Path; from hascodesign.verify import simulate;"
        "from tests.test_processes import PLAN;"
        f"simulate.simulate(PLAN, Path({str(work)!r}), Path({str(work)!r}, 'work'), faults=False)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    vvp = number_in(work / "first")
    assert alive(vvp)
    parent.kill()
    parent.wait()
    assert gone(vvp)


def test_the_simulator_ends_with_its_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL of the bench's own process, run by hand."""
    work = hanging(tmp_path, monkeypatch)
    simulate.lay_out(PLAN, work / "work")
    script = str(simulate.share("sim", "run_bench.py"))
    command = [
        sys.executable,
        script,
        "--rtl",
        str(work / "work" / "rtl"),
        "--work",
        str(work / "w"),
    ]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    vvp = number_in(work / "first")
    parent.kill()
    parent.wait()
    assert gone(vvp)


def test_programs_are_started_in_one_place() -> None:
    """What calls subprocess itself has no limit, and its children outlive it."""
    root = Path(__file__).parents[1]
    users = {
        path.relative_to(root).as_posix()
        for folder in ("hascodesign", "mutation", "sim")
        for path in (root / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) subprocess\b", path.read_text("utf-8"), re.MULTILINE)
    }
    assert users == {
        "hascodesign/common/processes.py",
        "hascodesign/common/supervise.py",
        "hascodesign/bench/memory.py",  # waits for its own kind, to measure it
        "sim/run_bench.py",  # has the kernel end what cocotb's runner starts
    }


def test_a_solver_ends_with_its_proof(tmp_path: Path) -> None:
    fake = tmp_path / "yosys"
    fake.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 1000\n")
    fake.chmod(0o755)
    for name in ("yosys-smtbmc", "z3"):
        (tmp_path / name).symlink_to(fake)
    script = share("sim", "formal") / "prove.py"
    code = "import runpy, sys; from hascodesign.common import processes;"
    code += f"sys.executable = {str(tmp_path / 'python')!r};"  # looks beside it
    code += f"sys.path.insert(0, {str(script.parent)!r}); sys.argv = ['prove.py', '--work',"
    code += f" {str(tmp_path / 'work')!r}, '--only', 'drain'];"
    code += f"runpy.run_path({str(script)!r}, run_name='__main__')"
    child = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < end and child.poll() is None
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_program_that_began_before_keeps_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    def meet(count: int) -> bool:
        meeting = threading.Barrier(2)

        def come() -> bool:
            try:
                meeting.wait(0.5)
            except threading.BrokenBarrierError:
                return False
            return True

        with processes.threads(count) as pool:
            came = [pool.submit(come) for _ in range(2)]
            return all([one.result() for one in came])

    assert meet(2) and meet(3)
    with processes.threads(1) as first:
        sleeping = first.submit(processes.run, ["sleep", "2"])
        while processes._programs.now == 0:
            time.sleep(0.01)
        assert not meet(2)
        sleeping.result()
    assert meet(2)


def test_programs_get_huge_pages_beside_what_they_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "_jemalloc", lambda: None)
    given = {"GLIBC_TUNABLES": "glibc.malloc.check=0", "NAME": "value"}
    done = processes.run(["/bin/sh", "-c", 'echo "$GLIBC_TUNABLES $NAME $LD_PRELOAD"'], env=given)
    assert done.output == b"glibc.malloc.check=0:glibc.malloc.hugetlb=1 value \n"
    assert given["GLIBC_TUNABLES"] == "glibc.malloc.check=0"
    plain = processes.run(["/bin/sh", "-c", 'echo "$GLIBC_TUNABLES"'], env={})
    assert plain.output == b"glibc.malloc.hugetlb=1\n"


def test_programs_get_jemalloc_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing, there = tmp_path / "lib64", tmp_path / "lib"
    library = there / "x86_64-linux-gnu" / "libjemalloc.so.2"
    monkeypatch.setattr(processes, "_LIBRARIES", (there, missing))
    processes._jemalloc.cache_clear()
    assert processes._jemalloc() is None
    library.parent.mkdir(parents=True)
    library.touch()
    processes._jemalloc.cache_clear()
    assert processes._jemalloc() == str(library)
    processes._jemalloc.cache_clear()
    monkeypatch.setattr(processes, "_jemalloc", lambda: "/lib/j.so")
    made = processes._with_fast_memory({"LD_PRELOAD": "/lib/u.so", "MALLOC_CONF": "junk:true"})
    assert (made["LD_PRELOAD"], made["MALLOC_CONF"]) == ("/lib/u.so:/lib/j.so", "junk:true")
    assert "thp:always" in processes._with_fast_memory({})["MALLOC_CONF"]
