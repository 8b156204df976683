"""The whole flow as a user calls it: what it leaves, what it resumes, and how it fails."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hascodesign.board import post_route, tools
from hascodesign.cli import main as cli
from hascodesign.common import records
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import frozen
from hascodesign.engine import gemm
from hascodesign.flow.flow import Flow
from hascodesign.render import rom

QUICK = """
board = "pynq-z2"
[array]
pe = 16
simd = 8
weight_bits = 4
act_bits = 8
acc_bits = 24
[faults]
faulty_pes = 4
site_area = { product = 81.0, psum = 11.0, weight = 4.0, act = 4.0 }
[schedule]
generations = 0
seconds = 3600.0
evaluations = 60
random_maps = 2
"""
RENDERED = ("rtl", "roms", "hls", "vivado", "vectors", "report.json", "report.html")


def run(*arguments):
    """Exit code of one call of the command line; 0 where it returns."""
    old, sys.argv = sys.argv, ["hascodesign", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as exit_:
        return exit_.code or 0
    finally:
        sys.argv = old
    return 0


@pytest.fixture(scope="module")
def flow_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "quick.toml"
    path.write_text(QUICK)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory, flow_file):
    """One finished flow that the tests below copy."""
    out = tmp_path_factory.mktemp("flow") / "out"
    assert run("flow", "--config", flow_file, "--out", out) == 0
    return out


@pytest.fixture
def copy(built, tmp_path):
    shutil.copytree(built, tmp_path / "out")
    return tmp_path / "out"


def contents(out, *folders):
    paths = [p for f in folders for p in sorted((out / f).rglob("*")) if p.is_file()]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in paths}


def test_the_report_says_what_was_done(built):
    report = json.loads((built / "report.json").read_text())
    accuracy = report["accuracy"]
    assert report["version"] == 1 and report["board"] == "pynq-z2"
    assert report["verification"]["mismatches"] == 0
    # 20 whole images through the compiled C++: every accumulator, code and logit
    hls = {run["run"]: (run["images"], run["outputs"]) for run in report["core"]["hls"]}
    assert hls == {"healthy": (20, 123480), "faulty": (20, 123480)}
    assert report["equivalence"]["differences"] == 0
    assert accuracy["integer"]["value"] >= 98.0
    assert accuracy["integer"]["value"] == accuracy["brevitas"]["value"]
    # the default seed's profile hurts, and even a short search wins most of it back
    assert accuracy["integer"]["value"] - accuracy["faulty_identity"]["value"] >= 20.0
    assert report["recovery"] > 0.85
    assert all(a["n"] == report["data"]["heldout"] for a in accuracy.values())
    assert {s["name"] for s in report["steps"]} >= {"load", "schedule", "verify", "estimate"}
    assert all(f["changed_accumulator"] for f in report["verification"]["faults"])
    masked = report["masked"]
    assert masked["faults"] == masked["tried"] == len(report["verification"]["faults"])
    assert masked["accumulators"] == 0.0 and 0.0 <= masked["classes"] < 1.0
    assert report["power"] is None  # no supply voltage was named


def test_every_listed_file_is_there_as_listed(built):
    report = json.loads((built / "report.json").read_text())
    assert len(report["files"]) > 50
    assert "report.html" in {entry["path"] for entry in report["files"]}
    assert run("check", built) == 0
    for entry in report["files"]:
        content = (built / entry["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["path"]


def test_a_changed_figure_of_the_report_is_noticed(copy, capsys):
    report = (copy / "report.json").read_text()
    assert report.count('"mismatches": 0,') > 1
    (copy / "report.json").write_text(report.replace('"mismatches": 0,', '"mismatches": 1,', 1))
    assert run("check", copy) == 1
    assert capsys.readouterr().out.splitlines() == ["changed: report.json"]


def test_every_resource_is_within_the_guideline(built):
    resources = json.loads((built / "report.json").read_text())["resources"]
    assert resources["used"]["DSP"] == 128 <= 0.8 * 220
    assert 0 < resources["used"]["BRAM36"] <= 0.8 * 140
    assert 0 < resources["used"]["LUT"] <= 0.7 * 53200
    assert 0 < resources["used"]["FF"] <= 0.5 * 106400


def test_a_second_run_is_served_from_the_steps_and_writes_the_same(copy, flow_file, capsys):
    before = contents(copy, "rtl", "roms", "hls", "vivado", "vectors")
    shutil.rmtree(copy / "roms")
    assert run("flow", "--config", flow_file, "--out", copy) == 0
    assert "done, " not in capsys.readouterr().err.replace("done in", "")
    assert contents(copy, "rtl", "roms", "hls", "vivado", "vectors") == before


def test_the_same_seed_gives_the_same_bytes_elsewhere(built, tmp_path, flow_file):
    assert run("render", "--config", flow_file, "--out", tmp_path / "o") == 0
    again = contents(tmp_path / "o" / "unverified", "rtl", "roms", "hls")
    first = {p: b for p, b in contents(built, "rtl", "roms", "hls").items() if p in again}
    assert again == first and len(again) > 50
    for name in ("faults.json", "schedule.json"):
        assert (tmp_path / "o" / "unverified" / name).read_bytes() == (built / name).read_bytes()
    assert not (tmp_path / "o" / "roms").exists()


def test_another_seed_gives_another_profile(built, tmp_path, flow_file):
    assert run("flow", "--to", "faults", "--config", flow_file, "--out", tmp_path, "--seed", 2) == 0
    assert (tmp_path / "faults.json").read_bytes() != (built / "faults.json").read_bytes()


def test_a_schedule_can_be_given_back(built, tmp_path, flow_file):
    arguments = ("--config", flow_file, "--out", tmp_path / "o")
    given = ("--schedule", built / "schedule.json", "--faults", built / "faults.json")
    assert run("verify", *arguments, *given) == 0
    out = tmp_path / "o"
    assert (out / "schedule.json").read_bytes() == (built / "schedule.json").read_bytes()
    assert contents(out, "rtl", "roms", "hls") == contents(built, "rtl", "roms", "hls")
    stored = {name: records.decode((out / "steps" / f"{name}.npz").read_bytes()) for name in STEPS}
    assert (stored["schedule"].algorithm, stored["schedule"].evaluations) == ("given", 1)
    assert stored["verify"][0].mismatches == 0
    # judged on the same images as where it was found
    first = json.loads((built / "report.json").read_text())
    assert stored["judge"]["scheduled"].value == first["accuracy"]["scheduled"]["value"]
    assert stored["schedule"].loss == first["schedule"]["loss"]


def test_notes_of_a_search_are_said_without_a_report(built, tmp_path, flow_file, capsys):
    profile = json.loads((built / "faults.json").read_text())
    first = profile["faults"][0]
    profile["faults"] = [first | {"pe": pe} for pe in range(profile["array"]["pe"])]
    (tmp_path / "alike.json").write_text(json.dumps(profile))
    given = ("--config", flow_file, "--moves", "none", "--faults", tmp_path / "alike.json")
    assert run("schedule", *given, "--out", tmp_path / "o") == 0
    assert capsys.readouterr().err.count("All PEs are alike to every layer") == 1
    assert (tmp_path / "o" / "flow.log").read_text().count("All PEs are alike") == 1


STEPS = ("schedule", "judge", "verify")


# ------------------------------------------------------------------- a wrong bit fails the flow


def changed_plan(monkeypatch, change):
    """Make the render step's files pass through ``change``."""
    render = Flow._render
    monkeypatch.setattr(Flow, "_render", lambda flow: BuildPlan(change(dict(render(flow).files))))


