"""Every rule of a fault profile, and the words of its error."""

from __future__ import annotations

from typing import Any

import pytest

from hascodesign.contract.errors import FaultProfileError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.faults.profile import check

OS = ArraySpec(4, 2, 4, 8, 24, "os", 100)
WS = ArraySpec(4, 2, 4, 8, 24, "ws", 100)


def message(*faults: Fault, array: ArraySpec = OS, words: int | None = None, **head: Any) -> str:
    with pytest.raises(FaultProfileError) as caught:
        check(FaultProfile(array, faults, **head), words)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def fault(**fields: Any) -> Fault:
    return Fault(**({"pe": 0, "kind": "sa1"} | fields))


GOOD = fault(pe=3, site="product", simd=1, bit=12)


def test_every_site_and_kind_of_os_passes() -> None:
    faults = (
        GOOD,
        fault(site="wmem", simd=0, bit=3, address=99),
        fault(site="weight", simd=0, bit=3, kind="sa0"),
        fault(site="act", simd=1, bit=7, kind="flip"),
        fault(site="psum", bit=23),
        fault(site="psum", bit=23, kind="transient", p=1.0),
        fault(site="psum", bits=(6, 14), kind="transient", p=0),
        fault(pe=1, kind="dead"),
    )
    profile = FaultProfile(OS, faults, 2**32 - 1, "BIST", {"voltage": 0.55, "board": "x", "n": 1})
    assert check(profile) is profile
    assert check(profile, 100) is profile


def test_ws_has_acc_and_a_psum_per_multiplier() -> None:
    check(FaultProfile(WS, (fault(site="acc", bit=0), fault(site="psum", simd=1, bit=0))))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (dict(pe=4, site="psum", bit=0), "pe must be 0..3, not 4"),
        (dict(pe=-1, site="psum", bit=0), "pe must be 0..3, not -1"),
        (dict(pe=True, site="psum", bit=0), "pe must be an integer, not true"),
        (dict(pe=1.0, site="psum", bit=0), "pe must be an integer, not 1.0"),
        (dict(pe="1", site="psum", bit=0), "pe must be an integer, not '1'"),
        (dict(site="product", simd=2, bit=0), "simd at site product must be 0..1, not 2"),
        (dict(site="product", bit=0), "simd must be given for site product"),
        (dict(site="psum", simd=0, bit=0), "simd must be absent for site psum of dataflow os"),
        (dict(site="weight", simd=0, bit=4), "bit at site weight must be 0..3, not 4"),
        (dict(site="act", simd=0, bit=8), "bit at site act must be 0..7, not 8"),
        (dict(site="product", simd=0, bit=13), "bit at site product must be 0..12, not 13"),
        (dict(site="psum", bit=24), "bit at site psum must be 0..23, not 24"),
        (dict(site="psum", bit=-1), "bit at site psum must be 0..23, not -1"),
        (dict(site="psum"), "bit must be given for site psum"),
        (dict(site="psum", bit=10**30), "not an integer of more than 20 digits"),
        (dict(bit=0), "site must be given for kind sa1"),
        (
            dict(site="lut", bit=0),
            "site must be wmem, weight, act, product, psum or acc, not 'lut'",
        ),
        (dict(site="acc", bit=0), "site acc must be in an array of dataflow ws, not os"),
        (dict(site="psum", bit=0, kind="sa2"), "kind must be sa0, sa1, flip, transient or dead"),
        (dict(site="wmem", simd=0, bit=0), "address must be given for site wmem"),
        (dict(site="wmem", simd=0, bit=0, address=100), "address at site wmem must be 0..99"),
        (dict(site="psum", bit=0, address=1), "address must be absent for site psum, not 1"),
        (dict(site="psum", bit=0, p=0.5), "p must be absent for kind sa1, not 0.5"),
        (dict(site="psum", bits=(0, 1)), "bits must be absent for kind sa1, not a list"),
        (dict(kind="dead", site="psum"), "site must be absent for kind dead, not 'psum'"),
        (dict(kind="dead", bit=0), "bit must be absent for kind dead, not 0"),
        (dict(kind="transient", site="psum", bit=0), "p must be given for kind transient"),
        (dict(kind="transient", site="psum", p=0.1), "either bit or bits must be given"),
        (dict(kind="transient", site="psum", p=0.1, bit=1, bits=(0, 1)), "transient, not both"),
        (
            dict(kind="transient", site="psum", p=1.5, bit=0),
            "p must be a number in [0, 1], not 1.5",
        ),
        (dict(kind="transient", site="psum", p=-0.1, bit=0), "p must be a number in [0, 1]"),
        (dict(kind="transient", site="psum", p=float("nan"), bit=0), "in [0, 1], not nan"),
        (dict(kind="transient", site="psum", p="0.5", bit=0), "in [0, 1], not '0.5'"),
        (dict(kind="transient", site="psum", p=True, bit=0), "in [0, 1], not true"),
        (dict(kind="transient", site="psum", p=0.5, bits=(3, 2)), "lo <= hi, not [3, 2]"),
        (dict(kind="transient", site="psum", p=0.5, bits=(3, 24)), "must be 0..23, not 24"),
        (dict(kind="transient", site="psum", p=0.5, bits=(3,)), "bits must be a pair [lo, hi]"),
    ],
)
def test_a_bad_entry_is_named(bad: dict[str, Any], words: str) -> None:
    said = message(GOOD, fault(**bad))
    assert said.startswith("entry 1: ")
    assert words in said


