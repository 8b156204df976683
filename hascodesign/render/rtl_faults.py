"""What the fault profile leaves in the Verilog: masks of each faulty PE, bank words, draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hascodesign.contract import array
from hascodesign.contract.array import SiteMasks
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, IntArray, Site


def depends_on_place(profile: FaultProfile) -> bool:
    """Whether a fault acts by the bank address, or by pass, column and step."""
    return any(fault.kind == "transient" or fault.site == "wmem" for fault in profile.faults)


def mask_context(profile: FaultProfile) -> dict[str, Any]:
    """Names of the templates: masks of the PEs that have faults, one literal per site.

    Parameters
    ----------
    profile : a checked profile.
    """
    spec = profile.array
    sites = [{"name": site, "bits": _word_bits(spec, site)} for site in spec.sites]
    masks: dict[Site, SiteMasks] = {
        site: array.site_masks(profile, site) for site in spec.sites if site != "wmem"
    }
    faulty = sorted({fault.pe for fault in profile.faults})
    return {
        "sites": sites,
        "pes": [_pe(profile, pe, masks) for pe in faulty],
        "faulty_pes": f"{spec.pe}'h{sum(1 << pe for pe in faulty):x}",
        "coordinates": int(depends_on_place(profile)),
        "seed": f"{profile.seed & 0xFFFFFFFF:x}",
        "systolic": int(spec.dataflow == "ws"),
    }


def _pe(profile: FaultProfile, pe: int, masks: dict[Site, SiteMasks]) -> dict[str, Any]:
    spec = profile.array
    draws = [
        (entry, fault)
        for entry, fault in enumerate(profile.faults)
        if fault.pe == pe and fault.kind == "transient"
    ]
    words = _words(profile, pe)
    sites = []
    for site in spec.sites:
        bits = _word_bits(spec, site)
        if site == "wmem":
            neutral = f"{{{bits}{{1'b1}}}}", f"{{{bits}{{1'b0}}}}", f"{{{bits}{{1'b0}}}}"
            literals = ("word_and", "word_or", "word_xor") if words else neutral
        else:
            fields = masks[site].and_[pe], masks[site].or_[pe], masks[site].xor[pe]
            one, two, three = (f"{bits}'h{packed(f, spec.site_bits(site))}" for f in fields)
            literals = one, two, three
        flips = [_flip(spec, entry, fault) for entry, fault in draws if fault.site == site]
        sites.append(
            {
                "name": site,
                "and_": literals[0],
                "or_": literals[1],
                "xor": literals[2],
                "flips": flips,
            }
        )
    drawn = [_draw(spec, entry, fault) for entry, fault in draws]
    return {"index": pe, "sites": sites, "words": words, "draws": drawn}


def _words(profile: FaultProfile, pe: int) -> list[dict[str, Any]]:
    """Bank words of one PE that have permanent faults, by address."""
    spec = profile.array
    stuck = [
        f
        for f in profile.faults
        if f.pe == pe and f.site == "wmem" and f.kind != "transient" and f.address is not None
    ]
    addresses = sorted({f.address for f in stuck if f.address is not None})
    place = {address: number for number, address in enumerate(addresses)}
    moved = tuple(replace(f, pe=0, address=place[f.address]) for f in stuck if f.address in place)
    alone = replace(profile, array=replace(spec, pe=1), faults=moved)
    masks = array.site_masks(alone, "wmem", len(addresses))
    bits = spec.weight_bits
    return [
        {
            "address": address,
            "and_": packed(masks.and_[0, :, number], bits),
            "or_": packed(masks.or_[0, :, number], bits),
            "xor": packed(masks.xor[0, :, number], bits),
        }
        for address, number in place.items()
    ]


def _draw(spec: ArraySpec, entry: int, fault: Fault) -> dict[str, Any]:
    """Constants of one transient's hash."""
    site, p = _given(fault)
    low, high = fault.bits or (fault.bit or 0, fault.bit or 0)
    return {
        "entry": entry,
        "bits": spec.site_bits(site),
        "threshold": f"{int(p * 2**32):x}",  # exact: a power of two times a double
        "lowest": low,
        "span": high - low + 1,
    }


def _flip(spec: ArraySpec, entry: int, fault: Fault) -> str:
    """Verilog of the bits that one transient inverts in the word of its PE."""
    site, _ = _given(fault)
    bits, all_bits = spec.site_bits(site), _word_bits(spec, site)
    low = (fault.simd or 0) * bits
    parts = [f"{all_bits - bits - low}'d0"] * (all_bits > bits + low)
    parts += [f"flip_{entry}"] + [f"{low}'d0"] * (low > 0)
    word = f"{{{', '.join(parts)}}}"
    if fault.address is None:
        return word
    return f"(coordinates[127:96] == 32'd{fault.address} ? {word} : {all_bits}'d0)"


def _word_bits(spec: ArraySpec, site: Site) -> int:
    """Bits of a PE's word at a site: one field, or one for each multiplier."""
    return spec.site_bits(site) * (spec.simd if spec.has_lane(site) else 1)


def _given(fault: Fault) -> tuple[Site, float]:
    if fault.site is None or fault.p is None:
        raise ValueError("a checked profile gives every transient its site and its p")
    return fault.site, fault.p


def packed(fields: IntArray, bits: int) -> str:
    """Hex digits of one word per multiplier, multiplier 0 lowest; of a lone word, itself."""
    word = 0
    for place, field in enumerate(fields.ravel().tolist()):
        word |= field << (place * bits)
    return f"{word:x}"


def unused_files(profile: FaultProfile) -> frozenset[str]:
    """Files of the templates that this array does not take: the other dataflow's, the draws'."""
    names = {"has_pe.v" if profile.array.dataflow == "ws" else "has_pe_ws.v"}
    if all(fault.kind != "transient" for fault in profile.faults):
        names.add("has_transient.v")
    return frozenset(names)
