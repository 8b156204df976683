"""What makes a fault profile sound, with one line for everything that does not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import get_args

from hascodesign.contract.errors import FaultProfileError
from hascodesign.contract.types import ArraySpec, Dataflow, Fault, FaultProfile, Kind, Site

SITES: tuple[Site, ...] = get_args(Site)
KINDS: tuple[Kind, ...] = get_args(Kind)
DATAFLOWS: tuple[Dataflow, ...] = get_args(Dataflow)
FIELDS = ("pe", "simd", "site", "bit", "kind", "address", "p", "bits")  # the order of the files
ARRAY_FIELDS = (
    "pe",
    "simd",
    "weight_bits",
    "act_bits",
    "acc_bits",
    "dataflow",
    "wmem_depth",
)

MAX_ENTRIES = 250_000  # ten times what the largest board shows at its crash voltage
MAX_SEED = (1 << 32) - 1  # the transient draw hashes 32-bit words
MAX_DEPTH = 1 << 32
MAX_INTEGER = 1 << 63
ARRAY_RANGES = {
    "pe": (1, 1 << 16),
    "simd": (1, 1 << 16),
    "weight_bits": (1, 8),
    "act_bits": (1, 8),
    "acc_bits": (16, 32),
    "wmem_depth": (0, MAX_DEPTH),
}
MAX_TEXT = 10_000  # characters of `source` and of a condition
_CONDITION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def check(profile: FaultProfile, words: int | None = None) -> FaultProfile:
    """Return ``profile`` if every rule of the array contract holds for it.

    Parameters
    ----------
    profile : what to check.
    words : words that the network takes in each weight bank; the bank's depth where the array
        leaves it open (``wmem_depth`` 0). None = not known yet.

    Returns
    -------
    The same profile.

    Raises
    ------
    FaultProfileError
        One line. Entries are numbered from 0, as the transient draw numbers them.
    """
    array = check_array(profile.array)
    depth = _bank_depth(array, words)
    _check_head(profile)
    taken: dict[tuple[object, ...], int] = {}  # permanent place -> entry
    on_pe: dict[int, int] = {}  # PE -> its first entry
    dead: dict[int, int] = {}  # PE -> the entry that declares it dead
    for entry, fault in enumerate(profile.faults):
        problem = entry_problem(fault, array, depth) or _clash(entry, fault, taken, on_pe, dead)
        if problem is not None:
            raise FaultProfileError(f"entry {entry}: {problem}")
    return profile


def check_array(array: ArraySpec) -> ArraySpec:
    """Return ``array`` if its sizes, widths and dataflow are ones the contract knows."""
    for name, (low, high) in ARRAY_RANGES.items():
        problem = range_problem(f"array.{name}", getattr(array, name), low, high)
        if problem is not None:
            raise FaultProfileError(problem)
    if array.dataflow not in DATAFLOWS:
        raise FaultProfileError(
            f"array.dataflow must be {one_of(DATAFLOWS)}, not {shown(array.dataflow)}"
        )
    return array


def entry_problem(fault: Fault, array: ArraySpec, depth: int) -> str | None:
    """What is wrong with one entry by itself, or None.

    ``depth`` is the number of words of a weight bank, the largest there can be where not fixed.
    """
    if fault.kind not in KINDS:
        return f"kind must be {one_of(KINDS)}, not {shown(fault.kind)}"
    problem = range_problem("pe", fault.pe, 0, array.pe - 1)
    if problem is not None:
        return problem
    if fault.kind == "dead":
        return _extra(fault, ("site", "simd", "bit", "address", "p", "bits"), "kind dead")
    return (
        _site_problem(fault, array)
        or _place_problem(fault, array, depth)
        or _bit_problem(fault, array)
    )


def _site_problem(fault: Fault, array: ArraySpec) -> str | None:
    if fault.site is None:
        return f"site must be given for kind {fault.kind}"
    if fault.site not in SITES:
        return f"site must be {one_of(SITES)}, not {shown(fault.site)}"
    if fault.site not in array.sites:
        return f"site {fault.site} must be in an array of dataflow ws, not {array.dataflow}"
    return None


def _place_problem(fault: Fault, array: ArraySpec, depth: int) -> str | None:
    site = fault.site
    if site is None:
        return None
    if array.has_lane(site):
        problem = _required(fault, "simd", f"site {site}", array.simd - 1)
    else:
        problem = _extra(fault, ("simd",), f"site {site} of dataflow {array.dataflow}")
    if problem is not None:
        return problem
    if site == "wmem":
        return _required(fault, "address", "site wmem", depth - 1)
    return _extra(fault, ("address",), f"site {site}")


def _bit_problem(fault: Fault, array: ArraySpec) -> str | None:
    site = fault.site
    if site is None:
        return None
    top = array.site_bits(site) - 1
    if fault.kind == "transient":
        return _chance_problem(fault.p) or _transient_bit_problem(fault, site, top)
    return _extra(fault, ("p", "bits"), f"kind {fault.kind}") or _required(
        fault, "bit", f"site {site}", top
    )


def _chance_problem(p: object) -> str | None:
    if p is None:
        return "p must be given for kind transient"
    if isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1:  # NaN is not
        return None
    return f"p must be a number in [0, 1], not {shown(p)}"


def _transient_bit_problem(fault: Fault, site: Site, top: int) -> str | None:
    if (fault.bit is None) == (fault.bits is None):
        came = "neither" if fault.bit is None else "both"
        return f"either bit or bits must be given for kind transient, not {came}"
    if fault.bits is None:
        return _required(fault, "bit", f"site {site}", top)
    return _bits_problem(fault.bits, site, top)


def _bits_problem(bits: object, site: Site, top: int) -> str | None:
    if not isinstance(bits, tuple) or len(bits) != 2:
        return f"bits must be a pair [lo, hi], not {shown(bits)}"
    lo, hi = bits
    for value in (lo, hi):
        problem = range_problem(f"bits at site {site}", value, 0, top)
        if problem is not None:
            return problem
    return None if lo <= hi else f"bits must be [lo, hi] with lo <= hi, not [{lo}, {hi}]"


def _clash(
    entry: int,
    fault: Fault,
    taken: dict[tuple[object, ...], int],
    on_pe: dict[int, int],
    dead: dict[int, int],
) -> str | None:
    """What is wrong with an entry beside the ones before it, which the dictionaries hold."""
    if fault.pe in dead:
        return f"pe {fault.pe} must have no entry besides its dead entry {dead[fault.pe]}"
    if fault.kind == "dead":
        if fault.pe in on_pe:
            return (
                f"dead must be the only entry of pe {fault.pe}, which has entry {on_pe[fault.pe]}"
            )
        dead[fault.pe] = entry
    on_pe.setdefault(fault.pe, entry)
    if fault.kind in ("transient", "dead"):
        return None
    first = taken.setdefault((fault.pe, fault.simd, fault.site, fault.address, fault.bit), entry)
    if first != entry:
        return f"a bit must have one permanent entry, not two: entry {first} sits on the same bit"
    return None


def _check_head(profile: FaultProfile) -> None:
    problem = range_problem("seed", profile.seed, 0, MAX_SEED) or _text_problem(
        "source", profile.source
    )
    for key, value in profile.conditions.items():
        problem = problem or condition_problem(key, value)
    if problem is not None:
        raise FaultProfileError(problem)
    check_count(profile.faults)


def check_count(faults: Sequence[object]) -> None:
    """Refuse more entries than a profile may have, before time goes into them."""
    if len(faults) > MAX_ENTRIES:
        raise FaultProfileError(
            f"entry {MAX_ENTRIES}: a profile must have at most {MAX_ENTRIES} entries, "
            f"not {len(faults)}"
        )


def condition_problem(key: object, value: object) -> str | None:
    """What is wrong with one of the conditions, or None."""
    if not isinstance(key, str) or not _CONDITION.fullmatch(key):
        return (
            "a name in conditions must be 1 to 64 letters, digits and _ . - "
            f"starting with a letter, not {shown(key)}"
        )
    name = f"conditions.{key}"
    if isinstance(value, str):
        return _text_problem(name, value)
    if isinstance(value, bool):
        return None
    if type(value) is int:
        return range_problem(name, value, -MAX_INTEGER, MAX_INTEGER - 1)
    if type(value) is float and math.isfinite(value):
        return None
    return f"{name} must be text, a finite number or true or false, not {shown(value)}"


def _text_problem(name: str, value: object) -> str | None:
    if not isinstance(value, str):
        return f"{name} must be text, not {shown(value)}"
    if len(value) > MAX_TEXT:
        return f"{name} must be at most {MAX_TEXT} characters, not {len(value)}"
    if any("\ud800" <= c <= "\udfff" for c in value):
        return f"{name} must be Unicode text, not {shown(value)}"
    return None


def _bank_depth(array: ArraySpec, words: int | None) -> int:
    if words is None:
        return array.wmem_depth or MAX_DEPTH
    if array.wmem_depth and words > array.wmem_depth:
        raise FaultProfileError(
            f"array.wmem_depth must hold the {words} words of the network, not {array.wmem_depth}"
        )
    return array.wmem_depth or words


def _required(fault: Fault, name: str, where: str, high: int) -> str | None:
    value = getattr(fault, name)
    if value is None:
        return f"{name} must be given for {where}"
    return range_problem(f"{name} at {where}", value, 0, high)


def _extra(fault: Fault, names: Sequence[str], where: str) -> str | None:
    for name in names:
        value = getattr(fault, name)
        if value is not None:
            return f"{name} must be absent for {where}, not {shown(value)}"
    return None


def range_problem(name: str, value: object, low: int, high: int) -> str | None:
    """What is wrong with a value that must be an integer from ``low`` to ``high``, or None."""
    if type(value) is not int:  # a bool is an int to isinstance
        return f"{name} must be an integer, not {shown(value)}"
    if not low <= value <= high:
        return f"{name} must be {low}..{high}, not {shown(value)}"
    return None


def one_of(names: Sequence[str]) -> str:
    """``a, b or c``."""
    return ", ".join(names[:-1]) + " or " + names[-1]


def shown(value: object) -> str:
    """``value`` for an error message: one short line whatever it is."""
    result = f"a {type(value).__name__}"
    if value is None:
        result = "null"
    elif isinstance(value, bool):
        result = str(value).lower()
    elif isinstance(value, str):
        result = ascii(value if len(value) <= 40 else value[:40] + "...")
    elif isinstance(value, float):
        result = str(value)
    elif isinstance(value, int):
        result = str(value) if abs(value) < 10**20 else "an integer of more than 20 digits"
    elif isinstance(value, Mapping):
        result = "an object"
    elif isinstance(value, list | tuple):
        result = "a list"
    return result
