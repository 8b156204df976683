"""What the rendered and the simulated files of a build have to say of one another."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from hascodesign.errors import VerificationMismatch
from hascodesign.render import hls, rom
from hascodesign.types import BuildPlan, IntegerNetwork, Schedule


def check_memories(
    plan: BuildPlan, network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool]
) -> None:
    """Hold every memory file against the network and the map, byte by byte.

    The simulated columns need not come near every threshold: a bit that they pass over would stay
    wrong in silence.

    Raises
    ------
    VerificationMismatch
        A file that is not what the network and the map give.
    """
    held = plan.under("roms")
    for path, wanted in rom.rom_files(rom.build_roms(network, schedule, on_chip)).items():
        if held.get(path.removeprefix("roms/")) != wanted:
            raise VerificationMismatch(f"{path} must hold what the network and the map give")


def hls_vectors(
    vectors: Mapping[str, bytes],
    network: IntegerNetwork,
    schedule: Schedule,
    on_chip: Sequence[bool],
) -> dict[str, bytes]:
    """Inputs of the HLS test bench, hls/vectors/<layer>.txt: the healthy vectors as text."""
    made = {}
    for layer, row_map, kept in zip(network.layers, schedule.layers, on_chip, strict=True):
        with np.load(io.BytesIO(vectors[f"vectors/healthy/{layer.name}.npz"])) as data:
            made[f"hls/vectors/{layer.name}.txt"] = hls.hls_vectors(
                layer, row_map, schedule.array, data, weights_port=not kept
            )
    return made
