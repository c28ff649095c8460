"""Objects from painted classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, spatial
from skimage.segmentation import expand_labels

from napari_incontext_seg.core.instances import (
    components,
    distinct_neighbours,
    guess_kind,
    looks_like_image,
    one_piece_each,
)


def test_each_component_of_each_class_gets_an_id() -> None:
    labels = np.array([[7, 7, 0, 7], [9, 9, 0, 0], [0, 0, 9, 0]], np.uint32)
    found = components(labels)
    assert found.dtype == np.uint32
    assert set(np.unique(found)) == {0, 1, 2, 3, 4}
    assert np.array_equal(found > 0, labels > 0)
    assert found[1, 1] != found[2, 2]  # they touch by a corner only


def test_an_empty_plane_has_no_component() -> None:
    assert not components(np.zeros((3, 3), np.uint32)).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_objects_near_each_other_get_different_ids_of_few(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    seeds = np.zeros((40, 40), np.uint32)
    seeds[rng.integers(0, 40, count), rng.integers(0, 40, count)] = rng.integers(1, 2**32, count, dtype=np.uint32)
    labels = expand_labels(np.unique(seeds, return_inverse=True)[1].reshape(40, 40), 3).astype(np.uint32) * 50_000
    few = distinct_neighbours(labels, count=12)
    assert ((few > 0) == (labels > 0)).all()
    assert few.max() <= 12
    for a, b, f, g in (
        (labels[1:], labels[:-1], few[1:], few[:-1]),
        (labels[:, 1:], labels[:, :-1], few[:, 1:], few[:, :-1]),
    ):
        touching = (a != b) & (a > 0) & (b > 0)
        assert (f[touching] != g[touching]).all()
    assert all(len(np.unique(few[labels == i])) == 1 for i in np.unique(labels))


def test_kind_is_told_from_the_labels() -> None:
    cells = np.zeros((40, 40), np.uint32)
    cells[::4, ::4] = np.arange(1, 101).reshape(10, 10)
    assert guess_kind([cells]) == "instance"
    assert guess_kind([np.zeros_like(cells), cells.astype(np.int64) - 1], ignore_label=-1) == "instance"
    assert guess_kind([(cells > 0).astype(np.uint32)]) == "semantic"
    assert guess_kind([cells % 20]) == "semantic"  # many ids, each in several pieces
    assert guess_kind([np.where(cells <= 5, cells, 0)]) == "semantic"  # few ids, each in one piece
    assert guess_kind([np.zeros_like(cells)]) == "semantic"


def test_few_ids_of_one_piece_each_could_be_objects_as_well_as_classes() -> None:
    cells = np.arange(1, 5, dtype=np.uint32).repeat(25).reshape(2, 50)
    assert one_piece_each([cells, cells * 0])
    assert not one_piece_each([cells, np.tile(cells, (1, 2))])
    assert not one_piece_each([(cells == 2).astype(np.uint32)])
    assert one_piece_each([cells.astype(np.int64) - 1], ignore_label=-1)


@pytest.mark.parametrize(("sigma", "top"), [(0, 60), (0, 255), (1, 60), (1, 4000), (4, 255), (4, 4000)])
def test_brightness_looks_like_an_image(sigma: float, top: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(300, 400)), sigma)
    assert looks_like_image(((noise - noise.min()) / np.ptp(noise) * top).astype(np.uint16))


def test_labels_do_not_look_like_an_image() -> None:
    rows, columns = np.mgrid[:300, :400]
    seeds = np.random.default_rng(0).uniform(0, 400, (3000, 2))
    cells = spatial.cKDTree(seeds).query(np.stack([rows.ravel(), columns.ravel()], 1))[1].reshape(300, 400) + 1
    points = np.zeros((300, 400), np.uint16)
    points[::5, ::5] = np.arange(60 * 80).reshape(60, 80)
    scribbles = np.where(rows % 6 == 0, rows // 6 % 40 + 1, 0)
    mask = (cells % 3 == 0) * np.uint8(255)
    for labels in (cells, cells % 256, points, scribbles, mask, mask > 0, mask * 0, mask[:0], mask[:, :0]):
        assert not looks_like_image(labels)
