"""Propagation, with a predictor that needs no torch."""

import numpy as np
import pytest
from fakes import ThresholdPredictor

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Context, Example
from napari_incontext_seg.errors import InputError, ResourceError
from napari_incontext_seg.infer.propagate import propagate, segment_images


def image(planes=6, size=(12, 10)):
    """A bright block that moves one pixel a plane on a dark ground."""
    data = np.zeros((planes, *size), np.uint8)
    for p in range(planes):
        data[p, 2:6, p : p + 4] = 200
    return Stack(data, "zyx")


def truth(stack, p, label=7):
    return np.where(stack.read(p)[..., 0] > 0, label, 0)


def test_one_annotated_slice_in_the_whole_stack_out():
    s = image()
    steps = list(propagate(s, {0: truth(s, 0)}, ThresholdPredictor()))
    assert [step.position for step in steps] == [0, 1, 2, 3, 4, 5]
    for step in steps:
        np.testing.assert_array_equal(step.segmentation.labels, truth(s, step.position))


def test_annotated_slices_come_out_exactly_as_given():
    s = image()
    odd = np.zeros((12, 10), np.uint32)
    odd[0, 0] = 4_000_000_000
    first = next(iter(propagate(s, {2: odd}, ThresholdPredictor())))
    assert first.annotated
    assert first.position == 2
    np.testing.assert_array_equal(first.segmentation.labels, odd)
    assert (first.segmentation.confidence == 1).all()


def test_sparse_annotation_keeps_what_was_painted_and_fills_the_rest():
    s = image()
    scribble = np.full((12, 10), 9)  # 9 = not annotated
    scribble[0, :3], scribble[3, 1] = 0, 7
    scribble[2, 0] = 0  # a person says background where the model says object
    predictor = ThresholdPredictor()
    first = next(iter(propagate(s, {0: scribble}, predictor, ignore_label=9)))
    expected = truth(s, 0)
    expected[2, 0] = 0
    np.testing.assert_array_equal(first.segmentation.labels, expected)
    assert first.segmentation.confidence[2, 0] == 1
    assert predictor.contexts[0].examples[0].valid.sum() == (scribble != 9).sum()


def test_memory_shows_the_last_predictions_oldest_first_and_is_bounded():
    s = image(8)
    predictor = ThresholdPredictor()
    list(propagate(s, {0: truth(s, 0)}, predictor, memory=2))
    assert [len(c.examples) for c in predictor.contexts] == [1, 2, 3, 3, 3, 3, 3]
    last = predictor.contexts[-1].examples
    np.testing.assert_array_equal(last[1].labels, truth(s, 5))
    np.testing.assert_array_equal(last[2].labels, truth(s, 6))


def test_without_memory_the_context_is_bound_once():
    s, predictor = image(), ThresholdPredictor()
    list(propagate(s, {0: truth(s, 0)}, predictor))
    assert len(predictor.contexts) == 1


def test_planes_are_read_when_it_is_their_turn():
    class Counting:
        shape, dtype = (6, 12, 10), np.dtype(np.uint8)

        def __init__(self):
            self.data, self.reads = image().data, []

        def __getitem__(self, index):
            self.reads.append(index[0])
            return self.data[index]

    data = Counting()
    s = Stack(data, "zyx").normalized()
    run = iter(propagate(s, {0: truth(s, 0)}, ThresholdPredictor()))
    data.reads.clear()
    next(run), next(run)
    assert set(data.reads) <= {0, 1}


@pytest.mark.parametrize(("select", "chosen"), [("nearest", 4), ("similar", 0)])
def test_only_some_of_many_examples_are_shown(select, chosen):
    s = image(6)
    s.data[5] = s.data[0]  # slice 5 looks just like slice 0, and is next to slice 4
    predictor = ThresholdPredictor()
    run = propagate(s, {0: truth(s, 0), 4: truth(s, 4)}, predictor, num_examples=1, select=select, span=(5, 6))
    assert [step.position for step in run] == [5]
    np.testing.assert_array_equal(predictor.contexts[-1].examples[0].labels, truth(s, chosen))


def test_examples_from_another_image_join():
    s, predictor = image(), ThresholdPredictor()
    other = Example(np.zeros((5, 5, 1), np.float32), np.eye(5, dtype=int))
    list(propagate(s, {0: truth(s, 0)}, predictor, context=Context((other,))))
    assert predictor.contexts[0].examples[0] is other
    assert predictor.contexts[0].ids == (0, 1, 7)


