"""Chips of a folder, a table and of draws; what makes two of them one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.faults import formats
from hascodesign.fleet import chips
from hascodesign.fleet.chips import Chip, alike
from hascodesign.flow.config import FaultsConfig

ARRAY = ArraySpec(pe=4, simd=2, weight_bits=4, act_bits=4, acc_bits=16)
FAULT = Fault(1, "sa1", "product", 0, 3)
DRAWN = FaultsConfig(faulty_pes=2)
TABLE = """chip,pe,simd,site,bit,kind
one,1,0,product,3,sa1
two,,,,,
three,2,1,weight,0,sa0
one,3,,psum,7,sa0
"""


def put(folder: Path, name: str, profile: FaultProfile) -> None:
    (folder / name).write_bytes(formats.write(profile, name.rpartition(".")[2]))


def test_a_folder_gives_a_chip_for_each_profile(tmp_path: Path) -> None:
    put(tmp_path, "b.json", FaultProfile(ARRAY, (FAULT,), 7, "tester", {"voltage": 0.6}))
    put(tmp_path, "a.csv", FaultProfile(ARRAY))
    (tmp_path / "notes.txt").write_text("no chip")
    found = chips.read(tmp_path, ARRAY, 20)
    assert [one.name for one in found] == ["a", "b"]
    assert found[1].profile == FaultProfile(ARRAY, (FAULT,))
    assert [one.faulty_pes for one in found] == [0, 1]


def test_what_changes_no_bit_makes_no_other_chip() -> None:
    known = FaultProfile(ARRAY, (FAULT,), 7, "tester", {"voltage": 0.6})
    assert Chip("a", alike(known)).digest == Chip("b", alike(replace(known, seed=8))).digest
    moved = replace(known, faults=(replace(FAULT, bit=4),))
    assert Chip("a", alike(moved)).digest != Chip("a", alike(known)).digest
    deep = replace(known, array=replace(ARRAY, wmem_depth=64))
    assert Chip("a", alike(deep)).digest != Chip("a", alike(known)).digest
    # the order of lasting faults is none; transient ones draw by their entry
    other, blink = replace(FAULT, pe=2), Fault(0, "transient", "psum", None, 3, p=0.5)
    pair = [alike(replace(known, faults=two)) for two in ((FAULT, other), (other, FAULT))]
    assert pair[0] == pair[1]
    places = [alike(replace(known, faults=two)) for two in ((FAULT, blink), (blink, FAULT))]
    assert places[0] != places[1] and places[1].faults == (blink, FAULT)
    # the seed of transient faults is drawn from
    drawn = replace(known, faults=(Fault(0, "transient", "psum", None, 3, p=0.5),))
    assert alike(drawn).seed == 7
    assert Chip("a", alike(drawn)).digest != Chip("a", alike(replace(drawn, seed=8))).digest


def test_a_table_gives_each_chip_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "chips.csv"
    path.write_text(TABLE)
    found = {one.name: one.profile for one in chips.read(path, ARRAY, 20)}
    assert list(found) == ["one", "two", "three"]
    assert found["one"].faults == (FAULT, Fault(3, "sa0", "psum", None, 7))
    assert found["two"].faults == ()
    assert found["three"].faults == (Fault(2, "sa0", "weight", 1, 0),)
    # with a head of its own, of another array
    path.write_text("".join(f"# array.{k}: {v}\n" for k, v in [
        ("pe", 9), ("simd", 2), ("weight_bits", 4), ("act_bits", 4), ("acc_bits", 16),
        ("dataflow", "os"),
    ]) + "# version: 1\n" + TABLE)  # fmt: skip
    with pytest.raises(ConfigError, match="must be the flow's, 4 PEs x 2"):
        chips.read(path, ARRAY, 20)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("3,sa1", "99,sa1"), "chip one: line 2: bit at site product must be"),
        (("7,sa0", "7,dead"), "chip one: line 5: site must be absent for kind dead"),
        (("0,sa0", "0,sa0,x"), "chip three: line 4: a line must have 5 cells, not 6"),
        (("chip,", "die,"), "line 1: the first column must be chip"),
        (("psum", '"psum'), "line 5: the line must be CSV"),
        (("two,", "\x07,"), "must be 1 to 200 printable characters"),
        ((TABLE, ""), "a line naming the columns must stand"),
        ((TABLE, "chip,pe\n"), "must hold a chip, and holds none"),
        (("7,sa0\n", "7,sa0"), "must end with a line break; the file is cut short"),
        (("two,", "# two,"), "line 3: a line below the columns must be a chip's, not '# two'"),
        (("chip,pe,simd", "chip,pe,colour"), "chip one: line 1: a column must be"),
    ],
)
def test_a_wrong_table_is_told_by_its_line(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    path = tmp_path / "chips.csv"
    path.write_text(TABLE.replace(*change))
    with pytest.raises(ConfigError) as caught:
        chips.read(path, ARRAY, 20)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_a_table_is_read_as_spreadsheets_save_it(tmp_path: Path) -> None:
    path = tmp_path / "chips.csv"
    path.write_text(TABLE)
    known = chips.read(path, ARRAY, 20)
    head = "# version: 1\n" + "".join(
        f"# array.{name}: {value}\n" for name, value in formats.array_object(ARRAY).items()
    )
    padded = head.replace("\n", ",,,,,,,\n") + TABLE.replace("\n", ",,\n")
    for text in (TABLE.replace(",", ";"), padded, padded.replace(",", ";"), f"\n{TABLE}\n;;\n"):
        path.write_bytes(text.replace("\n", "\r\n").encode())
        assert chips.read(path, ARRAY, 20) == known
    path.write_text("\n" + head + "\n" + TABLE.replace("7,sa0", "7,dead"))
    with pytest.raises(ConfigError, match=f"chip one: line {head.count(chr(10)) + 7}: site"):
        chips.read(path, ARRAY, 20)


def test_a_wrong_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must hold a chip"):
        chips.read(tmp_path, ARRAY, 20)
    put(tmp_path, "a.json", FaultProfile(replace(ARRAY, pe=5)))
    with pytest.raises(ConfigError, match=r"a\.json: the chip's array must be the flow's, 4 PEs"):
        chips.read(tmp_path, ARRAY, 20)
    put(tmp_path, "a.json", FaultProfile(ARRAY))
    put(tmp_path, "a.csv", FaultProfile(ARRAY))
    with pytest.raises(ConfigError, match="a name of its own"):
        chips.read(tmp_path, ARRAY, 20)
    with pytest.raises(ConfigError, match="a folder of profiles, or a table"):
        chips.read(tmp_path / "a.json", ARRAY, 20)


def test_a_drawn_chip_is_the_same_in_any_fleet() -> None:
    few = chips.draw(3, (1, 4), ARRAY, DRAWN, seed=5)
    many = chips.draw(40, (1, 4), ARRAY, DRAWN, seed=5)
    assert many[:3] == few
    assert chips.draw(3, (1, 4), ARRAY, DRAWN, seed=6) != few
    assert {one.faulty_pes for one in many} == {1, 2, 3, 4}
    assert len({one.digest for one in many}) > 30


def test_a_sample_depends_on_keys_and_seed_alone() -> None:
    keys = [f"{number:03d}" for number in range(300)]
    found = chips.sample(keys, 0.01, 1)
    assert len(found) == 3 and found == chips.sample([*keys[::-1], "001"], 0.01, 1)
    assert found != chips.sample(keys, 0.01, 2)
    assert [len(chips.sample(keys, share, 1)) for share in (0.0, 0.0001, 1.0)] == [0, 1, 300]
    assert len(chips.sample(keys[:100], 0.07, 1)) == 7  # 0.07 * 100 is more than 7 in floats
