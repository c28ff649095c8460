"""A job from the first example to the last undo, without a toolkit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import ArrayPlanes, ThresholdPredictor

from napari_incontext_seg.core.example_set import ExampleItem, ExampleSet
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Example
from napari_incontext_seg.errors import DegradedDataWarning, InputError
from napari_incontext_seg.session.journal import Journal
from napari_incontext_seg.session.packed import PackedMaps
from napari_incontext_seg.session.project import Project
from napari_incontext_seg.session.review import least_sure, worth_annotating
from napari_incontext_seg.session.settings import RunSettings


@pytest.fixture
def stack() -> Stack:
    """Bright blocks that move; slice 4 is dim, so that a threshold is unsure of it."""
    data = np.zeros((8, 20, 16), np.uint8)
    for z in range(8):
        data[z, 3:9, z : z + 6] = 150 if z == 4 else 250
    return Stack(data, "zyx", name="blocks")


@pytest.fixture
def project(stack: Stack) -> Any:
    """A project whose slice 0 is annotated with label 7, and already an example."""
    made = Project(stack, ArrayPlanes(stack))
    made.labels.write(0, truth(0, stack))
    made.add_example(0)
    yield made
    made.close()


def truth(position: int, stack: Stack) -> np.ndarray:
    return (stack.data[position] > 0).astype(np.uint32) * 7


def run(project: Project, current: int = 0, **settings: Any) -> list[int]:
    """Run to the end; the slices that were written."""
    project.settings = replace(project.settings, **settings)
    return [step.position for step in project.start(ThresholdPredictor(), current) if project.commit(step)]


# -- examples -----------------------------------------------------------------------------------------------------
def test_a_slice_becomes_an_example_with_its_labels(project: Project, stack: Stack) -> None:
    (item,) = project.examples.items
    assert (item.name, item.source, item.position, item.index) == ("blocks, z 0", "blocks", 0, (0,))
    np.testing.assert_array_equal(item.example.labels, truth(0, stack))
    assert project.annotated == project.locked == {0}


def test_an_empty_slice_is_no_first_example_but_may_be_a_second(project: Project, stack: Stack) -> None:
    with pytest.raises(InputError, match="no label is painted on slice 3"):
        Project(stack, ArrayPlanes(stack)).add_example(3)
    assert project.add_example(3) == 1  # here is nothing to find: an example too


def test_adding_a_slice_again_or_editing_its_labels_updates_the_example(project: Project, stack: Stack) -> None:
    project.labels.write(0, truth(0, stack) // 7 * 9)
    assert project.refresh_example(0)
    assert project.examples.items[0].example.ids == (0, 9)
    project.use_example(0, False)
    project.labels.write(0, truth(0, stack))
    assert project.add_example(0) == 0
    assert project.examples.items[0].used
    assert project.examples.items[0].example.ids == (0, 7)
    assert not project.refresh_example(5)


def test_an_example_whose_labels_are_erased_is_told_of(project: Project) -> None:
    project.labels.write(0, np.zeros((20, 16), np.uint32))
    with pytest.warns(DegradedDataWarning, match="blocks, z 0 shows no label any more"):
        project.refresh_example(0)
    assert project.examples.items[0].example.ids == (0,)


def test_an_example_that_is_removed_unlocks_its_slice(project: Project) -> None:
    project.remove_example(0)
    assert project.locked == set()


def test_a_label_may_mean_not_annotated(project: Project, stack: Stack) -> None:
    scribbles = np.zeros((20, 16), np.uint32)
    scribbles[5, :6], scribbles[15] = 7, 3
    project.labels.write(0, scribbles)
    project.refresh_example(0)
    project.set_ignore_label(0)
    example = project.examples.items[0].example
    np.testing.assert_array_equal(example.valid, scribbles > 0)
    assert example.ids == (3, 7)
    project.set_ignore_label(None)
    assert project.examples.items[0].example.valid.all()


def test_the_first_example_tells_whether_labels_are_objects(stack: Stack) -> None:
    project = Project(stack, ArrayPlanes(stack))
    cells = np.zeros((20, 16), np.uint32)
    cells[1::4, 1::4] = np.arange(1, 21).reshape(5, 4)
    project.labels.write(0, cells)
    project.add_example(0)
    assert project.settings.kind == project.examples.kind == "instance"
    project.settings = replace(project.settings, kind="semantic")  # a person knows better
    project.labels.write(1, cells)
    project.add_example(1)
    assert project.settings.kind == project.examples.kind == "semantic"
    project.close()


def test_changes_are_told(stack: Stack) -> None:
    told: list[tuple[str, int | None]] = []
    project = Project(stack, ArrayPlanes(stack), on_change=lambda topic, position: told.append((topic, position)))
    project.labels.write(2, truth(2, stack))
    project.add_example(2)
    project.verify(5)
    project.set_classes({7: "block"}, {7: (1, 0, 0)})
    assert told == [("examples", 2), ("verified", 5), ("examples", None)]
    project.close()


def test_an_imported_set_brings_labels_to_empty_slices_and_else_joins_from_elsewhere(
    project: Project, stack: Stack
) -> None:
    other = np.zeros((20, 16), np.uint32)
    other[0, 0] = 2

    def item(position: int, labels: np.ndarray, source: str = "blocks") -> ExampleItem:
        return ExampleItem(Example(project.stack.plane(position), labels), "x", source, position)

    elsewhere = ExampleItem(Example(np.ones((5, 5), np.float32), np.ones((5, 5))), "y", "blocks", 3)
    given = ExampleSet(
        (item(0, truth(0, stack)), item(2, truth(2, stack), "renamed"), item(5, other), elsewhere),
        class_names={7: "block"},
    )
    project.labels.write(5, truth(5, stack))
    assert project.import_examples(given) == 3  # the first is known
    assert [i.position for i in project.examples.items] == [0, 2, None, None]
    assert project.annotated == {0, 2}
    np.testing.assert_array_equal(project.labels.read(2), truth(2, stack))
    np.testing.assert_array_equal(project.labels.read(5), truth(5, stack))  # what was painted stays
    assert project.examples.class_names == {7: "block"}


def test_an_imported_set_changes_no_slice_that_was_found_empty(project: Project, stack: Stack) -> None:
    project.add_example(3)  # nothing is there, says a person
    item = ExampleItem(Example(project.stack.plane(3), truth(3, stack)), "x", "blocks", 3)
    project.import_examples(ExampleSet((item,)))
    assert not project.labels.read(3).any()
    assert [i.position for i in project.examples.items] == [0, 3, None]


# -- running ------------------------------------------------------------------------------------------------------
def test_a_run_paints_all_but_locked_slices(project: Project, stack: Stack) -> None:
    project.labels.write(3, np.full((20, 16), 1, np.uint32))
    project.verify(3)
    assert run(project) == [1, 2, 4, 5, 6, 7]
    np.testing.assert_array_equal(project.labels.read(6), truth(6, stack))
    assert (project.labels.read(3) == 1).all()
    assert set(project.confidence) == {1, 2, 4, 5, 6, 7}


@pytest.mark.parametrize(
    ("where", "current", "span", "painted"),
    [
        ("this", 4, None, [4]),
        ("onward", 5, None, [5, 6, 7]),
        ("backward", 2, None, [1, 2]),
        ("both", 5, None, [1, 2, 3, 4, 5, 7]),
        ("until_verified", 3, None, [3, 4, 5]),
        ("until_verified", 7, None, [7]),
        ("range", 0, (2, 4), [2, 3]),
    ],
)
def test_where_to_paint(project: Project, where: Any, current: int, span: Any, painted: list[int]) -> None:
    if where in ("until_verified", "both"):
        project.verify(6)
    assert sorted(run(project, current, where=where, span=span)) == painted


def test_this_slice_of_a_time_lapse_of_stacks_is_one_plane() -> None:
    data = np.zeros((3, 4, 6, 6), np.uint8)
    data[:, :, 2:4, 2:4] = 200
    stack = Stack(data, "tzyx", name="4D")
    project = Project(stack, ArrayPlanes(stack))
    project.labels.write(1, (data[0, 1] > 0).astype(np.uint32))
    project.add_example(1)
    assert project.examples.items[0].index == (0, 1)
    assert run(project, 6, where="this") == [6]
    assert sorted(run(project, 4, where="onward", along="t")) == [5, 9]  # the annotated z, from t 1 on
    assert len(run(project, 0, where="both", along=None)) == 11
    project.close()


def test_nothing_to_paint_is_told(project: Project) -> None:
    with pytest.raises(InputError, match="nothing to paint"):
        run(project, 0, where="this")
    project.use_example(0, False)
    with pytest.raises(InputError, match="tick one"):
        run(project, where="both")


def test_of_a_single_plane_it_is_told_that_there_is_no_other() -> None:
    stack = Stack(np.eye(9, dtype=np.float32), "yx", name="photo")
    project = Project(stack, ArrayPlanes(stack))
    project.labels.write(0, np.eye(9, dtype=np.uint32))
    project.add_example(0)
    with pytest.raises(InputError, match="one slice only"):
        run(project)


def test_examples_of_other_images_are_enough(stack: Stack) -> None:
    project = Project(stack, ArrayPlanes(stack))
    project.add_item(ExampleItem(Example(np.eye(9, dtype=np.float32), np.eye(9)), "other", "other", 0))
    assert len(run(project)) == 8
    project.close()


def test_changing_examples_in_mid_run_does_not_touch_the_run(project: Project) -> None:
    predictor = ThresholdPredictor()
    steps = iter(project.start(predictor))
    project.commit(next(steps))
    project.remove_example(0)
    project.commit(next(steps))
    project.verify(3)
    assert not project.commit(next(steps))  # locked meanwhile
    assert len(list(steps)) == 4
    assert len({context.fingerprint for context in predictor.contexts}) == 1


def test_pixels_that_a_person_painted_stay(project: Project) -> None:
    hand = np.zeros((20, 16), bool)
    hand[0:6, 0:9] = True
    project.labels.write(3, np.where(hand, 5, 0).astype(np.uint32))
    project.note_hand_edit(3, hand)
    run(project)
    assert (project.labels.read(3)[hand] == 5).all()
    assert (project.labels.read(3)[~hand] != 5).all()


# -- review -------------------------------------------------------------------------------------------------------
def test_the_least_sure_slices_come_first_and_locked_ones_never(project: Project) -> None:
    assert project.next_unsure() is None
    run(project)
    assert project.next_unsure(after=0) == project.annotate_next() == 4
    second = project.next_unsure(after=4)
    assert second == project.unsure[1]
    assert project.next_unsure(after=project.unsure[-1]) == 4  # around again
    project.verify(4)
    assert 4 not in project.unsure
    project.verify(4, False)
    assert project.annotate_next() == 4


def test_what_to_annotate_next_is_unsure_and_far_from_what_was_annotated(stack: Stack) -> None:
    assert worth_annotating(stack, {}, [], {0}) is None
    sure = dict.fromkeys(range(1, 8), 0.9) | {1: 0.5, 6: 0.52}
    assert least_sure(sure, {0})[:2] == [1, 6]
    assert worth_annotating(stack, sure, least_sure(sure, {0}), {0}) == 6  # slice 1 is the neighbour of an example
    assert worth_annotating(stack, sure, least_sure(sure, {0}), {0, 5}) == 1  # now both are: the less sure one
    assert worth_annotating(stack, sure, least_sure(sure, set()), set()) == 1  # examples are of other images


def test_slices_of_one_z_are_close_in_time() -> None:
    stack = Stack(np.zeros((9, 9, 4, 4), np.uint8), "tzyx")
    sure = {9 + 4: 0.5, 8 * 9 + 8: 0.55}  # t 1 z 4, next to the example at t 0 z 4; and a far corner
    assert worth_annotating(stack, sure, [13, 80], {4}) == 80


def test_maps_of_disagreement_are_bounded_and_the_oldest_are_forgotten() -> None:
    noise = np.random.default_rng(0).random((9, 40, 40)).astype(np.float32)
    maps = PackedMaps((40, 40), max_bytes=5000)
    for position, values in enumerate(noise):
        maps.put(position, values)
    assert maps.nbytes <= 5000
    assert maps.get(0) is None
    np.testing.assert_allclose(maps.get(8), noise[8], atol=0.003)
    maps.put(8, noise[0])
    maps.put(7, None)
    maps.put(6, None)
    maps.put(8, None)
    assert maps.nbytes == 0


def test_disagreement_is_kept_where_it_is_known(project: Project) -> None:
    step = next(iter(project.start(ThresholdPredictor())))
    project.commit(step)
    assert project.disagreement.get(step.position) is None
    values = np.linspace(0, 1, 320, dtype=np.float32).reshape(20, 16)
    project.commit(replace(step, segmentation=replace(step.segmentation, disagreement=values)))
    np.testing.assert_allclose(project.disagreement.get(step.position), values, atol=0.003)


def test_a_run_that_meets_tells_where_its_sides_disagree(project: Project, stack: Stack) -> None:
    given = truth(6, stack)
    given[0, 0] = 9  # a class that the fake then paints on everything bright, as it is shown to both sides
    project.labels.write(6, given)
    project.add_example(6)
    assert 3 in run(project, direction="meet")
    assert project.disagreement.get(3) is not None
    assert project.disagreement.get(7) is None  # reached from one side only


def test_labels_that_are_said_to_be_names_stay_names_whatever_the_examples_look_like(stack: Stack) -> None:
    project = Project(stack, ArrayPlanes(stack))
    project.settings = replace(project.settings, names=True)
    many = np.zeros((20, 16), np.uint32)
    many[::3, ::5] = np.arange(1, 29).reshape(7, 4)
    project.labels.write(0, many)
    project.add_example(0)
    assert (project.settings.kind, project.settings.names) == ("semantic", True)
    project.import_examples(ExampleSet(project.examples.items, "instance"))
    assert project.settings.names == (project.settings.kind == "semantic")
    project.close()


def test_cleaning_up_is_a_run_that_can_be_undone(project: Project) -> None:
    run(project)
    specks = project.labels.read(5)
    specks[18, 2] = 7
    project.labels.write(5, specks)
    assert list(project.cleanup([0, 4, 5], "drop_small", 3)) == [False, False, True]
    assert project.labels.read(5)[18, 2] == 0
    sure = project.confidence[5]
    assert list(project.undo_run()) == [5]
    assert project.labels.read(5)[18, 2] == 7
    assert project.confidence[5] == sure


# -- undo ---------------------------------------------------------------------------------------------------------
def test_undo_and_redo_of_a_slice_and_of_a_run(project: Project) -> None:
    before = project.labels.data.copy()
    run(project)
    painted, sure = project.labels.data.copy(), dict(project.confidence)
    assert project.undo_slice() == [7]
    assert not project.labels.read(7).any()
    assert 7 not in project.confidence
    assert len(list(project.undo_run())) == 6
    np.testing.assert_array_equal(project.labels.data, before)
    assert project.confidence == {}
    assert len(list(project.redo_run())) == 7
    np.testing.assert_array_equal(project.labels.data, painted)
    assert project.confidence == sure


def test_undo_leaves_hand_edits_and_locked_slices_alone(project: Project) -> None:
    run(project)
    hand = np.zeros((20, 16), bool)
    hand[10:12, 3:5] = True
    hand[3, 3] = True  # over what the model wrote, with the same label
    project.labels.write(3, np.where(hand, 7, project.labels.read(3)).astype(np.uint32))
    project.note_hand_edit(3, hand)
    project.verify(4)
    verified = project.labels.read(4)
    assert 4 not in list(project.undo_run())
    np.testing.assert_array_equal(project.labels.read(3), np.where(hand, 7, 0))
    np.testing.assert_array_equal(project.labels.read(4), verified)


def test_what_was_locked_during_undo_can_be_undone_when_it_is_unlocked(project: Project) -> None:
    run(project)
    project.verify(4)
    assert len(list(project.undo_run())) == 6
    project.verify(4, False)
    assert list(project.undo_run()) == [4]
    assert not project.labels.read(4).any()
    assert len(list(project.redo_run())) == 7


def test_an_example_made_of_a_correction_carries_the_run_on(project: Project, stack: Stack) -> None:
    run(project)
    project.labels.write(4, truth(4, stack))
    project.add_example(4)
    assert run(project, 4, where="onward") == [5, 6, 7]
    assert RunSettings(where="onward") == project.settings


def test_undo_passes_over_slices_that_were_locked_since(project: Project, stack: Stack) -> None:
    run(project)
    project.verify(7)
    assert project.undo_slice() == [6]
    assert project.redo_slice() == [6]
    assert project.redo_slice() == []
    np.testing.assert_array_equal(project.labels.read(7), truth(7, stack))


def test_a_run_of_2000_slices_is_undone_whole_within_its_memory() -> None:
    """What is locked or painted by hand stays through the run, its undo, and its redo."""
    data = np.zeros((2000, 24, 24), np.uint8)
    data[:, 4:9, 4:9] = 250
    data[::7, 12:20, 3:15] = 250
    stack = Stack(data, "zyx", name="long")
    project = Project(stack, ArrayPlanes(stack))
    project.journal = Journal(memory_bytes=10_000)
    project.labels.write(0, truth(0, stack))
    project.add_example(0)
    hand = np.zeros((24, 24), bool)
    hand[5, 5:20] = True
    for position in (1, 1000, 1999):
        project.labels.write(position, hand * np.uint32(3))
        project.note_hand_edit(position, hand)
    project.labels.write(500, np.full((24, 24), 9, np.uint32))
    project.verify(500)
    before = project.labels.data.copy()
    assert len(run(project)) == 1998
    painted = project.labels.data.copy()
    in_memory, on_disk = project.journal.nbytes
    assert in_memory <= 10_000 < on_disk < painted.nbytes / 10
    for position in (1, 1000, 1999):
        assert (painted[position][hand] == 3).all()
    assert (painted[500] == 9).all()
    list(project.undo_run())
    np.testing.assert_array_equal(project.labels.data, before)
    list(project.redo_run())
    np.testing.assert_array_equal(project.labels.data, painted)
    project.close()
