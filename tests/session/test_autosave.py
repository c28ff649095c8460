"""Everything is on disk after each slice, and comes back, also after a crash in the middle of a save."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ArrayPlanes, ThresholdPredictor

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import DegradedDataWarning, FileError, InContextError
from napari_incontext_seg.session import autosave
from napari_incontext_seg.session.autosave import Autosave, autosave_folder, identity
from napari_incontext_seg.session.project import Project
from napari_incontext_seg.session.saved import find_session, find_sessions, load_session
from napari_incontext_seg.session.settings import RunSettings


@pytest.fixture(autouse=True)
def _own_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INCONTEXT_SEG_CACHE", str(tmp_path / "user"))


@pytest.fixture
def stack() -> Stack:
    data = np.random.default_rng(0).integers(0, 60, (6, 20, 16)).astype(np.uint8)
    for z in range(6):
        data[z, 3:9, z : z + 6] = 250 - 10 * z
    return Stack(data, "zyx", name="blocks")


def worked_on(stack: Stack, folder: Path) -> Project:
    """A project in which a person did a bit of everything."""
    project = Project(stack, ArrayPlanes(stack))
    project.autosave = Autosave(folder, stack)
    project.settings = RunSettings(model="guess", quality="best")
    project.labels.write(0, (stack.data[0] > 100).astype(np.uint32) * 2**31)
    project.note_hand_edit(0, stack.data[0] > 100)
    project.add_example(0)
    for step in project.start(ThresholdPredictor()):
        project.commit(step)
    hand = np.zeros((20, 16), bool)
    hand[15:, 2:4] = True
    project.labels.write(2, np.where(hand, 3, project.labels.read(2)).astype(np.uint32))
    project.note_hand_edit(2, hand)
    project.verify(3)
    project.verify(4)
    project.verify(4, False)
    project.undo_slice()
    return project


def state(project: Project) -> Any:
    """All that must not be lost."""
    items = [(i.name, i.source, i.position, i.used, i.example.digest) for i in project.examples.items]
    touched = {p: project.touched[p].tobytes() for p in project.touched}
    return (
        items, project.settings, project.verified, project.confidence, project.labels.data.tobytes(), touched,
    )  # fmt: skip


def test_everything_comes_back_after_a_crash(stack: Stack, tmp_path: Path) -> None:
    project = worked_on(stack, tmp_path / "session")
    assert project.autosave is not None
    project.autosave.flush()  # what a crash right now would leave
    saved = load_session(tmp_path / "session", stack)
    renamed = Stack(stack.data, "zyx", name="blocks [1]")
    restored = Project(renamed, ArrayPlanes(renamed))
    saved.restore_into(restored)
    assert restored.annotated == {0}
    assert state(restored)[1:] == state(project)[1:]
    assert [i.example.digest for i in restored.examples.items] == [i.example.digest for i in project.examples.items]
    assert str(saved).startswith("1 example, labels of 6 slices, saved ")
    project.close()


def test_each_slice_is_saved_when_it_is_committed(stack: Stack, tmp_path: Path) -> None:
    project = Project(stack, ArrayPlanes(stack))
    project.autosave = Autosave(tmp_path / "session", stack)
    project.labels.write(0, (stack.data[0] > 100).astype(np.uint32))
    project.add_example(0)
    for step in project.start(ThresholdPredictor()):
        project.commit(step)
        project.autosave.flush()
        saved = load_session(tmp_path / "session", stack)
        assert step.position in saved.painted
        planes = dict(saved.planes())
        np.testing.assert_array_equal(planes[step.position], project.labels.read(step.position))
    project.close()


def test_a_save_that_was_cut_off_loses_itself_only(stack: Stack, tmp_path: Path) -> None:
    project = worked_on(stack, tmp_path / "session")
    expected = dict(project.confidence)
    project.close()
    with (tmp_path / "session" / "log.jsonl").open("a") as log:
        log.write('["confidence", 2, 0.')
    assert load_session(tmp_path / "session", stack).confidence == expected


def test_a_session_that_was_restored_goes_on_and_others_stay(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    worked_on(stack, folder).close()
    again = Autosave(folder, stack, resumed=True)
    again.save_verified(5, True)
    again.close()
    assert load_session(folder, stack).verified == {3, 5}
    fresh = Autosave(folder, stack)
    fresh.close()
    assert fresh.folder == tmp_path / "session.2"
    assert load_session(fresh.folder, stack).verified == frozenset()
    assert load_session(folder, stack).verified == {3, 5}


def test_a_session_that_is_open_is_nobody_elses(stack: Stack, tmp_path: Path) -> None:
    """As in two viewers on one image."""
    folder = tmp_path / "session"
    first = Autosave(folder, stack)
    second = Autosave(folder, stack, resumed=True)
    assert first.folder == folder
    assert (second.folder, second.resumed) == (tmp_path / "session.2", False)
    first.save_verified(1, True)
    second.save_verified(2, True)
    first.close()
    second.close()
    assert load_session(folder, stack).verified == {1}
    assert load_session(second.folder, stack).verified == {2}
    again = Autosave(folder, stack, resumed=True)
    assert (again.folder, again.resumed) == (folder, True)
    again.close()


def test_the_oldest_sessions_of_an_image_make_room_but_not_one_that_is_open(stack: Stack, tmp_path: Path) -> None:
    first = Autosave(tmp_path / "session", stack)
    for _ in range(autosave.KEPT_OF_IMAGE + 2):
        Autosave(tmp_path / "session", stack).close()
    left = autosave.sessions_at(tmp_path / "session")
    assert len(left) == autosave.KEPT_OF_IMAGE + 1
    assert first.folder in left
    first.close()


def test_a_save_that_cannot_begin_leaves_nothing_that_pushes_sessions_out(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_on(stack, tmp_path / "session").close()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(autosave, "store", full)
        for _ in range(autosave.KEPT_OF_IMAGE + 1):
            with pytest.raises(InContextError):
                Autosave(tmp_path / "session", stack)
    assert autosave.sessions_at(tmp_path / "session") == [tmp_path / "session"]
    Autosave(tmp_path / "session", stack).close()
    assert load_session(tmp_path / "session", stack).painted


def test_sessions_about_other_images_of_the_file_do_not_count(stack: Stack, tmp_path: Path) -> None:
    Autosave(tmp_path / "session", stack).close()
    for k in range(autosave.KEPT_OF_IMAGE + 1):
        Autosave(tmp_path / "session", Stack(stack.data + np.uint8(k + 1), "zyx", name="channel")).close()
    assert load_session(tmp_path / "session", stack).name == "blocks"


def test_a_session_that_is_gone_or_somebody_elses_is_gone_on_with_elsewhere(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Autosave(tmp_path / "gone", stack, resumed=True)
    assert not gone.resumed
    assert gone.folder == tmp_path / "gone"
    gone.close()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as theirs:
        theirs.setattr(autosave.FileLock, "acquire", refused)
        saving = Autosave(tmp_path / "gone", stack, resumed=True)
        assert saving.folder == tmp_path / "gone.2"
        saving.close()


def test_restoring_again_takes_no_example_twice(stack: Stack, tmp_path: Path) -> None:
    worked_on(stack, tmp_path / "session").close()
    other = Stack(stack.data[::-1], "zyx", name="other")
    project = Project(other, ArrayPlanes(other))
    for _ in range(2):
        load_session(tmp_path / "session").restore_into(project)
        assert len(project.examples) == 1


def test_a_session_is_found_by_its_image(stack: Stack, tmp_path: Path) -> None:
    assert find_session(stack) is None
    folder = autosave_folder(stack)
    assert folder.is_relative_to(tmp_path / "user")
    worked_on(stack, folder).close()
    found = find_session(stack)
    assert found is not None
    assert found.folder == folder
    other = Stack(stack.data[::-1].copy(), "zyx", name="blocks")
    assert find_session(other) is None
    with pytest.raises(FileError, match="another image"):
        load_session(folder, other)


def test_a_session_lies_beside_the_image_where_that_has_a_file(stack: Stack, tmp_path: Path) -> None:
    image = tmp_path / "blocks.tif"
    image.touch()
    assert autosave_folder(stack, image).parent == tmp_path
    worked_on(stack, autosave_folder(stack, image)).close()
    assert find_session(stack, image) is not None
    assert find_session(stack) is None


def test_a_folder_that_cannot_be_written_is_told_once_and_work_goes_on(stack: Stack, tmp_path: Path) -> None:
    told: list[InContextError] = []
    saving = Autosave(tmp_path / "session", stack, on_error=told.append)
    (tmp_path / "session" / "log.jsonl").unlink()
    (tmp_path / "session" / "log.jsonl").mkdir()
    for position in range(3):
        saving.save_verified(position, True)
    saving.close()
    assert len(told) == 1
    assert "cannot be written" in str(told[0])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "x"}', "null"])
def test_what_is_no_session_is_told(stack: Stack, tmp_path: Path, content: str) -> None:
    (tmp_path / "session.json").write_text(content)
    with pytest.raises(FileError):
        load_session(tmp_path, stack)


def test_old_sessions_make_room(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autosave, "KEPT", 3)
    for k in range(5):
        one = Stack(stack.data + np.uint8(k), "zyx", name=f"image {k}")
        Autosave(autosave_folder(one), one).close()
    assert len(list(autosave.sessions_directory().iterdir())) == 3


def test_a_discarded_session_is_gone(stack: Stack, tmp_path: Path) -> None:
    saving = Autosave(tmp_path / "session", stack)
    saving.save_verified(1, True)
    saving.discard()
    assert not (tmp_path / "session").exists()


def test_work_that_was_killed_is_there_up_to_the_last_save(stack: Stack, tmp_path: Path) -> None:
    """A process is killed (SIGKILL) while it commits slice after slice: nothing that was saved is damaged."""
    script = tmp_path / "work.py"
    script.write_text(
        """