def flipped(path, line, bit):
    """A change that inverts one bit of one word of a memory file."""

    def change(files):
        lines = files[path].decode().split("\n")
        width = len(lines[line])
        lines[line] = f"{int(lines[line], 16) ^ (1 << bit):0{width}x}"
        return files | {path: "\n".join(lines).encode()}

    return change


def vouched(change):
    """The same change, with the digests that the manifest has of the memories made anew."""

    def changed(files):
        files = change(files)
        manifest = json.loads(files["roms/manifest.json"])
        for entry in manifest["files"]:
            content = files[f"roms/{entry['file']}"]
            entry["sha256"] = hashlib.sha256(content).hexdigest()
        return files | {"roms/manifest.json": json.dumps(manifest, indent=1).encode()}

    return changed


def wrong_sign(files):
    text = files["rtl/has_pe.v"].decode()
    assert text.count(": acc) + sum_held") == 1
    return files | {"rtl/has_pe.v": text.replace(": acc) + sum_held", ": acc) - sum_held").encode()}


CHANGES = {
    "weight ROM": flipped("roms/weights_pe00.mem", 3, 0),
    "threshold ROM": flipped("roms/thresholds_0.mem", 1, 9),
    "pe.v": wrong_sign,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_bit_in_the_plan_fails_the_flow(copy, flow_file, monkeypatch, capsys, name):
    changed_plan(monkeypatch, CHANGES[name])
    code = run("flow", "--config", flow_file, "--out", copy, "--from", "render")
    error = capsys.readouterr().err
    assert code == 1
    assert "integers differ" in error
    assert re.search(r"row \d+, column \d+, PE \d+", error)
    left_nothing(copy)


def test_a_wrong_bit_that_no_column_shows_fails_the_flow_too(copy, flow_file, monkeypatch, capsys):
    for change, words in (
        (flipped("roms/bias.mem", 0, 0), "the sha256 of roms/bias.mem must be that in"),
        (vouched(flipped("roms/bias.mem", 0, 0)), "roms/bias.coe must hold what bias.mem holds"),
    ):
        with monkeypatch.context() as patch:
            changed_plan(patch, change)
            code = run("flow", "--config", flow_file, "--out", copy, "--from", "render")
        assert code == 1 and words in capsys.readouterr().err
        left_nothing(copy)


def test_a_fit_with_one_wrong_word_fails_the_flow(copy, flow_file, monkeypatch, capsys):
    """One row that is written, left with one word as trained: even if the memories agree on it."""
    right = rom.build_roms
    schedule = json.loads((copy / "schedule.json").read_text())
    layer, row, k = next(
        (index, entry["row"], entry["words"][0][0])
        for index, one in enumerate(schedule["layers"])
        for entry in one["written"]
        if entry["words"]
    )

    def wrong(network, *others):
        one = network.layers[layer]
        weights = one.weights.copy()
        weights[row, k] ^= 1
        stages = [replace(s, weights=frozen(weights)) if s is one else s for s in network.stages]
        return right(replace(network, stages=tuple(stages)), *others)

    monkeypatch.setattr(rom, "build_roms", wrong)
    code = run("flow", "--config", flow_file, "--out", copy, "--from", "render")
    assert code == 1 and "integers differ" in capsys.readouterr().err
    left_nothing(copy)


def test_a_wrong_engine_fails_the_flow(copy, flow_file, monkeypatch, capsys):
    right = gemm.accumulate

    def wrong(*arguments, **options):
        acc = right(*arguments, **options).copy()
        acc[0, :] ^= 1
        return acc

    monkeypatch.setattr(gemm, "accumulate", wrong)
    code = run("flow", "--config", flow_file, "--out", copy, "--from", "verify")
    assert code == 1 and "must equal the fault model" in capsys.readouterr().err
    left_nothing(copy)


def left_nothing(out: Path):
    assert [name for name in RENDERED if (out / name).exists()] == []
    assert list(out.rglob("*.mem")) == []
    assert not (out / "faults.json").exists()
    assert run("check", out) == 1


def test_a_stored_step_that_was_tampered_with_is_not_served(copy, flow_file, capsys):
    plan = records.decode((copy / "steps" / "render.npz").read_bytes())
    (copy / "steps" / "render.npz").write_bytes(
        records.encode(BuildPlan(CHANGES["pe.v"](dict(plan.files))))
    )
    assert run("flow", "--config", flow_file, "--out", copy) == 0
    assert "render     done" in capsys.readouterr().err


@pytest.mark.parametrize(("program", "step"), [("iverilog", "verify"), ("yosys", "estimate")])
def test_another_version_of_a_tool_is_not_served_the_old_result(
    copy, flow_file, monkeypatch, capsys, program, step
):
    version = tools.version
    monkeypatch.setattr(
        tools, "version", lambda name, path: version(name, path) + " x" * (name == program)
    )
    assert run("flow", "--to", step, "--config", flow_file, "--out", copy) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().err.splitlines()]
    assert [step, "done,"] in lines
    assert [name for name, how in (x for x in lines if len(x) == 2) if how == "done,"] == [step]


