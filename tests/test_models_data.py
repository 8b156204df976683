import gzip
import re
import subprocess
import sys

import numpy as np
import pytest

from hascodesign.contract.errors import ModelError
from hascodesign.models.data import digits, heldout_indices, mnist, user_data


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def pictures(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 4, 3)), np.arange(count) % 3


def write_pair(folder, prefix="t10k", count=30, compress=False, seed=0):
    ending, pack = (".gz", gzip.compress) if compress else ("", bytes)
    folder.mkdir(exist_ok=True)
    images, labels = pictures(count, seed)
    (folder / f"{prefix}-images-idx3-ubyte{ending}").write_bytes(pack(idx(images)))
    (folder / f"{prefix}-labels-idx1-ubyte{ending}").write_bytes(pack(idx(labels)))
    return images, labels


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


# ------------------------------------------------------------------------------------------ digits


def test_digits_are_cut_by_class_and_never_otherwise():
    data = digits()
    kept, held = data.calibration, data.heldout
    assert (len(kept.labels), len(held.labels)) == (1258, 539)
    assert held.images.shape == (539, 1, 8, 8)
    assert held.images.dtype == np.float32
    assert (held.images.min(), held.images.max()) == (0, 16)
    counts = np.bincount(held.labels)
    assert counts.min() >= 52
    assert counts.max() <= 55
    again = digits()
    assert np.array_equal(again.heldout.images, held.images)
    # the same images, whatever the platform: a fixed cut is a fixed list of indices
    assert held.labels[:12].tolist() == [0, 2, 5, 7, 8, 4, 6, 9, 3, 4, 7, 8]
    assert not held.images.flags.writeable
    together = {image.tobytes() for image in kept.images} & {i.tobytes() for i in held.images}
    assert not together


def test_held_out_indices_take_their_share_of_each_class():
    labels = np.repeat([0, 1, 2], [30, 9, 1])
    held = heldout_indices(labels, 1 / 3)
    assert np.bincount(labels[held], minlength=3).tolist() == [10, 3, 0]
    assert (np.diff(held) > 0).all()


def test_data_does_not_import_torch():
    code = "import sys, hascodesign.models.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --------------------------------------------------------------------------------------------- idx


@pytest.mark.parametrize("compress", [False, True])
def test_idx_folder_with_the_test_file_alone(tmp_path, compress):
    images, labels = write_pair(tmp_path / "d", compress=compress)
    data = mnist(tmp_path / "d")
    assert (len(data.calibration.labels), len(data.heldout.labels)) == (24, 6)
    assert data.heldout.images.shape == (6, 1, 4, 3)
    held = heldout_indices(labels, 0.2)
    expected = images[held].astype(np.float32) / np.float32(255)
    assert np.array_equal(data.heldout.images[:, 0], expected)
    assert np.array_equal(data.heldout.labels, labels[held])
    assert len(user_data(tmp_path / "d").heldout.labels) == 9  # 10 of each class, a third of them


def test_idx_folder_with_train_and_test_files(tmp_path):
    _, train = write_pair(tmp_path / "d", "train", 21, seed=1)
    images, test = write_pair(tmp_path / "d", "t10k", 9, compress=True)
    for read in (mnist, user_data):
        data = read(tmp_path / "d")
        assert np.array_equal(data.calibration.labels, train)
        assert np.array_equal(data.heldout.labels, test)
        expected = images.astype(np.float32) / np.float32(255)
        assert np.array_equal(data.heldout.images[:, 0], expected)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("images-idx3", idx(np.zeros((3, 4))), "IDX file magic must be 00000803, not 00000802"),
        ("images-idx3", b"", "IDX file magic must be 00000803, not an empty file"),
        ("images-idx3", b"\0\0\x08\x03\0\0\0\x01", "header must hold 3 sizes, not only 8 bytes"),
        (
            "images-idx3",
            idx(np.zeros((30, 4, 3)))[:-1],
            "must be 360 bytes as its header says, not",
        ),
        ("images-idx3", idx(np.zeros((30, 4, 3))) + b"x", "must be 360 bytes as its header says"),
        ("images-idx3", b"\0\0\x08\x03" + b"\xff" * 12, "IDX file body must be at most 1024 MiB"),
        ("labels-idx1", idx(np.zeros(29)), "must be of one length, not 30 and 29"),
        ("labels-idx1", b"\0\0\x0d\x01\0\0\0\0", "IDX file magic must be 00000801, not 00000d01"),
    ],
)
def test_malformed_idx_files(tmp_path, name, content, words):
    write_pair(tmp_path / "d")
    (tmp_path / "d" / f"t10k-{name}-ubyte").write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        user_data(tmp_path / "d")
    assert f"t10k-{name}" in str(caught.value) or "images" in str(caught.value)


