"""Labels <-> colours: told apart, read back, and painted in several passes when there are too many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_incontext_seg.core.palette import (
    MAX_COLOURS,
    MIN_DISTANCE,
    Palette,
    merge,
    passes,
    scores_to_labels,
    separation,
)
from napari_incontext_seg.errors import InputError

OBJECTS = st.sets(st.integers(1, 2**32 - 1), min_size=1, max_size=MAX_COLOURS - 1)


@settings(max_examples=60, deadline=None)
@given(objects=OBJECTS, background=st.booleans(), seed=st.integers(0, 99))
def test_labels_survive_painting(objects: set[int], background: bool, seed: int) -> None:
    ids = sorted(objects | ({0} if background else set()))
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array(ids, np.uint32), (9, 11))
    for palette in (Palette.fixed(ids), Palette.random(ids, rng)):
        assert separation(palette.colours) >= MIN_DISTANCE
        painted = palette.paint(labels)
        assert painted.dtype == np.float32
        read, confidence = palette.decode(painted)
        assert np.array_equal(read, labels)
        assert confidence.min() == 1


@settings(max_examples=40, deadline=None)
@given(objects=OBJECTS, seed=st.integers(0, 99))
def test_less_noise_than_half_the_distance_does_no_harm(objects: set[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    palette = Palette.random({0, *objects}, rng)
    labels = rng.choice(np.array(palette.ids, np.uint32), (8, 8))
    noise = rng.normal(size=(8, 8, 3))
    noise *= 0.49 * MIN_DISTANCE / np.linalg.norm(noise, axis=2, keepdims=True)
    assert np.array_equal(palette.decode((palette.paint(labels) + noise).astype(np.float32))[0], labels)


@pytest.mark.parametrize(("ids", "distance"), [(2, 3**0.5), (4, 2**0.5), (8, 1), (MAX_COLOURS, 0.5**0.5)])
def test_fixed_colours_are_as_far_apart_as_can_be(ids: int, distance: float) -> None:
    assert separation(Palette.fixed(range(ids)).colours) == pytest.approx(distance)


def test_background_is_black_and_so_are_unknown_ids() -> None:
    palette = Palette.fixed([0, 4])
    painted = palette.paint(np.array([[0, 4, 9]], np.uint32))
    assert painted[0].tolist() == [[0, 0, 0], [1, 1, 1], [0, 0, 0]]


def test_a_scribble_without_background_never_paints_black() -> None:
    palette = Palette.fixed([1, 2])  # 1 may well be called "background", it is an ordinary label
    assert palette.colours.any(axis=1).all()
    assert set(palette.decode(np.random.default_rng(0).random((9, 9, 3), np.float32))[0].ravel()) == {1, 2}


def test_confidence_falls_from_the_colour_to_the_border() -> None:
    steps = np.linspace(0, 0.5, 6, dtype=np.float32)
    painted = np.repeat(steps[None, :, None], 3, axis=2)  # from black half-way to white
    labels, confidence = Palette.fixed([0, 1]).decode(painted)
    assert not labels[:, :-1].any()
    np.testing.assert_allclose(confidence[0], [1, 0.8, 0.6, 0.4, 0.2, 0], atol=1e-6)


def test_a_single_label_is_read_with_confidence_too() -> None:
    palette = Palette.fixed([7])
    _, confidence = palette.decode(np.array([[[1, 1, 1], [0.5, 0.5, 0.5], [0, 0, 0]]], np.float32))
    np.testing.assert_allclose(confidence[0], [1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("ids", [[], [1, 1], [-1], [2**32], range(MAX_COLOURS + 1), range(1, MAX_COLOURS + 1)])
def test_ids_that_no_palette_can_hold_are_refused(ids: list[int]) -> None:
    with pytest.raises(InputError):
        Palette.fixed(ids)


@pytest.mark.parametrize(
    "colours", [[[0, 0, 0], [0.1, 0, 0]], [[1, 1, 1], [0, 1, 0]], [[0, 0, 0], [2, 0, 0]], [[0, 0, 0]]]
)
def test_colours_that_break_the_promise_are_refused(colours: list[list[float]]) -> None:
    with pytest.raises(InputError):
        Palette((0, 1), np.array(colours, np.float32))


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 500), min_size=1, max_size=80))
def test_passes_hold_every_id_once_in_balanced_groups(ids: set[int]) -> None:
    groups = passes(ids)
    assert sorted(i for g in groups for i in g if i) == sorted(ids - {0})
    assert all(Palette.fixed(g) for g in groups)
    sizes = [len(set(g) - {0}) for g in groups]
    assert max(sizes) - min(sizes) <= 1
    assert all((g[0] == 0) == (0 in ids or len(groups) > 1) for g in groups)


def test_many_labels_are_painted_in_passes_and_merged() -> None:
    labels = np.arange(60, dtype=np.uint32).reshape(6, 10) * 1000
    parts = []
    for ids in passes(np.unique(labels)):
        palette = Palette.fixed(ids)
        parts.append(palette.decode(palette.paint(labels)))
    assert len(parts) == 5
    merged, confidence = merge(parts)
    assert np.array_equal(merged, labels)
    assert confidence.min() == 1


def test_merging_takes_the_surest_object_and_the_least_sure_background() -> None:
    parts = [
        (np.array([[1, 1, 0, 0]], np.uint32), np.array([[0.9, 0.2, 0.8, 1]], np.float32)),
        (np.array([[2, 2, 0, 2]], np.uint32), np.array([[0.5, 0.6, 0.3, 0.1]], np.float32)),
    ]
    labels, confidence = merge(parts)
    assert labels.tolist() == [[1, 2, 0, 2]]
    np.testing.assert_allclose(confidence, [[0.9, 0.6, 0.3, 0.1]])


def test_scores_become_labels_with_their_margin() -> None:
    scores = np.array([[[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [-3.0, 1.5, -1.0], [-2.0, -3.0, -1.0]]], np.float32)
    labels, confidence = scores_to_labels(scores, (0, 5, 2**32 - 1))
    assert labels.tolist() == [[0, 0, 5, 2**32 - 1]]
    np.testing.assert_allclose(confidence, [[0.5, 0, 1, 0]], atol=1e-6)


def test_scores_must_be_one_a_label() -> None:
    with pytest.raises(InputError, match="one a label"):
        scores_to_labels(np.zeros((2, 2, 3), np.float32), (0, 1))
