"""Objects from painted classes."""

from __future__ import annotations

import numpy as np

from napari_incontext_seg.core.instances import components, guess_kind


def test_each_component_of_each_class_gets_an_id() -> None:
    labels = np.array([[7, 7, 0, 7], [9, 9, 0, 0], [0, 0, 9, 0]], np.uint32)
    found = components(labels)
    assert found.dtype == np.uint32
    assert set(np.unique(found)) == {0, 1, 2, 3, 4}
    assert np.array_equal(found > 0, labels > 0)
    assert found[1, 1] != found[2, 2]  # they touch by a corner only


def test_small_components_go_and_ids_stay_without_gaps() -> None:
    labels = np.array([[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]], np.uint32)
    assert components(labels, min_size=2).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 0]]
    assert not components(np.zeros((3, 3), np.uint32)).any()


def test_kind_is_told_from_the_labels() -> None:
    cells = np.zeros((40, 40), np.uint32)
    cells[::4, ::4] = np.arange(1, 101).reshape(10, 10)
    assert guess_kind([cells]) == "instance"
    assert guess_kind([np.zeros_like(cells), cells.astype(np.int64) - 1], ignore_label=-1) == "instance"
    assert guess_kind([(cells > 0).astype(np.uint32)]) == "semantic"
    assert guess_kind([cells % 20]) == "semantic"  # many ids, each in several pieces
    assert guess_kind([np.where(cells <= 5, cells, 0)]) == "semantic"  # few ids, each in one piece
    assert guess_kind([np.zeros_like(cells)]) == "semantic"
