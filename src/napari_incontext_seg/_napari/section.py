"""`Section`: a step of the dock, with a number and a title, that can be folded away."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget


class Section(QWidget):
    """A header that folds what stands below it; a summary, on the right, can be read when it is folded too."""

    toggled = Signal(bool)

    def __init__(self, title: str, tooltip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._header = QToolButton()
        self._header.setProperty("header", True)
        self._header.setText(title)
        self._header.setToolTip(tooltip)
        self._header.setCheckable(True)
        self._header.setChecked(True)
        self._header.setArrowType(Qt.ArrowType.DownArrow)
        self._header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._header.toggled.connect(self._fold)
        self._summary = QLabel()
        self._summary.setProperty("quiet", True)
        rule = QFrame()
        rule.setProperty("rule", True)
        rule.setFixedHeight(1)
        top = QHBoxLayout()
        top.setContentsMargins(0, 0, 2, 0)
        top.addWidget(self._header, 1)
        top.addWidget(self._summary)
        self._body = QWidget()
        self.content = QVBoxLayout(self._body)
        self.content.setContentsMargins(2, 2, 2, 6)
        self.content.setSpacing(5)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(top)
        layout.addWidget(rule)
        layout.addWidget(self._body)

    def summarize(self, text: str) -> None:
        """Set the summary."""
        self._summary.setText(text)

    @property
    def is_open(self) -> bool:
        """Whether what stands below the header is shown."""
        return self._header.isChecked()

    def set_open(self, is_open: bool) -> None:
        """Fold or unfold."""
        self._header.setChecked(is_open)

    def _fold(self, is_open: bool) -> None:
        self._header.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self._body.setVisible(is_open)
        self.toggled.emit(is_open)
