"""The Tracks dock: tracking, looking, correcting, files, and what goes wrong, as a person does it."""

import csv
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Labels
from napari.layers import Tracks as TracksLayer
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPointF, Qt
from qtpy.QtWidgets import QAbstractButton, QComboBox, QDoubleSpinBox, QLineEdit, QMessageBox, QSpinBox

from napari_incontext_seg._napari import tracks_run
from napari_incontext_seg._napari.keys import TRACK_KEYS
from napari_incontext_seg._napari.tracks_dock import TracksDock
from napari_incontext_seg.core.tracks import Tracks
from napari_incontext_seg.io.track_reading import read_tracks

FRAMES, SIZE = 8, 64


def movie():
    """Two cells that stay; a third that divides after frame 3. Ids are shuffled in every frame."""
    labels = np.zeros((FRAMES, SIZE, SIZE), np.uint16)

    def disk(t, y, x, radius, i):
        rows, columns = np.indices((SIZE, SIZE))
        labels[t][(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = i

    for t in range(FRAMES):
        disk(t, 12, 12 + t, 6, 1 + t)
        disk(t, 12, 40 + t, 6, 20 + t)
        if t < 4:
            disk(t, 45, 30, 8, 40 + t)
        else:
            disk(t, 45, 22 - (t - 4), 5, 60 + t)
            disk(t, 45, 38 + (t - 4), 5, 80 + t)
    return labels


@pytest.fixture
def notes():
    """What the user was told."""
    before = len(notification_manager.records)

    class Notes:
        def __str__(self):
            return " | ".join(n.message for n in list(notification_manager.records)[before:])

    return Notes()


PLACE = {"scale": (1, 0.5, 0.5), "translate": (0, 3, 4)}


def dock_on(viewer):
    dock = TracksDock(viewer)
    viewer.window.add_dock_widget(dock, area="right")
    return dock


def wait(dock, qtbot, start):
    """Start something that runs in a thread, and wait for its end."""
    with qtbot.waitSignal(dock.bench.job.ended, timeout=20000) as ended:
        start()
    return ended.args[0]


def track(dock, qtbot):
    assert wait(dock, qtbot, dock.tracking.run.click) == "done"


@pytest.fixture
def held_up(monkeypatch):
    """Runs find nothing: the first event says that one has begun, the second lets it go on."""
    reached, go_on = threading.Event(), threading.Event()

    def slow(*_):
        reached.set()
        assert go_on.wait(10)
        return tracks_run.Steps()

    monkeypatch.setattr(tracks_run, "track", slow)
    return reached, go_on


@pytest.fixture
def desk(viewer, qtbot):
    """A dock beside a movie, not tracked yet."""
    labels = movie()
    viewer.add_image((labels > 0) * 100.0 + 1, name="movie", **PLACE)
    viewer.add_labels(labels, name="cells", **PLACE)
    return dock_on(viewer)


@pytest.fixture
def tracked(desk, qtbot):
    track(desk, qtbot)
    return desk


def layers_of(viewer, kind):
    return [layer for layer in viewer.layers if isinstance(layer, kind)]


def track_at(dock, frame, y, x):
    """The track of a pixel."""
    return int(dock.bench.outcome.labels.data[frame, y, x])


def settled(dock, qtbot):
    """Wait for the Tracks layer to follow."""
    qtbot.waitUntil(lambda: not dock.bench._follow.isActive(), timeout=2000)


# -- tracking ---------------------------------------------------------------------------------------------------------
def test_tracking_gives_labels_and_a_tracks_layer_with_divisions_where_the_labels_lie(tracked, viewer):
    out = tracked.bench.outcome
    labels, tracks = out.labels, out.tracks
    assert labels.name == "cells tracked"
    assert tracks.name == "cells tracks"
    assert len({track_at(tracked, t, 12, 12 + t) for t in range(FRAMES)}) == 1
    mother, left = track_at(tracked, 0, 45, 30), track_at(tracked, 7, 45, 19)
    assert tracks.graph[left] == [mother]
    for layer in (labels, tracks):
        np.testing.assert_allclose(layer.scale, PLACE["scale"])
        np.testing.assert_allclose(layer.translate, PLACE["translate"])
    assert not viewer.layers["cells"].visible
    assert "5 tracks · 1 division" in tracked.tracking._summary.text()


def test_tracking_again_replaces_the_layers_of_the_dock(tracked, viewer, qtbot):
    first = tracked.bench.outcome.labels.data.copy()
    tracked.bench.outcome.labels.opacity = 0.31
    track(tracked, qtbot)
    assert len(layers_of(viewer, Labels)) == 2
    assert len(layers_of(viewer, TracksLayer)) == 1
    assert tracked.bench.outcome.labels.opacity == 0.31
    np.testing.assert_array_equal(tracked.bench.outcome.labels.data, first)


def test_what_the_dock_made_is_not_offered_to_be_tracked(tracked, viewer):
    box = tracked.tracking.labels
    assert [box.itemText(k) for k in range(box.count())] == ["cells"]


def test_layers_are_listed_with_the_names_that_they_have_now(desk, viewer):
    viewer.layers["cells"].name = "nuclei"
    assert desk.tracking.labels.currentText() == "nuclei"


def test_the_same_engine_as_on_the_command_line(tracked):
    from napari_incontext_seg.core.stack import Stack
    from napari_incontext_seg.infer.track import track_labels

    labels = movie()
    stack = Stack(labels, "tyx", (1, 0.5, 0.5), ("pixel",) * 3)
    image = Stack((labels > 0) * 100.0 + 1, "tyx", (1, 0.5, 0.5), ("pixel",) * 3)
    found = track_labels(stack, image, stitch=False)
    np.testing.assert_array_equal(tracked.bench.outcome.labels.data, np.stack(list(found.frames())))


def test_a_time_lapse_of_z_stacks(viewer, qtbot):
    viewer.add_labels(np.repeat(movie()[:, None], 3, axis=1), name="cells")
    dock = dock_on(viewer)
    assert dock.tracking.axes.text() == "tzyx"
    track(dock, qtbot)
    assert len(dock.bench.tracks.ids) == 5
    assert dock.bench.outcome.tracks.data.shape[1] == 5
    dock.table.view.selectRow(4)
    assert tuple(viewer.dims.current_step[:2]) == (dock.bench.tracks.begin(dock.bench.choice[0]), 1)


def test_options_reach_the_engine(desk, qtbot):
    desk.tracking.divisions.setChecked(False)
    track(desk, qtbot)
    assert not desk.bench.tracks.divisions


def test_an_image_with_channels_and_one_of_another_size(viewer, qtbot):
    labels = movie()
    viewer.add_image(np.repeat(labels[:, None], 2, axis=1).astype(float), name="two channels", channel_axis=None)
    viewer.add_image(np.zeros((3, 5, 5)), name="other")
    viewer.add_labels(labels, name="cells")
    dock = dock_on(viewer)
    box = dock.tracking.image
    assert [box.itemText(k) for k in range(box.count())] == ["none", "two channels"]
    track(dock, qtbot)
    assert not np.isnan(dock.bench.tracks.mean_intensity).any()


def test_it_can_be_stopped_and_nothing_changes(desk, viewer, qtbot, monkeypatch):
    reached, go_on = threading.Event(), threading.Event()
    counting = tracks_run._counting

    def slow(total, stop, share):
        advance = counting(total, stop, share)

        def slowly():
            reached.set()
            assert go_on.wait(10)
            advance()

        return slowly

    monkeypatch.setattr(tracks_run, "_counting", slow)
    desk.tracking.run.click()
    assert reached.wait(10)
    assert desk.tracking.stop.isEnabled()
    assert not desk.tracking.run.isEnabled()
    with qtbot.waitSignal(desk.bench.job.ended, timeout=10000) as ended:
        desk.tracking.stop.click()
        go_on.set()
    assert ended.args == ["cancelled"]
    assert desk.bench.outcome is None
    assert "stopped" in desk.tracking.note.text()
    assert len(layers_of(viewer, TracksLayer)) == 0


@pytest.mark.parametrize("closed", [False, True])
def test_nobody_paints_in_labels_that_a_run_replaces(tracked, viewer, qtbot, held_up, closed):
    reached, go_on = held_up
    layer = tracked.bench.outcome.labels
    tracked.tracking.run.click()
    assert reached.wait(10)
    assert not layer.editable
    if closed:
        gone = []
        tracked.destroyed.connect(gone.append)
        viewer.window.remove_dock_widget(tracked)
        tracked.deleteLater()
        qtbot.waitUntil(lambda: bool(gone), timeout=3000)
        go_on.set()
    else:
        with qtbot.waitSignal(tracked.bench.job.ended, timeout=10000):
            go_on.set()
    assert layer.editable


def test_a_confirmed_link_of_what_is_gone_is_forgotten(tracked, viewer, qtbot):
    """A script, or a brush that nobody saw, may have taken the object away."""
    track_id = track_at(tracked, 3, 12, 15)
    tracked.bench.outcome.editor.confirm(track_id, 3)
    data = tracked.bench.outcome.labels.data
    data[3][data[3] == track_id] = 0
    track(tracked, qtbot)
    assert not tracked.bench.outcome.editor.confirmed


def test_corrections_stay_when_tracks_are_opened_or_made_anew(tracked, viewer, qtbot, tmp_path):
    tracked.write(tmp_path / "before.csv")
    qtbot.waitUntil(lambda: not tracked.bench.job.running, timeout=20000)
    viewer.dims.set_current_step(0, 4)
    tracked.bench.choose([track_at(tracked, 0, 12, 12)])
    tracked.edit.split.click()
    corrected = tracked.bench.outcome.labels
    kept = corrected.data.copy()
    assert wait(tracked, qtbot, lambda: tracked.read(tmp_path / "before.csv")) == "done"
    assert tracked.bench.outcome.labels is not corrected
    assert corrected in viewer.layers
    np.testing.assert_array_equal(corrected.data, kept)


def test_a_save_that_has_begun_cannot_be_stopped(tracked, qtbot, tmp_path):
    """Half a file would replace a whole one."""
    tracked.write(tmp_path / "cells.ome.tif")
    assert tracked.bench.job.running
    assert not tracked.tracking.stop.isEnabled()
    tracked.bench.job.cancel()
    qtbot.waitUntil(lambda: (tmp_path / "cells_lineage.png").exists(), timeout=20000)
    from napari_incontext_seg.io.stacks import open_labels

    stack = open_labels(tmp_path / "cells.ome.tif")
    assert all(stack.read(t).any() for t in range(FRAMES))


def test_a_dock_that_napari_closes_is_gone_and_so_are_its_keys(tracked, viewer, qtbot):
    layer, gone = tracked.bench.outcome.labels, []
    before = layer.data.copy()
    tracked.destroyed.connect(gone.append)
    viewer.window.remove_dock_widget(tracked)
    qtbot.waitUntil(lambda: bool(gone), timeout=3000)
    for action in [action for key, action in layer.keymap.items() if str(key).startswith("Shift")]:
        if callable(action):
            action(layer)
    np.testing.assert_array_equal(layer.data, before)
    viewer.layers.clear()


def test_the_colours_of_the_tracks_layer_stay_after_an_edit(tracked, viewer, qtbot):
    tracked.bench.outcome.tracks.color_by = "confidence"
    viewer.dims.set_current_step(0, 4)
    tracked.bench.choose([track_at(tracked, 0, 12, 12)])
    tracked.edit.split.click()
    settled(tracked, qtbot)
    assert tracked.bench.outcome.tracks.color_by == "confidence"


def test_progress_is_shown(desk, qtbot):
    shares = []
    desk.bench.job.shared.connect(shares.append)
    track(desk, qtbot)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) == 2 * FRAMES


# -- looking ----------------------------------------------------------------------------------------------------------
def test_a_row_goes_to_its_track(tracked, viewer):
    left = track_at(tracked, 7, 45, 19)
    viewer.dims.set_current_step(0, 0)
    view = tracked.table.view
    view.selectRow(view.shown.mapFromSource(view.tracks_model.index(view.tracks_model.row(left), 0)).row())
    assert tracked.bench.choice == (left,)
    assert viewer.dims.current_step[0] == 4  # its first frame
    tracks = tracked.bench.tracks
    spot = tracks.centroid[tracks.row(left, 4)][1:]
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], spot * 0.5 + (3, 4))
    assert tracked.bench.outcome.labels.selected_label == left


