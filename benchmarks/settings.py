"""What the settings of a run are worth: memory, several examples and how they are joined, qualities.

    python benchmarks/settings.py DATA_DIR SET [SET ...] [--model auto] [--json F]

Each set is a stack or time-lapse, propagated from its first frame (`1 example`) or from its first, middle and last
(`3 examples`). The frames that `quality.py` scores are scored, less those three, in every row. Mean Dice, and seconds
for a plane, learning from the examples included.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _sets import AnnotatedSet

from napari_incontext_seg.core.metrics import dice
from napari_incontext_seg.infer.predictor import load_predictor
from napari_incontext_seg.infer.propagate import propagate

# name: (examples, what the predictor is loaded with, what is propagated with)
SETTINGS: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "1 example": (1, {}, {}),
    "1, memory 1": (1, {}, {"memory": 1}),
    "1, memory 4": (1, {}, {"memory": 4}),
    "1, fast": (1, {"quality": "fast"}, {}),
    "1, best": (1, {"quality": "best"}, {}),
    "3 examples, feature": (3, {"ensemble": "feature"}, {}),
    "3, none": (3, {"ensemble": "none"}, {}),
    "3, nearest 1": (3, {}, {"num_examples": 1, "select": "nearest"}),
    "3, similar 1": (3, {}, {"num_examples": 1, "select": "similar"}),
    "3, memory 1": (3, {}, {"memory": 1}),
}


def measure(data: AnnotatedSet, model: str, name: str) -> dict[str, Any]:
    """One row."""
    count, loaded, settings = SETTINGS[name]
    last = len(data.images) - 1
    shown = [0, last // 2, last]
    scored = [f for f in data.scored if f not in shown]
    start = time.perf_counter()
    run = propagate(
        data.stack(), {f: data.labels[f] for f in shown[:count]}, load_predictor(model, **loaded),
        kind=data.predicted_kind, **settings,
    )  # fmt: skip
    found = {s.position: data.as_classes(s.segmentation.labels) for s in run if s.position in scored}
    seconds = (time.perf_counter() - start) / (len(run) - count)
    each = [dice(found[f], data.truth[f], [c]) for c in data.classes for f in scored]
    return {
        "dataset": data.name,
        "settings": name,
        "dice": round(float(np.mean(each)), 4),
        "seconds_per_plane": round(seconds, 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    rows = []
    print(f"{'settings':20s}", *(f"{name:>24s}" for name in args.sets))
    sets = [AnnotatedSet.read(args.data / name) for name in args.sets]
    for name in SETTINGS:
        found = [measure(data, args.model, name) for data in sets]
        rows += found
        cells = (f"{r['dice']:.3f} ({r['seconds_per_plane']:.2f} s)" for r in found)
        mean = np.mean([r["dice"] for r in found])
        print(f"{name:20s}", *(f"{cell:>24s}" for cell in cells), f"  mean {mean:.4f}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
