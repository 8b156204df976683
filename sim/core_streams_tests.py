"""What has_core takes and writes: weights as many as its layers have, every element once.

Environment: HAS_VECTORS, folder with ``images.npz``.
"""

from __future__ import annotations

from typing import Any

import cocotb
from core_bench import CoreBench
from core_job import ImageJob
from core_steps import check, idle, job, ready, wait


class WriteMonitor:
    """Watches the two feature maps: what is written, map after map."""

    def __init__(self, dut: Any) -> None:
        maps = dut.maps
        self._enable, self._address, self._map = (
            maps.write_enable,
            maps.write_address,
            maps.write_map,
        )
        self._banks = len(self._enable)
        self._bits = len(self._address) // self._banks
        self.maps: list[tuple[int, list[int]]] = []  # which, elements in the order of the writes

    def edge(self) -> None:
        """Note the writes of this cycle."""
        enable = int(self._enable.value)
        if not enable:
            return
        which, words = int(self._map.value), str(self._address.value)  # idle banks: unknown bits
        if not self.maps or self.maps[-1][0] != which:
            self.maps.append((which, []))
        for bank in range(self._banks):
            if enable >> bank & 1:
                end = len(words) - bank * self._bits
                word = int(words[end - self._bits : end], 2)
                self.maps[-1][1].append(word * self._banks + bank)


def sizes(images: ImageJob, simd: int) -> list[int]:
    """Elements of the image and of each stage's map but the last, whose results are logits."""
    found, layers = [-(-images.codes.shape[1] // simd) * simd], sorted(images.acc)
    for stage in range(len(images.acc) + len(images.pools) - 1):
        if stage in images.pools:
            found.append(images.pools[stage].shape[1])
        else:
            found.append(images.acc[layers.pop(0)].size // len(images.codes))
    return found


@cocotb.test()
async def every_element_is_written_once(dut: Any) -> None:
    """Into the maps in turn, and nothing beyond their ends."""
    bench = await ready(dut)
    images, monitor = job(), WriteMonitor(dut)
    await idle(bench)
    bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
    bench.weights.send(images.weight_beats(bench.weight_bits))
    while not bench.results.packets:
        await bench.edge()
        monitor.edge()
    wanted = sizes(images, bench.simd)
    assert [which for which, _ in monitor.maps] == [i & 1 for i in range(len(wanted))]
    for (_, elements), size in zip(monitor.maps, wanted, strict=True):
        assert sorted(elements) == list(range(size)), f"{size} elements, each once"


@cocotb.test()
async def no_weight_too_many_is_taken(dut: Any) -> None:
    """Of weights that never end an image takes its own, and none where all are on chip."""
    bench = await ready(dut)
    images = job()
    await idle(bench)
    own = list(images.weight_beats(bench.weight_bits))
    await offer(bench, images, [*own, *[(0, 1)] * 8])
    assert bench.weights.sent == len(own)
    bench.weights.send(())
    await check(bench, images)


async def offer(bench: CoreBench, images: ImageJob, weights: list[tuple[int, int]]) -> None:
    """One image with these weights."""
    bench.weights.send(iter(weights))
    bench.images.send(images.image_beats(bench.simd, bench.act_bits, [0]))
    await bench.until(1)
    await wait(bench, 20)
