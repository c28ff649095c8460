"""Step 2: which model paints, how carefully, and where; Run, Cancel, and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QProgressBar,
    QSpinBox,
    QWidget,
)

from ..core.stack import Stack
from ..core.types import Kind
from ..session.settings import RunSettings
from .controls import Fold, button, choice, quiet, row
from .models import FILE, model_choices
from .preferences import preferences
from .section import Section

WHERE = [
    ("Both ways, whole stack", "both"),
    ("Onward from this slice", "onward"),
    ("Back from this slice", "backward"),
    ("Up to the next verified slice", "until_verified"),
    ("This slice", "this"),
    ("Range …", "range"),
]
NAMES = "names"  # beside the kinds: classes that are single objects
KINDS = [("Classes", "semantic"), ("Objects (connected pieces)", "instance"), ("Few objects, by name", NAMES)]
DIRECTIONS = [("from the nearest", "both"), ("from both sides, which meet", "meet")]
QUALITIES = [("Fast", "fast"), ("Balanced", "balanced"), ("Best", "best")]
DEVICES = [("Auto", "auto"), ("CPU", "cpu"), ("CUDA GPU", "cuda"), ("Apple GPU", "mps")]
ENSEMBLES = [("together (feature)", "feature"), ("one by one (none)", "none"), ("side by side (spatial)", "spatial")]


class PropagateSection(Section):
    """The settings of a run; `settings` gives them, ``run_clicked`` and ``cancel_clicked`` ask for one."""

    run_clicked = Signal()
    cancel_clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("2  Propagate", "The model paints in other slices what the examples show.", parent)
        begin = preferences()
        self._key: Path | None = None
        self._last_model = begin.model
        self.where = choice(WHERE, "Which slices are painted. Verified slices and examples are never changed.")
        self.first, self.last = QSpinBox(), QSpinBox()
        self.along = choice([], "Axes to go along; with both, the annotated stack is filled first, then time.")
        self.model = choice(model_choices(), "What paints. The built-in model needs no download and no GPU.")
        self._choose(self.model, begin.model)
        self.kind = choice(
            KINDS,
            "Classes: a label is a class (“nucleus”), and keeps its number.\n"
            "Objects: each object that is painted gets a number of its own, other ones in other slices.\n"
            "Few objects, by name: each label is one object, up to 13, and keeps its number. An object may be\n"
            "annotated in one slice and left out in another.",
        )
        self.quality = choice(
            QUALITIES,
            "Fast: one look at each slice. Best: the mean of several looks, which takes several times as long.",
            begin.quality,
        )
        self.device = choice(DEVICES, "Where the model runs; Auto takes a GPU if there is one.", begin.device)
        self.tune = QCheckBox("Tune")
        self.tune.setToolTip(
            "Before painting, let the model learn from the examples for some seconds. A part of them is held out to\n"
            "judge it: what does not help is not used. What was learned can be saved as a key."
        )
        self.seconds = QSpinBox()
        self.seconds.setRange(5, 3600)
        self.seconds.setValue(60)
        self.seconds.setSuffix(" s")
        self.seconds.setToolTip("How long to tune.")
        self.seconds.setEnabled(False)
        self.tune.toggled.connect(self.seconds.setEnabled)
        self.key = choice([("No key", None), ("Open a key …", FILE)], "What an earlier tuning of this model learned.")
        self._build()
        self.model.activated.connect(self._on_model)
        self.key.activated.connect(self._on_key)
        self.where.currentIndexChanged.connect(self._on_where)
        self._on_where()
        self._lengths: dict[str, int] = {}  # of the axes that slices are counted along
        self.along.currentIndexChanged.connect(self._on_along)
        self.show_stack(None)
        self.show_idle()

    # -- what was chosen ------------------------------------------------------------------------------------------
    def settings(self) -> RunSettings:
        """The settings as a value."""
        where = self.where.currentData()
        return RunSettings(
            model=str(self.model.currentData()),
            device=self.device.currentData(),
            kind="semantic" if self.kind.currentData() == NAMES else self.kind.currentData(),
            quality=self.quality.currentData(),
            ensemble=self.ensemble.currentData(),
            memory=self.memory.value(),
            num_examples=self.num_examples.value() or None,
            select=self.select.currentData(),
            tune_seconds=float(self.seconds.value()) if self.tune.isChecked() and self._key is None else None,
            key=self._key,
            where=where,
            span=(self.first.value(), self.last.value() + 1) if where == "range" else None,
            along=self.along.currentData() if self.along.count() else None,
            direction=self.direction.currentData(),
            names=self.kind.currentData() == NAMES,
        )

    def go(self, where: str) -> None:
        """Choose which slices are painted."""
        self.where.setCurrentIndex(self.where.findData(where))

    def show_settings(self, settings: RunSettings) -> None:
        """Fill the form with settings, such as those of a session that is restored."""
        self._choose(self.model, settings.model)
        kind = NAMES if settings.names else settings.kind
        for box, value in (
            (self.device, settings.device), (self.kind, kind), (self.quality, settings.quality),
            (self.ensemble, settings.ensemble), (self.select, settings.select), (self.where, settings.where),
            (self.direction, settings.direction), (self.along, settings.along),
        ):  # fmt: skip
            box.setCurrentIndex(max(box.findData(value), 0))
        self.memory.setValue(settings.memory)
        self.num_examples.setValue(settings.num_examples or 0)
        self.tune.setChecked(settings.tune_seconds is not None)
        if settings.tune_seconds is not None:
            self.seconds.setValue(round(settings.tune_seconds))
        self._set_key(settings.key)
        if settings.span is not None:
            self.first.setValue(settings.span[0])
            self.last.setValue(settings.span[1] - 1)

    def show_kind(self, kind: Kind) -> None:
        """Choose what labels are: the first example tells, and a person may know better. That they are names stays."""
        if self.kind.currentData() == NAMES and kind == "semantic":
            return
        self.kind.setCurrentIndex(self.kind.findData(kind))

    def show_stack(self, stack: Stack | None) -> None:
        """Offer the slices and axes of a stack."""
        axes = "" if stack is None else stack.plane_axes
        self._lengths = {} if stack is None else dict(zip(axes, stack.grid, strict=True))
        self.along.clear()
        if len(axes) > 1:
            self.along.addItem(" and ".join(axes), None)
            for axis in axes:
                self.along.addItem(f"{axis} only", axis)
        self._along_row.setVisible(len(axes) > 1)
        self._on_along()

    # -- how far it is --------------------------------------------------------------------------------------------
    def show_idle(self) -> None:
        """No run is under way."""
        self.run.setText("Run")
        self.run.setEnabled(True)
        self.cancel.setEnabled(False)
        self.bar.hide()
        self.note.setVisible(bool(self.note.text()))

    def show_running(self) -> None:
        """A run has begun: nothing is known of it yet."""
        self.run.setEnabled(False)
        self.cancel.setEnabled(True)
        self.bar.setRange(0, 0)
        self.bar.setFormat("")
        self.bar.show()
        self.say("loading the model …")

    def show_cancelling(self) -> None:
        """Cancel was pressed."""
        self.cancel.setEnabled(False)
        self.say("cancelling …")

    def show_progress(self, done: int, total: int, seconds_left: float) -> None:
        """How many slices are done, and how long the others will take (below 0: not known yet)."""
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        left = f" · {_duration(seconds_left)} left" if seconds_left >= 0 and done < total else ""
        self.say(f"{done} of {total} slices{left}")

    def show_share(self, share: float) -> None:
        """How much of the preparation (download, tuning) is done, 0 to 1."""
        self.bar.setRange(0, 100)
        self.bar.setValue(round(100 * share))

    def say(self, text: str) -> None:
        """A line below the progress bar."""
        self.note.setText(text)
        self.note.setVisible(bool(text))

    # -- building -------------------------------------------------------------------------------------------------
    def _build(self) -> None:
        for spin, words in ((self.first, "First slice of the range."), (self.last, "Last slice of the range.")):
            spin.setToolTip(words)
        self._range_row = row("From, to", self.first, self.last)
        self._along_row = row("Along", self.along)
        self.run = button(
            "Run",
            "Paint the chosen slices (Shift+R). Each appears when it is done.",
            self.run_clicked.emit,
            primary=True,
        )
        self.cancel = button("Cancel", "Stop (Shift+R). Finished slices are kept.", self.cancel_clicked.emit)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.note = quiet()
        buttons = QHBoxLayout()
        buttons.addWidget(self.run, 2)
        buttons.addWidget(self.cancel, 1)
        self.ensemble = choice(
            ENSEMBLES,
            "How several examples are used. One by one also tells where they disagree.\n"
            "Side by side is for SegGPT models only.",
        )
        self.memory = QSpinBox()
        self.memory.setRange(0, 8)
        self.memory.setToolTip("How many of the last painted slices are shown to the model as further examples.")
        self.num_examples = QSpinBox()
        self.num_examples.setRange(0, 64)
        self.num_examples.setSpecialValueText("all")
        self.num_examples.setToolTip("How many examples are shown for one slice.")
        self.select = choice([("nearest", "nearest"), ("most similar", "similar")], "Which examples are shown.")
        self.direction = choice(
            DIRECTIONS,
            "How slices between two examples are reached. From both sides: each paints what its own examples show;\n"
            "where they differ, the surer one is taken, and the map of disagreement shows it. Takes twice as long.",
        )
        advanced = Fold(
            "Advanced", "How several examples are used, and memory of painted slices.",
            row("Join", self.ensemble), row("Show", self.num_examples, self.select), row("Memory", self.memory),
            row("Between", self.direction),
        )  # fmt: skip
        self.more = Fold(
            "", "The model and how carefully it paints. The defaults need no download and no GPU.",
            row("Model", self.model), row("Paint", self.kind), row("Quality", self.quality, self.device),
            row("Learn", self.tune, self.seconds), row("Key", self.key), advanced,
        )  # fmt: skip
        for widget in (row("Where", self.where), self._range_row, self._along_row, self.more):
            self.content.addWidget(widget)
        self.content.addLayout(buttons)
        self.content.addWidget(self.bar)
        self.content.addWidget(self.note)
        for box in (self.model, self.kind, self.quality, self.device, self.key):
            box.currentIndexChanged.connect(self._summarize)
        self.tune.toggled.connect(self._summarize)
        self._summarize()

    def _summarize(self) -> None:
        """Say in one line what the settings are."""
        learn = "key" if self._key is not None else f"tuned {self.seconds.value()} s" if self.tune.isChecked() else ""
        words = (self.model.currentText(), self.kind.currentText(), self.quality.currentText())
        short = [w.split(" (")[0].lower() for w in words]
        self.more.set_text(" · ".join([*short, *([learn] if learn else [])]))

    # -- reactions ------------------------------------------------------------------------------------------------
    def _on_where(self) -> None:
        self._range_row.setVisible(self.where.currentData() == "range")

    def _on_along(self) -> None:
        """The range is along the first axis that is travelled."""
        axis = self.along.currentData() or next(iter(self._lengths), "")
        last = self._lengths.get(axis, 1) - 1
        for spin in (self.first, self.last):
            spin.setRange(0, last)
        self.last.setValue(last)

    def _on_model(self) -> None:
        if self.model.currentData() != FILE:
            self._last_model = self.model.currentData()
            return
        name, _ = QFileDialog.getOpenFileName(self, "Open weights", "", "Weights (*.safetensors *.pth *.pt);;All (*)")
        self._choose(self.model, name or self._last_model)

    def _on_key(self) -> None:
        if self.key.currentData() == FILE:
            name, _ = QFileDialog.getOpenFileName(self, "Open a key", "", "Keys (*.safetensors);;All (*)")
            self._set_key(Path(name) if name else self._key)
        else:
            self._set_key(self.key.currentData())

    def _set_key(self, key: Path | None) -> None:
        """Use the key of a file, or none."""
        self._key = key
        if key is not None and self.key.findData(key) < 0:
            self.key.insertItem(1, key.stem, key)
        self.key.setCurrentIndex(0 if key is None else self.key.findData(key))
        self.tune.setEnabled(key is None)
        self._summarize()

    @staticmethod
    def _choose(box: QComboBox, value: Any) -> None:
        """Choose a model; one that is not in the list is a file, and joins it."""
        if box.findData(value) < 0:
            box.insertItem(box.count() - 1, f"file: {Path(str(value)).name}", value)
        box.setCurrentIndex(box.findData(value))


def _duration(seconds: float) -> str:
    """``75`` -> ``1 min 15 s``."""
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
