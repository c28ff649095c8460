"""The table of tracks: a model that makes its cells when they are looked at, sorted and filtered as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QSize,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from ..core.tracks import Tracks
from ..session.track_table import COLUMNS, TrackTable

TITLES = {"track": "id", "intensity": "bright", "confidence": "sure"}
WORDS = {
    "track": "Number of the track: the label of its objects.",
    "from": "First frame.",
    "until": "Last frame.",
    "parent": "Mother: the track that it descends from.",
    "daughters": "Tracks that descend from it.",
    "size": "Mean size of its objects, in pixels or voxels.",
    "intensity": "Mean brightness of its objects in the image, if one is chosen.",
    "confidence": "How sure its least sure link is, from 0 to 1.",
}
_WIDTHS = {
    "track": 36, "from": 36, "until": 36, "parent": 46, "daughters": 66, "size": 40, "intensity": 44, "confidence": 34,
}  # fmt: skip
_AT_ONCE = 200  # rows that come or go one by one; more, and the table begins anew
_NONE = QModelIndex()


class TrackModel(QAbstractTableModel):
    """A row a track, in the order in which it was sorted last."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        nothing = np.zeros(0, np.int64)
        self.table = TrackTable(Tracks(nothing, nothing, np.zeros((0, 3)), nothing))
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)  # row of the view -> track
        self._at: dict[int, int] = {}
        self._sorting = ("track", False)

    # -- for Qt ---------------------------------------------------------------------------------------------------
    def rowCount(self, parent: QModelIndex = _NONE) -> int:
        """How many tracks there are."""
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex = _NONE) -> int:
        """How many columns there are."""
        return 0 if parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell says."""
        if role == Qt.ItemDataRole.DisplayRole:
            return self.table.text(self.table.rows[int(self._order[index.row()])], COLUMNS[index.column()])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Titles of columns, and what they mean."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        name = COLUMNS[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return TITLES.get(name, name)
        return WORDS[name] if role == Qt.ItemDataRole.ToolTipRole else None

    def sort(self, column: int, order: Any = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, as numbers; what is unknown stands last."""
        if column < 0:
            return
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        tracks = [int(self._order[i.row()]) for i in before]
        self._sorting = (COLUMNS[column], order == Qt.SortOrder.DescendingOrder)
        self._set_order(self._sorted())
        now = [self.index(self._at[t], i.column()) for t, i in zip(tracks, before, strict=True)]
        self.changePersistentIndexList(before, now)
        self.layoutChanged.emit()

    # -- tracks ---------------------------------------------------------------------------------------------------
    def track(self, row: int) -> int:
        """The track of a row."""
        return int(self._order[row])

    def row(self, track: int) -> int | None:
        """The row of a track."""
        return self._at.get(track)

    def show(self, tracks: Tracks | None) -> None:
        """Show other tracks; rows whose track is still there keep their place."""
        nothing = np.zeros(0, np.int64)
        table = TrackTable(tracks if tracks is not None else Tracks(nothing, nothing, np.zeros((0, 3)), nothing))
        gone = np.setdiff1d(self._order, table.ids)
        new = np.setdiff1d(table.ids, self._order)
        if len(gone) + len(new) > _AT_ONCE or not len(self._order):
            self.beginResetModel()
            self.table = table
            self._set_order(self._sorted())
            self.endResetModel()
            return
        for track in gone.tolist():
            row = self._at[track]
            self.beginRemoveRows(_NONE, row, row)
            self._set_order(np.delete(self._order, row))
            self.endRemoveRows()
        self.table = table
        if len(new):
            count = len(self._order)
            self.beginInsertRows(_NONE, count, count + len(new) - 1)
            self._set_order(np.concatenate([self._order, new]))
            self.endInsertRows()
        if len(self._order):
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._order) - 1, len(COLUMNS) - 1))

    def _sorted(self) -> NDArray[np.int64]:
        name, falling = self._sorting
        values = self.table.columns[name].astype(float)
        keys = np.where(np.isnan(values), np.inf, -values if falling else values)
        return self.table.ids[np.lexsort((self.table.ids, keys))]

    def _set_order(self, order: NDArray[np.int64]) -> None:
        self._order = order
        self._at = {track: row for row, track in enumerate(order.tolist())}


