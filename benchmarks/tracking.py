"""The first frame annotated, objects followed through all others: SEG, TRA, and J&F.

    python benchmarks/tracking.py DATA_DIR [SET ...] [--methods model,rf,flow] [--json F] [--out FOLDER]

Sets are those whose ``meta.json`` says ``tracked`` and ``consecutive``. On `davis_*`, and where ``meta.json`` says
which objects are ``annotated`` in which frame (`few_objects.py`), the figure is J&F, the mean of region similarity and
boundary accuracy of the DAVIS challenge, of each object and then over objects; on all others SEG and TRA of the Cell
Tracking Challenge, through traccuracy. Where ``man_track.txt`` tells the true lineage, divisions count; where it does
not, no method's divisions do. The first frame is never scored.

`model` is ours, all defaults. `rf` is a random forest on the annotated frame, a watershed of the distance to
background, and laptrack with its default settings; `flow` carries the annotated labels by scikit-image's optical flow.
A set that fails scores 0, and the script exits 1. ``--out`` keeps the labels found, for `tracking_failures.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from _sets import AnnotatedSet
from _tracking import METHODS, Followed, j_and_f, read_lineage, seg_tra
from quality import commit

FIGURES = ("seg", "tra", "jf")


def is_scored(folder: Path) -> bool:
    """Whether a set's frames follow each other and its ids are tracks."""
    meta = json.loads((folder / "meta.json").read_text())
    return meta.get("label_kind") == "tracked" and bool(meta.get("consecutive"))


def measure(method: str, data: AnnotatedSet, folder: Path, out: Path | None) -> dict[str, Any]:
    """One row of the table; a figure that does not apply is None."""
    row: dict[str, Any] = {"dataset": data.name, "method": method, **dict.fromkeys(FIGURES)}
    lineage = read_lineage(folder)
    start = time.perf_counter()
    try:
        found = METHODS[method](data)
        row["seconds"] = round(time.perf_counter() - start, 1)
        truth = Followed(data.labels, lineage or {})
        if lineage is None:
            found.parents = {}
        if data.is_video:
            objects = j_and_f(truth, found, data.annotated)
            row["objects"] = {i: [round(j, 4), round(f, 4)] for i, (j, f) in objects.items()}
            row["jf"] = round(float(np.mean(list(objects.values()))), 4)
        else:
            row["seg"], row["tra"] = (round(score, 4) for score in seg_tra(truth, found))
    except Exception as error:  # whatever it is, the other sets are still worth knowing
        traceback.print_exception(error)
        failed = dict.fromkeys(("jf",) if data.is_video else ("seg", "tra"), 0.0)
        return row | failed | {"error": f"{type(error).__name__}: {error}"}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(out / f"{data.name}-{method}.npz", labels=np.stack(found.frames).astype(np.uint32))
    return row


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Method -> figure -> mean over the sets that have it."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    return {
        m: {
            f: round(float(np.mean(scores)), 4)
            for f in FIGURES
            if (scores := [row[f] for row in rows if row["method"] == m and row[f] is not None])
        }
        for m in methods
    }


def line(row: dict[str, Any]) -> str:
    figures = "".join(f"{row[f]:>8.3f}" if row.get(f) is not None else f"{'-':>8}" for f in FIGURES)
    return f"{row['dataset']:24s} {row['method']:6s}{figures}{row.get('seconds', 0):>8.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--json", type=Path, help="write all figures here, after each set")
    parser.add_argument("--out", type=Path, help="keep the labels that were found in this folder")
    args = parser.parse_args()
    methods = args.methods.split(",")
    folders = sorted(f for f in args.data.iterdir() if (f / "meta.json").exists() and is_scored(f))
    unknown = {*methods} - {*METHODS} | {*args.sets} - {f.name for f in folders}
    if unknown or not folders:
        parser.error(f"no such set of consecutive tracked frames, or method: {', '.join(sorted(unknown)) or args.data}")
    report: dict[str, Any] = {"commit": commit(), "rows": []}
    print(f"{'set':24s} {'method':6s}{'SEG':>8}{'TRA':>8}{'J&F':>8}{'s':>8}")
    for folder in folders:
        if args.sets and folder.name not in args.sets:
            continue
        data = AnnotatedSet.read(folder)
        for method in methods:
            report["rows"].append(measure(method, data, folder, args.out))
            print(line(report["rows"][-1]), flush=True)
        if args.json:
            args.json.write_text(json.dumps(report | {"means": means(report["rows"])}, indent=1) + "\n")
    for method, figures in means(report["rows"]).items():
        print(f"mean {method:6s}", "   ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    failed = [f"{r['dataset']} ({r['method']})" for r in report["rows"] if "error" in r]
    if failed:
        print("failed:", ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
