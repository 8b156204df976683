import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hascodesign.common import files
from hascodesign.contract.errors import ConfigError


def test_write_atomic_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    target = tmp_path / "a"
    files.write_atomic(target, b"old")

    def fail(fd):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_unusable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"output folder must be writable: .*file"):
        files.usable_folder(tmp_path / "file" / "out")


def test_arrays_are_read_one_file_at_a_time(tmp_path: Path, monkeypatch) -> None:
    """Headers that two threads parse at once now and then fail in Python 3.11."""
    for name in ("one", "two", "three"):
        np.savez(tmp_path / f"{name}.npz", name=name, values=np.arange(5))
    inside, together = [], []
    load = np.load

    def slow(path, **options):
        inside.append(path)
        time.sleep(0.02)
        together.append(len(inside))
        inside.remove(path)
        return load(path, **options)

    monkeypatch.setattr(np, "load", slow)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(files.read_arrays, sorted(tmp_path.glob("*.npz"))))
    assert [str(one["name"]) for one in found] == ["one", "three", "two"]
    assert all(one["values"].tolist() == [0, 1, 2, 3, 4] for one in found)
    assert together == [1, 1, 1]
