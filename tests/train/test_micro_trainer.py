"""How the embedded network learns: one view of a scene painted, in closed form, from another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_incontext_seg.errors import ModelError
from napari_incontext_seg.model import Micro, MicroConfig
from napari_incontext_seg.model.checkpoint import load_model
from napari_incontext_seg.train.config import BatchConfig, OptimizerConfig, ReportConfig, TrainConfig
from napari_incontext_seg.train.loop import LOG, WEIGHTS, train
from napari_incontext_seg.train.micro import cropped, micro_dice, micro_loss, seen
from napari_incontext_seg.train.optimizer import make_optimizer
from napari_incontext_seg.train.pool import Pool
from napari_incontext_seg.train.state import find_states, load_state

TINY = TrainConfig(
    seed=1,
    model=MicroConfig(channels=(8, 8), width=16, depth=1, num_heads=2, features=6),
    batch=BatchConfig(size=2, pool=4, reuse=1, examples=(1, 2), scene=64, side=48),
    optimizer=OptimizerConfig(steps=4, learning_rate=1e-2, average=0.5),
    report=ReportConfig(log_steps=1, save_steps=2, validation_episodes=2),
)
CPU = torch.device("cpu")


def quiet(line: str) -> None:
    """Print nothing."""


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def restored(folder: Path) -> list[torch.Tensor]:
    """All numbers in the state of a run."""
    network, average = Micro(TINY.model), Micro(TINY.model)  # type: ignore[arg-type]
    optimizer = make_optimizer(network, TINY.optimizer)
    load_state(folder, network, average, optimizer)
    moments = [value for p in network.parameters() for value in optimizer.state[p].values()]
    return [*network.state_dict().values(), *average.state_dict().values(), *moments]


# -- a run --------------------------------------------------------------------------------------------------------
def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("step 3"):
            raise KeyboardInterrupt

    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    train(TINY, whole, CPU, say=quiet)
    assert load_model(whole / WEIGHTS).config == TINY.model
    assert set(lines(whole)[-1]) == {"step", "model"}
    with pytest.raises(KeyboardInterrupt):
        train(TINY, pieces, CPU, say=interrupt)
    assert [state.name for state in find_states(pieces)] == ["state-0000002"]
    assert train(TINY, pieces, CPU, resume=True, say=quiet).step == 4
    assert [line["step"] for line in lines(pieces)] == [1, 2, 3, 4, 4]
    assert all(torch.equal(one, other) for one, other in zip(restored(whole), restored(pieces), strict=True))


def test_the_loss_falls(tmp_path: Path) -> None:
    config = replace(
        TINY,
        batch=BatchConfig(size=4, pool=4, reuse=40, scene=64, side=48, jitter=0.0),
        optimizer=OptimizerConfig(steps=40, learning_rate=5e-3),
        report=replace(TINY.report, log_steps=5),
    )
    train(config, tmp_path, CPU, say=quiet)
    losses = [line["loss"] for line in lines(tmp_path) if "loss" in line]
    assert losses[-1] < 0.9 * losses[0]


# -- what is learned from -----------------------------------------------------------------------------------------
def looking() -> Micro:
    """A network whose features are what is bright and what is dark: GELU(x) and GELU(-x), whose difference is x."""
    network = Micro(replace(TINY.model, features=2)).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in (*network.to_pixels.parameters(), *network.at_pixels.parameters()):
            parameter.zero_()
        network.at_pixels.weight[:, 0, 1, 1] = torch.tensor([1.0, -1.0])
        network.log_ridge.fill_(-6.0)
    return network


def easy(*views: tuple[int, ...], brightness: tuple[float, ...] = (0.2, 0.8, 0.2)) -> Pool:
    """One episode whose views are stripes of classes that differ in brightness."""
    labels = torch.stack([torch.tensor(v).repeat_interleave(32 // len(v))[:, None].expand(32, 32) for v in views])
    images = torch.tensor(brightness)[labels] + 0.02 * torch.randn(
        labels.shape, generator=torch.Generator().manual_seed(0)
    )
    counts = labels[:-1].amax().view(1)
    return Pool(images[None, :, None].expand(-1, -1, 3, -1, -1).half(), labels[None].to(torch.uint8), counts)


def test_an_easy_episode_is_painted_right_by_who_looks_at_it() -> None:
    pool = easy((0, 1, 1, 0), (1, 0, 0, 0))
    assert micro_dice(looking(), pool).tolist() == pytest.approx([1], abs=0.02)
    blind = looking()
    torch.nn.init.zeros_(blind.at_pixels.weight)
    assert micro_dice(blind, pool).tolist() < [0.5]


def test_dice_leaves_out_what_the_example_does_not_show() -> None:
    assert micro_dice(looking(), easy((0, 1, 1, 0), (2, 1, 0, 2))).tolist() == pytest.approx([1], abs=0.02)
    assert micro_dice(looking(), easy((0, 0, 0, 0), (0, 1, 0, 2))).tolist() == [1]


def test_the_loss_is_the_same_for_the_same_seed_and_smaller_for_who_looks() -> None:
    config = BatchConfig(size=1, pool=1, side=24)
    pool, members = easy((0, 1, 1, 0), (1, 0, 0, 1), (0, 1, 0, 1)), torch.tensor([0])
    blind = looking()
    torch.nn.init.zeros_(blind.at_pixels.weight)
    one, again, worse = (float(micro_loss(n, pool, members, 5, config).detach()) for n in (looking(), looking(), blind))
    assert one == again
    assert one < 0.7 * worse


@torch.no_grad()
def test_views_are_standardised_half_way_to_the_first() -> None:
    images = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images[:, 1] = images[:, 0] * 0.5 + 0.25
    features = seen(looking(), images)
    bright, dark = features.unbind(2)
    first, second = (bright - dark).unbind(1)
    torch.testing.assert_close(first.mean((1, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(first.std((1, 2), correction=0), torch.ones(2), atol=0.01, rtol=0)
    torch.testing.assert_close(second.std((1, 2), correction=0), torch.full((2,), 0.5**0.5), atol=0.01, rtol=0)


def test_all_views_of_all_episodes_are_cropped_at_one_place() -> None:
    import random

    panels = torch.arange(100.0).view(10, 10).expand(2, 3, 4, 10, 10)
    part = cropped(panels, 4, random.Random(0))
    assert part.shape == (2, 3, 4, 4, 4)
    assert (part == part[:1, :1, :1]).all()
    assert (part[0, 0, 0, 1] - part[0, 0, 0, 0]).tolist() == [10] * 4


def test_a_run_can_begin_with_weights_but_only_of_the_same_network(tmp_path: Path) -> None:
    train(TINY, tmp_path / "first", CPU, say=quiet)
    weights = tmp_path / "first" / WEIGHTS
    still = replace(TINY, optimizer=OptimizerConfig(steps=1, learning_rate=1e-12))
    train(still, tmp_path / "second", CPU, start=weights, say=quiet)
    pairs = zip(*(load_model(f).network.parameters() for f in (weights, tmp_path / "second" / WEIGHTS)), strict=True)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in pairs)
    other = replace(TINY, model=MicroConfig(channels=(8, 8), width=8, depth=1, num_heads=2, features=6))
    with pytest.raises(ModelError, match="the config asks for"):
        train(other, tmp_path / "third", CPU, start=weights, say=quiet)
