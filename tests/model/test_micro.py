"""The embedded network: features of any image, and ridge regression in closed form on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_incontext_seg.errors import CheckpointError, ModelError
from napari_incontext_seg.model import Micro, MicroConfig, create_model
from napari_incontext_seg.model.checkpoint import load_model, save_model
from napari_incontext_seg.model.losses import painted, painting_loss
from napari_incontext_seg.model.micro import closed_form

TINY = MicroConfig(channels=(8, 8), width=16, depth=1, num_heads=2, features=6)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(1))


@pytest.fixture
def network() -> Micro:
    torch.manual_seed(0)
    return Micro(TINY).eval()


@pytest.fixture
def learned(network: Micro) -> Micro:
    """A network in which no layer does nothing."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator())
    return network


# -- the network --------------------------------------------------------------------------------------------------
@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (50, 1), (17, 23), (64, 64)])
def test_images_of_any_size_have_features_of_that_size(learned: Micro, shape: tuple[int, int]) -> None:
    features = learned(images(2, 3, *shape))
    assert features.shape == (2, 6, *shape)
    assert features.isfinite().all()


def test_a_patch_is_one_step_coarser_than_the_pyramid() -> None:
    assert TINY.patch_size == 8
    assert MicroConfig().patch_size == 16


@torch.no_grad()
def test_a_pixel_sees_far_through_the_blocks_and_only_near_without_them(learned: Micro) -> None:
    plane = images(1, 3, 96, 96)
    other = plane.clone()
    other[..., 80:, 80:] += 1
    learned.neighbours.weight.zero_()  # patches see their neighbours here too
    for encoder in (*learned.encoders, *learned.decoders):
        encoder.norm = torch.nn.Identity()  # and all see the mean and spread of the image here
    far = np.s_[..., :16, :16]
    without = learned.without_blocks()
    assert (learned(other) - learned(plane))[far].abs().max() > 1e-3
    assert torch.equal(without(other)[far], without(plane)[far])
    assert not torch.equal(without(plane), learned(plane))
    assert len(learned.blocks) == 1


@torch.no_grad()
def test_blocks_do_nothing_before_they_have_learned(network: Micro) -> None:
    plane = images(1, 3, 32, 32)
    assert torch.equal(network.without_blocks()(plane), network(plane))


def test_every_parameter_learns(learned: Micro) -> None:
    truth = torch.nn.functional.one_hot(torch.randint(3, (2, 24 * 24), generator=generator()), 3).float()
    shown, asked = learned(images(4, 3, 24, 24)).chunk(2)
    painting_loss(learned, shown, truth, asked, truth.flip(1), generator()).backward()
    silent = [name for name, p in learned.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


@torch.no_grad()
@pytest.mark.parametrize("half", [False, True])
def test_what_is_stored_is_what_is_loaded(learned: Micro, tmp_path: Path, half: bool) -> None:
    save_model(learned, tmp_path / "tiny.safetensors", half=half)
    loaded = load_model(tmp_path / "tiny.safetensors")
    assert (loaded.config, loaded.name) == (TINY, "tiny")
    assert isinstance(loaded.network, Micro)
    assert not loaded.network.training
    expected = learned.half().float() if half else learned
    for name, value in loaded.network.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])
    plane = images(1, 3, 20, 20)
    assert torch.equal(loaded.network(plane), expected(plane))


def test_a_file_that_lacks_a_part_is_refused(network: Micro, tmp_path: Path) -> None:
    del network.to_pixels
    save_model(network, tmp_path / "broken.safetensors")
    with pytest.raises(CheckpointError, match=r"to_pixels\.weight is missing"):
        load_model(tmp_path / "broken.safetensors")


