"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from ..core.words import counted
from ..errors import DegradedDataWarning, InputError

if TYPE_CHECKING:
    import numpy as np

    from ..core.stack import Stack
    from ..core.types import Kind
    from ..infer.key import Key
    from ..session.worker_process import Load
    from ..session.workers import Workers

# the API's own words, repeated here because importing them would import torch
KindChoice: TypeAlias = Literal["auto", "semantic", "instance"]
EnsembleChoice: TypeAlias = Literal["none", "feature", "spatial"]
DirectionChoice: TypeAlias = Literal["onward", "backward", "both", "meet"]
SelectChoice: TypeAlias = Literal["nearest", "similar"]
QualityChoice: TypeAlias = Literal["fast", "balanced", "best"]

ModelOption = Annotated[str, typer.Option(help="auto, guess, a known model (incontext-seg weights list), or a file.")]
DeviceOption = Annotated[
    str, typer.Option(help="auto, cpu, cuda or mps.", callback=lambda name: known_device(name), metavar="DEVICE")
]
ImageArgument = Annotated[
    Path, typer.Argument(help="TIFF, OME-Zarr, video, .npy, or a folder of images (a quoted pattern).", metavar="IMAGE")
]
AnnotatedOption = Annotated[
    str | None,
    typer.Option(
        help="Numbers of the annotated slices (0,15,20:23; they go on through t and z); default: those with any label."
    ),
]
ExamplesOption = Annotated[
    Path | None, typer.Option(help="An example set (.incontext), saved from napari or by `examples`.", metavar="SET")
]
KindOption = Annotated[KindChoice, typer.Option(help="semantic: a label is a class; instance: a label is one object.")]
EnsembleOption = Annotated[
    EnsembleChoice,
    typer.Option(
        help="Several examples: feature: together; none: each paints, and they vote; spatial: in one picture (SegGPT)."
    ),
]
QualityOption = Annotated[
    QualityChoice, typer.Option(help="fast: one stage, not two; best: the mean of several views or colourings.")
]
IgnoreOption = Annotated[int | None, typer.Option(help="This label means 'not annotated' (scribbles: often 0).")]
AxesOption = Annotated[str | None, typer.Option(help="Axes of IMAGE where the file does not say, such as tzyx.")]
ChannelsOption = Annotated[str | None, typer.Option(help="Channels to look at, up to three: 0,2.")]
KeyOption = Annotated[
    Path | None, typer.Option(help="What `incontext-seg tune` learned; then --labels may be left out.")
]
RecolourOption = Annotated[
    int | None, typer.Option(min=1, help="SegGPT only: average over this many random colourings.")
]
ApproximateOption = Annotated[
    bool,
    typer.Option("--approximate", help="SegGPT: faster, APPROXIMATE: examples look at the first slice painted only."),
]
MemoryOption = Annotated[
    int, typer.Option(min=0, help="The last N predicted slices join the examples; about ten times slower.")
]
NamesOption = Annotated[
    bool, typer.Option("--names", help="Each label is one object (up to 13), which other annotated slices may lack.")
]
NumExamplesOption = Annotated[
    int | None, typer.Option("--num-examples", min=1, help="Show only N annotated slices at a time; default all.")
]
SelectOption = Annotated[SelectChoice, typer.Option(help="Which N examples.")]
AlongOption = Annotated[
    str | None, typer.Option(help="Axes to travel, such as z or tz; default all that count slices.")
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Paint in N processes side by side (needs dask.distributed).")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Paint on the machines of a dask cluster: its scheduler, tcp://host:8786."),
]


def known_device(name: str) -> str:
    """The name of a device, if it is one; whether this machine has it is seen later."""
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name) is None:
        raise typer.BadParameter(f"unknown device {name!r}: use auto, cpu, cuda or mps.")
    return name


