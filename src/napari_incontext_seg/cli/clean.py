"""``incontext-seg clean``: painted labels in, cleaned-up labels out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from ..core.words import counted
from ..errors import InputError
from .options import open_given_labels, warn_of_images
from .progress import progress_bar
from .propagate import is_collection

if TYPE_CHECKING:
    from ..core.types import Labels

Steps: TypeAlias = list[tuple[Any, float]]

NEED_SIZE = {"drop_small": 30, "smooth": 2}  # and an example of it
NO_SIZE = ("join", "keep_largest")


def clean(
    labels: Annotated[
        Path, typer.Argument(help="Labels: TIFF, OME-Zarr, .npy, or a folder of them.", metavar="LABELS")
    ],
    out: Annotated[Path, typer.Option(help="OUT.tif or OUT.zarr; for a folder of images, also a folder.")],
    do: Annotated[
        list[str],
        typer.Option(
            metavar="WHAT[:SIZE]",
            help="fill_holes:LARGEST, drop_small:SMALLEST, smooth:RADIUS (pixels), keep_largest, join, split:SHARE "
            "(0.75: where an object is narrower than three quarters). Repeat it for one after the other.",
        ),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Fill holes, drop specks, smooth outlines, split and join objects, slice by slice."""
    from ..io.paths import is_pattern

    out, labels = out.expanduser(), labels.expanduser()
    steps = parse_steps(do)
    if (labels.is_dir() or is_pattern(labels)) and is_collection(labels, out):
        changed, files = clean_images(labels, out, do, steps, overwrite=overwrite)
    else:
        changed, files = clean_stack(labels, out, do, steps, overwrite=overwrite)
    print(f"{changed} changed")
    for file in files:
        print(f"wrote {file}")


def clean_stack(
    labels: Path, out: Path, do: Sequence[str], steps: Steps, *, overwrite: bool
) -> tuple[str, list[Path]]:  # fmt: skip
    """Clean a stack into one file; returns how many slices changed, in words, and the files."""
    from ..io.labels import LabelWriter, label_files, recorded_provenance
    from ..io.paths import label_inputs
    from ..io.storing import check_apart, check_free
    from ..session.report import file_names

    check_apart(label_files(out), label_inputs(labels))
    for file in label_files(out):
        check_free(file, overwrite)
    stack, changed = open_given_labels(labels), 0
    provenance = {"files": file_names(labels=labels), "cleaned": do, "made": recorded_provenance(labels)}
    with (
        LabelWriter(out, stack, dtype=stack.data.dtype, overwrite=overwrite, provenance=provenance) as writer,
        progress_bar(len(stack), "slices") as advance,
    ):
        for position in range(len(stack)):
            after, differs = cleaned(stack.read(position)[..., 0], steps)
            changed += differs
            writer.write(position, after)
            advance()
        files = writer.finish()
    return f"{changed} of {counted(len(stack), 'slice')}", files


def clean_images(
    labels: Path, out: Path, do: Sequence[str], steps: Steps, *, overwrite: bool
) -> tuple[str, list[Path]]:  # fmt: skip
    """Clean the label images of a folder, whose sizes may differ, into another folder."""
    from ..io.label_folder import LabelFolder
    from ..io.paths import input_files, stem
    from ..io.stacks import open_label_images
    from ..io.storing import check_apart
    from ..session.report import file_names

    inputs, changed = input_files(labels), 0
    check_apart([out / f"{stem(file)}{suffix}" for file in inputs for suffix in (".tif", ".png")], inputs)
    images = open_label_images(labels)
    warn_of_images((image.read(0) for image in images[:3]), labels)
    provenance = {"files": file_names(labels=labels), "cleaned": do}
    with (
        LabelFolder(out, images, dtype=images[0].data.dtype, overwrite=overwrite, provenance=provenance) as folder,
        progress_bar(len(images), "images") as advance,
    ):
        for number, image in enumerate(images):
            after, differs = cleaned(image.read(0)[..., 0], steps)
            changed += differs
            folder.write(number, after)
            advance()
    return f"{changed} of {counted(len(images), 'image')}", [out]


def cleaned(plane: Any, steps: Steps) -> tuple[Labels, bool]:
    """Labels (Y, X) after all steps, and whether they differ from before."""
    from ..core.cleanup import clean_up
    from ..core.labels import as_labels

    before = after = as_labels(plane)
    for operation, size in steps:
        after = clean_up(after, operation, size)
    return after, bool((after != before).any())


def parse_steps(texts: Sequence[str]) -> Steps:
    """``["split:0.8", "join"]`` -> [("split", 0.8), ("join", 0.0)]; what cannot be read is wrong usage."""
    from ..core.cleanup import check_operation

    steps: Steps = []
    for text in texts:
        operation, colon, number = text.partition(":")
        try:
            size = float(number) if colon else 0.0
        except ValueError as error:
            raise typer.BadParameter(f"--do takes WHAT or WHAT:SIZE, such as split:0.75; got {text!r}.") from error
        try:
            check_operation(operation, size)
        except InputError as error:
            raise typer.BadParameter(str(error)) from error
        if colon and operation in NO_SIZE:
            raise typer.BadParameter(f"--do {operation} takes no size; got {text!r}.")
        if operation in NEED_SIZE and not size:
            raise typer.BadParameter(
                f"--do {operation} needs a size above 0, such as {operation}:{NEED_SIZE[operation]}."
            )
        steps.append((operation, size))
    return steps
