"""`LayerChoice`: which image is worked on, and which labels layer takes what is painted."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QLineEdit, QVBoxLayout, QWidget

from ..core.example_set import ExampleSet
from ..errors import InputError
from .controls import button, choice_of_layers, row
from .layers import guess_letters
from .notices import told
from .workbench import Workbench


class LayerChoice(QWidget):
    """Two lists that follow the viewer's layers, and a button that makes a new labels layer.

    ``made`` tells that one was made, with the examples of the work before.
    """

    made = Signal(object)

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.image = choice_of_layers("The image: a stack, a time-lapse or both; grey, RGB or of several channels.")
        self.labels = choice_of_layers("The labels layer that you paint in, and that the model writes to.")
        self.new = button("New", "Make an empty labels layer that lies exactly where the image does.", self._make)
        self.new.setFixedWidth(52)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.setSpacing(5)
        self.axes = QLineEdit()
        self.axes.setFixedWidth(52)
        self.axes.setToolTip(
            "What the image's axes are, one letter each: z, t, y, x; c for channels (not slices). Another order of\n"
            "letters begins the work anew."
        )
        self.channels = QLineEdit()
        self.channels.setToolTip("Channels that the model looks at, up to three, such as 0,2.")
        self._channels_row = row("Channels", self.channels)
        layout.addWidget(row("Image", self.image, self.axes))
        layout.addWidget(self._channels_row)
        layout.addWidget(row("Labels", self.labels, self.new))
        self.axes.editingFinished.connect(self._on_axes)
        self.channels.editingFinished.connect(self._on_axes)
        bench.opened.connect(self._show_axes)
        self.image.activated.connect(self._on_image)
        self.labels.activated.connect(self._on_labels)
        for event in self._events():
            event.connect(self._on_layers)

    def let_go(self) -> None:
        """Follow the viewer's layers no longer."""
        for event in (*self._events(), *self._layer_events()):
            event.disconnect(self._on_layers)

    def _events(self) -> tuple[Any, ...]:
        events = self._bench.viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def _layer_events(self) -> list[Any]:
        layers = [layer for layer in self._bench.viewer.layers if isinstance(layer, Image | Labels)]
        return [layer.events.data for layer in layers]

    def _on_layers(self, _: Any = None) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Offer the layers that are there now; what is worked on stays, if it is still there."""
        bench = self._bench
        image = bench.view.layer if bench.view is not None else None
        labels = bench.planes.layer if bench.planes is not None else None
        for event in self._layer_events():
            event.connect(self._on_layers)  # once, however often
        bench.close_replaced()
        images = bench.images()
        if image not in images:
            image, labels = images[-1] if images else None, None
        fitting = bench.fitting_labels(image) if image is not None else []
        if labels not in fitting:
            labels = bench.usual_labels(image) if image is not None else None
        _fill(self.image, images, image, "open an image first")
        _fill(self.labels, fitting, labels, "none yet: press New" if image is not None else "")
        self.new.setEnabled(image is not None)
        bench.open(image, labels)

    def _show_axes(self) -> None:
        """Show what the axes are taken for, and the channels, if there are any."""
        view = self._bench.view
        letters = "" if view is None else self._bench.axes.get(view.layer) or guess_letters(view.layer)
        self.axes.setText(letters)
        self.axes.setEnabled(view is not None)
        used = [] if view is None or "c" not in letters else view.stack.used_channels
        self.channels.setText(",".join(str(c) for c in used))
        self._channels_row.setVisible(bool(used))

    def _on_axes(self) -> None:
        if not (self.axes.isModified() or self.channels.isModified()):
            return
        with told("naming the axes"):
            letters = self.axes.text().strip().lower()
            self._bench.name_axes(letters, _numbers(self.channels.text()) if "c" in letters else None)
            self.refresh()
        self._show_axes()

    def _make(self) -> None:
        with told("making labels"):
            image, project = self.image.currentData(), self._bench.project
            examples = project.examples if project is not None else ExampleSet()
            labels = self._bench.make_labels(image)
            self._bench.open(image, labels)
            self.refresh()
            self.made.emit(examples)

    def _on_image(self) -> None:
        self._bench.open(self.image.currentData(), None)
        self.refresh()

    def _on_labels(self) -> None:
        self._bench.open(self.image.currentData(), self.labels.currentData())
        self.refresh()


def _numbers(text: str) -> tuple[int, ...] | None:
    """``"0,2"`` -> (0, 2); None for nothing."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else None
    except ValueError as error:
        raise InputError(f"channels are numbers such as 0,2; got {text!r}.") from error


def _fill(box: QComboBox, layers: list[Any], chosen: Any, nothing: str) -> None:
    """Offer layers by name, which tooltips show whole; ``nothing`` is what to read while none is chosen."""
    box.clear()
    for number, layer in enumerate(layers):
        box.addItem(layer.name, layer)
        box.setItemData(number, layer.name, Qt.ItemDataRole.ToolTipRole)
    if chosen not in layers:
        box.insertItem(0, nothing, None)
    box.setEnabled(bool(layers))
    box.setCurrentIndex(layers.index(chosen) if chosen in layers else 0)
