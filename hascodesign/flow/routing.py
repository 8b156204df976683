"""The array's clock after routing on an open stand-in, where a flow is asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hascodesign.board import tools
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request

STEP = "timing"
SEED = 1  # of the placer


def check(request: Request) -> None:
    """Refuse a flow whose last figure could not be had, before its first step.

    Raises
    ------
    ToolNotFound
        yosys or nextpnr-ecp5 is missing; the message holds the command that installs it.
    """
    if request.post_route:
        for name in ("yosys", "nextpnr-ecp5"):
            tools.require(name)


def clock(flow: Flow) -> Mapping[str, Any] | None:
    """Clock of the plan's array between registers, in the words of the report.

    None where the flow was not asked for it.
    """
    if not flow.request.post_route:
        return None
    inputs = (flow.plan, flow.config.render.multipliers, SEED)
    found: dict[str, Any] = flow.store.run(STEP, inputs, lambda: _clock(flow))
    return found


def _clock(flow: Flow) -> dict[str, Any]:
    from hascodesign.board import post_route  # noqa: PLC0415

    got = post_route.post_route_mhz(
        flow.plan.files,
        work=flow.request.out / "timing",
        multipliers=flow.config.render.multipliers,
        seed=SEED,
        progress=flow.display.progress,
    )
    return {
        "top": "has_array",
        "mhz": got.mhz,
        "device": got.device,
        "tool": got.tool,
        "seed": SEED,
        "note": got.note,
        "from": got.path[0].cell if got.path else "",
        "to": got.path[-1].cell if got.path else "",
        "cells": dict(got.cells),
    }
