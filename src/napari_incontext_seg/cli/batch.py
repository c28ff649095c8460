"""``incontext-seg batch``: one example set, hundreds of stacks."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .options import (
    AlongOption,
    ApproximateOption,
    AxesOption,
    ChannelsOption,
    DeviceOption,
    EnsembleOption,
    ExamplesOption,
    KeyOption,
    KindOption,
    MemoryOption,
    ModelOption,
    NumExamplesOption,
    QualityOption,
    RecolourOption,
    SchedulerOption,
    SelectOption,
    WorkersOption,
    open_workers,
    parse_numbers,
)
from .progress import progress_bar

if TYPE_CHECKING:
    from ..session.batch import BatchPlan
    from ..session.batch_report import BatchReport
    from ..session.settings import RunSettings

ROWS = 40  # of the table that is printed; all are in summary.csv
NUMBERS = ("slices", "seconds", "confidence", "least sure slice")


def batch(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Files, folders, quoted patterns ('data/**/*.tif'); each file a stack.", metavar="IMAGES"),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results, which keep their names and subfolders.")],
    examples: ExamplesOption = None,
    key: KeyOption = None,
    settings: Annotated[
        Path | None,
        typer.Option(help="Paint as a run in napari did: labels saved there, or the .json beside.", metavar="FILE"),
    ] = None,
    kind: KindOption = "auto",
    model: ModelOption = "auto",
    device: DeviceOption = "auto",
    ensemble: EnsembleOption = "feature",
    quality: QualityOption = "balanced",
    recolour: RecolourOption = None,
    approximate: ApproximateOption = False,
    memory: MemoryOption = 0,
    num_examples: NumExamplesOption = None,
    select: SelectOption = "nearest",
    along: AlongOption = None,
    axes: AxesOption = None,
    channels: ChannelsOption = None,
    picture: Annotated[bool, typer.Option(help="Write a contact sheet beside each result.")] = False,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what an earlier batch has finished.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report as JSON on standard output.")] = False,
) -> None:
    """Paint many stacks or images alike; failures are listed at the end, the others done."""
    from ..infer.model_choice import ModelChoice
    from ..session.batch import BatchPlan, batch_jobs, run_batch

    if overwrite and resume:
        raise InputError("--resume keeps what is finished, --overwrite replaces it: leave one out.")
    out = out.expanduser().absolute()
    choice = ModelChoice(model, device, ensemble, recolour, quality, key, approximate)
    plan = BatchPlan(examples, choice, None if kind == "auto" else kind, memory, num_examples, select, along)
    if settings is not None:
        plan = BatchPlan.from_settings(read_settings(settings, given=plan), examples)
    plan = replace(
        plan, axes=axes, channels=tuple(parse_numbers(channels, "--channels")) if channels is not None else None,
        picture=picture, earlier="skip" if resume else "replace" if overwrite else "refuse",
    )  # fmt: skip
    total = len(batch_jobs(inputs, out, plan))
    with open_workers(plan.load, workers, scheduler, out=out) as others, progress_bar(total, "files") as advance:
        report = run_batch(inputs, out, plan, workers=others, on_file=lambda _: advance())
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        tell(report)
    for outcome in report.failed:
        print(f"incontext-seg: failed: {outcome.image}: {outcome.reason}", file=sys.stderr)
    if report.failed:
        raise typer.Exit(1)


def read_settings(file: Path, given: BatchPlan) -> RunSettings:
    """Settings of a run in napari; device and key may be given anew. Raises InputError if other options are given."""
    from ..infer.model_choice import ModelChoice
    from ..session.batch import BatchPlan
    from ..session.settings import load_settings

    assert isinstance(given.load, ModelChoice)
    device, key = given.load.device, given.key
    if replace(given, examples=None, load=replace(given.load, device="auto", key=None)) != BatchPlan():
        raise InputError("--settings says how to paint: of the options that do, only --device and --key go with it.")
    found = load_settings(file)
    if key is not None:
        found = replace(found, key=key, tune_seconds=None)
    return found if device == "auto" else replace(found, device=device)


def tell(report: BatchReport) -> None:
    """Print the report."""
    from rich.console import Console
    from rich.table import Column, Table

    from ..session.batch_report import summary_files

    numbers = [Column(title, justify="right") for title in NUMBERS]
    table = Table(Column("file", overflow="fold"), "", *numbers, box=None, pad_edge=False)
    for outcome in report.outcomes[:ROWS]:
        worst = None if outcome.least_sure is None else f"{outcome.least_sure} ({outcome.least_confidence:.2f})"
        cells = [outcome.slices, outcome.seconds, outcome.confidence, worst]
        name = Path(outcome.out).relative_to(report.out)
        table.add_row(str(name), outcome.status, *("" if cell is None else str(cell) for cell in cells))
    Console(soft_wrap=True).print(table)
    if len(report.outcomes) > ROWS:
        print(f"... and {len(report.outcomes) - ROWS} more")
    counts = report.as_dict()
    print(
        f"{counts['done']} done, {counts['skipped']} skipped, {counts['failed']} failed in {report.seconds:.1f} s; "
        f"all in {summary_files(report.out)[0]}"
    )
    if report.least_sure:
        names = (
            f"{Path(o.out).relative_to(report.out)} slice {o.least_sure} ({o.least_confidence:.2f})"
            for o in report.least_sure
        )
        print("least sure: " + ", ".join(names))
