"""What `quality.py` tells of its rows: lines while it runs, means, wins, and tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from _sets import DESIGN, VIDEO

Row: TypeAlias = Mapping[str, Any]
Cell: TypeAlias = Callable[[Row], str]

RIVAL = "rf"
COLUMNS = ("dice", "seconds_per_plane", "bind_seconds", "slice_spearman", "pixel_auroc", "ap50", "ap75")
HEADER = f"{'set':24s} {'kind':11s} {'method':6s}" + "".join(
    f"{h:>8}" for h in ("Dice", "s/plane", "bind s", "rho", "AUROC", "AP50", "AP75")
)
GROUPS: dict[str, Callable[[str], bool]] = {
    "stills": lambda name: not name.startswith(VIDEO),
    "design": lambda name: name in DESIGN,
    "others": lambda name: name not in DESIGN and not name.startswith(VIDEO),
    "videos": lambda name: name.startswith(VIDEO),
}


def line(row: Row) -> str:
    figures = [f"{row[k]:>8.3f}" if row.get(k) is not None else f"{'-':>8}" for k in COLUMNS]
    return f"{row['dataset']:24s} {row['kind']:11s} {row['method']:6s}" + "".join(figures)


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean Dice of each method over groups of sets: those not videos, the design sets, the others, the videos."""
    means: dict[str, dict[str, float]] = {}
    for group, belongs in GROUPS.items():
        for method in _unique(rows, "method"):
            dice = [r["dice"] for r in rows if r["method"] == method and belongs(r["dataset"])]
            if dice:
                means.setdefault(method, {})[f"{group} ({len(dice)})"] = round(float(np.mean(dice)), 4)
    return means


def wins(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """How each method compares with `RIVAL` over the sets that are not videos; empty where that was not run.

    ``better`` and ``of`` count sets; ``worst`` is the lowest difference of Dice, on ``worst_set``; ``mean`` is that
    of all sets.
    """
    stills = [r for r in rows if GROUPS["stills"](r["dataset"])]
    rival = {r["dataset"]: r["dice"] for r in stills if r["method"] == RIVAL}
    found = {}
    for method in _unique(stills, "method"):
        apart = {
            r["dataset"]: r["dice"] - rival[r["dataset"]]
            for r in stills
            if r["method"] == method != RIVAL and r["dataset"] in rival
        }
        if apart:
            worst = min(apart, key=lambda name: apart[name])
            found[method] = {
                "better": sum(d > 0 for d in apart.values()),
                "of": len(apart),
                "mean": round(float(np.mean([*apart.values()])), 4),
                "worst": round(apart[worst], 4),
                "worst_set": worst,
            }
    return found


def markdown(report: Mapping[str, Any]) -> str:
    """The tables of a report of `quality.py`: Dice, seconds, confidence; the best Dice of a set is bold."""
    rows: Sequence[Row] = report["rows"]
    best = {name: max(r["dice"] for r in rows if r["dataset"] == name) for name in _unique(rows, "dataset")}
    failed = [f"{r['dataset']} ({r['method']}): {r['error']}" for r in rows if "error" in r]
    parts = [
        f"Commit {report['commit'][:7]}, `{report['model']}`, digest {report['checkpoint'][:12]}. Designs were chosen "
        "on the sets marked * alone.",
        "Dice:",
        "\n".join([*_table(rows, lambda row: _dice(row, best[row["dataset"]])), *_mean_rows(rows)]),
        "\n".join(_win(method, w) for method, w in wins(rows).items()),
        "Seconds a plane, in brackets those to learn from the example:",
        "\n".join(_table(rows, _seconds)),
        _memory(rows),
        "Confidence, rho / AUROC: how well it orders slices by Dice, and how well it finds wrong pixels:",
        "\n".join(_table([r for r in rows if "pixel_auroc" in r], _confidence)),
        *_objects([r for r in rows if "ap50" in r]),
        *_volumes(report.get("volumes", [])),
        "\n".join(f"- failed, so counted as 0: {f}" for f in failed),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _unique(rows: Sequence[Row], key: str) -> list[str]:
    return list(dict.fromkeys(r[key] for r in rows))


def _table(rows: Sequence[Row], cell: Cell) -> list[str]:
    """Lines of a table, a set a row: design sets, others, videos; a method a column."""
    methods, at = _unique(rows, "method"), {(r["dataset"], r["method"]): r for r in rows}
    lines = [_cells("set", *(f"`{m}`" for m in methods)), "|---" * (len(methods) + 1) + "|"]
    for group in ("design", "others", "videos"):
        for name in sorted(filter(GROUPS[group], _unique(rows, "dataset"))):
            shown = (at.get((name, m)) for m in methods)
            lines.append(_cells(name + " *" * (group == "design"), *(cell(row) if row else "" for row in shown)))
    return lines


def _mean_rows(rows: Sequence[Row]) -> list[str]:
    means = summary(rows)
    groups = dict.fromkeys(group for of_method in means.values() for group in of_method)
    return [
        _cells(f"*{group}*", *(f"{m[group]:.3f}" if group in m else "" for m in means.values())) for group in groups
    ]


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _dice(row: Row, best: float) -> str:
    if "error" in row:
        return "failed"
    return f"**{row['dice']:.3f}**" if row["dice"] == best else f"{row['dice']:.3f}"


def _seconds(row: Row) -> str:
    if "seconds_per_plane" not in row:
        return ""
    return f"{row['seconds_per_plane']:.2f} ({row['bind_seconds']:.1f})"


def _memory(rows: Sequence[Row]) -> str:
    """The peaks are those of the process, which keeps what earlier methods left behind."""
    held = {m: [r["peak_mb"] for r in rows if r["method"] == m and r.get("peak_mb")] for m in _unique(rows, "method")}
    most = ", ".join(f"`{method}` {max(megabytes)}" for method, megabytes in held.items() if megabytes)
    return f"Most memory that the process held, whoever left it there, in MB: {most}." if most else ""


def _volumes(rows: Sequence[Row]) -> list[str]:
    """The table of 3-D objects."""
    if not rows:
        return []
    table = _table(rows, lambda row: "failed" if "error" in row else f"{row['ap50']:.3f} / {row['ap75']:.3f}")
    return ["Average precision of 3-D objects at IoU 0.5 / 0.75:", "\n".join(table)]


def _objects(rows: Sequence[Row]) -> list[str]:
    """The table of objects, with means over sets."""
    if not rows:
        return []
    means = [
        " / ".join(f"{np.mean([r[k] for r in rows if r['method'] == m]):.3f}" for k in ("ap50", "ap75"))
        for m in _unique(rows, "method")
    ]
    table = _table(rows, lambda row: f"{row['ap50']:.3f} / {row['ap75']:.3f}")
    return [
        "Objects, average precision at IoU 0.5 / 0.75, in one plane:",
        "\n".join([*table, _cells("*mean*", *means)]),
    ]


def _confidence(row: Row) -> str:
    return " / ".join("-" if row[k] is None else f"{row[k]:.2f}" for k in ("slice_spearman", "pixel_auroc"))


def _win(method: str, won: Mapping[str, Any]) -> str:
    return (
        f"- `{method}` is better than `{RIVAL}` on {won['better']} of {won['of']}, by {won['mean']:+.3f} on average; "
        f"worst difference {won['worst']:+.3f} on {won['worst_set']}."
    )
