"""`LeavingDock`: what both docks have in common: they scroll, and let go of everything when napari takes them away."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget


class LeavingDock(QWidget):
    """A dock that is closed for good.

    napari only takes its parent away. Then it would live on in the keys of layers, and be taken apart by Python's
    garbage collector some day, which Qt does not survive.
    """

    def scroll(self, body: QWidget) -> None:
        """Fill the dock with ``body``, scrolled up and down where there is little room."""
        area = QScrollArea()
        area.setWidget(body)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)

    def event(self, event: QEvent) -> bool:
        """See that the parent is taken away."""
        done = bool(super().event(event))
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.let_go()
            self.deleteLater()
        return done

    def let_go(self) -> None:
        """Take keys from layers and stop what is under way."""
