"""Runs that come from both sides of a gap and meet in it."""

import numpy as np
import pytest
from fakes import ThresholdPredictor

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Segmentation
from napari_incontext_seg.errors import InputError
from napari_incontext_seg.infer.meeting import put_together, renamed
from napari_incontext_seg.infer.portable import load_run, save_run
from napari_incontext_seg.infer.propagate import propagate


class LastShown(ThresholdPredictor):
    """Paints bright pixels with the commonest id of the last example, as sure as the first has labelled pixels."""

    def bind(self, context):
        self.contexts.append(context)
        last = context.examples[-1]
        label = max(last.ids, key=lambda i: (i > 0) * (last.labels == i).sum())
        sure = np.float32((context.examples[0].labels > 0).mean())

        def segment(plane):
            labels = np.where(plane[..., 0] > 0.5, np.uint32(label), np.uint32(0))
            return Segmentation(labels, np.full(labels.shape, sure, np.float32))

        return segment


def stack(*grid, axes="t"):
    data = np.zeros((*grid, 8, 9), np.uint8)
    data[..., 2:6, 3:7] = 200
    data[..., 0, 0] = np.arange(np.prod(grid)).reshape(grid)  # no two planes are alike
    return Stack(data, f"{axes}yx")


def annotation(label, size=4):
    plane = np.zeros((8, 9), int)
    plane[2 : 2 + size, 3:7] = label
    return plane


def run(s, given, predictor=None, **settings):
    return propagate(s, given, predictor or LastShown(), direction="meet", **settings)


@pytest.mark.parametrize("memory", [0, 1, 3])
def test_between_two_annotated_planes_both_sides_paint_and_where_they_differ_the_surer_wins(memory):
    first, last = annotation(1, 2), annotation(2, 4)
    first[7, 0], last[7, 0] = 2, 1  # either shows both
    steps = {p.position: p for p in run(stack(7), {1: first, 5: last}, memory=memory)}
    assert sorted(steps) == list(range(7))
    for t in (2, 3, 4):
        painted = steps[t].segmentation
        inside = np.zeros((8, 9), bool)
        inside[2:6, 3:7] = True
        assert (painted.labels[inside] == 2).all()  # the later example has more labelled pixels: surer
        np.testing.assert_array_equal(painted.disagreement, inside.astype(np.float32))
        assert painted.confidence[inside].max() < painted.confidence.max()
    assert {steps[t].annotated for t in (1, 5)} == {True}


def test_planes_reached_from_one_side_only_are_painted_as_in_a_plain_run():
    given = {2: annotation(1), 4: annotation(2)}
    plain = {s.position: s.segmentation for s in propagate(stack(7), given, LastShown())}
    met = {s.position: s.segmentation for s in run(stack(7), given)}
    for t in (0, 1, 5, 6):
        np.testing.assert_array_equal(met[t].labels, plain[t].labels)
        assert met[t].disagreement is None
    assert met[3].disagreement is not None


def test_each_way_sees_the_annotated_planes_of_its_side_and_its_own_memory():
    s, predictor = stack(9), LastShown()
    given = {0: annotation(1), 4: annotation(1, 3), 8: annotation(1, 2)}
    list(run(s, given, predictor).part([6], lambda _: None))
    sizes = [[int((e.labels > 0).sum()) for e in c.examples] for c in predictor.contexts]
    assert sizes == [[16, 12], [8]]
    predictor.contexts.clear()
    list(run(s, given, predictor, memory=1).part([6], lambda _: None))
    onward, backward = predictor.contexts[:2], predictor.contexts[2:]
    assert [len(c.examples) for c in onward] == [2, 3]
    assert [len(c.examples) for c in backward] == [1, 2]
    np.testing.assert_array_equal(backward[1].examples[-1].image, s.normalized().plane(7))


def test_a_label_that_one_side_does_not_show_is_shown_to_it_all_the_same():
    predictor = LastShown()
    list(run(stack(5), {0: annotation(1), 4: np.zeros((8, 9), int)}, predictor).part([2], lambda _: None))
    assert [c.ids for c in predictor.contexts] == [(0, 1), (0, 1)]


@pytest.mark.parametrize("ids", [(7, 8, 9), (1, 1, 1)], ids=["through the stack", "numbered anew"])
def test_each_way_sees_the_objects_of_its_side_alone_whatever_their_ids(ids, tmp_path):
    given = {t: annotation(i, size) for t, i, size in zip((0, 4, 8), ids, (4, 3, 2), strict=True)}
    predictor, made = LastShown(), run(stack(9), given, kind="instance")
    save_run(tmp_path, made)
    for way in (made, load_run(tmp_path, predictor)):
        way.predictor = predictor
        predictor.contexts.clear()
        list(way.part([2], lambda _: None))
        sizes = [[int((e.labels > 0).sum()) for e in c.examples] for c in predictor.contexts]
        assert sizes == [[16], [12, 8]]


