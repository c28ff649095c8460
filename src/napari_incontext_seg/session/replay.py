"""The command line that repeats a run without napari."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.example_set import ExampleItem, ExampleSet
from ..core.labels import as_labels
from ..core.stack import Stack
from ..core.types import Example
from ..errors import InputError
from ..io.stacks import open_stack
from .settings import RunSettings


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What a run was started with.

    Parameters
    ----------
    examples, settings
        As they were then.
    span
        (first, end) of the slices painted, along the first axis travelled; None for all.
    verified
        Slices that were locked besides the examples.
    """

    examples: ExampleSet
    settings: RunSettings
    span: tuple[int, int] | None = None
    verified: frozenset[int] = frozenset()

    def examples_to_repeat(self, stack: Stack, read: Callable[[int], Any], source: str) -> ExampleSet:
        """The examples, and the verified slices as such that are not shown: they come out as they are.

        Parameters
        ----------
        stack
            The image as the run saw it.
        read
            Reads the labels (Y, X) of a slice.
        source
            The name that examples of this image carry.
        """
        examples = self.examples
        for position in sorted(self.verified):
            if examples.find(source, position) is None:
                example = Example(stack.plane(position), as_labels(read(position)), spacing=stack.spacing)
                examples = examples.added(
                    ExampleItem(example, f"verified {position}", source, position, stack.unravel(position), used=False)
                )
        return examples


def command_line(record: RunRecord, stack: Stack, *, image: Path, examples: Path | None, out: Path) -> str:
    """The command that repeats a run.

    Parameters
    ----------
    record
        The run.
    stack
        The image as the run saw it.
    image
        Its file or folder.
    examples
        File that the record's examples were saved to; None if it has none, but a key.
    out
        Where the command is to write: ``.tif`` or ``.zarr``.

    Raises
    ------
    InputError
        The file does not hold the image that the run saw; the run painted one slice, which ``--range`` cannot name.
    FileError
        It cannot be read.
    """
    settings, default = record.settings, RunSettings()
    if settings.where == "this" and sum(count > 1 for count in stack.grid) > 1:
        raise InputError(
            f"the run painted one slice, and a command cannot name one slice along {' and '.join(stack.plane_axes)}: "
            "paint more than one slice, and copy again."
        )
    words = ["incontext-seg", "propagate", str(image)]
    if examples is not None:
        words += ["--examples", str(examples)]
    words += ["--out", str(out)]
    words += _axes(stack, image)
    if settings.key is None:  # a key knows the kind of the labels that it paints
        words += ["--kind", settings.kind]
    if stack.channels is not None:
        words += ["--channels", ",".join(map(str, stack.channels))]
    how = ("memory", "num_examples", "select", "along", "direction", "key")
    options = ("model", "device", "quality", "ensemble", *how)
    for option in options:
        value = getattr(settings, option)
        if value != getattr(default, option):
            words += [f"--{option.replace('_', '-')}", str(value)]
    words += ["--names"] * settings.names
    if settings.tune_seconds is not None:
        words += ["--tune", f"{settings.tune_seconds:g}s"]
    if record.span is not None:
        words += ["--range", "{}:{}".format(*record.span)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _axes(stack: Stack, image: Path) -> list[str]:
    """The axes, where the file says something else than what the run saw."""
    found = open_stack(image)
    if tuple(found.data.shape) != tuple(stack.data.shape):
        raise InputError(
            f"{image.name} holds an image of {tuple(found.data.shape)}, but the layer is one of "
            f"{tuple(stack.data.shape)}: save the layer as a file, open that, and run again."
        )
    return [] if found.axes == stack.axes else ["--axes", stack.axes]