def test_gzip_cut_short(tmp_path):
    write_pair(tmp_path / "d", compress=True)
    file = tmp_path / "d" / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ModelError, match=r"t10k-images-idx3-ubyte\.gz: IDX file must be readable"):
        mnist(tmp_path / "d")
    file.write_bytes(b"no gzip at all")
    with pytest.raises(ModelError, match="IDX file must be readable"):
        mnist(tmp_path / "d")


def test_folder_without_a_pair(tmp_path):
    with pytest.raises(ModelError, match=r"must hold one pair .* not: none"):
        user_data(tmp_path)
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b")
    with pytest.raises(ModelError, match=r"must hold one pair .* not: a, b"):
        user_data(tmp_path)
    (tmp_path / "b-labels-idx1-ubyte").unlink()
    with pytest.raises(ModelError, match="b-images-idx3-ubyte must have its labels beside it"):
        user_data(tmp_path)


# --------------------------------------------------------------------------------------------- npz


def test_npz_of_floats_bytes_and_maps_without_channels(tmp_path):
    images, labels = pictures(30)
    real = (images / 7).astype(np.float32)
    held = heldout_indices(labels, 1 / 3)
    data = user_data(save(tmp_path / "a.npz", images=real[:, None], labels=labels))
    assert data.name == "a"
    assert (len(data.calibration.labels), len(data.heldout.labels)) == (21, 9)
    assert np.array_equal(data.heldout.images, real[held][:, None])
    flat = user_data(save(tmp_path / "b.npz", images=real, labels=labels.astype(np.uint8)))
    assert np.array_equal(flat.heldout.images, data.heldout.images)
    scaled = user_data(save(tmp_path / "c.npz", images=images.astype(np.uint8), labels=labels))
    assert np.array_equal(
        scaled.heldout.images[:, 0], images[held].astype(np.float32) / np.float32(255)
    )


def bad(**changes):
    images, labels = pictures(30)
    return {"images": images.astype(np.float64), "labels": labels} | changes


