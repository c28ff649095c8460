"""The lineage as a picture: a line a track, time to the right, forks where cells divide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..core.tracks import Tracks

WIDTH = 1400
ROW, LEAST_ROW = 18, 4  # pixels a track: usual, and where there are many
TALLEST = 9000  # pixels; what has no room is left out, and counted in the title
NAMED = 12  # pixels of a row from which ids are written
_MARGIN, _TITLE, _AXIS, _FONT = 28, 44, 34, 20
_BACKGROUND, _TEXT, _FAINT = (18, 20, 24), (236, 238, 242), (52, 56, 64)
# Okabe & Ito, "Color universal design" (2008), without black
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178))
_TICKS = 10


def lineage_picture(tracks: Tracks) -> NDArray[np.uint8]:
    """Draw tracks, lineages with divisions first, each in a colour of its own.

    Returns
    -------
    (H, 1400, 3). A line is thin where a track is missing.
    """
    order = lineage_order(tracks)
    room = (TALLEST - 2 * _MARGIN - _TITLE - _AXIS) // LEAST_ROW
    shown = order[:room]
    row = max(LEAST_ROW, min(ROW, (TALLEST - 2 * _MARGIN - _TITLE - _AXIS) // max(1, len(shown))))
    height = 2 * _MARGIN + _TITLE + _AXIS + row * max(1, len(shown))
    picture = Image.new("RGB", (WIDTH, height), _BACKGROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_FONT)
    title = f"{len(tracks.ids)} tracks, {len(tracks.divisions)} divisions"
    if len(shown) < len(order):
        title += f"; {len(order) - len(shown)} without room are left out"
    draw.text((_MARGIN, _MARGIN), title, _TEXT, font)
    frames = int(tracks.frame.max(initial=0)) + 1
    top, bottom = _MARGIN + _TITLE, height - _MARGIN - _AXIS
    step = (WIDTH - 3 * _MARGIN - 40) / max(1, frames)

    def at(frame: float) -> float:
        return _MARGIN + frame * step

    _draw_axis(draw, font, frames, step, (top, bottom))
    rows = {track: top + row * (k + 0.5) for k, track in enumerate(shown)}
    thick = max(2, row // 4)
    roots = {root: _COLOURS[k % len(_COLOURS)] for k, root in enumerate(dict.fromkeys(map(tracks.root, shown)))}
    small = ImageFont.load_default(row - 4) if row >= NAMED else None
    for track, y in rows.items():
        colour = roots[tracks.root(track)]
        begin, end = tracks.begin(track), tracks.end(track)
        for parent in tracks.parents.get(track, ()):
            if parent in rows:
                x = at(tracks.end(parent) + 1)
                draw.line([(x, rows[parent]), (x, y), (at(begin), y)], colour, max(1, thick // 2))
        draw.line([(at(begin), y), (at(end + 1), y)], colour, thick)
        for before, after in tracks.gaps(track):
            draw.rectangle([at(before + 1), y - thick, at(after), y + thick], _BACKGROUND)
            draw.line([(at(before + 1), y), (at(after), y)], colour, 1)
        if small is not None:
            draw.text((at(end + 1) + 6, y - row / 2), str(track), _TEXT, small)
    return np.asarray(picture)


def _draw_axis(
    draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, frames: int, step: float,
    span: tuple[float, float],
) -> None:  # fmt: skip
    """Frame numbers below, with faint lines up through the picture."""
    every = max(1, -(-frames // _TICKS))
    for frame in range(0, frames, every):
        x = _MARGIN + frame * step
        draw.line([(x, span[0]), (x, span[1] + 6)], _FAINT, 1)
        draw.text((x, span[1] + 8), f"frame {frame}" if frame == 0 else str(frame), _TEXT, font)


def lineage_order(tracks: Tracks) -> list[int]:
    """Tracks from top to bottom: the largest lineages first, in each a mother between her daughters."""
    families = sorted(tracks.roots, key=lambda root: (-len(tracks.lineage(root)), tracks.begin(root), root))
    ordered: list[int] = []
    seen: set[int] = set()
    for root in families:
        waiting: list[tuple[int, bool]] = [(root, False)]
        while waiting:
            track, placed = waiting.pop()
            if placed:
                ordered.append(track)
            elif track not in seen:
                seen.add(track)
                children = tracks.children(track)
                half = (len(children) + 1) // 2
                before, after = children[:half], children[half:]
                waiting += [
                    *((c, False) for c in reversed(after)),
                    (track, True),
                    *((c, False) for c in reversed(before)),
                ]
    return ordered
