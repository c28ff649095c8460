"""Make the pictures of docs/plugin.md with the real viewer:  bash .ci/display python docs/screenshots.py

The bundled samples, and simulated cells, are opened, worked on with the docks as a person would, and photographed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["NAPARI_CONFIG"] = ""  # nobody's preferences, and nothing is written to them

import napari
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from PIL import Image
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QAbstractButton, QApplication, QWidget

from napari_incontext_seg._napari.controls import Fold
from napari_incontext_seg._napari.dock import InContextDock
from napari_incontext_seg._napari.tracks_dock import TracksDock

IMAGES = Path(__file__).with_name("images")
PLUGIN = "napari-incontext-seg"
SIZE = 1280, 800  # a laptop's screen
WALL = 1.0, 0.62, 0.12  # colour of the cell walls
PATIENCE = 180_000  # ms that a run may take


def wait(ms: int) -> None:
    """Let the viewer live for a while."""
    loop = QEventLoop()
    QTimer.singleShot(ms, loop.quit)
    loop.exec()


def run(dock: InContextDock | TracksDock, button: QAbstractButton) -> None:
    """Press ``button``, and wait for the end of the run that it starts."""
    loop, ended = QEventLoop(), list[str]()
    dock.bench.job.ended.connect(lambda outcome: (ended.append(outcome), loop.quit()))
    QTimer.singleShot(PATIENCE, loop.quit)
    button.click()
    loop.exec()
    if ended != ["done"]:
        raise SystemExit(f"the run did not end well: {ended or 'too slow'}")
    wait(300)


def opened(sample: str, theme: str = "dark") -> tuple[napari.Viewer, InContextDock]:
    """A viewer with a sample, and the dock beside it."""
    os.environ["INCONTEXT_SEG_CACHE"] = tempfile.mkdtemp(prefix="incontext-pictures-")  # no sessions but its own
    viewer = napari.Viewer()
    viewer.theme = theme
    viewer.open_sample(PLUGIN, sample)
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Annotate and propagate")
    window = viewer.window._qt_window
    window.resize(*SIZE)
    viewer.window.show()
    wait(500)
    viewer.reset_view()
    viewer.layers[f"{sample} labels"].opacity = 0.6
    wait(300)
    return viewer, dock


def save(widget: QWidget, name: str) -> None:
    """Photograph a widget."""
    for note in widget.findChildren(NapariQtNotification):
        note.close()
    wait(400)
    file = IMAGES / f"plugin-{name}.png"
    widget.grab().save(str(file))
    with Image.open(file) as picture:
        picture.convert("RGB").save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size // 1024} KB")


def window_of(viewer: napari.Viewer) -> QWidget:
    """The whole window."""
    window: QWidget = viewer.window._qt_window
    return window


def fold(dock: InContextDock, *open_sections: str) -> None:
    """Unfold some sections, and fold the others."""
    for name in ("examples", "propagate", "review"):
        getattr(dock, name).set_open(name in open_sections)
    wait(200)


def unfold_all(section: QWidget) -> None:
    """Show what a section has folded away."""
    for each in section.findChildren(Fold):
        each.set_open(True)
    wait(200)


def picture_ovule() -> None:
    """The whole journey on the ovule: two examples, a run, the least sure slice, some verified."""
    viewer, dock = opened("ovule")
    dock.examples.add.click()
    dock.collecting.set_classes({1: "cell wall"}, {1: WALL}, None)
    truth = viewer.layers["ovule truth"].data
    annotate(viewer, dock, 27, truth[27])
    run(dock, dock.propagate.run)
    for position in (13, 14, 16, 17):
        viewer.dims.set_current_step(0, position)
        dock.reviewing.verify()
    dock.reviewing.next_unsure()
    fold(dock, "examples", "review")
    save(window_of(viewer), "dock")
    fold(dock, "examples")
    save(dock.examples, "examples")
    fold(dock, "propagate")
    unfold_all(dock.propagate)
    save(dock.propagate, "propagate")
    fold(dock, "review")
    unfold_all(dock.review)
    save(dock.review, "review")
    viewer.close()


def picture_disagreement() -> None:
    """Where two examples disagree, in the light theme."""
    viewer, dock = opened("ovule", "light")
    dock.examples.add.click()
    dock.collecting.set_classes({1: "cell wall"}, {1: WALL}, None)
    annotate(viewer, dock, 3, viewer.layers["ovule truth"].data[3])
    annotate(viewer, dock, 28, viewer.layers["ovule truth"].data[28])
    dock.propagate.quality.setCurrentIndex(dock.propagate.quality.findData("fast"))
    dock.propagate.ensemble.setCurrentIndex(dock.propagate.ensemble.findData("none"))
    run(dock, dock.propagate.run)
    viewer.dims.set_current_step(0, 22)
    fold(dock, "review")
    dock.review.disagreement.setChecked(True)
    save(window_of(viewer), "disagreement")
    viewer.close()


def picture_nuclei() -> None:
    """Another sample, painted."""
    viewer, dock = opened("nuclei")
    dock.examples.add.click()
    run(dock, dock.propagate.run)
    viewer.dims.set_current_step(0, 19)
    fold(dock, "examples", "propagate")
    save(window_of(viewer), "nuclei")
    viewer.close()


def annotate(viewer: napari.Viewer, dock: InContextDock, position: int, labels: np.ndarray[Any, Any]) -> None:
    """Go to a slice, put labels there as if painted, and add it to the examples."""
    viewer.dims.set_current_step(0, position)
    layer = dock.bench.planes.layer
    layer.data_setitem((np.full(np.count_nonzero(labels), position), *np.nonzero(labels)), labels[labels > 0])
    wait(100)
    dock.examples.add.click()


def cells(frames: int = 24, count: int = 40) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Simulated cells that wander and divide, (T, Y, X): image, and labels whose ids are shuffled in every frame."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    from moving_cells import Dish

    dish, rng = Dish(np.random.default_rng(0)), np.random.default_rng(1)
    dish.start(count)
    images, labels = [], []
    for _ in range(frames):
        image, truth = dish.picture()
        ids = np.unique(truth)
        shuffled = np.concatenate([[0], rng.permutation(len(ids) - 1) + 1]).astype(np.uint16)
        images.append(image)
        labels.append(shuffled[np.searchsorted(ids, truth)])
        dish.advance()
    return np.stack(images), np.stack(labels)


def picture_tracks() -> None:
    """Simulated cells, tracked: a doubtful link, two tracks chosen, the lineage of those that divide."""
    viewer = napari.Viewer()
    image, labels = cells()
    viewer.add_image(image, name="cells", axis_labels=("t", "y", "x"))
    viewer.add_labels(labels, name="objects", axis_labels=("t", "y", "x"))
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Tracks")
    window_of(viewer).resize(*SIZE)
    viewer.window.show()
    wait(500)
    viewer.reset_view()
    run(dock, dock.tracking.run)
    dock.lineage.which.setCurrentIndex(dock.lineage.which.findData("divided"))
    dock.table.view.sortByColumn(7, Qt.SortOrder.AscendingOrder)
    wait(500)
    for _ in range(2):
        dock.edit.next_doubtful.click()
    wait(300)
    viewer.reset_view()
    save(window_of(viewer), "tracks")
    viewer.close()


PICTURES: dict[str, Callable[[], None]] = {
    "ovule": picture_ovule, "disagreement": picture_disagreement, "nuclei": picture_nuclei,
    "tracks": picture_tracks,
}  # fmt: skip


def main() -> None:
    """Make all pictures, or those named."""
    IMAGES.mkdir(exist_ok=True)
    app = QApplication.instance() or QApplication([])
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name]()
    app.quit()


if __name__ == "__main__":
    main()
