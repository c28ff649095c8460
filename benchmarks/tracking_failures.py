"""Draw where tracking fails: a row a frame, with image, truth, and what each method found.

    python benchmarks/tracking_failures.py DATA_DIR/SET FOUND --out F.png [--count 3]

FOUND is what ``tracking.py --out FOUND`` kept. Shown are the frames in which the model loses most: those with the most
true objects that it missed, ran together, or gave another name than in the frame before. An object has one colour
throughout; in a method's panels that of the true object it covers when it first appears, so that a change of colour is
a mistake.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _sets import AnnotatedSet
from _tracking import METHODS
from numpy.typing import NDArray
from worst_cases import stacked

from napari_incontext_seg.io.picture import Panel, contact_sheet, save_png

Labels = NDArray[np.int64]


def owners(truth: Labels, found: Labels) -> dict[int, int]:
    """True object -> what covers more than half of it."""
    pairs, counts = np.unique(np.stack([truth[truth > 0], found[truth > 0]]), axis=1, return_counts=True)
    areas = dict(zip(*np.unique(truth, return_counts=True), strict=True))
    return {int(i): int(j) for (i, j), n in zip(pairs.T, counts, strict=True) if j and 2 * n > areas[i]}


def mistakes(truth: list[Labels], found: list[Labels]) -> list[int]:
    """For each frame how many true objects are missed, run together with another, or have changed their name."""
    counts, last = [], dict[int, int]()
    for true, ours in zip(truth, found, strict=True):
        here = owners(true, ours)
        objects = [int(i) for i in np.unique(true[true > 0])]
        shared = [j for j in here.values() if list(here.values()).count(j) > 1]
        wrong = [i for i in objects if i not in here or here[i] in shared or last.get(i, here[i]) != here[i]]
        counts.append(len(wrong))
        last |= here
    return counts


def in_true_colours(truth: list[Labels], found: list[Labels]) -> list[Labels]:
    """The labels found, each track under the number of the true object that it covers first; others above all these."""
    names: dict[int, int] = {}
    spare = int(max(t.max() for t in truth))
    for true, ours in zip(truth, found, strict=True):
        for i, j in owners(true, ours).items():
            names.setdefault(j, i)
    for j in np.unique(np.stack(found)).tolist():
        if j and j not in names:
            spare += 1
            names[j] = spare
    table = np.zeros(int(max(f.max() for f in found)) + 1, np.int64)
    table[list(names)] = list(names.values())
    return [table[f] for f in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("found", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--count", type=int, default=3, help="frames to show")
    args = parser.parse_args()
    data = AnnotatedSet.read(args.set)
    truth = [labels.astype(np.int64) for labels in data.labels]
    found = {m: list(np.load(args.found / f"{data.name}-{m}.npz")["labels"].astype(np.int64)) for m in METHODS}
    wrong = {m: mistakes(truth, frames) for m, frames in found.items()}
    coloured = {m: in_true_colours(truth, frames) for m, frames in found.items()}
    worst = np.argsort(wrong["model"], kind="stable")[::-1][: args.count]
    rows = []
    for t in sorted(worst.tolist()):
        maps = [np.zeros_like(truth[t]), truth[t], *(coloured[m][t] for m in METHODS)]
        title = " | ".join(["image", "truth", *(f"{m}: {wrong[m][t]} wrong" for m in METHODS)])
        planes = np.concatenate([data.plane(t)] * len(maps), axis=1)
        rows.append(contact_sheet([Panel(planes, np.concatenate(maps, axis=1), f"frame {t}: {title}")]))
        print(f"frame {t}:", ", ".join(f"{m} {wrong[m][t]} wrong" for m in METHODS))
    save_png(stacked(rows), args.out, overwrite=True)


if __name__ == "__main__":
    main()
