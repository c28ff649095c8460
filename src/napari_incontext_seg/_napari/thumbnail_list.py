"""`ThumbnailList`: the examples as pictures that can be ticked, renamed, put in order and taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QAbstractItemModel, QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QDropEvent, QKeyEvent, QPainter, QPainterPath, QPen, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from .theme import Colors

SIDE, ROW = 48, 58  # pixels of a picture, and of its row
_TICK = 16
_DETAIL = Qt.ItemDataRole.UserRole
_PICTURE = Qt.ItemDataRole.UserRole + 1
_EMPTY = "Paint the labels of one slice,\nthen press “Add this slice”."


@dataclass(frozen=True)
class Row:
    """What the list shows of one example."""

    name: str
    detail: str
    picture: QPixmap
    used: bool
    tooltip: str = ""


class ThumbnailList(QListWidget):
    """Examples, one a row; what a person does to a row is told by signals, and shown when `show_rows` says so.

    Delete takes out the row, F2 or a double click renames it, dragging moves it, a click goes to its slice.
    """

    went = Signal(int)
    renamed = Signal(int, str)
    removed = Signal(int)
    moved = Signal(int, int)
    ticked = Signal(int, bool)

    def __init__(self, colors: Colors, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.colors = colors
        self._filling = False
        self._delegate = _RowDelegate(self)
        self.setItemDelegate(self._delegate)
        self.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._open_menu)
        self.itemChanged.connect(self._on_changed)
        self.itemClicked.connect(lambda item: self.went.emit(self.row(item)))

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Show these rows instead, the same one selected."""
        self._filling = True
        selected = self.currentRow()
        self.clear()
        for row in rows:
            item = QListWidgetItem(row.name)
            item.setData(_DETAIL, row.detail)
            item.setData(_PICTURE, row.picture)
            item.setToolTip(row.tooltip)
            item.setCheckState(Qt.CheckState.Checked if row.used else Qt.CheckState.Unchecked)
            flags = Qt.ItemFlag.ItemIsEditable | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsDragEnabled
            item.setFlags((item.flags() | flags) & ~Qt.ItemFlag.ItemIsDropEnabled)
            self.addItem(item)
        self.setCurrentRow(min(selected, len(rows) - 1))
        self._filling = False
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        """Room for up to two rows and a bit: that there are more can be seen."""
        return QSize(280, int(min(max(self.count(), 1), 2.3) * ROW) + 4)

    def minimumSizeHint(self) -> QSize:
        """As large as it wants to be."""
        return self.sizeHint()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Delete takes out the row."""
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and self.currentRow() >= 0:
            self.removed.emit(self.currentRow())
            return
        super().keyPressEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:
        """Tell where the dragged row was dropped; the list is shown anew by whoever owns the examples."""
        start = self.currentRow()
        at = event.position().toPoint() if hasattr(event, "position") else event.pos()
        index = self.indexAt(at)
        end = index.row() if index.isValid() else self.count()
        if index.isValid() and at.y() > self.visualRect(index).center().y():
            end += 1
        end -= end > start
        event.setDropAction(Qt.DropAction.IgnoreAction)  # else Qt takes out the row itself
        event.accept()
        if end != start and start >= 0:
            self.setCurrentRow(end)
            self.moved.emit(start, end)

    def paintEvent(self, event: object) -> None:
        """With no example yet, say how to get one."""
        super().paintEvent(event)
        if not self.count():
            painter = QPainter(self.viewport())
            painter.setPen(self.colors.muted)
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, _EMPTY)

    def _on_changed(self, item: QListWidgetItem) -> None:
        if self._filling:
            return
        row = self.row(item)
        self.ticked.emit(row, item.checkState() == Qt.CheckState.Checked)
        if row < self.count() and self.item(row) is item:
            self.renamed.emit(row, item.text())

    def _open_menu(self, where: object) -> None:
        item = self.itemAt(where)
        if item is None:
            return
        menu = QMenu(self)
        menu.addAction("Go to this slice", lambda: self.went.emit(self.row(item)))
        menu.addAction("Rename", lambda: self.editItem(item))
        menu.addAction("Remove from the examples", lambda: self.removed.emit(self.row(item)))
        menu.exec(self.viewport().mapToGlobal(where))


class _RowDelegate(QStyledItemDelegate):
    """Paints a row: tick, picture, name and a quiet line of detail."""

    def __init__(self, owner: ThumbnailList) -> None:
        super().__init__(owner)
        self._list = owner

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(option.rect.width(), ROW)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        colors, rect = self._list.colors, option.rect.adjusted(1, 1, -1, -1)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        if chosen or hovered:
            fill = QColor(colors.highlight if chosen else colors.foreground)
            fill.setAlpha(150 if chosen else 120)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(fill)
            painter.drawRoundedRect(rect, 4, 4)
        used = index.data(Qt.ItemDataRole.CheckStateRole)
        ticked = used in (Qt.CheckState.Checked, Qt.CheckState.Checked.value)
        self._paint_tick(painter, self._tick_rect(option.rect), ticked)
        painter.setOpacity(1.0 if ticked else 0.4)
        self._paint_picture(painter, self._picture_rect(option.rect), index.data(_PICTURE))
        self._paint_words(painter, option.rect, index)
        painter.restore()

    def _paint_words(self, painter: QPainter, rect: QRect, index: QModelIndex) -> None:
        colors, words = self._list.colors, self._words_rect(rect)
        for text, color, align in (
            (index.data(), colors.text, Qt.AlignmentFlag.AlignBottom),
            (index.data(_DETAIL), colors.muted, Qt.AlignmentFlag.AlignTop),
        ):
            half = QRect(words.left(), words.top(), words.width(), words.height() // 2 - 1)
            if align == Qt.AlignmentFlag.AlignTop:
                half.moveTop(words.center().y() + 2)
            painter.setPen(color)
            short = painter.fontMetrics().elidedText(str(text), Qt.TextElideMode.ElideRight, half.width())
            painter.drawText(half, int(align | Qt.AlignmentFlag.AlignLeft), short)

    @staticmethod
    def _paint_picture(painter: QPainter, rect: QRect, picture: QPixmap) -> None:
        path = QPainterPath()
        path.addRoundedRect(float(rect.x()), float(rect.y()), float(rect.width()), float(rect.height()), 4.0, 4.0)
        painter.save()
        painter.setClipPath(path)
        painter.drawPixmap(rect, picture)
        painter.restore()

    def _paint_tick(self, painter: QPainter, rect: QRect, ticked: bool) -> None:
        colors = self._list.colors
        painter.setPen(QPen(colors.accent if ticked else colors.muted, 1.2))
        painter.setBrush(colors.accent if ticked else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(rect, 3, 3)
        if ticked:
            painter.setPen(QPen(QColor("white"), 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
            x, y, side = rect.x(), rect.y(), rect.width()
            painter.drawLine(x + side * 2 // 9, y + side // 2, x + side * 4 // 9, y + side * 7 // 10)
            painter.drawLine(x + side * 4 // 9, y + side * 7 // 10, x + side * 7 // 9, y + side * 3 // 10)

    def editorEvent(
        self, event: object, model: QAbstractItemModel, option: QStyleOptionViewItem, index: QModelIndex
    ) -> bool:
        """A click on the tick toggles it."""
        from qtpy.QtCore import QEvent

        kind = event.type()  # type: ignore[attr-defined]
        if kind in (QEvent.Type.MouseButtonRelease, QEvent.Type.MouseButtonDblClick):
            grown = self._tick_rect(option.rect).adjusted(-6, -8, 6, 8)
            where = event.position().toPoint() if hasattr(event, "position") else event.pos()  # type: ignore[attr-defined]
            if grown.contains(where):
                item = self._list.item(index.row())
                checked = item.checkState() == Qt.CheckState.Checked
                item.setCheckState(Qt.CheckState.Unchecked if checked else Qt.CheckState.Checked)
                return True
        return False

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        words = self._words_rect(option.rect)
        editor.setGeometry(words.left() - 4, words.top() + 6, words.width() + 4, 24)

    @staticmethod
    def _tick_rect(rect: QRect) -> QRect:
        return QRect(rect.left() + 8, rect.center().y() - _TICK // 2, _TICK, _TICK)

    @staticmethod
    def _picture_rect(rect: QRect) -> QRect:
        return QRect(rect.left() + 34, rect.center().y() - SIDE // 2 + 1, SIDE, SIDE)

    @staticmethod
    def _words_rect(rect: QRect) -> QRect:
        left = rect.left() + 34 + SIDE + 10
        return QRect(left, rect.top() + 4, rect.right() - left - 6, rect.height() - 8)
