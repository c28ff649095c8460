"""What `SegGpt` promises to whoever calls it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from seggpt_reference import SMALL, TOLERANCE, difference, prompts, randomise

from napari_incontext_seg.errors import InputError, ModelError
from napari_incontext_seg.model import VARIANTS, SegGpt, SegGptConfig, create_model, lean, seggpt
from napari_incontext_seg.model.seggpt import denormalize, normalize, spatial_ensemble


@pytest.fixture(scope="module")
def model() -> SegGpt:
    return randomise(SegGpt(SMALL))


@torch.inference_mode()
def test_queries_of_a_batch_do_not_see_each_other(model):
    query, images, targets = prompts(SMALL, batch=3, num_examples=2)
    together = model(query, images, targets, ensemble="feature")
    alone = [model(query[i : i + 1], images[i : i + 1], targets[i : i + 1], ensemble="feature") for i in range(3)]
    assert difference(together, torch.cat(alone)) < TOLERANCE


@torch.inference_mode()
def test_without_ensemble_the_colours_of_all_examples_are_averaged(model):
    query, images, targets = prompts(SMALL, batch=2, num_examples=3)
    alone = [model(query, images[:, k : k + 1], targets[:, k : k + 1]) for k in range(3)]
    assert difference(model(query, images, targets), torch.stack(alone).mean(0)) < TOLERANCE


@torch.inference_mode()
def test_the_order_of_examples_does_not_matter_to_the_feature_ensemble(model):
    query, images, targets = prompts(SMALL, batch=2, num_examples=4)
    order = [2, 0, 3, 1]
    painted = model(query, images, targets, ensemble="feature")
    permuted = model(query, images[:, order], targets[:, order], ensemble="feature")
    # but for the first row of pixels: as in the reference, it also sees the lower edge of the first example
    assert difference(painted[:, :, 1:], permuted[:, :, 1:]) < TOLERANCE


@torch.inference_mode()
def test_the_kind_of_target_can_be_said_for_each_query(model):
    query, images, targets = prompts(SMALL, batch=2, num_examples=2)
    mixed = model(query, images, targets, seg_type=torch.tensor([0, 1]))
    semantic, instance = (model(query, images, targets, seg_type=kind) for kind in ("semantic", "instance"))
    assert difference(mixed[:1], semantic[:1]) < TOLERANCE
    assert difference(mixed[1:], instance[1:]) < TOLERANCE
    assert difference(semantic, instance) > 0.01


@torch.inference_mode()
def test_a_guess_on_the_query_can_be_shown(model):
    query, images, targets = prompts(SMALL, batch=1, num_examples=2)
    guess = torch.randn_like(query)
    hidden = torch.zeros(1, 3 * SMALL.tokens, dtype=torch.bool)
    hidden[:, 2 * SMALL.tokens :] = True
    painted = model(query, images, targets)
    assert difference(model(query, images, targets, query_target=guess), painted) > 0.01
    assert difference(model(query, images, targets, query_target=guess, mask=hidden), painted) < TOLERANCE


@pytest.mark.parametrize("ensemble", ["none", "feature"])
@pytest.mark.parametrize("relative_positions", [True, False])
def test_without_gradients_the_numbers_are_the_same(ensemble, relative_positions):
    """That path is another one: in place, panel by panel, its products by oneDNN where there is that."""
    model = randomise(SegGpt(replace(SMALL, relative_positions=relative_positions)))
    query, images, targets = prompts(SMALL, batch=2, num_examples=3)
    with_gradients = model(query, images, targets, ensemble=ensemble)
    assert with_gradients.requires_grad
    with torch.inference_mode():
        assert difference(model(query, images, targets, ensemble=ensemble), with_gradients.detach()) < TOLERANCE


@torch.inference_mode()
def test_where_there_is_no_onednn_the_numbers_are_the_same(model, monkeypatch):
    query, images, targets = prompts(SMALL, batch=1, num_examples=2)
    usual = model(query, images, targets, ensemble="feature")
    monkeypatch.setattr(lean, "_onednn", lambda: None)
    assert difference(model(query, images, targets, ensemble="feature"), usual) < TOLERANCE


@torch.inference_mode()
def test_what_is_decoded_in_strips_is_seamless(model, monkeypatch):
    query, images, targets = prompts(SMALL, batch=2, num_examples=2)
    whole = model(query, images, targets)
    for rows in (1, 2, 3):
        monkeypatch.setattr(seggpt, "DECODED", rows)
        assert difference(model(query, images, targets), whole) < TOLERANCE


@pytest.mark.parametrize("ensemble", ["none", "feature"])
@torch.inference_mode()
def test_examples_are_taken_in_once_for_any_number_of_queries(model, ensemble):
    query, images, targets = prompts(SMALL, batch=3, num_examples=2)
    one_context = images[:1], targets[:1]
    shown = model.show(*one_context, ensemble=ensemble, seg_type="instance")
    expected = torch.cat([model(q[None], *one_context, ensemble=ensemble, seg_type="instance") for q in query])
    kept = shown.images.clone(), shown.targets.clone()
    assert difference(model.paint(query, shown), expected) < TOLERANCE
    assert difference(model.paint(query[1:2], shown), expected[1:2]) < TOLERANCE
    assert torch.equal(kept[0], shown.images)
    assert torch.equal(kept[1], shown.targets)


@torch.inference_mode()
def test_hidden_patches_of_examples_and_kinds_of_each_query_can_be_taken_in(model):
    query, images, targets = prompts(SMALL, batch=2, num_examples=2)
    hidden = torch.rand(2, 3 * SMALL.tokens, generator=torch.Generator().manual_seed(5)) < 0.4
    hidden[:, 2 * SMALL.tokens :] = True
    manner = {"mask": hidden, "query_target": torch.zeros_like(query), "seg_type": torch.tensor([0, 1])}
    shown = model.show(images, targets, ensemble="feature", **manner)
    expected = model(query, images, targets, ensemble="feature", **manner)
    assert difference(model.paint(query, shown), expected) < TOLERANCE
    assert difference(model(query, images, targets, ensemble="feature"), expected) > 0.01


@pytest.mark.parametrize("ensemble", ["none", "feature"])
@torch.inference_mode()
def test_frozen_examples_are_exact_for_the_query_that_they_looked_at_and_close_for_others(model, ensemble):
    query, images, targets = prompts(SMALL, batch=3, num_examples=2)
    shown = model.show(images[:1], targets[:1], ensemble=ensemble)
    frozen = model.freeze(query[:1], shown)
    exact, approximate = model.paint(query, shown), model.paint(query, frozen)
    assert difference(approximate[:1], exact[:1]) < TOLERANCE
    assert difference(approximate[1:], exact[1:]) > 100 * TOLERANCE  # it is an approximation
    error, spread = (approximate[1:] - exact[1:]).square().mean().sqrt(), (exact[0] - exact[1:]).square().mean().sqrt()
    assert error < spread / 2  # nearer to what is right than another query's painting


@torch.inference_mode()
def test_frozen_examples_are_the_same_through_fused_attention_as_on_a_gpu(model, monkeypatch):
    query, images, targets = prompts(SMALL, batch=2, num_examples=2)
    shown = model.show(images[:1], targets[:1], ensemble="feature")
    usual = model.paint(query, shown), model.paint(query, model.freeze(query[:1], shown))
    monkeypatch.setattr(lean, "PANELWISE", ())
    assert difference(model.paint(query, shown), usual[0]) < TOLERANCE
    assert difference(model.paint(query, model.freeze(query[:1], shown)), usual[1]) < TOLERANCE


@torch.inference_mode()
def test_sharp_attention_does_not_overflow():
    sharp = randomise(SegGpt(SMALL))
    for block in sharp.blocks:
        block.attn.qkv.weight.data.mul_(30)
    query, images, targets = prompts(SMALL, batch=1, num_examples=2)
    assert sharp(query, images, targets, ensemble="feature").isfinite().all()


def test_gradients_reach_the_prompt_and_every_parameter():
    """In-context tuning learns the prompt; training learns the rest."""
    model = randomise(SegGpt(replace(SMALL, drop_path_rate=0.1))).train()
    query, images, targets = prompts(SMALL, batch=2, num_examples=2)
    images, targets = images.requires_grad_(), targets.requires_grad_()
    model(query, images, targets, ensemble="feature", seg_type=torch.tensor([0, 1])).square().mean().backward()
    assert images.grad.abs().amax((0, 2, 3, 4)).min() > 0
    assert targets.grad.abs().amax((0, 2, 3, 4)).min() > 0
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_spatial_ensemble_tiles_the_examples_and_starts_over_when_they_run_out():
    colours = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(1, 3, 3, 32, 32)
    image, target = spatial_ensemble(colours, colours)
    assert image.shape == target.shape == (1, 1, 3, 32, 32)
    expected = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).repeat_interleave(16, 0).repeat_interleave(16, 1)
    assert torch.equal(target[0, 0, 0], expected)
    assert torch.allclose(image[0, 0, 0, 4:12, 20:28], torch.ones(8, 8), atol=1e-5)


def test_spatial_ensemble_leaves_one_example_as_it_is():
    _, images, targets = prompts(SMALL, batch=2, num_examples=1)
    assert all(map(torch.equal, spatial_ensemble(images, targets), (images, targets)))


def test_normalising_grey_makes_three_channels_and_can_be_undone():
    grey = torch.rand(2, 1, 5, 4)
    assert torch.allclose(denormalize(normalize(grey)), grey.expand(2, 3, 5, 4), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.zeros(2, 3, 64, 64)}, "of that size"),
        ({"images": torch.zeros(2, 0, 3, 32, 32), "targets": torch.zeros(2, 0, 3, 32, 32)}, "at least 1"),
        ({"targets": torch.zeros(2, 2, 3, 32, 32)}, "targets must match"),
        ({"ensemble": "mean"}, "ensemble must be"),
        ({"seg_type": "panoptic"}, "seg_type must be"),
        ({"mask": torch.zeros(2, 32, dtype=torch.bool)}, "needs query_target"),
        ({"mask": torch.zeros(2, 9, dtype=torch.bool), "query_target": torch.zeros(2, 3, 32, 32)}, "mask must be"),
    ],
)
def test_inputs_that_do_not_fit_are_named(model, change, message):
    query, images, targets = prompts(SMALL, batch=2, num_examples=1)
    with pytest.raises(InputError, match=message):
        model(**{"query": query, "images": images, "targets": targets} | change)


@torch.inference_mode()
def test_queries_and_examples_that_do_not_fit_each_other_are_named(model):
    query, images, targets = prompts(SMALL, batch=2, num_examples=1)
    shown = model.show(images, targets)
    with pytest.raises(InputError, match="are for 2 queries; got 1"):
        model.paint(query[:1], shown)
    with pytest.raises(InputError, match=r"queries must be \(B, 3, 32, 32\)"):
        model.paint(query[..., :16], shown)
    with pytest.raises(InputError, match="frozen with one query"):
        model.freeze(query, shown)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_can_be_made_by_timm(name):
    with torch.device("meta"):
        model = timm.create_model(name)
        assert isinstance(model, SegGpt)
        assert model.config == VARIANTS[name]
        assert model.state_dict().keys() == create_model(name).state_dict().keys()


def test_variants_have_the_published_sizes():
    def millions(name: str) -> float:
        with torch.device("meta"):
            return sum(p.numel() for p in create_model(name).parameters()) / 1e6

    assert millions("seggpt_vit_large_patch16_896x448") == pytest.approx(370.7, abs=0.05)
    assert millions("seggpt_micro") < 7


def test_timm_settings_change_the_config_and_weights_are_not_its_business():
    assert timm.create_model("seggpt_tiny_test", depth=6).config.depth == 6
    with pytest.raises(ModelError, match="weights fetch"):
        timm.create_model("seggpt_tiny_test", pretrained=True)


def test_an_unknown_model_is_refused_with_the_names_there_are():
    with pytest.raises(ModelError, match="seggpt_micro"):
        create_model("seggpt_huge")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": (450, 448)}, "multiples of"),
        ({"num_heads": 10}, "multiple of num_heads"),
        ({"out_indices": (5, 11, 17, 24)}, "out_indices"),
        ({"out_indices": (1, 11)}, "out_indices"),
        ({"depth": 0}, "at least 1"),
        ({"drop_path_rate": 1.0}, "drop_path_rate"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        SegGptConfig(**change)