def clicks_of(viewer):
    return [c for c in viewer.mouse_drag_callbacks if c.__module__ == TracksDock.__module__]


def click(dock, viewer, y, x, *modifiers, move=False):
    """Click into the canvas, at a pixel of the labels."""
    position = np.array([viewer.dims.point[0], y * 0.5 + 3, x * 0.5 + 4])
    event = SimpleNamespace(
        type="mouse_press", position=position, view_direction=None, dims_displayed=[1, 2], modifiers=list(modifiers)
    )
    for callback in clicks_of(viewer):
        steps = callback(viewer, event)
        next(steps)
        for kind in ["mouse_move", "mouse_release"] if move else ["mouse_release"]:
            event.type = kind
            next(steps, None)


def test_a_click_in_the_canvas_selects_the_row_and_shift_another(tracked, viewer):
    one, other = track_at(tracked, 0, 12, 12), track_at(tracked, 0, 12, 40)
    click(tracked, viewer, 12, 12)
    assert tracked.bench.choice == (one,)
    view = tracked.table.view
    rows = [view.shown.mapToSource(i).row() for i in view.selectionModel().selectedRows()]
    assert [view.tracks_model.track(row) for row in rows] == [one]
    click(tracked, viewer, 12, 40, "Shift")
    assert tracked.bench.choice == (one, other)
    assert f"Track {one}" in tracked.edit.chosen.text()
    assert f"then {other}" in tracked.edit.chosen.text()
    click(tracked, viewer, 45, 30, move=True)  # the canvas was dragged
    click(tracked, viewer, 60, 60)  # background
    assert tracked.bench.choice == (one, other)


