"""Watches what a design drives on its AXI channels: the rules that hold whatever is computed.

While valid waits for ready, valid stays and the payload stands still; valid is known after reset;
every request has one answer, in time. A breach fails the test in which it happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

ANSWERED = 200  # cycles in which the answer to a whole request must show: FETCH takes the longest


async def watch(
    dut: Any, prefix: str, payload: tuple[str, ...], taken: Callable[[], None] | None = None
) -> None:
    """Hold one channel to its rules; sleeps while valid is 0. ``taken`` is called for each beat.

    ``payload`` names ports of ``dut``.
    """
    valid, ready = getattr(dut, f"{prefix}valid"), getattr(dut, f"{prefix}ready")
    fields = [getattr(dut, name) for name in payload]
    edge, rise, reset = RisingEdge(dut.clk), RisingEdge(valid), dut.rst
    waiting: list[str] | None = None
    while True:
        if waiting is None and str(valid.value) == "0":
            await rise
        await edge
        if str(reset.value) != "0":
            waiting = None
            continue
        now = str(valid.value)
        assert now in "01", f"{prefix}valid must be 0 or 1 after reset, not {now}"
        if waiting is not None:
            assert now == "1", f"{prefix}valid must stay until {prefix}ready"
            shown = [str(field.value) for field in fields]
            moved = [name for name, a, b in zip(payload, waiting, shown, strict=True) if a != b]
            assert not moved, f"{moved[0]} must stand still until {prefix}ready"
        if now == "1" and str(ready.value) == "1":
            waiting = None
            if taken is not None:
                taken()
        elif now == "1":
            waiting = [str(field.value) for field in fields] if waiting is None else waiting


class LiteMonitor:
    """The five channels of an AXI4-Lite port, and one answer for each request."""

    PAYLOAD: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("aw", ("addr",)),
        ("w", ("data", "strb")),
        ("b", ("resp",)),
        ("ar", ("addr",)),
        ("r", ("data", "resp")),
    )

    def __init__(self, dut: Any, prefix: str) -> None:
        self._dut, self._prefix = dut, prefix
        self.count = {name: 0 for name, _ in self.PAYLOAD}
        for name, payload in self.PAYLOAD:
            channel = f"{prefix}_{name}"
            names = tuple(f"{channel}{field}" for field in payload)
            cocotb.start_soon(watch(dut, channel, names, self._taking(name)))

    def _taking(self, name: str) -> Callable[[], None]:
        def taken() -> None:
            self.count[name] += 1
            answer, asked = ("r", ("ar",)) if name in ("ar", "r") else ("b", ("aw", "w"))
            requests = min(self.count[channel] for channel in asked)
            assert self.count[answer] <= requests, f"{answer} must not answer what was not asked"
            if requests > self.count[answer]:
                cocotb.start_soon(self._answer(answer, self.count[answer]))

        return taken

    async def _answer(self, name: str, before: int) -> None:
        """An answer shows in time, or has been taken; a reset excuses it."""
        valid = getattr(self._dut, f"{self._prefix}_{name}valid")
        for _ in range(ANSWERED):
            await RisingEdge(self._dut.clk)
            if str(valid.value) == "1" or self.count[name] > before:
                return
            if str(self._dut.rst.value) != "0":
                self.count = dict.fromkeys(self.count, 0)
                return
        raise AssertionError(f"{name}valid must come within {ANSWERED} cycles of its request")
