"""The embedded model as a predictor, with random weights: what it has of the closed form it has without training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_guess import PLAIN, STRIPED, cells

from napari_incontext_seg.core.metrics import dice
from napari_incontext_seg.core.types import Context, Example, Predictor
from napari_incontext_seg.errors import InputError, ModelError
from napari_incontext_seg.infer import closed_form, guess
from napari_incontext_seg.infer.closed_form import ClosedFormSegmenter
from napari_incontext_seg.infer.micro import MicroPredictor
from napari_incontext_seg.infer.micro_tuning import TunedNetwork
from napari_incontext_seg.infer.places import Places
from napari_incontext_seg.model.micro import Micro, MicroConfig


def made(**settings: object) -> MicroPredictor:
    """A predictor with small random weights."""
    torch.manual_seed(0)
    network = Micro(MicroConfig(channels=(8, 8), width=16, depth=1, num_heads=2, features=6))
    return MicroPredictor(network, name="tiny", digest="0", **settings)  # type: ignore[arg-type]


def context(*seeds: int, channels: int = 1) -> Context:
    return Context(tuple(Example(*cells(s, channels=channels)) for s in seeds))


@pytest.fixture(scope="module")
def segmenter() -> ClosedFormSegmenter:
    return made().bind(context(0))


def test_it_is_a_predictor_that_paints_two_textures_right(segmenter: ClosedFormSegmenter) -> None:
    assert isinstance(segmenter.predictor, Predictor)
    plane, truth = cells(1)
    painted = segmenter(plane)
    assert dice(painted.labels, truth, [PLAIN, STRIPED]) > 0.9
    assert painted.disagreement is None
    assert painted.provenance | {"model": "tiny", "digest": "0", "quality": "balanced"} == painted.provenance


def test_what_the_network_sees_counts(segmenter: ClosedFormSegmenter) -> None:
    plane, _ = cells(1)
    predictor = made()
    torch.nn.init.zeros_(predictor.network.at_pixels.weight)
    assert not np.allclose(predictor.bind(context(0)).scores(plane), segmenter.scores(plane), atol=1e-3)


def test_colour_is_seen_and_grey_in_three_channels_is_as_good_as_grey() -> None:
    plane, truth = cells(1, channels=3)
    grey = made().bind(context(0, channels=3))
    assert dice(grey(plane).labels, truth, [PLAIN, STRIPED]) > 0.9
    tints = np.array([[0.5, 0.5, 0.5], [0.8, 0.4, 0.4], [0.4, 0.8, 0.4]], np.float32)  # alike when mixed to grey

    def stained(seed: int) -> tuple[np.ndarray, np.ndarray]:
        _, labels = cells(seed)
        image = tints[np.searchsorted([0, PLAIN, STRIPED], labels)]
        noise = np.random.default_rng(seed).normal(0, 0.03, image.shape)
        return np.clip(image + noise, 0, 1).astype(np.float32), labels

    plane, truth = stained(1)
    assert dice(made().bind(Context((Example(*stained(0)),)))(plane).labels, truth, [PLAIN, STRIPED]) > 0.9
    with pytest.raises(InputError, match="examples show 3 channels"):
        grey(cells(1)[0])


def test_scribbles_are_enough() -> None:
    image, labels = cells(0)
    valid = np.zeros(labels.shape, bool)
    valid[::8] = True
    plane, truth = cells(1)
    first, second = (
        made().bind(Context((Example(image, shown, valid),))) for shown in (labels, np.where(valid, labels, PLAIN))
    )
    assert dice(first(plane).labels, truth, [PLAIN, STRIPED]) > 0.8
    np.testing.assert_array_equal(first(plane).labels, second(plane).labels)


def test_the_best_quality_averages_views_and_tells_where_they_disagree() -> None:
    plane, truth = cells(1)
    painted = made(quality="best").bind(context(0))(plane)
    assert dice(painted.labels, truth, [PLAIN, STRIPED]) > 0.9
    assert painted.disagreement is not None
    assert painted.disagreement.shape == truth.shape
    wrong = painted.labels != truth
    assert painted.disagreement[wrong].mean() > painted.disagreement[~wrong].mean()


def test_the_fast_quality_has_one_stage() -> None:
    plane, truth = cells(1)
    painted = made(quality="fast").bind(context(0))(plane)
    assert dice(painted.labels, truth, [PLAIN, STRIPED]) > 0.8
    assert painted.provenance["quality"] == "fast"


def test_examples_that_contradict_each_other_disagree_where_they_do() -> None:
    image, labels = cells(0)
    other, others = cells(2)
    both = Example(image, (labels > 0).astype(np.uint32))
    plain = Example(other, (others == PLAIN).astype(np.uint32))
    plane, truth = cells(1)
    found = made(ensemble="none").bind(Context((both, plain)))(plane).disagreement
    assert found is not None
    assert found[truth == STRIPED].mean() > 0.4
    assert found[truth != STRIPED].mean() < 0.05


def test_large_planes_are_painted_in_tiles(segmenter: ClosedFormSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    plane, truth = cells(1, size=200)
    whole = segmenter(plane).labels
    monkeypatch.setattr(guess.TILE, "size", 128 * 128)
    tiled = segmenter(plane).labels
    # not the same to the last pixel: a network that sees far sees less in a tile
    assert (tiled == whole).mean() > 0.97
    assert dice(tiled > 0, truth > 0, [1]) > 0.85


def test_large_planes_ask_the_second_opinion_too(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = made()
    segment = predictor.with_opinion(TunedNetwork(predictor.network, (0, PLAIN, STRIPED))).bind(context(0))
    plane, _ = cells(1)
    expected = segment.scores(plane)
    segment._places = None
    monkeypatch.setattr(closed_form, "LARGE", 0)
    painted = segment(plane)
    np.testing.assert_array_equal(painted.labels, np.array(segment.ids)[segment.scores(plane).argmax(2)])
    assert np.abs(expected - predictor.bind(context(0)).scores(plane)).max() > 0.01


def test_large_planes_do_not_ask_where_things_lie_at_any_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    segment, plane = made(quality="best").bind(context(0)), cells(1)[0]
    monkeypatch.setattr(Places, "added", lambda _, scores: 1 - scores)
    with_places = segment(plane).labels
    monkeypatch.setattr(closed_form, "LARGE", 0)
    assert (segment(plane).labels != with_places).mean() > 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (50, 1), (17, 23)])
def test_tiny_planes(segmenter: ClosedFormSegmenter, shape: tuple[int, int]) -> None:
    assert segmenter(np.full((*shape, 1), 0.5, np.float32)).labels.shape == shape


def test_without_its_blocks_or_with_another_opinion_it_is_another_model() -> None:
    predictor = made(quality="fast")
    ablated, other = predictor.without_blocks(), predictor.with_opinion(TunedNetwork(predictor.network, (0, 1)))
    assert len({p.digest for p in (predictor, ablated, other)}) == 3
    assert [p.quality for p in (ablated, other)] == ["fast", "fast"]
    assert (len(ablated.network.blocks), len(predictor.network.blocks)) == (0, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quality": "superb"}, "quality must be one of fast, balanced, best"),
        ({"ensemble": "spatial"}, "feature or none"),
    ],
)
def test_settings_that_do_not_exist(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        made(**settings)
