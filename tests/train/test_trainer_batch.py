"""What the network is shown: colours, geometry and masks of a batch."""

from __future__ import annotations

import pytest
import torch

from napari_incontext_seg.core.palette import Palette, separation
from napari_incontext_seg.model.config import SegGptConfig
from napari_incontext_seg.model.seggpt import denormalize
from napari_incontext_seg.train.batch import (
    balanced,
    block_mask,
    canvases,
    cropped,
    dropped,
    in_colours,
    jittered,
    make_batch,
    parted,
    pixels,
    random_palettes,
    stitched,
    turned,
)
from napari_incontext_seg.train.config import BatchConfig
from napari_incontext_seg.train.episodes import EpisodeConfig
from napari_incontext_seg.train.pool import Pool, dense, make_pool

MODEL = SegGptConfig(
    window=(64, 64), pretrain_window=64, patch_size=8, width=16, depth=1, num_heads=1, merge_index=0, out_indices=(0,)
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return make_pool(6, 64, 3, torch.device("cpu"), 2, EpisodeConfig())


# -- pool ---------------------------------------------------------------------------------------------------------
def test_classes_are_numbered_without_gaps() -> None:
    labels = torch.tensor([[[0, 3, 1], [0, 1, 1]], [[4, 4, 0], [0, 0, 0]]])[:, :, None]  # an example and a query each
    numbered, counts = dense(labels)
    assert counts.tolist() == [2, 1]
    assert numbered[0, 0].tolist() == [[0, 2, 1]]
    assert numbered[1, 0].tolist() == [[1, 1, 0]]


def test_a_pool_holds_images_and_numbered_classes_of_examples_and_query(pool: Pool) -> None:
    assert len(pool) == 6
    assert pool.images.shape == (6, 3, 3, 64, 64)
    assert 0 <= pool.images.min() < pool.images.max() <= 1
    for labels, count in zip(pool.labels, pool.counts.tolist(), strict=True):
        assert {0, *labels[:-1].unique().tolist()} == set(range(count + 1))


# -- colours ------------------------------------------------------------------------------------------------------
def test_colours_are_as_far_apart_as_in_use() -> None:
    counts = torch.arange(5).repeat_interleave(50)
    palettes = random_palettes(counts, generator())
    for count, colours in zip(counts.tolist(), palettes, strict=True):
        assert not colours[0].any()
        assert not colours[count + 1 :].any()
        if count:
            wanted = 0.6 * separation(Palette.fixed(range(count + 1)).colours)
            assert separation(colours[: count + 1].numpy()) > wanted - 1e-6
    assert palettes[-1].ne(palettes[-2]).any()


def test_a_class_that_is_dropped_is_black_and_never_the_only_one() -> None:
    counts = torch.tensor([1] * 50 + [3] * 50)
    colours = random_palettes(counts, generator())
    left = dropped(colours, counts, generator(1))
    assert torch.equal(left[:50], colours[:50])
    lost = (left != colours).any(2).sum(1)
    assert set(lost.tolist()) == {0, 1}


def test_small_classes_count_more_than_their_size_and_panels_count_alike() -> None:
    labels = torch.zeros(1, 2, 10, 10, dtype=torch.uint8)
    labels[0, 0, 0, :4] = 3
    assert torch.equal(balanced(labels, 0.0), torch.ones(1, 2, 1, 10, 10))
    half = balanced(labels, 0.5)[0, :, 0]
    assert half[0, 0, 0] / half[0, 1, 0] == pytest.approx((96 / 4) ** 0.5)
    torch.testing.assert_close(half.mean((1, 2)), torch.ones(2))
    classes = balanced(labels, 1.0)[0, 0, 0]
    assert classes[0, :4].sum().item() == pytest.approx(50)


def test_example_and_query_share_their_colours(pool: Pool) -> None:
    colours = random_palettes(pool.counts, generator())
    panels = in_colours(pool, torch.tensor([2, 4]), colours[[2, 4]])
    for number, episode in enumerate((2, 4)):
        for panel in range(3):
            for c in pool.labels[episode, panel].unique().tolist():
                here = pool.labels[episode, panel] == c
                painted = panels[number, panel, 3:6, here]
                torch.testing.assert_close(painted, colours[episode, c][:, None].expand_as(painted))


# -- geometry -----------------------------------------------------------------------------------------------------
def test_the_panels_of_an_episode_turn_together_and_all_eight_ways_occur() -> None:
    panel = torch.arange(9.0).view(3, 3)
    ways = turned(panel.expand(200, 2, 6, 3, 3), generator())
    assert (ways == ways[:, :1, :1]).all()
    assert len({tuple(way.flatten().tolist()) for way in ways[:, 0, 0]}) == 8


def test_image_and_target_are_cropped_alike_and_colours_are_not_mixed() -> None:
    plane = torch.zeros(1, 2, 7, 64, 64)
    plane[..., 20:44, 16:40] = 1
    found = cropped(plane, generator())
    image, sharp = parted(found)
    target = sharp[:, :, :3]
    assert torch.equal(sharp[:, :, 3:], target[:, :, :1])
    assert set(target.unique().tolist()) == {0, 1}
    assert image[target == 1].min() > 0.2
    assert image[target == 0].max() < 0.8
    area = target[:, :, 0].sum((2, 3))
    assert (area >= 24 * 24).all()
    assert area[0, 0] != area[0, 1]


def test_four_examples_become_one() -> None:
    panels = torch.arange(5.0).view(1, 5, 1, 1, 1).expand(2, 5, 7, 64, 64)
    one = stitched(panels)
    assert one.shape == (2, 2, 7, 64, 64)
    assert torch.equal(one[:, 1], panels[:, 4])
    corners = one[0, 0, :, 8::48, 8::48]
    torch.testing.assert_close(corners, torch.tensor([[0.0, 1], [2, 3]]).expand(7, 2, 2), atol=1e-4, rtol=0)


# -- light and masks ----------------------------------------------------------------------------------------------
def test_each_panel_has_its_own_light() -> None:
    grey = torch.full((1, 2, 3, 16, 16), 0.5)
    lit = jittered(grey, 1.0, generator())
    assert 0 <= lit.min() <= lit.max() <= 1
    assert lit[0, 0].mean() != lit[0, 1].mean()
    assert torch.equal(jittered(grey, 0.0, generator()), grey)


def test_blocks_hide_about_the_share_asked_for_in_both_halves() -> None:
    mask = block_mask(torch.zeros(60, 2, 16, 16, dtype=torch.bool), 0.5, generator())
    assert (mask.flatten(1).float().mean(1) - 0.5).abs().max() < 0.13
    halves = mask.flatten(2).float().mean((0, 2))
    assert halves.min() > 0.35
    along = (mask[..., 1:] == mask[..., :-1]).float().mean()
    assert along > 0.85  # blocks, not single patches


def test_masks_of_patches_become_masks_of_the_pixels_of_canvases() -> None:
    mask = torch.zeros(1, 3, 2, 2, dtype=torch.bool)
    mask[0, 1, 0, 1] = mask[0, 2, 1, 0] = True
    large = pixels(mask, 4)
    assert large.shape == (1, 2, 16, 8)
    assert large.sum((2, 3)).tolist() == [[16, 32]]
    assert large[0, 1, :4, 4:].all()
    assert large[0, 0, 12:, :4].all()
    assert torch.equal(canvases(mask[:, :, None])[:, :, 0].any(), torch.tensor(True))


def test_a_batch_in_use_hides_the_query_and_only_it(pool: Pool) -> None:
    batch = make_batch(pool, torch.arange(4), 0, BatchConfig(size=4, pool=6, lower_half=1.0), MODEL)
    assert batch.query_only
    assert batch.images.shape == batch.targets.shape == (4, 3, 3, 64, 64)
    assert batch.mask.shape == (4, 3, 8, 8)
    assert batch.mask.flatten(2).all(2).tolist() == [[False, False, True]] * 4
    assert not batch.mask[:, :-1].any()
    assert denormalize(batch.targets).min() > -1e-5


def test_the_same_seed_shows_the_same(pool: Pool) -> None:
    config = BatchConfig(size=4, pool=6, lower_half=0.0, crop=1.0)
    first, again, other = (make_batch(pool, torch.arange(4), seed, config, MODEL) for seed in (5, 5, 6))
    assert not first.query_only
    for name in ("images", "targets", "mask"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
