"""Step 3: where the model is unsure; verifying, correcting and going on, undo, clean-up, and taking results away."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QApplication, QCheckBox, QDoubleSpinBox, QFileDialog, QHBoxLayout, QMenu, QWidget

from ..core.example_set import SUFFIX
from .asking import may_replace
from .confidence_curve import ConfidenceCurve
from .controls import Fold, allow, button, choice, menu_button, quiet, row
from .keeping import Keeping, labels_file
from .reviewing import Reviewing
from .section import Section
from .theme import Colors

OPERATIONS = [
    ("Fill holes", "fill_holes"), ("Drop small objects", "drop_small"), ("Smooth outlines", "smooth"),
    ("Keep the largest", "keep_largest"), ("Split objects", "split"), ("Join what touches", "join"),
]  # fmt: skip
# what the number beside the operation is, and what it begins with
SIZES = {
    "fill_holes": ("largest hole that is filled, in pixels (0: all)", 0.0, 0, " px"),
    "drop_small": ("smallest object that is kept, in pixels", 30.0, 0, " px"),
    "smooth": ("radius, in pixels", 1.5, 1, " px"),
    "keep_largest": ("", 0.0, 0, ""),
    "split": (
        "widest passage that is cut, as a share of the narrower part (0: only apart what does not touch)",
        0.75,
        2,
        "",
    ),
    "join": ("", 0.0, 0, ""),
}
_FORMATS = "OME-TIFF (*.ome.tif);;OME-Zarr (*.zarr)"
_SETS = f"Example sets (*{SUFFIX})"
_REDRAW = 60  # ms: a run that is quick draws the curve so often, not with every slice


class ReviewSection(Section):
    """The curve of confidence, and what can be done with results; ``continue_asked`` asks for a run (direction)."""

    continue_asked = Signal(str)

    def __init__(self, reviewing: Reviewing, keeping: Keeping, colors: Colors, parent: QWidget | None = None) -> None:
        super().__init__("3  Review", "Look where the model is unsure, correct it, and lock what is right.", parent)
        self._reviewing, self._keeping = reviewing, keeping
        self.curve = ConfidenceCurve(colors)
        self.curve.went.connect(reviewing.bench.go_to)
        self.note = quiet()
        self.next_unsure = button(
            "Next unsure slice", "Go to the slice that the model is least sure of (Shift+N): correct that one next.",
            reviewing.next_unsure,
        )  # fmt: skip
        self.verify = button(
            "Verify",
            "This slice is right: lock it, so no run changes it (Shift+Y); again: unlock.",
            reviewing.verify,
        )
        self.go_on = menu_button(
            "Use and continue", "Make the corrected slice an example, and paint on from it.", self._fill_go_on
        )
        self.undo = menu_button("Undo", "Undo what the model wrote; what you painted stays.", self._fill_undo)
        self.redo = menu_button("Redo", "Write again what was undone (Shift+J).", self._fill_redo)
        self.disagreement = QCheckBox("Map of disagreement")
        self.disagreement.setToolTip(
            "Show where the examples disagree, slice by slice. Needs a run with two or more examples used\n"
            "“one by one” (Advanced), or of quality Best."
        )
        self.disagreement.toggled.connect(reviewing.show_disagreement)
        self.export = menu_button("Export", "Save labels with their origin; copy the command that repeats the run.",
                                  self._fill_export)  # fmt: skip
        self._build_clean_up()
        self._build()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REDRAW)
        self._timer.timeout.connect(self._draw)
        self.refresh()

    def set_colors(self, colors: Colors) -> None:
        """Take another theme's colours."""
        self.curve.colors = colors
        self.curve.update()

    def refresh(self) -> None:
        """Show the review as it is now: the buttons at once, the curve soon."""
        review, project = self._reviewing, self._reviewing.bench.project
        for made in (self.next_unsure, self.go_on):
            allow(made, bool(review.confidence), "Run the model first.")
        allow(self.undo, project is not None and project.journal.can_undo, "The model has written nothing yet.")
        allow(self.redo, project is not None and project.journal.can_redo, "Nothing was undone.")
        if not self._timer.isActive():
            self._timer.start()

    def show_position(self, position: int | None) -> None:
        """Follow the slice on display."""
        self.curve.set_current(position)
        self._show_verified(position)
        if self.preview.isChecked():
            self._on_preview()

    def _show_verified(self, position: int | None) -> None:
        verified = position is not None and position in self._reviewing.verified
        self.verify.setText("✓ Verified" if verified else "Verify")

    def _draw(self) -> None:
        review = self._reviewing
        self.curve.show_curve(review.num_slices, review.confidence, review.verified, review.annotated)
        self.curve.set_current(review.bench.position)
        self._show_verified(review.bench.position)
        count = len(review.confidence)
        self.summarize(f"{count} painted · {len(review.verified)} verified" if count or review.verified else "")
        hint = review.hint()
        self.note.setText(hint)
        self.note.setVisible(bool(hint))

    # -- building -------------------------------------------------------------------------------------------------
    def _build(self) -> None:
        first, second = QHBoxLayout(), QHBoxLayout()
        for line, widgets in (
            (first, (self.next_unsure, self.verify)),
            (second, (self.go_on, self.undo, self.redo)),
        ):
            line.setSpacing(6)
            for widget in widgets:
                line.addWidget(widget, 1)
        self.content.addWidget(self.curve)
        self.content.addWidget(self.note)
        self.content.addLayout(first)
        self.content.addLayout(second)
        last = QHBoxLayout()
        last.addWidget(self.disagreement, 1)
        last.addWidget(self.export)
        self.content.addLayout(last)
        what = row("What", self.operation, self.size)
        then = row(" ", self.preview, self.clean_slice, self.clean_all)
        words = "Fill holes, drop small objects, smooth outlines, keep the largest; split objects, or join them."
        self.content.addWidget(Fold("Clean up", words, what, then))

    def _build_clean_up(self) -> None:
        self.operation = choice(OPERATIONS, "What is put right. Examples, verified slices and your painting stay.")
        self.size = QDoubleSpinBox()
        self.size.setRange(0, 1e6)
        self.preview = QCheckBox("Preview")
        self.preview.setToolTip("Show what this slice would become, without changing it.")
        self.clean_slice = button(
            "This slice", "Clean up the slice on display; undo takes it back.", partial(self._clean, everywhere=False)
        )
        self.clean_all = button(
            "All",
            "Clean up every slice that the model painted; undo takes it back.",
            partial(self._clean, everywhere=True),
        )
        self.operation.currentIndexChanged.connect(self._on_operation)
        self.size.valueChanged.connect(lambda _: self._on_preview())
        self.preview.toggled.connect(lambda _: self._on_preview())
        self._reviewing.cleaned.connect(lambda: self.preview.setChecked(False))
        self._on_operation()

    def _on_operation(self) -> None:
        words, value, decimals, suffix = SIZES[self.operation.currentData()]
        self.size.setVisible(bool(words))
        self.size.setToolTip(words.capitalize())
        self.size.setDecimals(decimals)
        self.size.setSingleStep(0.05 if decimals == 2 else 1.0)
        self.size.setSuffix(suffix)
        self.size.setValue(value)
        self._on_preview()

    def _on_preview(self) -> None:
        if self.preview.isChecked():
            self._reviewing.preview(self.operation.currentData(), self.size.value())
        else:
            self._reviewing.end_preview()

    def _clean(self, *, everywhere: bool) -> None:
        self._reviewing.clean_up(self.operation.currentData(), self.size.value(), everywhere=everywhere)

    # -- menus ----------------------------------------------------------------------------------------------------
    def _fill_go_on(self, menu: QMenu) -> None:
        menu.addAction("Use as example and continue onward", partial(self.continue_asked.emit, "onward"))
        menu.addAction("Use as example and continue both ways", partial(self.continue_asked.emit, "both"))

    def _fill_undo(self, menu: QMenu) -> None:
        menu.addAction("Undo the last slice (Shift+U)", partial(self._reviewing.undo, "slice"))
        menu.addAction("Undo the last run", partial(self._reviewing.undo, "run"))

    def _fill_redo(self, menu: QMenu) -> None:
        menu.addAction("Redo the slice (Shift+J)", partial(self._reviewing.redo, "slice"))
        menu.addAction("Redo the run", partial(self._reviewing.redo, "run"))

    def _fill_export(self, menu: QMenu) -> None:
        menu.addAction("Save the labels …", self._save)
        menu.addAction("Save what was tuned …", self._save_key).setEnabled(self._keeping.bench.learned is not None)
        menu.addAction("Copy as command", self._copy).setToolTip(
            "The command line that repeats this run without napari."
        )

    def _save(self) -> None:
        begin = self._keeping.suggested_name("_labels.ome.tif")
        name, chosen = QFileDialog.getSaveFileName(self, "Save the labels", begin, _FORMATS)
        file = labels_file(name, chosen) if name else Path()
        if name and may_replace(self, "Save the labels", [file], Path(name)):
            self._keeping.export(file)

    def _save_key(self) -> None:
        begin = self._keeping.suggested_name("_key.safetensors")
        name, _ = QFileDialog.getSaveFileName(self, "Save what was tuned", begin, "Keys (*.safetensors)")
        if name:
            self._keeping.save_key(name)

    def _copy(self) -> None:
        begin = self._keeping.suggested_name(SUFFIX)
        name, _ = QFileDialog.getSaveFileName(self, "Save the examples that the command uses", begin, _SETS)
        command = self._keeping.command(name) if name else None
        if command is not None:
            QApplication.clipboard().setText(command)
