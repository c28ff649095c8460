"""Make videos of a few simulated objects, each with looks of its own; one leaves and comes back, one is named late.

    python benchmarks/few_objects.py DATA_DIR [--objects 3,5,8] [--frames 12] [--seed 0]

Folders ``few_objects_N`` are read by `tracking.py`. ``meta.json`` says which objects are annotated in which frame: all
but the last in frame 0; the last, which is there from the beginning, alone in the middle frame. The first is out of
sight from the third frame on, and back for the last three.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

SIZE = 192  # px
RADIUS = 17.0
STEP = 3.0  # px a frame
GREYS = (0.3, 0.95)  # of the darkest and the brightest object, on a background of 0.15
NOISE = 0.04


def video(objects: int, frames: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Images and labels (T, Y, X)."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(objects)))
    cells = rng.permutation(side * side)[:objects]
    at = (np.stack(np.divmod(cells, side), 1) + 0.5) * SIZE / side
    step = rng.normal(0, STEP, (objects, 2))
    greys = rng.permutation(np.linspace(*GREYS, objects))
    y, x = np.indices((SIZE, SIZE))
    bumps = [ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), s) for s in rng.uniform(1, 4, objects)]
    grounds = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 6)
    images, labels = np.zeros((frames, SIZE, SIZE), np.uint8), np.zeros((frames, SIZE, SIZE), np.uint16)
    for t in range(frames):
        light = 0.15 + 0.05 * grounds / grounds.std()
        for k in range(objects):
            if k == 0 and 2 <= t < frames - 3:
                continue
            inside = ((y - at[k, 0]) / 1.15) ** 2 + ((x - at[k, 1]) * 1.15) ** 2 < RADIUS**2
            labels[t][inside] = k + 1
            light[inside] = (greys[k] * (1 + 0.12 * bumps[k] / bumps[k].std()))[inside]
        noisy = ndimage.gaussian_filter(light, 1) + rng.normal(0, NOISE, light.shape)
        images[t] = np.clip(noisy * 200, 0, 255)
        step = 0.7 * step + rng.normal(0, STEP * 0.7, step.shape)
        at = at + step
        step = np.where((at < RADIUS) & (step < 0) | (at > SIZE - RADIUS) & (step > 0), -step, step)
    return images, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--objects", default="3,5,8")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for count in map(int, args.objects.split(",")):
        images, labels = video(count, args.frames, args.seed)
        folder = args.folder / f"few_objects_{count}"
        folder.mkdir(parents=True)
        for name, planes in (("image", images), ("labels", labels)):
            tifffile.imwrite(folder / f"{name}.tif", planes, imagej=True, metadata={"axes": "TYX"})
        meta = {
            "kind": "timelapse",
            "label_kind": "tracked",
            "consecutive": True,
            "redistributable": True,
            "simulated": True,
            "annotated": {"0": list(range(1, count)), str(args.frames // 2): [count]},
        }
        (folder / "meta.json").write_text(json.dumps(meta, indent=1))


if __name__ == "__main__":
    main()
