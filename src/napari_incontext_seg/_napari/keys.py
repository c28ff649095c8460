"""Keys, bound in code to the layers that are worked on, and on the dock itself; none that napari uses there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari.layers import Layer


@dataclass(frozen=True)
class Key:
    """One key: as napari writes it, and what it does."""

    sequence: str
    name: str
    words: str


KEYS = (
    Key("Shift-A", "add_slice", "add the slice on display to the examples"),
    Key("Shift-R", "run_or_cancel", "run; while it runs: cancel"),
    Key("Shift-N", "next_unsure", "go to the slice that the model is least sure of"),
    Key("Shift-Y", "verify", "this slice is right: lock it; again: unlock it"),
    Key("Shift-U", "undo", "undo the slice that the model wrote last"),
    Key("Shift-J", "redo", "redo it"),
)
TRACK_KEYS = (
    Key("Shift-N", "next_doubtful", "go to the link that is least sure"),
    Key("Shift-Y", "confirm", "confirm the link into this frame"),
    Key("Shift-M", "merge", "merge the two tracks"),
    Key("Shift-S", "split", "split: from this frame on a new track"),
    Key("Shift-D", "delete", "delete the track"),
    Key("Shift-R", "relink", "relink: from this frame on it is the other track"),
    Key("Shift-W", "swap", "swap the two tracks from this frame on"),
    Key("Shift-B", "divide", "division: the first track is the mother of the others"),
    Key("Shift-U", "undo", "undo the last edit"),
    Key("Shift-J", "redo", "redo it"),
)
Actions = dict[str, Callable[[], Any]]


def bind(layer: Layer, actions: Actions, keys: Sequence[Key] = KEYS) -> None:
    """Bind the keys to a layer: they work while it is selected and the canvas has the focus."""
    for key in keys:
        layer.bind_key(key.sequence, _calling(actions[key.name]), overwrite=True)


def unbind(layer: Layer, keys: Sequence[Key] = KEYS) -> None:
    """Take the keys from a layer."""
    for key in keys:
        layer.bind_key(key.sequence, None, overwrite=True)


def bind_dock(dock: QWidget, actions: Actions, keys: Sequence[Key] = KEYS) -> None:
    """Bind the keys to the dock: they work while the focus is in it."""
    for key in keys:
        shortcut = QShortcut(QKeySequence(key.sequence.replace("-", "+")), dock)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(actions[key.name])


def _calling(action: Callable[[], Any]) -> Callable[[Any], None]:
    def call(_: Any) -> None:
        action()

    return call