def test_closing_the_iterator_cancels():
    s = image()
    run = iter(propagate(s, {0: truth(s, 0)}, ThresholdPredictor()))
    next(run)
    run.close()
    assert list(run) == []


def test_a_stack_of_one_slice_and_pixel_wide_images():
    s = Stack(np.array([[[0, 9]]], np.uint16), "zyx")
    assert [step.position for step in propagate(s, {0: np.array([[0, 1]])}, ThresholdPredictor())] == [0]


def test_time_lapse_of_stacks_with_memory_keeps_one_chain_a_z():
    data = np.zeros((3, 2, 12, 10), np.uint8)
    data[:, :, 2:6, 2:6] = 200
    s, predictor = Stack(data, "tzyx"), ThresholdPredictor()
    steps = list(propagate(s, {0: truth(s, 0)}, predictor, memory=1))
    assert sorted(step.position for step in steps) == list(range(6))
    assert max(len(c.examples) for c in predictor.contexts) == 2


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({0: np.zeros((12, 10), int)}, "no object is annotated"),
        ({}, "no slice is annotated"),
        ({0: np.ones((3, 3), int)}, r"annotated slice 0: labels must match the image \(12, 10\)"),
        ({0: -np.ones((12, 10), int)}, "must not be negative"),
        ({0: np.full((12, 10), 0.5)}, "whole numbers"),
        ({77: np.ones((12, 10), int)}, "slice 77 does not exist"),
    ],
)
def test_bad_annotations_are_named(annotations, message):
    with pytest.raises(InputError, match=message):
        propagate(image(), annotations, ThresholdPredictor())


@pytest.mark.parametrize("memory", [0, 1, 3])
def test_a_run_goes_on_where_another_was_cut_short(memory):
    s = Stack(np.random.default_rng(0).random((3, 4, 12, 10), np.float32), "tzyx")
    given = {0: (s.read(0)[..., 0] > 0.5) * 2, 7: np.ones((12, 10), int)}
    whole = ThresholdPredictor()
    done = {step.position: step.segmentation.labels for step in propagate(s, given, whole, memory=memory)}

    later = ThresholdPredictor()
    run = propagate(s, given, later, memory=memory)
    painted = {}
    for position in run.positions:  # in as many pieces as can be
        [step] = run.part([position], lambda p: done[p])
        painted[position] = step.segmentation.labels
    assert painted.keys() == done.keys()
    assert all((painted[p] == done[p]).all() for p in done)
    assert [c.fingerprint for c in later.contexts] == [c.fingerprint for c in whole.contexts]


def test_running_out_of_memory_says_what_to_do():
    class Hungry(ThresholdPredictor):
        def bind(self, context):
            def segment(plane):
                raise MemoryError

            return segment

    s = image()
    with pytest.raises(ResourceError, match="not enough memory for slice 1 of 12 x 10 pixels: close other programs"):
        list(propagate(s, {0: truth(s, 0)}, Hungry()))


