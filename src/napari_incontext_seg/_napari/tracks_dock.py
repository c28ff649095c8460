"""`TracksDock`: objects of a time-lapse are followed, looked at as table and lineage, and put right."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from .asking import may_replace
from .keys import TRACK_KEYS, bind, bind_dock, unbind
from .leaving import LeavingDock
from .notices import tell, tell_error, tell_warning, told
from .offer import Offer
from .theme import Colors, style_sheet
from .tracks_bench import TrackBench
from .tracks_edit import EditSection
from .tracks_sections import LineageSection, TableSection, TrackSection

if TYPE_CHECKING:
    from napari.viewer import Viewer

WIDTH = 396  # pixels
_FORMATS = (
    ("OME-TIFF labels, table and lineage (*.ome.tif)", ".ome.tif"), ("OME-Zarr labels (*.zarr)", ".zarr"),
    ("Graph, GEFF (*.geff)", ".geff"), ("Table (*.csv)", ".csv"), ("Cell Tracking Challenge folder (*)", ""),
)  # fmt: skip
_KNOWN = (".tif", ".tiff", ".zarr", ".geff", ".csv")


class TracksDock(LeavingDock):
    """The dock.

    Parameters
    ----------
    napari_viewer
        Given by napari.
    """

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        colors = Colors.of(napari_viewer.theme)
        self.bench = TrackBench(napari_viewer, self)
        self.tracking = TrackSection(self.bench)
        self.edit = EditSection(self.bench)
        self.table = TableSection(self.bench)
        self.lineage = LineageSection(self.bench, colors)
        self.replaced = Offer("Take them in", "Measure the labels as they are now.", self._on_take_in)
        self._bound: Any = None
        self._build()
        self._connect()
        bind_dock(self, self.actions_by_name(), TRACK_KEYS)
        self._on_theme()
        self._on_opened()

    def actions_by_name(self) -> dict[str, Any]:
        """What the keys do."""
        return self.edit.actions_by_name()

    # -- files ----------------------------------------------------------------------------------------------------
    def open_file(self) -> None:
        """Ask for a file of tracks, and read it."""
        name, _ = QFileDialog.getOpenFileName(
            self, "Open tracks", "", "Tracks (*.csv res_track.txt man_track.txt);;All (*)"
        )
        if name:
            path = Path(name)
            self.read(path.parent if path.suffix == ".txt" else path)

    def open_folder(self) -> None:
        """Ask for a folder: of the Cell Tracking Challenge, or a graph (GEFF)."""
        name = QFileDialog.getExistingDirectory(self, "Open a folder of tracks")
        if name:
            self.read(Path(name))

    def read(self, path: Path) -> None:
        """Read tracks of a file or folder onto the labels that are chosen."""
        source, image, axes = self.tracking.chosen()
        if self.bench.open_file(path, source, image, axes):
            self.tracking.show_running()

    def export(self) -> None:
        """Ask for a file, and write the tracks."""
        with told("saving the tracks"):
            out = self.bench.ready()
            name, chosen = QFileDialog.getSaveFileName(
                self, "Save the tracks", out.labels.name, ";;".join(words for words, _ in _FORMATS)
            )
            if name:
                self.write(Path(name), chosen)

    def write(self, path: Path, chosen: str = "") -> None:
        """Write the tracks; a name without a suffix that is known gets that of the format chosen."""
        suffix, given = dict(_FORMATS).get(chosen, ""), path
        if path.suffix.lower() not in _KNOWN and suffix:
            path = path.with_name(path.name + suffix)
        if self._may_replace(path, given) and self.bench.export(path):
            self.tracking.show_running(stoppable=False)  # half a file would replace a whole one

    def _may_replace(self, path: Path, given: Path) -> bool:
        """Whether nothing is replaced but ``given``, about which the file dialog has asked, or the user agrees."""
        from ..session.tracking import tracking_files  # the dock begins without

        files = [path] if path.suffix.lower() == ".csv" else tracking_files(path)
        return may_replace(self, "Save the tracks", files, given)

    # -- building -------------------------------------------------------------------------------------------------
    def _build(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(8, 6, 8, 6)
        column.setSpacing(6)
        for widget, stretch in (
            (self.tracking, 0), (self.replaced, 0), (self.edit, 0), (self.table, 3), (self.lineage, 2),
        ):  # fmt: skip
            column.addWidget(widget, stretch)
        column.addStretch(0)
        self.scroll(body)
        self.setMinimumWidth(WIDTH)

    def _connect(self) -> None:
        bench, job = self.bench, self.bench.job
        self.tracking.open_file.connect(self.open_file)
        self.tracking.open_folder.connect(self.open_folder)
        self.tracking.export_clicked.connect(self.export)
        job.warned.connect(tell_warning)
        job.failed.connect(lambda error: tell_error(error, "working on tracks"))
        bench.opened.connect(self._on_opened)
        bench.watch.replaced.connect(partial(self.replaced.propose, "The labels were replaced outside of this dock."))
        bench.watch.painted.connect(self._on_painted)
        bench.removed.connect(self._on_removed)
        self.viewer.events.theme.connect(self._on_theme)
        clicks = _Clicks(self.bench)
        self.viewer.mouse_drag_callbacks.append(clicks)
        self.destroyed.connect(partial(_forget, self.viewer.mouse_drag_callbacks, clicks))

    # -- reactions ------------------------------------------------------------------------------------------------
    def _on_theme(self, _: Any = None) -> None:
        colors = Colors.of(self.viewer.theme)
        self.setStyleSheet(style_sheet(colors))
        self.lineage.set_colors(colors)

    def _on_opened(self) -> None:
        self.replaced.hide()
        if self._bound is not None:
            unbind(self._bound, TRACK_KEYS)
        out = self.bench.outcome
        self._bound = out.labels if out is not None else None
        if self._bound is not None:
            bind(self._bound, self.actions_by_name(), TRACK_KEYS)

    def let_go(self) -> None:
        """Take keys from layers and stop what is under way."""
        if self._bound is not None:
            unbind(self._bound, TRACK_KEYS)
            self._bound = None
        self.bench.watch.end()
        self.bench.job.cancel()

    def _on_take_in(self) -> None:
        if self.bench.measure():
            self.tracking.show_running()

    def _on_painted(self, frames: list[int]) -> None:
        where = f"frame {frames[0]}" if len(frames) == 1 else f"{len(frames)} frames"
        self.edit.say(f"You painted in {where}: table and lineage are up to date.")

    def _on_removed(self, name: str) -> None:
        tell(f"{name} is gone, and so are its tracks here. Track or open them again.")


class _Clicks:
    """Passes clicks in the canvas on. It holds no widget, so it may outlive the dock."""

    def __init__(self, bench: TrackBench) -> None:
        self._bench = weakref.ref(bench)

    def __call__(self, _: Any, event: Any) -> Any:
        """A click is a press and a release without a move between them."""
        moved = False
        yield
        while event.type == "mouse_move":
            moved = True
            yield
        bench = self._bench()
        if bench is not None and not moved:
            with told("choosing a track"):
                bench.clicked(event)


def _forget(callbacks: list[Any], clicks: _Clicks, *_: object) -> None:
    if clicks in callbacks:
        callbacks.remove(clicks)
