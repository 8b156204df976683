"""One table of registers: what is made from it, and what must say the same."""

from pathlib import Path

from hascodesign.contract import registers
from hascodesign.contract.registers import REGISTERS


def test_the_docs_hold_the_table():
    docs = Path(__file__).parent.parent / "docs" / "core.md"
    assert registers.table() in docs.read_text()


def test_addresses_are_words_and_do_not_meet():
    singles = [one.address for one in REGISTERS if not one.many]
    rows = [one.address for one in REGISTERS if one.many]
    assert singles == sorted(set(singles)) and max(singles) < 0x100 <= min(rows)
    assert all(one.address % 4 == 0 for one in REGISTERS) and all(row % 256 == 0 for row in rows)
    assert max(rows) < 1 << registers.ADDRESS_BITS
