"""A delivery over an old one: whole, the other, or recognisably none, wherever it is stopped."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from hascodesign.common import files, seal
from hascodesign.contract.errors import ConfigError, DiskError
from hascodesign.flow import delivery
from hascodesign.flow.run import _keep
from tests.kill_points import ALLOCATING, watch
from tests.test_flow import run


def content(word: str, *paths: str) -> dict[str, bytes]:
    made = {path: f"{word} {path}".encode() for path in ("faults.json", "report.html", *paths)}
    listed = [{"path": p, "sha256": sha256(b).hexdigest()} for p, b in made.items()]
    return made | {delivery.MARK: seal.sealed({"figure": 0.1, "files": listed})}


OLD = content("old", "rtl/a.v", "rtl/gone.v", "roms/deep/er/x.mem", "hls/gone.cpp")
NEW = content("new", "rtl/a.v", "rtl/b.v", "roms/deep/er/x.mem", "schedule.json")


def held(out: Path) -> dict[str, bytes]:
    found = [path for path in out.rglob("*") if path.is_file()]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def stopped(out: Path, point: int, way: str) -> bool:
    """Deliver NEW over OLD in a process that ends, or has no disk, at an operation."""

    def action(number: int, event: str) -> None:
        if number == point and way == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if number >= point and way == "full" and event in ALLOCATING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    delivery.deliver(out, OLD)
    child = os.fork()
    if not child:
        watch(out, action)
        try:
            delivery.deliver(out, NEW)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {"kill": (0, -signal.SIGKILL), "full": (0, errno.ENOSPC)}[way]
    return code != 0


def every_point(out: Path, way: str) -> dict[str, int]:
    """How many points left which state; every resume must give what no stop would have."""
    states = {"old": 0, "new": 0, "none": 0}
    for point in range(1, 10_000):
        going = stopped(out, point, way)
        now = {path: data for path, data in held(out).items() if files.TEMPORARY not in path}
        whole = [name for name, one in (("old", OLD), ("new", NEW)) if now == one]
        (state,) = ["none"] if delivery.differences(out) else whole
        assert (out / delivery.MARK).exists() == (state != "none")
        states[state] += 1
        files.sweep(out)
        delivery.deliver(out, NEW)
        assert held(out) == NEW and delivery.differences(out) == []
        if not going:
            return states
    raise AssertionError("the delivery must end")


@pytest.mark.parametrize("way", ["kill", "full"])
def test_every_operation_leaves_old_new_or_none(tmp_path: Path, way: str) -> None:
    # forked from a process without threads
    code = f"import json, pathlib, tests.test_delivery as t; out = pathlib.Path({str(tmp_path)!r})"
    code += f"; print(json.dumps(t.every_point(out, {way!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout.splitlines()[-1])
    if way == "kill":
        assert states["old"] > 20 and states["none"] > 10 and states["new"] > 5
    else:  # it is written before anything of the old goes
        assert states["old"] > 20


def test_what_differs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    delivery.deliver(tmp_path, NEW)
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "log").write_text("not of the delivery")
    assert run("check", tmp_path) == 0
    (tmp_path / "rtl" / "a.v").write_bytes(b"other")
    (tmp_path / "rtl" / "b.v").unlink()
    os.mkfifo(tmp_path / "rtl" / "b.v")
    (tmp_path / "schedule.json").unlink()
    (tmp_path / "roms" / "more").write_bytes(b"")
    (tmp_path / "hls").mkdir()
    (tmp_path / "hls" / "link").symlink_to("/")
    capsys.readouterr()
    assert run("check", tmp_path) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "changed: rtl/a.v",
        "changed: rtl/b.v",
        "missing: schedule.json",
        "extra: hls/link",
        "extra: roms/more",
    ]
    assert said.err.splitlines() == [
        f"hascodesign: {tmp_path} must be as report.json lists it: 5 differ"
    ]
    assert run("check", tmp_path / "absent") == 2


def test_every_byte_of_the_mark_counts(tmp_path: Path) -> None:
    """A figure, a space, the digest itself, a listed file's digest with that file."""
    delivery.deliver(tmp_path, NEW)
    mark, right = tmp_path / delivery.MARK, NEW[delivery.MARK]
    assert delivery.differences(tmp_path) == []
    for place in (*range(len(right) - 80), *range(len(right) - 70, len(right))):
        mark.write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
        assert delivery.differences(tmp_path)[0].startswith(f"changed: {delivery.MARK}"), place
    for other in (
        right.replace(b'"figure": 0.1', b'"figure": 0.2'),
        right.replace(b'"figure": 0.1', b'"figure":  0.1'),
        right + b"\n",
        right[:-2],
        json.dumps(json.loads(right)).encode(),
        json.dumps({"files": json.loads(right)["files"]}).encode(),
    ):
        assert other != right
        mark.write_bytes(other)
        assert delivery.differences(tmp_path)[0].startswith(f"changed: {delivery.MARK}")
    (tmp_path / "rtl" / "b.v").write_bytes(b"other")
    digests = sha256(NEW["rtl/b.v"]).hexdigest(), sha256(b"other").hexdigest()
    mark.write_bytes(right.replace(*(digest.encode() for digest in digests)))
    assert delivery.differences(tmp_path) == [f"changed: {delivery.MARK}"]
    with pytest.raises(ValueError, match="own field"):
        seal.sealed({"sha256": ""})


