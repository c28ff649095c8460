"""``incontext-seg examples``: example sets as files, without napari."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.words import counted
from ..errors import InputError
from .options import (
    AnnotatedOption,
    AxesOption,
    ChannelsOption,
    IgnoreOption,
    ImageArgument,
    KindOption,
    open_given_labels,
    parse_numbers,
    read_annotations,
    resolve_kind,
)

if TYPE_CHECKING:
    from ..core.example_set import ExampleItem

app = typer.Typer(
    help="Example sets: annotated slices in one file, to be used with other images.", no_args_is_help=True
)


@app.command()
def make(
    image: ImageArgument,
    labels: Annotated[Path, typer.Option(help="Labels of the annotated slices: same shape as IMAGE; or one slice.")],
    out: Annotated[Path, typer.Option(help="The file to write, SET.incontext.", metavar="SET")],
    annotated: AnnotatedOption = None,
    kind: KindOption = "auto",
    ignore_label: IgnoreOption = None,
    axes: AxesOption = None,
    channels: ChannelsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing set.")] = False,
) -> None:
    """Make an example set of the annotated slices of an image."""
    from ..core.example_set import SUFFIX, ExampleItem, ExampleSet
    from ..core.types import Example
    from ..io.example_sets import save_examples
    from ..io.paths import input_files
    from ..io.stacks import open_stack
    from ..io.storing import check_apart

    if out.suffix.lower() not in ("", SUFFIX):
        raise InputError(f"an example set is a file NAME{SUFFIX}; got {out.name}: name it {out.stem}{SUFFIX}.")
    check_apart([out], [*input_files(image), *input_files(labels)])
    chosen = parse_numbers(channels, "--channels") if channels is not None else None
    stack = open_stack(image, axes=axes, channels=chosen).normalized()
    planes = read_annotations(stack, open_given_labels(labels), annotated, ignore_label)
    items = []
    for position, plane in sorted(planes.items()):
        example = Example.from_labels(stack.plane(position), plane, ignore_label, stack.spacing)
        index = stack.unravel(position)
        where = " ".join(f"{axis} {i}" for axis, i in zip(stack.plane_axes, index, strict=True))
        name = ", ".join(part for part in (stack.name, where) if part)
        items.append(ExampleItem(example, name, stack.name, position, index))
    resolved = resolve_kind(kind, planes.values(), ignore_label)
    file = save_examples(out, ExampleSet(tuple(items), resolved, ignore_label=ignore_label), overwrite=overwrite)
    print(f"wrote {file}: {counted(len(items), 'example')} ({resolved})")


@app.command("list")
def list_examples(
    file: Annotated[Path, typer.Argument(help="An example set.", metavar="SET")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what an example set holds."""
    from ..io.example_sets import load_examples

    examples = load_examples(file)
    rows = [facts(item) for item in examples.items]
    if as_json:
        names = {str(label): name for label, name in examples.class_names.items()}
        print(json.dumps({"kind": examples.kind, "class_names": names, "examples": rows}, indent=2))
        return
    print(f"{counted(len(rows), 'example')} ({examples.kind})")
    for row in rows:
        size = " x ".join(map(str, row["size"]))
        unused = "" if row["used"] else ", not used"
        print(f"  {row['name'] or '(no name)'}: {size} pixels, {counted(row['labels'], 'label')}{unused}")
    for label, name in examples.class_names.items():
        print(f"  label {label}: {name}")


def facts(item: ExampleItem) -> dict[str, Any]:
    """What is told of an example, as plain values."""
    return {
        "name": item.name,
        "source": item.source,
        "position": item.position,
        "size": list(item.example.labels.shape),
        "labels": len([i for i in item.example.ids if i]),
        "annotated": round(float(item.example.valid.mean()), 4),
        "used": item.used,
    }
