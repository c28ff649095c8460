"""Small pieces that the sections are made of: buttons, choices, rows of a form, folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

LABEL_WIDTH = 72  # pixels: rows of a form line up across sections


def button(text: str, tooltip: str, on_click: Callable[[], Any], *, primary: bool = False) -> QPushButton:
    """A push button."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setProperty("primary", primary)
    made.clicked.connect(lambda _=False: on_click())
    return made


def allow(made: QAbstractButton, allowed: bool, lacking: str) -> None:
    """Enable a button; where it is not, the tooltip says what is lacking."""
    words = made.property("words") or made.toolTip()
    made.setProperty("words", words)
    made.setEnabled(allowed)
    made.setToolTip(words if allowed else f"{words}\n{lacking}")


def menu_button(text: str, tooltip: str, fill: Callable[[QMenu], None]) -> QPushButton:
    """A button that opens a menu, filled anew each time."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    menu = QMenu(made)
    menu.setToolTipsVisible(True)

    def refill() -> None:
        menu.clear()
        fill(menu)

    menu.aboutToShow.connect(refill)
    made.setMenu(menu)
    return made


def choice(options: Sequence[tuple[str, Any]], tooltip: str, value: Any = None) -> QComboBox:
    """A list to choose from: what is read, and what it means."""
    made = QComboBox()
    made.setToolTip(tooltip)
    made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    made.setMinimumContentsLength(5)
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    for text, data in options:
        made.addItem(text, data)
    if value is not None:
        made.setCurrentIndex(max(made.findData(value), 0))
    return made


def choice_of_layers(tooltip: str) -> QComboBox:
    """A list of layers to choose from, whose tooltip shows the whole name of the one that is chosen."""
    made = choice([], tooltip)
    made.currentTextChanged.connect(lambda name: made.setToolTip(f"{name}\n{tooltip}"))
    return made


class Fold(QWidget):
    """A quiet line that shows and hides what stands below it; closed at first."""

    def __init__(self, text: str, tooltip: str, *rows: QWidget) -> None:
        super().__init__()
        self._line = QToolButton()
        self._line.setProperty("fold", True)
        self._line.setCheckable(True)
        self._line.setToolTip(tooltip)
        self._line.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._line.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._body = QWidget()
        inner = QVBoxLayout(self._body)
        inner.setContentsMargins(0, 0, 0, 2)
        inner.setSpacing(5)
        for each in rows:
            inner.addWidget(each)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._line)
        layout.addWidget(self._body)
        self._line.toggled.connect(self._show)
        self.set_text(text)
        self._show(False)

    def set_text(self, text: str) -> None:
        """What the line says."""
        self._line.setText(text)

    def set_open(self, is_open: bool) -> None:
        """Show or hide."""
        self._line.setChecked(is_open)

    def _show(self, is_open: bool) -> None:
        self._line.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self._body.setVisible(is_open)


def quiet(text: str = "") -> QLabel:
    """A label in a muted colour, for notes."""
    made = QLabel(text)
    made.setProperty("quiet", True)
    made.setWordWrap(True)
    return made


def row(label: str, *widgets: QWidget) -> QWidget:
    """A row of a form: a label of fixed width, then widgets that share the rest."""
    made = QWidget()
    layout = QHBoxLayout(made)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    if label:
        text = QLabel(label)
        text.setFixedWidth(LABEL_WIDTH)
        text.setToolTip(widgets[0].toolTip())
        layout.addWidget(text)
    for widget in widgets:
        layout.addWidget(widget)
    return made
