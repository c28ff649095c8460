"""`LeavingDock`: a dock that lets go of everything when napari takes it away."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget


class LeavingDock(QWidget):
    """A dock that is closed for good.

    napari only takes its parent away. Then it would live on in the keys of layers, and be taken apart by Python's
    garbage collector some day, which Qt does not survive.
    """

    def event(self, event: QEvent) -> bool:
        """See that the parent is taken away."""
        done = bool(super().event(event))
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.let_go()
            self.deleteLater()
        return done

    def let_go(self) -> None:
        """Take keys from layers and stop what is under way."""
