"""``incontext-seg propagate``: annotated slices in, the whole stack out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from ..errors import InputError
from .progress import progress_bar

if TYPE_CHECKING:
    from ..core.stack import Stack
    from ..core.types import Kind
    from ..session.report import Report


# the API's own words, repeated here because importing them would import torch
KindChoice: TypeAlias = Literal["auto", "semantic", "instance"]
EnsembleChoice: TypeAlias = Literal["none", "feature", "spatial"]
DirectionChoice: TypeAlias = Literal["onward", "backward", "both"]
SelectChoice: TypeAlias = Literal["nearest", "similar"]

ModelOption = Annotated[str, typer.Option(help="auto, guess, a known model (incontext-seg weights list), or a file.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def propagate(
    image: Annotated[
        Path, typer.Argument(help="TIFF, OME-Zarr, .npy, or a folder of images (or a quoted pattern).", metavar="IMAGE")
    ],
    labels: Annotated[Path, typer.Option(help="Labels of the annotated slices: same shape as IMAGE; or one slice.")],
    out: Annotated[
        Path, typer.Option(help="OUT.tif or OUT.zarr; a folder: image by image, for images that are no stack.")
    ],
    annotated: Annotated[
        str | None,
        typer.Option(help="Numbers of the annotated slices (0,15,20:23); default: those with any label."),
    ] = None,
    kind: Annotated[
        KindChoice, typer.Option(help="semantic: a label is a class; instance: a label is one object.")
    ] = "auto",
    model: ModelOption = "auto",
    device: DeviceOption = "auto",
    ensemble: Annotated[EnsembleChoice, typer.Option(help="How a SegGPT joins several examples.")] = "feature",
    recolour: Annotated[int, typer.Option(min=1, help="Average over this many random colourings (SegGPT).")] = 1,
    memory: Annotated[int, typer.Option(min=0, help="The last N predicted slices join the examples.")] = 0,
    num_examples: Annotated[
        int | None, typer.Option("--num-examples", min=1, help="Show only N annotated slices at a time; default all.")
    ] = None,
    select: Annotated[SelectChoice, typer.Option(help="Which N examples.")] = "nearest",
    direction: Annotated[DirectionChoice, typer.Option(help="From each annotated slice.")] = "both",
    along: Annotated[
        str | None, typer.Option(help="Axes to travel, such as z or tz; default all that count slices.")
    ] = None,
    span: Annotated[str | None, typer.Option("--range", help="a:b, slices a to b-1 only.")] = None,
    ignore_label: Annotated[
        int | None, typer.Option(help="This label means 'not annotated' (scribbles: often 0).")
    ] = None,
    axes: Annotated[str | None, typer.Option(help="Axes of IMAGE where the file does not say, such as tzyx.")] = None,
    channels: Annotated[str | None, typer.Option(help="Channels to look at, up to three: 0,2.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Labels of all slices, to print Dice.")] = None,
    picture: Annotated[bool, typer.Option(help="Write OUT.png, a contact sheet.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report as JSON on standard output.")] = False,
) -> None:
    """Propagate the annotated slices of a stack, time-lapse or folder to all others."""
    from ..infer.predictor import load_predictor
    from ..infer.propagate import propagate as start
    from ..io.labels import label_files
    from ..io.paths import input_files, stem
    from ..io.stacks import open_labels, open_stack
    from ..io.storing import check_apart, check_free
    from ..session.job import run_to_file

    out = out.expanduser()  # a shell leaves the ~ of --out=~/x.tif
    chosen = parse_numbers(channels, "--channels") if channels is not None else None
    settings: dict[str, Any] = {
        "ensemble": ensemble, "recolour": recolour, "memory": memory, "num_examples": num_examples,
        "select": select, "direction": direction, "along": along, "range": span, "annotated": annotated,
        "ignore_label": ignore_label, "axes": axes, "channels": chosen,
    }  # fmt: skip
    if is_collection(image, out):
        check_no_stack_options(
            annotated=annotated, memory=memory or None, num_examples=num_examples, along=along, range=span, axes=axes,
            truth=truth, direction=None if direction == "both" else direction,
        )  # fmt: skip
        report = propagate_collection(
            image, labels, out, kind, settings, model=model, device=device, channels=chosen, overwrite=overwrite,
            picture=picture,
        )  # fmt: skip
        return finish(report, as_json)
    sheet = out.with_name(f"{stem(out)}.png") if picture else None
    outputs = [*label_files(out), *([sheet] if sheet is not None else [])]
    check_apart(outputs, [file for given in (image, labels, truth) if given is not None for file in input_files(given)])
    for output in outputs:
        check_free(output, overwrite)
    stack, label_stack = open_stack(image, axes=axes, channels=chosen), open_labels(labels)
    annotations = read_annotations(stack, label_stack, annotated, ignore_label)
    predictor = load_predictor(model, device=device, ensemble=ensemble, recolourings=recolour)
    run = start(
        stack, annotations, predictor, kind=resolve_kind(kind, annotations.values(), ignore_label),
        direction=direction, along=along, span=parse_span(span), memory=memory, num_examples=num_examples,
        select=select, ignore_label=ignore_label,
    )  # fmt: skip
    with progress_bar(len(run), "slices") as advance:
        report = run_to_file(
            run, out, dtype=label_stack.data.dtype, overwrite=overwrite, settings=settings,
            picture=sheet, truth=open_labels(truth) if truth is not None else None, on_step=lambda _: advance(),
        )  # fmt: skip
    return finish(report, as_json)


def propagate_collection(
    image: Path, labels: Path, out: Path, kind: KindChoice, settings: dict[str, Any], *,
    model: str, device: str, channels: list[int] | None, overwrite: bool, picture: bool,
) -> Report:  # fmt: skip
    """Images that are no stack: label files carry the names of the images that they annotate."""
    from ..infer.predictor import load_predictor
    from ..io.paths import input_files, stem
    from ..io.stacks import open_images, open_label_images
    from ..io.storing import check_apart
    from ..session.collection import run_to_folder

    inputs = [*input_files(image), *input_files(labels)]
    check_apart([out / f"{stem(file)}{suffix}" for file in inputs for suffix in (".tif", ".png")], inputs)
    images = [replace(i, channels=tuple(channels)) if channels is not None else i for i in open_images(image)]
    numbers = {one.name: k for k, one in enumerate(images)}
    label_images = open_label_images(labels)
    unknown = [one.name for one in label_images if one.name not in numbers]
    if unknown:
        raise InputError(
            f"no image in {image} has the name of these labels: {', '.join(unknown[:5])}. OUT is a folder, so images "
            "are segmented one by one, and labels carry their names; for a stack name the output OUT.tif or OUT.zarr."
        )
    annotations = {numbers[one.name]: one.read(0)[..., 0] for one in label_images}
    predictor = load_predictor(model, device=device, ensemble=settings["ensemble"], recolourings=settings["recolour"])
    with progress_bar(len(images), "images") as advance:
        return run_to_folder(
            images, annotations, predictor, out,
            kind=resolve_kind(kind, annotations.values(), settings["ignore_label"]),
            ignore_label=settings["ignore_label"], dtype=label_images[0].data.dtype, overwrite=overwrite,
            settings=settings, picture=out / "contact_sheet.png" if picture else None, on_image=advance,
        )  # fmt: skip


def is_collection(image: Path, out: Path) -> bool:
    """Images whose output is a folder are segmented one by one."""
    from ..io.paths import FILE_SUFFIXES

    return out.suffix.lower() not in FILE_SUFFIXES and image.suffix.lower() != ".zarr"


def check_no_stack_options(**options: Any) -> None:
    """Raise InputError for options that say nothing where images are segmented one by one."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise InputError(
            f"OUT is a folder, so images are segmented one by one, where {', '.join(given)} would do nothing: leave it "
            "out, or name the output OUT.tif or OUT.zarr."
        )


