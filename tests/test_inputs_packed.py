"""Archives, arrays and checkpoints that unpack to more than they say: one line, no memory."""

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from hascodesign.common import inputs
from hascodesign.common.arrays import read_npy
from hascodesign.faults import commands
from hascodesign.models.checkpoint import read_state
from hascodesign.models.data import user_data
from hascodesign.models.idx import read_idx
from tests.test_inputs import (  # noqa: F401  (array_of_the_npy: a fixture of every test)
    GIB,
    MIB,
    array_of_the_npy,
    idx,
    said,
)


def npy(shape: tuple[int, ...], descr: str = "|u1", body: bytes = b"") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    head = text.ljust(118 - 1) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() + body


def packed_zeros(path: Path, name: str, head: bytes, count: int) -> Path:
    """An archive with one member of ``head`` and ``count`` zeros, which are never held at once."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w") as member,
    ):
        member.write(head)
        for _ in range(count >> 24):
            member.write(bytes(1 << 24))
    return path


def test_an_npz_that_unpacks_to_three_gigabytes(tmp_path):
    # declared in the directory: the bytes of 96 MiB stand for any number
    path = packed_zeros(tmp_path / "bomb.npz", "images.npy", npy((96 << 20,)), 96 << 20)
    assert path.stat().st_size < MIB
    assert "must unpack to at most 64 MiB, not 100663424 bytes" in said(user_data, path)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<I", 3 * GIB)
    path.write_bytes(content)
    assert "must unpack to at most 64 MiB, not 3221225472 bytes" in said(user_data, path)


def test_an_npz_that_unpacks_to_more_than_it_says(tmp_path):
    path = packed_zeros(tmp_path / "bomb.npz", "images.npy", npy((96 << 20,)), 96 << 20)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.npy", npy((1,), body=b"\0"))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<I", 1128)
    path.write_bytes(content)
    assert "Bad CRC-32" in said(user_data, path)  # of as many bytes as it says


def with_array(path: Path, images: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", npy((1,), body=b"\0"))
    return path


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (npy((1 << 40,)), "must take 1099511627904 bytes as its header says, not 128"),
        (npy((1 << 62, 1 << 62, 0)), "must have a shape of whole numbers"),
        (npy((-4,)), "must have a header of descr"),
        (npy((1,) * 9, body=b"x"), "must have at most 8 axes, not 9"),
        (npy((1,), "|O", b"x"), "not dtype '|O'"),
        (npy((1,), "<c8", bytes(8)), "not dtype '<c8'"),
        (npy((1,), "<M8[s]", bytes(8)), "not dtype '<M8[s]'"),
        (npy((2,), body=b"x"), "must take 130 bytes as its header says, not 129"),
        (npy((2,), body=b"xyz"), "must take 130 bytes as its header says, not 131"),
        (b"\x93NUMPY\2\0" + b"\xff" * 4 + b" " * 99, "must have a header of at most 10000 bytes"),
        (b"\x93NUMPY\1\0\x08\0{'descr'", "must have a header of descr, fortran_order and shape"),
        (b"\x93NUMPY\x01\0\x08\0((((((((", "must have a header of descr"),
        (b"not an array", "its first bytes must say so"),
    ],
)  # fmt: skip
def test_an_array_is_held_against_its_bytes(tmp_path, images, words):
    assert words in said(user_data, with_array(tmp_path / "d.npz", images))
    (tmp_path / "p.npy").write_bytes(images)
    assert words in said(commands.load, tmp_path / "p.npy")


def test_headers_of_other_writers_are_read(tmp_path):
    rng = np.random.default_rng(0)
    values = np.asfortranarray(rng.random((6, 2, 3)).astype(">f8"))
    np.savez(tmp_path / "d.npz", images=np.ones((6, 1, 4, 4)), labels=np.arange(6) % 1)
    assert len(user_data(tmp_path / "d.npz").heldout.labels) == 2
    np.save(tmp_path / "p.npy", values)
    assert np.array_equal(read_npy(tmp_path / "p.npy", inputs.PROBABILITIES), values)
    for text in (
        '{"shape":(2L,),"fortran_order":False,"descr":"<i4"}\n',
        "{'descr': '<i4','fortran_order': False,'shape': (2,)}",
    ):
        head = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()
        (tmp_path / "p.npy").write_bytes(head + bytes([1, 0, 0, 0, 2, 0, 0, 0]))
        assert read_npy(tmp_path / "p.npy", inputs.PROBABILITIES).tolist() == [1, 2]


def test_a_zip_whose_directory_is_endless(tmp_path):
    path = with_array(tmp_path / "d.npz", npy((1,), body=b"x"))
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\5\6")
    for at, form, value, words in (
        (10, "<H", 65535, "must be an archive of at most 10000 members, not 65535"),
        (12, "<I", 1 << 31, "must be an archive of at most 10000 members"),
        (16, "<I", 0, "its directory must be whole"),
        (20, "<H", 9, "its directory must stand at its end"),
    ):
        changed = content.copy()
        changed[end + at : end + at + struct.calcsize(form)] = struct.pack(form, value)
        path.write_bytes(changed)
        assert words in said(user_data, path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (8, 1, "stored or deflated: 'images.npy'"),  # encrypted
        (10, 12, "stored or deflated: 'images.npy'"),  # bzip2
        (10, 99, "stored or deflated: 'images.npy'"),
        (16, 1, "Bad CRC-32"),
        (24, 5, "whose sizes hold: 'images.npy'"),
    ],
)
def test_a_zip_whose_directory_is_wrong(tmp_path, field, value, words):
    path = with_array(tmp_path / "d.npz", npy((1,), body=b"x"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + field] = value
    path.write_bytes(content)
    assert words in said(user_data, path)


def test_two_members_of_one_name(tmp_path):
    path = with_array(tmp_path / "d.npz", npy((1,), body=b"x"))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("images.npy", npy((1,), body=b"y"))
    assert "without two members of one name" in said(user_data, path)


# ----------------------------------------------------------------------------------------- the rest


def test_a_gzip_that_unpacks_to_two_gigabytes(tmp_path):
    packer = zlib.compressobj(1, wbits=31)
    with (tmp_path / "images.gz").open("wb") as file:
        file.write(packer.compress(idx((2048, 1024, 1024))))
        for _ in range(8):
            file.write(packer.compress(bytes(1 << 24)))
        file.write(packer.flush())
    assert "must be at most 1024 MiB" in said(read_idx, tmp_path / "images.gz", 3)
    for shape, words in (
        ((100, 1024, 1024), "body must be at most 64 MiB in a file of"),  # before it is unpacked
        ((60, 1024, 1024), "body must be 62914560 bytes as its header says, not"),
        ((1, 2, 2), "body must be 4 bytes as its header says, not more"),
    ):
        bomb = gzip.compress(idx(shape) + bytes(1 << 16))
        (tmp_path / "images.gz").write_bytes(bomb)
        assert words in said(read_idx, tmp_path / "images.gz", 3)


def test_an_idx_header_is_held_against_the_file(tmp_path):
    (tmp_path / "images").write_bytes(idx((1000, 1000, 1000)))
    assert "must be 1000000000 bytes as its header says, not 0 bytes" in said(
        read_idx, tmp_path / "images", 3
    )


def test_checkpoints_that_unpack_without_end(tmp_path):
    path = tmp_path / "net.pt"
    packed_zeros(path, "archive/data.pkl", b"", 96 << 20)
    assert "must unpack to at most 64 MiB" in said(read_state, path)
    packed_zeros(path, "archive/data.pkl", b"", 32 << 20)
    assert "must have a data.pkl of at most 1048576 bytes" in said(read_state, path)
    # bytearray(3 GiB), which torch takes for harmless
    bomb = (
        b"\x80\x02c__builtin__\nbytearray\n\x8a\x05" + (3 * GIB).to_bytes(5, "little") + b"\x85R."
    )
    path.write_bytes(bomb)
    assert "must not use bytearray" in said(read_state, path)
    # torch looks for words in its own message, in time quadratic in the longest
    path.write_bytes(bomb.replace(b"\nbytearray", b"\nx" + b"x" * 500_000))
    assert "must hold no word of more than 256 characters" in said(read_state, path)
    torch.save({"a": torch.zeros(2)}, path)
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            new.writestr(member, bomb if member.filename.endswith(".pkl") else old.read(member))
    assert "must not use bytearray" in said(read_state, path)


STATES = {
    "keys that are no names": lambda: {1: torch.zeros(2)},
    "a number": lambda: {"a": 3},
    "states in a state": lambda: {"a": {"b": torch.zeros(2)}},
    "a list": lambda: [torch.zeros(2)],
    "sparse": lambda: {"a": torch.zeros(2).to_sparse()},
    "without values": lambda: {"a": torch.zeros(2, device="meta")},
    "quantised": lambda: {"a": torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8)},
    "one number many times": lambda: {"a": torch.zeros(1).expand(1 << 40)},
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("name", STATES)
def test_a_state_that_is_no_tensors_by_name(tmp_path, name):
    torch.save(STATES[name](), tmp_path / "net.pt")
    assert "must be a state dict of tensors" in said(read_state, tmp_path / "net.pt")


def test_states_of_old_and_of_new_form(tmp_path):
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}
    for new in (True, False):
        for content in (state, {"state_dict": state, "epoch": 3}):
            torch.save(content, tmp_path / "net.pt", _use_new_zipfile_serialization=new)
            found = read_state(tmp_path / "net.pt")
            assert all(torch.equal(found[key], state[key]) for key in state)
    (tmp_path / "net.pt").write_bytes(pickle.dumps(state, 4))
    assert "must be a state dict of tensors" in said(read_state, tmp_path / "net.pt")