def test_a_side_without_any_object_is_lent_one_and_without_any_background_too():
    predictor, empty = LastShown(), np.zeros((8, 9), int)
    list(run(stack(9), {0: empty, 4: annotation(5), 8: annotation(6, 2)}, predictor, kind="instance").part([2], None))
    assert [c.ids for c in predictor.contexts] == [(0, 5), (0, 5, 6)]
    predictor.contexts.clear()
    full = np.full((8, 9), 3)
    list(run(stack(5), {0: full, 4: annotation(5)}, predictor, kind="instance").part([2], None))
    assert [c.ids for c in predictor.contexts] == [(0, 3, 5), (0, 5)]


def test_with_classes_a_side_is_still_lent_what_it_does_not_show():
    predictor = LastShown()
    list(run(stack(9), {0: annotation(1), 4: annotation(2), 8: annotation(3)}, predictor).part([2], None))
    assert [c.ids for c in predictor.contexts] == [(0, 1, 2, 3)] * 2


@pytest.mark.parametrize("memory", [0, 2])
@pytest.mark.parametrize("kind", ["semantic", "instance"])
def test_what_is_left_of_a_run_comes_out_as_in_the_whole_run(memory, kind):
    s = stack(3, 4, axes="tz")
    given = {1: annotation(1, 2), 10: annotation(2), 9: annotation(3, 3)}
    whole = {p.position: p.segmentation for p in run(s, given, memory=memory, kind=kind)}
    assert len(whole) == len(s)
    again = run(s, given, memory=memory, kind=kind)
    for left in ([6], [4, 7], again.positions[5:]):
        steps = list(again.part(left, lambda _: None))
        assert sorted(step.position for step in steps) == sorted(left)
        for step in steps:
            np.testing.assert_array_equal(step.segmentation.labels, whole[step.position].labels)
            np.testing.assert_array_equal(step.segmentation.confidence, whole[step.position].confidence)


def test_a_run_that_is_given_another_predictor_asks_that_one():
    first, tuned = LastShown(), LastShown()
    made = run(stack(5), {0: annotation(1), 4: annotation(2)}, first).limited(lambda p: p != 1)
    made.predictor = tuned
    list(made.part([2, 4], lambda _: None))
    assert tuned.contexts
    assert not first.contexts


def test_slices_that_are_not_visited_are_left_out_of_both_ways():
    limited = run(stack(6), {0: annotation(1), 5: annotation(2)}).limited(lambda p: p not in (0, 3, 5))
    assert [step.position for step in limited] == [1, 2, 4]


def test_objects_that_cover_each_other_best_are_one():
    like = np.zeros((4, 10), np.uint32)
    like[:, :4], like[:, 6:] = 5, 9
    labels = np.zeros((4, 10), np.uint32)
    labels[:, 1:4], labels[:2, 6:], labels[2:, 6:9], labels[0, 5] = 1, 2, 3, 4
    found = renamed(labels, like)
    assert set(found[labels == 1]) == {5}
    assert set(found[labels == 2]) == {9}
    assert {int(found[labels == i][0]) for i in (3, 4)} == {10, 11}  # of its own: 9 is taken
    assert renamed(like * 0, like).max() == 0


def test_objects_found_by_both_ways_have_one_id_and_do_not_disagree():
    sure = np.full((4, 4), 0.8, np.float32)
    there, back = (Segmentation(np.full((4, 4), i, np.uint32), sure) for i in (1, 7))
    together = put_together(there, back, "instance")
    assert (together.labels == 1).all()
    assert not together.disagreement.any()
    assert put_together(there, back, "semantic").disagreement.all()
    np.testing.assert_allclose(together.confidence, 0.8)


def test_workers_paint_it_too_but_not_with_memory(tmp_path):
    s, given = stack(6), {0: annotation(1), 5: annotation(2)}
    save_run(tmp_path, run(s, given))
    loaded = load_run(tmp_path, LastShown())
    for step, expected in zip(loaded, run(s, given), strict=True):
        np.testing.assert_array_equal(step.segmentation.labels, expected.segmentation.labels)
        np.testing.assert_array_equal(step.segmentation.confidence, expected.segmentation.confidence)
    with pytest.raises(InputError, match="remembers what it painted itself"):
        save_run(tmp_path, run(s, given, memory=1))


def test_of_a_long_gap_no_more_than_a_few_planes_are_in_memory():
    import tracemalloc

    side = 256
    data = np.zeros((60, side, side), np.uint8)
    data[:, 50:90, 60:100] = 200
    label = (data[0] > 0).astype(np.uint8)
    tracemalloc.start()
    for _ in run(Stack(data, "tyx"), {0: label, 59: label * 2}, memory=1):
        pass
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert highest < 30 * side * side * 8  # all planes, labels and confidence: 58 x side x side x 8, twice
