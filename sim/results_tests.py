"""has_results alone: every result reaches its bank once, whatever waits for it."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb
from module_bench import any_bits, begin, drive, edge, join, size, split, value

Result = tuple[int, int, int]  # element, code, v


class Case:
    """A module, and what is under way in it."""

    def __init__(self, dut: Any, rng: random.Random) -> None:
        self.dut, self.rng = dut, rng
        names = ("LANES", "BANKS", "CODE_BITS", "V_BITS", "ELEMENT_BITS", "WORD_BITS")
        self.lanes, self.banks, *self.bits, self.word_bits = (size(dut, name) for name in names)
        self.held: list[deque[Result]] = [deque() for _ in range(self.lanes)]
        self.allowed = True  # ready, a cycle late: two more may be on their way

    def offer(self, one_bank: int, share: float, element: int | None) -> None:
        """Results of some lanes."""
        rng, fields = self.rng, []
        valid = 0
        for lane in range(self.lanes):
            code, v = (any_bits(rng, bits) for bits in self.bits[:2])
            where = rng.getrandbits(self.bits[2]) if element is None else element
            fields.append((where, code, v))
            if self.allowed and rng.random() < share:
                valid |= 1 << lane
                self.held[lane].append((where, code, v))
        drive(self.dut, one_bank=one_bank, in_valid=valid)
        for place, (name, bits) in enumerate(
            (("in_element", self.bits[2]), ("in_code", self.bits[0]), ("in_v", self.bits[1]))
        ):
            drive(self.dut, **{name: join([field[place] for field in fields], bits)})

    def leave(self, fits: Any) -> None:
        """One result is out: it must be at the head of a lane."""
        heads = [queue for queue in self.held if queue and fits(queue[0])]
        assert heads, "what leaves must be at the head of a lane"
        heads[0].popleft()

    def taken(self, one_bank: int) -> int:
        """Hold what leaves in this cycle to what waits; how many leave."""
        dut, enable = self.dut, value(self.dut, "write_enable")
        if one_bank:
            assert not enable
            if value(dut, "take"):
                pair = value(dut, "take_element"), value(dut, "take_v")
                self.leave(lambda head: (head[0], head[2]) == pair)
            return value(dut, "take")
        assert not value(dut, "take")
        addresses = split(self.known("write_address", enable), self.word_bits, self.banks)
        codes = split(self.known("write_data", enable), self.bits[0], self.banks)
        for bank in range(self.banks):
            if enable >> bank & 1:
                word, code = addresses[bank], codes[bank]
                self.leave(lambda head, b=bank, w=word, c=code: self.is_at(head, b, w, c))
        return enable.bit_count()

    def is_at(self, head: Result, bank: int, word: int, code: int) -> bool:
        """Whether a result belongs there."""
        place = head[0] // self.banks & ((1 << self.word_bits) - 1)
        return (head[0] % self.banks, place, head[1]) == (bank, word, code)

    def known(self, name: str, enable: int) -> int:
        """An output whose unused banks may hold unknown bits."""
        text = str(getattr(self.dut, name).value)
        width = len(text) // self.banks
        ends = [len(text) - bank * width for bank in range(self.banks)]
        parts = [text[end - width : end] for end in ends]
        return join([int(p, 2) if enable >> b & 1 else 0 for b, p in enumerate(parts)], width)


@cocotb.test()
async def every_result_reaches_its_bank(dut: Any) -> None:
    """Few and many results, to one bank and to all, and as logits; ready and empty as promised."""
    rng = random.Random(1)
    await begin(dut, rst=1, one_bank=0, in_valid=0)
    await edge(dut)
    drive(dut, rst=0)
    await edge(dut)
    for turn in range(24):
        case, one_bank = Case(dut, rng), turn % 3 == 2
        await run(case, int(one_bank), (0.2, 0.6, 1.0)[turn // 3 % 3], turn % 4 == 0)
        if turn % 6 == 5:  # a reset forgets what waits
            case.allowed = True
            case.offer(int(one_bank), 1.0, 0)
            await edge(dut)
            drive(dut, rst=1, in_valid=0)
            await edge(dut)
            await edge(dut)
            drive(dut, rst=0)
            for _ in range(6):
                assert not value(dut, "write_enable") and not value(dut, "take")
                await edge(dut)


async def run(case: Case, one_bank: int, share: float, same: bool) -> None:
    """Results for a while, then none until all have left."""
    dut, idle, left = case.dut, 0, 0
    for cycle in range(160):
        if cycle < 80:
            case.offer(one_bank, share, case.rng.randrange(case.banks) if same else None)
        else:
            drive(dut, in_valid=0)
        case.allowed = bool(value(dut, "ready"))
        waiting = any(case.held)
        await edge(dut)
        moved = case.taken(one_bank)
        left += moved
        idle = 0 if moved or not waiting else idle + 1
        assert idle < 4, "a result must leave while one waits"
        if value(dut, "empty"):
            assert not any(case.held), "empty must not be told while one waits"
        if cycle > 80 and not any(case.held):
            break
    for _ in range(3):
        await edge(dut)
        assert not value(dut, "write_enable") and not value(dut, "take")
    assert not any(case.held) and value(dut, "empty") and value(dut, "ready")
    assert left
