"""Edits of tracks: labels, table and lineage change together, and every edit can be undone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.tracks import Tracks
from napari_incontext_seg.errors import InputError
from napari_incontext_seg.infer.track import track_labels
from napari_incontext_seg.session.tracks import TrackEditor


class Volume:
    """Labels (T, Y, X) in memory."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def read(self, frame: int) -> np.ndarray:
        return self.labels[frame]

    def write(self, frame: int, labels: np.ndarray) -> None:
        self.labels[frame] = labels


def movie() -> np.ndarray:
    """1 and 2 side by side all the time; 3 comes in frame 2, and 4 in frame 3."""
    labels = np.zeros((5, 30, 40), np.uint32)
    labels[:, 3:9, 3:9], labels[:, 3:9, 20:26] = 1, 2
    labels[2:, 18:24, 3:9], labels[3:, 18:24, 20:26] = 3, 4
    return labels


@pytest.fixture
def volume() -> Volume:
    return Volume(movie())


@pytest.fixture
def editor(volume: Volume) -> TrackEditor:
    return TrackEditor(
        Tracks.measure(volume.labels, images=volume.labels), volume, image=lambda t: volume.labels[t] * 2.0
    )


EDITS = {
    "merge_objects": lambda e: e.merge_objects(2, 1, 2),
    "merge_tracks": lambda e: e.merge_tracks(1, 3),
    "split_object": lambda e: e.split_object(1, 2),
    "split_track": lambda e: e.split_track(2, 3),
    "delete": lambda e: e.delete(2),
    "delete some": lambda e: e.delete(2, [3, 4]),
    "swap": lambda e: e.swap(1, 2, 2),
    "division": lambda e: e.add_division(1, [3, 4]),
    "relink": lambda e: (e.delete(1, [2, 3, 4]), e.relink(3, 2, 1)),
}


@pytest.mark.parametrize("name", EDITS)
def test_the_table_is_what_the_labels_hold_and_undo_takes_all_back(editor, volume, name):
    before, parents = volume.labels.copy(), editor.tracks.parents
    EDITS[name](editor)
    measured = Tracks.measure(volume.labels, parents=editor.tracks.parents)
    for column in ("track", "frame", "area", "centroid"):
        np.testing.assert_array_equal(getattr(editor.tracks, column), getattr(measured, column))
    after, links = volume.labels.copy(), editor.confirmed
    assert not np.array_equal(after, before)
    while editor.undo_title:
        editor.undo()
    np.testing.assert_array_equal(volume.labels, before)
    assert editor.tracks.parents == parents
    assert editor.confirmed == ()
    while editor.redo_title:
        editor.redo()
    np.testing.assert_array_equal(volume.labels, after)
    assert editor.confirmed == links


def test_edited_objects_are_measured_and_sure(editor):
    editor.merge_objects(2, 1, 2)
    row = editor.tracks.row(1, 2)
    assert editor.tracks.area[row] == 72
    assert editor.tracks.mean_intensity[row] == pytest.approx(3.0)  # twice the ids 1 and 2, as the image is
    assert editor.tracks.confidence[row] == 1
    assert editor.tracks.row(2, 2) is None


def test_a_mother_that_goes_on_becomes_a_daughter(editor, volume):
    daughters = editor.add_division(1, [3])
    assert daughters == (3, 5)
    assert editor.tracks.divisions == {1: (3, 5)}
    assert editor.tracks.end(1) == 1
    assert (volume.labels[2:, 5, 5] == 5).all()


def test_a_swap_takes_descendants_along(editor):
    editor.split_track(1, 3)  # 5 from frame 3 on
    editor.add_division(1, [5, 4])
    editor.swap(1, 2, 2)
    assert editor.tracks.parents == {4: (2,), 5: (2,)}


def dividing(begin: int = 0) -> tuple[Volume, TrackEditor]:
    """1 divides after frame 2 into 2 and 3; 4 is beside them from frame ``begin`` on."""
    labels = np.zeros((6, 60, 40), np.uint32)
    labels[:3, 11:19, 16:24], labels[3:, 7:13, 7:13], labels[3:, 7:13, 27:33] = 1, 2, 3
    labels[begin:, 41:49, 16:24] = 4
    volume = Volume(labels)
    return volume, TrackEditor(Tracks.measure(labels, parents={2: (1,), 3: (1,)}), volume)


