"""``incontext-seg clean``: painted labels in, cleaned-up labels out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from .progress import progress_bar

NEED_SIZE = {"drop_small": 30, "smooth": 2}  # and an example of it


def clean(
    labels: Annotated[
        Path, typer.Argument(help="Labels: TIFF, OME-Zarr, .npy, or a folder of them.", metavar="LABELS")
    ],
    out: Annotated[Path, typer.Option(help="OUT.tif or OUT.zarr.")],
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
    from ..core.cleanup import clean_up
    from ..core.labels import as_labels
    from ..io.labels import LabelWriter, label_files, recorded_provenance
    from ..io.paths import input_files
    from ..io.stacks import open_labels
    from ..io.storing import check_apart, check_free

    out = out.expanduser()
    steps = parse_steps(do)
    check_apart(label_files(out), input_files(labels))
    for file in label_files(out):
        check_free(file, overwrite)
    stack = open_labels(labels)
    provenance = {"labels": str(labels), "cleaned": do, "made": recorded_provenance(labels)}
    with (
        LabelWriter(out, stack, dtype=stack.data.dtype, overwrite=overwrite, provenance=provenance) as writer,
        progress_bar(len(stack), "slices") as advance,
    ):
        changed = 0
        for position in range(len(stack)):
            before = as_labels(stack.read(position)[..., 0])
            after = before
            for operation, size in steps:
                after = clean_up(after, operation, size)
            changed += bool((after != before).any())
            writer.write(position, after)
            advance()
        files = writer.finish()
    print(f"{changed} of {len(stack)} slices changed")
    for file in files:
        print(f"wrote {file}")


def parse_steps(texts: Sequence[str]) -> list[tuple[Any, float]]:
    """``["split:0.8", "join"]`` -> [("split", 0.8), ("join", 0.0)]; what cannot be read is wrong usage."""
    from ..core.cleanup import check_operation

    steps: list[tuple[Any, float]] = []
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
        if operation in NEED_SIZE and not size:
            raise typer.BadParameter(
                f"--do {operation} needs a size above 0, such as {operation}:{NEED_SIZE[operation]}."
            )
        steps.append((operation, size))
    return steps
