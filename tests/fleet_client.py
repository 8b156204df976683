"""``python -m tests.fleet_client STORE CHIPS WORKERS``: `fleet` on the stand-in's chips."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

from hascodesign.common import interrupt
from hascodesign.fleet import run, work
from hascodesign.flow.request import Request
from tests import fleet_stand_in as stand_in


def request(out: Path, workers: int = 1, scheduler: str | None = None) -> run.FleetRequest:
    asked = Request(config=stand_in.CONFIG, out=out, cache=out)
    return run.FleetRequest(asked, draw=1, workers=workers, scheduler=scheduler, verify=0.0)


def call(out: Path, count: int, workers: int = 1, scheduler: str | None = None) -> run.Fleet:
    prepared = (stand_in.shared(), stand_in.fleet(count))
    with (
        mock.patch.object(run, "_prepare", lambda *_: prepared),
        mock.patch.object(work, "chip", stand_in.chip),
    ):
        return run.run(request(out, workers, scheduler))


if __name__ == "__main__":
    interrupt.install()
    done = call(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    print(done.found, done.made)
