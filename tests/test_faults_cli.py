"""The `faults` group by its command line: every generator, source and form; bad values."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from hascodesign.cli import main as cli
from hascodesign.contract.array import site_masks
from hascodesign.contract.types import Fault, Site
from hascodesign.faults.formats import read
from hascodesign.faults.transient import read_probabilities

Result = tuple[int, list[str], list[str]]  # exit code, lines of stdout and of stderr


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `hascodesign faults ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["hascodesign", "faults", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        code = caught.value.code
        return int(code or 0), said.out.splitlines(), said.err.splitlines()

    return run


GENERATORS: dict[str, list[object]] = {
    "by-area": ["--faulty-pes", 6, "--faults-per-pe", 3, "--bits", "upper"],
    "uniform": ["--count", 30, "--wmem-depth", 64],
    "clustered": ["--count", 24, "--clusters", 3, "--radius", 1],
    "dead": ["--count", 3],
    "lim": ["--pmax", 0.02, "--low-bit", 3, "--high-bit", 20],
    "inf": ["--pmax", 0.02],
    "threshold": ["--voltage", 0.53, "--shared", 0.5, "--length", 2, "--wmem-depth", 512],
}


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("method", GENERATORS)
def test_every_generator_by_its_seed_and_its_picture(call, method: str, dataflow: str) -> None:
    options = ["--method", method, "--dataflow", dataflow, *GENERATORS[method]]
    for seed, name in ((3, "a.json"), (3, "b.json"), (4, "c.json")):
        assert call("generate", *options, "--seed", seed, "--out", name)[:2] == (0, [name])
    one, other = Path("a.json").read_bytes(), Path("c.json").read_bytes()
    assert one == Path("b.json").read_bytes() != other
    profile = read(Path("a.json"))
    assert profile.faults and profile.array.dataflow == dataflow and profile.seed == 3
    assert call("show", "a.json", "--svg", "map.svg") == (0, ["map.svg"], [])
    assert Path("map.svg").read_text().count("<path") > len({f.pe for f in profile.faults})
    code, lines, _ = call("show", "a.json")
    assert code == 0 and any(line.startswith("entry 0") for line in lines)


def test_the_options_reach_the_generator(call) -> None:
    call("generate", "--bits", "upper", "--faulty-pes", 16, "--faults-per-pe", 4, "--out", "u.json")
    upper = read(Path("u.json"))
    assert all(2 * (f.bit or 0) >= upper.array.site_bits(f.site or "act") for f in upper.faults)
    call("generate", "--method", "clustered", "--clusters", 1, "--radius", 0, "--out", "c.json")
    assert len({(f.pe, f.simd) for f in read(Path("c.json")).faults if f.site == "product"}) == 1
    call(
        "generate", "--method", "lim", "--low-bit", 3, "--high-bit", 5, "--pe", 4, "--out", "l.csv"
    )
    assert {f.bits for f in read(Path("l.csv")).faults} == {(3, 5)}
    sizes = ["--pe", 3, "--simd", 2, "--weight-bits", 8, "--act-bits", 4, "--acc-bits", 20]
    call("generate", *sizes, "--faulty-pes", 1, "--out", "s.json")
    spec = read(Path("s.json")).array
    assert (spec.pe, spec.simd, spec.weight_bits, spec.act_bits, spec.acc_bits) == (3, 2, 8, 4, 20)


def test_cells_and_their_voltages(call) -> None:
    draw = ["generate", "--method", "threshold", "--seed", 2, "--out"]
    assert call(*draw, "board.cells.json")[0] == 0
    counts = []
    for volts in (0.53, 0.55, 0.6):
        assert call("convert", "board.cells.json", "v.json", "--voltage", volts)[0] == 0
        counts.append(len(read(Path("v.json")).faults))
    assert counts[0] > counts[1] > counts[2] == 0
    for name, words in (("board.json", "must have a name that ends in .cells.json"),):
        assert refused(call(*draw, name), words)
    assert refused(call("generate", "--out", "a.cells.json"), "must have no name that ends in")


def refused(result: Result, *words: str) -> bool:
    """One line on stderr, exit code 2."""
    code, _, lines = result
    assert code == 2 and len(lines) == 1, result
    assert lines[0].startswith("hascodesign: ") and lines[0].isprintable()
    assert all(word in lines[0] for word in words), lines
    return True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seed", -1], "seed must be 0..4294967295, not -1"),
        (["--seed", 2**32], "seed must be"),
        (["--pe", 0], "array.pe"),
        (["--simd", -2], "array.simd"),
        (["--weight-bits", 9], "array.weight_bits"),
        (["--acc-bits", 8], "array.acc_bits"),
        (["--wmem-depth", -1], "wmem_depth must be 0.."),
        (["--faulty-pes", 17], "faulty_pes must be 0..16, not 17"),
        (["--faulty-pes", -1], "faulty_pes must be 0..16, not -1"),
        (["--faults-per-pe", 100_000], "faults_per_pe must be"),
        (["--method", "uniform", "--count", -3], "count must be"),
        (["--method", "uniform", "--count", 10**9], "count must be"),
        (["--method", "dead", "--count", 17], "count must be 0..16, not 17"),
        (["--method", "clustered", "--clusters", 0], "clusters must be 1..128, not 0"),
        (["--method", "clustered", "--radius", -1], "radius must be 0..16, not -1"),
        (["--method", "clustered", "--radius", 0, "--count", 9999], "must have room"),
        (["--method", "lim", "--pmax", 1.5], "pmax must be a number in [0, 1], not 1.5"),
        (["--method", "lim", "--pmax", "nan"], "pmax must be a number in [0, 1], not nan"),
        (["--method", "lim", "--block", 10], "block must be 0..9, mean or all, not 10"),
        (["--method", "lim", "--low-bit", 9, "--high-bit", 3], "bits must be [lo, hi]"),
        (["--method", "lim", "--high-bit", 24], "bits at site psum must be 0..23, not 24"),
        (["--method", "threshold", "--voltage", 0.5], "the voltage must be 0.53..1 V, not 0.5"),
        (["--method", "threshold", "--voltage", "inf"], "the voltage must be 0.53..1 V, not inf"),
        (["--method", "threshold", "--voltage", 0.6, "--shared", 2], "shared must be in [0, 1]"),
        (["--method", "threshold", "--voltage", 0.6, "--length", 0], "length above 0"),
        (["--out", "faults.xml"], "the format must be json or csv, not 'xml'"),
        (["--out", "faults"], "the format must be json or csv, not ''"),
        (["--board", "pynq"], "board"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(map(str, value)),
)
def test_a_bad_value_gives_one_line(call, options: list[object], words: str) -> None:
    assert refused(call("generate", *options), words)
    assert not list(Path().iterdir())


def test_a_measured_list_on_any_array(call) -> None:
    Path("list.csv").write_text(
        "vccbram_volt,bram,address,bit\n0.53,7,9,3\n0.53,6,9,3\n0.54,7,9,3\n0.53,9,1000,0\n"
    )
    sizes = ["--pe", 2, "--simd", 4, "--wmem-depth", 1024]
    at = [*sizes, "--voltage", 0.53, "--first-bram", 6]
    assert call("convert", "list.csv", "a.json", *at, "--dataflow", "ws", "--seed", 9)[0] == 0
    profile = read(Path("a.json"))
    assert profile.array.dataflow == "ws" and profile.seed == 9
    assert profile.faults == (
        Fault(0, "sa0", "wmem", 0, 3, 9), Fault(1, "sa0", "wmem", 0, 3, 9)
    )  # fmt: skip
    assert profile.conditions == {"vccbram_v": 0.53, "first_bram": 6}
    code, lines, _ = call("show", "list.csv", *at)
    assert code == 0 and "entry 1    PE 1 wmem multiplier 0 address 9 bit 3 sa0" in lines
    assert call("show", "list.csv", *at, "--svg", "map.svg")[0] == 0
    for options, words in (
        (sizes, "list.csv: the voltage must be given"),
        ([*sizes, "--voltage", 0.52], "one that was measured (0.54, 0.53 V), not 0.52"),
        ([*sizes, "--voltage", 0.53, "--first-bram", 889], "first must be 0..888, not 889"),
        ([*sizes, "--voltage", 0.53, "--first-bram", -1], "first must be 0..888, not -1"),
        (["--voltage", 0.53], "the array must fix wmem_depth"),
    ):
        assert refused(call("convert", "list.csv", "b.json", *options), words)


def test_probabilities_there_and_back(call) -> None:
    for dataflow in ("os", "ws"):
        own = ["--dataflow", dataflow, "--low-bit", 5, "--high-bit", 11]
        call("generate", "--method", "lim", *own, "--seed", 3, "--out", "a.json")
        assert call("convert", "a.json", "p.npy")[0] == 0
        assert call("convert", "p.npy", "b.csv", *own, "--seed", 3)[0] == 0
        first, again = read(Path("a.json")), read(Path("b.csv"))
        assert again.faults == first.faults and again.array == first.array and again.seed == 3
        values = read_probabilities(Path("p.npy"))
        assert values.shape == (1, 16)
        assert [f.p for f in first.faults] == values[0][values[0] > 0].tolist()
    call("generate", "--out", "stuck.json")
    assert refused(call("convert", "stuck.json", "q.npy"), "stuck.json: entry 0: ", "transient")
    for second, words in (
        ({"pe": 0, "site": "psum", "bit": 3, "kind": "transient", "p": 0.5}, "one probability"),
        ({"pe": 1, "site": "psum", "bit": 4, "kind": "transient", "p": 0.5}, "bits must be [3, 3]"),
        ({"pe": 1, "simd": 0, "site": "product", "bit": 3, "kind": "transient", "p": 0.5},
         "at site psum only"),
    ):  # fmt: skip
        document = json.loads(Path("a.json").read_text())
        document["array"]["dataflow"] = "os"
        one = {"pe": 0, "site": "psum", "bit": 3, "kind": "transient", "p": 0.5}
        document["faults"] = [one, second]
        Path("two.json").write_text(json.dumps(document))
        assert refused(call("convert", "two.json", "q.npy"), "two.json: entry 1: ", words)


def test_masks_there_and_back(call) -> None:
    """Every word of the memory files, unpacked by the manifest, is the profile's own mask."""
    options = ["--method", "uniform", "--count", 60, "--wmem-depth", 16, "--dataflow", "ws"]
    call("generate", *options, "--out", "a.json")
    assert call("convert", "a.json", "masks") == (0, ["masks"], [])
    profile, spec = read(Path("a.json")), read(Path("a.json")).array
    manifest = json.loads(Path("masks/masks.json").read_text())
    seen: set[tuple[object, ...]] = set()
    for entry in manifest["files"]:
        lines = Path("masks", entry["file"]).read_text().split("\n")
        assert lines.pop() == "" and len(lines) == entry["depth"]
        site = re.fullmatch(r"masks_(\w+)\.mem", entry["file"])
        assert site is not None
        name: Site = site[1]
        rows = [unpacked(line, entry["fields"]) for line in lines]
        if name == "wmem":
            masks = site_masks(profile, "wmem", 16)
            for row in rows:
                place = row["pe"], row["simd"], row["address"]
                seen.add(place)
                assert row["xor"] == masks.xor[place] and row["or"] == masks.or_[place]
                assert row["and"] & 15 == masks.and_[place] & 15
            continue
        masks = site_masks(profile, name)
        for ours, theirs in (("xor", masks.xor), ("or", masks.or_), ("and", masks.and_)):
            assert [row[ours] for row in rows] == theirs.ravel().tolist()
    assert seen == {(f.pe, f.simd, f.address) for f in profile.faults if f.site == "wmem"}
    assert len(manifest["files"]) == 6 and np.isin([spec.pe], [16]).all()


def unpacked(line: str, fields: list[list[object]]) -> dict[str, int]:
    word, values = int(line, 16), {}
    for name, width in reversed(fields):
        values[str(name)] = word & ((1 << int(str(width))) - 1)
        word >>= int(str(width))
    assert word == 0
    return values


def test_csv_and_json_are_lossless(call) -> None:
    call("generate", "--method", "uniform", "--count", 40, "--wmem-depth", 9, "--out", "a.json")
    assert call("convert", "a.json", "b.csv")[0] == 0
    assert call("convert", "b.csv", "c.json")[0] == 0
    assert Path("a.json").read_bytes() == Path("c.json").read_bytes()
    assert refused(call("convert", "a.json", "c.xml"), "the format must be")
    assert refused(call("convert", "none.json", "c.json"), "none.json: the file must be readable")
    assert refused(call("show", "none.csv"), "none.csv: the file must be readable")
