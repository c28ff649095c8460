"""The curve of confidence: what it draws, and that a click goes there."""

import pytest
from qtpy.QtCore import QPoint, Qt

from napari_incontext_seg._napari.confidence_curve import ConfidenceCurve
from napari_incontext_seg._napari.theme import Colors


@pytest.fixture
def curve(qtbot):
    widget = ConfidenceCurve(Colors.of("dark"))
    qtbot.addWidget(widget)
    widget.resize(340, 100)
    widget.show()
    widget.show_curve(30, {p: 0.95 - 0.3 * (p == 20) for p in range(30) if p not in (3, 10)}, {3}, {10})
    return widget


def colors_in_column(widget, position):
    image = widget.grab().toImage()
    x = round(widget.x_of(position))
    return {image.pixelColor(x, y).name() for y in range(image.height())}


@pytest.mark.parametrize("position", [0, 7, 20, 29])
def test_a_click_goes_to_the_slice_that_stands_there(curve, qtbot, position):
    with qtbot.waitSignal(curve.went) as told:
        where = QPoint(round(curve.x_of(position)), 40)
        qtbot.mouseClick(curve, Qt.MouseButton.LeftButton, pos=where)
    assert told.args == [position]


def test_arrow_keys_go_one_slice_on(curve, qtbot):
    curve.set_current(7)
    with qtbot.waitSignal(curve.went) as told:
        qtbot.keyClick(curve, Qt.Key.Key_Right)
    assert told.args == [8]


def test_verified_and_annotated_slices_are_marked(curve):
    assert curve.colors.verified.name() in colors_in_column(curve, 3)
    assert curve.colors.annotated.name() in colors_in_column(curve, 10)
    assert curve.colors.verified.name() not in colors_in_column(curve, 5)


def test_the_slice_on_display_has_a_line(curve):
    curve.set_current(15)
    assert len(colors_in_column(curve, 15)) > len(colors_in_column(curve, 16))


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.35, 0.47], (0.3, 0.5)),
        ([0.2], (0.1, 0.3)),
        ([0.97, 1.0], (0.8, 1.0)),
        ([0.0, 1.0], (0.0, 1.0)),
        ([], (0, 1)),
    ],
)
def test_the_scale_fits_the_slices_so_that_differences_are_seen(curve, values, scale):
    curve.show_curve(5, dict(enumerate(values)), (), ())
    assert curve.scale == scale


def test_without_results_it_says_what_to_do(curve):
    curve.show_curve(30, {}, (), ())
    assert curve.grab().toImage().width() > 0
    assert curve.position_at(170) in range(30)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_text_of_every_theme_can_be_read(theme, qtbot):
    colors = Colors.of(theme)
    assert abs(colors.text.lightnessF() - colors.foreground.lightnessF()) > 0.4
    assert abs(colors.muted.lightnessF() - colors.foreground.lightnessF()) > 0.15


def test_a_curve_of_two_thousand_slices_is_drawn_quickly(curve, qtbot):
    curve.show_curve(2000, dict.fromkeys(range(2000), 0.8), set(range(0, 2000, 50)), {1000})
    curve.grab()
    assert curve.position_at(curve.x_of(1500)) == 1500