def test_a_run_that_ends_before_the_report_tells_what_it_found(copy, flow_file, capsys):
    for last, told in (("schedule", False), ("judge", True)):
        assert run("flow", "--to", last, "--config", flow_file, "--out", copy) == 0
        assert ("Faulty, scheduled" in capsys.readouterr().err) == told


def test_the_array_is_timed_where_asked(copy, flow_file, monkeypatch, capsys):
    hop = post_route.Hop(0.5, "clk-to-q", "first", "")
    got = post_route.Timing(104.5, "nextpnr 9", "ECP5", "a stand-in", (hop, hop), {"TRELLIS_FF": 7})
    asked = []
    monkeypatch.setattr(post_route, "post_route_mhz", lambda *a, **k: asked.append(k) or got)
    arguments = ("flow", "--config", flow_file, "--out", copy, "--post-route")
    find = tools.find
    monkeypatch.setattr(tools, "find", lambda name: None if "nextpnr" in name else find(name))
    before = (copy / "report.json").read_bytes()
    assert run(*arguments) == 3
    assert "install: pip install 'hascodesign[nextpnr]'" in capsys.readouterr().err
    assert (copy / "report.json").read_bytes() == before
    sh = Path("/bin/sh")
    monkeypatch.setattr(tools, "find", lambda name: sh if "nextpnr" in name else find(name))
    for _ in range(2):
        assert run(*arguments) == 0
    assert "The array alone reaches 104.5 MHz on ECP5: a stand-in." in " ".join(
        capsys.readouterr().err.split()
    )
    assert [k["multipliers"] for k in asked] == ["dsp"]  # the second is served from its step
    part = json.loads((copy / "report.json").read_text())["timing"]
    assert (part["mhz"], part["from"], part["cells"]) == (104.5, "first", {"TRELLIS_FF": 7})
    assert "reaches 104.5 MHz" in (copy / "report.html").read_text()


