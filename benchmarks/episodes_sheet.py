"""Draw a contact sheet of synthetic training episodes, beside real data if a folder of it is given.

    python benchmarks/episodes_sheet.py --out sheet.png [--family NAME] [--data ../shared/data]

Each row is one episode: example, its labels, query, its labels; families are named at the left.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from napari_incontext_seg.train.episodes import EpisodeConfig, generate
from napari_incontext_seg.train.scenes import FAMILIES

DESIGN_SETS = ("isbi2012_em_membrane", "ctc_gowt1_01", "dsb2018_fluo_256", "drive_vessels", "usiigaci_nih3t3_phase")
"""The only real sets that designs may be chosen on: the others stay unseen here."""
COLOURS = np.array([[0, 0, 0], [255, 90, 80], [90, 170, 255], [120, 220, 100], [250, 210, 70]], np.uint8)
Pixels = NDArray[np.uint8]


def episode_rows(family: str | None, count: int, size: int, seed: int) -> list[tuple[str, list[Pixels]]]:
    """Return the name and the pictures of ``count`` episodes."""
    config = EpisodeConfig(families=(family,)) if family else EpisodeConfig()
    episodes = generate(count, size, seed, config=config)
    rows = []
    for images, labels, name in zip(episodes.images.numpy(), episodes.labels.numpy(), episodes.families, strict=True):
        pictures = []
        for view in (1, 0):
            pictures += [(images[view].transpose(1, 2, 0) * 255).astype(np.uint8), COLOURS[labels[view]]]
        rows.append((name, pictures))
    return rows


def real_rows(data: Path, size: int) -> list[tuple[str, list[Pixels]]]:
    """Return crops of the design sets in the same layout."""
    rows = []
    for name in DESIGN_SETS:
        stack, truth = tifffile.imread(data / name / "image.tif"), tifffile.imread(data / name / "labels.tif")
        pictures = []
        for frame in (0, 1):
            image, labels = stack[frame].astype(float), np.minimum(truth[frame], 1)
            low, high = np.percentile(image, [0.5, 99.5])
            image = np.clip((image - low) / max(high - low, 1e-9), 0, 1)
            top, left = (max(0, (n - size) // 2) for n in labels.shape)
            window = (slice(top, top + size), slice(left, left + size))
            grey = np.broadcast_to(image[..., None], (*image.shape, 3)) if image.ndim == 2 else image
            for picture in ((grey[window] * 255).astype(np.uint8), COLOURS[labels[window]]):
                pictures.append(np.pad(picture, [(0, size - n) for n in picture.shape[:2]] + [(0, 0)]))
        rows.append((name, pictures))
    return rows


def sheet(rows: list[tuple[str, list[Pixels]]], columns: int) -> Image.Image:
    """Lay rows of four pictures out in ``columns``."""
    size = rows[0][1][0].shape[0]
    wide, high = 4 * size + 16, size + 14
    page = Image.new("RGB", (columns * wide, -(-len(rows) // columns) * high), "white")
    pen = ImageDraw.Draw(page)
    for i, (name, pictures) in enumerate(rows):
        left, top = i % columns * wide, i // columns * high
        pen.text((left + 2, top), name, fill="black")
        for j, picture in enumerate(pictures):
            page.paste(Image.fromarray(picture), (left + j * (size + 1), top + 12))
    return page


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--family", choices=sorted(FAMILIES), help="one family only")
    parser.add_argument("--count", type=int, default=28)
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder of real data: its design sets are shown first")
    args = parser.parse_args()
    rows = real_rows(args.data, args.size) if args.data else []
    rows += sorted(episode_rows(args.family, args.count, args.size, args.seed), key=lambda row: row[0])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows, args.columns).save(args.out)


if __name__ == "__main__":
    main()