def test_simd_is_required_for_psum_of_ws() -> None:
    assert "entry 0: simd must be given for site psum" in message(
        fault(site="psum", bit=0), array=WS
    )
    assert "simd must be absent for site acc" in message(fault(site="acc", simd=0, bit=0), array=WS)


def test_two_permanent_entries_on_one_bit() -> None:
    one = fault(site="wmem", simd=0, bit=1, address=5)
    said = message(GOOD, one, fault(site="wmem", simd=0, bit=1, address=5, kind="flip"))
    assert said == (
        "entry 2: a bit must have one permanent entry, not two: entry 1 sits on the same bit"
    )
    check(FaultProfile(OS, (one, fault(site="wmem", simd=0, bit=1, address=6))))
    check(FaultProfile(OS, (one, fault(site="wmem", simd=1, bit=1, address=5))))
    check(FaultProfile(OS, (one, fault(site="wmem", simd=0, bit=2, address=5))))


def test_transients_may_share_a_bit_with_anything() -> None:
    again = fault(site="psum", bit=3, kind="transient", p=0.5)
    check(FaultProfile(OS, (fault(site="psum", bit=3), again, again)))


def test_nothing_stands_beside_dead() -> None:
    dead = fault(pe=3, kind="dead")
    assert message(dead, GOOD) == "entry 1: pe 3 must have no entry besides its dead entry 0"
    assert message(dead, dead).startswith("entry 1: pe 3 must have no entry")
    assert message(GOOD, dead) == "entry 1: dead must be the only entry of pe 3, which has entry 0"
    transient = fault(pe=3, site="psum", bit=3, kind="transient", p=0.5)
    assert message(transient, dead).startswith("entry 1: dead must be the only entry")
    check(FaultProfile(OS, (dead, fault(pe=2, kind="dead"))))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("pe", 0, "array.pe must be 1..65536, not 0"),
        ("simd", 0, "array.simd must be 1..65536, not 0"),
        ("weight_bits", 9, "array.weight_bits must be 1..8, not 9"),
        ("weight_bits", 0, "array.weight_bits must be 1..8, not 0"),
        ("act_bits", 9, "array.act_bits must be 1..8, not 9"),
        ("acc_bits", 15, "array.acc_bits must be 16..32, not 15"),
        ("acc_bits", 33, "array.acc_bits must be 16..32, not 33"),
        ("acc_bits", "24", "array.acc_bits must be an integer, not '24'"),
        ("dataflow", "is", "array.dataflow must be os or ws, not 'is'"),
        ("wmem_depth", -1, "array.wmem_depth must be 0..4294967296, not -1"),
    ],
)
def test_a_bad_array_is_named(field: str, value: Any, words: str) -> None:
    fields = dict(pe=4, simd=2, weight_bits=4, act_bits=8, acc_bits=24) | {field: value}
    assert message(array=ArraySpec(**fields)) == words


def test_words_fix_an_open_depth() -> None:
    open_depth = ArraySpec(4, 2, 4, 8, 24)
    at = fault(site="wmem", simd=0, bit=0, address=100)
    check(FaultProfile(open_depth, (at,)))
    check(FaultProfile(open_depth, (at,)), 101)
    assert message(at, array=open_depth, words=100) == (
        "entry 0: address at site wmem must be 0..99, not 100"
    )
    assert message(words=101) == "array.wmem_depth must hold the 101 words of the network, not 100"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (dict(seed=-1), "seed must be 0..4294967295, not -1"),
        (dict(seed=2**32), "seed must be 0..4294967295, not 4294967296"),
        (dict(source=3), "source must be text, not 3"),
        (dict(source="\ud800"), "source must be Unicode text"),
        (dict(source="x" * 10_001), "source must be at most 10000 characters"),
        (dict(conditions={"v": float("inf")}), "conditions.v must be text, a finite number"),
        (dict(conditions={"v": None}), "conditions.v must be text, a finite number or"),
        (dict(conditions={"v": 2**63}), "conditions.v must be -9223372036854775808.."),
        (dict(conditions={"a b": 1}), "a name in conditions must be 1 to 64 letters"),
    ],
)
def test_a_bad_head_is_named(head: dict[str, Any], words: str) -> None:
    assert words in message(**head)


def test_the_limit_of_entries_is_said() -> None:
    assert message(*[GOOD] * 250_001) == (
        "entry 250000: a profile must have at most 250000 entries, not 250001"
    )
