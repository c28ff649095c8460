"""`SegGpt` equals transformers' SegGPT with the same weights, every parameter random and attention sharp."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from seggpt_reference import (
    SMALL,
    TOLERANCE,
    as_transformers,
    difference,
    paint_slowly,
    paint_with,
    prompts,
    randomise,
    repair,
    sharpness,
)

from napari_incontext_seg.model.config import SegGptConfig
from napari_incontext_seg.model.convert import from_transformers, to_transformers
from napari_incontext_seg.model.seggpt import SegGpt

BITE = 100 * TOLERANCE


@pytest.fixture
def model() -> SegGpt:
    return randomise(SegGpt(SMALL))


@pytest.mark.parametrize("kind", ["semantic", "instance"])
@torch.inference_mode()
def test_one_example_equals_transformers(model, kind):
    query, images, targets = prompts(SMALL, batch=3, num_examples=1)
    theirs = as_transformers(model)(query, images[:, 0], targets[:, 0], embedding_type=kind).pred_masks[:, :, 32:]
    assert difference(model(query, images, targets, seg_type=kind), theirs) < TOLERANCE


@torch.inference_mode()
def test_attention_is_sharp_in_these_tests(model):
    query, images, targets = prompts(SMALL, batch=1, num_examples=1)
    theirs = as_transformers(model)
    uniform = 1 / (2 * SMALL.tokens)
    assert sharpness(theirs, lambda: paint_with(theirs, query, images, targets)) > 8 * uniform


@torch.inference_mode()
def test_without_relative_positions_parity_fails(model):
    query, images, targets = prompts(SMALL, batch=1, num_examples=1)
    theirs = paint_with(as_transformers(model), query, images, targets, embedding_type="semantic")
    without = SegGpt(replace(SMALL, relative_positions=False)).eval()
    without.load_state_dict({k: v for k, v in model.state_dict().items() if "rel_pos" not in k})
    assert difference(without(query, images, targets), theirs) > BITE


@torch.inference_mode()
def test_with_type_tokens_swapped_parity_fails(model):
    query, images, targets = prompts(SMALL, batch=1, num_examples=1)
    theirs = paint_with(as_transformers(model), query, images, targets, embedding_type="semantic")
    assert difference(model(query, images, targets, seg_type="instance"), theirs) > BITE


@pytest.mark.parametrize("num_examples", [1, 2, 5])
@torch.inference_mode()
def test_with_streams_mixed_parity_fails(model, num_examples):
    query, images, targets = prompts(SMALL, batch=1, num_examples=num_examples)
    mixing = paint_with(
        as_transformers(model), query, images, targets, embedding_type="semantic", feature_ensemble=True
    )
    assert difference(model(query, images, targets, ensemble="feature"), mixing) > BITE


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("num_examples", [1, 2, 3, 5])
@torch.inference_mode()
def test_feature_ensemble_equals_the_rule_and_repaired_transformers(model, batch, num_examples):
    query, images, targets = prompts(SMALL, batch, num_examples)
    ours = model(query, images, targets, seg_type="instance", ensemble="feature")
    rule = [paint_slowly(model, *one, "instance") for one in zip(query, images, targets, strict=True)]
    assert difference(ours, torch.stack(rule)) < TOLERANCE
    repaired = repair(as_transformers(model))
    theirs = paint_with(repaired, query, images, targets, embedding_type="instance", feature_ensemble=True)
    assert difference(ours, theirs) < TOLERANCE


@torch.inference_mode()
def test_masked_canvases_equal_transformers(model):
    """Training hides random patches of both halves and paints whole canvases."""
    query, images, targets = prompts(SMALL, batch=3, num_examples=1)
    wanted = torch.randn_like(query)
    mask = torch.rand(3, 2 * SMALL.tokens, generator=torch.Generator().manual_seed(2)) < 0.5
    theirs = as_transformers(model)(
        query, images[:, 0], targets[:, 0], bool_masked_pos=mask, labels=wanted, embedding_type="semantic"
    ).pred_masks
    canvas = model.paint_canvas(
        torch.cat([images, query[:, None]], dim=1),
        torch.cat([targets, wanted[:, None]], dim=1),
        mask.reshape(3, 2, *SMALL.grid),
    )
    assert difference(canvas[:, 0], theirs) < TOLERANCE
    assert difference(model(query, images, targets, query_target=wanted, mask=mask), theirs[:, :, 32:]) < TOLERANCE


@torch.inference_mode()
def test_painter_is_seggpt_without_type_tokens():
    painter = randomise(SegGpt(replace(SMALL, type_tokens=False)))
    query, images, targets = prompts(SMALL, batch=1, num_examples=1)
    theirs = paint_with(as_transformers(painter), query, images, targets)
    assert difference(painter(query, images, targets), theirs) < TOLERANCE


def test_weights_survive_the_way_to_transformers_and_back(model):
    ours = model.state_dict()
    theirs = as_transformers(model).state_dict()
    assert to_transformers(ours).keys() == theirs.keys()
    back = from_transformers(theirs)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)


def test_unknown_names_are_kept_for_the_loader_to_report():
    assert from_transformers({"model.extra.weight": 1, "blocks.0.x": 2}) == {"model.extra.weight": 1, "blocks.0.x": 2}


@pytest.mark.slow
@torch.inference_mode()
def test_the_published_size_equals_transformers():
    config = SegGptConfig()
    model = randomise(SegGpt(config))
    theirs = repair(as_transformers(model))
    query, images, targets = prompts(config, batch=1, num_examples=2)
    first = (query, images[:, :1], targets[:, :1])

    painted = []
    sharp = sharpness(theirs, lambda: painted.append(paint_with(theirs, *first, embedding_type="semantic")))
    alone = painted[0]
    together = paint_with(theirs, query, images, targets, embedding_type="semantic", feature_ensemble=True)
    figures = {
        "attention, times uniform": sharp * 2 * config.tokens,
        "one example": difference(model(*first), alone),
        "feature ensemble of two": difference(model(query, images, targets, ensemble="feature"), together),
        "type tokens swapped": difference(model(*first, seg_type="instance"), alone),
    }
    for block in model.blocks:
        block.attn.relative_positions = False
    figures["no relative positions"] = difference(model(*first), alone)
    print(figures)
    assert figures["attention, times uniform"] > 20
    assert max(figures["one example"], figures["feature ensemble of two"]) < TOLERANCE
    assert min(figures["type tokens swapped"], figures["no relative positions"]) > BITE
