"""Kill workers and clients of a fleet at random moments: nothing is lost, nothing done twice.

    python -m tests.kill_fleet --chips 24 --kills 10 --seed 1

Each kill is one of a worker, whose chip another takes, or of the client with all it has started;
after the last the client runs to its end. Then every row that was in the store at a kill is there
as it was, times included, and the store holds what an undisturbed one holds but for times.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

from hascodesign.fleet.store import ChipRow, Store


def rows(folder: Path) -> dict[str, ChipRow]:
    if not (folder / "store.json").exists():
        return {}
    store = Store(folder)
    found = store.rows(ChipRow)
    store.close()
    return found


def lasting(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {
        key: replace(row, seconds=0.0, cpu_seconds=0.0, worker="", finished="")
        for key, row in rows(folder).items()
    }
    deltas = sorted((folder / "deltas").rglob("*.npz"))
    return found | {path.name: path.read_bytes() for path in deltas}


def start(folder: Path, chips: int, workers: int) -> subprocess.Popen[bytes]:
    options = ["--draw", chips, "--faulty", "4-16", "--workers", workers, "--verify", 0]
    command = [sys.executable, "-m", "hascodesign", "fleet", *options, "--out", folder]
    return subprocess.Popen(
        [str(part) for part in command], start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def count(folder: Path) -> int:
    return len(list((folder / "chips").glob("*.parquet")))


def workers_of(client: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Processes of the local cluster: those that multiprocessing has spawned."""
    try:
        children = psutil.Process(client.pid).children()
        return [one for one in children if "spawn_main" in " ".join(one.cmdline())]
    except psutil.NoSuchProcess:
        return []


def finish(client: subprocess.Popen[bytes]) -> None:
    _, error = client.communicate()
    if client.returncode:
        sys.exit(f"the client ended with {client.returncode}: {error.decode()[-2000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, default=24)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="kill-fleet-") as place:
        folder, plain = Path(place, "killed"), Path(place, "undisturbed")
        known: dict[str, ChipRow] = {}
        client, kills = start(folder, asked.chips, 2), {"worker": 0, "client": 0}
        more = 0
        while sum(kills.values()) < asked.kills:
            # at any moment of any chip, of the next ones to be done
            until, more = len(known) + more, draw.randint(0, 4)
            while client.poll() is None and count(folder) < until:
                time.sleep(0.1)
            time.sleep(draw.uniform(0, 4))
            if client.poll() is not None:
                finish(client)
                sys.exit("all chips are done before the last kill: ask for more chips")
            at_work, what = workers_of(client), draw.choice(("worker", "client"))
            if what == "worker" and not at_work:
                continue  # the client is still reading the network
            if what == "worker":
                os.kill(draw.choice(at_work).pid, signal.SIGKILL)
            else:
                os.killpg(client.pid, signal.SIGKILL)
                client.wait()
            kills[what] += 1
            known |= rows(folder)
            print(f"{what} killed, {len(known)} chips in the store", flush=True)
            if what == "client":
                client = start(folder, asked.chips, 2)
        finish(client)
        end = rows(folder)
        repeated = [key for key, row in known.items() if end.get(key) != row]
        finish(start(plain, asked.chips, 2))
        same = lasting(folder) == lasting(plain)
        print(
            f"{kills['worker']} workers and {kills['client']} clients killed; {len(end)} chips in"
            f" the store; of {len(known)} that were there at a kill {len(repeated)} were done"
            f" again or lost; {'the same' if same else 'NOT the same'} as an undisturbed store's"
            f" {len(rows(plain))}"
        )
        if repeated or not same:
            sys.exit(1)


if __name__ == "__main__":
    main()
