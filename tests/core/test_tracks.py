"""The table of tracks, and what is measured of the objects of a frame."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import regionprops_table

from napari_incontext_seg.core.objects import DIRECT, measure_objects
from napari_incontext_seg.core.tracks import Tracks
from napari_incontext_seg.errors import InputError


def family() -> Tracks:
    """Track 1 divides after frame 1 into 2 and 3; 3 is not seen in frame 3; 5 is alone."""
    frames = np.zeros((5, 8, 12), np.uint32)
    frames[:2, 2:6, 2:6] = 1
    frames[2:, 1:3, 2:4] = 2
    frames[[2, 4], 5:7, 2:4] = 3
    frames[:, 3, 10] = 5
    return Tracks.measure(frames, parents={2: [1], 3: [1]})


@pytest.mark.parametrize("first", [1, DIRECT], ids=["small ids", "large ids"])
@pytest.mark.parametrize("shape", [(40, 50), (5, 40, 50)], ids=["2-D", "3-D"])
def test_objects_are_measured_as_scikit_image_does(shape: tuple[int, ...], first: int) -> None:
    rng = np.random.default_rng(0)
    labels, image = rng.integers(0, 9, shape), rng.random(shape)
    labels[labels > 0] += first
    expected = regionprops_table(labels, image, properties=("label", "area", "centroid", "mean_intensity"))
    objects = measure_objects(labels, image)
    np.testing.assert_array_equal(objects.ids, expected["label"])
    np.testing.assert_array_equal(objects.area, expected["area"])
    np.testing.assert_allclose(objects.mean_intensity, expected["mean_intensity"])
    centroid = np.stack([expected[f"centroid-{k}"] for k in range(len(shape))], axis=1)
    np.testing.assert_allclose(objects.centroid[:, 3 - len(shape) :], centroid)
    assert np.isnan(objects.confidence).all()


def test_an_empty_frame_has_no_objects() -> None:
    assert len(measure_objects(np.zeros((4, 4), np.uint8))) == 0
    assert len(Tracks.measure(np.zeros((3, 4, 4), np.uint8))) == 0


def test_frames_are_measured_one_at_a_time_with_image_and_confidence() -> None:
    def frames():
        for t in range(3):
            yield np.full((2, 2), t + 1)

    tracks = Tracks.measure(frames(), images=np.full((3, 2, 2, 3), 7.0), confidence=iter([np.full((2, 2), 0.5)] * 3))
    np.testing.assert_array_equal(tracks.track, [1, 2, 3])
    np.testing.assert_array_equal(tracks.mean_intensity, [7, 7, 7])
    np.testing.assert_array_equal(tracks.confidence, [0.5] * 3)
    with pytest.raises(InputError, match="more frames of labels"):
        Tracks.measure(frames(), images=np.zeros((2, 2, 2)))


def test_rows_lives_and_gaps() -> None:
    tracks = family()
    assert tracks.ids == (1, 2, 3, 5)
    assert (tracks.begin(3), tracks.end(3), tracks.gaps(3)) == (2, 4, [(2, 4)])
    assert tracks.row(3, 3) is None
    row = tracks.row(3, 4)
    assert row is not None
    np.testing.assert_array_equal(tracks.centroid[row], [0, 5.5, 2.5])
    assert tracks.area[row] == 4
    with pytest.raises(InputError, match="no track 4"):
        tracks.rows(4)


def test_lineage() -> None:
    tracks = family()
    assert tracks.divisions == {1: (2, 3)}
    assert tracks.roots == (1, 5)
    assert tracks.root(3) == 1
    assert tracks.lineage(1) == (1, 2, 3)
    assert tracks.children(5) == ()


def test_napari_gets_rows_and_graph() -> None:
    tracks = family()
    assert tracks.napari_rows().shape == (len(tracks), 4)
    np.testing.assert_array_equal(tracks.napari_rows()[0], [1, 0, 3.5, 3.5])
    assert tracks.napari_graph() == {2: [1], 3: [1]}
    volumes = Tracks.measure(np.ones((2, 3, 4, 4), np.uint8))
    assert volumes.axes == "tzyx"
    np.testing.assert_array_equal(volumes.napari_rows()[1], [1, 1, 1, 1.5, 1.5])


def test_rows_are_sorted_and_checked() -> None:
    tracks = Tracks([2, 1, 1], [0, 1, 0], np.zeros((3, 3)), [1, 2, 3])
    np.testing.assert_array_equal(tracks.area, [3, 2, 1])
    with pytest.raises(InputError, match="twice in frame 0"):
        Tracks([1, 1], [0, 0], np.zeros((2, 3)), [1, 1])
    with pytest.raises(InputError, match="both must be tracks"):
        Tracks([1], [0], np.zeros((1, 3)), [1], parents={2: (1,)})
    with pytest.raises(InputError, match="begins before"):
        Tracks([1, 2], [0, 0], np.zeros((2, 3)), [1, 1], parents={2: (1,)})
    with pytest.raises(InputError, match="area must be"):
        Tracks([1, 2], [0, 0], np.zeros((2, 3)), [1])
