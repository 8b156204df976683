"""report.html: one page without any other file, for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from hascodesign.report import array_map, json, plots
from hascodesign.report.record import (
    ACCURACIES,
    FlowResult,
    describe,
    masking_words,
    power_words,
    profile_words,
    timing_words,
)

SHOWN_SLOTS = 40  # of rows written for faulty slots, on the page
_TEMPLATE = "report.html.j2"


def render(result: FlowResult) -> bytes:
    """The page: the same bytes for the same result."""
    return page(Path(__file__).with_name(_TEMPLATE), context(result))


def page(template: Path, values: Mapping[str, Any]) -> bytes:
    """A page of a template: whatever stands in ``values`` is text, never markup."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(values).encode()


def context(result: FlowResult) -> dict[str, Any]:
    """What the template shows."""
    profile, schedule, front = result.profile, result.search.schedule, result.search.front
    report = json.build(result)
    return {
        "report": report,
        "shown_slots": report["schedule"]["slots"]["shown"][:SHOWN_SLOTS],
        "board": result.board,
        "names": ACCURACIES,
        "faults": _faults(result),
        "masked": masking_words(result.masking),
        "origin": profile_words(result),
        "power": "" if result.power is None else power_words(result.power),
        "clock": "" if result.timing is None else timing_words(result.timing),
        "severities": array_map.SEVERITIES,
        "left_out": array_map.left_out(profile, schedule),
        "lost": result.accuracy["integer"].value - result.accuracy["faulty_identity"].value,
        "map_svg": array_map.array_map(profile, schedule),
        "convergence_svg": plots.convergence(result.search),
        "front_svg": plots.trade_off(result, front) if front is not None else "",
        "accuracy_svg": plots.accuracy_bars(result),
        "resources_svg": plots.resource_bars(result),
    }


def _faults(result: FlowResult) -> list[dict[str, Any]]:
    """Each fault with where it is, how bad, and what the verification showed of it."""
    coverage = {entry.entry: entry for entry in result.verification.coverage}
    return [
        {
            "entry": entry,
            "words": describe(fault),
            "severity": array_map.severity(fault, result.profile.array),
            "coverage": coverage.get(entry),
        }
        for entry, fault in enumerate(result.profile.faults)
    ]