def test_clicks_with_a_brush_are_no_choice(tracked, viewer):
    tracked.bench.outcome.labels.mode = "paint"
    click(tracked, viewer, 12, 12)
    assert tracked.bench.choice == ()


def test_the_next_doubtful_link_and_its_confirmation(tracked, viewer, qtbot):
    tracks = tracked.bench.tracks
    doubtful = sorted(c for c in tracks.confidence if c < 1)
    tracked.edit.next_doubtful.click()
    first, frame = tracked.bench.choice[0], viewer.dims.current_step[0]
    assert tracks.confidence[tracks.row(first, frame)] == doubtful[0]
    assert f"Track {first} into frame {frame}" in tracked.edit.note.text()
    tracked.edit.next_doubtful.click()
    assert (tracked.bench.choice[0], viewer.dims.current_step[0]) != (first, frame)
    tracked.bench.choose([first])
    tracked.bench.go(first, frame)
    tracked.edit.confirm.click()
    now = tracked.bench.tracks
    assert now.confidence[now.row(first, frame)] == 1
    assert any(link[2:] == (frame, first) for link in tracked.bench.outcome.editor.confirmed)
    tracked.edit.undo.click()
    assert tracked.bench.outcome.editor.confirmed == ()


def test_the_lineage_is_drawn_and_a_click_goes_there(tracked, viewer, qtbot):
    view = tracked.lineage.view
    assert sorted(view.rows) == list(tracked.bench.tracks.ids)
    left = track_at(tracked, 7, 45, 19)
    picture = view.viewport().grab().toImage()
    place = view.place(left, 6)
    color = view.line_color(left).getRgbF()
    found = picture.pixelColor(int(place.x() * picture.devicePixelRatio()), int(place.y() * picture.devicePixelRatio()))
    np.testing.assert_allclose(found.getRgbF()[:3], color[:3], atol=0.02)
    assert view.line_color(left) != view.line_color(track_at(tracked, 7, 45, 41))
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place.toPoint())
    assert tracked.bench.choice == (left,)
    assert viewer.dims.current_step[0] == 6
    assert view.at(QPointF(place.x(), 10_000)) is None


