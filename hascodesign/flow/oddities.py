"""What is said of a healthy network: its accuracy, and a warning where a result may mislead."""

from __future__ import annotations

from hascodesign.common import stats
from hascodesign.contract.types import Dataset, Equivalence, IntegerNetwork

#: Share of the images' values beyond their quantiser's range that is worth a warning.
CLIPPED = 0.01


def healthy(equivalence: Equivalence, dataset: Dataset) -> str:
    """Accuracy of the healthy network, and what it was compared on."""
    found = stats.accuracy(equivalence.integer_correct, equivalence.images)
    brevitas = stats.accuracy(equivalence.brevitas_correct, equivalence.images)
    low, high = found.ci95
    rounded = ""
    if equivalence.rounded is not None:
        rounded = (
            "; rounding at the logits (of a real bias to the accumulator's unit, by a quantiser"
            f" behind them) changes the class of {equivalence.rounded:,} images"
        )
    return (
        f"healthy: {found.value:.2f} % of {found.n:,} held-out images ({low:.1f} .. {high:.1f} %),"
        f" Brevitas {brevitas.value:.2f} %; {equivalence.total} of"
        f" {sum(equivalence.compared):,} codes differ{rounded}; images {dataset.held}"
    )


def warnings(
    network: IntegerNetwork, equivalence: Equivalence, dataset: Dataset, *, factory_weights: bool
) -> tuple[str, ...]:
    """One sentence for each thing that makes a result say less than it seems to.

    Parameters
    ----------
    network : the integer graph.
    equivalence : what comparing it with Brevitas showed.
    dataset : the images.
    factory_weights : whether a user's network came without a checkpoint.
    """
    found = list(dataset.warnings)
    if factory_weights:
        found.append("no --checkpoint was given: the weights are those that the factory returns")
    if equivalence.clipped >= CLIPPED:
        source = network.input
        low, high = (
            (end * source.scale - source.offset) / source.gain for end in (source.low, source.high)
        )
        found.append(
            f"{100 * equivalence.clipped:.1f} % of the images' values lie outside the range of"
            f" their quantiser, {low:.4g} to {high:.4g}, and are saturated: does the scale of"
            " --data fit the network?"
        )
    found += _chance(equivalence, dataset)
    return tuple(found)


def _chance(equivalence: Equivalence, dataset: Dataset) -> list[str]:
    labels = dataset.heldout.labels
    counts = [int((labels == label).sum()) for label in set(labels.tolist())]
    common = 100 * max(counts) / len(labels)
    found = stats.accuracy(equivalence.integer_correct, equivalence.images)
    if found.ci95[0] > common:
        return []
    return [
        f"the healthy network cannot be told from guessing: {found.value:.2f} % of {found.n:,}"
        f" images, where naming the most frequent class alone gives {common:.2f} %"
    ]
