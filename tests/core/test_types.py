"""Example, Context, Segmentation: checked when made, and never changed after."""

from __future__ import annotations

import numpy as np
import pytest

from napari_incontext_seg.core.types import Context, Example, Segmentation, as_plane
from napari_incontext_seg.errors import InputError

IMAGE = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
LABELS = np.array([[0, 0, 2**32 - 1, 5], [0, 0, 0, 5], [0, 0, 0, 0]], np.uint32)


def test_an_example_is_read_only_and_keeps_large_ids() -> None:
    example = Example(IMAGE, LABELS)
    assert example.image.shape == (3, 4, 1)
    assert example.ids == (0, 5, 2**32 - 1)
    assert example.valid.all()
    for array in (example.image, example.labels, example.valid):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_a_scribble_is_only_what_was_painted() -> None:
    labels = np.full((3, 4), 9)
    labels[0, :2] = 1, 2
    example = Example.from_labels(IMAGE, labels, ignore_label=9)
    assert example.ids == (1, 2)
    assert example.valid.sum() == 2
    assert not example.labels[~example.valid].any()
    same = Example.from_labels(IMAGE, np.where(labels == 9, -1, labels), ignore_label=-1)
    assert same.digest == example.digest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((IMAGE * 2, LABELS), r"\[0, 1\]"),
        ((np.where(IMAGE > 0.5, np.nan, IMAGE), LABELS), "NaN"),
        ((np.zeros((3, 4, 2), np.float32), LABELS), "channels"),
        ((np.zeros((0, 4), np.float32), LABELS), "plane"),
        ((IMAGE, LABELS[:2]), "match the image"),
        ((IMAGE, LABELS, np.ones((2, 4), bool)), "valid must match"),
        ((IMAGE, LABELS, np.zeros((3, 4), bool)), "no annotated pixel"),
        ((IMAGE, LABELS, None, (1.0, 0.0)), "spacing"),
        ((IMAGE, LABELS, None, (1.0, np.nan)), "spacing"),
        ((IMAGE, LABELS, None, (1.0,)), "spacing"),
    ],
)
def test_a_bad_example_is_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Example(*arguments)


def test_the_digest_tells_examples_apart_by_what_they_hold() -> None:
    example = Example(IMAGE, LABELS, spacing=(0.5, 0.5))
    assert example.digest == Example(IMAGE.copy(), LABELS.astype(int), spacing=tuple(np.full(2, 0.5))).digest
    valid = np.ones((3, 4), bool)
    valid[2, 3] = False
    others = [
        Example(IMAGE, LABELS),
        Example(1 - IMAGE, LABELS, spacing=(0.5, 0.5)),
        Example(IMAGE, LABELS.clip(max=5), spacing=(0.5, 0.5)),
        Example(IMAGE, LABELS, valid, (0.5, 0.5)),
        Example(IMAGE.T, LABELS.T, spacing=(0.5, 0.5)),
    ]
    assert len({example.digest, *(o.digest for o in others)}) == 6


def test_a_context_knows_all_ids_and_its_fingerprint() -> None:
    one, two = Example(IMAGE, LABELS), Example(IMAGE, LABELS.clip(max=3))
    context = Context((one, two), class_names={5: "nucleus"})
    assert context.ids == (0, 3, 5, 2**32 - 1)
    assert context.joined() is context
    joined = Context((one,), class_names={5: "nucleus"}).joined(two)
    assert joined.fingerprint == context.fingerprint
    assert joined.class_names == {5: "nucleus"}
    prints = {context.fingerprint, Context((two, one)).fingerprint, Context((one, two), "instance").fingerprint}
    assert len(prints) == 3


def test_a_context_without_an_example_or_an_object_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        Context(())
    with pytest.raises(InputError, match="no object"):
        Context((Example(IMAGE, np.zeros((3, 4), int)),))
    with pytest.raises(InputError, match="panoptic"):
        Context((Example(IMAGE, LABELS),), "panoptic")  # type: ignore[arg-type]


def test_a_segmentation_is_checked_and_read_only() -> None:
    confidence = np.ones((3, 4))
    segmentation = Segmentation(LABELS, confidence, {"model": "guess"}, confidence * 0.5)
    assert segmentation.confidence.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        segmentation.labels[0, 0] = 1
    with pytest.raises(TypeError):
        segmentation.provenance["model"] = "other"  # type: ignore[index]
    with pytest.raises(InputError, match="confidence"):
        Segmentation(LABELS, confidence[:2])
    with pytest.raises(InputError, match="disagreement"):
        Segmentation(LABELS, confidence, disagreement=confidence[:2])


def test_a_grey_plane_gets_a_channel_axis() -> None:
    assert as_plane(IMAGE).shape == (3, 4, 1)
    assert as_plane(np.zeros((3, 4, 3))).dtype == np.float32


@pytest.mark.parametrize("image", [None, "text", {}, [[1, 2], [3]], object()])
def test_what_is_no_array_is_no_plane(image):
    with pytest.raises(InputError, match="plane must"):
        as_plane(image)


@pytest.mark.parametrize("spacing", ["ab", 3, (None, 1), (1,)])
def test_spacing_is_two_numbers(spacing):
    with pytest.raises(InputError, match="two positive numbers"):
        Example(np.zeros((4, 5, 1), np.float32), np.ones((4, 5)), spacing=spacing)


@pytest.mark.parametrize("confidence", [{}, "text", object()])
def test_confidence_is_an_array(confidence):
    with pytest.raises(InputError, match="confidence must"):
        Segmentation(np.ones((4, 5), np.uint32), confidence)
