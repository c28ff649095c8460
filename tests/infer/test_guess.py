"""The closed-form predictor, on synthetic cells: bright discs on a noisy ground, some of them striped."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_incontext_seg.core.metrics import dice
from napari_incontext_seg.core.types import Context, Example, Predictor
from napari_incontext_seg.errors import DegradedDataWarning, InputError
from napari_incontext_seg.infer import closed_form, guess
from napari_incontext_seg.infer.closed_form import GuessPredictor
from napari_incontext_seg.infer.guess import fit

PLAIN, STRIPED = 3, 4_000_000_000


def cells(seed, size=112, channels=1):
    """A plane (size, size, channels) with plain and striped discs, and their labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.uint32)
    for k, (i, j) in enumerate((i, j) for i in range(3) for j in range(3)):
        centre = (np.array([i, j]) + 0.5) * size / 3 + rng.uniform(-4, 4, 2)
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < rng.uniform(9, 13) ** 2
        labels[disc] = (PLAIN, STRIPED)[(k + seed) % 2]
    image = 0.3 + 0.3 * (labels > 0) + 0.2 * (labels == STRIPED) * np.sign(np.sin(1.5 * (x + y)))
    image = np.clip(image + rng.normal(0, 0.04, image.shape), 0, 1).astype(np.float32)
    return np.repeat(image[..., None], channels, axis=2), labels


def context(*seeds, kind="semantic", channels=1):
    return Context(tuple(Example(*cells(s, channels=channels)) for s in seeds), kind)


@pytest.fixture(scope="module")
def segmenter():
    return GuessPredictor().bind(context(0))


def test_it_is_a_predictor_that_paints_the_classes_of_the_example_with_their_ids(segmenter):
    assert isinstance(GuessPredictor(), Predictor)
    plane, truth = cells(1)
    painted = segmenter(plane)
    assert dice(painted.labels, truth, [PLAIN, STRIPED]) > 0.95
    assert painted.provenance["digest"] == "guess-2"


def test_confidence_is_lower_where_it_is_wrong(segmenter):
    plane, truth = cells(1)
    painted = segmenter(plane)
    wrong = painted.labels != truth
    assert painted.confidence[wrong].mean() < 0.6 * painted.confidence[~wrong].mean()


def test_scores_are_one_a_class_and_sum_to_about_one(segmenter):
    plane, _ = cells(1)
    scores = segmenter.scores(plane)
    assert segmenter.ids == (0, PLAIN, STRIPED)
    assert scores.shape == (112, 112, 3)
    assert scores.dtype == np.float32
    unbiased = scores - segmenter._guesses[0].bias[0, :, 0].numpy()
    np.testing.assert_allclose(unbiased.sum(2), 1, atol=1e-3)


def test_the_same_context_gives_the_same_pixels(segmenter):
    plane, _ = cells(1)
    again = GuessPredictor().bind(context(0))
    np.testing.assert_array_equal(again.scores(plane), segmenter.scores(plane))


def test_binding_the_same_context_again_costs_nothing():
    predictor = GuessPredictor()
    assert predictor.bind(context(0)) is predictor.bind(context(0))


def test_objects_become_instances():
    plane, truth = cells(1)
    painted = GuessPredictor().bind(context(0, kind="instance"))(plane)
    assert dice(painted.labels > 0, truth > 0, [1]) > 0.95
    large = np.bincount(painted.labels.ravel())[1:] > 50
    assert large.sum() == 9


@pytest.mark.parametrize("large", [False, True])
def test_a_plane_without_anything_like_the_example_stays_empty(large, monkeypatch):
    y, x = np.mgrid[:128, :128]
    rng = np.random.default_rng(0)

    def nuclei(brightness):
        noise = rng.normal(0.2, 0.05, (128, 128))
        inside = [(y - cy) ** 2 + (x - cx) ** 2 < 60 for cy, cx in [(25, 30), (40, 90), (80, 50), (100, 100)]]
        image = noise + sum(b * i for b, i in zip(brightness, inside, strict=True))
        return image.clip(0, 1).astype(np.float32)[..., None], np.any(inside, 0).astype(np.uint32)

    # one of the query's is dim and counts, as the others are sure
    segment = GuessPredictor().bind(Context((Example(*nuclei([0.5] * 4)),)))
    if large:
        monkeypatch.setattr(closed_form, "LARGE", 0)
    for brightness in ([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.3]):
        image, truth = nuclei(brightness)
        assert dice(segment(image).labels, truth, [1]) > 0.9
    other, _ = nuclei([0.2, 0.2, 0.0, 0.0])
    unlike = segment.scores(other).argmax(2) == 1
    assert unlike.sum() > 200
    assert not segment(other).labels.any()
    assert not segment(other).confidence[unlike].any()


