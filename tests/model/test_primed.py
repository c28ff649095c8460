"""Primed networks: they correct a guess, start from exactly that guess, and see where it is wrong on the examples."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from seggpt_reference import SMALL, TOLERANCE, difference, prompts, randomise
from torch import Tensor

from napari_incontext_seg.errors import InputError
from napari_incontext_seg.model import SegGpt
from napari_incontext_seg.model.checkpoint import load_model, save_model

PRIMED = replace(SMALL, primed=True)


def panels(batch: int, num_examples: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Query, images, targets, and guesses of all of them."""
    query, images, targets = prompts(PRIMED, batch, num_examples)
    guesses = torch.randn(batch, num_examples + 1, *query.shape[1:], generator=torch.Generator().manual_seed(2))
    return query, images, targets, guesses


@pytest.fixture(scope="module")
def model() -> SegGpt:
    return randomise(SegGpt(PRIMED))


@torch.inference_mode()
def test_an_untrained_network_paints_the_guess() -> None:
    query, images, targets, guesses = panels(2, 3)
    painted = SegGpt(PRIMED).eval()(query, images, targets, ensemble="feature", guesses=guesses)
    assert torch.equal(painted, guesses[:, -1])


@torch.inference_mode()
def test_the_painting_depends_on_all_that_is_shown(model: SegGpt) -> None:
    query, images, targets, guesses = panels(1, 1)
    painted = model(query, images, targets, guesses=guesses)
    wrong_elsewhere = guesses.clone()
    wrong_elsewhere[:, 0] += 1
    assert difference(model(query + 1, images, targets, guesses=guesses), painted) > 0.01
    assert difference(model(query, images + 1, targets, guesses=guesses), painted) > 0.01
    assert difference(model(query, images, targets + 1, guesses=guesses), painted) > 0.01
    assert difference(model(query, images, targets, guesses=wrong_elsewhere), painted) > 0.01


@torch.inference_mode()
@pytest.mark.parametrize("num_examples", [1, 3])
def test_the_query_alone_is_painted_as_on_the_whole_canvas(model: SegGpt, num_examples: int) -> None:
    query, images, targets, guesses = panels(2, num_examples)
    mask = torch.zeros(2, num_examples + 1, *PRIMED.grid, dtype=torch.bool)
    mask[:, -1] = True
    canvases = model.paint_canvas(
        torch.cat([images, query[:, None]], 1), torch.cat([targets, query[:, None]], 1), mask, guesses=guesses
    )
    assert canvases.shape == (2, num_examples, 3, 2 * query.shape[2], query.shape[3])
    alone = model(query, images, targets, ensemble="feature", guesses=guesses)
    for number in range(num_examples):
        assert difference(canvases[:, number, :, query.shape[2] :], alone) < TOLERANCE


@torch.inference_mode()
def test_without_ensemble_each_example_goes_with_its_own_guess(model: SegGpt) -> None:
    query, images, targets, guesses = panels(2, 2)
    alone = [model(query, images[:, k : k + 1], targets[:, k : k + 1], guesses=guesses[:, [k, -1]]) for k in range(2)]
    assert difference(model(query, images, targets, guesses=guesses), torch.stack(alone).mean(0)) < TOLERANCE


@torch.inference_mode()
def test_without_its_blocks_a_network_cannot_see_the_example(model: SegGpt) -> None:
    query, images, targets, guesses = panels(1, 1)
    ablated = model.without_blocks()
    painted = ablated(query, images, targets, guesses=guesses)
    assert torch.equal(ablated(query, images + 1, targets + 1, guesses=guesses), painted)
    assert difference(ablated(query + 1, images, targets, guesses=guesses), painted) > 0.01
    assert difference(model(query, images, targets, guesses=guesses), painted) > 0.01


def test_gradients_reach_every_parameter() -> None:
    model = randomise(SegGpt(PRIMED)).train()
    query, images, targets, guesses = panels(2, 2)
    seg_type = torch.tensor([0, 1])
    model(query, images, targets, ensemble="feature", seg_type=seg_type, guesses=guesses).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_a_primed_network_can_be_stored(model: SegGpt, tmp_path) -> None:
    save_model(model, tmp_path / "primed.safetensors")
    loaded = load_model(tmp_path / "primed.safetensors")
    assert loaded.config == PRIMED
    inputs = panels(1, 1)
    expected = model(*inputs[:3], guesses=inputs[3])
    assert torch.equal(loaded.network(*inputs[:3], guesses=inputs[3]), expected)


def test_guesses_are_for_primed_networks_and_only_for_them(model: SegGpt) -> None:
    query, images, targets, guesses = panels(1, 1)
    with pytest.raises(InputError, match="is primed: give it guesses"):
        model(query, images, targets)
    with pytest.raises(InputError, match="takes no guesses"):
        SegGpt(SMALL)(query, images, targets, guesses=guesses)
    with pytest.raises(InputError, match="guesses must match"):
        model(query, images, targets, guesses=guesses[:, :1])


def test_networks_that_are_not_primed_have_the_published_parameters() -> None:
    names = SegGpt(SMALL).state_dict().keys()
    assert {name for name in SegGpt(PRIMED).state_dict() if name not in names} == {
        *("guess_embed.proj.weight", "guess_embed.proj.bias"),
        *("decoder_pred.5.weight", "decoder_pred.5.bias"),
    }
