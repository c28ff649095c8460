"""The viewer's colours, for what is painted by hand and so not reached by napari's style sheet."""

from __future__ import annotations

from dataclasses import dataclass

from napari.utils.theme import get_theme
from qtpy.QtGui import QColor

SURE, UNSURE, VERIFIED, ANNOTATED = "#3aa6b9", "#e0803a", "#4caf72", "#f2b632"


@dataclass(frozen=True)
class Colors:
    """Colours of one napari theme, and those that mean something in this plugin."""

    background: QColor
    foreground: QColor
    muted: QColor
    highlight: QColor
    text: QColor
    accent: QColor
    sure: QColor
    unsure: QColor
    verified: QColor
    annotated: QColor

    @classmethod
    def of(cls, theme: str) -> Colors:
        """The colours of a theme by its name (``viewer.theme``)."""
        found = get_theme(theme)

        def color(name: str) -> QColor:
            return QColor(getattr(found, name).as_hex())

        text, background = color("text"), color("background")
        muted = QColor.fromRgbF(
            *(0.55 * a + 0.45 * b for a, b in zip(text.getRgbF(), background.getRgbF(), strict=True))
        )
        named = (QColor(name) for name in (SURE, UNSURE, VERIFIED, ANNOTATED))
        return cls(background, color("foreground"), muted, color("highlight"), text, color("current"), *named)


def style_sheet(colors: Colors) -> str:
    """What the dock adds to napari's style: a button that stands out, quiet notes, headers of sections."""
    on_accent = "#ffffff" if colors.accent.lightnessF() < 0.65 else "#20242c"
    return f"""
    QPushButton[primary="true"] {{
        background-color: {colors.accent.name()}; color: {on_accent}; font-weight: 600; padding: 5px 12px;
    }}
    QPushButton[primary="true"]:hover {{ background-color: {colors.accent.lighter(115).name()}; }}
    QPushButton[primary="true"]:disabled {{
        background-color: {colors.foreground.name()}; color: {colors.muted.name()};
    }}
    QLabel[quiet="true"] {{ color: {colors.muted.name()}; }}
    QToolButton[header="true"] {{
        background-color: transparent; border: none; font-weight: 600; text-align: left; padding: 2px 0px;
    }}
    QPushButton[narrow="true"] {{ padding: 4px 2px; min-width: 0px; }}
    QToolButton[fold="true"] {{
        background-color: transparent; border: none; color: {colors.muted.name()}; padding: 0px;
    }}
    QToolButton[fold="true"]:hover {{ color: {colors.text.name()}; }}
    QFrame[rule="true"] {{ background-color: {colors.foreground.name()}; max-height: 1px; border: none; }}
    """
