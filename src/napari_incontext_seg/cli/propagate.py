"""``incontext-seg propagate``: annotated slices in, the whole stack out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.words import counted
from ..errors import InputError
from .options import (
    AlongOption,
    AnnotatedOption,
    ApproximateOption,
    AxesOption,
    ChannelsOption,
    DeviceOption,
    DirectionChoice,
    EnsembleOption,
    ExamplesOption,
    IgnoreOption,
    ImageArgument,
    KeyOption,
    KindChoice,
    KindOption,
    MemoryOption,
    ModelOption,
    NamesOption,
    NumExamplesOption,
    QualityOption,
    RecolourOption,
    SchedulerOption,
    SelectOption,
    WorkersOption,
    open_collection,
    open_given_labels,
    open_workers,
    parse_duration,
    parse_numbers,
    parse_span,
)
from .progress import progress_bar
from .shown import show_collection, show_stack
from .tune import read_key, tuned

if TYPE_CHECKING:
    from ..infer.key import Key
    from ..infer.model_choice import ModelChoice
    from ..session.report import Report


def propagate(
    image: ImageArgument,
    out: Annotated[
        Path,
        typer.Option(
            help="OUT.tif, OUT.zarr, or IMAGE.zarr/labels/NAME; a folder: image by image, for images that are no stack."
        ),
    ],
    labels: Annotated[
        Path | None, typer.Option(help="Labels of the annotated slices: same shape as IMAGE; or one slice.")
    ] = None,
    examples: ExamplesOption = None,
    key: KeyOption = None,
    tune: Annotated[
        str | None, typer.Option(help="Tune the model on the annotated slices first, such as 60s or 2m.")
    ] = None,
    annotated: AnnotatedOption = None,
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
    direction: Annotated[
        DirectionChoice, typer.Option(help="From each annotated slice; meet: from both sides of a gap, and compared.")
    ] = "both",
    names: NamesOption = False,
    along: AlongOption = None,
    span: Annotated[
        str | None,
        typer.Option("--range", help="a:b, slices a to b-1 only; of a time-lapse of z-stacks: time points a to b-1."),
    ] = None,
    ignore_label: IgnoreOption = None,
    axes: AxesOption = None,
    channels: ChannelsOption = None,
    truth: Annotated[Path | None, typer.Option(help="Labels of all slices, to print Dice.")] = None,
    picture: Annotated[bool, typer.Option(help="Write OUT.png, a contact sheet.")] = True,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where this run was cut short or killed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report as JSON on standard output.")] = False,
) -> None:
    """Propagate the annotated slices of a stack, time-lapse or folder to all others."""
    from ..infer.propagate import propagate as start
    from ..io.labels import label_files
    from ..io.paths import input_files, label_inputs
    from ..io.stacks import open_stack
    from ..io.storing import check_apart, check_free
    from ..io.unfinished import check_none_left, kept_key
    from ..session.job import run_to_file
    from ..session.report import file_names

    out = out.expanduser()  # a shell leaves the ~ of --out=~/x.tif
    seconds = parse_duration(tune, "--tune") if tune is not None else None
    known = read_key(key, labels, examples, tune=tune, kind=kind, annotated=annotated)
    chosen, limits = parse_numbers(channels, "--channels") if channels is not None else None, parse_span(span)
    settings: dict[str, Any] = {
        "ensemble": ensemble, "quality": quality, "recolour": recolour, "memory": memory, "num_examples": num_examples,
        "select": select, "direction": direction, "along": along, "range": span, "annotated": annotated,
        "ignore_label": ignore_label, "axes": axes, "channels": chosen, "tune": seconds, "approximate": approximate,
        "names": names,
    }  # fmt: skip
    files = file_names(image=image, labels=labels, examples=examples, key=key)
    choice = model_choice(settings, model, device, key)
    if resume:
        check_can_resume(overwrite=overwrite, approximate=approximate, folder=is_collection(image, out))
    if is_collection(image, out):
        if workers is not None or scheduler is not None:
            raise InputError("OUT is a folder: images that are no stack are given to workers by `incontext-seg batch`.")
        check_no_stack_options(
            annotated=annotated, memory=memory or None, num_examples=num_examples, along=along, range=span, axes=axes,
            truth=truth, direction=None if direction == "both" else direction, names=names or None,
        )  # fmt: skip
        report = propagate_collection(
            image, labels, examples, out, kind, settings, choice=choice, channels=chosen, overwrite=overwrite,
            picture=picture, key=known, files=files,
        )  # fmt: skip
        return finish(report, as_json)
    sheet = picture_file(out) if picture else None
    outputs = [*label_files(out), *([sheet] if sheet is not None else [])]
    inputs = [file for given in (image, examples, key) if given is not None for file in input_files(given)]
    inputs += [file for given in (labels, truth) if given is not None for file in label_inputs(given)]
    check_apart(outputs, inputs)
    for output in outputs:
        check_free(output, overwrite or resume)
    if not resume and not overwrite:
        check_none_left(out)
    stack = open_stack(image, axes=axes, channels=chosen)
    label_stack = open_given_labels(labels) if labels is not None else None
    shown = show_stack(
        stack, label_stack, examples, annotated=annotated, kind="semantic" if names and kind == "auto" else kind,
        ignore_label=ignore_label, key=known,
    )  # fmt: skip
    predictor = choice()
    run = start(
        stack, shown.annotations, predictor, kind=shown.kind, direction=direction, along=along, span=limits,
        memory=memory, num_examples=num_examples, select=select, ignore_label=shown.ignore_label, context=shown.context,
        names=names,
    )  # fmt: skip
    run = run.limited(lambda p: p not in shown.given)
    run.predictor, learned = tuned(predictor, run.context, settings, kept_key(out) if resume else None)
    with (
        open_workers(choice, workers, scheduler, out=out, key=learned) as others,
        progress_bar(len(run), "slices") as advance,
    ):
        report = run_to_file(
            run, out, dtype=label_stack.data.dtype if label_stack is not None else None, overwrite=overwrite,
            settings=settings, files=files, given=shown.given, workers=others, resume=resume, key=learned,
            class_names=shown.class_names, class_colors=shown.class_colors,
            picture=sheet, truth=open_given_labels(truth) if truth is not None else None, on_step=lambda _: advance(),
        )  # fmt: skip
    return finish(report, as_json)


def propagate_collection(
    image: Path, labels: Path | None, examples: Path | None, out: Path, kind: KindChoice, settings: dict[str, Any], *,
    choice: ModelChoice, channels: list[int] | None, overwrite: bool, picture: bool, key: Key | None,
    files: dict[str, str],
) -> Report:  # fmt: skip
    """Images that are no stack: label files carry the names of the images that they annotate."""
    from ..io.paths import input_files, stem
    from ..io.storing import check_apart, check_free
    from ..session.collection import collection_context, run_to_folder

    sheet = out.absolute().with_name(f"{out.absolute().name}.png") if picture else None  # no label image of the folder
    inputs = [file for given in (image, labels, examples) if given is not None for file in input_files(given)]
    outputs = [out / f"{stem(file)}{suffix}" for file in inputs for suffix in (".tif", ".png")]
    check_apart([*outputs, *([sheet] if sheet is not None else [])], inputs)
    if sheet is not None:
        check_free(sheet, overwrite)
    images, annotations, dtype = open_collection(image, labels, channels, out=out)
    predictor = choice()
    shown = show_collection(images, annotations, examples, kind=kind, ignore_label=settings["ignore_label"], key=key)
    if settings["tune"] is not None:
        context = collection_context(images, shown.annotations, shown.kind, shown.ignore_label, shown.context)
        predictor, _ = tuned(predictor, context, settings)
    with progress_bar(len(images), "images") as advance:
        return run_to_folder(
            images, shown.annotations, predictor, out, kind=shown.kind, ignore_label=shown.ignore_label,
            context=shown.context, given=shown.given, dtype=dtype, overwrite=overwrite, settings=settings,
            files=files, picture=sheet, on_image=advance,
        )  # fmt: skip


def model_choice(settings: dict[str, Any], model: str, device: str, key: Path | None) -> ModelChoice:
    """The model that the settings ask for."""
    from ..infer.model_choice import ModelChoice

    recolourings = 1 if settings["tune"] is not None and settings["recolour"] is None else settings["recolour"]
    return ModelChoice(
        model, device, settings["ensemble"], recolourings, settings["quality"], key, settings.get("approximate", False)
    )


def is_collection(image: Path, out: Path) -> bool:
    """Images whose output is a folder are segmented one by one."""
    from ..io.ome_zarr import goes_inside
    from ..io.paths import FILE_SUFFIXES

    return out.suffix.lower() not in FILE_SUFFIXES and image.suffix.lower() != ".zarr" and not goes_inside(out)


def picture_file(out: Path) -> Path:
    """The contact sheet: beside the output, or beside the image that it goes into."""
    from ..io.ome_zarr import goes_inside
    from ..io.paths import stem

    if goes_inside(out):
        image = out.parent.parent
        return image.with_name(f"{stem(image)}_{out.name}.png")
    return out.with_name(f"{stem(out)}.png")


def check_can_resume(*, overwrite: bool, approximate: bool, folder: bool) -> None:
    """Raise InputError for options of runs that cannot be resumed."""
    if overwrite:
        raise InputError("--resume keeps what is finished, --overwrite replaces it: leave one out.")
    if approximate:
        raise InputError(
            "--approximate goes by the first slice painted, which would be another one: leave one of both out."
        )
    if folder:
        raise InputError("OUT is a folder: `incontext-seg batch --resume` skips images that are finished.")


def check_no_stack_options(**options: Any) -> None:
    """Raise InputError for options that say nothing where images are segmented one by one."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise InputError(
            f"OUT is a folder, so images are segmented one by one, where {', '.join(given)} would do nothing: leave it "
            "out, or name the output OUT.tif or OUT.zarr."
        )


def finish(report: Report, as_json: bool) -> None:
    """Print the report."""
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))
        return
    if not report.finished:
        print(f"{report.out} is finished already: there is nothing to resume")
        return
    done = counted(report.finished, report.unit.removesuffix("s"))
    print(f"{done} ({len(report.annotated)} annotated) in {report.seconds:.1f} s")
    if not report.confidence and not report.sparse:
        print(f"every {report.unit.removesuffix('s')} is annotated: nothing was painted")
    if report.mean_dice is not None:
        predicted = counted(len(report.dice), "predicted slice")
        print(f"Dice against the truth: {report.mean_dice:.3f} (mean of {predicted})")
    if report.confidence:
        print("least sure: " + ", ".join(f"{report.name(p)} ({report.confidence[p]:.2f})" for p in report.least_sure))
    inside = [file for file in report.files if report.unit == "images" and report.out in file.parents]
    for file in [*([report.out] if inside else []), *(file for file in report.files if file not in inside)]:
        print(f"wrote {file}")
    if report.kind == "instance" and report.finished > 1:
        print(
            "objects are numbered slice by slice; one number each through the stack: "
            f"incontext-seg track --masks {report.out} --out TRACKS.tif"
        )
