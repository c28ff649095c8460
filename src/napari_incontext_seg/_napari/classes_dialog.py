"""`ClassesDialog`: what the labels mean: names, colours, and which one stands for "not annotated"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QColorDialog,
    QDialog,
    QDialogButtonBox,
    QFrame,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from .controls import quiet

Rgb = tuple[float, float, float]
_HEIGHT = 320  # pixels


class ClassesDialog(QDialog):
    """Asks for a name and a colour for each label; names are for people, and go into files and keys.

    Parameters
    ----------
    ids
        The labels.
    names, colors
        What they are called now, and the colours that were chosen.
    shown
        The colours of the others.
    ignore_label
        The label of pixels that are not annotated, None if there is none.
    """

    def __init__(
        self,
        ids: Sequence[int],
        names: Mapping[int, str],
        colors: Mapping[int, Rgb],
        shown: Mapping[int, Rgb],
        ignore_label: int | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Labels")
        self._fields: dict[int, QLineEdit] = {}
        self._colors, self._shown = dict(colors), dict(shown)
        body = QWidget()
        grid = QGridLayout(body)
        for line, i in enumerate(ids):
            swatch = QPushButton()
            swatch.setFixedWidth(32)
            swatch.setToolTip("Choose the colour of this label")
            self._paint(swatch, i)
            swatch.clicked.connect(lambda _=False, b=swatch, k=i: self._choose(b, k))
            field = QLineEdit(names.get(i, ""))
            field.setPlaceholderText("name, such as “nucleus”")
            field.setToolTip("What this label is called")
            self._fields[i] = field
            for column, widget in enumerate((QLabel(f"label {i}"), swatch, field)):
                grid.addWidget(widget, line, column)
        self.ignore = QSpinBox()
        self.ignore.setRange(-1, 2**31 - 1)
        self.ignore.setSpecialValueText("none")
        self.ignore.setValue(-1 if ignore_label is None else ignore_label)
        self.ignore.setToolTip(
            "Pixels with this label say nothing: the model is not shown them, and paints there.\n"
            "With 0 all that you did not paint is unknown; then paint some background with a label of its own."
        )
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(quiet("Names and colours of the labels in the examples."))
        layout.addWidget(_scrolled(body))
        layout.addWidget(quiet("For scribbles: the label that means “not annotated”."))
        layout.addWidget(self.ignore)
        layout.addWidget(buttons)

    @property
    def names(self) -> dict[int, str]:
        """The names that were given."""
        return {i: field.text().strip() for i, field in self._fields.items() if field.text().strip()}

    @property
    def colors(self) -> dict[int, Rgb]:
        """The colours that were chosen, now or before: red, green, blue in [0, 1]."""
        return dict(self._colors)

    @property
    def ignore_label(self) -> int | None:
        """The label of pixels that are not annotated."""
        return None if self.ignore.value() < 0 else int(self.ignore.value())

    def set_name(self, label: int, name: str) -> None:
        """Fill in a name."""
        self._fields[label].setText(name)

    def set_color(self, label: int, color: Rgb) -> None:
        """Fill in a colour."""
        self._colors[label] = color

    def _choose(self, swatch: QPushButton, label: int) -> None:
        chosen = QColorDialog.getColor(self._color(label), self, f"Colour of label {label}")
        if chosen.isValid():
            self._colors[label] = (chosen.redF(), chosen.greenF(), chosen.blueF())
            self._paint(swatch, label)

    def _paint(self, swatch: QPushButton, label: int) -> None:
        picture = QPixmap(18, 18)
        picture.fill(self._color(label))
        swatch.setIcon(QIcon(picture))

    def _color(self, label: int) -> QColor:
        return QColor.fromRgbF(*self._colors.get(label, self._shown.get(label, (0.5, 0.5, 0.5))))


def _scrolled(body: QWidget) -> QScrollArea:
    """As high as ``body``, but no higher than fits a laptop's screen."""
    area = QScrollArea()
    area.setWidget(body)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setMinimumWidth(body.sizeHint().width() + area.verticalScrollBar().sizeHint().width())
    area.setMinimumHeight(min(body.sizeHint().height(), _HEIGHT))
    return area
