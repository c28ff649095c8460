"""`TrackWatch`: sees what people do to tracked labels with brushes and scripts, so that the table stays true."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from .notices import told
from .tracks_sight import Outcome

SETTLE = 200  # ms after the last brush stroke, when the table follows


class TrackWatch(QObject):
    """Watches the labels of an `Outcome`.

    ``painted`` gives the frames in which somebody painted, when the table is up to date again; ``replaced`` tells that
    there is other data in the layer, ``resized`` that it has another shape; ``selected`` gives a label.
    """

    painted = Signal(list)
    replaced = Signal()
    resized = Signal()
    selected = Signal(int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.stale = False  # other data was put into the layer, and is not measured yet
        self._out: Outcome | None = None
        self._dims: Any = None
        self._hushed = False
        self._dirty: set[int] = set()  # frames to be measured
        self._strokes: set[int] = set()  # frames in which a brush was used, so that napari's undo may change them
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SETTLE)
        self._soon.timeout.connect(self.take_in)

    @property
    def touched(self) -> bool:
        """Whether somebody painted since the watch began."""
        return bool(self._strokes)

    @contextmanager
    def hushed(self) -> Iterator[None]:
        """Within the block what happens to the layers is this dock's doing."""
        before, self._hushed = self._hushed, True
        try:
            yield
        finally:
            self._hushed = before

    @property
    def quiet(self) -> bool:
        """Whether what happens now is this dock's doing."""
        return self._hushed

    def begin(self, out: Outcome, dims: Any) -> None:
        """Watch the labels of an outcome."""
        self.end()
        self._out, self._dims = out, dims
        for event, slot in self._slots(out):
            event.connect(slot)

    def end(self) -> None:
        """Watch no more."""
        self._soon.stop()
        if self._out is not None:
            for event, slot in self._slots(self._out):
                event.disconnect(slot)
        self._out, self.stale = None, False
        self._dirty.clear()
        self._strokes.clear()

    def take_in(self, *, all_strokes: bool = False) -> None:
        """Bring the table up to date with what was painted; else it happens a moment after the last stroke.

        With ``all_strokes`` all frames are measured in which somebody painted, as napari's undo does not tell where it
        took a stroke back.
        """
        frames, self._dirty = sorted(self._dirty | (self._strokes if all_strokes else set())), set()
        self._soon.stop()
        if self._out is None or not frames or self.stale:
            return
        with told("taking in what was painted"):
            before = self._out.editor.tracks
            self._out.editor.take_in(frames)
            now = self._out.editor.tracks
            if len(before) != len(now) or (before.track != now.track).any() or (before.area != now.area).any():
                self.painted.emit(frames)

    # -- what the layer tells -------------------------------------------------------------------------------------
    def _slots(self, out: Outcome) -> list[tuple[Any, Any]]:
        events = out.labels.events
        return [
            (events.paint, self._on_paint), (events.set_data, self._on_drawn), (events.data, self._on_data),
            (events.selected_label, self._on_selected),
        ]  # fmt: skip

    def _on_paint(self, event: Any) -> None:
        if self._hushed:
            return
        frames: set[int] = set()
        for atom in event.value:
            box = getattr(atom, "slice_key", None)  # napari 0.9: a box and a mask in it; before, indices
            first = range(box[0].start, box[0].stop) if box is not None else np.unique(np.asarray(atom[0][0]))
            frames.update(int(t) for t in first)
        self._strokes |= frames
        self._dirty |= frames
        self._soon.start()

    def _on_drawn(self, _: Any = None) -> None:
        """The labels were drawn anew: perhaps napari's undo took back a stroke."""
        if self._hushed or self._out is None or not self._strokes:
            return
        frame = self._out.frame(self._dims)
        if frame is not None and frame in self._strokes:
            self._dirty.add(frame)
            self._soon.start()

    def _on_data(self, _: Any = None) -> None:
        if self._hushed or self._out is None:
            return
        if tuple(self._out.labels.data.shape) != tuple(self._out.view.stack.data.shape):
            self.resized.emit()
        else:
            self.stale = True
            self.replaced.emit()

    def _on_selected(self, _: Any = None) -> None:
        if not self._hushed and self._out is not None:
            self.selected.emit(int(self._out.labels.selected_label))
