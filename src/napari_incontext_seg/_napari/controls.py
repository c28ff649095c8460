"""Small pieces that the sections are made of: buttons, choices, rows of a form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QMenu, QPushButton, QSizePolicy, QToolButton, QWidget

LABEL_WIDTH = 62  # pixels: rows of a form line up across sections


def button(text: str, tooltip: str, on_click: Callable[[], Any], *, primary: bool = False) -> QPushButton:
    """A push button."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setProperty("primary", primary)
    made.clicked.connect(lambda _=False: on_click())
    return made


def menu_button(text: str, tooltip: str, fill: Callable[[QMenu], None]) -> QToolButton:
    """A button that opens a menu, filled anew each time."""
    made = QToolButton()
    made.setText(text)
    made.setToolTip(tooltip)
    made.setProperty("menu", True)
    made.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
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
    made.setMinimumContentsLength(6)
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    for text, data in options:
        made.addItem(text, data)
    if value is not None:
        made.setCurrentIndex(max(made.findData(value), 0))
    return made


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
