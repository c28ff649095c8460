"""From annotated planes to tracks: discs that a threshold finds, and a few balls in T x Z."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import ThresholdPredictor
from naming_scene import GREY, NearestGrey, only, truth, video

from napari_incontext_seg import stack_from_array
from napari_incontext_seg.core.types import Segmentation
from napari_incontext_seg.errors import InputError
from napari_incontext_seg.infer.track import Tracking, track, track_labels


def discs(times: int = 6) -> np.ndarray:
    """(T, Y, X) true ids: 4 goes right, 9 goes left, another comes in frame 3."""
    y, x = np.indices((60, 80))
    truth = np.zeros((times, 60, 80), np.uint32)
    for t in range(times):
        truth[t][(y - 15) ** 2 + (x - 15 - 4 * t) ** 2 < 36] = 4
        truth[t][(y - 40) ** 2 + (x - 60 + 3 * t) ** 2 < 49] = 9
        if t >= 3:
            truth[t][(y - 50) ** 2 + (x - 15) ** 2 < 25] = 77
    return truth


def stack_of(truth: np.ndarray, axes: str = "tyx"):
    return stack_from_array((truth > 0).astype(np.float32), axes)


def volume(tracking: Tracking) -> np.ndarray:
    return np.stack([step.segmentation.labels for step in tracking])


def test_annotated_ids_are_track_ids_and_newcomers_get_others() -> None:
    truth = discs()
    tracking = track(stack_of(truth), {0: truth[0]}, ThresholdPredictor())
    found = volume(tracking)
    np.testing.assert_array_equal(found, np.where(truth == 77, 10, truth))
    assert tracking.tracks.ids == (4, 9, 10)
    assert tracking.tracks.begin(10) == 3
    assert tracking.annotated == {0}
    assert [step.annotated for step in tracking] == [True, *[False] * 5]


def test_a_correction_takes_part() -> None:
    """In frame 5 the user says that 9 is where 4 flew to: then it is, and frame 0 is still right."""
    truth = discs()
    corrected = np.where(truth[5] == 4, 9, np.where(truth[5] == 9, 4, truth[5]))
    tracking = track(stack_of(truth), {0: truth[0], 5: corrected}, ThresholdPredictor())
    found = volume(tracking)
    np.testing.assert_array_equal(found[0], truth[0])
    np.testing.assert_array_equal(found[5], corrected)
    assert tracking.tracks.ids == (4, 9, 77)
    assert tracking.tracks.begin(77) == 3  # named in frame 5, and followed back


def test_scribbled_planes_keep_their_pixels_and_painted_objects_are_no_namesakes() -> None:
    truth = discs()
    scribbles = np.where(truth[0] == 4, 1, -1)
    scribbles[:2] = 0
    scribbles[14:17, 14:17] = 1
    tracking = track(stack_of(truth), {0: scribbles}, ThresholdPredictor(), ignore_label=-1)
    found = volume(tracking)
    assert (found[0][scribbles == 1] == 1).all()
    assert len(tracking.tracks.ids) == 3
    assert set(np.unique(found[:, 30:44])) - {0} == {found[0, 40, 60]} != {1}


def test_planes_become_3d_objects_and_then_tracks() -> None:
    z, y, x = np.indices((9, 40, 50))
    truth = np.zeros((3, 9, 40, 50), np.uint32)
    for t in range(3):
        truth[t][4 * (z - 4) ** 2 + (y - 12) ** 2 + (x - 12 - 3 * t) ** 2 < 64] = 5
        truth[t][4 * (z - 4) ** 2 + (y - 28) ** 2 + (x - 36 + 3 * t) ** 2 < 64] = 2
    tracking = track(stack_of(truth, "tzyx"), {4: truth[0, 4]}, ThresholdPredictor())
    np.testing.assert_array_equal(volume(tracking).reshape(truth.shape), truth)
    assert tracking.tracks.axes == "tzyx"
    assert tracking.tracks.ids == (2, 5)
    alone = track(stack_of(truth[0], "zyx"), {4: truth[0, 4]}, ThresholdPredictor())
    np.testing.assert_array_equal(volume(alone), truth[0])


def test_masks_are_linked_without_a_model() -> None:
    truth = discs()
    rng = np.random.default_rng(0)
    masks = np.stack([np.concatenate([[0], 1 + rng.permutation(80)])[f] for f in truth]).astype(np.uint16)
    tracking = track_labels(stack_from_array(masks, "tyx"), stack_of(truth))
    found = volume(tracking)
    assert len(tracking.tracks.ids) == 3
    for i in (4, 9, 77):
        assert len(np.unique(found[truth == i])) == 1
    kept = track_labels(stack_from_array(truth, "tyx"), named=[0, 5])
    np.testing.assert_array_equal(volume(kept), truth)
    stacked = np.repeat(masks[:1], 4, axis=0)
    assert track_labels(stack_from_array(stacked, "zyx")).tracks.ids == (1, 2)


def test_python_shows_what_was_found_in_a_line() -> None:
    tracking = track_labels(stack_from_array(np.ones((2, 4, 4), np.uint8), "tyx"))
    assert repr(tracking.linking) == "<Linking of 1 track in 2 frames, 2 objects>"
    assert repr(tracking) == f"<Tracking of <Stack tyx 2 x 4 x 4 uint8>: {tracking.linking!r}>"
    empty = track_labels(stack_from_array(np.zeros((1, 4, 4), np.uint8), "tyx"))
    assert repr(empty.linking) == "<Linking of 0 tracks in 1 frame, 0 objects>"


def test_confidence_is_that_of_painting_and_of_the_link() -> None:
    class Doubtful(ThresholdPredictor):
        def bind(self, context):
            segment = super().bind(context)
            return lambda plane: Segmentation(segment(plane).labels, np.full(plane.shape[:2], 0.25))

    truth = discs()
    tracks = track(stack_of(truth), {0: truth[0]}, Doubtful()).tracks
    later = tracks.frame > 0
    assert (tracks.confidence[later] <= 0.25).all()
    assert (tracks.confidence[~later] == 1).all()


def test_progress_and_a_tidy_folder(tmp_path) -> None:
    truth, calls = discs(), []
    tracking = track(
        stack_of(truth), {0: truth[0]}, ThresholdPredictor(), folder=tmp_path, on_plane=lambda: calls.append(1)
    )
    assert len(calls) == 12  # six painted, six linked
    assert list(tmp_path.iterdir())
    del tracking
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_tracked_is_told() -> None:
    plane = np.zeros((20, 20), np.float32)
    with pytest.raises(InputError, match="tracked along t"):
        track(stack_from_array(plane), {0: np.eye(20, dtype=int)}, ThresholdPredictor())
    with pytest.raises(InputError, match="must match the labels"):
        track_labels(stack_from_array(np.ones((2, 9, 9), int), "tyx"), stack_from_array(np.ones((3, 9, 9)), "tyx"))


def test_few_objects_are_followed_by_colour_through_absence_and_from_whichever_frame_names_them() -> None:
    """An object that is away for two frames is the same when it is back; 3 is named in frame 2 only."""
    found = track(video(), {0: only(0, 1, 2), 2: only(2, 3)}, NearestGrey(), by="colour")
    np.testing.assert_array_equal(volume(found), [truth(t) for t in range(7)])
    assert found.tracks.ids == (1, 2, 3)
    assert found.tracks.gaps(1) == [(2, 5)]
    assert not found.tracks.parents


def test_by_colour_in_a_time_lapse_of_stacks() -> None:
    labels = np.stack([np.stack([truth(t), truth(t)]) for t in range(4)])
    image = np.zeros(labels.shape, np.float32)
    for i, grey in GREY.items():
        image[labels == i] = grey
    found = track(stack_from_array(image, "tzyx"), {0: labels[0, 0]}, NearestGrey(), by="colour", direction="meet")
    np.testing.assert_array_equal(np.stack(list(found.frames())), labels)
    with pytest.raises(InputError, match="links or colour; got 'size'"):
        track(stack_from_array(image, "tzyx"), {0: labels[0, 0]}, NearestGrey(), by="size")  # type: ignore[arg-type]
