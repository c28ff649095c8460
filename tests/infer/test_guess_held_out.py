"""The guess on the example itself, held out."""

from __future__ import annotations

import pytest
import torch

from napari_incontext_seg.infer.guess import Guess, fit


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