def test_whole_images_run_through_the_accelerator_by_default(built):
    report = json.loads((built / "report.json").read_text())
    assert "module has_core " in (built / "rtl" / "has_core.v").read_text()
    assert report["core"]["built"] and report["core"]["notes"] == []
    runs = report["core"]["runs"]
    assert [r["run"] for r in runs] == ["healthy", "faulty"]
    # accumulators, codes, pooled codes and logits
    outputs = 2 * (2 * (16 + 32) * 64 + 32 * 16 + 3 * 10)
    assert all(r["images"] == 2 and r["outputs"] == outputs for r in runs)
    stages = {s["name"]: s for s in runs[1]["stages"]}
    assert stages["conv1"]["ideal_cycles"] == 2 * 18 * 64
    assert 0.9 < stages["conv1"]["busy"] <= 1
    assert report["resources"]["top"] == "has_core"


def test_the_array_alone(copy, flow_file):
    assert run("verify", "--out", copy, "--config", flow_file, "--core-images", 0) == 0
    assert (copy / "rtl" / "has_array.v").exists()
    assert not (copy / "rtl" / "has_core.v").exists()
    assert "-top has_array" in (copy / "synth" / "synth.ys").read_text()
    assert not (copy / "sim" / "core-healthy").exists()


def test_a_dozen_kills_of_a_real_delivery(built, flow_file):
    """All of them, and a full disk, are `make kill-points`."""
    given = ("--finished", built, "--config", flow_file)
    counts = ("--points", 12, "--random", 0, "--full", 4, "--children", 0)
    command = [sys.executable, "-m", "tests.kill_points", *map(str, (*given, *counts))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed at an operation: 12 runs" in done.stdout and "full disk: 4 runs" in done.stdout
