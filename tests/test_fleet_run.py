"""Clients and workers on one store: nothing is lost, nothing is done twice, who fails says why."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from distributed.comm import CommClosedError

from hascodesign.common import files
from hascodesign.contract.errors import ConfigError, StepFailed, VerificationMismatch
from hascodesign.fleet import cluster, report, work
from hascodesign.fleet.store import ChipRow, Store
from tests import fleet_client
from tests import fleet_stand_in as stand_in

ROOT = Path(__file__).parent.parent


@pytest.fixture
def here(monkeypatch):
    """The cluster's one worker is a thread of this process."""

    @contextmanager
    def local(_workers: int):
        options = {"processes": False, "dashboard_address": "127.0.0.1:0", "protocol": "inproc"}
        sizes = {"n_workers": 1, "threads_per_worker": 1}
        with LocalCluster(**sizes, **options) as made, Client(made) as client:
            yield client

    monkeypatch.setattr(cluster, "local", local)


def lasting(store: Path) -> dict[str, object]:
    """The store's rows but for times, and its other bytes but for the log."""
    opened = Store(store)
    rows = {
        key: {name: getattr(row, name) for name in ("plain_correct", "roms_sha256", "notes",
              "scheduled_correct", "delta_sha256", "scheduled_loss")}
        for key, row in opened.rows(ChipRow).items()
    }  # fmt: skip
    opened.close()
    rest = {
        path.relative_to(store).as_posix(): path.read_bytes()
        for folder in ("deltas", "fleets")
        for path in (store / folder).rglob("*")
        if path.is_file()
    }
    return {"rows": rows, **rest}


