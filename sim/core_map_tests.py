"""Row map, weights and thresholds of has_core written at run time, and maps that are wrong.

Environment: HAS_VECTORS, folder with ``images.npz`` (all weights on chip), ``other.npz`` (the same
images under another row map and other weights) and ``memories.npz`` (the memory words of that).
"""

from __future__ import annotations

from typing import Any

import cocotb
import core_registers as core
import numpy as np
from core_bench import CoreBench
from core_steps import FOLDER, check, idle, job, ready, wait

ROW_MAP = 1  # memory


def memories() -> dict[tuple[int, int], list[int]]:
    """Words by (memory, bits) of the other build."""
    found = {}
    with np.load(FOLDER / "memories.npz", allow_pickle=False) as file:
        for name in file.files:
            memory, width = (int(part) for part in name.split("_")[:2])
            size = -(-width // 8)
            words = [int.from_bytes(row[:size].tobytes(), "little") for row in file[name]]
            found[memory, width] = words
    return found


def preload() -> tuple[int, int] | None:
    """Number and bits of the memory of the preloads, where they are built."""
    with np.load(FOLDER / "memories.npz", allow_pickle=False) as file:
        found = [name.split("_") for name in file.files if name.endswith("_preload")]
    return (int(found[0][0]), int(found[0][1])) if found else None


async def write(bench: CoreBench, words: dict[tuple[int, int], list[int]]) -> None:
    """Fill memories, with the core at rest."""
    await idle(bench)
    await bench.registers.set(core.CONTROL, 0)
    for (memory, width), values in words.items():
        await bench.registers.write_memory(memory, values, width)
    await bench.registers.set(core.CONTROL, core.ENABLE)


def wrong_maps(words: list[int], width: int, pe: int) -> dict[str, list[int]]:
    """The same map with one mistake each; layer 0 has more slots than rows, and two passes."""
    idle_slot = (1 << width) - 1
    first = words[: 2 * pe]
    rows = [place for place, word in enumerate(first) if word != idle_slot]
    spare = first.index(idle_slot)
    maps = {}
    for what, place, word in (
        ("one row twice, another missing", rows[0], words[rows[1]]),
        ("a row missing", rows[0], idle_slot),
        ("a row too many", spare, words[rows[0]]),
        ("a row beyond the layer", rows[2], len(rows)),
        ("the last layer: one row twice", len(words) - 1 - words[::-1].index(1), 0),
    ):
        maps[what] = [*words[:place], word, *words[place + 1 :]]
    return maps


@cocotb.test()
async def a_map_rewritten_between_two_images(dut: Any) -> None:
    """Row map, weights and the rest at run time; reset keeps them, for the next tests too."""
    bench = await ready(dut)
    await check(bench, job())
    await write(bench, memories())
    await check(bench, job("other"))
    await bench.reset()
    await check(bench, job("other"))


@cocotb.test()
async def a_wrong_map_is_told_before_any_image(dut: Any) -> None:
    """It halts with its error bit, and again after each reset, until the map is right."""
    bench = await ready(dut)
    ((key, words),) = (item for item in memories().items() if item[0][0] == ROW_MAP)
    halted = core.ROW_MAP | core.HALTED | core.BUSY
    for what, bad in wrong_maps(words, key[1], bench.pe).items():
        packets, sent = len(bench.results.packets), bench.images.sent
        await write(bench, {key: bad})
        bench.images.send(job("other").image_beats(bench.simd, bench.act_bits, [0]))
        await wait(bench, 20 * len(words))
        assert await bench.registers.value(core.STATUS) == halted, what
        assert bench.images.sent == sent and len(bench.results.packets) == packets, what
        await bench.reset()
        await wait(bench, 20 * len(words))
        assert await bench.registers.value(core.STATUS) == halted, what
        await bench.registers.set(core.CONTROL, core.RESTART)  # and not enabled
        await bench.registers.set(core.STATUS, core.ROW_MAP)
        await write(bench, {key: words})
        await check(bench, job("other"))
        assert await bench.registers.value(core.STATUS) == 0, what


@cocotb.test()
async def a_map_cannot_be_written_while_it_is_checked(dut: Any) -> None:
    """Nor while an image is under way: SLVERR, and the map stays."""
    bench = await ready(dut)
    await bench.registers.set(core.SELECT, ROW_MAP)
    await bench.registers.set(core.CONTROL, core.STRICT)  # the check goes on
    assert await bench.registers.value(core.STATUS) == core.BUSY
    assert await bench.registers.write(core.COMMIT, 0) == core.SLVERR
    await idle(bench)
    await bench.registers.set(core.CONTROL, core.ENABLE)
    bench.images.send(job("other").image_beats(bench.simd, bench.act_bits, [0]))
    while bench.images.sent == 0:
        await bench.edge()
    await bench.registers.set(core.CONTROL, core.STRICT)
    assert await bench.registers.write(core.COMMIT, 0) == core.SLVERR
    await bench.until(1)
    await bench.registers.set(core.CONTROL, core.ENABLE)
    await check(bench, job("other"))