NAN = np.zeros((30, 4, 3))
NAN[17, 2, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (bad(labels=np.arange(29)), "images and labels must be of one length, not 30 and 29"),
        (bad(images=NAN), "images must be finite, not NaN or infinite as image 17"),
        (bad(images=np.full((30, 4, 3), np.inf)), "not NaN or infinite as image 0"),
        (bad(images=np.full((30, 4, 3), 1e300)), "not NaN or infinite as image 0"),
        (bad(images=np.zeros((30, 3, 2, 4, 4))), "must be [n, c, h, w] or [n, h, w], or vectors"),
        (bad(images=np.zeros((0, 4, 3))), "images must be [n, c, h, w]"),
        (bad(images=np.zeros((30, 4, 3), np.int32)), "images must be float or uint8, not int32"),
        (bad(labels=np.zeros((30, 2), int)), "labels must be [n], not 2-dimensional"),
        (bad(labels=np.zeros(30)), "labels must be integers, not float64"),
        (bad(labels=np.arange(30) - 1), "labels must be 0 or more, not -1"),
        (bad(labels=np.arange(30)), "data must fill both parts, not 30 calibration and 0 held-out"),
        ({"images": NAN}, "must hold 'labels', not only: images"),
        ({"x": NAN}, "must hold 'images', not only: x"),
        (
            bad(labels=np.array([None] * 30)),
            "labels.npy must be a .npy file of numbers, not dtype '|O'",
        ),
    ],
)
def test_bad_npz(tmp_path, arrays, words):
    path = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        user_data(path)
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_npz(tmp_path):
    with pytest.raises(ModelError, match="No such"):
        user_data(tmp_path / "none.npz")
    path = tmp_path / "x.npz"
    for content in (b"", b"PK\3\4 not really", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"x\.npz: data must be"):
            user_data(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ModelError, match="not a single array"):
        user_data(path)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0, 2**64 - 1] * 15, np.uint64), "at most 1048576, not 18446744073709551615"),
        (np.array([0, 2**32] * 15, np.int64), "at most 1048576, not 4294967296"),
        (np.array([0, -1] * 15), "0 or more, not -1"),
        (np.array([0, 1] * 15, float), "must be integers, not float64"),
        (np.array([0, np.nan] * 15), "must be integers, not float64"),
        (np.array([0, 1] * 15, bool), "must be integers, not bool"),
        (np.array([0, 1] * 15, "m8[s]"), "of numbers, not dtype '<m8"),
        (np.array([0, 1] * 15, complex), "of numbers, not dtype '<c16'"),
    ],
)
def test_labels_that_a_cast_would_change_are_refused(tmp_path, labels, words):
    path = tmp_path / "d.npz"
    np.savez(path, images=np.zeros((30, 4, 3), np.float32), labels=labels)
    with pytest.raises(ModelError, match=re.escape(words)):
        user_data(path)


def test_labels_and_images_of_any_byte_order_are_the_same(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.random((30, 4, 3)), np.arange(30) % 3
    np.savez(tmp_path / "little.npz", images=images, labels=labels)
    np.savez(tmp_path / "big.npz", images=images.astype(">f8"), labels=labels.astype(">u2"))
    little, big = (user_data(tmp_path / f"{name}.npz").heldout for name in ("little", "big"))
    assert np.array_equal(little.images, big.images)
    assert np.array_equal(little.labels, big.labels)


def test_a_split_of_the_users_own(tmp_path):
    rng = np.random.default_rng(0)
    images, held = (rng.random((n, 4, 3)).astype(np.float32) for n in (30, 12))
    parts = {"images": images, "labels": np.arange(30) % 3}
    own = parts | {"heldout_images": held, "heldout_labels": np.arange(12) % 3}
    np.savez(tmp_path / "own.npz", **own)
    data = user_data(tmp_path / "own.npz")
    assert np.array_equal(data.calibration.images[:, 0], images)
    assert np.array_equal(data.heldout.images[:, 0], held)
    assert "whether the network was trained on them is not known here" in data.held
    assert data.warnings == ()
    np.savez(tmp_path / "shared.npz", **(own | {"heldout_images": images[:12]}))
    assert "12 of 12 held-out images are among" in user_data(tmp_path / "shared.npz").warnings[0]
    np.savez(tmp_path / "half.npz", **parts, heldout_images=held)
    with pytest.raises(ModelError, match="must hold 'heldout_labels'"):
        user_data(tmp_path / "half.npz")
    np.savez(tmp_path / "tall.npz", **(own | {"heldout_images": held.reshape(12, 3, 4)}))
    with pytest.raises(ModelError, match="must be of one size, not 1x4x3 and 1x3x4"):
        user_data(tmp_path / "tall.npz")


def test_bytes_that_are_no_pixels_are_warned_of(tmp_path):
    images = np.arange(30 * 12, dtype=np.uint8).reshape(30, 4, 3) % 17
    np.savez(tmp_path / "d.npz", images=images, labels=np.arange(30) % 3)
    assert "the largest value here is 16" in user_data(tmp_path / "d.npz").warnings[0]


def test_what_is_known_of_bundled_images():
    assert digits().held.startswith("held out of the training of the bundled network and")
    assert digits().warnings == ()