def test_a_swap_where_a_track_divides_takes_its_daughters_along():
    volume, editor = dividing()
    editor.confirm(2, 3)
    editor.swap(1, 4, 3)
    assert editor.tracks.parents == {2: (4,), 3: (4,)}
    assert [(editor.tracks.begin(i), editor.tracks.end(i)) for i in (1, 4)] == [(0, 5), (0, 2)]
    assert editor.confirmed == ((2, 1, 3, 1), (2, 4, 3, 2), (2, 4, 3, 3))
    again = track_labels(Stack(volume.labels, "tyx"), confirmed=editor.confirmed).tracks
    assert sorted(again.divisions.values()) == [tuple(i for i in again.ids if again.begin(i) == 3)]
    editor.swap(4, 1, 3)  # the other way round, and back
    assert editor.tracks.parents == {2: (1,), 3: (1,)}
    assert [(editor.tracks.begin(i), editor.tracks.end(i)) for i in (1, 4)] == [(0, 2), (0, 5)]
    assert editor.confirmed == ((2, 1, 3, 2), (2, 1, 3, 3), (2, 4, 3, 4))


def test_a_swap_leaves_daughters_from_before_it_and_a_mother_that_goes_on():
    _, editor = dividing()
    editor.swap(1, 4, 2)
    assert editor.tracks.parents == {2: (4,), 3: (4,)}
    editor.undo()
    editor.swap(2, 4, 4)  # daughters begin before
    assert editor.tracks.parents == {2: (1,), 3: (1,)}
    volume, _ = dividing()
    beside = TrackEditor(Tracks.measure(volume.labels, parents={2: (4,)}), volume)  # 4 goes on beside her daughter
    beside.swap(1, 4, 3)
    assert beside.tracks.parents == {2: (4,)}


def test_daughters_are_nobodys_where_the_other_track_of_a_swap_was_not_there_before():
    _, editor = dividing(begin=3)
    editor.confirm(2, 3)
    editor.swap(1, 4, 3)  # 1 goes on as what was 4
    assert (editor.tracks.begin(1), editor.tracks.end(1)) == (0, 5)
    assert 4 not in editor.tracks
    assert editor.tracks.parents == {}
    assert editor.confirmed == ((2, 1, 3, 1),)
    editor.undo()
    assert editor.tracks.parents == {2: (1,), 3: (1,)}
    assert editor.confirmed == ((2, 1, 3, 2), (2, 1, 3, 3))


def test_a_mother_is_not_swapped_with_a_daughter_that_begins_after_her():
    volume, editor = dividing()
    for frame in (2, 3):
        with pytest.raises(InputError, match="track 2 descends from 1: relink"):
            editor.swap(1, 2, frame)
    beside = TrackEditor(Tracks.measure(volume.labels, parents={2: (4,)}), volume)
    beside.swap(2, 4, 3)  # which of the two is the daughter can be told
    assert beside.tracks.parents == {2: (4,)}


def test_what_a_person_joined_is_never_undone_by_a_new_tracking():
    labels = np.zeros((4, 30, 60), np.uint32)
    labels[:2, 5:11, 5:11] = 1
    labels[2:, 5:11, 45:51] = 2  # far away: no tracking would link it
    volume = Volume(labels)
    editor = TrackEditor(Tracks.measure(labels), volume)
    assert len(track_labels(Stack(labels, "tyx")).tracks.ids) == 2
    editor.merge_tracks(1, 2)
    assert editor.confirmed == ((1, 1, 2, 1),)
    again = track_labels(Stack(volume.labels, "tyx"), confirmed=editor.confirmed)
    assert len(again.tracks.ids) == 1


def test_daughters_that_begin_in_different_frames_stay_daughters_in_a_new_tracking():
    labels = np.zeros((6, 40, 40), np.uint32)
    labels[:3, 16:24, 16:24], labels[3:, 16:24, 6:14], labels[4:, 16:24, 26:34] = 1, 2, 3
    volume = Volume(labels)
    editor = TrackEditor(Tracks.measure(labels), volume)
    editor.add_division(1, [2, 3])
    again = track_labels(Stack(volume.labels, "tyx"), confirmed=editor.confirmed).tracks
    assert again.parents == {2: (1,), 3: (1,)}
    assert [again.begin(i) for i in again.ids] == [0, 3, 4]


