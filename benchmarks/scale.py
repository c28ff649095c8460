"""Large and long runs: memory, runs that are killed and resumed, workers, and workers that are killed.

Parts can be run alone. The stack is synthetic (discs that move on noise), the model the default one; all runs have the
same number of threads a process, so that outcomes can be compared bit by bit.

    python benchmarks/scale.py memory --slices 2000 --size 512 --quality fast
    python benchmarks/scale.py resume,workers,killed [--slices 120] [--size 256] [--model auto] [--threads 1] [--json F]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

Facts = dict[str, Any]
SHORT = 100  # slices that a long run is compared with
KILLS = 5


def write_stack(path: Path, slices: int, size: int) -> Path:
    """Write a TIFF of discs that move, and, beside it, the labels of its first slice; return the labels' file."""
    rows, columns = np.mgrid[:size, :size]
    noise = np.random.default_rng(0)
    places = noise.uniform(0.1, 0.9, (8, 2)) * size
    speeds = noise.normal(0, 0.4, (8, 2))

    def mask(z: int) -> np.ndarray:
        discs = [(rows - y) ** 2 + (columns - x) ** 2 < (size / 16) ** 2 for y, x in places + z * speeds]
        return np.any(discs, axis=0)

    with tifffile.TiffWriter(path, bigtiff=slices * size * size > 2**31) as file:
        planes = (np.where(mask(z), 150, 70) + noise.integers(0, 60, (size, size)) for z in range(slices))
        shape = (slices, size, size)
        file.write((p.astype(np.uint8) for p in planes), shape=shape, dtype=np.uint8, metadata={"axes": "ZYX"})
    labels = path.with_name("labels.tif")
    tifffile.imwrite(labels, mask(0)[None].astype(np.uint8))
    return labels


def write_zarr(path: Path, tiff: Path) -> None:
    """Write the stack in a TIFF as an OME-Zarr image, plane by plane."""
    from napari_incontext_seg import open_stack
    from napari_incontext_seg.io.ome_zarr import write_ome_zarr_image

    stack = open_stack(tiff)
    write_ome_zarr_image(path, (stack.read(z)[..., 0] for z in range(len(stack))), stack, stack.data.dtype)


def command(
    folder: Path, out: str, arguments: argparse.Namespace, *options: str, image: str = "stack.tif"
) -> list[str]:
    """The command line of a run over a stack in ``folder``."""
    if arguments.model == "bright":
        return [sys.executable, __file__, "bright", "--paint", *(str(folder / name) for name in (image, out))]
    return [
        sys.executable, "-m", "napari_incontext_seg", "propagate", str(folder / image),
        "--labels", str(folder / "labels.tif"), "--annotated", "0", "--model", arguments.model,
        "--quality", arguments.quality, "--out", str(folder / out), "--no-picture", "--json", *options,
    ]  # fmt: skip


class Bright:
    """A model that takes no time: what is bright gets a label. All the rest of a run is as it is with others."""

    name, digest = "bright", "0"

    def bind(self, context: Any) -> Any:
        from napari_incontext_seg import Segmentation

        return lambda plane: Segmentation((plane[..., 0] > 0.5).astype(np.uint32), plane[..., 0])


def paint_bright(image: Path, out: Path) -> None:
    """A run with `Bright`, which the command line does not know."""
    from napari_incontext_seg import open_labels, open_stack, propagate, run_to_file

    labels = open_labels(image.with_name("labels.tif")).read(0)[..., 0]
    report = run_to_file(propagate(open_stack(image), {0: labels}, Bright()), out)
    print(json.dumps(report.as_dict()))


def timed(line: list[str], arguments: argparse.Namespace) -> Facts:
    """Run a command; seconds of the whole process, and of the run without the start of Python, model and workers."""
    started = time.perf_counter()
    done = subprocess.run(line, stdout=subprocess.PIPE, env=environment(arguments), check=True)
    return {"seconds": time.perf_counter() - started, "run_seconds": json.loads(done.stdout)["seconds"]}


def environment(arguments: argparse.Namespace) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}


def differing(folder: Path, one: str, other: str) -> Facts:
    """How many pixels of labels and confidence differ between two results."""
    from napari_incontext_seg import open_labels, open_stack

    counts = {}
    for name, where, opened in (("labels", "", open_labels), ("confidence", "confidence", open_stack)):
        a, b = (opened(part(folder / out, where)).data for out in (one, other))
        counts[f"{name}_differ"] = int(sum((a[z] != b[z]).sum() for z in range(a.shape[0])))
    return counts


def part(out: Path, name: str) -> Path:
    """Where a result has its labels (no name), or its confidence."""
    return out.with_name(f"{out.stem}_{name}.tif") if name and out.suffix == ".tif" else out / name


# -- parts ------------------------------------------------------------------------------------------------------------
def memory(arguments: argparse.Namespace, folder: Path) -> list[Facts]:
    """Resident memory of runs over a TIFF and an OME-Zarr, short (100 slices) and whole."""
    rows: list[Facts] = []
    for suffix in arguments.sources.split(","):
        for slices in dict.fromkeys((min(SHORT, arguments.slices), arguments.slices)):
            image = f"{slices}.{suffix}"
            if not (folder / f"{slices}.tif").exists():
                write_stack(folder / f"{slices}.tif", slices, arguments.size)
            if suffix == "zarr":
                write_zarr(folder / image, folder / f"{slices}.tif")
            line = command(folder, f"out_{image}", arguments, image=image)
            process = subprocess.Popen(line, stdout=subprocess.PIPE, env=environment(arguments))
            facts = watched(process)
            rows.append({"run": image, "slices": slices, **facts})
    for short, whole in zip(rows[::2], rows[1::2], strict=False):
        whole["peak_against_short"] = f"{whole['peak_mb'] / short['peak_mb'] - 1:+.1%}"
    return rows