class TrackFilter(QSortFilterProxyModel):
    """Shows the tracks that a filter means; sorting is the model's, which is fast."""

    def __init__(self, model: TrackModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model, self._words = model, ""
        self._meant: frozenset[int] | None = None
        self.setDynamicSortFilter(False)
        self.setSourceModel(model)

    def filter(self, words: str) -> None:
        """Show the tracks that are meant. Raises InputError where the words are no filter."""
        shown = self._model.table.matching(words)
        self._words = words
        self._meant = None if shown.all() else frozenset(self._model.table.ids[shown].tolist())
        self.invalidateFilter()

    def again(self) -> None:
        """Filter other tracks as before."""
        self.filter(self._words)

    def sort(self, column: int, order: Any = Qt.SortOrder.AscendingOrder) -> None:
        """Sort the model."""
        self._model.sort(column, order)

    def filterAcceptsRow(self, row: int, _: QModelIndex) -> bool:
        """Whether a row is shown."""
        return self._meant is None or self._model.track(row) in self._meant

    def tracks(self) -> NDArray[np.int64]:
        """The tracks that are shown, from top to bottom."""
        rows = (self.mapToSource(self.index(k, 0)).row() for k in range(self.rowCount()))
        return np.array([self._model.track(row) for row in rows], np.int64)


class TrackView(QTableView):
    """The table; ``picked`` gives the tracks that a person chose, the current one first."""

    picked = Signal(list)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tracks_model = TrackModel(self)
        self.shown = TrackFilter(self.tracks_model, self)
        self.setModel(self.shown)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(20)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(30)
        header.setHighlightSections(False)
        for k, name in enumerate(COLUMNS):
            self.setColumnWidth(k, _WIDTHS[name])
        header.setStretchLastSection(True)
        header.setStyleSheet("QHeaderView::section { padding: 2px 1px; }")
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setToolTip("A row a track. Click: go there. Ctrl+click: choose another one besides, to merge or swap.")
        self._order: list[int] = []
        self._showing = False
        self.selectionModel().selectionChanged.connect(self._on_selection)

    def sizeHint(self) -> QSize:
        """Small: it takes what the dock has left."""
        return QSize(200, self.minimumHeight())

    def show_tracks(self, tracks: Tracks | None) -> None:
        """Show other tracks."""
        self._showing = True
        try:
            self.tracks_model.show(tracks)
            self.shown.again()
        finally:
            self._showing = False

    def show_choice(self, tracks: Sequence[int]) -> None:
        """Select the rows of tracks."""
        self._order = list(tracks)
        rows = [row for row in map(self._index, tracks) if row is not None]
        chosen = QItemSelection()
        for index in rows:
            chosen.select(index, index)
        how = QItemSelectionModel.SelectionFlag
        self._showing = True
        try:
            self.selectionModel().select(chosen, how.ClearAndSelect | how.Rows)
            if rows:
                self.selectionModel().setCurrentIndex(rows[0], how.NoUpdate)
                self.scrollTo(rows[0])
        finally:
            self._showing = False

    def _index(self, track: int) -> QModelIndex | None:
        row = self.tracks_model.row(track)
        index = self.shown.mapFromSource(self.tracks_model.index(row, 0)) if row is not None else None
        return index if index is not None and index.isValid() else None

    def _on_selection(self, *_: Any) -> None:
        if self._showing:
            return
        rows = [self.shown.mapToSource(index).row() for index in self.selectionModel().selectedRows()]
        now = {self.tracks_model.track(row) for row in rows}
        kept = [track for track in self._order if track in now]  # in the order in which they were chosen
        self._order = [*kept, *sorted(now.difference(kept))]
        if self._order:
            self.picked.emit(list(self._order))
