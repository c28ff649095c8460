"""`LineageView`: the lineage, drawn in the colours of the labels; a click goes to a track and frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from ..core.tracks import Tracks
from ..io.lineage import lineage_order
from .theme import Colors

ROW = 14  # pixels a track
_LEFT, _RIGHT, _AXIS = 10, 44, 20
_LINE = 4
_TICKS = 6
APART = 0.25  # difference in lightness between a line and the background, at least


class LineageView(QAbstractScrollArea):
    """Time to the right, a line a track, forks where cells divide. Only what is in view is drawn.

    ``went`` gives the track and frame that were clicked, and whether Shift was held.
    """

    went = Signal(int, int, bool)

    def __init__(self, colors: Colors, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.colors = colors
        self.color_of: Callable[[int], Any] = lambda _: None  # RGBA in [0, 1] of a label
        self._tracks: Tracks | None = None
        self._order: list[int] = []
        self._row: dict[int, int] = {}
        self._chosen: tuple[int, ...] = ()
        self._frame: int | None = None
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        self.setToolTip("The lineage: time to the right, forks where cells divide. Click: go to that track and frame.")

    # -- what is shown --------------------------------------------------------------------------------------------
    def show_tracks(self, tracks: Tracks | None, only: Sequence[int] | None = None) -> None:
        """Show other tracks, all or only some of them."""
        self._tracks = tracks
        order = lineage_order(tracks) if tracks is not None else []
        wanted = set(only) if only is not None else None
        self._order = [track for track in order if wanted is None or track in wanted]
        self._row = {track: k for k, track in enumerate(self._order)}
        self._set_range()
        self.viewport().update()

    def show_choice(self, tracks: Sequence[int]) -> None:
        """Mark tracks, and bring the first into view."""
        self._chosen = tuple(tracks)
        if self._chosen and self._chosen[0] in self._row:
            y, bar, page = self._row[self._chosen[0]] * ROW, self.verticalScrollBar(), self._page()
            if not bar.value() <= y <= bar.value() + page - ROW:
                bar.setValue(max(0, y - page // 2))
        self.viewport().update()

    def show_frame(self, frame: int | None) -> None:
        """Mark the frame on display."""
        self._frame = frame
        self.viewport().update()

    @property
    def rows(self) -> list[int]:
        """The tracks that are shown, from top to bottom."""
        return list(self._order)

    def place(self, track: int, frame: int) -> QPointF:
        """Where a track is in a frame, in the viewport."""
        return QPointF(self._x(frame + 0.5), self._y(track))

    def at(self, spot: QPointF) -> tuple[int, int] | None:
        """The track and frame at a place of the viewport; None where there is none."""
        row = int((spot.y() + self.verticalScrollBar().value()) // ROW)
        if self._tracks is None or not 0 <= row < len(self._order) or spot.y() >= self._page():
            return None
        track = self._order[row]
        frame = int((spot.x() - _LEFT) / self._step())
        frames = self._tracks.frame[self._tracks.rows(track)]
        return track, int(frames[np.abs(frames - frame).argmin()])

    def sizeHint(self) -> QSize:
        """Small: it takes what the dock has left."""
        return QSize(200, self.minimumHeight())

    # -- painting -------------------------------------------------------------------------------------------------
    def _count(self) -> int:
        return int(self._tracks.frame.max(initial=0)) + 1 if self._tracks is not None else 1

    def _step(self) -> float:
        return max(1e-3, (self.viewport().width() - _LEFT - _RIGHT) / self._count())

    def _x(self, frame: float) -> float:
        return _LEFT + frame * self._step()

    def _y(self, track: int) -> float:
        return (self._row[track] + 0.5) * ROW - self.verticalScrollBar().value()

    def _page(self) -> int:
        return max(1, int(self.viewport().height()) - _AXIS)

    def _set_range(self) -> None:
        bar, page = self.verticalScrollBar(), self._page()
        bar.setPageStep(page)
        bar.setSingleStep(ROW)
        bar.setRange(0, max(0, len(self._order) * ROW - page))

    def resizeEvent(self, _: Any) -> None:
        """Keep the scroll bar true."""
        self._set_range()

    def scrollContentsBy(self, *_: int) -> None:
        """Draw what has come into view."""
        self.viewport().update()

    def paintEvent(self, _: Any) -> None:
        """Draw what is in view."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.viewport().rect(), self.colors.background)
        if self._tracks is None or not self._order:
            painter.setPen(self.colors.muted)
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, "no tracks to draw")
            painter.end()
            return
        self._draw_axis(painter)
        painter.setClipRect(0, 0, self.viewport().width(), self._page())
        top = self.verticalScrollBar().value()
        in_view = range(max(0, top // ROW - 1), min(len(self._order), (top + self._page()) // ROW + 2))
        shown = [self._order[k] for k in in_view]
        for track in shown:
            self._draw_forks(painter, track, in_view)
        for track in shown:
            self._draw_track(painter, track)
        painter.end()

    def _draw_axis(self, painter: QPainter) -> None:
        count, page = self._count(), self._page()
        every = max(1, -(-count // _TICKS))
        for frame in range(0, count, every):
            x = self._x(frame + 0.5)
            painter.setPen(QPen(self.colors.foreground, 1))
            painter.drawLine(QPointF(x, 0), QPointF(x, page + 3))
            painter.setPen(self.colors.muted)
            painter.drawText(QRectF(x - 30, page + 2, 60, _AXIS - 2), Qt.AlignmentFlag.AlignCenter, str(frame))
        if self._frame is not None and self._frame < count:
            painter.setPen(QPen(self.colors.annotated, 1, Qt.PenStyle.DashLine))
            x = self._x(self._frame + 0.5)
            painter.drawLine(QPointF(x, 0), QPointF(x, page))

    def line_color(self, track: int) -> QColor:
        """The colour of a track's label, made lighter or darker where it would be lost in the background."""
        color = self.color_of(track)
        if color is None:
            return QColor(self.colors.accent)
        made, ground = QColor.fromRgbF(*(float(c) for c in color[:3])), self.colors.background.lightnessF()
        if abs(made.lightnessF() - ground) < APART:
            made.setHslF(max(made.hslHueF(), 0.0), made.hslSaturationF(), ground + (APART if ground < 0.5 else -APART))
        return made

    def _pen(self, track: int, width: float) -> QPen:
        pen = QPen(self.line_color(track), width)
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        return pen

    def _draw_forks(self, painter: QPainter, track: int, in_view: range) -> None:
        """Lines from a track to its daughters, and to its mother where that is out of view."""
        assert self._tracks is not None
        pairs = [(track, child) for child in self._tracks.children(track)]
        pairs += [(p, track) for p in self._tracks.parents.get(track, ()) if self._row.get(p, -1) not in in_view]
        for mother, child in pairs:
            if mother in self._row and child in self._row:
                x = self._x(self._tracks.end(mother) + 1)
                painter.setPen(self._pen(child, 1.5))
                points = [QPointF(x, self._y(mother)), QPointF(x, self._y(child))]
                painter.drawPolyline([*points, QPointF(self._x(self._tracks.begin(child)), self._y(child))])

    def _draw_track(self, painter: QPainter, track: int) -> None:
        assert self._tracks is not None
        y, tracks = self._y(track), self._tracks
        begin, end = self._x(tracks.begin(track)), self._x(tracks.end(track) + 1)
        if track in self._chosen:
            painter.fillRect(QRectF(0, y - ROW / 2, self.viewport().width(), ROW), self.colors.foreground)
        painter.setPen(self._pen(track, _LINE))
        painter.drawLine(QPointF(begin, y), QPointF(end, y))
        for before, after in tracks.gaps(track):
            gap = QRectF(self._x(before + 1), y - ROW / 2, self._x(after) - self._x(before + 1), ROW)
            painter.fillRect(gap, self.colors.foreground if track in self._chosen else self.colors.background)
            painter.setPen(self._pen(track, 1))
            painter.drawLine(QPointF(gap.left(), y), QPointF(gap.right(), y))
        painter.setPen(self.colors.text if track in self._chosen else self.colors.muted)
        place = QRectF(end + 4, y - ROW / 2, _RIGHT + 20, ROW)
        painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, str(track))

    # -- the mouse ------------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: Any) -> None:
        """Go to what is clicked."""
        found = self.at(event.position())
        if found is not None and event.button() == Qt.MouseButton.LeftButton:
            self.went.emit(*found, bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))

    def viewportEvent(self, event: Any) -> bool:
        """Say what is below the pointer."""
        if event.type() == QEvent.Type.ToolTip:
            found = self.at(QPointF(event.pos()))
            if found is not None:
                QToolTip.showText(event.globalPos(), f"track {found[0]}, frame {found[1]}: click to go there", self)
                return True
        return bool(super().viewportEvent(event))
