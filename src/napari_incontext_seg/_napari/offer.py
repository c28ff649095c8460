"""`Offer`: a line that proposes something, with a button to take it and one to leave it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QHBoxLayout, QWidget

from .controls import button, quiet


class Offer(QWidget):
    """Hidden until something is proposed.

    Parameters
    ----------
    text, tooltip
        Of the button that takes the offer.
    on_take
        Called when it is pressed.
    """

    def __init__(self, text: str, tooltip: str, on_take: Callable[[], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._words = quiet()
        self._on_take = on_take
        self.take = button(text, tooltip, self._take)
        self.leave = button("✕", "Leave it.", self.hide)
        self.leave.setFixedWidth(28)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.setSpacing(6)
        layout.addWidget(self._words, 1)
        layout.addWidget(self.take)
        layout.addWidget(self.leave)
        self.hide()

    def propose(self, words: str | None) -> None:
        """Show what is proposed; None: nothing."""
        self._words.setText(words or "")
        self.setVisible(words is not None)

    def _take(self) -> None:
        self.hide()
        self._on_take()