import sys
from pathlib import Path
import numpy as np
from fakes import ArrayPlanes, ThresholdPredictor
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.session.autosave import Autosave
from napari_incontext_seg.session.project import Project

stack = Stack(np.load(sys.argv[1]), "zyx", name="blocks")
project = Project(stack, ArrayPlanes(stack))
project.autosave = Autosave(Path(sys.argv[2]), stack)
project.labels.write(0, (stack.data[0] > 100).astype(np.uint32))
project.add_example(0)
project.verify(5)
for round in range(10_000):
    for step in project.start(ThresholdPredictor()):
        project.commit(step)
    if round == 1:
        project.autosave.flush()
        print("saved", flush=True)
    list(project.undo_run())
"""
    )
    np.save(tmp_path / "stack.npy", stack.data)
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests.parent)])
    command = [sys.executable, str(script), str(tmp_path / "stack.npy"), str(tmp_path / "session")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().strip() == b"saved"
        time.sleep(0.2)  # in the middle of the next saves
        worker.kill()
        assert worker.wait() != 0
    saved = load_session(tmp_path / "session", stack)
    restored = Project(stack, ArrayPlanes(stack))
    saved.restore_into(restored)
    assert restored.annotated == {0}
    assert restored.verified == {5}
    assert set(saved.painted) == {0, 1, 2, 3, 4, 5}  # also the example's, which nobody was seen painting
    np.testing.assert_array_equal(restored.labels.read(0), stack.data[0] > 100)
    bright = stack.data > 0.5 * stack.data.max()
    for position in (1, 2, 3, 4):  # whole planes: painted, or undone
        plane = restored.labels.read(position)
        assert not plane.any() or np.array_equal(plane > 0, bright[position])


def test_a_line_that_a_crash_cut_off_does_not_take_the_next_one_with_it(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    worked_on(stack, folder).close()
    with (folder / "log.jsonl").open("a") as log:
        log.write('["confidence", 2, 0.')
    again = Autosave(folder, stack, resumed=True)
    again.save_verified(5, True)
    again.close()
    assert load_session(folder, stack).verified == {3, 5}


def test_all_sessions_of_an_image_can_be_listed(stack: Stack, tmp_path: Path) -> None:
    image = tmp_path / "blocks.tif"
    image.touch()
    assert find_sessions(stack, image) == []
    worked_on(stack, autosave_folder(stack, image)).close()
    Autosave(autosave_folder(stack, image), stack).close()  # work began anew: the first stays
    newest, older = find_sessions(stack, image)
    assert (newest.verified, older.verified) == (frozenset(), {3})
    assert newest.folder.name == older.folder.name + ".2"
    saved = find_session(stack, image)
    assert saved is not None
    assert saved.folder == newest.folder


def test_an_image_that_differs_in_one_plane_only_is_another(stack: Stack) -> None:
    dark = stack.data.copy()
    dark[3] = 0
    other = dark.copy()
    other[4] = 0
    assert identity(Stack(dark, "zyx", name="a")) == identity(Stack(dark, "zyx", name="renamed"))
    assert identity(Stack(dark, "zyx")) != identity(Stack(other, "zyx"))


def test_an_image_is_read_once_to_know_it(stack: Stack) -> None:
    class Counting:
        shape, dtype, reads = stack.data.shape, stack.data.dtype, 0

        def __getitem__(self, index: Any) -> Any:
            self.reads += 1
            return stack.data[index]

    lazy = Counting()
    image = Stack(lazy, "zyx", name="lazy")
    assert find_session(image) is None
    Autosave(autosave_folder(image), image).close()
    assert find_session(image) is not None
    assert lazy.reads == 3


def test_saving_that_begins_late_saves_what_was_done_before(stack: Stack, tmp_path: Path) -> None:
    project = Project(stack, ArrayPlanes(stack))
    project.labels.write(0, (stack.data[0] > 100).astype(np.uint32))
    project.add_example(0)
    for step in project.start(ThresholdPredictor()):
        project.commit(step)
    hand = np.zeros((20, 16), bool)
    hand[15:, 2:4] = True
    project.labels.write(2, np.where(hand, 3, project.labels.read(2)).astype(np.uint32))
    project.note_hand_edit(2, hand)
    project.verify(3)
    project.autosave = Autosave(tmp_path / "session", stack)
    project.autosave.save_all(project)
    project.autosave.flush()
    restored = Project(stack, ArrayPlanes(stack))
    load_session(tmp_path / "session", stack).restore_into(restored)
    assert state(restored) == state(project)
    project.close()


def test_what_was_done_before_a_session_is_restored_stays(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    before = worked_on(stack, folder)
    before.close()
    saved = load_session(folder, stack)
    project = Project(stack, ArrayPlanes(stack))
    for position in (0, 1, 4):
        project.labels.write(position, np.full((20, 16), 50 + position, np.uint32))
    project.add_example(0)
    project.note_hand_edit(1, np.ones((20, 16), bool))
    project.verify(4)
    saved.restore_into(project)
    for position in (0, 1, 4):
        assert (project.labels.read(position) == 50 + position).all()
    for position in (2, 3):
        np.testing.assert_array_equal(project.labels.read(position), before.labels.read(position))
    (item,) = project.examples.items
    assert set(item.example.ids) - {0} == {50}
    assert project.verified == {3, 4}
    project.close()


def test_labels_that_nobody_was_seen_painting_stay_where_others_were_saved(stack: Stack, tmp_path: Path) -> None:
    before = worked_on(stack, tmp_path / "session")
    before.close()
    saved = load_session(tmp_path / "session", stack)
    project = Project(stack, ArrayPlanes(stack))
    project.labels.write(2, np.full((20, 16), 7, np.uint32))
    project.labels.write(3, np.full((20, 16), 7, np.uint32))  # verified in the session, with other labels
    project.labels.write(5, before.labels.read(5))
    assert saved.clashing(project) == {2, 3}
    saved.restore_into(project)
    assert (project.labels.read(2) == 7).all()
    assert 2 not in project.touched
    assert project.verified == set()
    assert {2, 3}.isdisjoint(project.confidence)
    for position in (0, 1, 4, 5):
        np.testing.assert_array_equal(project.labels.read(position), before.labels.read(position))


def test_a_damaged_slice_does_not_keep_the_others_from_being_restored(stack: Stack, tmp_path: Path) -> None:
    before = worked_on(stack, tmp_path / "session")
    before.close()
    (chunk,) = (tmp_path / "session" / "labels.zarr" / "labels").rglob("c.2.0.0")
    chunk.write_bytes(chunk.read_bytes()[:9])
    project = Project(stack, ArrayPlanes(stack))
    with pytest.warns(DegradedDataWarning, match="slice 2 could not be restored"):
        load_session(tmp_path / "session", stack).restore_into(project)
    for position in (0, 1, 3, 4):
        np.testing.assert_array_equal(project.labels.read(position), before.labels.read(position))
    assert not project.labels.read(2).any()
    assert project.annotated == {0}
    assert project.verified == {3}
    assert 2 not in project.confidence


@pytest.mark.parametrize(
    "line",
    [
        "3", "null", "[]", "{}", '["painted", 1]', '["painted", -1, true]', '["verified", null, true]',
        '["confidence", "x", 0.3]', '["confidence", 1, "high"]', '["settings", 3]', '["settings", {"span": 3}]',
        '["settings", {"where": "range", "span": [1, 2, 3]}]', '["colour", 1, true]', "\x00\x00",
    ],
)  # fmt: skip
def test_a_line_of_the_log_that_says_nothing_is_passed_over(stack: Stack, tmp_path: Path, line: str) -> None:
    worked_on(stack, tmp_path / "session").close()
    expected = load_session(tmp_path / "session", stack)
    with (tmp_path / "session" / "log.jsonl").open("a") as log:
        log.write(line + "\n")
    saved = load_session(tmp_path / "session", stack)
    assert (saved.painted, saved.verified) == (expected.painted, expected.verified)
    assert (saved.confidence, saved.settings) == (expected.confidence, expected.settings)


def test_slices_that_the_image_does_not_have_are_not_restored(stack: Stack, tmp_path: Path) -> None:
    worked_on(stack, tmp_path / "session").close()
    with (tmp_path / "session" / "log.jsonl").open("a") as log:
        log.write('["verified", 99, true]\n["confidence", 99, 0.5]\n')
    project = Project(stack, ArrayPlanes(stack))
    load_session(tmp_path / "session", stack).restore_into(project)
    assert project.verified == {3}
    assert 99 not in project.confidence


def test_the_labels_of_an_example_are_saved_with_it(stack: Stack, tmp_path: Path) -> None:
    """Also where they came with the layer, so that nobody was seen painting them."""
    project = Project(stack, ArrayPlanes(stack))
    project.autosave = Autosave(tmp_path / "session", stack)
    project.labels.write(0, (stack.data[0] > 100).astype(np.uint32))
    project.add_example(0)
    project.autosave.flush()
    restored = Project(stack, ArrayPlanes(stack))
    load_session(tmp_path / "session", stack).restore_into(restored)
    np.testing.assert_array_equal(restored.labels.read(0), project.labels.read(0))
    project.close()


def test_hostile_files_in_a_session_are_told(stack: Stack, tmp_path: Path) -> None:
    """A log whose lines are nested without end is passed over; a device in its place is not read."""
    folder = tmp_path / "session"
    worked_on(stack, folder).autosave.close()  # type: ignore[union-attr]
    log = folder / "log.jsonl"
    log.write_text("[" * 50_000 + "\n" + log.read_text())
    assert load_session(folder, stack).verified
    if hasattr(os, "mkfifo"):
        log.unlink()
        os.mkfifo(log)
        with pytest.raises(FileError, match="no file"):
            load_session(folder, stack)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on Windows")
def test_pipes_among_the_labels_of_a_session_are_not_read(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    worked_on(stack, folder).autosave.close()  # type: ignore[union-attr]
    chunk = sorted((folder / "labels.zarr" / "labels").glob("c.*"))[0]
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.warns(DegradedDataWarning, match="could not be restored"):
        list(load_session(folder, stack).planes())
    metadata = folder / "labels.zarr" / "labels" / "zarr.json"
    metadata.unlink()
    os.mkfifo(metadata)
    with pytest.raises(FileError, match="cannot be read"):
        list(load_session(folder, stack).planes())
