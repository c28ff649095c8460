"""Sections of the Tracks dock: what is tracked and how, the table, the lineage."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QProgressBar,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from ..errors import InputError
from ..io.lineage import lineage_picture
from ..io.picture import save_png
from .asking import may_replace
from .controls import Fold, button, choice, choice_of_layers, menu_button, quiet, row
from .layer_choice import _fill
from .notices import tell, told
from .section import Section
from .theme import Colors
from .tracks_bench import TrackBench
from .tracks_layers import time_letters
from .tracks_lineage import LineageView
from .tracks_run import TrackOptions
from .tracks_table import TrackView

_REDRAW = 60  # ms


class TrackSection(Section):
    """Which layers are tracked and how; ``open_file``, ``open_folder`` and ``export_clicked`` ask for files."""

    open_file = Signal()
    open_folder = Signal()
    export_clicked = Signal()

    def __init__(self, bench: TrackBench, parent: QWidget | None = None) -> None:
        super().__init__("1  Track", "Give the objects of all frames numbers that they keep.", parent)
        self._bench = bench
        self._last: Any = None  # labels for which images were offered
        self._declined = False  # whether a person wants no image
        self.labels = choice_of_layers("Labels of a time-lapse: one number an object in every frame, in any order.")
        self.image = choice_of_layers(
            "The image that the labels were made of: brightness tells objects apart. Optional."
        )
        self.axes = QLineEdit()
        self.axes.setFixedWidth(52)
        self.axes.setToolTip("What the axes of the labels are: tyx, or tzyx for a time-lapse of z-stacks; time first.")
        self.run = button(
            "Track", "Link the objects of neighbouring frames, with divisions and gaps.", self.start, primary=True
        )
        self.stop = button("Stop", "Stop; what was there before stays.", self._stop)
        self.open = menu_button("Open", "Read tracks from files onto these labels.", self._fill_open)
        self.export = button(
            "Export …", "Save labels, table, lineage: OME-TIFF, OME-Zarr, GEFF, CSV, Cell Tracking Challenge.",
            self.export_clicked.emit,
        )  # fmt: skip
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.note = quiet()
        self._build_options()
        self._build()
        self._connect()
        self.refresh()
        self.show_idle()

    def chosen(self) -> tuple[Any, Any, str]:
        """The labels layer, the image layer, and the axes."""
        return self.labels.currentData(), self.image.currentData(), self.axes.text().strip().lower()

    def options(self) -> TrackOptions:
        """How objects are linked."""
        return TrackOptions(self.distance.value() or None, self.gap.value(), self.divisions.isChecked())

    def start(self) -> None:
        """Track."""
        if self._bench.track(*self.chosen(), self.options(), keep=self.keep.isChecked()):
            self.show_running()

    # -- layers ---------------------------------------------------------------------------------------------------
    def refresh(self, *_: Any) -> None:
        """Offer the layers that are there now; what is chosen stays, if it is still there."""
        sources, now = self._bench.sources(), self.labels.currentData()
        out = self._bench.outcome
        if now not in sources:
            kept = out.source if out is not None and out.source in sources else None
            now = kept if kept is not None else sources[0] if sources else None
        same = now is not None and now is self.labels.currentData()
        _fill(self.labels, sources, now, "open labels of a time-lapse")
        if not same:
            self.axes.setText(time_letters(now) if now is not None else "")
        self.axes.setEnabled(now is not None)
        self._offer_images()

    def _offer_images(self) -> None:
        source, image, axes = self.chosen()
        images, first = self._bench.images(source, axes), self.image.count() == 0 or source is not self._last
        if image not in images:
            image = images[-1] if images and (first or (image is None and not self._declined)) else None
        self._last = source
        self.image.clear()
        self.image.addItem("none", None)
        for layer in images:
            self.image.addItem(layer.name, layer)
        self.image.setCurrentIndex(1 + images.index(image) if image in images else 0)
        self._show_keep()

    def _on_labels(self) -> None:
        source = self.labels.currentData()
        self.axes.setText(time_letters(source) if source is not None else "")
        self._declined = False
        self._offer_images()

    def _on_image(self) -> None:
        self._declined = self.image.currentData() is None

    def _show_keep(self) -> None:
        again = self._bench.edited(self.labels.currentData())
        self.keep.setVisible(again)
        self.run.setText("Track again" if again else "Track")

    # -- how far it is --------------------------------------------------------------------------------------------
    def show_running(self, *, stoppable: bool = True) -> None:
        """A run has begun."""
        for made in (self.run, self.open, self.export):
            made.setEnabled(False)
        self.stop.setEnabled(stoppable)
        self.bar.setRange(0, 0)
        self.bar.show()

    def show_idle(self, outcome: str = "done") -> None:
        """No run is under way."""
        self.run.setEnabled(True)
        self.open.setEnabled(True)
        self.stop.setEnabled(False)
        self.bar.hide()
        self.say({"cancelled": "stopped: what was there before stays"}.get(outcome, ""))
        self._on_tracks()

    def show_share(self, share: float) -> None:
        """How much is done, 0 to 1."""
        self.bar.setRange(0, 100)
        self.bar.setValue(round(100 * share))

    def say(self, text: str) -> None:
        """A line below the progress bar."""
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def _on_tracks(self) -> None:
        tracks = self._bench.tracks
        self.export.setEnabled(tracks is not None)
        count = 0 if tracks is None else len(tracks.divisions)
        self.summarize("" if tracks is None else f"{len(tracks.ids)} tracks · {count} division{'s' * (count != 1)}")
        self._show_keep()

    def _stop(self) -> None:
        self.stop.setEnabled(False)
        self.say("stopping …")
        self._bench.job.cancel()

    # -- building -------------------------------------------------------------------------------------------------
    def _build_options(self) -> None:
        self.distance = QDoubleSpinBox()
        self.distance.setRange(0, 1e6)
        self.distance.setDecimals(1)
        self.distance.setSpecialValueText("estimated")
        self.distance.setToolTip(
            "How far an object may be from where it is expected, in the unit of the layer's scale. Estimated: three\n"
            "times what most objects move."
        )
        self.gap = QSpinBox()
        self.gap.setRange(0, 20)
        self.gap.setValue(1)
        self.gap.setSuffix(" frame")
        self.gap.valueChanged.connect(lambda n: self.gap.setSuffix(" frame" if n == 1 else " frames"))
        self.gap.setToolTip("For how many frames an object may be missing and still be the same.")
        self.divisions = QCheckBox("Objects divide")
        self.divisions.setChecked(True)
        self.divisions.setToolTip("Look for daughters: cells divide, particles do not.")
        self.keep = QCheckBox("Keep my corrections")
        self.keep.setChecked(True)
        self.keep.setToolTip(
            "Track the corrected labels: links that you confirmed or made stay. Without the tick tracking begins anew\n"
            "from the labels that were chosen, and corrections are lost."
        )

    def _build(self) -> None:
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        for made, stretch in ((self.run, 3), (self.stop, 2), (self.open, 2), (self.export, 2)):
            buttons.addWidget(made, stretch)
        options = Fold(
            "Options", "How objects are linked. What is estimated is right for most.",
            row("Reach", self.distance), row("Gaps", self.gap, self.divisions),
        )  # fmt: skip
        for widget in (row("Labels", self.labels, self.axes), row("Image", self.image), options, self.keep):
            self.content.addWidget(widget)
        self.content.addLayout(buttons)
        self.content.addWidget(self.bar)
        self.content.addWidget(self.note)

    def _connect(self) -> None:
        job, events = self._bench.job, self._bench.viewer.layers.events
        self.labels.activated.connect(self._on_labels)
        self.image.activated.connect(self._on_image)
        self.axes.editingFinished.connect(self._offer_images)
        for event in (events.inserted, events.removed, events.reordered, events.renamed):
            event.connect(self.refresh)
        job.said.connect(self.say)
        job.shared.connect(self.show_share)
        job.ended.connect(self.show_idle)
        self._bench.opened.connect(self.refresh)
        self._bench.opened.connect(self._on_tracks)
        self._bench.changed.connect(self._on_tracks)

    def _fill_open(self, menu: QMenu) -> None:
        menu.addAction("Table (CSV), or a res_track.txt …", self.open_file.emit)
        menu.addAction("Graph (GEFF), or folder of the Cell Tracking Challenge …", self.open_folder.emit)


class TableSection(Section):
    """The tracks as a table."""

    def __init__(self, bench: TrackBench, parent: QWidget | None = None) -> None:
        super().__init__("3  Table", "All tracks: sort by a click on a title, go to one by a click on its row.", parent)
        self._bench = bench
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("filter: 12, 15 or confidence < 0.5")
        self.filter.setClearButtonEnabled(True)
        self.filter.setToolTip(
            "Show some tracks only. Ids such as 12, 15; or comparisons that must all hold, such as\n"
            "confidence < 0.5, from > 3: of id, from, until, frames, parent, daughters, size, intensity, confidence."
        )
        self.export = button("CSV …", "Save the rows that are shown, in this order.", self._export)
        self.note = quiet()
        self.note.hide()
        self.view = TrackView()
        self.view.setMinimumHeight(105)
        self.view.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        line = QHBoxLayout()
        line.setSpacing(6)
        line.addWidget(self.filter, 1)
        line.addWidget(self.export)
        self.content.addLayout(line)
        self.content.addWidget(self.note)
        self.content.addWidget(self.view, 1)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.filter.textChanged.connect(self._on_filter)
        self.view.picked.connect(partial(bench.choose, move=True))
        bench.opened.connect(self.refresh)
        bench.changed.connect(self.refresh)
        bench.chosen.connect(lambda: self.view.show_choice(bench.choice))
        self.refresh()

    def refresh(self) -> None:
        """Show the tracks as they are now."""
        self.view.show_tracks(self._bench.tracks)
        self.view.show_choice(self._bench.choice)
        self.export.setEnabled(self._bench.tracks is not None)
        self._count()

    def save(self, path: Path) -> None:
        """Save the rows that are shown."""
        with told("saving the table"):
            table = self.view.tracks_model.table
            table.write(path, np.array([table.rows[int(i)] for i in self.view.shown.tracks()], np.int64))
            tell(f"Saved {path}.")

    def _count(self) -> None:
        all_tracks, shown = len(self.view.tracks_model.table), self.view.shown.rowCount()
        self.summarize("" if not all_tracks else f"{shown} of {all_tracks}" if shown < all_tracks else f"{shown}")

    def _on_filter(self, words: str) -> None:
        try:
            self.view.shown.filter(words)
        except InputError as error:  # a person is still typing
            self.note.setText(str(error))
            self.note.setVisible(not words[-1:].isspace() and bool(words))
        else:
            self.note.hide()
        self._count()

    def _export(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save the table", "tracks_table.csv", "Table (*.csv)")
        path = Path(name if name.lower().endswith(".csv") else f"{name}.csv")
        if name and may_replace(self, "Save the table", [path], Path(name)):
            self.save(path)


class LineageSection(Section):
    """The lineage as a picture."""

    def __init__(self, bench: TrackBench, colors: Colors, parent: QWidget | None = None) -> None:
        super().__init__("4  Lineage", "Who descends from whom; a click goes there.", parent)
        self._bench = bench
        self.view = LineageView(colors)
        self.view.setMinimumHeight(90)
        self.which = choice(
            [("all tracks", "all"), ("that divide", "divided"), ("of the chosen track", "chosen")],
            "Which tracks are drawn.",
        )
        self.save_picture = button("Save picture …", "Save the whole lineage as a PNG.", self._save)
        line = QHBoxLayout()
        line.setSpacing(6)
        line.addWidget(self.which, 1)
        line.addWidget(self.save_picture)
        self.content.addLayout(line)
        self.content.addWidget(self.view, 1)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_REDRAW)
        self._soon.timeout.connect(self.refresh)
        self.which.currentIndexChanged.connect(self.refresh)
        self.view.went.connect(self._on_went)
        self.view.color_of = self._color
        bench.opened.connect(self.refresh)
        bench.changed.connect(self._soon.start)
        bench.chosen.connect(self._on_chosen)
        bench.viewer.dims.events.current_step.connect(self._on_moved)
        self.toggled.connect(lambda _: self.refresh())
        self.refresh()

    def set_colors(self, colors: Colors) -> None:
        """Take another theme's colours."""
        self.view.colors = colors
        self.view.viewport().update()

    def refresh(self, *_: Any) -> None:
        """Draw the tracks as they are now."""
        if not self.is_open:
            return
        tracks = self._bench.tracks
        self.save_picture.setEnabled(tracks is not None)
        self.view.show_tracks(tracks, self._wanted())
        self.view.show_choice(self._bench.choice)
        self._on_moved()

    def _wanted(self) -> list[int] | None:
        tracks, which = self._bench.tracks, self.which.currentData()
        if tracks is None or which == "all":
            return None
        if which == "chosen":
            return [i for c in self._bench.choice for i in tracks.lineage(tracks.root(c))]
        roots = {tracks.root(mother) for mother in tracks.divisions}
        return [i for root in roots for i in tracks.lineage(root)]

    def _color(self, track: int) -> Any:
        out = self._bench.outcome
        return out.labels.get_color(track) if out is not None else None

    def _on_chosen(self) -> None:
        if self.which.currentData() == "chosen":
            self.refresh()
        else:
            self.view.show_choice(self._bench.choice)

    def _on_moved(self, _: Any = None) -> None:
        self.view.show_frame(self._bench.frame)

    def _on_went(self, track: int, frame: int, together: bool) -> None:
        others = [i for i in self._bench.choice if i != track]
        self._bench.choose([*others, track] if together else [track])
        self._bench.go(track, frame)

    def save(self, path: Path) -> None:
        """Save the picture of the whole lineage."""
        with told("saving the lineage"):
            if self._bench.tracks is not None:
                save_png(lineage_picture(self._bench.tracks), path, overwrite=True)  # the file dialog has asked
                tell(f"Saved {path}.")

    def _save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save the lineage", "lineage.png", "Picture (*.png)")
        path = Path(name if name.lower().endswith(".png") else f"{name}.png")
        if name and may_replace(self, "Save the lineage", [path], Path(name)):
            self.save(path)
