"""What `SegGpt` promises to whoever calls it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from seggpt_reference import SMALL, TOLERANCE, difference, prompts, randomise

from napari_incontext_seg.errors import InputError, ModelError
from napari_incontext_seg.model import VARIANTS, SegGpt, SegGptConfig, create_model
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
