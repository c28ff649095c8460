"""Undo and redo of what the model wrote: exact, sparing what a person painted since, and bounded."""

from __future__ import annotations

import errno
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_incontext_seg.core.sparse_change import SparseChange
from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.session.journal import Journal


def planes(seed: int, count: int = 2, shape: tuple[int, int] = (7, 9)) -> list[np.ndarray]:
    ids = np.array([0, 0, 0, 1, 2, 2**32 - 1], np.uint32)
    return [np.random.default_rng(seed + k).choice(ids, shape) for k in range(count)]


# -- one change ---------------------------------------------------------------------------------------------------
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999))
def test_a_change_goes_there_and_back(seed: int) -> None:
    before, after = planes(seed)
    change = SparseChange.between(before, after)
    np.testing.assert_array_equal(change.apply(before), after)
    np.testing.assert_array_equal(change.revert(after), before)
    assert change.count == np.count_nonzero(before != after)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999))
def test_what_somebody_changed_since_is_left_alone(seed: int) -> None:
    before, after, hand = planes(seed, 3)
    edited = np.random.default_rng(seed).random(before.shape) < 0.3
    now = np.where(edited, hand, after)
    reverted = SparseChange.between(before, after).revert(now)
    kept = edited & (hand != after)
    np.testing.assert_array_equal(reverted[kept], hand[kept])
    np.testing.assert_array_equal(reverted[~edited], before[~edited])
    spared = SparseChange.between(before, after).revert(now, spared=edited)  # also where the same label was painted
    np.testing.assert_array_equal(spared[edited], hand[edited])


def test_the_input_is_not_changed_and_shapes_must_fit() -> None:
    before, after = planes(0)
    copy = after.copy()
    change = SparseChange.between(before, after)
    change.revert(after)
    np.testing.assert_array_equal(after, copy)
    with pytest.raises(InputError, match="must match"):
        change.apply(np.zeros((3, 3), np.uint8))
    with pytest.raises(InputError, match="one shape"):
        SparseChange.between(before, before[1:])


def test_a_change_is_small() -> None:
    before = np.zeros((512, 512), np.uint32)
    after = before.copy()
    after[100:200, 100:300] = 7
    assert SparseChange.between(before, after).nbytes < 5_000  # of 1 MB


# -- the journal --------------------------------------------------------------------------------------------------
class Written:
    """Planes that a journal is kept of."""

    def __init__(self, journal: Journal, count: int = 6) -> None:
        self.journal, self.planes = journal, [np.zeros((7, 9), np.uint32) for _ in range(count)]

    def write(self, run: int, position: int, seed: int) -> None:
        (after,) = planes(seed, 1)
        self.journal.record(run, position, self.planes[position], after)
        self.planes[position] = after

    def undo(self, what: str) -> list[int]:
        entries = list(getattr(self.journal, f"undo_{what}")())
        for entry in entries:
            self.planes[entry.position] = entry.change.revert(self.planes[entry.position])
        return [entry.position for entry in entries]

    def redo(self, what: str) -> list[int]:
        entries = list(getattr(self.journal, f"redo_{what}")())
        for entry in entries:
            self.planes[entry.position] = entry.change.apply(self.planes[entry.position])
        return [entry.position for entry in entries]

    def state(self) -> bytes:
        return b"".join(plane.tobytes() for plane in self.planes)


def test_slices_and_runs_are_undone_and_redone() -> None:
    written = Written(Journal())
    states = [written.state()]
    for step, (run, position) in enumerate([(1, 2), (1, 3), (1, 4), (2, 3), (2, 4)]):
        written.write(run, position, step)
        states.append(written.state())
    assert written.undo("slice") == [4]
    assert written.state() == states[4]
    assert written.undo("run") == [3]  # what is left of run 2
    assert written.state() == states[3]
    assert written.undo("run") == [4, 3, 2]
    assert written.state() == states[0]
    assert written.undo("run") == []
    assert written.redo("run") == [2, 3, 4]
    assert written.redo("slice") == [3]
    assert written.state() == states[4]
    assert written.redo("run") == [4]
    assert written.state() == states[5]
    assert not written.journal.can_redo