def test_the_lineage_may_be_of_dividing_or_chosen_tracks_only(tracked):
    family = {track_at(tracked, 0, 45, 30), track_at(tracked, 7, 45, 19), track_at(tracked, 7, 45, 41)}
    which = tracked.lineage.which
    which.setCurrentIndex(which.findData("divided"))
    assert set(tracked.lineage.view.rows) == family
    which.setCurrentIndex(which.findData("chosen"))
    assert tracked.lineage.view.rows == []
    tracked.bench.choose([track_at(tracked, 0, 12, 12)])
    assert tracked.lineage.view.rows == [track_at(tracked, 0, 12, 12)]


def test_pictures_and_tables_are_saved(tracked, tmp_path):
    tracked.lineage.save(tmp_path / "lineage.png")
    assert (tmp_path / "lineage.png").stat().st_size > 1000
    tracked.table.filter.setText("frames = 8")
    tracked.table.save(tmp_path / "table.csv")
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert {int(r["track"]) for r in rows} == {track_at(tracked, 0, 12, 12), track_at(tracked, 0, 12, 40)}
    assert {r["until"] for r in rows} == {"7"}


# -- editing ----------------------------------------------------------------------------------------------------------
def state(dock):
    out = dock.bench.outcome
    return out.labels.data.copy(), dict(out.editor.tracks.parents)


