"""Tiles: weights that sum to one, no seam, and examples cut to the same scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_incontext_seg.core.tiling import TilePlan, blend, crop_example, plan_tiles
from napari_incontext_seg.core.types import Example
from napari_incontext_seg.errors import InputError

SIDE = st.integers(1, 60)


def total_weight(plan: TilePlan) -> np.ndarray:
    total = np.zeros(plan.shape)
    for tile in plan.tiles:
        along_y, along_x = plan.weights(tile)
        total[tile.area] += along_y[:, None] * along_x
    return total


@settings(max_examples=150, deadline=None)
@given(st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE), st.integers(0, 12))
def test_weights_sum_to_one_and_tiles_have_one_size(shape: tuple[int, int], tile: tuple[int, int], halo: int) -> None:
    assume(all(t >= n or t > 2 * halo for t, n in zip(tile, shape, strict=True)))
    plan = plan_tiles(shape, tile, halo)
    np.testing.assert_allclose(total_weight(plan), 1, atol=1e-6)
    for t in plan.tiles:
        assert (t.y1 - t.y0, t.x1 - t.x0) == plan.tile == tuple(min(p) for p in zip(tile, shape, strict=True))
        assert t.y0 >= 0 <= t.x0
        assert t.y1 <= shape[0]
        assert t.x1 <= shape[1]


def test_the_halo_has_no_say_save_at_the_border() -> None:
    plan = plan_tiles((100, 40), (40, 40), 6)
    first, middle = plan.weights(plan.tiles[0])[0], plan.weights(plan.tiles[1])[0]
    assert first[0] == 1
    assert not first[-6:].any()
    assert not middle[:6].any()
    assert not middle[-6:].any()
    assert (middle[6:-6] > 0).all()
    assert (plan.weights(plan.tiles[0])[1] == 1).all()  # one tile across: nothing to blend


def test_a_halo_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="halo"):
        plan_tiles((100, 100), (16, 16), 8)
    assert len(plan_tiles((16, 16), (16, 16), 8).tiles) == 1


def smooth(plane: np.ndarray) -> np.ndarray:
    """A stand-in for a network whose field is 9 px wide to each side."""
    return ndimage.uniform_filter(plane, (9, 9, 0), mode="nearest") ** 2 + ndimage.gaussian_filter(
        plane, (2, 2, 0), truncate=4.5, mode="nearest"
    )


@pytest.mark.parametrize("shape", [(257, 190), (40, 300), (64, 1)])
def test_no_seam_when_the_field_fits_in_the_halo(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).random((*shape, 2), np.float32)
    tiled = blend(smooth, plane, plan_tiles(shape, (64, 64), 9))
    assert tiled.dtype == np.float32
    np.testing.assert_allclose(tiled, smooth(plane), atol=1e-5)


def test_no_seam_on_4096_by_4096() -> None:
    plane = np.random.default_rng(0).random((4096, 4096, 1), np.float32)
    plan = plan_tiles((4096, 4096), (448, 448), 9)
    assert len(plan.tiles) == 10**2
    assert np.abs(blend(smooth, plane, plan) - smooth(plane)).max() < 1e-5


def test_a_halo_too_small_shows_a_seam() -> None:
    """The seam tests above bite."""
    plane = np.random.default_rng(0).random((200, 200, 1), np.float32)
    tiled = blend(smooth, plane, plan_tiles((200, 200), (64, 64), 2))
    assert np.abs(tiled - smooth(plane)).max() > 1e-3


def test_disagreeing_tiles_blend_smoothly() -> None:
    values = iter(range(100))
    plan = plan_tiles((20, 300), (20, 100), 10)
    painted = blend(
        lambda t: np.full((*t.shape[:2], 1), next(values), np.float32), np.zeros((20, 300, 1), np.float32), plan
    )
    steps = np.diff(painted[0, :, 0])
    assert (steps >= -1e-6).all()
    assert steps.max() < 0.2


def test_a_plan_for_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match="planned"):
        blend(smooth, np.zeros((8, 9, 1), np.float32), plan_tiles((8, 8), (4, 4), 0))


def example(labels: np.ndarray, valid: np.ndarray | None = None) -> Example:
    return Example(np.zeros((*labels.shape, 1), np.float32), labels, valid, (0.5, 0.5))


def test_the_window_with_the_most_labels_is_cut() -> None:
    labels = np.zeros((200, 300), np.uint32)
    labels[150:160, 200:210], labels[170:180, 230:240], labels[20:60, 20:60] = 1, 2, 3
    cut = crop_example(example(labels), (64, 64))
    assert cut.labels.shape == (64, 64)
    assert {1, 2} <= set(cut.ids)
    assert cut.spacing == (0.5, 0.5)


def test_among_equals_the_balanced_window_is_cut() -> None:
    labels = np.zeros((64, 256), np.uint32)
    labels[:, 128:] = 1
    share = (crop_example(example(labels), (64, 64)).labels > 0).mean()
    assert share == pytest.approx(0.5, abs=0.1)


def test_a_scribble_is_found_wherever_it_is() -> None:
    labels, valid = np.zeros((500, 400), np.uint32), np.zeros((500, 400), bool)
    labels[497:, 390:395] = 1
    valid[497:, 390:395] = True
    assert crop_example(example(labels, valid), (100, 90)).ids == (1,)
    assert crop_example(example(np.zeros_like(labels), valid), (100, 90)).ids == (0,)


@settings(max_examples=60, deadline=None)
@given(st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE), st.integers(0, 2**16))
def test_a_cut_example_shows_an_object_if_there_is_one(
    shape: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    labels = (np.random.default_rng(seed).random(shape) > 0.99).astype(np.uint32)
    cut = crop_example(example(labels), size)
    assert cut.labels.shape == tuple(min(p) for p in zip(size, shape, strict=True))
    assert cut.labels.any() == labels.any()


def test_an_example_that_fits_is_left_alone() -> None:
    whole = example(np.ones((10, 12), np.uint32))
    assert crop_example(whole, (12, 12)) is whole
