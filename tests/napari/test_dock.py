"""The dock, with a fake model: every step of annotating, propagating and reviewing, as a person does it."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import tifffile
from fakes import ThresholdPredictor
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QLabel,
    QMessageBox,
    QScrollArea,
    QSpinBox,
)

from napari_incontext_seg._napari.classes_dialog import ClassesDialog
from napari_incontext_seg._napari.dock import InContextDock
from napari_incontext_seg._napari.keys import KEYS
from napari_incontext_seg.core.types import Context, Example
from napari_incontext_seg.infer.key import Key, Learned
from napari_incontext_seg.infer.predictor import load_predictor
from napari_incontext_seg.session.saved import find_sessions, load_session

SHAPE = (9, 24, 24)


def blobs(shape=SHAPE):
    """A bright disk that moves from slice to slice."""
    z, y, x = np.indices(shape)
    return (((y - 12) ** 2 + (x - 8 - z) ** 2 < 20) * 200 + 20).astype(np.uint8)


class Slow(ThresholdPredictor):
    """Waits before every slice until it may go on."""

    def __init__(self):
        super().__init__()
        self.gate, self.waiting, self.opened = threading.Semaphore(0), threading.Event(), False

    def bind(self, context):
        segment = super().bind(context)

        def slowly(plane):
            self.waiting.set()
            if not self.opened:
                assert self.gate.acquire(timeout=10)
            self.waiting.clear()
            return segment(plane)

        return slowly

    def let(self, count=1):
        for _ in range(count):
            self.gate.release()

    def open(self):
        self.opened = True
        self.let(100)


@pytest.fixture
def notes():
    """What the user was told."""
    before = len(notification_manager.records)

    class Notes:
        def __str__(self):
            return " | ".join(n.message for n in list(notification_manager.records)[before:])

    return Notes()


@pytest.fixture
def desk(viewer, qtbot):
    """A dock on a stack whose slice 4 is annotated and on display."""
    image = viewer.add_image(blobs(), name="blobs", scale=(2, 0.5, 0.5), units=("um",) * 3, axis_labels=("z", "y", "x"))
    labels = np.zeros(SHAPE, np.uint32)
    labels[4] = (blobs()[4] > 100) * 3
    viewer.add_labels(labels, name="blobs labels", scale=image.scale, units=image.units, axis_labels=image.axis_labels)
    viewer.dims.set_current_step(0, 4)
    return dock_on(viewer, qtbot)


def dock_on(viewer, qtbot):
    dock = InContextDock(viewer)
    viewer.window.add_dock_widget(dock, area="right")
    return dock


def run(dock, qtbot, predictor=None, **settings):
    """Run to the end with a fake model."""
    for name, value in settings.items():
        box = getattr(dock.propagate, name)
        box.setCurrentIndex(box.findData(value)) if isinstance(box, QComboBox) else box.setValue(value)
    predictor = predictor or ThresholdPredictor()
    with qtbot.waitSignal(dock.bench.job.ended, timeout=10000):
        assert dock.bench.run(dock.propagate.settings(), predictor)
    return predictor


def left_after_a_run(desk, viewer, qtbot):
    """Paint, then open the image anew: all that is left is on disk. Returns the labels that were there."""
    desk.collecting.add_slice()
    run(desk, qtbot)
    before = desk.bench.planes.layer.data.copy()
    desk.bench.close()
    viewer.layers.clear()
    viewer.add_image(blobs(), name="blobs")
    return before


def painted(dock):
    """Numbers of the slices that have labels."""
    return [p for p in range(len(dock.bench.planes)) if dock.bench.planes.read(p).any()]


# -- layers -----------------------------------------------------------------------------------------------------------
def test_the_dock_opens_without_an_image(viewer, qtbot):
    dock = dock_on(viewer, qtbot)
    assert not dock.propagate.isEnabled()
    assert "open an image" in dock.layers.image.currentText()


def test_image_and_labels_are_chosen_and_follow_the_viewer(desk, viewer):
    assert desk.layers.image.currentText() == "blobs"
    assert desk.layers.labels.currentText() == "blobs labels"
    viewer.add_image(np.zeros((5, 8, 8), np.uint8), name="other")
    assert desk.layers.image.count() == 2
    assert desk.bench.view.layer.name == "blobs"


def test_hidden_labels_are_not_taken_if_there_are_others(viewer, qtbot):
    viewer.add_image(blobs(), name="blobs")
    viewer.add_labels(np.ones(SHAPE, np.uint8), name="mine")
    viewer.add_labels(np.ones(SHAPE, np.uint8), name="truth", visible=False)
    assert dock_on(viewer, qtbot).layers.labels.currentText() == "mine"


def choose(box, name):
    """Choose an entry of a list, as a person does."""
    box.setCurrentIndex(box.findText(name))
    box.activated.emit(box.currentIndex())


def test_labels_that_were_worked_on_are_not_taken_for_another_image(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    labels = desk.bench.planes.layer
    done = labels.data.copy()
    labels.name = "renamed"
    second = viewer.add_image(np.roll(blobs(), 5, axis=1), name="second")
    assert desk.collecting.other_images() == []  # second has no labels yet
    choose(desk.layers.image, "second")
    assert desk.bench.planes is None
    assert desk.layers.labels.currentText() == "none yet: press New"
    desk.layers.new.click()
    assert desk.bench.planes.layer.name == "second labels"
    choose(desk.layers.labels, "renamed")  # by hand they can be chosen
    assert desk.bench.planes.layer is labels
    desk.collecting.add_slice()
    choose(desk.layers.image, "blobs")
    assert desk.bench.planes.layer is labels
    choose(desk.layers.image, "second")
    assert desk.bench.planes.layer.name == "second labels"
    viewer.layers.remove(second)
    choose(desk.layers.image, "blobs")
    np.testing.assert_array_equal(labels.data, done)


def test_when_an_image_is_removed_its_labels_are_not_taken_for_the_next(desk, viewer):
    desk.collecting.add_slice()
    viewer.add_image(np.roll(blobs(), 5, axis=1), name="second")
    viewer.layers.remove("blobs")
    assert desk.layers.image.currentText() == "second"
    assert desk.bench.planes is None


def test_of_several_images_and_labels_of_one_shape_none_is_guessed(viewer, qtbot):
    for name in ("first", "second"):
        viewer.add_image(blobs(), name=name)
        viewer.add_labels(np.ones(SHAPE, np.uint8), name=f"{name} labels")
    dock = dock_on(viewer, qtbot)
    assert dock.bench.planes is None
    assert dock.layers.labels.count() == 3
    choose(dock.layers.labels, "second labels")
    assert dock.bench.planes.layer.name == "second labels"
    assert dock.layers.labels.count() == 2


def test_new_labels_lie_where_the_image_does(viewer, qtbot):
    image = viewer.add_image(blobs(), name="blobs", scale=(2, 0.5, 0.5), translate=(5, 6, 7), units=("um",) * 3)
    dock = dock_on(viewer, qtbot)
    dock.layers.new.click()
    labels = dock.bench.planes.layer
    np.testing.assert_allclose(labels.scale, image.scale)
    np.testing.assert_allclose(labels.translate, image.translate)
    assert labels.units == image.units
    assert dock.layers.labels.currentText() == "blobs labels"
    assert labels.mode == "paint"


def test_labels_of_another_scale_can_be_aligned(viewer, qtbot):
    image = viewer.add_image(blobs(), name="blobs", scale=(2, 0.5, 0.5))
    labels = viewer.add_labels(np.zeros(SHAPE, np.uint8), name="plain")
    dock = dock_on(viewer, qtbot)
    assert not dock.align.isHidden()
    dock.align.take.click()
    assert dock.align.isHidden()
    np.testing.assert_allclose(labels.scale, image.scale)


def test_layers_are_listed_with_the_names_that_they_have_now_and_whole(desk, viewer):
    name = "embryo 3, channel 2, deconvolved with 40 iterations, cropped"
    viewer.layers["blobs"].name = name
    assert desk.layers.image.currentText() == name
    assert name in desk.layers.image.toolTip()
    assert desk.layers.image.itemData(0, Qt.ItemDataRole.ToolTipRole) == name


def test_the_labels_of_the_form_are_not_cut(desk):
    cut = [
        label.text() for label in desk.findChildren(QLabel)
        if label.minimumWidth() == label.maximumWidth() and label.sizeHint().width() > label.maximumWidth()
    ]  # fmt: skip
    assert cut == []


def test_axes_and_channels_can_be_named(viewer, qtbot, notes):
    viewer.add_image(np.stack([blobs(), blobs() // 2, blobs() // 3, blobs() // 4]), name="four channels")
    dock = dock_on(viewer, qtbot)
    assert dock.layers.axes.text() == "tzyx"
    assert dock.layers._channels_row.isHidden()
    qtbot.keyClicks(dock.layers.axes, "x")  # one letter too many
    dock.layers.axes.editingFinished.emit()
    assert "one letter each" in str(notes)
    assert dock.layers.axes.text() == "tzyx"
    dock.layers.axes.clear()
    qtbot.keyClicks(dock.layers.axes, "czyx")
    dock.layers.axes.editingFinished.emit()
    assert len(dock.bench.view.stack) == 9
    assert dock.layers.channels.text() == "0,1,2"
    dock.layers.channels.clear()
    qtbot.keyClicks(dock.layers.channels, "3")
    dock.layers.channels.editingFinished.emit()
    assert dock.bench.view.stack.used_channels == (3,)


def test_examples_show_the_channels_that_are_chosen_now(viewer, qtbot):
    dark = np.random.default_rng(0).integers(60, 120, SHAPE, np.uint8)
    viewer.add_image(np.stack([blobs(), dark]), name="two", axis_labels=("c", "z", "y", "x"))
    viewer.add_labels((blobs() > 100) * (np.arange(9) == 4)[:, None, None] * 3, name="two labels")
    dock = dock_on(viewer, qtbot)
    dock.bench.name_axes("czyx", (1,))
    dock.bench.go_to(4)
    dock.collecting.add_slice()
    dock.bench.go_to(6)
    dock.bench.name_axes("czyx", (0,))
    assert dock.reviewing.annotated == {4}
    (item,) = dock.bench.project.examples.items
    np.testing.assert_array_equal(item.example.image, dock.bench.project.stack.plane(4))
    run(dock, qtbot, load_predictor("guess"))
    found = dock.bench.planes.layer.data
    assert 2 * ((found[6] == 3) & (blobs()[6] > 100)).sum() / ((found[6] == 3).sum() + (blobs()[6] > 100).sum()) > 0.9


def test_a_range_is_along_the_axis_that_is_travelled(viewer, qtbot):
    viewer.add_image(np.stack([blobs()] * 3), name="four axes")
    form = dock_on(viewer, qtbot).propagate
    assert (form.last.maximum(), form.last.value()) == (2, 2)
    form.along.setCurrentIndex(form.along.findData("z"))
    assert (form.last.maximum(), form.last.value()) == (8, 8)
    form.go("range")
    form.first.setValue(5)
    settings = form.settings()
    assert (settings.along, settings.span) == ("z", (5, 9))
    form.along.setCurrentIndex(0)
    form.show_settings(settings)
    assert form.settings() == settings


@pytest.mark.parametrize("field", ["axes", "channels"])
def test_return_in_a_field_with_the_letters_that_it_had_changes_nothing(viewer, qtbot, field):
    viewer.add_image(np.stack([blobs(), blobs() // 2]), name="two channels", axis_labels=("c", "z", "y", "x"))
    dock = dock_on(viewer, qtbot)
    dock.layers.new.click()
    project = dock.bench.project
    edited = getattr(dock.layers, field)
    qtbot.keyClicks(edited, "1")
    qtbot.keyClick(edited, Qt.Key.Key_Backspace)
    qtbot.keyClick(edited, Qt.Key.Key_Return)
    assert dock.bench.project is project


def test_an_image_whose_data_is_replaced_is_another_image(desk, viewer, qtbot):
    desk.collecting.add_slice()
    project = desk.bench.project
    viewer.layers["blobs"].data = blobs().copy()
    assert desk.bench.project is project
    other = np.roll(blobs(), 5, axis=1)
    viewer.layers["blobs"].data = other
    assert desk.bench.project is not project
    desk.collecting.add_slice()
    run(desk, qtbot)
    assert desk.layers.image.currentText() == "blobs"
    np.testing.assert_array_equal(desk.bench.planes.layer.data[5] > 0, other[5] > 100)


def test_data_of_another_shape_are_noticed_in_image_and_labels(desk, viewer, qtbot):
    desk.collecting.add_slice()
    slow = Slow()
    desk.bench.run(desk.propagate.settings(), slow)
    qtbot.waitUntil(slow.waiting.is_set)
    larger = (12, 24, 24)
    viewer.layers["blobs"].data = blobs(larger)
    assert desk.bench.project is None
    viewer.layers["blobs labels"].data = (blobs(larger) > 100).astype(np.uint8)
    assert len(desk.bench.project.labels) == 12
    slow.open()
    qtbot.waitUntil(lambda: not desk.bench.job.running)


def test_labels_that_replace_those_of_the_model_are_a_persons(desk, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    labels = desk.bench.planes.layer
    theirs = labels.data.copy()
    theirs[5:][theirs[5:] > 0] = 9  # slice 4 is the example
    labels.data = theirs.copy()
    run(desk, qtbot)
    np.testing.assert_array_equal(labels.data[5:], theirs[5:])


def test_labels_that_are_replaced_by_others_of_the_same_shape_go_on(desk, viewer):
    desk.collecting.add_slice()
    project = desk.bench.project
    labels = desk.bench.planes.layer
    labels.paint((4, 20, 20), 5)
    labels.data = labels.data.astype(np.uint16)
    assert desk.bench.project is project
    assert desk.collecting.examples.items


# -- examples ---------------------------------------------------------------------------------------------------------
def test_adding_the_slice_on_display_shows_a_thumbnail(desk):
    desk.examples.add.click()
    assert desk.examples.list.count() == 1
    assert desk.examples.list.item(0).text() == "blobs, z 4"
    assert desk.collecting.examples.items[0].position == 4
    assert desk.collecting.examples.items[0].example.ids == (0, 3)
    assert desk.collecting.examples.items[0].example.spacing == (0.5, 0.5)


def test_a_slice_without_labels_is_no_example_and_the_user_is_told(desk, viewer, notes):
    viewer.dims.set_current_step(0, 1)
    desk.examples.add.click()
    assert desk.examples.list.count() == 0
    assert "paint" in str(notes)


def test_before_a_slice_without_labels_joins_other_examples_the_user_is_asked(desk, viewer):
    desk.collecting.add_slice()
    viewer.dims.set_current_step(0, 1)
    desk.examples.add.click()
    assert len(desk.collecting.examples) == 1
    assert "is it really empty" in desk.empty.findChild(QLabel).text()
    assert "active layer" not in desk.empty.findChild(QLabel).text()
    viewer.dims.set_current_step(0, 2)
    assert desk.empty.isHidden()  # it was about another slice
    desk.examples.add.click()
    desk.empty.take.click()
    assert [item.position for item in desk.collecting.examples.items] == [4, 2]


def test_what_was_painted_in_another_labels_layer_is_found(desk, viewer, notes):
    viewer.dims.set_current_step(0, 1)
    used = desk.bench.planes.layer
    other = viewer.add_labels(np.ones(SHAPE, np.uint8), name="elsewhere", scale=used.scale, units=used.units)
    viewer.layers.selection.active = other
    desk.examples.add.click()
    assert "The dock uses blobs labels, the active layer is elsewhere." in str(notes)
    viewer.dims.set_current_step(0, 4)
    desk.examples.add.click()
    viewer.dims.set_current_step(0, 1)
    desk.examples.add.click()
    assert "the active layer is elsewhere" in desk.empty.findChild(QLabel).text()


def test_examples_are_ticked_renamed_moved_and_removed(desk, viewer, qtbot):
    desk.bench.planes.layer.data[6] = desk.bench.planes.layer.data[4]
    desk.collecting.add_slice()
    viewer.dims.set_current_step(0, 6)
    desk.collecting.add_slice()
    rows = desk.examples.list
    rows.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert [item.used for item in desk.collecting.examples.items] == [False, True]
    rows.item(1).setText("the good one")
    assert desk.collecting.examples.items[1].name == "the good one"
    rows.moved.emit(1, 0)
    assert [item.position for item in desk.collecting.examples.items] == [6, 4]
    rows.setCurrentRow(0)
    qtbot.keyClick(rows, Qt.Key.Key_Delete)
    assert [item.position for item in desk.collecting.examples.items] == [4]
    assert rows.count() == 1


def test_a_click_on_an_example_goes_to_its_slice(desk, viewer):
    desk.collecting.add_slice()
    viewer.dims.set_current_step(0, 0)
    desk.examples.list.went.emit(0)
    assert viewer.dims.current_step[0] == 4


def test_editing_the_labels_of_an_example_slice_updates_the_example(desk, qtbot):
    desk.collecting.add_slice()
    labels = desk.bench.planes.layer
    labels.brush_size = 2
    labels.paint((4, 20, 20), 5)
    qtbot.waitUntil(lambda: 5 in desk.collecting.examples.items[0].example.ids)
    labels.undo()
    qtbot.waitUntil(lambda: 5 not in desk.collecting.examples.items[0].example.ids)


def test_an_example_can_come_from_another_open_image(desk, viewer, qtbot):
    viewer.add_image(blobs((9, 30, 30)), name="another")
    viewer.add_labels((blobs((9, 30, 30)) > 100).astype(np.uint8) * 3, name="another labels")
    viewer.dims.set_point(0, 4)
    other = next(layer for layer in desk.collecting.other_images() if layer.name == "another")
    desk.collecting.add_from(other)
    assert desk.collecting.examples.items[0].source == "another"
    run(desk, qtbot)
    assert painted(desk) == list(range(9))


@pytest.mark.parametrize("axis", [1, 2])
def test_the_plane_that_is_added_is_the_one_displayed_whichever_axis(desk, viewer, qtbot, axis):
    viewer.dims.order = (axis, *(a for a in range(3) if a != axis))
    desk.bench.planes.layer.data[...] = (blobs() > 100) * 3
    viewer.dims.set_current_step(axis, 11)
    desk.collecting.add_slice()
    item = desk.collecting.examples.items[0]
    np.testing.assert_array_equal(item.example.labels > 0, np.take(blobs() > 100, 11, axis=axis))
    assert item.position == 11


def test_once_there_are_results_a_turned_plane_is_an_example_from_elsewhere(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 12)
    desk.collecting.add_slice()
    item = desk.collecting.examples.items[1]
    assert item.position is None
    assert item.example.labels.shape == (9, 24)
    assert len(desk.reviewing.confidence) == 8
    desk.bench.planes.layer.data[2, 12, 3] = 9
    desk.collecting.add_slice()
    assert len(desk.collecting.examples) == 2
    assert 9 in desk.collecting.examples.items[1].example.ids


def test_sparse_annotation_one_label_means_not_annotated(desk):
    labels = desk.bench.planes.layer
    labels.data[4, :5] = 9
    desk.collecting.add_slice()
    desk.collecting.set_classes({3: "disk"}, {3: (1.0, 0.0, 0.0)}, 9)
    example = desk.collecting.examples.items[0].example
    assert not example.valid[:5].any()
    assert example.valid[5:].all()
    assert example.ids == (0, 3)


def test_classes_have_names_and_colours(desk):
    desk.collecting.add_slice()
    desk.collecting.set_classes({3: "disk"}, {3: (1.0, 0.0, 0.0)}, None)
    np.testing.assert_allclose(desk.bench.planes.layer.get_color(3), (1, 0, 0, 1))
    assert "disk" in desk.examples.list.item(0).toolTip()
    assert desk.collecting.color_of(3) == (1.0, 0.0, 0.0)


@pytest.fixture
def many(viewer, qtbot):
    """A dock on an image with 900 objects, all in the example."""
    labels = np.arange(1, 901).reshape(1, 30, 30).repeat(3, 1).repeat(3, 2).astype(np.uint16)
    viewer.add_image((labels % 2 * 200).astype(np.uint8), name="cells")
    viewer.add_labels(labels, name="cell labels")
    dock = dock_on(viewer, qtbot)
    dock.collecting.add_slice()
    return dock


def edited(dock, monkeypatch, edit):
    """Open the dialog of names, edit, and press OK; returns how high it was."""
    heights = []

    def accept(dialog):
        heights.append(dialog.sizeHint().height())
        edit(dialog)
        return True

    monkeypatch.setattr(ClassesDialog, "exec", accept)
    dock.examples._edit_classes()
    return heights[0]


def test_of_many_objects_those_are_listed_that_fit_a_dialog(many, monkeypatch):
    height = edited(many, monkeypatch, lambda dialog: dialog.set_name(2, "odd one"))
    assert height <= 600
    assert many.collecting.examples.class_names == {2: "odd one"}
    assert len(many.collecting.class_ids()) <= 50


def test_naming_labels_leaves_their_colours(many, monkeypatch):
    labels = many.bench.planes.layer  # which may hold more of them in other slices
    before = labels.colormap.map(np.arange(3000))
    edited(many, monkeypatch, lambda dialog: dialog.set_name(1, "cell"))
    np.testing.assert_allclose(labels.colormap.map(np.arange(3000)), before)
    edited(many, monkeypatch, lambda dialog: dialog.set_color(2, (1, 0, 0)))
    after = labels.colormap.map(np.arange(3000))
    np.testing.assert_allclose(after[2], (1, 0, 0, 1))
    np.testing.assert_allclose(np.delete(after, 2, axis=0), np.delete(before, 2, axis=0))


def test_example_sets_are_saved_and_opened_as_one_file(desk, viewer, qtbot, tmp_path):
    desk.collecting.add_slice()
    desk.collecting.save_file(tmp_path / "disks.incontext")
    desk.collecting.remove(0)
    assert not desk.collecting.examples.items
    desk.collecting.open_file(tmp_path / "disks.incontext")
    assert [item.name for item in desk.collecting.examples.items] == ["blobs, z 4"]
    assert desk.reviewing.annotated == {4}


def test_an_example_set_that_is_dropped_on_the_viewer_is_offered(desk, viewer, tmp_path):
    from napari_incontext_seg._napari.readers import read_example_sets

    desk.collecting.add_slice()
    desk.collecting.save_file(tmp_path / "disks.incontext")
    desk.collecting.remove(0)
    for data, attributes, kind in read_example_sets(str(tmp_path / "disks.incontext")):
        getattr(viewer, f"add_{kind}")(data, **attributes)
    assert desk.bench.view.layer.name == "blobs"
    assert not desk.take_over.isHidden()
    desk.take_over.take.click()
    assert len(desk.collecting.examples) == 1


# -- propagate --------------------------------------------------------------------------------------------------------
def test_a_run_paints_every_slice_but_the_examples(desk, qtbot):
    desk.collecting.add_slice()
    before = desk.bench.planes.read(4)
    run(desk, qtbot)
    np.testing.assert_array_equal(desk.bench.planes.layer.data > 0, blobs() > 100)
    np.testing.assert_array_equal(desk.bench.planes.read(4), before)
    assert sorted(desk.reviewing.confidence) == [0, 1, 2, 3, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("both", [0, 1, 2, 3, 4, 5, 6, 7, 8]), ("onward", [4, 5, 6, 7, 8]), ("backward", [0, 1, 2, 3, 4]),
        ("until_verified", [4, 5, 6]), ("range", [2, 3, 4]),
    ],
)  # fmt: skip
def test_where_to_paint(desk, qtbot, where, expected):
    desk.collecting.add_slice()
    desk.bench.project.verify(7)
    desk.propagate.first.setValue(2)
    desk.propagate.last.setValue(3)
    run(desk, qtbot, where=where)
    assert [p for p in painted(desk) if p not in (7,)] == [p for p in expected if p != 7]


def test_this_slice_alone_can_be_painted(desk, viewer, qtbot):
    desk.collecting.add_slice()
    viewer.dims.set_current_step(0, 1)
    run(desk, qtbot, where="this")
    assert painted(desk) == [1, 4]


def test_objects_get_numbers_of_their_own_and_that_is_said(desk, qtbot):
    desk.collecting.add_slice()
    assert "connected" in desk.propagate.kind.itemText(desk.propagate.kind.findData("instance"))
    predictor = run(desk, qtbot, kind="instance")
    assert predictor.contexts[0].kind == "instance"


def test_few_labels_of_one_piece_each_are_said_to_be_taken_for_classes(desk, viewer, notes):
    labels = desk.bench.planes.layer
    labels.data[4, 20:22, 2:4], labels.data[5] = 1, labels.data[4]
    desk.collecting.add_slice()
    assert desk.propagate.kind.currentData() == "semantic"
    assert desk.examples.list.item(0).data(Qt.ItemDataRole.UserRole) == "z 4 · 2 labels"
    viewer.dims.set_current_step(0, 5)
    desk.collecting.add_slice()
    assert str(notes).count("If each number is one object, choose Objects") == 1


def test_labels_of_which_a_person_said_that_they_are_objects_are_not_said_to_be_classes(desk, notes):
    desk.bench.planes.layer.data[4, 20:22, 2:4] = 1
    desk.propagate.kind.setCurrentIndex(desk.propagate.kind.findData("instance"))
    desk.collecting.add_slice()
    assert "taken for classes" not in str(notes)


def test_each_slice_appears_when_it_is_done_and_progress_is_shown(desk, qtbot):
    desk.collecting.add_slice()
    slow = Slow()
    desk.bench.run(desk.propagate.settings(), slow)
    desk.propagate.show_running()
    slow.let(2)
    qtbot.waitUntil(lambda: len(painted(desk)) == 3)
    assert desk.bench.job.running
    assert "of 9 slices" in desk.propagate.note.text() or "of 8 slices" in desk.propagate.note.text()
    assert "left" in desk.propagate.note.text()
    with qtbot.waitSignal(desk.bench.job.ended, timeout=5000):
        slow.open()
    assert desk.propagate.run.isEnabled()


def test_what_came_of_a_run_is_not_shown_beside_another_image(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    assert desk.propagate.note.text() == "8 of 8 slices"
    viewer.layers.clear()
    viewer.add_image(blobs()[:5], name="other")
    assert desk.propagate.note.text() == ""
    assert desk.propagate.note.isHidden()


def test_cancel_keeps_what_is_finished(desk, qtbot):
    desk.collecting.add_slice()
    slow = Slow()
    desk.bench.run(desk.propagate.settings(), slow)
    desk.propagate.show_running()
    slow.let(2)
    qtbot.waitUntil(lambda: len(painted(desk)) == 3)
    desk.propagate.cancel.click()
    with qtbot.waitSignal(desk.bench.job.ended, timeout=5000):
        slow.open()
    assert len(painted(desk)) == 3
    assert "kept" in desk.propagate.note.text()


def test_while_a_brush_is_down_no_slice_is_written(desk, viewer, qtbot):
    desk.collecting.add_slice()
    labels = desk.bench.planes.layer
    labels.mode = "paint"
    ours = next(call for call in labels.mouse_drag_callbacks if "napari_incontext_seg" in call.__module__)
    event = SimpleNamespace(type="mouse_press")
    stroke = ours(labels, event)
    next(stroke)  # the button is pressed
    event.type = "mouse_move"
    for _ in range(3):
        next(stroke)
    desk.bench.run(desk.propagate.settings(), ThresholdPredictor())
    qtbot.wait(200)
    assert painted(desk) == [4]
    event.type = "mouse_release"
    with qtbot.waitSignal(desk.bench.job.ended, timeout=5000):
        next(stroke, None)
    assert len(painted(desk)) == 9


def test_a_layer_added_while_the_axes_are_turned_leaves_the_work_alone(desk, viewer):
    desk.collecting.add_slice()
    project = desk.bench.project
    viewer.add_image(np.zeros((2, 3, 64, 64), np.uint8), name="another")
    viewer.dims.roll()
    viewer.dims.roll()
    viewer.add_points()
    assert desk.bench.project is project


def test_a_run_in_3d_is_drawn_at_its_end(desk, viewer, qtbot):
    desk.collecting.add_slice()
    viewer.dims.ndisplay = 3
    drawn = []
    desk.bench.planes.layer.events.set_data.connect(lambda _: drawn.append(len(painted(desk))))
    run(desk, qtbot)
    assert drawn[-1] == 9


def test_deleting_the_labels_in_mid_run_is_safe(desk, viewer, qtbot):
    desk.collecting.add_slice()
    slow = Slow()
    desk.bench.run(desk.propagate.settings(), slow)
    qtbot.waitUntil(slow.waiting.is_set)
    viewer.layers.remove("blobs labels")
    assert desk.bench.project is None
    with qtbot.waitSignal(desk.bench.job.ended, timeout=5000):
        slow.open()


def test_closing_the_viewer_in_mid_run_is_safe(desk, viewer, qtbot):
    desk.collecting.add_slice()
    slow = Slow()
    desk.bench.run(desk.propagate.settings(), slow)
    qtbot.waitUntil(slow.waiting.is_set)
    viewer.close()
    qtbot.wait(50)
    slow.open()


def test_changing_examples_in_mid_run_leaves_the_run_as_it_was(desk, qtbot):
    desk.collecting.add_slice()
    slow = Slow()
    desk.bench.run(desk.propagate.settings(), slow)
    qtbot.waitUntil(slow.waiting.is_set)
    desk.collecting.remove(0)
    with qtbot.waitSignal(desk.bench.job.ended, timeout=5000):
        slow.open()
    assert len(desk.reviewing.confidence) == 8
    assert len(slow.contexts[0].examples) == 1


def test_nothing_is_fetched_without_a_yes(desk, monkeypatch):
    asked = []
    monkeypatch.setattr(desk, "confirm", lambda words: asked.append(words) or False)
    model = desk.propagate.model
    model.setCurrentIndex(model.findData("seggpt-vit-large"))
    assert "1.5 GB" in model.currentText()
    desk.collecting.add_slice()
    desk.run()
    assert "1.5 GB" in asked[0]
    assert not desk.bench.job.running


def test_settings_are_a_value_that_can_be_shown_again(desk):
    form = desk.propagate
    form.tune.setChecked(True)
    form.seconds.setValue(20)
    form.memory.setValue(2)
    form.num_examples.setValue(3)
    form.kind.setCurrentIndex(form.kind.findText("Few objects, by name"))
    form.direction.setCurrentIndex(form.direction.findData("meet"))
    form.go("range")
    settings = form.settings()
    assert (settings.kind, settings.names, settings.direction) == ("semantic", True, "meet")
    assert (settings.tune_seconds, settings.memory, settings.num_examples) == (20.0, 2, 3)
    assert settings.span == (0, 9)
    form.tune.setChecked(False)
    form.memory.setValue(0)
    form.direction.setCurrentIndex(0)
    form.kind.setCurrentIndex(0)
    form.show_settings(settings)
    assert form.settings() == settings


def test_of_tuning_that_did_not_help_nothing_can_be_saved(desk, qtbot, notes, monkeypatch, tmp_path):
    from napari_incontext_seg._napari import workbench
    from napari_incontext_seg.infer.key import Key, Learned

    def tuned(predictor, context, seconds, stop, say, share):
        learned = Learned(12, 1, 0.5, 0.5, False)
        return predictor, Key("adapter", "threshold", "0", context, {"w": np.zeros(2, np.float32)}, learned)

    monkeypatch.setattr(workbench, "tuned_predictor", tuned)
    desk.collecting.add_slice()
    desk.propagate.tune.setChecked(True)
    run(desk, qtbot)
    assert "Not tuned: tuning did not help" in str(notes)
    assert "(1 step, 12 s)" in str(notes)
    assert "Export" not in str(notes)
    desk.keeping.save_key(str(tmp_path / "none.safetensors"))
    assert "no tuning" in str(notes).lower()


def test_tuning_says_what_it_did_and_its_key_can_be_saved(desk, qtbot, notes, monkeypatch, tmp_path):
    from napari_incontext_seg._napari import workbench
    from napari_incontext_seg.infer.key import Key, Learned

    def tuned(predictor, context, seconds, stop, say, share):
        share(0.5)
        learned = Learned(seconds, 3, 0.5, 0.75, True)
        return predictor, Key("adapter", "threshold", "0", context, {"w": np.zeros(2, np.float32)}, learned)

    monkeypatch.setattr(workbench, "tuned_predictor", tuned)
    desk.collecting.add_slice()
    desk.propagate.tune.setChecked(True)
    desk.propagate.seconds.setValue(60)
    run(desk, qtbot)
    assert "0.750" in str(notes)
    desk.keeping.save_key(str(tmp_path / "disks.safetensors"))
    key = Key.load(tmp_path / "disks.safetensors")
    assert key.learned.seconds == 60
    desk.propagate.show_settings(
        replace(desk.propagate.settings(), tune_seconds=None, key=tmp_path / "disks.safetensors")
    )
    assert desk.propagate.settings().key == tmp_path / "disks.safetensors"
    assert not desk.propagate.tune.isEnabled()


def test_errors_are_told_in_words(desk, notes, qtbot):
    class Broken(ThresholdPredictor):
        def bind(self, context):
            raise RuntimeError("cublas exploded")

    desk.collecting.add_slice()
    with qtbot.waitSignal(desk.bench.job.ended, timeout=5000):
        desk.bench.run(desk.propagate.settings(), Broken())
    assert "Something unexpected went wrong while running the model" in str(notes)
    assert desk.propagate.run.isEnabled()


def test_running_without_an_example_says_what_to_do(desk, notes):
    assert not desk.bench.run(desk.propagate.settings(), ThresholdPredictor())
    assert "add a slice" in str(notes)


# -- review -----------------------------------------------------------------------------------------------------------
def test_the_curve_shows_confidence_and_goes_where_it_is_clicked(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    desk.review.curve.went.emit(7)
    assert viewer.dims.current_step[0] == 7


def test_next_unsure_goes_to_the_least_sure_slice_then_to_the_next(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    desk.bench.project.confidence.update(dict.fromkeys(desk.reviewing.confidence, 0.9) | {2: 0.1, 6: 0.2})
    desk.review.next_unsure.click()
    assert viewer.dims.current_step[0] == 2
    assert "z 2" in desk.reviewing.hint()
    desk.review.next_unsure.click()
    assert viewer.dims.current_step[0] == 6


def test_verified_slices_are_locked(desk, viewer, qtbot):
    desk.collecting.add_slice()
    viewer.dims.set_current_step(0, 2)
    desk.review.verify.click()
    assert desk.reviewing.verified == {2}
    run(desk, qtbot)
    assert 2 not in painted(desk)
    desk.review.verify.click()
    assert desk.reviewing.verified == set()


def test_what_a_person_painted_stays(desk, viewer, qtbot):
    desk.collecting.add_slice()
    labels = desk.bench.planes.layer
    labels.brush_size = 1
    labels.paint((6, 1, 1), 8)
    run(desk, qtbot)
    assert labels.data[6, 1, 1] == 8
    assert (labels.data[6] == 3).sum() == (blobs()[6] > 100).sum()


def test_labels_that_were_there_before_stay(desk, qtbot, notes):
    desk.bench.planes.layer.data[7, :2] = 5
    desk.collecting.add_slice()
    run(desk, qtbot)
    assert (desk.bench.planes.layer.data[7, :2] == 5).all()
    assert "kept" in str(notes)


def test_strokes_that_the_dock_has_seen_are_not_called_labels_from_before(desk, qtbot, notes):
    labels = desk.bench.planes.layer
    labels.brush_size = 1
    labels.paint((6, 1, 1), 8)
    desk.collecting.add_slice()
    run(desk, qtbot)
    assert labels.data[6, 1, 1] == 8
    assert "there before" not in str(notes)


def test_slices_with_labels_from_before_are_painted_anew_as_the_dock_says(desk, qtbot, notes):
    old = desk.bench.planes.layer
    old.data[:4, :2] = 5
    desk.collecting.add_slice()
    run(desk, qtbot)
    assert "press New" in str(notes)
    desk.layers.new.click()
    desk.take_over.take.click()
    assert desk.reviewing.annotated == {4}
    run(desk, qtbot)
    np.testing.assert_array_equal(desk.bench.planes.layer.data > 0, blobs() > 100)
    assert (old.data[:4, :2] == 5).all()


def test_undo_and_redo_by_slice_and_run_keep_hand_edits(desk, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    labels = desk.bench.planes.layer
    labels.brush_size = 1
    labels.paint((2, 1, 1), 8)
    after = labels.data.copy()
    desk.reviewing.undo("slice")
    assert len(painted(desk)) == 8
    desk.reviewing.undo("run")
    qtbot.waitUntil(lambda: painted(desk) == [2, 4])
    assert labels.data[2, 1, 1] == 8
    desk.reviewing.redo("run")  # with the slice that was undone alone
    qtbot.waitUntil(lambda: np.array_equal(labels.data, after))


def test_naparis_own_undo_takes_back_strokes_only(desk, qtbot):
    desk.collecting.add_slice()
    labels = desk.bench.planes.layer
    labels.brush_size = 1
    labels.paint((6, 1, 1), 8)
    run(desk, qtbot)
    labels.undo()
    assert labels.data[6, 1, 1] == 0
    np.testing.assert_array_equal(labels.data[6] > 0, blobs()[6] > 100)


def test_a_stroke_that_was_undone_is_the_models_again_until_it_is_redone(desk, viewer, qtbot):
    desk.collecting.add_slice()
    labels = desk.bench.planes.layer
    labels.brush_size = 10
    labels.selected_label = 5
    labels.paint((6, 12, 10), 5)
    labels.paint((6, 12, 14), 8)
    assert desk.bench.project.touched[6].sum() == (labels.data[6] > 0).sum()
    viewer.dims.set_current_step(0, 1)  # undo reaches slices that are not on display
    labels.undo()
    np.testing.assert_array_equal(desk.bench.project.touched[6], labels.data[6] == 5)
    labels.undo()
    assert not desk.bench.project.touched[6].any()
    labels.redo()
    np.testing.assert_array_equal(desk.bench.project.touched[6], labels.data[6] == 5)
    labels.undo()
    run(desk, qtbot)
    np.testing.assert_array_equal(labels.data[6] > 0, blobs()[6] > 100)


def test_what_the_model_paints_where_a_stroke_was_undone_is_the_models(desk, viewer, qtbot):
    desk.collecting.add_slice()
    labels = desk.bench.planes.layer
    labels.brush_size = 3
    labels.paint((6, 12, 14), 3)
    labels.undo()
    run(desk, qtbot)
    assert labels.data[6, 12, 14] == 3
    viewer.dims.set_current_step(0, 6)
    labels.refresh()
    assert not desk.bench.project.touched[6].any()


def test_polygons_and_what_undo_leaves_are_saved(desk, viewer, qtbot):
    desk.collecting.add_slice()
    labels, saving = desk.bench.planes.layer, desk.bench.project.autosave
    viewer.dims.set_current_step(0, 2)
    labels.paint_polygon([(2, 2, 2), (2, 2, 9), (2, 9, 9)], 7)
    labels.paint((2, 18, 18), 8)
    for _ in range(2):
        qtbot.waitUntil(lambda: not desk.bench._edited)
        saving.flush()
        np.testing.assert_array_equal(dict(load_session(saving.folder).planes())[2], labels.data[2])
        labels.undo()


def test_use_as_example_and_continue_onward(desk, viewer, qtbot, monkeypatch):
    desk.collecting.add_slice()
    run(desk, qtbot)
    viewer.dims.set_current_step(0, 6)
    predictor = ThresholdPredictor()
    original = desk.bench.run
    monkeypatch.setattr(desk.bench, "run", lambda settings: original(settings, predictor))
    with qtbot.waitSignal(desk.bench.job.ended, timeout=5000):
        desk.review.continue_asked.emit("onward")
    assert desk.reviewing.annotated == {4, 6}
    assert len(predictor.contexts[0].examples) == 2
    assert desk.bench.project.settings.where == "onward"


def test_clean_up_is_previewed_applied_and_undone(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    labels = desk.bench.planes.layer
    labels.data[6, 12, 14] = 0  # a hole
    viewer.dims.set_current_step(0, 6)
    names = [layer.name for layer in viewer.layers]
    desk.review.preview.setChecked(True)
    preview = next(layer for layer in viewer.layers if layer.name not in names)
    assert preview.get_value((12, 6, 7), world=True) == 3  # the world is in micrometers
    assert labels.data[6, 12, 14] == 0
    desk.review.clean_slice.click()
    qtbot.waitUntil(lambda: labels.data[6, 12, 14] == 3)
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == names)
    desk.reviewing.undo("run")
    assert labels.data[6, 12, 14] == 0


def test_a_clean_up_ends_where_other_layers_are_chosen(viewer, qtbot, notes):
    many = np.tile(blobs()[4], (30, 1, 1))
    viewer.add_image(many, name="many")
    labels = viewer.add_labels(np.tile((blobs()[4] > 100) * np.uint8(3), (30, 1, 1)), name="many labels")
    viewer.add_labels(np.zeros_like(many), name="other")
    dock = dock_on(viewer, qtbot)
    choose(dock.layers.labels, "many labels")
    dock.bench.go_to(0)
    dock.collecting.add_slice()
    dock.bench.project.confidence.update(dict.fromkeys(range(1, 30), 0.5))
    dock.reviewing.clean_up("drop_small", 1000, everywhere=True)
    choose(dock.layers.labels, "other")
    qtbot.wait(100)
    assert "unexpected" not in str(notes)
    assert 0 < sum(not plane.any() for plane in labels.data) <= 8


def test_a_key_is_enough_to_run(desk, viewer, qtbot, tmp_path, notes):
    shown = Context((Example(np.zeros((9, 9, 1), np.float32), np.eye(9, dtype=np.uint32) * 3),), "semantic")
    Key("adapter", "micro", "0" * 64, shown, {}, Learned(1.0, 1, None, None, False)).save(tmp_path / "k.key")
    desk.propagate._set_key(tmp_path / "k.key")
    run(desk, qtbot)
    assert "No example is used" not in str(notes)
    assert len(desk.reviewing.confidence) == 9


def test_clean_up_of_all_slices_leaves_locked_ones(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    labels = desk.bench.planes.layer
    labels.data[:, 1, 1] = 3
    desk.bench.project.verify(7)
    with qtbot.waitSignal(desk.reviewing.cleaned):
        desk.reviewing.clean_up("drop_small", 5, everywhere=True)
    assert [int(p) for p in np.flatnonzero(labels.data[:, 1, 1])] == [4, 7]


def test_a_map_shows_where_examples_disagree(desk, viewer, qtbot):
    class Torn(ThresholdPredictor):
        def bind(self, context):
            segment = super().bind(context)

            def disagreeing(plane):
                return replace(segment(plane), disagreement=plane[..., 0] * 0.5)

            return disagreeing

    desk.collecting.add_slice()
    run(desk, qtbot, Torn())
    viewer.dims.set_current_step(0, 6)
    desk.review.disagreement.setChecked(True)
    shown = viewer.layers["disagreement"]
    assert shown.data.max() == pytest.approx(0.5, abs=0.01)
    viewer.dims.set_current_step(0, 4)
    assert "disagreement" not in viewer.layers
    viewer.dims.set_current_step(0, 5)
    assert "disagreement" in viewer.layers
    desk.review.disagreement.setChecked(False)
    assert "disagreement" not in viewer.layers


# -- nothing is lost --------------------------------------------------------------------------------------------------
def test_a_session_is_offered_and_restored(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot, where="onward")
    viewer.dims.set_current_step(0, 2)
    desk.reviewing.verify()
    before = desk.bench.planes.layer.data.copy()
    settings = desk.bench.project.settings
    desk.bench.close()  # as after a crash, all that is left is on disk
    viewer.layers.clear()
    viewer.add_image(blobs(), name="blobs")
    desk.layers.new.click()
    assert desk.keeping.offer() is not None
    assert not desk.restore.isHidden()
    desk.restore.take.click()
    assert desk.restore.isHidden()
    np.testing.assert_array_equal(desk.bench.planes.layer.data, before)
    assert desk.reviewing.annotated == {4}
    assert desk.reviewing.verified == {2}
    assert sorted(desk.reviewing.confidence) == [5, 6, 7, 8]
    assert desk.propagate.settings() == settings


def test_a_session_is_offered_before_there_are_labels_which_come_back_in_a_new_layer(desk, viewer, qtbot):
    before = left_after_a_run(desk, viewer, qtbot)
    assert desk.bench.project is None
    assert not desk.restore.isHidden()
    desk.restore.take.click()
    assert desk.restore.isHidden()
    assert [layer.name for layer in viewer.layers] == ["blobs", "blobs labels"]
    np.testing.assert_array_equal(desk.bench.planes.layer.data, before)
    assert desk.reviewing.annotated == {4}
    assert desk.propagate.isEnabled()


def test_a_session_can_still_be_restored_when_work_began_anew(desk, viewer, qtbot):
    before = left_after_a_run(desk, viewer, qtbot)
    desk.layers.new.click()
    viewer.dims.set_current_step(0, 7)
    labels = desk.bench.planes.layer
    labels.selected_label = 5
    labels.paint((7, 2, 2), 5)  # which sets the older session aside
    painted = labels.data[7].copy()
    assert painted.any()
    desk.restore.take.click()
    np.testing.assert_array_equal(labels.data[7], painted)
    np.testing.assert_array_equal(np.delete(labels.data, 7, axis=0), np.delete(before, 7, axis=0))
    desk.bench.close()  # and all of it is saved
    viewer.layers.clear()
    viewer.add_image(blobs(), name="blobs")
    desk.layers.new.click()
    desk.restore.take.click()
    np.testing.assert_array_equal(desk.bench.planes.layer.data[7], painted)
    assert desk.reviewing.annotated == {4}


def test_labels_of_a_layer_that_a_session_knows_nothing_of_are_not_written_over(desk, viewer, qtbot, notes):
    before = left_after_a_run(desk, viewer, qtbot)
    truth = viewer.add_labels(np.full(SHAPE, 7, np.uint8), name="truth")
    assert desk.layers.labels.currentText() == "truth"
    desk.restore.take.click()
    assert (truth.data == 7).all()
    assert desk.layers.labels.currentText() == "blobs labels"
    np.testing.assert_array_equal(desk.bench.planes.layer.data, before)
    assert desk.reviewing.annotated == {4}
    assert "truth holds other labels" in str(notes)


def test_examples_that_were_made_before_a_session_is_restored_in_a_new_layer_go_there_too(desk, viewer, qtbot):
    before = left_after_a_run(desk, viewer, qtbot)
    truth = viewer.add_labels(np.full(SHAPE, 7, np.uint8), name="truth")
    viewer.dims.set_current_step(0, 6)
    desk.collecting.add_slice()
    desk.restore.take.click()
    assert desk.restore.isHidden()
    labels = desk.bench.planes.layer
    assert labels is not truth
    assert (labels.data[6] == 7).all()
    np.testing.assert_array_equal(np.delete(labels.data, 6, axis=0), np.delete(before, 6, axis=0))
    assert desk.reviewing.annotated == {4, 6}


def test_work_that_was_left_goes_on_when_its_layers_are_chosen_again(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot, quality="fast")
    viewer.dims.set_current_step(0, 2)
    desk.reviewing.verify()
    labels, settings = desk.bench.planes.layer, desk.bench.project.settings
    folder, done = desk.bench.project.autosave.folder, labels.data.copy()
    other = viewer.add_labels(np.zeros(SHAPE, np.uint8), name="other")
    choose(desk.layers.labels, "other")
    assert desk.reviewing.verified == set()
    other.data[6] = 1
    desk.bench.go_to(6)
    desk.collecting.add_slice()
    choose(desk.layers.labels, "blobs labels")
    assert desk.reviewing.verified == {2}
    assert desk.reviewing.annotated == {4}
    assert len(desk.reviewing.confidence) == 8
    assert desk.restore.isHidden()
    assert desk.propagate.settings() == settings
    assert desk.bench.project.autosave.folder == folder
    np.testing.assert_array_equal(labels.data, done)
    choose(desk.layers.labels, "other")
    assert desk.reviewing.annotated == {6}


def test_a_stroke_from_before_work_was_left_can_be_undone_after_it(desk, viewer, qtbot):
    desk.collecting.add_slice()
    labels = desk.bench.planes.layer
    labels.paint((6, 12, 14), 3)
    assert desk.bench.project.touched[6].any()
    viewer.add_labels(np.zeros(SHAPE, np.uint8), name="other")
    choose(desk.layers.labels, "other")
    choose(desk.layers.labels, "blobs labels")
    assert desk.bench.project.touched[6].any()
    desk.bench.go_to(6)
    labels.undo()
    assert not labels.data[6].any()
    assert 6 not in desk.bench.project.touched


def test_work_that_was_left_does_not_go_on_by_itself_if_its_labels_have_changed(desk, viewer, qtbot):
    desk.collecting.add_slice()
    run(desk, qtbot)
    labels = desk.bench.planes.layer
    viewer.add_labels(np.zeros(SHAPE, np.uint8), name="other")
    choose(desk.layers.labels, "other")
    labels.data[7] = 0
    choose(desk.layers.labels, "blobs labels")
    assert desk.reviewing.annotated == set()
    assert not labels.data[7].any()
    assert not desk.restore.isHidden()


def test_two_viewers_on_one_image_save_in_folders_of_their_own(desk, make_napari_viewer, viewer, qtbot):
    desk.collecting.add_slice()
    other = make_napari_viewer()
    other.add_image(blobs(), name="blobs")
    second = dock_on(other, qtbot)
    second.layers.new.click()
    second.restore.take.click()  # what the first one has saved by now
    assert second.reviewing.annotated == {4}
    assert second.bench.project.autosave.folder != desk.bench.project.autosave.folder
    second.collecting.remove(0)
    desk.bench.project.autosave.flush()
    second.bench.project.autosave.flush()
    assert any(len(s.examples) == 1 for s in find_sessions(desk.bench.view.stack))


@pytest.mark.parametrize("name", ["labels.ome.tif", "labels.zarr"])
def test_labels_are_exported_with_their_origin(desk, qtbot, tmp_path, name):
    from napari_incontext_seg.io.stacks import open_labels

    desk.collecting.add_slice()
    run(desk, qtbot)
    with qtbot.waitSignal(desk.keeping.exported, timeout=10000):
        desk.keeping.export(str(tmp_path / name))
    stack = open_labels(tmp_path / name)
    got = np.stack([stack.read(p)[..., 0] for p in range(9)])
    np.testing.assert_array_equal(got, desk.bench.planes.layer.data)
    assert stack.scale == pytest.approx((2, 0.5, 0.5))
    if name.endswith("tif"):
        assert '"annotated": [\n  4\n ]' in (tmp_path / "labels.json").read_text()


@pytest.mark.parametrize(
    ("name", "chosen", "expected"),
    [
        ("a_labels.ome.tif", "OME-Zarr (*.zarr)", "a_labels.zarr"),
        ("a_labels.tif", "OME-TIFF (*.ome.tif)", "a_labels.tif"),
        ("a.b", "OME-Zarr (*.zarr)", "a.b.zarr"),
        ("a.b", "OME-TIFF (*.ome.tif)", "a.b.ome.tif"),
        ("a.zarr", "OME-TIFF (*.ome.tif)", "a.zarr"),
    ],
)
def test_the_format_that_is_chosen_decides_what_labels_are_saved_as(
    desk, tmp_path, monkeypatch, name, chosen, expected
):
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / name), chosen))
    saved = []
    monkeypatch.setattr(desk.keeping, "export", saved.append)
    desk.review._save()
    assert saved == [tmp_path / expected]


def test_what_a_file_dialog_could_not_know_of_is_asked_about_before_it_is_replaced(desk, tmp_path, monkeypatch):
    desk.collecting.add_slice()
    asked, answer = [], [QMessageBox.StandardButton.No]
    monkeypatch.setattr(QMessageBox, "question", lambda _, __, words: asked.append(words) or answer[0])
    names = iter([(str(tmp_path / "a"), "OME-TIFF (*.ome.tif)"), (str(tmp_path / "a"), "Example sets")])
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: next(names))
    for file in ("a.ome.tif", "a.incontext"):
        (tmp_path / file).write_text("mine")
    desk.review._save()
    desk.examples._save()
    assert "a.ome.tif" in asked[0]
    assert "a.incontext" in asked[1]
    assert [(tmp_path / file).read_text() for file in ("a.ome.tif", "a.incontext")] == ["mine", "mine"]


def test_a_command_needs_an_image_that_is_a_file(desk, qtbot, notes, tmp_path):
    desk.collecting.add_slice()
    run(desk, qtbot)
    assert desk.keeping.command(tmp_path / "a.incontext") is None
    assert "save it" in str(notes)


def test_the_axes_of_the_file_are_those_of_the_command(viewer, qtbot, tmp_path):
    file = tmp_path / "hyper.tif"
    tifffile.imwrite(file, np.stack([blobs(), blobs() // 2], axis=1), imagej=True, metadata={"axes": "ZCYX"})
    viewer.open(str(file), plugin="napari")
    dock = dock_on(viewer, qtbot)
    assert dock.layers.axes.text() == "zcyx"
    dock.layers.new.click()
    dock.bench.planes.layer.data[4] = blobs()[4] > 100
    dock.bench.go_to(4)
    dock.collecting.add_slice()
    run(dock, qtbot)
    assert "--axes" not in dock.keeping.command(tmp_path / "a.incontext")


def test_a_command_does_not_repeat_what_was_painted_by_hand_and_that_is_said(viewer, qtbot, notes, tmp_path):
    tifffile.imwrite(tmp_path / "blobs.tif", blobs(), photometric="minisblack")
    viewer.open(str(tmp_path / "blobs.tif"), plugin="napari")
    dock = dock_on(viewer, qtbot)
    dock.layers.new.click()
    labels = dock.bench.planes.layer
    labels.data[4] = blobs()[4] > 100
    dock.bench.go_to(4)
    dock.collecting.add_slice()
    run(dock, qtbot)
    assert dock.keeping.command(tmp_path / "a.incontext")
    assert "by hand" not in str(notes)
    labels.paint((6, 1, 1), 1)
    assert dock.keeping.command(tmp_path / "a.incontext")
    assert "painted by hand in 1 slice is not in its result" in str(notes)


def test_after_the_dock_is_closed_napari_paints_as_without_it(desk, viewer, qtbot, notes):
    desk.collecting.add_slice()
    run(desk, qtbot)
    labels, folder = desk.bench.planes.layer, desk.bench.project.autosave.folder
    names = [layer.name for layer in viewer.layers]
    viewer.dims.set_current_step(0, 2)
    desk.review.preview.setChecked(True)
    assert len(viewer.layers) == 3
    callbacks = [*labels.mouse_drag_callbacks]
    viewer.window.remove_dock_widget(desk)
    assert [layer.name for layer in viewer.layers] == names
    assert len(labels.mouse_drag_callbacks) == len(callbacks) - 1
    assert not [key for key in labels.keymap if "Shift" in str(key)]
    qtbot.wait(50)  # the dock is deleted
    labels.paint_polygon([(2, 2, 2), (2, 2, 9), (2, 9, 9)], 7)
    assert (labels.data[2] == 7).any()
    viewer.dims.set_current_step(0, 3)
    viewer.theme = "light"
    viewer.add_image(np.zeros((4, 4)))
    assert load_session(folder).painted == tuple(range(9))
    assert "wrong" not in str(notes)


# -- the whole --------------------------------------------------------------------------------------------------------
def test_keys_do_what_they_say_and_none_is_naparis(desk, viewer, qtbot):
    labels = desk.bench.planes.layer
    from napari.utils.shortcuts import default_shortcuts

    taken = {str(key) for name, keys in default_shortcuts.items() for key in keys if "points" not in name}
    taken -= {str(k) for n in default_shortcuts if "append" in n for k in default_shortcuts[n]}  # points layers only
    assert not {key.sequence.replace("-", "+") for key in KEYS} & taken
    bound = {str(key): action for key, action in labels.keymap.items()}
    assert len([k for k in bound if k.startswith("Shift+")]) == len(KEYS)
    bound["Shift+A"](labels)
    assert len(desk.collecting.examples) == 1
    viewer.dims.set_current_step(0, 1)
    bound["Shift+Y"](labels)
    assert desk.reviewing.verified == {1}


def test_what_can_do_nothing_is_disabled_and_says_what_is_lacking(desk, viewer, qtbot):
    review = desk.review
    buttons = {made.text(): made for made in (review.next_unsure, review.go_on, review.undo, review.redo)}

    def enabled():
        return {text for text, made in buttons.items() if made.isEnabled()}

    assert desk.examples.add.isEnabled()
    assert enabled() == set()
    assert "Run the model first." in review.next_unsure.toolTip()
    desk.collecting.add_slice()
    run(desk, qtbot)
    assert enabled() == {"Next unsure slice", "Use and continue", "Undo"}
    assert "Run the model first." not in review.next_unsure.toolTip()
    desk.reviewing.undo("run")
    assert enabled() == {"Redo"}
    desk.reviewing.redo("slice")
    assert enabled() == set(buttons)
    viewer.layers.clear()
    assert enabled() == set()
    assert not desk.examples.add.isEnabled()
    assert "Open an image first." in desk.examples.add.toolTip()


def test_everything_has_a_tooltip(desk):
    kinds = (QAbstractButton, QComboBox, QSpinBox, QDoubleSpinBox)
    made_by_qt = (QComboBox, QScrollArea)
    widgets = [w for kind in kinds for w in desk.findChildren(kind) if not isinstance(w.parent(), made_by_qt)]
    silent = [w for w in widgets if not w.toolTip() and not w.objectName().startswith("qt_")]
    assert silent == []


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_fits_a_laptop_screen_in_every_theme(desk, viewer, theme):
    viewer.theme = theme
    body = desk.findChild(QScrollArea).widget()
    assert body.minimumSizeHint().height() <= 700
    assert desk.minimumWidth() <= 360
    assert body.minimumSizeHint().width() <= 350


@pytest.mark.parametrize(
    ("data", "kwargs"),
    [
        (blobs()[4], {}),
        (np.stack([blobs(), blobs()]), {}),
        (np.stack([blobs()] * 3, axis=-1), {"rgb": True}),
        (np.stack([blobs(), blobs()]), {"axis_labels": ("c", "z", "y", "x")}),
        (np.stack([blobs(), blobs()], axis=1), {"axis_labels": ("z", "c", "y", "x")}),
        ([np.kron(blobs(), np.ones((1, 2, 2), np.uint8)), blobs()], {"multiscale": True}),
        (da.from_array(blobs(), chunks=(1, 24, 24)), {}),
    ],
    ids=["2d", "4d", "rgb", "channels-first", "channels-inside", "multiscale", "dask"],
)
def test_every_kind_of_image_is_annotated_and_propagated(viewer, qtbot, data, kwargs):
    viewer.add_image(data, name="image", **kwargs)
    dock = dock_on(viewer, qtbot)
    dock.layers.new.click()
    planes, stack = dock.bench.planes, dock.bench.view.stack
    position = dock.bench.position
    bright = stack.read(position)[..., 0] > 100
    planes.write(position, bright.astype(np.uint32))
    dock.collecting.add_slice()
    assert len(dock.collecting.examples) == 1
    if len(stack) == 1:
        return
    run(dock, qtbot)
    for p in range(len(stack)):
        np.testing.assert_array_equal(planes.read(p) > 0, stack.read(p)[..., 0] > 100)
