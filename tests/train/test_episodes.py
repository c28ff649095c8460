"""Synthetic episodes: a network trained on them has to consult the example, and may be trained anywhere."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch._subclasses.fake_tensor import FakeTensorMode

from napari_incontext_seg.errors import InputError
from napari_incontext_seg.train.annotation import annotate
from napari_incontext_seg.train.draw import Draw
from napari_incontext_seg.train.episodes import EpisodeConfig, Episodes, generate
from napari_incontext_seg.train.optics import form
from napari_incontext_seg.train.scenes import FAMILIES

SIZE = 96


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def many() -> Episodes:
    return generate(90, SIZE, seed=0, num_examples=2)


def test_shapes_and_ranges(many: Episodes) -> None:
    assert many.images.shape == (90, 3, 3, SIZE, SIZE)
    assert many.labels.shape == (90, 3, SIZE, SIZE)
    assert many.images.dtype == torch.float32
    assert many.labels.dtype == torch.int64
    assert many.images.isfinite().all()
    assert 0 <= many.images.min() <= many.images.max() <= 1
    assert 0 <= many.labels.min() <= many.labels.max() <= 4


def test_the_same_seed_gives_the_same_episodes() -> None:
    first, again, other = generate(6, SIZE, 7), generate(6, SIZE, 7), generate(6, SIZE, 8)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images)


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    generate(2, SIZE, 1)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_shows_its_target_in_the_examples(family: str) -> None:
    episodes = generate(8, SIZE, seed=3, config=EpisodeConfig(families=(family,)))
    assert set(episodes.families) == {family}
    assert episodes.images.isfinite().all()
    labelled = (episodes.labels[:, 1:] > 0).flatten(1).any(1)
    assert labelled.sum() >= 7  # a part may be lost to the border of the image
    contrast = episodes.images.flatten(2).std(-1)
    assert (contrast > 0.02).float().mean() > 0.9


@pytest.fixture
def gpu_draw() -> Iterator[Draw]:
    """Fake tensors of a GPU: they refuse tensors of another device, and any look at a value."""
    with FakeTensorMode():
        device = torch.device("cuda")
        yield Draw(torch.zeros(2, 2, device=device), torch.zeros(2, 2, 2, device=device), None)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_stays_on_the_device_and_never_waits_for_it(family: str, gpu_draw: Draw) -> None:
    scene = FAMILIES[family].family(gpu_draw, SIZE)
    assert {scene.dyes.device.type, scene.parts.device.type} == {"cuda"}


@pytest.mark.parametrize("colour", [False, True])
def test_pictures_and_labels_are_made_on_the_device(colour: bool, gpu_draw: Draw) -> None:
    dyes = torch.zeros(4, 3, SIZE, SIZE, device=gpu_draw.device)
    images = form(gpu_draw, dyes, colour, gpu_draw.chance(0.5))
    labels = annotate(gpu_draw, dyes > 0, main=0, max_classes=4)
    assert (images.shape, images.device.type) == ((4, 3, SIZE, SIZE), "cuda")
    assert (labels.shape, labels.device.type) == ((4, SIZE, SIZE), "cuda")


def test_the_query_asks_only_for_what_an_example_shows(many: Episodes) -> None:
    for labels in many.labels:
        assert set(labels[0].unique().tolist()) <= {0, *labels[1:].unique().tolist()}


def test_most_queries_hold_their_target_and_some_do_not() -> None:
    config = EpisodeConfig(families=("anatomy", "cell_walls", "fluorescent_nuclei"), max_classes=1)
    absent = ~(generate(60, SIZE, 1, config=config).labels[:, 0] > 0).flatten(1).any(1)
    assert 0 < absent.float().mean() < 0.25


def test_grey_and_colour(many: Episodes) -> None:
    grey = (many.images[:, :, :1] == many.images).flatten(1).all(1)
    assert 0.55 < grey.float().mean() < 0.85


def test_neighbours_resemble_each_other_and_independent_views_do_not() -> None:
    def overlap(share: float) -> float:
        episodes = generate(24, SIZE, 5, config=EpisodeConfig(neighbours=share))
        query, example = (episodes.labels[:, view] > 0 for view in (0, 1))
        both = (query & example).flatten(1).sum(1)
        return float((2 * both / (query.flatten(1).sum(1) + example.flatten(1).sum(1)).clamp_min(1)).mean())

    assert overlap(1.0) > overlap(0.0) + 0.2


def best_threshold_dice(image: NDArray[np.float32], target: NDArray[np.bool_]) -> float:
    """Return the Dice of the best threshold or negated threshold of a grey image."""
    order = np.argsort(image.ravel())
    hits = np.concatenate([[0], np.cumsum(target.ravel()[order])])
    taken, total = np.arange(len(hits)), hits[-1]
    dark = 2 * hits / np.maximum(taken + total, 1)
    bright = 2 * (total - hits) / np.maximum(len(hits) - 1 - taken + total, 1)
    return float(max(dark.max(), bright.max()))


def test_intensity_alone_does_not_tell_the_target(many: Episodes) -> None:
    scores = []
    for images, labels in zip(many.images.numpy(), many.labels.numpy(), strict=True):
        if (labels[1] > 0).any():
            scores.append(best_threshold_dice(images[1].mean(0), labels[1] > 0))
    assert np.mean(np.array(scores) < 0.8) > 0.3
    assert np.max(scores) > 0.9  # and some are as easy as real nuclei


def test_one_class_only_when_asked() -> None:
    assert generate(12, SIZE, 0, config=EpisodeConfig(max_classes=1)).labels.max() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"families": ("unicorns",)}, r"families must be some of .*; got \['unicorns'\]"),
        ({"neighbours": 1.5}, "share in"),
        ({"max_classes": 9}, "max_classes must be 1 to 4"),
    ],
)
def test_a_bad_config_says_what_is_expected(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EpisodeConfig(**change)  # type: ignore[arg-type]


def test_a_size_too_small_for_a_scene_is_refused() -> None:
    with pytest.raises(InputError, match="at least 64"):
        generate(1, 32, 0)


def test_training_data_needs_torch_and_numpy_alone() -> None:
    """On a training machine there may be nothing else."""
    code = """
        import sys

        allowed = {"torch", "timm", "einops", "numpy", "safetensors", "typer", "napari_incontext_seg"}
        barred = {"scipy", "skimage", "PIL", "tifffile", "zarr", "napari", "qtpy", "transformers", "matplotlib", "dask"}

        class Barrier:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in barred:
                    raise ImportError(f"{name} is not there")

        sys.meta_path.insert(0, Barrier())
        from napari_incontext_seg.train.episodes import generate

        generate(1, 64, 0)
        assert not barred & {name.partition(".")[0] for name in sys.modules}
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