def test_confirmed_links_follow_their_objects(editor):
    editor.swap(1, 2, 2)
    assert set(editor.confirmed) == {(1, 1, 2, 1), (1, 2, 2, 2)}
    editor.split_track(1, 2)  # taken back by hand: 5 from frame 2 on
    assert (1, 1, 2, 5) not in editor.confirmed
    editor.delete(2)
    assert not any(2 in (i, j) for _, i, _, j in editor.confirmed)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda e: e.relink(1, 2, 2), "track 2 is in frame 2 too"),
        (lambda e: e.merge_objects(0, 1, 3), "track 3 is not in frame 0"),
        (lambda e: e.split_track(1, 0), "nothing to part from"),
        (lambda e: e.add_division(4, [1, 2]), "begin after frame 3"),
        (lambda e: e.delete(9), "no track 9"),
        (lambda e: e.swap(1, 1, 0), "with itself"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(editor, volume, edit, words):
    before = volume.labels.copy()
    with pytest.raises(InputError, match=words):
        edit(editor)
    np.testing.assert_array_equal(volume.labels, before)
    assert editor.undo_title is None


def test_volumes_are_edited_alike():
    labels = np.stack([movie(), movie()], axis=1)  # t, z, y, x
    volume = Volume(labels)
    editor = TrackEditor(Tracks.measure(labels), volume)
    editor.swap(1, 2, 3)
    assert (volume.labels[3:, :, 5, 5] == 2).all()
    editor.undo()
    np.testing.assert_array_equal(volume.labels, np.stack([movie(), movie()], axis=1))


# -- confirming, and what others paint ---------------------------------------------------------------------------------
def test_a_link_is_confirmed_and_that_is_undone(editor):
    editor.confirm(1, 3)
    assert editor.confirmed == ((2, 1, 3, 1),)
    row = editor.tracks.row(1, 3)
    assert editor.tracks.confidence[row] == 1
    editor.undo()
    assert editor.confirmed == ()
    assert editor.tracks.confidence[row] != 1
    with pytest.raises(InputError, match="no link to confirm"):
        editor.confirm(1, 0)


def test_all_daughters_of_a_division_are_confirmed_together(editor):
    daughters = editor.add_division(1, [4])
    confirmed = set(editor.confirmed)
    editor.undo()
    editor.redo()
    editor.confirm(4, 3)
    assert set(editor.confirmed) == confirmed == {(2, 1, 3, d) for d in daughters}


def test_what_somebody_painted_is_taken_in(editor, volume):
    editor.add_division(1, [3, 4])
    editor.confirm(2, 3)
    volume.labels[3:][volume.labels[3:] == 4] = 0  # a daughter is painted over
    volume.labels[3][volume.labels[3] == 2] = 9
    editor.take_in([3, 4])
    assert editor.tracks.parents == {3: (1,), 5: (1,)}
    assert not any(2 in link[1::2] for link in editor.confirmed)
    assert 9 in editor.tracks
    while editor.undo_title:
        editor.undo()
    measured = Tracks.measure(volume.labels)
    np.testing.assert_array_equal(editor.tracks.track, measured.track)
    np.testing.assert_array_equal(editor.tracks.area, measured.area)


def test_deleting_all_leaves_nothing_and_is_undone(editor, volume):
    editor.add_division(1, [3, 4])
    before = editor.tracks.ids
    for i in before:
        editor.delete(i)
    assert not len(editor.tracks)
    assert not editor.tracks.parents
    for _ in before:
        editor.undo()
    assert editor.tracks.ids == before


def test_objects_of_odd_shape_are_edited_whole():
    """An L reaches farther from its centre than a disk of its area would."""
    labels = np.zeros((2, 200, 200), np.uint32)
    labels[:, 5:195, 5], labels[:, 195, 5:195] = 7, 7
    volume = Volume(labels)
    editor = TrackEditor(Tracks.measure(labels), volume)
    editor.delete(7)
    assert not volume.labels.any()


def test_a_daughter_merged_with_her_mother_keeps_the_grandmother(editor):
    editor.split_track(1, 1)
    young = max(editor.tracks.ids)
    editor.add_division(1, [young, 3])
    editor.split_track(young, 3)
    grandchild = max(editor.tracks.ids)
    editor.add_division(young, [grandchild, 4])
    editor.merge_tracks(grandchild, young)
    assert editor.tracks.parents[grandchild] == (1,)
    assert editor.tracks.parents[3] == (1,)


def test_a_daughter_that_lives_one_frame_is_merged_into_her_sister(editor, volume):
    """As where one cell was painted as two in a single frame."""
    volume.labels[3:, 18:24, 20:26] = 0
    volume.labels[2, 18:24, 9:12] = 4
    editor.take_in([2, 3, 4])
    editor.split_track(1, 2)
    young = max(editor.tracks.ids)
    editor.delete(young)
    editor.add_division(1, [3, 4])
    editor.merge_objects(2, 3, 4)
    assert 4 not in editor.tracks.ids
    assert all(link[1] != 4 and link[3] != 4 for link in editor.confirmed)
    assert editor.tracks.parents.get(3) == (1,)


def test_new_tracks_find_a_number_where_the_largest_is_taken():
    labels = np.full((3, 4, 4), 4294967295, np.uint32)
    volume = Volume(labels)
    editor = TrackEditor(Tracks.measure(labels), volume)
    assert editor.split_track(4294967295, 1) == 1
    assert (volume.labels[1:] == 1).all()
