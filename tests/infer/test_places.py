"""Places: used where example and query agree about them, and not where they do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_micro_predictor import made
from torch import Tensor

from napari_incontext_seg.core.metrics import dice
from napari_incontext_seg.core.types import Context, Example
from napari_incontext_seg.infer.places import GRID, Places

SIZE = 128


def discs(centres: list[tuple[int, int]], radius: int = 14) -> Tensor:
    """(1, 1 + n, SIZE, SIZE): background, and a class for each disc."""
    y, x = np.mgrid[:SIZE, :SIZE]
    inside = [(y - cy) ** 2 + (x - cx) ** 2 < radius**2 for cy, cx in centres]
    return torch.tensor(np.stack([~np.any(inside, 0), *inside])[None].astype(np.float32))


def places(targets: Tensor, valid: Tensor | None = None, quality: float = 0.5) -> Places:
    everywhere = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    return Places.of([(targets[:, :1], targets, everywhere if valid is None else valid)], quality)


def test_two_organs_of_one_look_are_told_apart_by_their_places() -> None:
    def shown(seed: int, moved: int) -> tuple[np.ndarray, np.ndarray]:
        inside = discs([(60 + moved, 30 + moved), (70 + moved, 95 + moved)]).argmax(1)[0].numpy()
        noise = np.random.default_rng(seed).normal(0, 0.03, inside.shape)
        return np.clip(0.3 + 0.4 * (inside > 0) + noise, 0, 1).astype(np.float32), inside.astype(np.uint32)

    image, labels = shown(0, 0)
    plane, truth = shown(1, 5)
    predictor = made()
    assert dice(predictor.bind(Context((Example(image, labels),)))(plane[..., None]).labels, truth, [1, 2]) > 0.9
    blind = made()
    blind.knows_places = False
    assert dice(blind.bind(Context((Example(image, labels),)))(plane[..., None]).labels, truth, [1, 2]) < 0.8


def test_things_that_lie_elsewhere_are_left_to_their_looks() -> None:
    example, query = discs([(30, 30), (90, 40)]), discs([(90, 100), (40, 70)])
    assert torch.equal(places(example).added(query), query)


def test_the_better_things_fit_the_more_places_count_up_to_a_limit() -> None:
    here = discs([(60, 60)])
    changes = [(places(discs([(60 + by, 60)])).added(here) - here).abs().amax().item() for by in (0, 40)]
    assert changes[0] > 3 * changes[1]
    assert changes[0] < 0.7  # a score of 1 for a class is not overruled


def test_the_better_the_looks_do_the_less_places_count() -> None:
    here, there = discs([(60, 60)]), discs([(64, 60)])
    changes = [(places(there, quality=q).added(here) - here).abs().amax().item() for q in (0.6, 0.8, 1.0)]
    assert changes[1] == pytest.approx(changes[0] / 2)
    assert changes[2] == 0


def test_confidence_is_that_of_the_looks_and_nothing_where_places_overrule_them() -> None:
    labels = discs([(60, 30), (70, 95)]).argmax(1)[0].numpy().astype(np.uint32)
    image = np.random.default_rng(0).normal(0.3 + 0.4 * (labels > 0), 0.03).clip(0, 1).astype(np.float32)
    predictor, blind = made(), made()
    blind.knows_places = False
    context = Context((Example(image, labels),))
    with_places, by_looks = (p.bind(context)(image[..., None]) for p in (predictor, blind))
    overruled = with_places.labels != by_looks.labels
    assert 0 < overruled.mean() < 0.2
    np.testing.assert_array_equal(with_places.confidence, np.where(overruled, 0, by_looks.confidence))


@pytest.mark.parametrize("tuned", [False, True])
def test_where_the_closed_form_finds_nothing_places_and_a_tuned_network_bring_nothing(
    tuned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = discs([(60, 30), (70, 95)])
    labels = classes.argmax(1)[0].numpy().astype(np.uint32)
    image = np.random.default_rng(0).normal(0.3 + 0.4 * (labels > 0), 0.1).clip(0, 1).astype(np.float32)[..., None]
    segmenter = made().bind(Context((Example(image, labels),)))
    faint = torch.cat([0.5 + 0.4 * classes[:, :1], 0.4 * classes[:, 1:]], 1)
    monkeypatch.setattr(segmenter, "_opinions", lambda _: ([faint], [classes if tuned else faint]))
    assert segmenter.scores(image).argmax(2).any()
    assert not segmenter(image).labels.any()


def test_what_an_example_does_not_show_or_tell_has_no_place() -> None:
    targets = torch.cat([discs([(60, 60)]), torch.zeros(1, 1, SIZE, SIZE)], 1)
    half = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    half[:, :, SIZE // 2 :] = False
    priors = places(targets, half).priors
    assert priors.shape == (1, 3, GRID, GRID)
    assert torch.equal(priors[:, 2], torch.zeros(1, GRID, GRID))
    assert priors[0, :, :, GRID // 2 + 9 :].abs().max() < 1e-3


def test_of_several_examples_the_one_that_fits_best_is_used() -> None:
    near, far, query = discs([(60, 60)]), discs([(20, 100)]), discs([(62, 60)])
    both = Places(torch.cat([places(far).priors, places(near).priors]))
    assert torch.equal(both.added(query), places(near).added(query))
