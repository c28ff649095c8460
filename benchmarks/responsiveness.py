"""How long the viewer does not answer: gaps of a 10 ms QTimer, idle and while the plugin runs.

A stack of 512 x 512 x 30 with one annotated slice is opened in a real viewer, and propagated with the embedded model.
While it runs the sliders are moved now and then, as somebody does who looks at what is done. Loading torch is part of
the first run and told apart.

    bash .ci/display .venv/bin/python benchmarks/responsiveness.py [--size 512] [--slices 30] [--idle 10] [--json F]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer
from scipy import ndimage

from napari_incontext_seg._napari.dock import InContextDock

TICK = 0.010  # seconds
WAIT = 600_000  # ms, at most, for a run


class Gaps:
    """Times between the ticks of a timer on the main thread."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(round(TICK * 1000))
        self._timer.timeout.connect(lambda: self.times.append(time.perf_counter()))

    def __enter__(self) -> Gaps:
        self.times = [time.perf_counter()]
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def summary(self) -> dict[str, float]:
        """Milliseconds: the largest gap, and the 99th percentile."""
        gaps = np.diff(self.times) * 1000
        return {
            "largest_ms": round(float(gaps.max()), 1),
            "p99_ms": round(float(np.percentile(gaps, 99)), 1),
            "median_ms": round(float(np.median(gaps)), 1),
            "seconds": round(float(self.times[-1] - self.times[0]), 1),
        }


def stack(size: int, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright blobs that move from slice to slice, with noise; and where they are."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.standard_normal((slices, size, size)).astype(np.float32), (3, 9, 9))
    blobs = field > np.percentile(field, 80)
    image = blobs * 120 + 60 + 25 * rng.standard_normal(blobs.shape)
    return image.clip(0, 255).astype(np.uint8), blobs.astype(np.uint32)


def wait(milliseconds: int) -> None:
    """Let the viewer live for a while."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def browsing(viewer: Any) -> QTimer:
    """A timer that goes one slice on, twice a second."""
    timer = QTimer()
    timer.setInterval(500)
    slices = int(viewer.dims.nsteps[0])
    timer.timeout.connect(lambda: viewer.dims.set_current_step(0, (viewer.dims.current_step[0] + 1) % slices))
    return timer


def measure_run(dock: InContextDock, browse: QTimer) -> dict[str, float]:
    """Gaps during one run, from the press of the button to its end, while somebody browses."""
    loop = QEventLoop()
    dock.bench.job.ended.connect(loop.quit)
    QTimer.singleShot(WAIT, loop.quit)
    with Gaps() as gaps:
        browse.start()
        dock.propagate.run.click()
        loop.exec()
        browse.stop()
    dock.bench.job.ended.disconnect(loop.quit)
    return gaps.summary()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--slices", type=int, default=30)
    parser.add_argument("--idle", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    image, labels = stack(arguments.size, arguments.slices)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1366, 740)
    viewer.add_image(image, name="blobs")
    painted = np.zeros_like(labels)
    painted[arguments.slices // 2] = labels[arguments.slices // 2]
    viewer.add_labels(painted, name="blobs labels")
    dock = InContextDock(viewer)
    viewer.window.add_dock_widget(dock, area="right", name="In-context segmentation")
    viewer.dims.set_current_step(0, arguments.slices // 2)
    wait(1000)
    dock.collecting.add_slice()
    wait(1000)
    with Gaps() as idle:
        wait(round(arguments.idle * 1000))
    browse = browsing(viewer)
    with Gaps() as browsed:
        browse.start()
        wait(round(arguments.idle * 1000))
        browse.stop()
    rows = {"idle": idle.summary(), "idle, sliders moved": browsed.summary()}
    rows["first run, torch is loaded"] = measure_run(dock, browse)
    dock.reviewing.undo("run")
    rows["second run"] = measure_run(dock, browse)
    viewer.close()
    for name, row in rows.items():
        print(f"{name:28s}" + "".join(f"{key} {value:<10}" for key, value in row.items()))
    if arguments.json is not None:
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        report = {"commit": git.stdout.strip(), "machine": platform.processor() or platform.machine(), "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
