"""The store: what is put in comes out, whole or refused; claims; parts folded."""

from __future__ import annotations

import hashlib
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hascodesign.common import files
from hascodesign.contract.errors import ConfigError
from hascodesign.fleet.store import Asked, ChipRow, Store, VerifiedRow, encode

ROW = ChipRow(
    key="0" * 32, faults=3, faulty_pes=2, heldout=200, healthy_correct=198, plain_correct=98,
    scheduled_correct=197, passes=4, least_passes=4, evaluations=7, healthy_loss=0.01,
    plain_loss=2.5, scheduled_loss=0.02, notes=("One.", "Two."), roms_sha256="ab",
    delta_sha256="cd", delta_bytes=5, seconds=2.0, cpu_seconds=1.5, worker="w", finished="now",
)  # fmt: skip
VERIFIED = VerifiedRow("0" * 32, "ab", "icarus 11", 34168, 0, 4, (), 2.0, 1.0, "w", "now")


def row(number: int) -> ChipRow:
    return replace(ROW, key=hashlib.md5(bytes([number])).hexdigest(), plain_correct=number)


@pytest.fixture
def store(tmp_path: Path):
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


def test_rows_come_back_as_they_were_put_in(store: Store) -> None:
    rows = [row(number) for number in range(3)]
    for one in rows:
        store.put(one)
    store.put(VERIFIED)
    assert store.rows(ChipRow) == {one.key: one for one in rows}
    assert store.rows(VerifiedRow) == {VERIFIED.key: VERIFIED}
    assert store.row(ChipRow, rows[1].key) == rows[1]
    assert store.row(ChipRow, "f" * 32) is None
    # any reader of Parquet has the columns by their names
    part = pq.read_table(store.folder / "chips" / f"{rows[2].key}.parquet").to_pylist()
    assert part[0]["plain_correct"] == 2 and part[0]["notes"] == ["One.", "Two."]


def test_points_are_counted_from_the_healthy_network() -> None:
    assert ROW.points(ROW.plain_correct) == 50.0
    assert ROW.points(ROW.scheduled_correct) == 0.5


def test_parts_are_folded_into_one_that_depends_on_its_rows_alone(tmp_path: Path) -> None:
    rows = [row(number) for number in range(5)]
    names = []
    for order in (rows, rows[::-1]):
        store = Store(tmp_path / f"store{len(names)}")
        for one in order:
            store.put(one)
        store.fold()
        held = sorted((store.folder / "chips").iterdir())
        names.append((held[0].name, held[0].read_bytes()))
        assert len(held) == 1 and store.rows(ChipRow) == {one.key: one for one in rows}
        late = row(9)
        store.put(late)  # a fleet that grows adds to what is there
        assert set(store.rows(ChipRow)) == {one.key for one in [*rows, late]}
        store.close()
    assert names[0] == names[1]


def test_a_new_store_is_discarded_but_not_under_another_client(tmp_path: Path) -> None:
    stores = [Store(tmp_path / "store") for _ in range(2)]
    stores[0].discard()
    assert (tmp_path / "store" / "store.json").exists()
    stores[0].close()
    stores[1].discard()
    assert not (tmp_path / "store").exists()
    stores[1].close()


def test_nothing_is_folded_beside_another_client(store: Store) -> None:
    other = Store(store.folder)
    for number in range(3):
        store.put(row(number))
    store.fold()
    assert len(list((store.folder / "chips").iterdir())) == 3
    other.close()
    store.fold()
    assert len(list((store.folder / "chips").iterdir())) == 1


def test_a_kill_between_fold_and_removal_leaves_the_same_rows(store: Store) -> None:
    rows = [row(number) for number in range(3)]
    for one in rows:
        store.put(one)
    files.write_atomic(store.folder / "chips" / "part-x.parquet", encode(rows))
    assert store.rows(ChipRow) == {one.key: one for one in rows}


def damage_half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def damage_value(content: bytes) -> bytes:
    table = pq.read_table(__import__("io").BytesIO(content))
    column = table.schema.get_field_index("scheduled_correct")
    other = table.set_column(column, "scheduled_correct", [[198]])
    sink = __import__("io").BytesIO()
    pq.write_table(other, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    "damage",
    [damage_half, damage_value, lambda _: b"", lambda _: b"PAR1" * 9, lambda c: c[:-1] + b"?"],
    ids=["half", "one value", "empty", "marks", "last byte"],
)
def test_a_damaged_part_is_refused_by_name(store: Store, damage) -> None:
    for number in range(2):
        store.put(row(number))
    path = store.folder / "chips" / f"{row(1).key}.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError) as caught:
        store.rows(ChipRow)
    assert str(path) in str(caught.value) and "remove it and run again" in str(caught.value)
    path.unlink()
    assert set(store.rows(ChipRow)) == {row(0).key}


@pytest.mark.parametrize("place", range(4, 6000, 97))
def test_no_flipped_bit_of_a_part_changes_a_row(store: Store, place: int) -> None:
    store.put(ROW)
    path = store.folder / "chips" / f"{ROW.key}.parquet"
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << (place % 8)
    path.write_bytes(content)
    try:
        assert store.rows(ChipRow) == {ROW.key: ROW}
    except ConfigError as error:
        assert "damaged" in str(error)


def test_rows_of_one_chip_must_agree_but_for_times(store: Store) -> None:
    store.put(ROW)
    files.write_atomic(
        store.folder / "chips" / "part-x.parquet", encode([replace(ROW, cpu_seconds=9.0)])
    )
    assert set(store.rows(ChipRow)) == {ROW.key}
    other = encode([replace(ROW, scheduled_correct=1)])
    files.write_atomic(store.folder / "chips" / "part-x.parquet", other)
    with pytest.raises(ConfigError, match="the machines that made them disagree"):
        store.rows(ChipRow)


def test_fleets_are_kept_once_with_what_they_are_about(store: Store) -> None:
    chips = [Asked("a", "k1", "{}"), Asked("b", "k1", "{}")]
    name = store.put_fleet(chips, {"board": "pynq-z2"})
    assert store.put_fleet(chips, {"board": "pynq-z2"}) == name
    assert store.put_fleet(chips[:1], {"board": "pynq-z2"}) != name
    assert store.fleets()[name] == ({"board": "pynq-z2"}, chips)


def test_a_folder_of_something_else_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds report\.json"):
        Store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("mark", ['{"format": 2}', "{", "[]"])
def test_a_mark_of_another_format_is_refused(tmp_path: Path, mark: str) -> None:
    Store(tmp_path).close()
    (tmp_path / "store.json").write_text(mark)
    with pytest.raises(ConfigError, match=r"store\.json"):
        Store(tmp_path)


def _other_client(folder: Path, ready, end) -> None:
    store = Store(folder)
    ready.send([store.claim(ChipRow, "1" * 32), store.claim(VerifiedRow, "2" * 32)])
    end.recv()


def test_a_claim_keeps_other_clients_away_until_its_client_ends(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    ready, sender = context.Pipe(False)
    end, ender = context.Pipe(False)
    other = context.Process(target=_other_client, args=(store.folder, sender, end))
    other.start()
    assert ready.recv() == [True, True]
    assert not store.claim(ChipRow, "1" * 32) and not store.claim(VerifiedRow, "2" * 32)
    assert store.claim(ChipRow, "2" * 32) and store.claim(VerifiedRow, "1" * 32)
    other.kill()
    other.join()
    ender.close()
    assert store.claim(ChipRow, "1" * 32) and store.claim(VerifiedRow, "2" * 32)