def parse_numbers(text: str, option: str) -> list[int]:
    """``"0,15,20:23"`` -> [0, 15, 20, 21, 22]."""
    numbers: list[int] = []
    try:
        for part in text.split(","):
            low, colon, high = part.partition(":")
            numbers += range(int(low), int(high)) if colon else [int(low)]
    except ValueError as error:
        raise InputError(f"{option} must be numbers such as 0,15 or 20:23; got {text!r}.") from error
    if not numbers:
        raise InputError(f"{option} names no number: {text!r}.")
    return numbers


def parse_span(text: str | None) -> tuple[int, int] | None:
    """``"a:b"`` -> (a, b)."""
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        if not colon:
            raise ValueError(text)
        return int(low), int(high)
    except ValueError as error:
        raise InputError(f"--range must be a:b, such as 10:20; got {text!r}.") from error


def read_annotations(stack: Stack, labels: Stack, annotated: str | None, ignore_label: int | None) -> dict[int, Any]:
    """Annotated slice number -> labels (Y, X).

    ``labels`` has a plane for each plane of ``stack``, or just those that ``annotated`` names, in that order. Without
    ``annotated``, slices with any label are the annotated ones.
    """
    wanted = parse_numbers(annotated, "--annotated") if annotated is not None else None
    for position in wanted or ():
        stack.unravel(position)
    if wanted is not None and len(labels) in (len(stack), len(wanted)):
        at = wanted if len(labels) == len(stack) else range(len(wanted))
        named = {p: labels.read(k)[..., 0] for p, k in zip(wanted, at, strict=True)}
        empty = [str(p) for p, plane in named.items() if not plane.any()]
        if 0 < len(empty) < len(named):
            print(f"no label in slice {', '.join(empty)}: taken for annotated, with nothing there", file=sys.stderr)
        return named
    if len(labels) != len(stack):
        raise InputError(
            f"the labels have {len(labels)} slices and the image has {len(stack)} (shape {tuple(stack.data.shape)}, "
            f"taken for {stack.axes}; --axes names them otherwise): give labels for every slice (0 where there are "
            "none), or just the annotated ones with their numbers (--annotated 0,15)."
        )
    planes = ((p, labels.read(p)[..., 0]) for p in range(len(labels)))
    found = {p: plane for p, plane in planes if ((plane != 0) & (plane != ignore_label)).any()}
    if not found:
        raise InputError("no slice of the labels has any label: annotate at least one slice.")
    return found


def resolve_kind(kind: KindChoice, planes: Iterable[Any], ignore_label: int | None) -> Kind:
    """What ``auto`` makes of the label planes, told when it is not the usual."""
    if kind != "auto":
        return kind
    from ..core.instances import guess_kind

    guessed = guess_kind(list(planes), ignore_label)
    if guessed == "instance":
        print("each label looks like one object: --kind instance (or say --kind semantic)", file=sys.stderr)
    return guessed


def finish(report: Report, as_json: bool) -> None:
    """Print the report."""
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))
        return
    print(f"{report.finished} {report.unit} ({len(report.annotated)} annotated) in {report.seconds:.1f} s")
    if report.mean_dice is not None:
        print(f"Dice against the truth: {report.mean_dice:.3f} (mean of {len(report.dice)} predicted slices)")
    if report.confidence:
        print("least sure: " + ", ".join(f"{report.name(p)} ({report.confidence[p]:.2f})" for p in report.least_sure))
    for file in report.files if report.unit == "slices" else [report.out]:
        print(f"wrote {file}")
