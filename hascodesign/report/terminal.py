"""The report as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hascodesign.contract.results import Accuracy, HlsRun, WholeImages
from hascodesign.report.record import (
    ACCURACIES,
    FlowResult,
    faulty_words,
    masking_words,
    power_words,
    ties_words,
    timing_words,
)


def show(console: Console, result: FlowResult) -> None:
    """Print accuracy, verification and resources, then what is worth a sentence."""
    console.print(accuracy_table(result.network.name, result.heldout, result.accuracy))
    console.print(verification_table(result))
    if result.whole.runs:
        console.print(images_table(result.whole))
    console.print(resources_table(result))
    for line in sentences(result):
        console.print(Text(line))


def accuracy_table(network: str, images: int, accuracy: Mapping[str, Accuracy]) -> Table:
    """Accuracies on so many held-out images with their intervals."""
    table = Table(title=f"{network} on {images} held-out images", title_justify="left")
    table.add_column("accuracy")
    for heading in ("%", "95 % interval"):
        table.add_column(heading, justify="right")
    for key, words in ACCURACIES.items():
        entry = accuracy.get(key)
        if entry is not None:
            style = "bold" if key == "scheduled" else ""
            low, high = entry.ci95
            table.add_row(words, f"{entry.value:.2f}", f"{low:.1f} .. {high:.1f}", style=style)
    return table


def verification_table(result: FlowResult) -> Table:
    """Simulated layers and their mismatches."""
    done = result.verification
    table = Table(
        title=f"Verilog in {done.simulator} against the fault model", title_justify="left"
    )
    for heading in ("run", "layer"):
        table.add_column(heading)
    for heading in ("columns", "integers", "mismatches", "cycles", "s"):
        table.add_column(heading, justify="right")
    for layer in done.layers:
        figures = (layer.columns, layer.outputs, layer.mismatches, layer.cycles)
        table.add_row(
            layer.run, layer.name, *(f"{n:,}" for n in figures), f"{layer.seconds:.1f}",
            style="bold red" if layer.mismatches else "",
        )  # fmt: skip
    return table


def images_table(whole: WholeImages) -> Table:
    """Cycles of each stage of the network in the accelerator."""
    first = whole.runs[0]
    compared = sum(run.outputs for run in whole.runs)
    table = Table(
        title=f"Whole images in the accelerator: {first.images} healthy, {first.images} faulty,"
        f" {compared:,} integers, 0 differ",
        title_justify="left",
    )
    table.add_column("stage")
    for heading in ("cycles", "ideal", "weights loaded", "multipliers busy %"):
        table.add_column(heading, justify="right")
    for stage in first.stages:
        ideal = (f"{stage.ideal_cycles:,}", f"{stage.load_cycles:,}", f"{100 * stage.busy:.1f}")
        table.add_row(
            stage.name, f"{stage.cycles:,}", *(ideal if stage.ideal_cycles else ("-",) * 3)
        )
    table.add_row("image", f"{first.image_cycles:,}", "", "", "", style="bold")
    return table


def hls_words(runs: Sequence[HlsRun]) -> str:
    """What whole images in the compiled C++ showed."""
    told = " and ".join(f"{run.images} images {run.run}" for run in runs)
    compared = sum(run.outputs for run in runs)
    return f"The HLS C++, compiled by g++, gave {told}: {compared:,} integers, 0 differ."


def resources_table(result: FlowResult) -> Table:
    """What the synthesised top module takes of the board."""
    held, percent = result.resources, result.percent
    table = Table(title=f"{result.top} on {result.board.name}, by synthesis", title_justify="left")
    table.add_column("resource")
    for heading in ("used", "available", "%", "guideline %"):
        table.add_column(heading, justify="right")
    for name, total in held.available.items():
        share = percent[name]
        table.add_row(
            name,
            f"{held.used[name]:,}",
            f"{total:,}",
            "-" if share is None else f"{share:.1f}",
            f"{held.guideline[name]:.0f}",
            style="yellow" if share is not None and share > held.guideline[name] else "",
        )
    return table


def sentences(result: FlowResult) -> list[str]:
    """What the tables do not say: recovery, coverage, and every note of the steps."""
    share, done = result.recovery, result.verification
    lines = [
        "Faults cost the plain order less than one point: there is nothing to recover."
        if share is None
        else f"The schedule recovers {100 * share:.1f} % of the accuracy that the faults cost."
    ]
    if done.coverage:
        exercised = sum(c.exercised for c in done.coverage)
        changed = sum(c.changed_accumulator for c in done.coverage)
        lines.append(
            f"Of {len(done.coverage)} faults the verified columns exercised {exercised};"
            f" {changed} changed an accumulator."
        )
    lines += filter(
        None,
        [faulty_words(done), ties_words(result.equivalence), masking_words(result.masking)],
    )
    if result.power is not None:
        lines.append(power_words(result.power))
    if result.whole.hls:
        lines.append(hls_words(result.whole.hls))
    if result.timing is not None:
        lines.append(timing_words(result.timing))
    if result.within_noise is not None:
        lines.append(result.within_noise)
    return [*lines, *result.search.notes, *result.whole.notes, *result.resources.notes]
