"""Draw a training run's loss and held-out Dice over time, beside those of the guess that the network starts from.

    python benchmarks/training_curve.py RUN/log.jsonl --out F.png

Losses come with their time; held-out Dice comes with its step, whose time is interpolated.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIZE, MARGIN = (900, 420), (90, 46, 30, 62)  # of a chart; left, top, right, bottom
LEGEND = 210
SHARP = 2  # drawn so much larger, then reduced: smooth lines
INK, GRID = (40, 44, 52), (222, 224, 228)
COLOURS = {"model": (0, 114, 178), "guess": (213, 94, 0)}  # Okabe & Ito (2008)
SECONDS_A_MINUTE = 60


@dataclass(frozen=True, eq=False)
class Curve:
    """Values (N,) over minutes (N,)."""

    name: str
    minutes: NDArray[np.float64]
    values: NDArray[np.float64]


def read(path: Path) -> dict[str, list[Curve]]:
    """The charts of a log: title -> curves."""
    facts = [json.loads(line) for line in path.read_text().splitlines()]
    timed = [f for f in facts if "seconds" in f]
    if not timed:
        raise SystemExit(f"{path} holds no loss yet.")
    steps, seconds = (np.array([f[name] for f in timed], float) for name in ("step", "seconds"))

    def curves(**fields: str) -> list[Curve]:
        found = []
        for name, key in fields.items():
            points = [(f["step"], f[key]) for f in facts if math.isfinite(f.get(key, math.nan))]
            if points:
                at, values = np.array(points, float).T
                found.append(Curve(name, np.interp(at, steps, seconds) / SECONDS_A_MINUTE, values))
        return found

    charts = {
        "loss on training episodes": curves(model="loss", guess="guess_loss"),
        "mean Dice on held-out episodes": curves(model="model", guess="guess"),
    }
    return {title: found for title, found in charts.items() if found}


def chart(title: str, curves: list[Curve], end: float) -> Image.Image:
    """Draw curves over minutes 0 to ``end``."""
    drawing = Image.new("RGB", (SIZE[0] * SHARP, SIZE[1] * SHARP), "white")
    pen, font = ImageDraw.Draw(drawing), ImageFont.load_default(17 * SHARP)
    left, top, right, bottom = (m * SHARP for m in MARGIN)
    right, bottom = drawing.width - right, drawing.height - bottom
    # a few values at the start, before anything is learned, may lie far off: they leave the chart at the top
    everything = np.concatenate([curve.values for curve in curves])
    ticks = round_numbers(float(everything.min()), float(np.percentile(everything, 99)))

    def place(minutes: Any, values: Any) -> list[tuple[float, float]]:
        x = left + (right - left) * np.asarray(minutes) / end
        share = (np.asarray(values) - ticks[0]) / (ticks[-1] - ticks[0])
        return [(float(a), float(b)) for a, b in zip(x, bottom - (bottom - top) * share.clip(0, 1), strict=True)]

    for tick in ticks:
        ((_, y),) = place([0], [tick])
        pen.line([(left, y), (right, y)], GRID, SHARP)
        pen.text((left - 8 * SHARP, y), f"{tick:g}", INK, font, anchor="rm")
    for minute in (m for m in round_numbers(0, end) if m <= end):
        ((x, _),) = place([minute], [ticks[0]])
        pen.line([(x, bottom), (x, bottom + 5 * SHARP)], INK, SHARP)
        pen.text((x, bottom + 9 * SHARP), f"{minute:g}", INK, font, anchor="mt")
    pen.line([(left, top), (left, bottom), (right, bottom)], INK, SHARP)
    pen.text(((left + right) / 2, drawing.height - 8 * SHARP), "minutes", INK, font, anchor="mb")
    pen.text((left, 12 * SHARP), title, INK, font)
    for k, curve in enumerate(curves):
        points = place(curve.minutes, curve.values)
        pen.line(points, COLOURS[curve.name], 2 * SHARP, joint="curve")
        if len(points) < 60:
            for x, y in points:
                pen.circle((x, y), 3 * SHARP, COLOURS[curve.name])
        at = right - LEGEND * SHARP * (len(curves) - 1 - k), 12 * SHARP
        pen.text(at, f"{curve.name} (last {curve.values[-1]:.4g})", COLOURS[curve.name], font, anchor="ra")
    return drawing.resize(SIZE, Image.Resampling.LANCZOS)


def round_numbers(low: float, high: float) -> list[float]:
    """Four to eight round numbers, equally spaced, from at most ``low`` to at least ``high``."""
    span = max(high - low, 1e-6 * max(abs(high), 1e-6))
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    args = parser.parse_args()
    charts = read(args.log)
    end = max(float(curve.minutes.max()) for curves in charts.values() for curve in curves)
    drawn = [chart(title, curves, end) for title, curves in charts.items()]
    page = Image.new("RGB", (SIZE[0], SIZE[1] * len(drawn)), "white")
    for k, picture in enumerate(drawn):
        page.paste(picture, (0, k * SIZE[1]))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    page.save(args.out)


if __name__ == "__main__":
    main()
