"""The memory files hold the masks that the array contract defines."""

from __future__ import annotations

import json

from hascodesign.contract.array import site_masks
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.faults.masks import mask_files

ARRAY = ArraySpec(2, 2, 4, 3, 16, "os", 10)
PROFILE = FaultProfile(
    ARRAY,
    (
        Fault(0, "sa0", "product", 1, 0),
        Fault(0, "sa1", "product", 1, 7),
        Fault(0, "flip", "product", 1, 2),
        Fault(0, "flip", "psum", bit=15),
        Fault(0, "sa0", "wmem", 1, 3, 9),
        Fault(0, "sa1", "wmem", 1, 0, 9),
        Fault(0, "transient", "act", 1, p=0.75, bits=(0, 2)),
        Fault(0, "transient", "wmem", 0, 3, 4, p=1.0),
        Fault(1, "dead"),
    ),
    seed=77,
)


def test_the_words() -> None:
    files = mask_files(PROFILE)
    assert sorted(files) == [
        "masks.json",
        "masks_product.mem",
        "masks_psum.mem",
        "masks_wmem.mem",
        "transients.mem",
    ]
    assert files["masks_product.mem"].split() == [b"0000ff", b"0480fe", b"000000", b"000000"]
    assert files["masks_psum.mem"].split() == [b"80000000ffff", b"00000000ffff"]
    assert files["masks_wmem.mem"].split() == [b"00000001000000090001f7"]
    assert files["transients.mem"].split() == [
        b"00000006000000010200020000000000c0000000",
        b"0000000700000000000303000000040100000000",
    ]
    manifest = json.loads(files["masks.json"])
    assert manifest["seed"] == 77
    for entry in manifest["files"]:
        lines = files[entry["file"]].split()
        assert len(lines) == entry["depth"]
        assert {len(line) for line in lines} == {-(-entry["width"] // 4)}
        assert sum(width for _, width in entry["fields"]) == entry["width"]


def test_the_masks_are_the_contract_s() -> None:
    lines = mask_files(PROFILE)["masks_product.mem"].split()
    masks = site_masks(PROFILE, "product")
    for line, xor, or_, and_ in zip(
        lines, masks.xor.ravel(), masks.or_.ravel(), masks.and_.ravel(), strict=True
    ):
        word = int(line, 16)
        assert (word >> 16, word >> 8 & 0xFF, word & 0xFF) == (xor, or_, and_)


def test_no_fault_no_file() -> None:
    assert sorted(mask_files(FaultProfile(ARRAY))) == ["masks.json"]
