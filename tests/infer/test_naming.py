"""Labels that are names of single objects, annotated in different planes."""

import numpy as np
import pytest
from naming_scene import NearestGrey, only, truth, video

from napari_incontext_seg.errors import InputError
from napari_incontext_seg.infer.propagate import propagate


def test_an_object_added_in_a_later_frame_joins_everywhere_and_one_that_was_lost_comes_back():
    given = {0: only(0, 1, 2), 3: only(3, 3)}  # frame 3 shows the new object only
    steps = {s.position: s.segmentation for s in propagate(video(), given, NearestGrey(), names=True)}
    for t in range(7):  # frame 0 too, where 3 was there but nobody had named it; and 2 in frame 3
        np.testing.assert_array_equal(steps[t].labels, truth(t))


def test_what_was_labelled_comes_out_exactly_and_the_background_that_is_not_doubtful_counts():
    wrong = only(0, 1, 2)
    wrong[0, 0] = 2  # a person says so
    predictor = NearestGrey()
    run = propagate(video(), {0: wrong, 3: only(3, 3)}, predictor, names=True)
    steps = {s.position: s for s in run}
    assert steps[0].annotated
    assert steps[0].segmentation.labels[0, 0] == 2
    first, later = (run.examples[t] for t in (0, 3))
    np.testing.assert_array_equal(~first.valid, truth(0) == 3)  # 3 may be there; all else is background
    np.testing.assert_array_equal(~later.valid, np.isin(truth(3), (1, 2)))


def test_planes_that_show_the_same_objects_are_left_as_they_are():
    predictor = NearestGrey()
    run = propagate(video(), {0: truth(0), 5: truth(5)}, predictor, names=True)
    assert not predictor.contexts  # nothing is asked
    assert all(e.valid.all() for e in run.examples.values())


def test_without_names_an_unlabelled_object_is_background():
    given = {0: only(0, 1, 2), 3: only(3, 3)}
    run = propagate(video(), given, NearestGrey())
    assert all(e.valid.all() for e in run.examples.values())
    np.testing.assert_array_equal(next(s for s in run if s.position == 3).segmentation.labels, given[3])


def test_the_first_plane_of_each_object_is_always_shown():
    predictor = NearestGrey()
    given = {0: truth(0), 4: only(4, 2, 3), 5: only(5, 1, 2, 3), 6: only(6, 2)}
    run = propagate(video(), given, predictor, names=True, num_examples=1, memory=1)
    predictor.contexts.clear()
    list(run)
    assert all((c.examples[0].image == run.examples[0].image).all() for c in predictor.contexts)
    nearest = [c for c in predictor.contexts if (c.examples[-1].image == run.examples[4].image).all()]
    assert nearest
    assert all(len(c.examples) == 2 for c in nearest)


@pytest.mark.parametrize("memory", [0, 1])
def test_both_ways_of_a_run_that_meets_know_all_names(memory):
    given = {0: only(0, 1, 2), 6: only(6, 1, 3)}
    run = propagate(video(), given, NearestGrey(), names=True, direction="meet", memory=memory)
    for step in run:
        np.testing.assert_array_equal(step.segmentation.labels, truth(step.position))
        if not step.annotated:
            assert not step.segmentation.disagreement.any()


def test_more_objects_than_colours_and_other_kinds_are_refused():
    many = np.arange(20 * 24).reshape(20, 24) % 15
    with pytest.raises(InputError, match=r"up to 13 objects can be named .* got 14"):
        propagate(video(), {0: many}, NearestGrey(), names=True)
    with pytest.raises(InputError, match="kind semantic"):
        propagate(video(), {0: truth(0)}, NearestGrey(), names=True, kind="instance")