def watched(process: subprocess.Popen[bytes]) -> Facts:
    """Wait for a process: seconds, its highest resident memory, and the median of its last half, in MB."""
    started, seen, peak = time.perf_counter(), list[int](), 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = status.read_text().splitlines()
        seen += [int(line.split()[1]) for line in lines if line.startswith("VmRSS")]
        peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0) or peak
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit("the run failed")
    half = sorted(seen[len(seen) // 2 :])
    return {"seconds": time.perf_counter() - started, "peak_mb": peak / 1024, "late_mb": half[len(half) // 2] / 1024}


def resume(arguments: argparse.Namespace, folder: Path) -> list[Facts]:
    """Runs that are killed at random moments and resumed until they come to their end."""
    rows: list[Facts] = []
    chance = np.random.default_rng(0)
    for suffix, options in (("tif", ()), ("zarr", ()), ("zarr", ("--memory", "2"))):
        whole, out = (f"{name}{len(rows)}.{suffix}" for name in ("whole", "resumed"))
        facts = timed(command(folder, whole, arguments, *options), arguments)
        kills, started = 0, time.perf_counter()
        while True:
            process = subprocess.Popen(
                command(folder, out, arguments, *options, "--resume"), stdout=subprocess.DEVNULL,
                env=environment(arguments),
            )  # fmt: skip
            begun = facts["seconds"] - facts["run_seconds"]
            try:
                process.wait(begun + chance.uniform(0.05, 0.5) * facts["run_seconds"] if kills < KILLS else None)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        if process.returncode:
            raise SystemExit("the run failed")
        rows.append({
            "run": f"{suffix} {' '.join(options)}".strip(), "kills": kills, "whole_seconds": facts["seconds"],
            "seconds": time.perf_counter() - started, **differing(folder, whole, out),
        })  # fmt: skip
    return rows


def workers(arguments: argparse.Namespace, folder: Path) -> list[Facts]:
    """One process, then one worker, then two: seconds, and pixels that differ from the first."""
    rows: list[Facts] = []
    for name, options in (("serial", []), ("1 worker", ["--workers", "1"]), ("2 workers", ["--workers", "2"])):
        out = f"{name.replace(' ', '_')}.zarr"
        facts = timed(command(folder, out, arguments, *options), arguments)
        rows.append({"run": name, **facts, **differing(folder, "serial.zarr", out)})
    return rows


def killed(arguments: argparse.Namespace, folder: Path) -> list[Facts]:
    """Two workers, one of which is killed after each quarter of the slices: pixels that differ from one process."""
    serial, out = folder / "serial.zarr", "killed.zarr"
    if not serial.exists():
        timed(command(folder, serial.name, arguments), arguments)
    started = time.perf_counter()
    process = subprocess.Popen(
        command(folder, out, arguments, "--workers", "2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(arguments),
    )  # fmt: skip
    kills = 0
    while process.poll() is None:
        time.sleep(0.2)
        finished = sum(1 for _ in folder.glob(f".{Path(out).stem}-*.partial/spool/labels/c.*"))
        if finished >= (kills + 1) * arguments.slices // 4 and kills < 3 and (pids := painters(process.pid)):
            os.kill(pids[0], signal.SIGKILL)
            kills += 1
    if process.returncode:
        raise SystemExit(process.stderr.read().decode() if process.stderr else "the run failed")
    seconds = time.perf_counter() - started
    return [{"run": f"2 workers, {kills} kills", "seconds": seconds, **differing(folder, serial.name, out)}]


def painters(parent: int) -> list[int]:
    """Process numbers of the workers that a run has started, those that multiprocessing has spawned."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            _, _, after = (entry / "stat").read_text().rpartition(")")
            if int(after.split()[1]) == parent and b"spawn_main" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    return sorted(found)


PARTS: dict[str, Callable[[argparse.Namespace, Path], list[Facts]]] = {
    "memory": memory, "resume": resume, "workers": workers, "killed": killed,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("parts", help=f"of {', '.join(PARTS)}; several are joined by commas")
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--model", default="auto", help="or bright, which takes no time (memory only)")
    parser.add_argument("--sources", default="tif,zarr", help="of the part memory")
    parser.add_argument("--quality", default="balanced")
    parser.add_argument("--threads", type=int, default=1, help="a process")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--paint", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.paint:
        paint_bright(*arguments.paint)
        return
    chosen = arguments.parts.split(",")
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    results: Facts = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        **{name: getattr(arguments, name) for name in ("slices", "size", "model", "quality", "threads")},
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_stack(folder / "stack.tif", arguments.slices, arguments.size)
        for part in chosen:
            results[part] = PARTS[part](arguments, folder)
            for row in results[part]:
                cells = (
                    f"{name} {value:.1f}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in row.items()
                )
                print(f"{part}: {', '.join(cells)}", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
