r"""Draw a contact sheet of synthetic training episodes, beside real data if a folder of it is given.

    python benchmarks/episodes_sheet.py --out sheet.png [--family NAME] [--data ../shared/data [--sets NAME,NAME]]

Each row is one episode: example, its labels, query, its labels. The picture in the documentation is

    python benchmarks/episodes_sheet.py --out docs/images/episodes.png --seed 20 --size 112 --shades 128 \
        --data ../shared/data --sets \
        dsb2018_fluo_256,usiigaci_nih3t3_phase,dsb2018_histo_purple,axondeepseg_sem,plantseg_ovule
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _sets import DESIGN, AnnotatedSet
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from napari_incontext_seg.train.episodes import EpisodeConfig, generate
from napari_incontext_seg.train.scenes import FAMILIES

COLOURS = np.array([[0, 0, 0], [255, 90, 80], [90, 170, 255], [120, 220, 100], [250, 210, 70]], np.uint8)
GAP, TITLE = 1, 13  # pixels between pictures, and above them
Pixels = NDArray[np.uint8]
Row = tuple[str, list[Pixels]]


def episode_rows(family: str, count: int, size: int, seed: int) -> list[Row]:
    """Return the name and the pictures of ``count`` episodes of a family."""
    episodes = generate(count, size, seed, config=EpisodeConfig(families=(family,)))
    rows = []
    for images, labels in zip(episodes.images.numpy(), episodes.labels.numpy(), strict=True):
        pictures = []
        for view in (1, 0):
            pictures += [(images[view].transpose(1, 2, 0) * 255).astype(np.uint8), COLOURS[labels[view]]]
        rows.append((family.replace("_", " "), pictures))
    return rows


def real_row(folder: Path, size: int) -> Row:
    """Return the first two frames of a set in the same layout, cut where most is annotated."""
    real = AnnotatedSet.read(folder)
    pictures = []
    for frame in (0, 1):
        truth = np.minimum(real.truth[frame], len(COLOURS) - 1)
        window = _busiest(truth > 0, size)
        image, labels = (real.plane(frame)[window] * 255).astype(np.uint8), truth[window]
        pictures += [np.broadcast_to(image, (*image.shape[:2], 3)), COLOURS[labels]]
    return f"real: {real.name}", [np.pad(p, [(0, size - n) for n in p.shape[:2]] + [(0, 0)]) for p in pictures]


def _busiest(annotated: NDArray[np.bool_], size: int) -> tuple[slice, slice]:
    """The square of ``size`` pixels that holds most of what is annotated."""
    tops, lefts = (range(0, max(1, n - size + 1), max(1, size // 4)) for n in annotated.shape)
    windows = [(slice(y, y + size), slice(x, x + size)) for y in tops for x in lefts]
    return max(windows, key=lambda window: annotated[window].sum())


def sheet(rows: list[Row], columns: int) -> Image.Image:
    """Lay rows of four pictures out in ``columns``."""
    size = rows[0][1][0].shape[0]
    wide, high = 4 * size + 16, size + TITLE + 1
    page = Image.new("RGB", (columns * wide, -(-len(rows) // columns) * high), "white")
    pen = ImageDraw.Draw(page)
    for i, (name, pictures) in enumerate(rows):
        left, top = i % columns * wide, i // columns * high
        pen.text((left + 2, top), name, fill="black")
        for j, picture in enumerate(pictures):
            page.paste(Image.fromarray(picture), (left + j * (size + GAP), top + TITLE))
    return page


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--family", choices=sorted(FAMILIES), help="one family only")
    parser.add_argument("--count", type=int, default=1, help="episodes a family")
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--size", type=int, default=192, help="pixels a side of an episode")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder of real sets, which are shown last")
    parser.add_argument("--sets", default=",".join(DESIGN), help="which of them; default: those that designs see")
    parser.add_argument("--shades", type=int, help="reduce the picture to so many colours, for a small file")
    args = parser.parse_args()
    families = [args.family] if args.family else list(FAMILIES)
    rows = [row for i, name in enumerate(families) for row in episode_rows(name, args.count, args.size, args.seed + i)]
    if args.data:
        rows += [real_row(args.data / name, args.size) for name in args.sets.split(",")]
    page = sheet(rows, args.columns)
    if args.shades:
        page = page.quantize(args.shades, dither=Image.Dither.NONE)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    page.save(args.out, optimize=True)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()