@pytest.mark.parametrize("large", [False, True])
def test_a_plane_without_content_stays_empty_also_where_dark_things_were_shown(large, monkeypatch):
    image, labels = cells(0)
    segment = GuessPredictor().bind(Context((Example(1 - image, (labels > 0).astype(np.uint32)),)))
    if large:
        monkeypatch.setattr(closed_form, "LARGE", 0)
    assert segment(1 - image).labels.any()
    for value in (0, 0.3, 1):
        padding = segment(np.full((40, 60, 1), value, np.float32))
        assert not padding.labels.any()
        assert not padding.confidence.any()


def spots(seed):
    """Discs on a ground of nothing at all, as in a masked or thresholded image."""
    y, x = np.mgrid[:200, :200]
    labels = np.zeros((200, 200), np.uint32)
    for row, column in np.random.default_rng(seed).integers(10, 190, (14, 2)):
        labels[(y - row) ** 2 + (x - column) ** 2 < 60] = 1
    return (0.9 * labels).astype(np.float32)[..., None], labels


@pytest.mark.parametrize("quality", ["balanced", "fast"])
@pytest.mark.parametrize("blank", [0, 1])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_blank_example_shows_background_wherever_it_stands(blank, quality, value):
    plane, truth = spots(1)
    shown = [Example(*spots(0))]
    shown.insert(blank, Example(np.full_like(plane, value), np.zeros_like(truth)))
    painted = GuessPredictor(quality=quality).bind(Context(tuple(shown)))(plane)
    assert dice(painted.labels, truth, [1]) > 0.9


def test_examples_of_nothing_do_not_outvote_those_that_show_something():
    plane, truth = cells(1)
    nothing = [np.random.default_rng(s).normal(0.3, 0.04, plane.shape).astype(np.float32) for s in range(3)]
    shown = [Example(image, np.zeros_like(truth)) for image in nothing] + [Example(*cells(0)), Example(*cells(2))]
    segment = GuessPredictor(ensemble="none").bind(Context(tuple(shown)))
    painted = segment(plane)
    assert dice(painted.labels, truth, [PLAIN, STRIPED]) > 0.9
    assert painted.disagreement is not None
    assert not segment(nothing[0]).labels.any()


def test_many_large_examples_are_seen_twice_rather_than_kept(segmenter, monkeypatch):
    plane, _ = cells(1)
    monkeypatch.setattr(guess, "KEPT", 0)
    np.testing.assert_allclose(GuessPredictor().bind(context(0)).scores(plane), segmenter.scores(plane), atol=1e-5)


def test_scribbles_are_enough(segmenter):
    image, labels = cells(0)
    valid = np.zeros(labels.shape, bool)
    valid[::16] = True
    predictor = GuessPredictor()
    plane, truth = cells(1)
    sparse = predictor.bind(Context((Example(image, labels, valid),)))
    assert dice(sparse(plane).labels, truth, [PLAIN, STRIPED]) > 0.9


def test_what_lies_under_unannotated_pixels_does_not_matter():
    image, labels = cells(0)
    valid = np.zeros(labels.shape, bool)
    valid[:60] = True
    other = np.where(valid, labels, PLAIN)
    plane, _ = cells(1)
    first, second = (GuessPredictor().bind(Context((Example(image, x, valid),))).scores(plane) for x in (labels, other))
    np.testing.assert_array_equal(first, second)


def test_several_examples_may_each_show_a_part():
    plane, truth = cells(1)
    examples = []
    for seed, shown in ((0, PLAIN), (2, STRIPED)):
        image, labels = cells(seed)
        examples.append(Example(image, labels, (labels == 0) | (labels == shown)))
    painted = GuessPredictor().bind(Context(tuple(examples)))(plane)
    assert dice(painted.labels, truth, [PLAIN, STRIPED]) > 0.9


def test_a_drift_of_brightness_is_forgiven(segmenter):
    plane, truth = cells(1)
    assert dice(segmenter(plane * 0.8 + 0.1).labels, truth, [PLAIN, STRIPED]) > 0.85


@pytest.mark.parametrize("strength", [0.05, 0.9])
def test_a_channel_that_the_examples_do_not_use_is_not_looked_at(strength):
    image, labels = cells(0, channels=3)
    image[..., 2] = 0
    segment = GuessPredictor().bind(Context((Example(image, labels),)))
    plane, _ = cells(1, channels=3)
    plane[..., 2] = 0
    expected = segment(plane)
    plane[..., 2] = strength * np.random.default_rng(0).random(plane.shape[:2], np.float32)
    painted = segment(plane)
    np.testing.assert_array_equal(painted.labels, expected.labels)
    np.testing.assert_allclose(painted.confidence, expected.confidence, atol=1e-4)


