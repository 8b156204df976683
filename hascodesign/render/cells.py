"""A notebook out of a Python file in the percent format: what jupytext reads, as plain JSON."""

from __future__ import annotations

import json
import re
from typing import Any

_CELL = re.compile(r"^# %%(?P<markdown> \[markdown\])?\n", re.MULTILINE)


def notebook(source: str) -> bytes:
    """The notebook of a file's cells, without outputs; what stands before the first is left out.

    Parameters
    ----------
    source : cells that begin with ``# %%`` or ``# %% [markdown]``; the text of the latter stands
        in comments.
    """
    marks = list(_CELL.finditer(source))
    ends = [mark.start() for mark in marks[1:]] + [len(source)]
    cells = [
        _cell(place, source[mark.end() : end].strip("\n"), bool(mark["markdown"]))
        for place, (mark, end) in enumerate(zip(marks, ends, strict=True))
    ]
    document = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _cell(place: int, text: str, markdown: bool) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": "markdown" if markdown else "code",
        "id": f"cell-{place}",
        "metadata": {},
    }
    if markdown:
        text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
    else:
        cell |= {"execution_count": None, "outputs": []}
    return cell | {"source": text.splitlines(keepends=True)}
