"""What is no regular file, or larger than its kind may be, is one line; nothing waits or fills."""

import os
import re
import resource
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hascodesign.common import documents, inputs
from hascodesign.contract.errors import ConfigError
from hascodesign.faults import commands
from hascodesign.flow.config import load_config
from hascodesign.models.checkpoint import read_state
from hascodesign.models.data import user_data
from hascodesign.models.idx import read_idx
from tests.fuzz_readers import MEMORY

MIB, GIB = 1 << 20, 1 << 30


def said(read, *arguments) -> str:
    """The one line that refuses it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError) as caught:
        read(*arguments)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) << 10 < MEMORY
    assert str(caught.value).isprintable()
    return str(caught.value)


def idx(shape: tuple[int, ...], body: bytes = b"") -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body


def sparse(path: Path, size: int, head: bytes = b"") -> Path:
    path.write_bytes(head)
    os.truncate(path, size)
    return path


READERS = {
    "faults.json": commands.load,
    "faults.csv": commands.load,
    "chip.cells.json": commands.load,
    "p.npy": commands.load,
    "flow.toml": lambda path: load_config(path, {}),
    "data.npz": user_data,
    "images": lambda path: read_idx(path, 3),
    "images.gz": lambda path: read_idx(path, 3),
    "net.pt": read_state,
    "schedule.json": lambda path: inputs.read(path, inputs.SCHEDULE),
    "net.py": lambda path: inputs.digest(path, inputs.MODEL_FILE),
}


@pytest.fixture(autouse=True)
def array_of_the_npy(monkeypatch):
    """A .npy and a measured list say nothing of their array; refusal comes before it counts."""
    monkeypatch.setattr(commands, "_array", lambda source, options: None)
    monkeypatch.setattr(commands, "_volts", lambda source, options: 0.6)


SCRIPT = """
import os, sys
sys.argv = ["hascodesign", *sys.argv[1:]]
from hascodesign.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        (["faults", "show"], "fifo.json", "the file must be a regular file, not a FIFO"),
        (["flow", "--config"], "/dev/zero", "flow file must be a regular file, not a device"),
    ],
)
def test_the_command_line_does_not_wait(tmp_path, command, name, words):
    path = tmp_path / name  # an absolute name stays
    if not path.exists():
        os.mkfifo(path)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command, str(path)],
        capture_output=True, timeout=300, check=False, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith(words)


@pytest.mark.parametrize("name", READERS)
def test_only_regular_files_are_read(tmp_path, name):
    path, read = tmp_path / name, READERS[name]
    assert "must be readable: No such file" in said(read, path)
    os.mkfifo(path)
    assert "must be a regular file, not a FIFO" in said(read, path)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "must be a regular file, not a device" in said(read, path)
    path.unlink()
    path.symlink_to(path)
    assert "must be readable" in said(read, path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))
        assert "must be" in said(read, path)
    path.unlink()
    path.symlink_to("/proc/self/environ")  # regular, of size 0, with content
    assert said(read, path)
    path.unlink()
    if name != "data.npz":  # a folder of data is an IDX folder
        path.mkdir()
        assert "must be" in said(read, path)


@pytest.mark.parametrize("name", READERS)
def test_a_name_of_any_kind_is_one_line(tmp_path, name):
    read = READERS[name]
    for odd in ("a" * 300, "two\nlines", "nul\0", "\udcff", "escape\x1b[2J"):
        assert "must be readable" in said(read, tmp_path / f"{odd}.{name}")


@pytest.mark.parametrize("name", READERS)
def test_no_file_is_larger_than_its_limit(tmp_path, name):
    path = sparse(tmp_path / name, 3 * GIB)
    assert re.search(
        r"must be at most [0-9]+ [MK]iB, not 3221225472 bytes", said(READERS[name], path)
    )


def test_a_link_to_a_regular_file_is_that_file(tmp_path):
    (tmp_path / "real").write_bytes(idx((2,), b"ab"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read_idx(tmp_path / "link", 1).tolist() == [97, 98]


# ---------------------------------------------------------------------------------------- archives


TEXTS = {
    "nested": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "not UTF-8": b"\xff\xfe\0\0",
    "NUL": b"\0" * 100,
    "values": b"[" + b"[]," * 1_400_000 + b"[]]",
    "objects": b"[" + b'{"a":1,"a":2},' * 1_400_000 + b"{}]",
    "lines": b"\n" * 4_100_000,
    "long integer": b'{"version": ' + b"9" * 100_000 + b"}",
    "infinite": b'{"version": 1e400}',
    "bool": b'{"version": true}',
    "surrogate": b'{"version": "\\ud800"}',
}


@pytest.mark.parametrize("text", TEXTS)
def test_texts_that_are_bombs(tmp_path, text):
    for name in ("faults.json", "faults.csv", "chip.cells.json", "flow.toml"):
        (tmp_path / name).write_bytes(TEXTS[text])
        assert name in said(READERS[name], tmp_path / name)


FLOW = (
    'board = "pynq-z2"\n',
    "faults = {faulty_pes = 1}\n",
    "array = {pe = 4, simd = 4, weight_bits = 4, act_bits = 8, acc_bits = 24}\n",
)
ODD_LINES = {
    "a." * 8000 + "a = 1": "a is no key",
    "a = " + "[" * 8000: "recursion depth",
    "a = " + "9" * 8000: "digits",
    '"a\\nb" = 1': "is no key",
    "array = 3": "array: Input should be a valid dictionary",
    "seed = 1e400": "valid integer, not inf",
    "seed = true": "valid integer, not True",
    "seed = -0.0": "valid integer, not -0.0",
    "faults = {}": "faults.faulty_pes must be given",
}


@pytest.mark.parametrize(("line", "words"), ODD_LINES.items(), ids=range(len(ODD_LINES)))
def test_flow_files_with_one_odd_line(tmp_path, line, words):
    path = tmp_path / "flow.toml"
    path.write_text("".join(FLOW))
    assert load_config(path, {"array.pe": 8}).array.pe == 8
    path.write_text("".join(kept for kept in FLOW if kept[:5] != line[:5]) + line + "\n")
    assert words in said(load_config, path, {"array.pe": 8})


def test_the_docs_name_every_limit():
    text = (Path(__file__).parent.parent / "docs" / "array.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (.+?) \| ([0-9]+ [MK]iB) \|", text, re.MULTILINE))
    assert rows == {name: inputs.amount(kind.most) for name, kind in inputs.KINDS.items()}
    for words in (f"{documents.MOST_VALUES:,} values", f"{inputs.RATIO} times", "64 MiB", "1 GiB"):
        assert words in text
