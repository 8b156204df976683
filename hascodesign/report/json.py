"""report.json: every figure of a flow, for programs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from hascodesign.common.seal import sealed
from hascodesign.contract.results import Accuracy
from hascodesign.report.record import (
    ACCURACIES,
    FRONT,
    FlowResult,
    describe,
    factor_words,
    faulty_words,
    lowered_words,
    ties_words,
)
from hascodesign.schedule.written import rows_of

VERSION = 1
SLOTS = 1000  # of rows written for faulty slots, told


def build(result: FlowResult) -> dict[str, Any]:
    """The report as plain values, ready for `json.dumps`."""
    network = result.network
    return {
        "version": VERSION,
        "command": result.command,
        "seed": result.seed,
        "board": result.board.name,
        "array": asdict(result.profile.array),
        "profile": {
            "origin": result.origin,
            "seed": result.profile.seed,
            "source": result.profile.source,
            "conditions": dict(result.profile.conditions),
        },
        "model": {
            "name": network.name,
            "dataset": result.dataset,
            "parameters": network.parameters,
            "macs": network.macs,
            "own_macs": result.equivalence.own_macs,
            "branch_rows": result.equivalence.branch_rows,
            "logit_scale": np.asarray(network.logit_scale).tolist(),
            "note": " ".join(
                filter(None, (lowered_words(network, result.equivalence), factor_words(network)))
            ),
        },
        "data": {
            "calibration": result.calibration,
            "heldout": result.heldout,
            "held": result.held,
        },
        "warnings": list(result.warnings),
        "equivalence": _equivalence(result),
        "accuracy": {
            name: _accuracy(entry)
            for name, entry in _in_order(result.accuracy)
            if not name.startswith(FRONT)
        },
        "recovery": result.recovery,
        "within_noise": result.within_noise,
        "schedule": _schedule(result),
        "verification": _verification(result),
        "masked": asdict(result.masking),
        "power": None if result.power is None else dict(result.power),
        "core": asdict(result.whole),
        "files": [
            {"path": path, "sha256": hashlib.sha256(content).hexdigest()}
            for path, content in sorted(result.files.items())
        ],
        "resources": _resources(result),
        "timing": result.timing,
        "steps": [
            {"name": step.name, "seconds": step.seconds, "cached": step.cached}
            for step in result.steps
        ],
        "peak_rss_bytes": result.peak_rss_bytes,
    }


def dumps(report: dict[str, Any]) -> bytes:
    """The report as the bytes of its file, with a digest of them as its last field.

    Raises
    ------
    ValueError
        A figure that is not a number: JSON has no word for it.
    """
    return sealed(report)


def _accuracy(entry: Accuracy) -> dict[str, Any]:
    return {"value": entry.value, "n": entry.n, "ci95": list(entry.ci95)}


def _equivalence(result: FlowResult) -> dict[str, Any]:
    held = result.equivalence
    return {
        "layers": [
            {
                "name": name,
                "compared": compared,
                "values": values,
                "differences": differences,
                "ties": ties,
            }
            for name, compared, values, differences, ties in zip(
                held.layers, held.compared, held.values, held.differences, held.ties, strict=True
            )
        ],
        "images": held.images,
        "clipped": held.clipped,
        "differences": held.total,
        "logit_residual": held.logit_residual,
        "tied": held.tied,
        "note": ties_words(held),
    }


def _schedule(result: FlowResult) -> dict[str, Any]:
    search = result.search
    return {
        "algorithm": search.algorithm,
        "evaluations": search.evaluations,
        "seconds": search.seconds,
        "healthy_loss": search.healthy_loss,
        "loss": search.loss,
        "history": list(search.history),
        "baselines": [
            {"name": b.name, "loss": b.loss, "accuracy": b.accuracy} for b in search.baselines
        ],
        "written": _written(result),
        "slots": _slots(result),
        "passes": {row_map.name: row_map.passes for row_map in search.schedule.layers},
        "notes": list(search.notes),
        "front": _front(result),
    }


def _written(result: FlowResult) -> list[dict[str, Any]] | None:
    """Rows written for their slots, layer by layer; None where all are as trained."""
    written = result.search.written
    if written is None:
        return None
    layers = zip(result.network.layers, rows_of(result.network, written), strict=True)
    return [
        {
            "layer": layer.name,
            "rows": layer.rows,
            "written": len(rows),
            "negated": sum(row.sign < 0 for row in rows),
            "words": sum(len(row.words) for row in rows),
        }
        for layer, rows in layers
    ]


def _slots(result: FlowResult) -> dict[str, Any]:
    """The rows written for faulty slots, those with the largest error left first, at most SLOTS."""
    worst = sorted(result.slots, key=lambda one: (-one.after, -one.before))[:SLOTS]
    return {
        "faulty": len(result.slots),
        "shown": [asdict(one) | {"moves": list(one.moves)} for one in worst],
    }


def _front(result: FlowResult) -> dict[str, Any] | None:
    """The front of several objectives; None where accuracy alone was asked for.

    `rule` says in words how `pick`, the place of the rendered point, was chosen. A point's `loss`
    and `calibration_accuracy` (percent) chose it; `heldout` is what it gives on images that no
    choice has seen. `power` is a share of that of the least passes at nominal voltage, by
    `power_model`.
    """
    front = result.search.front
    if front is None:
        return None
    return {
        "objectives": list(front.objectives),
        "rule": front.rule,
        "power_model": front.power_model,
        "pick": front.pick,
        "points": [
            {
                "passes": point.passes,
                "layer_passes": {m.name: m.passes for m in point.schedule.layers},
                "power": point.power,
                "loss": point.loss,
                "calibration_accuracy": 100 * point.accuracy,
                "heldout": _accuracy(result.accuracy[f"{FRONT}{number:02d}"]),
                "slots": {m.name: m.slots.tolist() for m in point.schedule.layers},
            }
            for number, point in enumerate(front.points)
        ],
    }


def _verification(result: FlowResult) -> dict[str, Any]:
    done = result.verification
    return {
        "simulator": done.simulator,
        "layers": [asdict(layer) for layer in done.layers],
        "mismatches": done.mismatches,
        "faults": [
            {
                "entry": coverage.entry,
                "fault": describe(result.profile.faults[coverage.entry]),
                "exercised": coverage.exercised,
                "changed_accumulator": coverage.changed_accumulator,
            }
            for coverage in done.coverage
        ],
        "note": faulty_words(done),
        "seconds": done.seconds,
    }


def _in_order(found: Mapping[str, Accuracy]) -> list[tuple[str, Accuracy]]:
    """As people read them: a step that was stored gives them by name."""
    places = {name: place for place, name in enumerate(ACCURACIES)}
    return sorted(found.items(), key=lambda item: (places.get(item[0], len(places)), item[0]))


def _resources(result: FlowResult) -> dict[str, Any]:
    held = result.resources
    return {
        "tool": held.tool,
        "top": "has_core" if result.whole.built else "has_array",
        "used": dict(held.used),
        "available": dict(held.available),
        "percent": result.percent,
        "guideline": dict(held.guideline),
        "weights": dict(held.weights),
        "notes": list(held.notes),
    }
