"""`ConfidenceCurve`: how sure the model is of every slice, drawn as a curve that one can click to go there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import ceil, floor

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from .theme import Colors

_AIR = 0.005  # of confidence, left free above and below the curve
_LEFT, _RIGHT, _TOP, _BOTTOM = 30, 8, 8, 22
_NOTHING = "Run the model: its confidence is drawn here, slice by slice."


class ConfidenceCurve(QWidget):
    """Confidence over slices; verified and annotated slices are marked, and the one on display has a line.

    A click, or dragging, goes to a slice; the arrow keys go one slice on.
    """

    went = Signal(int)

    def __init__(self, colors: Colors, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.colors = colors
        self._count = 0
        self._confidence: dict[int, float] = {}
        self._verified: frozenset[int] = frozenset()
        self._annotated: frozenset[int] = frozenset()
        self._current: int | None = None
        self._points: list[tuple[float, float]] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setMouseTracking(True)

    def show_curve(
        self, count: int, confidence: Mapping[int, float], verified: Collection[int], annotated: Collection[int]
    ) -> None:
        """Show the confidence (0 to 1) of those of ``count`` slices that have one."""
        self._count, self._confidence = count, dict(confidence)
        self._verified, self._annotated = frozenset(verified), frozenset(annotated)
        self.update()

    def set_current(self, position: int | None) -> None:
        """Mark the slice on display."""
        if position != self._current:
            self._current = position
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(280, 96)

    # -- geometry -------------------------------------------------------------------------------------------------
    def x_of(self, position: int) -> float:
        """Where a slice stands, in pixels from the left."""
        span = max(self._count - 1, 1)
        return _LEFT + (self.width() - _LEFT - _RIGHT) * position / span

    def position_at(self, x: float) -> int:
        """The slice that stands at ``x``."""
        share = (x - _LEFT) / max(self.width() - _LEFT - _RIGHT, 1)
        return min(max(round(share * max(self._count - 1, 0)), 0), max(self._count - 1, 0))

    @property
    def scale(self) -> tuple[float, float]:
        """Both ends of the scale: tenths below and above all slices, so that differences can be seen."""
        values = self._confidence.values()
        low = min(max(floor(10 * (min(values, default=0.0) - _AIR)), 0), 8)
        high = min(ceil(10 * (max(values, default=1.0) + _AIR)), 10)
        return low / 10, max(high, low + 2) / 10

    def _share(self, confidence: float) -> float:
        """How far up the scale a confidence lies, 0 to 1."""
        low, high = self.scale
        return min(max((confidence - low) / (high - low), 0.0), 1.0)

    def _y_of(self, confidence: float) -> float:
        return self.height() - _BOTTOM - (self.height() - _TOP - _BOTTOM) * self._share(confidence)

    # -- mouse and keys -------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event)
        elif self._count:
            self.setToolTip(self._words(self.position_at(event.position().x())))

    def keyPressEvent(self, event: object) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(event.key())  # type: ignore[attr-defined]
        if step is None or self._current is None:
            super().keyPressEvent(event)
        elif 0 <= self._current + step < self._count:
            self.went.emit(self._current + step)

    def _go(self, event: QMouseEvent) -> None:
        if self._count:
            position = self.position_at(event.position().x())
            if position != self._current:
                self.went.emit(position)

    def _words(self, position: int) -> str:
        words = [f"slice {position}"]
        if position in self._annotated:
            words.append("example, locked")
        if position in self._verified:
            words.append("verified, locked")
        if position in self._confidence:
            words.append(f"confidence {self._confidence[position]:.2f}")
        return " · ".join(words)

    # -- painting -------------------------------------------------------------------------------------------------
    def paintEvent(self, event: object) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.colors.foreground)
        painter.drawRoundedRect(QRectF(self.rect()), 5, 5)
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() - 1.5, 6.0))
        painter.setFont(font)
        if not self._confidence and not self._annotated:
            painter.setPen(self.colors.muted)
            words = self.rect().adjusted(16, 0, -16, 0)
            painter.drawText(words, int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), _NOTHING)
            return
        self._paint_scale(painter)
        self._paint_marks(painter, self._verified, self.colors.verified)
        self._paint_marks(painter, self._annotated, self.colors.annotated)
        self._paint_curve(painter)
        if self._current is not None:
            painter.setPen(QPen(self.colors.text, 1.2))
            x = self.x_of(self._current)
            painter.drawLine(QPointF(x, _TOP - 3), QPointF(x, self.height() - _BOTTOM + 5))

    def _paint_scale(self, painter: QPainter) -> None:
        line = QColor(self.colors.muted)
        line.setAlpha(90)
        low, high = self.scale
        for value in (low, (low + high) / 2, high):
            y = self._y_of(value)
            painter.setPen(QPen(line, 0.8))
            painter.drawLine(QPointF(_LEFT, y), QPointF(self.width() - _RIGHT, y))
            painter.setPen(self.colors.muted)
            box = QRectF(0, y - 8, _LEFT - 5, 16)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), f"{value:.2g}")
        bottom = self.height() - _BOTTOM + 4
        ends = ((0, Qt.AlignmentFlag.AlignLeft), (self._count - 1, Qt.AlignmentFlag.AlignRight))
        painter.setPen(self.colors.muted)
        for position, align in ends if self._count > 1 else ends[:1]:
            box = QRectF(_LEFT, bottom, self.width() - _LEFT - _RIGHT, 16)
            painter.drawText(box, int(align | Qt.AlignmentFlag.AlignVCenter), str(position))
        if self._current is not None and self.x_of(2) > 0:
            x = self.x_of(self._current)
            if _LEFT + 24 < x < self.width() - _RIGHT - 30:
                painter.setPen(self.colors.text)
                box = QRectF(x - 20, bottom, 40, 16)
                painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), str(self._current))

    def _paint_marks(self, painter: QPainter, positions: Collection[int], color: QColor) -> None:
        """A light band and a solid foot at each locked slice."""
        step = (self.width() - _LEFT - _RIGHT) / max(self._count - 1, 1)
        width = max(min(step * 0.9, 9.0), 2.0)
        band = QColor(color)
        band.setAlpha(70)
        top, bottom = _TOP, self.height() - _BOTTOM
        painter.setPen(Qt.PenStyle.NoPen)
        for position in positions:
            x = self.x_of(position) - width / 2
            painter.setBrush(band)
            painter.drawRect(QRectF(x, top, width, bottom - top))
            painter.setBrush(color)
            painter.drawRoundedRect(QRectF(x, bottom - 1, width, 4), 1.5, 1.5)

    def _paint_curve(self, painter: QPainter) -> None:
        known = sorted(self._confidence)
        points = [QPointF(self.x_of(p), self._y_of(self._confidence[p])) for p in known]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self.colors.sure, 1.6))
        start = 0
        for k in range(1, len(points) + 1):  # a line breaks where slices have no confidence, but not at locked ones
            if k == len(points) or not self._joined(known[k - 1], known[k]):
                painter.drawPolyline(QPolygonF(points[start:k]))
                start = k
        if len(points) <= 160:
            painter.setPen(Qt.PenStyle.NoPen)
            for p, point in zip(known, points, strict=True):
                painter.setBrush(self._dot(self._confidence[p]))
                painter.drawEllipse(point, 2.3, 2.3)

    def _joined(self, a: int, b: int) -> bool:
        locked = self._verified | self._annotated
        return b - a == 1 or all(p in locked for p in range(a + 1, b))

    def _dot(self, confidence: float) -> QColor:
        """From unsure to sure, over the scale that is shown."""
        share = self._share(confidence)
        ends = zip(self.colors.unsure.getRgbF(), self.colors.sure.getRgbF(), strict=True)
        return QColor.fromRgbF(*(a * (1 - share) + b * share for a, b in ends))
