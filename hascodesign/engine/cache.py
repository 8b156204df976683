"""Least recently used entries go first; the bytes kept are bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteLru(Generic[Value]):
    """A mapping that holds at most ``limit`` bytes of values."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        """The value, which becomes the most recently used, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep ``value`` of ``size`` bytes; what is larger than the limit is not kept."""
        if size > self.limit:
            return
        old = self._entries.pop(key, None)
        self.held += size - (old[1] if old else 0)
        self._entries[key] = (value, size)
        while self.held > self.limit:
            _, (_, dropped) = self._entries.popitem(last=False)
            self.held -= dropped
