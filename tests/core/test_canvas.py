"""The canvas: planes of any size into a window and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.draw import disk

from napari_incontext_seg.core.canvas import MIN_OBJECT, Canvas, choose_tile, fit_canvas, object_size
from napari_incontext_seg.errors import InputError

SIDE = st.integers(1, 24)


@settings(max_examples=60, deadline=None)
@given(height=SIDE, width=SIDE, channels=st.sampled_from([1, 3]), seed=st.integers(0, 99))
def test_a_plane_that_fits_comes_back_unchanged(height: int, width: int, channels: int, seed: int) -> None:
    plane = np.random.default_rng(seed).random((height, width, channels), np.float32)
    canvas = fit_canvas((height, width), (24, 24), max_scale=1)
    placed = canvas.place_image(plane)
    assert placed.shape == (24, 24, channels)
    assert canvas.valid.sum() == height * width
    for order in ("bilinear", "nearest"):
        assert np.array_equal(canvas.recover(placed, order), plane)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), keep_aspect=st.booleans())
def test_every_shape_can_be_placed_and_recovered(height: int, width: int, keep_aspect: bool) -> None:
    canvas = fit_canvas((height, width), (32, 16), keep_aspect=keep_aspect)
    placed = canvas.place_image(np.full((height, width, 1), 0.5, np.float32))
    assert placed.shape == (32, 16, 1)
    np.testing.assert_allclose(placed, 0.5, atol=1e-6)  # the padding mirrors the plane
    np.testing.assert_allclose(canvas.recover(placed), np.full((height, width, 1), 0.5), atol=1e-6)
    filled = [canvas.valid[:, 0].all(), canvas.valid[0].all()]
    assert any(filled) if keep_aspect else all(filled)


def test_labels_of_constant_regions_survive_with_large_ids() -> None:
    labels = np.zeros((50, 70), np.uint32)
    labels[10:40, 20:50] = 2**32 - 1
    canvas = fit_canvas(labels.shape, (32, 32))
    placed = canvas.place_labels(labels)
    assert placed.dtype == np.uint32
    assert set(np.unique(placed)) == {0, 2**32 - 1}
    assert not placed[~canvas.valid].any()
    back = canvas.recover(placed[..., None], "nearest")[..., 0]
    assert np.array_equal(back[14:36, 24:46], labels[14:36, 24:46])


@pytest.mark.parametrize("window", [(20, 30), (90, 80)])
def test_images_are_resized_as_pil_does(window: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).integers(60, 180, (37, 53, 3)).astype(np.uint8)
    ours = fit_canvas((37, 53), window, keep_aspect=False).place_image(plane.astype(np.float32) / 255)
    theirs = np.asarray(Image.fromarray(plane).resize(window[::-1], Image.Resampling.BICUBIC))
    assert np.abs(ours * 255 - theirs).max() <= 1.1  # PIL rounds to whole grey values after each axis
    band = Image.fromarray(plane[..., 0].astype(np.float32) / 255)
    exact = np.asarray(band.resize(window[::-1], Image.Resampling.BICUBIC))
    np.testing.assert_allclose(ours[..., 0], exact, atol=1e-6)


def test_labels_are_resized_as_pil_does() -> None:
    labels = np.random.default_rng(0).integers(0, 9, (37, 53)).astype(np.uint8)
    ours = fit_canvas((37, 53), (20, 90), keep_aspect=False).place_labels(labels)
    assert np.array_equal(ours, np.asarray(Image.fromarray(labels).resize((90, 20), Image.Resampling.NEAREST)))


def test_bicubic_does_not_overshoot() -> None:
    step = np.repeat(np.array([0, 1], np.float32), 8)[None, :, None].repeat(16, axis=0)
    placed = fit_canvas((16, 16), (50, 50)).place_image(step)
    assert placed.min() == 0
    assert placed.max() == 1


def test_the_aspect_is_kept_unless_told_otherwise() -> None:
    assert fit_canvas((100, 50), (40, 40)).size == (40, 20)
    assert fit_canvas((100, 50), (40, 40), keep_aspect=False).size == (40, 40)
    assert fit_canvas((1000, 1), (40, 40)).size == (40, 1)
    assert fit_canvas((10, 10), (40, 40), max_scale=2).size == (20, 20)


def test_arrays_of_another_shape_are_refused() -> None:
    canvas = fit_canvas((4, 4), (8, 8))
    with pytest.raises(InputError, match=r"\(4, 4\)"):
        canvas.place_labels(np.zeros((4, 5), np.uint32))
    with pytest.raises(InputError, match=r"\(8, 8\)"):
        canvas.recover(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(InputError, match="window"):
        Canvas((4, 4), (9, 9), (8, 8))


def disks(radius: int, count: int = 3) -> np.ndarray:
    labels = np.zeros((100, 40 * count), np.uint32)
    for k in range(count):
        labels[disk((50, 20 + 40 * k), radius)] = 1
    return labels


@pytest.mark.parametrize("radius", [3, 8, 18])
def test_a_round_object_is_as_large_as_its_diameter(radius: int) -> None:
    assert object_size(disks(radius)) == pytest.approx(2 * radius, rel=0.1)


@pytest.mark.parametrize("thickness", [1, 3, 5, 9])
def test_a_network_of_membranes_is_as_large_as_it_is_thick(thickness: int) -> None:
    labels = np.zeros((200, 200), np.uint32)
    for start in range(20, 200, 60):
        labels[start : start + thickness] = 1
        labels[:, start : start + thickness] = 1
    assert object_size(labels) == pytest.approx(thickness, abs=1)


def test_touching_objects_are_measured_apart_and_the_median_counts() -> None:
    labels = np.zeros((40, 80), np.uint32)
    labels[:20, :20], labels[:20, 20:40], labels[39, 79] = 1, 2, 3
    assert object_size(labels) == pytest.approx(20 * 2 / np.pi**0.5)
    assert object_size(np.zeros((3, 3), np.uint32)) == np.inf


def test_specks_do_not_make_objects_small() -> None:
    labels = disks(18)
    labels[::10, ::10] = 1
    assert object_size(labels) == pytest.approx(36, rel=0.1)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.floats(1, 500))
def test_no_object_is_shrunk_below_the_minimum(shape: tuple[int, int], size: float) -> None:
    tile = choose_tile(shape, (448, 448), size)
    assert all(1 <= t <= n for t, n in zip(tile, shape, strict=True))
    scale = min(1.0, *(448 / t for t in tile))
    assert size * scale >= min(size, MIN_OBJECT) - 1e-6


def test_large_objects_let_one_window_show_the_whole_plane() -> None:
    assert choose_tile((1024, 1024), (448, 448), 20) == (1024, 1024)
    assert choose_tile((1024, 1024), (448, 448), 10) == (560, 560)
    assert choose_tile((1024, 300), (448, 448), 5) == (448, 300)
