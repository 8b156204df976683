import os

import pytest

from hascodesign import files
from hascodesign.errors import ConfigError


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


def test_replace_trees_leaves_no_file_of_the_earlier_build(tmp_path):
    files.replace_trees(tmp_path, {"roms/old.mem": b"1", "top.json": b"1"})
    files.replace_trees(tmp_path, {"roms/new.mem": b"2", "top.json": b"2"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["roms", "top.json"]
    assert [p.name for p in (tmp_path / "roms").iterdir()] == ["new.mem"]
    assert (tmp_path / "top.json").read_bytes() == b"2"


def test_unusable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"output folder must be writable: .*file"):
        files.usable_folder(tmp_path / "file" / "out")