def client(store: Path, chips: int, workers: int, **env: str) -> subprocess.Popen[bytes]:
    own = {"FLEET_LOG": str(store.parent / "log"), "FLEET_STORE": str(store), **env}
    command = [sys.executable, "-m", "tests.fleet_client", store, str(chips), str(workers)]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **own}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def until(what: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def done(store: Path) -> int:
    return len(list((store / "chips").glob("*.parquet")))


def test_chips_of_the_same_faults_are_done_once_and_stay_done(tmp_path: Path, here) -> None:
    store = tmp_path / "store"
    first = fleet_client.call(store, 4)
    assert (first.chips, first.distinct, first.found, first.made) == (4, 3, 0, 3)
    again = fleet_client.call(store, 4)
    assert (again.id, again.found, again.made) == (first.id, 3, 0)
    more = fleet_client.call(store, 6)
    assert (more.distinct, more.found, more.made) == (5, 3, 2) and more.id != first.id
    result = report.gather(store, first.id)
    assert [name for name, _ in result.done] == [f"chip{number}" for number in range(4)]
    assert result.asked[0].key == result.asked[3].key
    with pytest.raises(ConfigError, match="one fleet must be named with --fleet: it holds"):
        report.gather(store)


def test_killed_workers_and_clients_lose_and_repeat_nothing(
    tmp_path: Path, here, monkeypatch
) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    first = client(store, 8, 2, FLEET_SECONDS="0.4")
    until(lambda: stand_in.notes(log))
    os.kill(int(stand_in.notes(log)[0][2]), signal.SIGKILL)  # a worker at its chip
    until(lambda: done(store) >= 3)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    kept, begun = done(store), len(stand_in.notes(log))
    assert 3 <= kept < 7
    second = client(store, 8, 1, FLEET_SECONDS="0")
    out, error = second.communicate(timeout=60)
    assert out.decode().split() == [str(kept), str(7 - kept)], error
    notes = stand_in.notes(log)
    assert len(notes) - begun == 7 - kept
    assert {word for word, *_ in notes} == {"begun"}  # none where its part lay already
    assert len({key for _, key, _ in notes}) == 7
    undisturbed = tmp_path / "other"
    fleet_client.call(undisturbed, 8)
    assert lasting(undisturbed) == lasting(store) and len(lasting(store)["rows"]) == 7
    assert done(store) == done(undisturbed) == 1  # folded


def test_two_clients_share_the_chips_of_one_store(tmp_path: Path) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    clients = [client(store, 13, 1, FLEET_SECONDS="0.7") for _ in range(2)]
    said = [one.communicate(timeout=90) for one in clients]
    made = [int(out.split()[1]) for out, _ in said]
    assert sum(made) == 12 and min(made) >= 1, said
    assert set(Counter(key for _, key, _ in stand_in.notes(log)).values()) == {1}


def test_ctrl_c_leaves_a_store_to_go_on_with(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = client(store, 9, 1, FLEET_SECONDS="0.3")
    until(lambda: done(store) >= 2)
    os.killpg(first.pid, signal.SIGINT)
    first.communicate(timeout=30)
    assert first.returncode != 0 and 2 <= done(store) < 8
    opened = Store(store)
    assert len(opened.rows(ChipRow)) == done(store)
    opened.close()


# ----------------------------------------------------------------------------- what can go wrong


def test_a_scheduler_that_does_not_answer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense://x", "tcp://"):
        with pytest.raises(ConfigError, match=r"a Dask scheduler must answer there within 0\.5 s"):
            fleet_client.call(tmp_path / "store", 3, scheduler=address)


def test_a_scheduler_without_workers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "WORKERS_S", 0.5)
    options = {"processes": False, "dashboard_address": "127.0.0.1:0", "protocol": "tcp"}
    with (
        LocalCluster(n_workers=0, **options) as empty,
        pytest.raises(ConfigError, match=r"a worker must be there within 0\.5 s, and none came"),
    ):
        fleet_client.call(tmp_path / "store", 3, scheduler=empty.scheduler_address)


def test_a_worker_with_another_program(tmp_path: Path, here, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "source_digest", lambda: "c" * 64)
    with pytest.raises(ConfigError, match=r"worker \S+ must run the client's program, .*cccccc"):
        fleet_client.call(tmp_path / "store", 3)
    assert done(tmp_path / "store") == 0
    with pytest.raises(ConfigError, match="install the same version there"):
        work.require_same("d" * 64, "tcp://x")


def test_a_worker_without_the_program_or_the_simulator(monkeypatch) -> None:
    class Answers:
        def __init__(self, *found: object) -> None:
            self.found = list(found)

        def run(self, *_: object, **__: object) -> dict[str, object]:
            return {"tcp://x": self.found.pop(0) if self.found[1:] else self.found[0]}

    with pytest.raises(ConfigError, match=r"worker tcp://x must run hascodesign .* No module"):
        cluster.check(Answers(ModuleNotFoundError("No module named 'hascodesign'")), None)
    known = work.identity(None)
    assert cluster.check(Answers(known), None) == 1
    # one that is killed as it is asked is asked again, when another has come in its place
    monkeypatch.setattr(cluster, "PAUSE_S", 0.0)
    assert cluster.check(Answers(CommClosedError("in <TCP>"), OSError("x"), known), None) == 1
    monkeypatch.setattr(cluster, "WORKERS_S", 0.0)
    with pytest.raises(ConfigError, match="a worker must answer within 0 s, and all went away"):
        cluster.check(Answers(CommClosedError("in <TCP>")), None)
    with pytest.raises(cluster.ToolNotFound, match="worker tcp://x: simulation needs"):
        cluster.check(Answers(known | {"simulator": "simulation needs iverilog"}), "icarus")


def test_a_full_disk_loses_nothing(tmp_path: Path, here, monkeypatch) -> None:
    store, write, room = tmp_path / "store", files.write_atomic, [5]

    def full(path: Path, content: bytes) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    monkeypatch.setattr(files, "write_atomic", full)
    with pytest.raises(OSError, match="No space left") as caught:
        fleet_client.call(store, 6)
    assert "the disk must have room, and is full" in str(files.in_words(caught.value))
    kept = done(store)
    assert kept == 1
    monkeypatch.setattr(files, "write_atomic", write)
    assert (fleet_client.call(store, 6).found, done(store)) == (kept, 1)


def test_a_damaged_part_ends_the_run_before_anything_is_done(tmp_path: Path, here) -> None:
    store = tmp_path / "store"
    fleet_client.call(store, 4)
    (part,) = (store / "chips").iterdir()
    whole = part.read_bytes()
    part.write_bytes(whole[:-9])
    with pytest.raises(ConfigError, match=f"{part.name}: the part must be whole, and is damaged"):
        fleet_client.call(store, 5)
    assert part.read_bytes() == whole[:-9]
    part.write_bytes(whole)
    assert fleet_client.call(store, 5).found == 3


def test_a_chip_that_fails_takes_no_other_with_it(tmp_path: Path, here, monkeypatch) -> None:
    store, chip = tmp_path / "store", stand_in.chip
    for kind, raised in ((VerificationMismatch, VerificationMismatch), (ValueError, StepFailed)):

        def fails(name: str, program: str, key: str, profile: bytes, kind=kind):
            if b'"pe": 2' in profile:
                raise kind("bits differ")
            return chip(name, program, key, profile)

        monkeypatch.setattr(stand_in, "chip", fails)
        with pytest.raises(raised, match="1 of 4 chips failed, first chip2: bits differ; the"):
            fleet_client.call(store, 5)
        assert done(store) == 3
        assert "bits differ" in (store / "fleet.log").read_text()
    monkeypatch.setattr(stand_in, "chip", chip)
    assert fleet_client.call(store, 5).made == 1


def test_a_chip_that_cannot_be_is_named_and_the_others_are_done(
    tmp_path: Path, here, monkeypatch
) -> None:
    store, chip = tmp_path / "store", stand_in.chip

    def fails(name: str, program: str, key: str, profile: bytes):
        if b'"pe": 2' in profile:
            raise ConfigError("no such array")
        return chip(name, program, key, profile)

    monkeypatch.setattr(stand_in, "chip", fails)
    released: list[str] = []
    release = Store.release

    def spy(self: Store, kind: type, key: str) -> None:
        released.append(key)
        release(self, kind, key)

    monkeypatch.setattr(Store, "release", spy)
    with pytest.raises(ConfigError, match="1 of 4 chips failed, first chip2: no such array; the"):
        fleet_client.call(store, 5)
    assert done(store) == 3 and len(set(released)) == 4  # the claim of the one that failed, too


def test_a_delta_that_is_not_its_rows_is_named_and_made_anew(tmp_path: Path, here, capsys) -> None:
    store = tmp_path / "store"
    fleet_client.call(store, 4)
    whole = lasting(store)
    first, second, _ = sorted((store / "deltas").rglob("*.npz"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    again = fleet_client.call(store, 4)
    assert (again.found, again.made) == (1, 2) and lasting(store) == whole
    said = (store / "fleet.log").read_text().replace("\n", " ")
    assert f"{first.name}: the delta of" in said and f"{second.name}: the delta of" in said
    assert fleet_client.call(store, 4).found == 3


def test_what_is_stored_counts_the_parts_of_the_fleet_alone(tmp_path: Path, here) -> None:
    store = tmp_path / "store"
    few = fleet_client.call(store, 3)
    alone = report.gather(store, few.id).stored
    fleet_client.call(store, 12)
    assert report.gather(store, few.id).stored == alone


def test_a_scheduler_that_goes_away(tmp_path: Path, here, monkeypatch) -> None:
    def gone(_future: object) -> None:
        raise CancelledError

    monkeypatch.setattr("distributed.Future.result", gone)
    with pytest.raises(ConfigError, match=r"went away; 0 of 3 are in .* goes on there"):
        fleet_client.call(tmp_path / "store", 4)
