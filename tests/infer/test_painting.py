"""A SegGPT network as a predictor. The network here is a stand-in that colours by brightness, so outcomes are known."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_incontext_seg.core.types import Context, Example
from napari_incontext_seg.errors import DegradedDataWarning, ModelError
from napari_incontext_seg.infer.painting import SegGptPredictor, vote
from napari_incontext_seg.model.config import SegGptConfig
from napari_incontext_seg.model.registry import create_model
from napari_incontext_seg.model.seggpt import denormalize, normalize


class BrightnessNetwork(nn.Module):
    """Gives each query pixel the colour that pixels of its brightness (in 8 steps) have in the examples, on average."""

    config = SegGptConfig(window=(64, 64), width=32, depth=2, num_heads=2, merge_index=0, out_indices=(1,))

    def __init__(self):
        super().__init__()
        self.shown, self.painted, self.frozen = [], [], []
        self.room = 10**6  # queries that fit into memory

    def show(self, images, targets, *, seg_type, ensemble, query_target=None, mask=None):
        self.shown.append({"examples": images.shape[1], "seg_type": seg_type, "ensemble": ensemble, "mask": mask})
        shown, colours = (denormalize(t)[0].permute(1, 0, 2, 3).flatten(1) for t in (images, targets))
        level = (shown[0] * 7.99).long()
        return torch.stack([colours[:, level == k].mean(1) if (level == k).any() else torch.zeros(3) for k in range(8)])

    def freeze(self, query, shown):
        self.frozen.append(query)
        return shown

    def paint(self, query, shown):
        if len(query) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.painted.append(len(query))
        return normalize(shown[(denormalize(query)[:, 0] * 7.99).long()].permute(0, 3, 1, 2))


def scene(shape, ids, radius=9, seed=0):
    """Discs on a dark ground, the k-th id at brightness (k + 1) / (ids + 1): image (Y, X, 1) and labels (Y, X)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image, labels = np.zeros(shape, np.float32), np.zeros(shape, np.uint32)
    for k, i in enumerate(ids):
        y, x = rng.integers(radius, shape[0] - radius), rng.integers(radius, shape[1] - radius)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image[disc], labels[disc] = (k + 1) / (len(ids) + 1), i
    return image[..., None], labels


def predictor(**settings):
    return SegGptPredictor(BrightnessNetwork(), name="brightness", digest="0", **settings)


def test_what_an_example_shows_is_painted_with_its_ids():
    image, labels = scene((64, 64), [5, 4_000_000_000])
    other, truth = scene((64, 64), [5, 4_000_000_000], seed=3)
    segmentation = predictor().bind(Context((Example(image, labels),)))(other)
    np.testing.assert_array_equal(segmentation.labels, truth)
    assert segmentation.confidence.min() > 0.9
    assert segmentation.provenance["model"] == "brightness"


def test_small_objects_are_painted_in_tiles_that_join_seamlessly():
    image, labels = scene((400, 300), [1, 1, 1, 1], radius=6)
    image = (image > 0).astype(np.float32)
    p = predictor()
    segmentation = p.bind(Context((Example(image, labels),)))(image)
    assert len(p.network.painted) > 9
    assert (segmentation.labels == labels).mean() > 0.999


def test_large_objects_are_painted_in_one_window():
    image, labels = scene((256, 256), [3], radius=60)
    p = predictor()
    segmentation = p.bind(Context((Example(image, labels),)))(image)
    assert len(p.network.painted) == 1
    assert (segmentation.labels == labels).mean() > 0.98


def test_many_labels_are_painted_in_several_passes():
    ids = list(range(1, 41))
    labels = np.zeros((64, 64), np.uint32)
    image = np.zeros((64, 64, 1), np.float32)
    for k, i in enumerate(ids[:7]):
        labels[k * 8 : k * 8 + 6], image[k * 8 : k * 8 + 6] = i, (k + 1.1) / 8
    labels[60:, :33] = np.arange(8, 41)  # the other ids, a few pixels each, on the dark ground
    p = predictor()
    segmentation = p.bind(Context((Example(image, labels),)))(image)
    assert len(p.network.painted) == 4  # 40 ids, at most 13 objects a pass
    assert all((segmentation.labels[k * 8 + 3] == k + 1).all() for k in range(7))


def test_instance_kind_is_told_to_the_network_and_gives_each_component_an_id():
    image = np.zeros((64, 64, 1), np.float32)
    image[5:25, 5:25], image[40:60, 40:60] = 1, 1
    labels = (image[..., 0] > 0).astype(int)
    p = predictor()
    segmentation = p.bind(Context((Example(image, labels),), "instance"))(image)
    assert p.network.shown[0]["seg_type"] == "instance"
    assert set(np.unique(segmentation.labels)) == {0, 1, 2}