def test_a_collection_is_normalised_image_by_image():
    s = image(1)
    context = Context((Example(s.normalized().plane(0), truth(s, 0)),))
    dim = Stack(s.data[0] // 10, "yx", name="dim")
    [(same, segmentation)] = list(segment_images([dim], context, ThresholdPredictor()))
    assert same is dim
    np.testing.assert_array_equal(segmentation.labels, truth(s, 0))


def test_with_examples_from_elsewhere_no_slice_needs_to_be_annotated():
    s = image()
    context = Context((Example(s.normalized().plane(1), truth(s, 1)),))
    steps = list(propagate(s, {}, ThresholdPredictor(), context=context, memory=1))
    assert [step.position for step in steps] == [0, 1, 2, 3, 4, 5]
    assert not any(step.annotated for step in steps)
    np.testing.assert_array_equal(steps[4].segmentation.labels, truth(s, 4))
    series = Stack(np.stack([s.data, s.data]), "tzyx")
    along_z = propagate(series, {}, ThresholdPredictor(), context=context, along="z")
    assert sorted(along_z.positions) == list(range(12))
    with pytest.raises(InputError, match="no slice is annotated"):
        propagate(s, {}, ThresholdPredictor())


def test_a_run_can_be_limited_to_some_planes_which_come_out_as_before():
    s = image()
    run = propagate(s, {2: truth(s, 2)}, ThresholdPredictor()).limited(lambda p: p in (1, 3))
    assert (len(run), run.annotated) == (2, {2})
    steps = list(run)
    assert {step.position for step in steps} == {1, 3}
    for step in steps:
        np.testing.assert_array_equal(step.segmentation.labels, truth(s, step.position))


@pytest.mark.parametrize("select", ["nearest", "similar"])
def test_an_empty_slice_is_never_all_that_is_shown(select):
    s = image()
    predictor = ThresholdPredictor()
    annotations = {0: truth(s, 0), 5: np.zeros((12, 10), np.uint32)}
    steps = list(propagate(s, annotations, predictor, num_examples=1, select=select))
    assert len(steps) == 6
    assert all(context.ids == (0, 7) for context in predictor.contexts)


class SeveralAtOnce(ThresholdPredictor):
    """Likes three planes at a time."""

    def bind(self, context):
        one = super().bind(context)

        class Segmenter:
            at_once = 3

            def __call__(self, plane):
                return self.many([plane])[0]

            def many(_, planes):
                self.sizes.append(len(planes))
                return [one(plane) for plane in planes]

        return Segmenter()

    sizes: list[int]


def test_planes_that_do_not_need_each_other_are_painted_several_at_once_in_the_same_order():
    s = image(9)
    predictor = SeveralAtOnce()
    predictor.sizes = []
    given = {4: truth(s, 4)}
    steps, expected = list(propagate(s, given, predictor)), list(propagate(s, given, ThresholdPredictor()))
    assert [step.position for step in steps] == [step.position for step in expected]
    assert [step.annotated for step in steps] == [step.annotated for step in expected]
    for step, other in zip(steps, expected, strict=True):
        np.testing.assert_array_equal(step.segmentation.labels, other.segmentation.labels)
    assert predictor.sizes == [3, 3, 2]
    predictor.sizes.clear()
    list(propagate(s, given, predictor, memory=1))
    assert set(predictor.sizes) == {1}  # each needs the one before


def test_with_another_choice_of_examples_a_new_portion_begins():
    s = image(8)
    predictor = SeveralAtOnce()
    predictor.sizes = []
    steps = list(propagate(s, {0: truth(s, 0), 7: truth(s, 7)}, predictor, num_examples=1))
    assert len(steps) == 8
    assert sum(predictor.sizes) == 6
    assert max(predictor.sizes) == 3


def test_what_labels_are_is_guessed_as_on_the_command_line():
    stack = image(planes=2, size=(40, 40))
    y, x = np.mgrid[:40, :40]
    objects = np.where((y % 10 < 6) & (x % 10 < 6), y // 10 * 4 + x // 10 + 1, 0)
    assert propagate(stack, {0: objects}, ThresholdPredictor()).context.kind == "instance"
    assert propagate(stack, {0: objects}, ThresholdPredictor(), kind="semantic").context.kind == "semantic"
    assert propagate(stack, {0: objects > 0}, ThresholdPredictor()).context.kind == "semantic"
    elsewhere = Context((Example(stack.normalized().plane(1), objects),), "instance")
    assert propagate(stack, {0: objects > 0}, ThresholdPredictor(), context=elsewhere).context.kind == "instance"


def test_objects_need_a_ground_that_they_can_be_told_from():
    stack = image(planes=2, size=(40, 40))
    y, x = np.mgrid[:40, :40]
    tissue = y // 10 * 4 + x // 10 + 1
    apart = np.where((y % 10 < 6) & (x % 10 < 6), tissue, 0)
    with pytest.raises(InputError, match="no background is annotated"):
        propagate(stack, {0: apart}, ThresholdPredictor(), kind="instance", ignore_label=0)
    propagate(stack, {0: apart}, ThresholdPredictor(), kind="instance")
    propagate(stack, {0: tissue}, ThresholdPredictor(), kind="instance")


def test_annotations_without_numbers_are_refused():
    with pytest.raises(InputError, match=r"\{position: labels\}, such as \{0: labels\[0\]\}; got ndarray"):
        propagate(image(), np.zeros((3, 4, 4), int), ThresholdPredictor())