def test_writing_ends_what_can_be_redone_and_nothing_new_is_no_level() -> None:
    written = Written(Journal())
    written.write(1, 0, 0)
    written.undo("slice")
    written.write(2, 1, 1)
    assert written.redo("slice") == []
    assert not written.journal.record(3, 1, written.planes[1], written.planes[1])
    assert len(written.journal) == 1


def test_a_long_run_stays_within_its_memory_and_can_be_undone_whole() -> None:
    journal = Journal(memory_bytes=2_000, disk_bytes=10**9)
    written = Written(journal, 300)
    start = written.state()
    for position in range(300):
        written.write(1, position, position)
        assert journal.nbytes[0] <= 2_000
    assert journal.nbytes[1] > 10_000
    end = written.state()
    assert len(written.undo("run")) == 300
    assert written.state() == start
    assert len(written.redo("run")) == 300
    assert written.state() == end
    assert journal.nbytes[0] <= 2_000
    folder = journal._folder
    journal.close()
    assert folder is not None
    assert not folder.exists()


def test_beyond_the_disk_bound_the_oldest_is_forgotten() -> None:
    journal = Journal(memory_bytes=1_000, disk_bytes=3_000)
    written = Written(journal, 200)
    for position in range(200):
        written.write(1, position, position)
        assert journal.nbytes[1] <= 3_000
    assert 10 < len(journal) < 200
    undone = written.undo("run")
    assert undone == list(range(199, 199 - len(undone), -1))
    assert all(written.planes[p].any() for p in range(200 - len(undone)))
    journal.close()


@pytest.mark.parametrize("broken", ["full", "no folder"])
def test_where_the_disk_takes_nothing_the_oldest_is_forgotten(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "no space left")

    if broken == "full":
        monkeypatch.setattr(Path, "write_bytes", refuse)
    else:
        monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    journal = Journal(memory_bytes=1_000)
    written = Written(journal, 100)
    for position in range(100):
        written.write(1, position, position)
        assert journal.nbytes[0] <= 1_000
        assert journal.nbytes[1] == 0
    undone = written.undo("run")
    assert 2 < len(undone) < 100
    assert undone == list(range(99, 99 - len(undone), -1))
    journal.close()


def test_the_memory_of_a_run_of_2000_slices_stays_flat() -> None:
    journal = Journal(memory_bytes=2**18)
    empty, rng = np.zeros((128, 128), np.uint32), np.random.default_rng(0)
    tracemalloc.start()
    try:
        for position in range(2_000):
            journal.record(1, position, empty, rng.integers(0, 3, empty.shape))
            if position == 200:  # the bound is reached
                early = tracemalloc.get_traced_memory()[0]
        grown = tracemalloc.get_traced_memory()[0] - early
    finally:
        tracemalloc.stop()
    assert len(journal) == 2_000
    assert journal.nbytes[1] > 10 * 2**20
    assert grown < 2 * 2**20  # about 1 KB a slice: where its change lies on disk
    journal.close()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["write", "next run", "undo slice", "undo run", "redo slice", "redo run"]), max_size=40)
)
def test_any_order_of_undo_and_redo_is_consistent(moves: list[str]) -> None:
    """Undoing everything always leads back to the beginning, whatever went before, spilled to disk or not."""
    journal = Journal(memory_bytes=300, disk_bytes=10**9)
    written, run = Written(journal), 1
    start = written.state()
    for step, move in enumerate(moves):
        if move == "write":
            written.write(run, step % 6, step)
        elif move == "next run":
            run += 1
        else:
            kind, what = move.split()
            (written.undo if kind == "undo" else written.redo)(what)
    assert journal.nbytes[0] >= 0
    assert journal.nbytes[1] >= 0
    while journal.can_undo:
        written.undo("slice")
    assert written.state() == start
    journal.close()


@pytest.mark.parametrize("harm", ["delete", "cut", "alter"])
def test_a_step_whose_file_is_gone_or_damaged_is_told(tmp_path, monkeypatch, harm):
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path))
    journal, blank = Journal(memory_bytes=1), np.zeros((9, 8), np.uint32)
    for run in range(3):
        journal.record(run, 0, blank, blank + run + 1)
    file = min(tmp_path.iterdir())
    content = file.read_bytes()
    file.unlink()
    if harm != "delete":
        file.write_bytes(content[:-3] if harm == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    for _ in range(2):
        journal.undo_slice()
    with pytest.raises(FileError, match="cannot be undone"):
        assert journal.undo_slice()[0].change
