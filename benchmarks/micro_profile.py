"""Where the time of `micro` goes: parts of binding an example and painting a plane, and the start of a command.

    python benchmarks/micro_profile.py [--side 448] [--threads N] [--rounds 5]

Prints Markdown. The planes are grey, with blobs. Seconds are medians over rounds; of parts within parts only their own.
Start-up is the whole of a command that paints one plane of 64 x 64, in a fresh process, the second time that it runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import tifffile
import torch
from scipy import ndimage

from napari_incontext_seg.core.types import Context, Example
from napari_incontext_seg.infer import guess, ridge
from napari_incontext_seg.infer.places import Places
from napari_incontext_seg.infer.predictor import load_predictor
from napari_incontext_seg.model.micro import Micro

PARTS: list[tuple[Any, str, str]] = [
    (Micro, "forward", "network"),
    (guess, "filter_responses", "filter responses"),
    (guess, "line_responses", "line filters"),
    (ridge.Lift, "apply", "random features and their weights, every pixel"),
    (ridge.Lift, "sums", "random features and their sums, annotated pixels"),
    (ridge.Sums, "solve", "ridge regression"),
    (Places, "added", "places"),
]


@contextmanager
def timed(spent: dict[str, float]) -> Iterator[None]:
    """Add to ``spent`` the seconds of every part, without those of parts inside it."""
    inside: list[float] = []

    def wrapped(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            inside.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - start
                spent[name] += took - inside.pop()
                if inside:
                    inside[-1] += took

        return run

    patches = [patch.object(owner, name, wrapped(getattr(owner, name), title)) for owner, name, title in PARTS]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def profile(quality: str, context: Context, plane: np.ndarray, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each part: ``bind`` and ``paint``."""
    found: dict[str, list[dict[str, float]]] = {"bind": [], "paint": []}
    for _ in range(rounds + 1):  # the first warms up
        predictor = load_predictor("micro", quality=quality)
        for name in found:
            spent: dict[str, float] = defaultdict(float)
            start = time.perf_counter()
            with timed(spent):
                if name == "bind":
                    segmenter = predictor.bind(context)
                else:
                    segmenter(plane)
            whole = time.perf_counter() - start
            found[name].append({**spent, "the rest": whole - sum(spent.values()), "whole": whole})
    return {
        name: {part: median(r.get(part, 0.0) for r in runs[1:]) for part in dict.fromkeys(k for r in runs for k in r)}
        for name, runs in found.items()
    }


def start_up() -> float:
    """Seconds of a command that paints a small plane, from its start to its end."""
    images, labels = blobs(64)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        tifffile.imwrite(here / "image.tif", images, imagej=True, metadata={"axes": "ZYX"})
        tifffile.imwrite(here / "labels.tif", labels)
        command = [
            sys.executable, "-m", "napari_incontext_seg", "propagate", here / "image.tif",
            "--labels", here / "labels.tif",
            "--annotated", "0", "--no-picture", "--overwrite", "--out", here / "out.tif",
        ]  # fmt: skip
        took = 0.0
        for _ in range(2):
            start = time.perf_counter()
            subprocess.run([str(c) for c in command], check=True, capture_output=True)
            took = time.perf_counter() - start
    return took


def blobs(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Two planes (2, side, side) float32 in [0, 1], and the blobs of the first (side, side) uint8."""
    random = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(random.standard_normal((2, side, side)), (0, 6, 6))
    mask = smooth > smooth.std()
    images = 0.3 + 0.3 * mask + 0.05 * random.standard_normal(mask.shape)
    return images.clip(0, 1).astype(np.float32), mask[0].astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    (first, plane), labels = blobs(args.side)
    context = Context((Example(first, labels),))
    columns = {
        f"`{quality}`, {name}": seconds
        for quality in ("balanced", "fast")
        for name, seconds in profile(quality, context, plane[..., None], args.rounds).items()
    }
    print("| seconds |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for part in [*(title for _, _, title in PARTS), "the rest", "whole"]:
        print(f"| {part} |", " | ".join(f"{seconds.get(part, 0):.3f}" for seconds in columns.values()), "|")
    print(f"\na command that paints one small plane: {start_up():.1f} s")


if __name__ == "__main__":
    main()