def parse_duration(text: str, option: str) -> float:
    """``"90"``, ``"90s"``, ``"1.5m"`` or ``"1h"`` -> seconds."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:].lower())
    try:
        seconds = float(text if unit is None else text[:-1]) * (unit or 1.0)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise typer.BadParameter(f"{option} must be a time such as 60s or 2m; got {text!r}.")
    return seconds


@contextmanager
def open_workers(
    load: Load, workers: int | None, scheduler: str | None, *, out: Path, key: Key | None = None
) -> Iterator[Workers | None]:
    """Those that the options ask for, None where none are asked for; a ``key`` is lent to them beside ``out``."""
    if workers is None and scheduler is None:
        yield None
        return
    from ..infer.model_choice import ModelChoice
    from ..io.storing import storing
    from ..session.workers import Workers

    if workers is not None and scheduler is not None:
        raise InputError("--workers are processes of this machine, --scheduler is that of a cluster: leave one out.")
    with ExitStack() as opened:
        if key is not None:
            assert isinstance(load, ModelChoice)
            with storing(out):
                out.parent.mkdir(parents=True, exist_ok=True)
                folder = opened.enter_context(TemporaryDirectory(prefix=".key-", dir=out.parent))
            load = replace(load, key=key.save(Path(folder) / "tuned.key"))
        print("starting workers ..." if scheduler is None else f"connecting to {scheduler} ...", file=sys.stderr)
        yield opened.enter_context(Workers(load, count=workers, scheduler=scheduler))


def parse_numbers(text: str, option: str) -> list[int]:
    """``"0,15,20:23"`` -> [0, 15, 20, 21, 22]."""
    numbers: list[int] = []
    try:
        for part in text.split(","):
            low, colon, high = part.partition(":")
            numbers += range(int(low), int(high)) if colon else [int(low)]
    except ValueError as error:
        raise typer.BadParameter(
            f"{option} must be numbers such as 0,15 or 20:23; got {text!r}.{_range_advice(text)}"
        ) from error
    if not numbers:
        raise typer.BadParameter(f"{option} names no number: {text!r}.")
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
        raise typer.BadParameter(f"--range must be a:b, such as 10:20; got {text!r}.{_range_advice(text)}") from error


def _range_advice(text: str) -> str:
    """How a range is written, for those who write ``6-8``."""
    found = re.search(r"(\d+)\s*-\s*(\d+)", text)
    return "" if found is None else f" {found[0]} is written {found[1]}:{int(found[2]) + 1}: the end is excluded."


def read_annotations(stack: Stack, labels: Stack, annotated: str | None, ignore_label: int | None) -> dict[int, Any]:
    """Annotated slice number -> labels (Y, X).

    ``labels`` has a plane for each plane of ``stack``, or just those that ``annotated`` names, in that order. Without
    ``annotated``, slices with any label are the annotated ones.
    """
    found = _annotated_planes(stack, labels.ordered_like(stack), annotated, ignore_label)
    tell_unused(found.values(), ignore_label)
    return found


def tell_unused(planes: Collection[Any], ignore_label: int | None) -> None:
    """Say so if no plane has a pixel with the label that is to be ignored."""
    if planes and ignore_label is not None and not any((plane == ignore_label).any() for plane in planes):
        print(
            f"no annotated pixel has the label {ignore_label} (--ignore-label): every pixel is taken for annotated",
            file=sys.stderr,
        )


def _annotated_planes(stack: Stack, labels: Stack, annotated: str | None, ignore_label: int | None) -> dict[int, Any]:
    wanted = parse_numbers(annotated, "--annotated") if annotated is not None else None
    for position in wanted or ():
        stack.unravel(position)
    if wanted is not None and len(labels) in (len(stack), len(wanted)):
        at = wanted if len(labels) == len(stack) else range(len(wanted))
        named = {p: labels.read(k)[..., 0] for p, k in zip(wanted, at, strict=True)}
        empty = [str(p) for p, plane in named.items() if not plane.any()]
        if len(empty) == len(named) and len(labels) == len(stack):
            check_others_empty(labels, empty)
        if 0 < len(empty) < len(named):
            print(f"no label in slice {', '.join(empty)}: taken for annotated, with nothing there", file=sys.stderr)
        return named
    if wanted is not None:
        raise InputError(
            f"{counted(len(labels), 'label slice')}, but {counted(len(wanted), 'number')} in --annotated "
            f"({annotated}): give one number for each label slice, or labels for all {len(stack)} slices of the image."
        )
    if len(labels) != len(stack):
        folders = "i" in stack.axes and "i" in labels.axes
        matched = (
            "; to match labels with images by their names, give a folder as the output (--out NAME)" if folders else ""
        )
        raise InputError(
            f"the labels have {len(labels)} slices and the image has {len(stack)} (shape {tuple(stack.data.shape)}, "
            f"taken for {stack.axes}; --axes names them otherwise): give labels for every slice (0 where there are "
            f"none), or just the annotated ones with their numbers (--annotated 0,15){matched}."
        )
    planes = ((p, labels.read(p)[..., 0]) for p in range(len(labels)))
    found = {p: plane for p, plane in planes if ((plane != 0) & (plane != ignore_label)).any()}
    if not found:
        raise InputError("no slice of the labels has any label: annotate at least one slice.")
    return found


def check_others_empty(labels: Stack, empty: list[str]) -> None:
    """Raise InputError if the slices that are named are empty, but others hold labels."""
    full = [str(p) for p in range(len(labels)) if labels.read(p).any()]
    if full:
        raise InputError(
            f"--annotated names slice {', '.join(empty)}, where there is no label; there are labels in slice "
            f"{', '.join(full[:10])}{', ...' if len(full) > 10 else ''}."
        )


def open_given_labels(path: Path) -> Stack:
    """Labels that a person names as such; with a warning if they seem to be an image."""
    from ..io.stacks import open_labels

    labels = open_labels(path)
    warn_of_images((labels.read(p) for p in labels.sample_positions(3)), path)
    return labels


def warn_of_images(planes: Iterable[Any], path: Path) -> None:
    """Warn if some of these planes (Y, X, 1), given as labels, look like an image."""
    from ..core.instances import looks_like_image

    if any(looks_like_image(plane[..., 0]) for plane in planes):
        warnings.warn(
            f"{path.name} looks like an image, not like labels: most of its many numbers lie scattered as specks. "
            "Labels hold 0 for background, and one number for each class or object.",
            DegradedDataWarning,
            stacklevel=2,
        )


def open_collection(
    image: Path, labels: Path | None, channels: list[int] | None, *, out: Path | None = None
) -> tuple[list[Stack], dict[int, Any], np.dtype[Any] | None]:
    """Images that are no stack, the labels (Y, X) of those that have any, by number, and the labels' type.

    ``out`` is where results are to go: if it was meant to be a file, the images may well be a stack.
    """
    from ..io.stacks import open_images, open_label_images

    images = [replace(i, channels=tuple(channels)) if channels is not None else i for i in open_images(image)]
    meant = ""
    if out is not None and not out.suffix and not out.is_dir() and image.is_file():
        meant = f"{out.name} has no extension, so it was taken for a folder: did you mean {out.name}.tif? "
    if labels is None and meant and len(images) > 1 and len({one.plane_shape for one in images}) == 1:
        raise InputError(f"{meant}If the slices are images of their own, make the folder {out} first.")
    if labels is None:
        return images, {}, None
    numbers = {one.name: k for k, one in enumerate(images)}
    label_images = open_label_images(labels)
    warn_of_images((one.read(0) for one in label_images[:3]), labels)
    unknown = [one.name for one in label_images if one.name not in numbers]
    if unknown:
        told = (
            f"no image in {image} has the name of these labels: {', '.join(unknown[:5])}. Labels of images that are no "
            "stack carry their names; for a stack name the output OUT.tif or OUT.zarr (propagate), or leave out "
            "--one-by-one (tune)."
        )
        raise InputError(f"{meant}N{told[1:]}" if meant else told)
    return images, {numbers[one.name]: one.read(0)[..., 0] for one in label_images}, label_images[0].data.dtype


def resolve_kind(kind: KindChoice, planes: Iterable[Any], ignore_label: int | None) -> Kind:
    """What ``auto`` makes of the label planes, told when it is not beyond doubt."""
    if kind != "auto":
        return kind
    from ..core.instances import guess_kind, one_piece_each

    planes = list(planes)
    guessed = guess_kind(planes, ignore_label)
    if guessed == "instance":
        print("each label looks like one object: --kind instance (or say --kind semantic)", file=sys.stderr)
    elif one_piece_each(planes, ignore_label):
        print("labels are taken for classes; if each is one object, say --kind instance", file=sys.stderr)
    return guessed
