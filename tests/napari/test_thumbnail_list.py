"""The list of examples: pictures with labels painted over them, ticks, names, order."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QPixmap

from napari_incontext_seg._napari.theme import Colors
from napari_incontext_seg._napari.thumbnail import thumbnail
from napari_incontext_seg._napari.thumbnail_list import Row, ThumbnailList
from napari_incontext_seg.core.types import Example

RED = (1.0, 0.0, 0.0)


@pytest.fixture
def rows(qtbot):
    widget = ThumbnailList(Colors.of("dark"))
    qtbot.addWidget(widget)
    widget.resize(300, 400)
    widget.show()
    picture = QPixmap(48, 48)
    picture.fill(Qt.GlobalColor.red)
    widget.show_rows([Row(name, f"z {k}", picture, used=True) for k, name in enumerate(("first", "second", "third"))])
    return widget


def color_at(picture, x, y):
    return picture.toImage().pixelColor(x, y).getRgb()[:3]


def test_a_thumbnail_is_the_plane_with_its_labels_painted_over_it(qtbot):
    labels = np.zeros((40, 40), np.uint32)
    labels[:, 20:] = 3
    picture = thumbnail(Example(np.full((40, 40), 0.5, np.float32), labels), lambda i: RED, 40)
    assert (picture.width(), picture.height()) == (40, 40)
    grey, painted = color_at(picture, 5, 20), color_at(picture, 35, 20)
    assert max(grey) - min(grey) <= 1
    assert painted[0] > 180
    assert painted[1] < 90


def test_a_thumbnail_shows_the_middle_of_a_wide_plane_in_colour_too(qtbot):
    image = np.zeros((10, 30, 3), np.float32)
    image[:, 10:20, 2] = 1  # the middle is blue
    picture = thumbnail(Example(image, np.zeros((10, 30), np.uint32)), lambda i: RED, 20)
    assert color_at(picture, 10, 10) == (0, 0, 255)


def test_a_tick_says_whether_an_example_is_used(rows, qtbot):
    tick = rows.visualItemRect(rows.item(1))
    with qtbot.waitSignal(rows.ticked) as told:
        qtbot.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=tick.topLeft() + QPoint(16, 29))
    assert told.args == [1, False]


def test_a_click_goes_to_the_slice(rows, qtbot):
    with qtbot.waitSignal(rows.went) as told:
        qtbot.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=rows.visualItemRect(rows.item(2)).center())
    assert told.args == [2]


def test_delete_takes_an_example_out(rows, qtbot):
    rows.setCurrentRow(1)
    with qtbot.waitSignal(rows.removed) as told:
        qtbot.keyClick(rows, Qt.Key.Key_Delete)
    assert told.args == [1]


def test_an_example_is_renamed_in_its_row(rows, qtbot):
    with qtbot.waitSignal(rows.renamed) as told:
        rows.item(0).setText("cell walls")
    assert told.args == [0, "cell walls"]


def test_dragging_moves_an_example(rows, qtbot):
    class Drop:
        """As Qt tells of a drop in the lower half of the third row."""

        def position(self):
            from qtpy.QtCore import QPointF

            return QPointF(rows.visualItemRect(rows.item(2)).bottomLeft() + QPoint(60, -4))

        def setDropAction(self, action):
            self.action = action

        def accept(self):
            pass

    rows.setCurrentRow(0)
    with qtbot.waitSignal(rows.moved) as told:
        rows.dropEvent(Drop())
    assert told.args == [0, 2]


def test_showing_rows_says_nothing(rows, qtbot):
    with qtbot.assertNotEmitted(rows.ticked), qtbot.assertNotEmitted(rows.renamed):
        rows.show_rows([Row("other", "z 9", QPixmap(8, 8), used=False)])
    assert rows.count() == 1