def test_large_planes_are_painted_in_tiles_that_do_not_show(segmenter, monkeypatch):
    plane = np.random.default_rng(0).random((300, 333, 1), np.float32)
    plane[:112, :112] = cells(1)[0]
    whole = segmenter.scores(plane)
    monkeypatch.setattr(guess.TILE, "size", 64 * 64)
    np.testing.assert_allclose(segmenter.scores(plane), whole, atol=1e-4)


def test_large_examples_are_learnt_in_tiles_too(segmenter, monkeypatch):
    plane, _ = cells(1)
    whole = segmenter.scores(plane)
    monkeypatch.setattr(guess.TILE, "size", 64 * 64)
    np.testing.assert_allclose(GuessPredictor().bind(context(0)).scores(plane), whole, atol=1e-3)


def test_a_batch_equals_its_members_one_by_one():
    def shown(seeds):
        planes, labels = zip(*(cells(s) for s in seeds), strict=True)
        images = torch.tensor(np.stack(planes)).movedim(3, 1)
        targets = torch.tensor(np.stack([np.stack([y == i for i in (0, PLAIN, STRIPED)]) for y in labels])).float()
        return images, targets, torch.ones(len(seeds), 112, 112, dtype=torch.bool)

    queries = torch.tensor(np.stack([cells(s)[0] for s in (1, 3)])).movedim(3, 1)
    together = fit([shown([0, 2])]).paint(queries)
    for i, seed in enumerate((0, 2)):
        alone = fit([shown([seed])]).paint(queries[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-3, rtol=0)


def test_many_classes_are_told_apart():
    image = np.repeat(np.linspace(0, 1, 96, dtype=np.float32)[None, :, None], 64, axis=0)
    labels = np.broadcast_to(np.arange(96) // 8, (64, 96))
    painted = GuessPredictor().bind(Context((Example(image, labels),)))(image)
    assert (painted.labels == labels).mean() > 0.8


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (50, 1), (17, 23)])
def test_tiny_planes(segmenter, shape):
    assert segmenter(np.full((*shape, 1), 0.5, np.float32)).labels.shape == shape


def test_a_single_annotated_pixel_is_an_example():
    labels = np.zeros((20, 20), np.uint32)
    labels[3, 4] = 9
    example = Example(np.full((20, 20, 1), 0.5, np.float32), labels, labels > 0)
    assert (GuessPredictor().bind(Context((example,)))(example.image).labels == 9).all()


def one_spot(row, column, size=512):
    y, x = np.mgrid[:size, :size]
    labels = ((y - row) ** 2 + (x - column) ** 2 <= 9).astype(np.uint32)
    noise = np.random.default_rng(row).normal(0, 0.03, labels.shape)
    return (0.3 + 0.3 * labels + noise).astype(np.float32)[..., None], labels


@pytest.mark.parametrize("centre", [(256, 256), (260, 260)])
def test_one_small_object_is_an_example_wherever_it_lies(centre):
    """The second is wholly in one cell of all but the finest chequerboards."""
    plane, truth = one_spot(200, 300)
    painted = GuessPredictor().bind(Context((Example(*one_spot(*centre)),), "semantic"))(plane).labels
    assert dice(painted, truth, [1]) > 0.7


def test_planes_are_checked(segmenter):
    plane, _ = cells(1)
    np.testing.assert_array_equal(segmenter(plane[..., 0]).labels, segmenter(plane).labels)
    damaged = plane.copy()
    damaged[3, 4] = np.nan
    with pytest.raises(InputError, match="without NaN"):
        segmenter(damaged)


def test_channels_must_match(segmenter):
    with pytest.raises(InputError, match=r"the examples show 1 channel, the image 3 channels"):
        segmenter(cells(1, channels=3)[0])


def test_it_needs_torch_and_numpy_alone():
    code = """
import sys
for name in ("scipy", "skimage", "timm", "transformers", "dask", "tifffile"):
    sys.modules[name] = None
import napari_incontext_seg.infer.guess
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_when_the_gpu_has_too_little_memory_tiles_become_smaller_and_that_is_said(segmenter, monkeypatch):
    plane, _ = cells(5)
    expected = segmenter(plane)
    respond, sizes = guess.filter_responses, []

    def short(planes, *rest):
        sizes.append(planes.shape[-1])
        if planes.shape[-1] > 100:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return respond(planes, *rest)

    monkeypatch.setattr(guess, "filter_responses", short)
    monkeypatch.setattr(guess, "HALO", 24)
    monkeypatch.setattr(guess.TILE, "size", 2**14)
    monkeypatch.setattr(guess.TILE, "least", 2**8)
    with pytest.warns(DegradedDataWarning, match="memory ran out: going on with at most 4096 values of a plane"):
        painted = segmenter(plane)
    assert max(sizes) == plane.shape[1]
    assert (painted.labels == expected.labels).mean() > 0.98