@pytest.mark.parametrize(
    "mark",
    [
        *(None, b"", b"{", b"[" * 100_000, b"[]", b"\xff", b'{"files": 1}', b'{"files": []}'),
        b'{"files": [{"path": "x"}]}',
        b'{"files": [{"path": "../x", "sha256": ""}]}',
    ],
)
def test_a_mark_that_is_none(tmp_path: Path, mark: bytes | None) -> None:
    delivery.deliver(tmp_path, NEW)
    (tmp_path / delivery.MARK).unlink()
    if mark is None:
        (tmp_path / delivery.MARK).mkdir()
    else:
        (tmp_path / delivery.MARK).write_bytes(mark)
    assert len(delivery.differences(tmp_path)) == 1
    delivery.deliver(tmp_path, NEW)  # whatever stands where a file should be
    assert held(tmp_path) == NEW


def test_what_cannot_be_removed_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery.deliver(tmp_path, OLD)
    rename = Path.rename

    def busy(path: Path, target: Path) -> Path:
        if path.name == "rtl" and path.parent == tmp_path:
            raise OSError(errno.EBUSY, "busy", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(DiskError, match=r"must be removable: .*/rtl: busy"):
        delivery.deliver(tmp_path, NEW)
    assert delivery.differences(tmp_path)[0].startswith("missing: report.json")
    assert [p for p in tmp_path.iterdir() if p.name.startswith(files.TEMPORARY)] == []


def test_what_the_user_gave_stays_until_its_like_comes(tmp_path: Path) -> None:
    delivery.deliver(tmp_path, NEW)
    delivery.withdraw(tmp_path, inputs=[tmp_path / "schedule.json"])
    assert set(held(tmp_path)) == {"schedule.json"}


def test_the_same_profile_leaves_a_delivery_whole(tmp_path: Path) -> None:
    delivery.deliver(tmp_path, NEW)
    _keep(tmp_path, {"faults.json": NEW["faults.json"]})
    assert held(tmp_path) == NEW
    _keep(tmp_path, {"faults.json": b"other"})
    assert held(tmp_path) == {"faults.json": b"other"}


def test_foreign_names_are_not_delivered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps"):
        delivery.deliver(tmp_path, {"steps/x": b""})
    with pytest.raises(ConfigError, match="must exist"):
        delivery.differences(tmp_path / "absent")