def test_it_is_made_by_its_config() -> None:
    made = create_model(TINY)
    assert isinstance(made, Micro)
    assert not made.training
    assert made.config == TINY == MicroConfig(**{**vars(TINY), "channels": [8, 8]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ()}, "must be a pyramid"),
        ({"depth": 0}, "at least 1"),
        ({"features": -1}, "at least 1"),
        ({"width": 18}, "width must divide by 4"),
        ({"width": 20, "num_heads": 3}, "by num_heads"),
        ({"channels": (8, 12)}, "channels by 8"),
    ],
)
def test_a_config_that_does_not_fit_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        MicroConfig(**{**vars(TINY), **change})


# -- the closed form ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ridge", [0.01, 1.0, 100.0])
def test_the_closed_form_is_ridge_regression_whose_constant_is_not_shrunk(ridge: float) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 300, 7)) * random.uniform(0.5, 3, 7) + random.normal(size=7)
    targets = features[..., :3] @ random.normal(size=(3, 4)) + 5 + random.normal(size=(2, 300, 4))
    found = closed_form(torch.tensor(features).float(), torch.tensor(targets).float(), ridge).numpy()
    assert found.shape == (2, 8, 4)
    for x, y, weights in zip(features, targets, found, strict=True):
        design = np.column_stack([x, np.ones(len(x))])
        penalty = np.diag([*(ridge + 1e-5) * (x.var(0) + 1e-4), 0])
        expected = np.linalg.solve(design.T @ design / len(x) + penalty, design.T @ y / len(x))
        np.testing.assert_allclose(weights, expected, atol=2e-4)
        np.testing.assert_allclose((design @ weights).mean(0), y.mean(0), atol=1e-4)


def test_features_that_say_nothing_or_the_same_do_no_harm() -> None:
    useful = images(1, 200, 1)
    features = torch.cat([useful, useful, torch.full_like(useful, 3.0)], 2)
    weights = closed_form(features, useful, 1e-3)
    assert weights.isfinite().all()
    painted_again = torch.nn.functional.pad(features, (0, 1), value=1.0) @ weights
    torch.testing.assert_close(painted_again, useful, atol=0.02, rtol=0)


# -- what is asked for --------------------------------------------------------------------------------------------
def halves(*classes: int) -> tuple[Tensor, Tensor]:
    """An image (1, 3, 16, 16) of stripes, as bright as their class, and its truth (1, 256, 3)."""
    labels = torch.tensor(classes).repeat_interleave(16 // len(classes))[:, None].expand(16, 16)
    return labels[None, None].expand(1, 3, 16, 16).float(), torch.nn.functional.one_hot(labels.flatten(), 3)[
        None
    ].float()


def test_a_class_that_the_example_does_not_show_is_not_asked_for(network: Micro) -> None:
    (shown, shown_truth), (asked, truth) = halves(0, 1), halves(0, 1, 2, 0)
    _, known = painted(network, shown, shown_truth, asked, generator())
    assert known.tolist() == [[True, True, False]]
    unannotated = truth * torch.tensor([1.0, 1.0, 0.0])
    one, other = (painting_loss(network, shown, shown_truth, asked, t, generator()) for t in (truth, unannotated))
    assert torch.equal(one, other)
    elsewhere = asked.clone()
    elsewhere[..., 8:12, :] = -5  # where class 2 is
    moved = painting_loss(network, shown, shown_truth, elsewhere, truth, generator())
    assert torch.equal(one, moved)


def test_the_loss_is_small_where_the_painting_is_right(network: Micro) -> None:
    (shown, shown_truth), (asked, truth) = halves(0, 1, 2, 0), halves(2, 0, 0, 1)
    shown, asked = (torch.cat([i, i.square()], 1) for i in (shown, asked))  # so that three classes are linear in them
    with torch.no_grad():
        network.log_ridge.fill_(-8.0)
        network.log_sharpness.fill_(3.0)
    right = painting_loss(network, shown, shown_truth, asked, truth, generator())
    wrong = painting_loss(network, shown, shown_truth, asked, truth.roll(1, 2), generator())
    assert right < 0.1
    assert wrong > 1.5
