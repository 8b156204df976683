"""The AXI4-Lite side of a bench: five channels that move independently of one another."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from streams import Pauses


class Source:
    """Sends what is put into it; ``hold`` keeps it from showing more."""

    def __init__(self, valid: Any, ready: Any, fields: Sequence[Any], pauses: Pauses) -> None:
        self._valid, self._ready, self._fields, self._pauses = valid, ready, fields, pauses
        self._queue: deque[tuple[int, ...]] = deque()
        self._showing = False
        self.hold = False
        for handle in (valid, *fields):
            handle.value = 0

    def put(self, *values: int) -> None:
        """One beat to come."""
        self._queue.append(values)

    def edge(self) -> None:
        """Note whether the shown beat was taken, and show the next."""
        if self._showing and not int(self._ready.value):
            return
        showing = bool(self._queue) and not self.hold and not self._pauses()
        if showing:
            for field, value in zip(self._fields, self._queue.popleft(), strict=True):
                field.value = value
        if showing or self._showing:
            self._valid.value = int(showing)
        self._showing = showing


class Sink:
    """Takes what comes; ``hold`` keeps it from being ready."""

    def __init__(self, valid: Any, ready: Any, fields: Sequence[Any], pauses: Pauses) -> None:
        self._valid, self._ready, self._fields, self._pauses = valid, ready, fields, pauses
        self._open = True
        self.hold = False
        self.taken: list[tuple[int, ...]] = []
        ready.value = 1

    def edge(self) -> None:
        """Take the shown beat, if this side was ready, and choose readiness anew."""
        if self._open and int(self._valid.value):
            self.taken.append(tuple(int(field.value) for field in self._fields))
        ready = not self.hold and not self._pauses()
        if ready != self._open:
            self._ready.value = int(ready)
        self._open = ready


class Lite:
    """A manager: what is asked goes out, what is answered is kept in order."""

    def __init__(self, dut: Any, prefix: str, pauses: int | None = None) -> None:
        def part(kind: Any, channel: str, fields: tuple[str, ...], place: int) -> Any:
            seed = None if pauses is None else pauses + place
            handles = [getattr(dut, f"{prefix}_{channel}{name}") for name in fields]
            valid, ready = (getattr(dut, f"{prefix}_{channel}{n}") for n in ("valid", "ready"))
            return kind(valid, ready, handles, Pauses(seed, 0.5))

        self.aw: Source = part(Source, "aw", ("addr",), 0)
        self.w: Source = part(Source, "w", ("data", "strb"), 1)
        self.b: Sink = part(Sink, "b", ("resp",), 2)
        self.ar: Source = part(Source, "ar", ("addr",), 3)
        self.r: Sink = part(Sink, "r", ("data", "resp"), 4)
        self._writes = self._reads = 0

    def write(self, address: int, value: int, strobe: int = 0xF) -> None:
        """Ask for a write."""
        self._writes += 1
        self.aw.put(address)
        self.w.put(value, strobe)

    def read(self, address: int) -> None:
        """Ask for a read."""
        self._reads += 1
        self.ar.put(address)

    @property
    def settled(self) -> bool:
        """All that was asked has been answered."""
        return self._writes == len(self.b.taken) and self._reads == len(self.r.taken)

    def abandon(self) -> None:
        """A reset: what was asked is not answered."""
        self._writes, self._reads = len(self.b.taken), len(self.r.taken)

    def edge(self) -> None:
        """One clock edge; nothing moves where nothing is asked."""
        if not self.settled:
            for part in (self.aw, self.w, self.b, self.ar, self.r):
                part.edge()