def test_any_number_of_objects_is_painted_in_one_pass():
    labels = np.zeros((64, 64), np.uint32)
    for k in range(64):
        labels[k // 8 * 8 : k // 8 * 8 + 6, k % 8 * 8 : k % 8 * 8 + 6] = 1000 + k
    image = (labels > 0).astype(np.float32)[..., None]
    p = predictor()
    segmentation = p.bind(Context((Example(image, labels),), "instance"))(image)
    assert len(p.network.painted) == 1
    assert segmentation.labels.max() == 64


def test_pixels_that_were_not_annotated_are_hidden_from_the_network():
    image, labels = scene((64, 64), [1], radius=20)
    valid = np.zeros((64, 64), bool)
    valid[:, 32:] = True
    p = predictor()
    p.bind(Context((Example(image, labels, valid),)))(image)
    mask = p.network.shown[0]["mask"].reshape(2, 4, 4)
    assert mask[0, :, :2].all()
    assert not mask[0, :, 2:].any()
    assert mask[1].all()


@pytest.mark.parametrize(
    ("ensemble", "examples", "told"), [("feature", 3, "feature"), ("none", 3, "none"), ("spatial", 1, "none")]
)
def test_ensembles(ensemble, examples, told):
    pairs = [scene((64, 64), [1], radius=20, seed=s) for s in range(3)]
    p = predictor(ensemble=ensemble)
    segmentation = p.bind(Context(tuple(Example(*pair) for pair in pairs)))(pairs[0][0])
    assert p.network.shown[0]["examples"] == examples
    assert p.network.shown[0]["ensemble"] == told
    assert (segmentation.labels == pairs[0][1]).mean() > 0.98


def test_recolourings_vote_and_show_where_they_disagree():
    image, labels = scene((64, 64), [1, 2], radius=15)
    p = predictor(recolourings=3)
    segmentation = p.bind(Context((Example(image, labels),)))(image)
    assert len(p.network.painted) == 3
    np.testing.assert_array_equal(segmentation.labels, labels)
    assert segmentation.disagreement.max() == 0


def test_vote():
    one = np.array([[1, 1, 2]], np.uint32), np.array([[0.9, 0.2, 0.5]], np.float32)
    two = np.array([[1, 2, 2]], np.uint32), np.array([[0.7, 0.6, 0.5]], np.float32)
    labels, confidence, disagreement = vote([one, two])
    np.testing.assert_array_equal(labels, [[1, 2, 2]])
    np.testing.assert_allclose(confidence, [[0.8, 0.3, 0.5]])
    np.testing.assert_allclose(disagreement, [[0, 0.25, 0]], atol=1e-6)


def test_the_example_may_have_another_size_than_the_plane():
    image, labels = scene((200, 120), [1], radius=6)
    small, truth = scene((50, 70), [1], radius=6)
    segmentation = predictor().bind(Context((Example(image, labels),)))(small)
    assert (segmentation.labels == truth).mean() > 0.97


def test_a_real_network_runs_from_end_to_end_and_repeats_itself():
    torch.manual_seed(0)
    p = SegGptPredictor(create_model("seggpt_tiny_test"), name="tiny", digest="0")
    image, labels = scene((90, 70), [1, 2])
    segment = p.bind(Context((Example(image, labels), Example(image, labels))))
    first, second = segment(image), segment(image)
    assert first.labels.shape == (90, 70)
    assert set(np.unique(first.labels)) <= {0, 1, 2}
    np.testing.assert_array_equal(first.confidence, second.confidence)


def test_examples_are_taken_in_once_a_stack():
    image, labels = scene((64, 64), [1, 2], radius=15)
    p = predictor(recolourings=2)
    segment = p.bind(Context((Example(image, labels),)))
    for seed in range(3):
        segment(scene((64, 64), [1, 2], seed=seed)[0])
    segment(scene((50, 64), [1, 2], radius=15)[0])
    assert (len(p.network.shown), len(p.network.painted)) == (4, 8)  # twice for each shape of planes


def test_several_planes_are_painted_at_once_as_they_are_alone():
    image, labels = scene((150, 100), [1, 2, 1], radius=6)
    planes = [scene((150, 100), [1, 2, 1], radius=6, seed=s)[0] for s in range(3)]
    alone, together = predictor(), predictor()
    together.at_once.size = 5
    context = Context((Example(image, labels),))
    many = together.bind(context).many(planes)
    for plane, segmentation in zip(planes, many, strict=True):
        expected = alone.bind(context)(plane)
        np.testing.assert_array_equal(segmentation.labels, expected.labels)
        np.testing.assert_array_equal(segmentation.confidence, expected.confidence)
    tiles = sum(together.network.painted)
    assert tiles == sum(alone.network.painted) > 5
    assert max(together.network.painted) == 5


def test_when_the_gpu_has_too_little_memory_fewer_are_painted_at_once_and_that_is_said():
    image, labels = scene((64, 64), [1], radius=20)
    p = predictor()
    p.at_once.size, p.network.room = 8, 3
    segment = p.bind(Context((Example(image, labels),)))
    with pytest.warns(DegradedDataWarning, match=r"at most (4|2) windows at a time"):
        many = segment.many([image] * 7)
    assert len(many) == 7
    assert all((segmentation.labels == labels).mean() > 0.98 for segmentation in many)
    assert p.network.painted == [2, 2, 2, 1]
    assert segment.at_once == 2  # for the rest of the run
    p.network.room = 0
    with pytest.warns(DegradedDataWarning), pytest.raises(torch.OutOfMemoryError):
        segment(image)


def test_an_approximate_predictor_freezes_the_examples_with_the_first_plane_and_says_so():
    image, labels = scene((64, 64), [1], radius=20)
    p = predictor(approximate=True)
    segment = p.bind(Context((Example(image, labels),)))
    first = segment(image)
    segment(scene((64, 64), [1], seed=4)[0])
    assert len(p.network.frozen) == 1
    np.testing.assert_allclose(denormalize(p.network.frozen[0])[0, 0], image[..., 0], atol=1e-5)
    assert first.provenance["approximate"] is True
    assert "approximate" not in predictor().bind(segment.context)(image).provenance


@pytest.mark.parametrize(
    ("settings", "message"), [({"ensemble": "x"}, "ensemble must be"), ({"recolourings": 0}, "at least 1")]
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ModelError, match=message):
        predictor(**settings)
