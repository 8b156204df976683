"""Kill, and starve of disk, a flow that delivers over an old delivery, at every file operation.

    python -m tests.kill_points --points 0 --random 100 --full 50 --children 20

Every folder left must be the old delivery, the new one, or one that `hascodesign check` refuses;
every run after it must give the bytes of an undisturbed one.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

from hascodesign.cli import main as cli
from hascodesign.common.files import TEMPORARY
from hascodesign.common.seal import FIELD, sealed
from hascodesign.flow.delivery import MARK, NAMES, differences

CONFIG = """
board = "pynq-z2"
[array]
pe = 4
simd = 4
weight_bits = 4
act_bits = 8
acc_bits = 24
[faults]
faulty_pes = 1
[schedule]
generations = 0
seconds = 3600.0
evaluations = 10
random_maps = 1
[verify]
core_images = 0
"""
#: What audit events say of changes to the file system; fsync has none and is wrapped.
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate")
ALLOCATING = ("open", "os.mkdir", "fsync")  # what a full disk refuses
Action = Callable[[int, str], None]


def watch(out: Path, action: Action) -> None:
    """Have ``action(number, event)`` called before each change below a folder, in this process."""
    number, fsync, prefix = 0, os.fsync, os.fsencode(out)

    def step(event: str) -> None:
        nonlocal number
        number += 1
        action(number, event)

    def below(path: object, *rest: object) -> bool:
        if any(isinstance(other, int) and other >= 0 for other in rest):  # of a folder that is open
            return True
        return isinstance(path, str | bytes | os.PathLike) and os.fsencode(path).startswith(prefix)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in EVENTS:
            return
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if changes and below(path):
                step(event)
        elif below(arguments[0], *arguments[-1:]):
            step(event)

    def synced(handle: int) -> None:
        step("fsync")
        fsync(handle)

    sys.addaudithook(hook)
    os.fsync = synced


def forked(arguments: list[str], log: Path, out: Path, action: Action | None = None) -> int:
    """Process that runs the command line; everything is imported in it already."""
    child = os.fork()
    if child:
        return child
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    if action is not None:
        watch(out, action)
    sys.argv = ["hascodesign", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(int(end.code or 0))
    except BaseException:
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    os._exit(99)


def ended(child: int) -> int:
    """Its exit code; negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def delivered(out: Path) -> dict[str, bytes]:
    """All files of a delivery but the reports, which hold times."""
    paths = [out / name for name in NAMES if not name.startswith("report.")]
    files = [f for p in paths for f in ([p] if p.is_file() else sorted(p.rglob("*")))]
    return {f.relative_to(out).as_posix(): f.read_bytes() for f in files if f.is_file()}


def age(out: Path) -> None:
    """Make a finished flow's delivery another one, as whole, and leave its steps."""
    report = json.loads((out / MARK).read_bytes())
    (out / "rtl" / "gone.v").write_bytes(b"module gone; endmodule\n")
    paths = [*(entry["path"] for entry in report["files"]), "rtl/gone.v"]
    for path in paths:
        (out / path).write_bytes((out / path).read_bytes() + b"// old\n")
    report["files"] = [
        {"path": path, "sha256": sha256((out / path).read_bytes()).hexdigest()} for path in paths
    ]
    del report[FIELD]
    (out / MARK).write_bytes(sealed(report))
    assert differences(out) == []


class Harness:
    """A finished flow, an old delivery over its steps, and what each disturbed run must leave."""

    def __init__(self, finished: Path, config: Path, work: Path) -> None:
        self.base, self.out, self.log = work / "base", work / "out", work / "log"
        self.arguments = ["flow", "--config", str(config), "--out", str(self.out)]
        self.new = delivered(finished)
        shutil.copytree(finished, self.base)
        age(self.base)
        self.old = delivered(self.base)
        self.states: Counter[str] = Counter()
        self.wrong: list[str] = []

    def start(self, action: Action | None = None) -> int:
        """Start a run over a fresh copy of the old delivery."""
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self.base, self.out)
        return forked(self.arguments, self.log, self.out, action)

    def count(self) -> tuple[list[str], float]:
        """Events of an undisturbed run, and its seconds."""
        names = self.log.with_name("events")

        def note(_number: int, event: str) -> None:
            with open(handle, "a", closefd=False) as file:
                file.write(f"{event}\n")

        handle = os.open(names, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        begin = time.monotonic()
        code = ended(self.start(note))
        os.close(handle)
        assert code == 0, self.log.read_text()
        assert self.state() == "new"
        return names.read_text().split(), time.monotonic() - begin

    def state(self) -> str:
        """What the folder is: old, new, none, or wrong."""
        held, whole = delivered(self.out), not differences(self.out)
        if whole:
            return {True: "new"}.get(held == self.new, "old" if held == self.old else "wrong")
        return "none"

    def judge(self, what: str, *, resume: bool = True) -> None:
        """Note the state after a disturbed run, and that the next one sets it right."""
        state = self.state()
        self.states[state] += 1
        if state == "wrong":
            self.wrong.append(f"{what}: a whole folder that is neither old nor new")
        if (self.out / MARK).exists() != (state != "none"):
            self.wrong.append(f"{what}: a mark without what it vouches for")
        if not resume:
            return
        code = ended(forked(self.arguments, self.log, self.out))
        left = [p.name for p in self.out.rglob(f"{TEMPORARY}*")]
        if code or self.state() != "new" or left:
            self.wrong.append(f"{what}: resumed with {code}, {left}: {self.log.read_text()[-300:]}")

    def kill_at(self, point: int) -> None:
        """SIGKILL just before a file operation."""

        def action(number: int, _event: str) -> None:
            if number == point:
                os.kill(os.getpid(), signal.SIGKILL)

        code = ended(self.start(action))
        if code != -signal.SIGKILL:
            self.wrong.append(f"operation {point}: was not reached, exit code {code}")
        self.judge(f"killed at operation {point}")

    def kill_after(self, seconds: float) -> None:
        """SIGKILL at some time."""
        child = self.start()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        ended(child)
        self.judge(f"killed after {seconds:.3f} s")

    def full_at(self, point: int) -> None:
        """A disk that is full from some operation on."""

        def action(number: int, event: str) -> None:
            if number >= point and event in ALLOCATING:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.out))

        code = ended(self.start(action))
        said = self.log.read_text()
        last = said.splitlines()[-1] if said else ""
        # a run that wrote its all before the disk was full is done
        fine = code == 1 and last.startswith("hascodesign: the disk must have room")
        if not (fine or (code == 0 and self.state() == "new")) or "Traceback" in said:
            self.wrong.append(f"full at {point}: {code}: {said[-500:]}")
        self.judge(f"full at operation {point}")

    def orphans(self, seconds: float, number: int) -> None:
        """Kill a real process that simulates and synthesises: no child may live on."""
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self.base, self.out)
        command = [sys.executable, "-m", "hascodesign", *self.arguments, "--from", "verify"]
        with self.log.open("wb") as log:
            hears = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)  # under nohup too
            run = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=hears)  # noqa: PLW1509
            while run.poll() is None and not descendants(run.pid):
                time.sleep(0.1)
            time.sleep(seconds)  # from the first program on
            alive = len(descendants(run.pid))
            run.send_signal(number)
            try:
                code = run.wait(60)
            except subprocess.TimeoutExpired:
                run.kill()
                code = run.wait()
        self.states[f"{signal.Signals(number).name}, {'with' if alive else 'no'} programs"] += 1
        time.sleep(1.0)
        left = [pid for pid in processes() if str(self.out) in command_of(pid)]
        if left:
            self.wrong.append(f"after {seconds:.2f} s: {[command_of(pid) for pid in left]}")
        if code not in (-number, 128 + number, 0):
            told = f"{signal.Signals(number).name} after {seconds:.2f} s, {alive} children"
            self.wrong.append(f"{told}: {code}: {self.log.read_text()}")
        self.judge(f"signal {number} after {seconds:.2f} s", resume=False)


