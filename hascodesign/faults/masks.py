"""A profile as memory files for hardware that loads its faults at run time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from hascodesign.contract.array import site_masks
from hascodesign.contract.types import FaultProfile, Site
from hascodesign.faults.profile import SITES

_WMEM_FIELDS = (("pe", 16), ("simd", 16), ("address", 32), ("xor", 8), ("or", 8), ("and", 8))
_TRANSIENT_FIELDS = (
    ("entry", 32),
    ("pe", 16),
    ("simd", 16),
    ("site", 8),
    ("lo", 8),
    ("hi", 8),
    ("address", 32),
    ("threshold", 40),
)


def mask_files(profile: FaultProfile) -> dict[str, bytes]:
    """The profile's masks and transients for ``$readmemh``, with a manifest.

    Parameters
    ----------
    profile : a checked profile.

    Returns
    -------
    File name -> bytes; one word a line, hexadecimal, fields from the most significant:

    * ``masks_<site>.mem`` for each site but `wmem`: {xor, or, and}, each as wide as the site; one
      word per PE and multiplier in order (pe, simd), per PE where the site has no multiplier.
    * ``masks_wmem.mem``: {pe 16, simd 16, address 32, xor 8, or 8, and 8}, only the words of the
      weight banks that have a fault, in order of their place. The masks are WB bits wide, above
      which and = 1, or = xor = 0.
    * ``transients.mem``: {entry 32, pe 16, simd 16, site 8, lo 8, hi 8, address 32,
      threshold 40}, with threshold = floor(p * 2^32), sites counted wmem, weight, act, product,
      psum, acc from 0, and 0 for a field that the entry does not have.
    * ``masks.json``: depth, width and fields of each file, and the seed of the draws.

    A file that would have no word is left out.
    """
    files: dict[str, bytes] = {}
    listed: list[dict[str, Any]] = []

    def add(name: str, fields: Sequence[tuple[str, int]], rows: Iterable[Sequence[int]]) -> None:
        widths = [width for _, width in fields]
        digits = -(-sum(widths) // 4)
        lines = [f"{_packed(row, widths):0{digits}x}\n" for row in rows]
        if lines:
            files[name] = "".join(lines).encode()
            entry = {"file": name, "depth": len(lines), "width": sum(widths)}
            listed.append({**entry, "fields": [list(field) for field in fields]})

    for site in profile.array.sites:
        if site != "wmem":
            bits = profile.array.site_bits(site)
            add(
                f"masks_{site}.mem",
                [(m, bits) for m in ("xor", "or", "and")],
                _dense(profile, site),
            )
    add("masks_wmem.mem", _WMEM_FIELDS, _wmem(profile))
    add("transients.mem", _TRANSIENT_FIELDS, _transients(profile))
    manifest = {"version": 1, "seed": profile.seed, "files": listed}
    files["masks.json"] = (json.dumps(manifest, indent=1) + "\n").encode()
    return files


def _packed(row: Sequence[int], widths: Sequence[int]) -> int:
    word = 0
    for value, width in zip(row, widths, strict=True):
        word = word << width | value
    return word


def _dense(profile: FaultProfile, site: Site) -> Iterable[Sequence[int]]:
    masks = site_masks(profile, site)
    if masks.active.any():
        yield from zip(
            masks.xor.ravel().tolist(),
            masks.or_.ravel().tolist(),
            masks.and_.ravel().tolist(),
            strict=True,
        )


def _wmem(profile: FaultProfile) -> Iterable[Sequence[int]]:
    words: dict[tuple[int, int, int], list[int]] = {}
    for fault in profile.faults:
        if fault.site != "wmem" or fault.kind == "transient" or fault.bit is None:
            continue
        place = (fault.pe, fault.simd or 0, fault.address or 0)
        word = words.setdefault(place, [0, 0, 0xFF])
        if fault.kind == "flip":
            word[0] |= 1 << fault.bit
        elif fault.kind == "sa1":
            word[1] |= 1 << fault.bit
        else:
            word[2] &= ~(1 << fault.bit)
    return ((*place, *words[place]) for place in sorted(words))


def _transients(profile: FaultProfile) -> Iterable[Sequence[int]]:
    for entry, fault in enumerate(profile.faults):
        if fault.kind != "transient" or fault.site is None or fault.p is None:
            continue
        lo, hi = fault.bits if fault.bits is not None else (fault.bit or 0, fault.bit or 0)
        # a power of two scales a float without rounding, so the floor is exact
        threshold = math.floor(fault.p * 2**32)
        simd = (fault.simd or 0) if profile.array.has_lane(fault.site) else 0
        site = SITES.index(fault.site)
        yield entry, fault.pe, simd, site, lo, hi, fault.address or 0, threshold
