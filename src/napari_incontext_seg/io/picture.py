"""A contact sheet: some planes of a stack with their labels drawn over them, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from ..core.types import Plane
from ..errors import InputError
from .paths import PathLike
from .storing import check_free, store

WIDTH = 2000  # pixels, at most
_COLUMNS = 4
_TALLEST = 900  # pixels of a panel
_MARGIN, _GAP, _TITLE, _FONT = 24, 18, 34, 20
_BACKGROUND, _TEXT, _FAINT, _MARK = (18, 20, 24), (236, 238, 242), (52, 56, 64), (255, 196, 61)
_FILL, _LINE = 0.4, 0.95  # opacity of objects and of their outlines
# Okabe & Ito, "Color universal design" (2008), without black: told apart by colour-blind people
_COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178)],
    np.float32,
)


@dataclass(frozen=True, eq=False)
class Panel:
    """One plane of the sheet.

    Parameters
    ----------
    plane
        (Y, X, 1 or 3), in [0, 1].
    labels
        (Y, X), 0 = background.
    title
        Written above.
    annotated
        Framed and marked: a person painted this one.
    """

    plane: Plane
    labels: NDArray[Any]
    title: str
    annotated: bool = False

    def __post_init__(self) -> None:
        if self.plane.shape[:2] != self.labels.shape:
            raise InputError(f"labels {self.labels.shape} must match the plane {self.plane.shape[:2]}.")


def contact_sheet(panels: Sequence[Panel]) -> NDArray[np.uint8]:
    """Draw panels row by row, each as large as fits and small ones enlarged by whole pixels.

    Returns
    -------
    NDArray
        (H, W, 3), at most 2000 wide.

    Raises
    ------
    InputError
        There is no panel.
    """
    if not panels:
        raise InputError("a picture needs at least one slice.")
    columns = min(_COLUMNS, len(panels)) if len(panels) != 4 else 2
    room = (WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) // columns
    drawn = [_overlay(panel, room) for panel in panels]
    width, height = max(d.width for d in drawn), max(d.height for d in drawn)
    width = max(width, min(room, 220))  # room for the title
    rows = ceil(len(panels) / columns)
    step_x, step_y = width + _GAP, height + _TITLE + _GAP
    size = (2 * _MARGIN + columns * step_x - _GAP, 2 * _MARGIN + rows * step_y - _GAP)
    sheet = Image.new("RGB", size, _BACKGROUND)
    for k, (panel, picture) in enumerate(zip(panels, drawn, strict=True)):
        row, column = divmod(k, columns)
        _place(sheet, panel, picture, (_MARGIN + column * step_x, _MARGIN + row * step_y), (width, height))
    return np.asarray(sheet)


def save_png(picture: NDArray[np.uint8], path: PathLike, *, overwrite: bool = False) -> None:
    """Write a picture (H, W, 3) as PNG.

    Raises
    ------
    FileError, ResourceError
        The file exists and ``overwrite`` is not set, or cannot be written.
    """
    target = Path(path).expanduser()
    check_free(target, overwrite)
    store(target, lambda file: Image.fromarray(picture).save(file, format="PNG", optimize=True))


def _place(sheet: Image.Image, panel: Panel, picture: Image.Image, at: tuple[int, int], cell: tuple[int, int]) -> None:
    """Draw one panel with its title into the cell of (width, height) at (x, y)."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    left, top = at[0] + (cell[0] - picture.width) // 2, at[1] + _TITLE
    draw.text((at[0], at[1] + 4), panel.title, _TEXT, font)
    if panel.annotated:
        right = at[0] + cell[0]
        word = draw.textbbox((0, 0), "annotated", font)
        box = (right - word[2] - 16, at[1] + 1, right, at[1] + _TITLE - 6)
        draw.rounded_rectangle(box, 6, _MARK)
        draw.text((box[0] + 8, at[1] + 4), "annotated", _BACKGROUND, font)
    sheet.paste(picture, (left, top))
    frame = (left - 3, top - 3, left + picture.width + 2, top + picture.height + 2)
    draw.rectangle(frame, outline=_MARK if panel.annotated else _FAINT, width=3 if panel.annotated else 1)


def _overlay(panel: Panel, room: int) -> Image.Image:
    """Plane with outlined, lightly filled labels, fitted into ``room`` pixels of width."""
    height, width = panel.labels.shape
    zoom = min(room / width, _TALLEST / height)
    zoom = min(int(zoom), 16) if zoom >= 1 else zoom
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    grey = np.rint(np.asarray(panel.plane) * 255).astype(np.uint8)
    image = Image.fromarray(grey if grey.shape[2] == 3 else grey.repeat(3, axis=2))
    image = image.resize(size, Image.Resampling.NEAREST if zoom >= 1 else Image.Resampling.BOX)
    rows, columns = (np.arange(n) * full // n for n, full in ((size[1], height), (size[0], width)))
    labels = panel.labels[np.ix_(rows, columns)]
    colours = _COLOURS[(labels.astype(np.int64) - 1) % len(_COLOURS)]
    opacity = np.where(find_boundaries(labels, mode="inner", background=0), _LINE, _FILL) * (labels > 0)
    blend = np.asarray(image, np.float32) * (1 - opacity[..., None]) + colours * opacity[..., None]
    return Image.fromarray(np.rint(blend).astype(np.uint8))