EDITS = {
    "merge": (0, [(0, 12, 12), (7, 45, 19)]),
    "split": (3, [(0, 12, 12)]),
    "delete": (3, [(0, 12, 12)]),
    "swap": (3, [(0, 12, 12), (0, 12, 40)]),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_change_labels_layer_tracks_layer_table_and_lineage_and_undo_takes_them_back(
    tracked, viewer, qtbot, name
):
    frame, spots = EDITS[name]
    viewer.dims.set_current_step(0, frame)
    tracked.bench.choose([track_at(tracked, *spot) for spot in spots])
    labels, parents = state(tracked)
    getattr(tracked.edit, name).click()
    now = tracked.bench.tracks
    assert not np.array_equal(tracked.bench.outcome.labels.data, labels)
    measured = Tracks.measure(tracked.bench.outcome.labels.data)
    np.testing.assert_array_equal(now.track, measured.track)
    np.testing.assert_array_equal(now.area, measured.area)
    assert set(tracked.table.view.shown.tracks()) == set(now.ids)
    settled(tracked, qtbot)
    np.testing.assert_array_equal(np.unique(tracked.bench.outcome.tracks.data[:, 0]), now.ids)
    qtbot.waitUntil(lambda: set(tracked.lineage.view.rows) == set(now.ids), timeout=2000)
    after, its = state(tracked)
    tracked.edit.undo.click()
    np.testing.assert_array_equal(tracked.bench.outcome.labels.data, labels)
    assert dict(tracked.bench.tracks.parents) == parents
    tracked.edit.redo.click()
    np.testing.assert_array_equal(tracked.bench.outcome.labels.data, after)
    assert dict(tracked.bench.tracks.parents) == its


def test_relink_joins_what_was_split(tracked, viewer):
    one = track_at(tracked, 0, 12, 12)
    viewer.dims.set_current_step(0, 3)
    tracked.bench.choose([one])
    tracked.edit.split.click()
    new = track_at(tracked, 3, 12, 15)
    assert new != one
    assert tracked.bench.choice[0] == new
    tracked.bench.choose([new, one])
    tracked.edit.relink.click()
    assert track_at(tracked, 7, 12, 19) == one


def test_a_division_is_added(tracked, viewer, qtbot):
    tracked.tracking.divisions.setChecked(False)
    track(tracked, qtbot)
    mother, left, right = (track_at(tracked, *s) for s in ((3, 45, 30), (7, 45, 19), (7, 45, 41)))
    daughters = [i for i in (left, right) if i != mother]
    tracked.bench.choose([mother, *daughters])
    tracked.edit.divide.click()
    settled(tracked, qtbot)
    children = tracked.bench.tracks.children(mother)
    assert len(children) == 2
    assert all(tracked.bench.outcome.tracks.graph[c] == [mother] for c in children)


def test_single_objects_are_edited_too(tracked, viewer):
    viewer.dims.set_current_step(0, 2)
    one, other = track_at(tracked, 2, 12, 14), track_at(tracked, 2, 12, 42)
    tracked.bench.choose([one, other])
    tracked.edit._merge_objects()
    assert track_at(tracked, 2, 12, 42) == one
    assert track_at(tracked, 3, 12, 43) == other
    tracked.edit._delete_here()
    assert not (tracked.bench.outcome.labels.data[2] == one).any()
    tracked.edit._delete_later()
    assert tracked.bench.tracks.end(one) == 1
    tracked.bench.choose([other])
    viewer.dims.set_current_step(0, 4)
    tracked.edit._split_object()
    assert len(tracked.bench.choice) == 2


@pytest.mark.parametrize("name", ["merge", "split", "delete", "relink", "swap", "divide", "confirm"])
def test_edits_say_what_they_need(tracked, notes, name):
    before = tracked.bench.outcome.labels.data.copy()
    getattr(tracked.edit, name).click()
    assert "hoose" in str(notes)
    np.testing.assert_array_equal(tracked.bench.outcome.labels.data, before)


def test_what_was_confirmed_stays_when_tracking_again(tracked, viewer, qtbot):
    """The two cells are swapped by hand: without the confirmed links tracking would swap them back."""
    one, other = track_at(tracked, 0, 12, 12), track_at(tracked, 0, 12, 40)
    viewer.dims.set_current_step(0, 4)
    tracked.bench.choose([one, other])
    tracked.edit.swap.click()
    assert tracked.tracking.run.text() == "Track again"
    track(tracked, qtbot)
    assert track_at(tracked, 3, 12, 15) == track_at(tracked, 4, 12, 44)
    assert track_at(tracked, 4, 12, 16) == track_at(tracked, 3, 12, 43)
    assert tracked.tracking.run.text() == "Track again"  # what was said is still known
    tracked.tracking.keep.setChecked(False)
    track(tracked, qtbot)
    assert track_at(tracked, 3, 12, 15) == track_at(tracked, 4, 12, 16)


def test_keys_do_what_they_say_and_none_is_naparis(tracked, viewer):
    from napari.utils.shortcuts import default_shortcuts

    of_labels = {n: k for n, k in default_shortcuts.items() if not any(w in n for w in ("points", "poly", "append"))}
    taken = {str(key) for keys in of_labels.values() for key in keys}
    assert not {key.sequence.replace("-", "+") for key in TRACK_KEYS} & taken
    layer = tracked.bench.outcome.labels
    bound = {str(key): action for key, action in layer.keymap.items()}
    assert {key.sequence.replace("-", "+") for key in TRACK_KEYS} <= set(bound)
    one = track_at(tracked, 0, 12, 12)
    tracked.bench.choose([one])
    bound["Shift+D"](layer)
    assert one not in tracked.bench.tracks
    bound["Shift+U"](layer)
    assert one in tracked.bench.tracks


def test_every_key_is_listed_and_no_other():
    page = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| (Shift\+.) \|", page, re.MULTILINE)
    assert listed == [key.sequence.replace("-", "+") for key in TRACK_KEYS]


def test_everything_has_a_tooltip(tracked):
    kinds = (QAbstractButton, QComboBox, QDoubleSpinBox, QSpinBox, QLineEdit)
    own = [w for kind in kinds for w in tracked.findChildren(kind) if not w.objectName().startswith("qt_")]
    own = [w for w in own if not isinstance(w.parent(), QDoubleSpinBox | QSpinBox | QLineEdit)]
    lacking = [w for w in own if not w.toolTip() and type(w).__name__ != "QTableCornerButton" and w.isEnabled()]
    assert not lacking, lacking


# -- files ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["out.geff", "out.csv", "01_RES"])
def test_tracks_go_to_files_and_come_back_onto_the_labels(tracked, viewer, qtbot, tmp_path, name):
    viewer.dims.set_current_step(0, 4)
    tracked.bench.choose([track_at(tracked, 0, 12, 12)])
    tracked.edit.split.click()
    before = tracked.bench.tracks
    tracked.write(tmp_path / name)
    qtbot.waitUntil(lambda: not tracked.bench.job.running, timeout=20000)
    assert read_tracks(tmp_path / name).parents == before.parents
    viewer.layers.remove(tracked.bench.outcome.labels)
    assert tracked.bench.outcome is None
    assert wait(tracked, qtbot, lambda: tracked.read(tmp_path / name)) == "done"
    now = tracked.bench.tracks
    for column in ("track", "frame", "area"):
        np.testing.assert_array_equal(getattr(now, column), getattr(before, column))
    assert now.parents == before.parents
    if name != "01_RES":  # which has no place for it
        np.testing.assert_allclose(now.confidence, before.confidence, atol=1e-6)


def test_labels_are_exported_with_the_table_and_the_lineage(tracked, qtbot, tmp_path):
    from napari_incontext_seg.io.stacks import open_labels

    tracked.write(tmp_path / "out", "OME-TIFF labels, table and lineage (*.ome.tif)")
    qtbot.waitUntil(lambda: not tracked.bench.job.running, timeout=20000)
    assert (tmp_path / "out_tracks.csv").is_file()
    assert (tmp_path / "out_lineage.png").is_file()
    stack = open_labels(tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(stack.read(5)[..., 0], tracked.bench.outcome.labels.data[5])


def test_other_files_are_replaced_only_if_the_user_agrees(tracked, qtbot, tmp_path, monkeypatch):
    """The file dialog has asked about the file that was chosen, and of a folder about nothing in it."""
    folder, asked = tmp_path / "01_RES", []
    folder.mkdir()
    (folder / "res_track.txt").write_text("somebody's work")

    def answer(given):
        def question(_, __, words):
            asked.append(words)
            return given

        monkeypatch.setattr(QMessageBox, "question", question)

    answer(QMessageBox.StandardButton.No)
    tracked.write(folder)
    assert not tracked.bench.job.running
    assert "res_track.txt" in asked[0]
    assert (folder / "res_track.txt").read_text() == "somebody's work"
    answer(QMessageBox.StandardButton.Yes)
    tracked.write(folder)
    qtbot.waitUntil(lambda: not tracked.bench.job.running, timeout=20000)
    assert read_tracks(folder).ids == tracked.bench.tracks.ids
    tracked.write(tmp_path / "new.geff")
    assert len(asked) == 2  # nothing is there


def test_a_challenge_folder_opens_without_labels(tracked, viewer, qtbot, tmp_path):
    before = tracked.bench.outcome.labels.data.copy()
    tracked.write(tmp_path / "01_RES")
    qtbot.waitUntil(lambda: not tracked.bench.job.running, timeout=20000)
    viewer.layers.clear()
    assert wait(tracked, qtbot, lambda: tracked.read(tmp_path / "01_RES")) == "done"
    np.testing.assert_array_equal(tracked.bench.outcome.labels.data, before)


def test_a_graph_needs_labels(tracked, viewer, qtbot, tmp_path, notes):
    tracked.write(tmp_path / "out.geff")
    qtbot.waitUntil(lambda: not tracked.bench.job.running, timeout=20000)
    viewer.layers.clear()
    assert wait(tracked, qtbot, lambda: tracked.read(tmp_path / "out.geff")) == "failed"
    assert "holds no labels" in str(notes)


@pytest.mark.parametrize("name", ["out.ome.tif", "out.zarr"])
def test_labels_with_tracks_beside_them_are_not_opened_as_tracks(tracked, qtbot, tmp_path, notes, name):
    tracked.write(tmp_path / name)
    qtbot.waitUntil(lambda: not tracked.bench.job.running, timeout=20000)
    assert wait(tracked, qtbot, lambda: tracked.read(tmp_path / name)) == "failed"
    assert "open out_tracks.csv beside it" in str(notes)
    assert wait(tracked, qtbot, lambda: tracked.read(tmp_path / "out_tracks.csv")) == "done"
    (tmp_path / "out_tracks.csv").unlink()
    assert wait(tracked, qtbot, lambda: tracked.read(tmp_path / name)) == "failed"
    assert "press Track" in str(notes)


def test_the_tooltip_of_undo_is_about_the_edit_that_it_takes_back(tracked, viewer):
    viewer.dims.set_current_step(0, 4)
    tracked.bench.choose([track_at(tracked, 0, 12, 12)])
    tracked.edit.split.click()
    assert "Take back: " in tracked.edit.undo.toolTip()
    tracked.edit.undo.click()
    assert tracked.edit.undo.toolTip() == "No edit to take back."
    assert "Do again: " in tracked.edit.redo.toolTip()


@pytest.mark.parametrize("name", ["missing.csv", "broken.csv", "other.csv"])
def test_files_that_are_none_are_told_of(tracked, notes, qtbot, tmp_path, name):
    (tmp_path / "broken.csv").write_text("a,b\n1,2\n")
    (tmp_path / "other.csv").write_text("track,frame,y,x\n1,99,5,5\n")
    before = tracked.bench.outcome
    assert wait(tracked, qtbot, lambda: tracked.read(tmp_path / name)) == "failed"
    assert tracked.bench.outcome is before
    assert "unexpected" not in str(notes)
    assert str(notes)


# -- what goes wrong --------------------------------------------------------------------------------------------------
def test_the_dock_opens_without_layers(viewer, notes):
    dock = dock_on(viewer)
    assert "open labels" in dock.tracking.labels.currentText()
    dock.tracking.run.click()
    assert "pen the labels" in str(notes)
    dock.edit._merge()
    assert "no tracks yet" in str(notes)


def test_the_labels_are_removed(tracked, viewer, notes):
    viewer.layers.remove(tracked.bench.outcome.labels)
    assert tracked.bench.outcome is None
    assert not tracked.edit.isEnabled()
    assert tracked.table.view.shown.rowCount() == 0
    assert "is gone" in str(notes)
    viewer.dims.set_current_step(0, 3)


def test_the_tracks_layer_is_removed_and_edits_go_on(tracked, viewer, qtbot):
    viewer.layers.remove(tracked.bench.outcome.tracks)
    one = track_at(tracked, 0, 12, 12)
    tracked.bench.choose([one])
    tracked.edit.delete.click()
    settled(tracked, qtbot)
    assert one not in tracked.bench.tracks
    assert not layers_of(viewer, TracksLayer)
    track(tracked, qtbot)
    assert len(layers_of(viewer, TracksLayer)) == 1


def test_what_a_brush_paints_is_taken_in_and_naparis_undo_too(tracked, viewer, qtbot):
    layer = tracked.bench.outcome.labels
    viewer.dims.set_current_step(0, 2)
    count = len(tracked.bench.tracks)
    layer.selected_label = 77
    layer.paint((2, 30, 55), 77)
    with qtbot.waitSignal(tracked.bench.watch.painted, timeout=3000):
        pass
    assert 77 in tracked.bench.tracks
    assert "frame 2" in tracked.edit.note.text()
    layer.undo()
    qtbot.waitUntil(lambda: 77 not in tracked.bench.tracks, timeout=3000)
    assert len(tracked.bench.tracks) == count


def test_an_edit_is_undone_though_somebody_painted_since(tracked, viewer, qtbot):
    layer, one = tracked.bench.outcome.labels, track_at(tracked, 0, 12, 12)
    tracked.bench.choose([one])
    tracked.edit.delete.click()
    viewer.dims.set_current_step(0, 2)
    layer.paint((2, 12, 14), 78)
    tracked.edit.undo.click()
    assert track_at(tracked, 0, 12, 12) == one
    assert 78 in tracked.bench.tracks
    measured = Tracks.measure(layer.data)
    np.testing.assert_array_equal(tracked.bench.tracks.area, measured.area)


def test_data_that_was_replaced_is_taken_in_when_asked(tracked, viewer, qtbot, notes):
    layer, one = tracked.bench.outcome.labels, track_at(tracked, 0, 12, 12)
    parents = tracked.bench.tracks.parents
    other = layer.data.copy()
    other[other == one] = 99
    layer.data = other
    assert not tracked.replaced.isHidden()
    tracked.bench.choose([track_at(tracked, 0, 12, 40)])
    tracked.edit.delete.click()
    assert "were replaced" in str(notes)
    wait(tracked, qtbot, tracked.replaced.take.click)
    assert tracked.replaced.isHidden()
    assert 99 in tracked.bench.tracks
    assert tracked.bench.tracks.parents == parents
    tracked.bench.choose([99])
    tracked.edit.delete.click()
    assert not (layer.data == 99).any()


def test_labels_of_few_bits_that_replaced_ours_get_room_and_are_not_lost(tracked, viewer, qtbot):
    layer, one = tracked.bench.outcome.labels, track_at(tracked, 0, 12, 12)
    viewer.dims.set_current_step(0, 3)
    tracked.bench.choose([one])
    tracked.edit.confirm.click()
    other = layer.data.astype(np.uint8)
    other[7, 60:, 60:] = 255
    layer.data = other
    wait(tracked, qtbot, tracked.replaced.take.click)
    assert tracked.bench.outcome.editor.confirmed == ((2, one, 3, one),)
    tracked.bench.choose([one])
    tracked.edit.split.click()
    assert track_at(tracked, 3, 12, 15) == 256
    assert tracked.tracking.run.text() == "Track again"


def test_other_labels_are_tracked_beside_those_that_were(tracked, viewer, qtbot):
    first = tracked.bench.outcome.labels
    viewer.add_labels(movie()[:5], name="others", scale=(1, 2, 2))
    box = tracked.tracking.labels
    box.setCurrentIndex(box.findText("others"))
    box.activated.emit(box.currentIndex())
    track(tracked, qtbot)
    assert first in viewer.layers
    assert tracked.bench.outcome.labels.name == "others tracked"
    np.testing.assert_allclose(tracked.bench.outcome.labels.scale, (1, 2, 2))


def test_data_of_another_size_ends_the_work(tracked, viewer, notes):
    tracked.bench.outcome.labels.data = np.zeros((3, 10, 10), np.uint32)
    assert tracked.bench.outcome is None
    assert "another size" in str(notes)


def test_the_source_is_removed_while_it_is_tracked(desk, viewer, qtbot, held_up, notes):
    reached, go_on = held_up
    desk.tracking.run.click()
    assert reached.wait(10)
    viewer.layers.remove("cells")
    with qtbot.waitSignal(desk.bench.job.ended, timeout=10000) as ended:
        go_on.set()
    assert ended.args == ["cancelled"]
    assert "cells is gone" in str(notes)


def test_the_dock_is_closed_during_a_run(viewer, qtbot, held_up):
    reached, go_on = held_up
    viewer.add_labels(movie(), name="cells")
    dock = dock_on(viewer)
    dock.tracking.run.click()
    assert reached.wait(10)
    gone = []
    dock.destroyed.connect(gone.append)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.waitUntil(lambda: bool(gone), timeout=3000)
    go_on.set()
    assert not clicks_of(viewer)
    viewer.dims.set_current_step(0, 3)
    viewer.layers.remove("cells")


def test_two_viewers_are_apart(make_napari_viewer, qtbot):
    docks = []
    for shift in (0, 100):
        viewer = make_napari_viewer()
        labels = movie()
        labels[labels > 0] += shift
        viewer.add_labels(labels, name="cells")
        docks.append(dock_on(viewer))
    track(docks[0], qtbot)
    assert docks[1].bench.outcome is None
    track(docks[1], qtbot)
    docks[0].bench.choose([1])
    docks[0].edit.delete.click()
    assert len(docks[1].bench.tracks.ids) == 5


@pytest.mark.parametrize("labels", [np.zeros((4, 20, 20), np.uint16), movie()[:1], movie()[:4] * (movie()[:4] < 40)])
def test_nothing_one_frame_and_no_division(viewer, qtbot, notes, labels):
    viewer.add_labels(labels, name="cells")
    dock = dock_on(viewer)
    track(dock, qtbot)
    assert "unexpected" not in str(notes)
    dock.edit.next_doubtful.click()
    for which in ("divided", "chosen", "all"):
        dock.lineage.which.setCurrentIndex(dock.lineage.which.findData(which))
        dock.lineage.view.viewport().grab()
    tracks = dock.bench.tracks.ids
    for i in tracks:  # down to nothing, and back
        dock.bench.choose([i])
        dock.edit.delete.click()
    settled(dock, qtbot)
    assert len(dock.bench.tracks) == 0
    for _ in tracks:
        dock.edit.undo.click()
    settled(dock, qtbot)
    assert dock.bench.tracks.ids == tracks
    assert "unexpected" not in str(notes)


def test_huge_ids(viewer, qtbot, notes, tmp_path):
    labels = movie().astype(np.uint32)
    labels[labels > 0] += 4_294_000_000
    viewer.add_labels(labels, name="cells")
    dock = dock_on(viewer)
    (tmp_path / "t.csv").write_text(
        "track,frame,y,x\n" + "".join(f"4294967290,{t},12,{12 + t}\n" for t in range(FRAMES))
    )
    assert wait(dock, qtbot, lambda: dock.read(tmp_path / "t.csv")) == "done"
    assert 4294967290 in dock.bench.tracks
    dock.bench.choose([4294967290])
    viewer.dims.set_current_step(0, 3)
    dock.edit.split.click()
    settled(dock, qtbot)
    assert "unexpected" not in str(notes)


def test_labels_that_are_no_time_lapse(viewer, qtbot, notes):
    viewer.add_labels(np.ones((2, 3, 4, 10, 10), np.uint8), name="five")
    viewer.add_labels(np.ones((10, 10), np.uint8), name="two")
    dock = dock_on(viewer)
    assert dock.tracking.labels.currentData() is None
    viewer.add_labels(movie(), name="cells")
    dock.tracking.axes.setText("zyx")
    dock.tracking.run.click()
    assert "time first" in str(notes)


def test_an_unforeseen_error_is_told_in_words(desk, qtbot, notes, monkeypatch):
    monkeypatch.setattr(tracks_run, "track", lambda *_: 1 / 0)
    assert wait(desk, qtbot, desk.tracking.run.click) == "failed"
    assert "unexpected" in str(notes)
    assert desk.tracking.run.isEnabled()


def test_the_manifest_offers_the_dock(viewer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-incontext-seg", "Tracks")
    assert isinstance(dock, TracksDock)
