"""Dice of one annotated frame in, all others out, on real sets; and how well confidence tells where it is wrong.

    python benchmarks/quality.py DATA_DIR [SET ...] [--methods guess,model,rf,copy] [--json F] [--markdown F]

Protocol: the example is frame 0 with all its labels; up to eight other frames, spread evenly, are scored at native
size. Semantic labels are scored class by class (those of the example), objects as one class. Dice of a class and
frame is 1 where both are empty and 0 where one is; its mean is taken over frames, then over classes. Stacks and
time-lapses go through propagation with its defaults, collections image by image.

By default: `model`, the default predictor; `guess`, the closed form that it starts from; `rf`, a random forest on
scikit-image's features; `copy`, the example's labels. `--methods all` adds what takes minutes a set: `fast` and `best`,
the model at those qualities; `blocks`, the model with its transformer blocks zeroed; `tuned`, the model tuned on the
example for 60 s; `unet`, a plain U-Net trained from nothing on the example for 60 s on two threads, with the guess as
further input. Such seconds are part of `bind_seconds`. On a busy machine tune for `--tuning-steps 240`, which is about
what 60 s on two cores at rest allow; the U-Net goes by the processor's time.

Designs are chosen on five sets alone, so the other eight stand apart, and so do the two videos (`davis_*`).
`slice_spearman` compares slice confidence with Dice over the scored frames, `pixel_auroc` is how well low confidence
finds wrong pixels. Where labels are objects, `ap50` and `ap75` are the mean over frames of TP / (TP + FP + FN) at IoU
0.5 and 0.75; the forest's mask is cut into objects by a watershed of the distance to background. Stacks of 3-D objects
(labels that are objects, or ``instances.tif``) are scored in 3-D besides: ours linked through z, the forest's by a
watershed of the volume. A set that fails scores 0, and the script exits 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from _methods import Outcome, TunedPredictor, run_copy, run_forest, run_predictor
from _report import HEADER, line, markdown, summary, wins
from _sets import AnnotatedSet
from _tracking import split_by_distance
from _unet import UNetPredictor
from _volumes import measure_volume

from napari_incontext_seg.core.metrics import auroc, object_overlaps, precision_of_overlaps, spearman
from napari_incontext_seg.infer.closed_form import GuessPredictor
from napari_incontext_seg.infer.predictor import load_predictor

METHODS = ("guess", "model", "fast", "best", "blocks", "tuned", "unet", "rf", "copy")
QUICK = ("guess", "model", "rf", "copy")
AUROC_PIXELS = 200_000


def run(method: str, data: AnnotatedSet, tuning_steps: int | None = None) -> Outcome:
    if method in ("copy", "rf"):
        return {"copy": run_copy, "rf": run_forest}[method](data)
    return run_predictor(data, predictor(method, tuning_steps))


def predictor(method: str, tuning_steps: int | None = None) -> Any:
    """What `run_predictor` runs for ``method``; Any, as what a model can do beyond a `Predictor` is for it to say."""
    if method in ("guess", "unet"):
        return GuessPredictor() if method == "guess" else UNetPredictor()
    model: Any = load_predictor("auto")
    if method == "blocks":
        return model.without_blocks()
    if method == "tuned":
        return TunedPredictor(model, tuning_steps)
    return model if method == "model" else load_predictor("auto", quality=method)


def measure(method: str, data: AnnotatedSet, tuning_steps: int | None = None) -> dict[str, Any]:
    """One row of the table."""
    _reset_peak()
    try:
        outcome = run(method, data, tuning_steps)
        mean, each = data.score(outcome.predicted)
    except Exception as error:  # whatever it is, the other sets are still worth knowing
        return failure(data.name, data.kind, method, error)
    row = _row(
        data, method, dice=round(mean, 4), dice_by_frame=[round(d, 4) for d in each],
        seconds_per_plane=round(outcome.seconds / max(1, outcome.planes), 3),
        bind_seconds=round(outcome.bind_seconds, 3), peak_mb=_peak(),
    )  # fmt: skip
    return row | confidence_figures(data, outcome, each) | object_figures(data, outcome, method)


def measure_all(
    folder: Path, methods: list[str], same: dict[str, str], tuning_steps: int | None = None
) -> list[dict[str, Any]]:
    """A row for each method on one set; ``same`` says whose row a method shares."""
    try:
        data = AnnotatedSet.read(folder)
    except Exception as error:
        return [failure(folder.name, "unreadable", method, error) for method in methods]
    rows: dict[str, dict[str, Any]] = {}
    for method in methods:
        shared = rows.get(same.get(method, ""))
        rows[method] = shared | {"method": method} if shared else measure(method, data, tuning_steps)
        print(line(rows[method]), flush=True)
    return list(rows.values())


def failure(name: str, kind: str, method: str, error: Exception) -> dict[str, Any]:
    """The row of a set that failed: Dice 0."""
    traceback.print_exception(error)
    return {"dataset": name, "kind": kind, "method": method, "dice": 0.0, "error": f"{type(error).__name__}: {error}"}


def confidence_figures(data: AnnotatedSet, outcome: Outcome, dice_by_frame: list[float]) -> dict[str, float | None]:
    """How well slice confidence orders frames by Dice, and how well pixel confidence finds errors; None: undefined."""
    if not outcome.segmentations:
        return {}
    found = [outcome.segmentations[f] for f in data.scored]
    slices = spearman([s.slice_confidence for s in found], dice_by_frame)
    doubt = np.concatenate([1 - s.confidence.ravel() for s in found])
    wrong = np.concatenate([(outcome.predicted[f] != data.truth[f]).ravel() for f in data.scored])
    chosen = np.random.default_rng(0).permutation(wrong.size)[:AUROC_PIXELS]
    pixels = auroc(doubt[chosen], wrong[chosen])
    return {n: None if np.isnan(v) else round(v, 3) for n, v in (("slice_spearman", slices), ("pixel_auroc", pixels))}


def object_figures(data: AnnotatedSet, outcome: Outcome, method: str) -> dict[str, float]:
    """Mean over frames of the average precision of objects, TP / (TP + FP + FN), at IoU 0.5 and 0.75.

    A predictor tells objects apart itself; a forest's mask is cut by a watershed of the distance to background.
    """
    if data.predicted_kind == "semantic" or data.is_video or (method != "rf" and not outcome.segmentations):
        return {}
    area = float(np.median(np.unique(data.labels[0][data.labels[0] > 0], return_counts=True)[1]))
    radius = float(np.sqrt(area / np.pi))
    overlaps = []
    for frame in data.scored:
        if outcome.segmentations:
            objects = outcome.segmentations[frame].labels
        else:
            objects = split_by_distance(outcome.predicted[frame] > 0, radius, area / 10)
        overlaps.append(object_overlaps(objects, data.labels[frame]))
    return {
        name: round(float(np.mean([precision_of_overlaps(shared, threshold) for shared in overlaps])), 4)
        for name, threshold in (("ap50", 0.5), ("ap75", 0.75))
    }


def _row(data: AnnotatedSet, method: str, **figures: Any) -> dict[str, Any]:
    return {"dataset": data.name, "kind": data.kind, "method": method, **figures}


def _reset_peak() -> None:
    mark = Path("/proc/self/clear_refs")
    if mark.exists():
        mark.write_text("5")  # the high-water mark becomes what is held now


def _peak() -> int | None:
    """The most memory held since `_reset_peak`, in megabytes; None where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(int(s.split()[1]) // 1024 for s in status.read_text().splitlines() if s.startswith("VmHWM:"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--methods", default=",".join(QUICK), help=f"all, or some of {','.join(METHODS)}")
    parser.add_argument("--tuning-steps", type=int, help="tune for so many steps instead of 60 s")
    parser.add_argument(
        "--json", type=Path, help="write all figures here, after each set; sets already there are not run again"
    )
    parser.add_argument("--markdown", type=Path, help="write the tables here, after each set")
    args = parser.parse_args()
    methods = list(METHODS) if args.methods == "all" else args.methods.split(",")
    folders = sorted(f for f in args.data.iterdir() if (f / "meta.json").exists())
    unknown = {*methods} - {*METHODS} | {*args.sets} - {f.name for f in folders}
    if unknown or not folders:
        parser.error(f"no such set or method: {', '.join(sorted(unknown)) or args.data}")
    model = predictor("model")
    report: dict[str, Any] = {"commit": commit(), "checkpoint": model.digest, "model": model.name, "methods": methods}
    report["tuning_steps"] = args.tuning_steps
    report |= _begun(args.json, report)
    done = {row["dataset"] for row in report["rows"]}
    # while the default predictor is the closed form, its figures need not be made twice
    same = {"model": "guess"} if model.name == "guess" and "guess" in methods else {}
    print(HEADER)
    for folder in folders:
        if folder.name in done or (args.sets and folder.name not in args.sets):
            continue
        report["rows"] += measure_all(folder, sorted(methods, key=METHODS.index), same, args.tuning_steps)
        report["volumes"] += measure_volume(folder, methods, model)
        if args.json:
            figures = {"means": summary(report["rows"]), "wins": wins(report["rows"])}
            args.json.write_text(json.dumps(report | figures, indent=1) + "\n")
        if args.markdown:
            args.markdown.write_text(markdown(report))
    for row in report["volumes"]:
        print(f"{row['dataset']:24s} in 3-D      {row['method']:6s} AP50 {row['ap50']:.3f}   AP75 {row['ap75']:.3f}")
    for method, means in summary(report["rows"]).items():
        print(f"{method:6s}", "   ".join(f"{group} {mean:.4f}" for group, mean in means.items()))
    for method, won in wins(report["rows"]).items():
        print(f"{method:6s}", "   ".join(f"{name} {value}" for name, value in won.items()))
    failed = [f"{r['dataset']} ({r['method']})" for r in report["rows"] + report["volumes"] if "error" in r]
    if failed:
        print("failed:", ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


def _begun(path: Path | None, report: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows of ``path`` from an earlier run with the same commit, weights and settings, less sets that failed."""
    before = json.loads(path.read_text()) if path is not None and path.exists() else {}
    if any(before.get(name) != value for name, value in report.items()):
        return {"rows": [], "volumes": []}
    failed = {row["dataset"] for row in before["rows"] + before["volumes"] if "error" in row}
    return {name: [row for row in before[name] if row["dataset"] not in failed] for name in ("rows", "volumes")}


def commit() -> str:
    here = Path(__file__).resolve().parent
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