def processes() -> list[int]:
    """Every process."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def command_of(pid: int) -> str:
    """Command line of a process and the folder it is in; empty where it has ended."""
    try:
        folder = os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() + folder
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    found: list[int] = []
    for child in processes():
        try:
            parent = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [child, *descendants(child)]
    return found


def main() -> int:
    """Run the harness; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--points", type=int, default=0, help="operations to kill at; 0 for all, below for none"
    )
    parser.add_argument("--part", default="0/1", help="0/4 kills at every fourth operation")
    parser.add_argument("--random", type=int, default=100, help="kills at random times")
    parser.add_argument("--full", type=int, default=50, help="operations from which disk is full")
    parser.add_argument("--children", type=int, default=20, help="kills while programs run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--finished", type=Path, help="folder of a finished flow, with --config")
    parser.add_argument("--config", type=Path)
    options = parser.parse_args()
    drawn = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill-points-") as folder:
        work = Path(folder).resolve()
        finished, config = options.finished, options.config
        if finished is None:
            finished, config = work / "finished", work / "small.toml"
            config.write_text(CONFIG)
            arguments = ["flow", "--config", str(config), "--out", str(finished)]
            assert ended(forked(arguments, work / "log", finished)) == 0, (work / "log").read_text()
        harness = Harness(finished, config, work)
        preload((finished / "report.html").read_bytes())
        events, seconds = harness.count()
        print(f"{len(events)} operations in {seconds:.2f} s: {dict(Counter(events))}", flush=True)
        every = range(1, len(events) + 1)
        part, parts = map(int, options.part.split("/"))
        points = (
            drawn.sample(every, max(0, options.points)) if options.points else every[part::parts]
        )
        show(harness, "killed at an operation", [lambda p=p: harness.kill_at(p) for p in points])
        times = [drawn.uniform(0, seconds) for _ in range(options.random)]
        show(harness, "killed at a time", [lambda t=t: harness.kill_after(t) for t in times])
        places = [p for p in every if events[p - 1] in ALLOCATING]
        full = drawn.sample(places, min(len(places), options.full))
        show(harness, "full disk", [lambda p=p: harness.full_at(p) for p in full])
        signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        kills = [(drawn.uniform(0, 5), signals[n % 4]) for n in range(options.children)]
        show(harness, "children", [lambda k=k: harness.orphans(*k) for k in kills])
    return int(bool(harness.wrong))


def preload(page: bytes) -> None:
    """Import what a delivery needs, once for all forked runs; no thread is started.

    Drawing the page takes most of a run's time and touches no file: each run takes it as drawn.
    """
    import hascodesign.flow.proof  # noqa: PLC0415
    import hascodesign.flow.run  # noqa: PLC0415
    import hascodesign.report.json  # noqa: PLC0415
    import hascodesign.report.record  # noqa: PLC0415
    import hascodesign.report.terminal  # noqa: F401, PLC0415
    from hascodesign.flow.store import source_digest  # noqa: PLC0415
    from hascodesign.report import html  # noqa: PLC0415

    source_digest()
    html.render = lambda _result: page


def show(harness: Harness, what: str, runs: list[Callable[[], None]]) -> None:
    """Do some runs and print what they left."""
    before = len(harness.wrong)
    harness.states.clear()
    for run in runs:
        run()
    wrong = harness.wrong[before:]
    print(f"{what}: {len(runs)} runs, left {dict(harness.states)}, {len(wrong)} wrong", flush=True)
    for line in wrong[:10]:
        print(f"  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
