"""The guess on the examples themselves, held out, and scores as shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_incontext_seg.infer.guess import Guess, fit, shares


def noise_with_labels(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two planes of noise whose labels have nothing to do with them."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 1, 96, 96, generator=generator)
    cells = torch.rand(2, 1, 12, 12, generator=generator) > 0.5
    inside = cells.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return images, torch.cat([~inside, inside], 1).float(), torch.ones(2, 96, 96, dtype=torch.bool)


def accuracy(scores: torch.Tensor, targets: torch.Tensor) -> float:
    return float((scores.argmax(1) == targets.argmax(1)).float().mean())


def test_an_example_that_cannot_be_learned_is_guessed_by_chance_when_it_is_held_out() -> None:
    images, targets, valid = noise_with_labels(0)
    guess = fit([(images, targets, valid)], background=False, samples=6000)
    assert accuracy(guess.paint(images), targets) > 0.56
    assert accuracy(guess.paint_example(images), targets) == pytest.approx(0.5, abs=0.045)


def test_each_of_several_examples_has_its_own_held_out_guess() -> None:
    shown = [noise_with_labels(seed) for seed in (1, 2)]
    shown = [(images + targets[:, 1:], targets, valid) for images, targets, valid in shown]
    guess: Guess = fit(shown, samples=3000)
    for number, (images, targets, _) in enumerate(shown):
        assert accuracy(guess.paint_example(images, number), targets) > 0.9


@settings(deadline=None)
@given(arrays(np.float32, (3, 4, 1, 2), elements=st.floats(-2, 3, width=32)))
def test_shares_sum_to_one_and_keep_the_order(scores: np.ndarray) -> None:
    found = shares(torch.tensor(scores))
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(1), torch.ones(3, 1, 2))
    order = torch.tensor(scores).argsort(1)
    assert (found.gather(1, order).diff(dim=1) >= -1e-6).all()


def test_scores_that_are_shares_stay_as_they_are() -> None:
    scores = torch.tensor([0.2, 0.5, 0.3]).view(1, 3, 1, 1)
    torch.testing.assert_close(shares(scores), scores)


def test_the_half_way_mark_of_two_classes_is_where_their_scores_are_equal() -> None:
    scores = torch.tensor([[0.4, 0.4], [0.7, 0.5]]).view(2, 2, 1, 1)
    torch.testing.assert_close(shares(scores)[:, 1].flatten(), torch.tensor([0.5, 0.4]))
