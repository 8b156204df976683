"""Independent parts of one sum, each on a thread of its own; the same result however many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What a function gives for each item, in the order of the items.

    On as many threads as the kernels use (``NUMBA_NUM_THREADS``). For functions that spend their
    time in numpy, which lets other threads run.
    """
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        yield from pool.map(function, items)
