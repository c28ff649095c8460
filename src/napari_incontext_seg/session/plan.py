"""From example set and settings to a run; the dock and the command line plan alike, so that they paint alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..core.example_set import ExampleItem, ExampleSet
from ..core.stack import Stack
from ..core.types import Context, Example, Predictor
from ..errors import InputError
from ..infer.key import Key
from ..infer.propagate import Propagation, propagate
from .settings import RunSettings

NOT_ANNOTATED = -1  # in annotations: a label that no id can have


@dataclass(frozen=True, eq=False)
class Split:
    """An example set as one stack sees it.

    Parameters
    ----------
    annotations
        Plane number -> labels (Y, X) of the examples that are this stack's own, `NOT_ANNOTATED` where nothing is said.
    context
        The examples from elsewhere, None if there is none.
    unused
        The stack's own examples that are not used: they come out as they are, without being shown to the model.
    """

    annotations: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    context: Context | None = None
    unused: dict[int, Example] = field(default_factory=dict)


def split_examples(examples: ExampleSet, stack: Stack, *, key: Key | None = None) -> Split:
    """Tell a stack's own examples from those of other images.

    Parameters
    ----------
    examples
        The set; of the others only those that are used count.
    stack
        With a value range.
    key
        Its examples are shown besides.

    Raises
    ------
    InputError
        No example is used.
    """
    own = [(int(item.position or 0), item) for item in examples.items if is_own(item, stack)]
    return _split(examples, own, key)


def split_among(examples: ExampleSet, images: Sequence[Stack], *, key: Key | None = None) -> Split:
    """As `split_examples`, of images that are no stack, one plane each; they are counted in place of planes."""
    own = []
    for number, image in enumerate(images):
        alike = [i for i in examples.items if i.position == 0 and i.example.image.shape[:2] == image.plane_shape]
        if alike:
            plane = image.normalized().plane(0)
            own += [(number, item) for item in alike if np.array_equal(item.example.image, plane)]
    return _split(examples, own, key)


def _split(examples: ExampleSet, own: Sequence[tuple[int, ExampleItem]], key: Key | None) -> Split:
    annotations = {number: _annotation(item.example) for number, item in own if item.used}
    unused = {number: item.example for number, item in own if not item.used}
    others = [item.example for item in examples.items if item.used and not any(item is one for _, one in own)]
    if not annotations and not others and key is None:
        examples.context()  # says what to do
        raise InputError("no example is used: add a slice to the examples, or tick one.")
    shared = (*(key.context.examples if key is not None else ()), *others)
    kind = key.kind if key is not None else examples.kind
    names = {**(key.context.class_names if key is not None else {}), **examples.class_names}
    return Split(annotations, Context(shared, kind, names) if shared else None, unused)


def is_own(item: ExampleItem, stack: Stack) -> bool:
    """Whether an example was taken from this stack.

    Names do not tell: layers are renamed, and many files are called ``image.tif``. The example's plane does.
    """
    if item.position is None or not 0 <= item.position < len(stack):
        return False
    image = item.example.image
    if image.shape[:2] != stack.plane_shape:
        return False
    return bool(np.array_equal(stack.plane(item.position), image))


def _annotation(example: Example) -> NDArray[np.int64]:
    return np.where(example.valid, example.labels.astype(np.int64), NOT_ANNOTATED)


def plan_run(
    stack: Stack, examples: ExampleSet, settings: RunSettings, predictor: Predictor, *, current: int = 0,
    verified: Collection[int] = (), locked: Collection[int] = (),
) -> Propagation:  # fmt: skip
    """Make a run ready: which slices, which examples.

    Parameters
    ----------
    stack
        With a value range.
    examples, settings
        Frozen: what happens to the originals does not touch the run.
    predictor
        Loaded, with the key of the settings if they name one.
    current
        The slice that is displayed: where to go is seen from there.
    verified
        Where a run "up to the next verified slice" ends.
    locked
        Slices that are not visited.

    Raises
    ------
    InputError
        No example is used, or there is nothing to paint.
    """
    key = Key.load(settings.key) if settings.key is not None else None
    split = split_examples(examples, stack, key=key)
    run = propagate(
        stack, split.annotations, predictor,
        kind=key.kind if key is not None else settings.kind,
        along=settings.along, span=span_of(stack, settings, current, verified),
        memory=settings.memory, num_examples=settings.num_examples, select=settings.select,
        ignore_label=NOT_ANNOTATED, context=split.context, direction=settings.direction, names=settings.names,
    )  # fmt: skip
    skipped = {*locked, *split.annotations, *split.unused}
    run = run.limited(lambda p: p not in skipped and (settings.where != "this" or p == current))
    if not len(run) and len(stack) == 1:
        raise InputError(
            "there is nothing to paint: the image has one slice only, which is annotated or verified. Open another "
            "image, and use the example there."
        )
    if not len(run):
        raise InputError(
            "there is nothing to paint: the slices chosen are all examples or verified. Choose others, or unlock some."
        )
    return run


def span_of(
    stack: Stack, settings: RunSettings, current: int, verified: Collection[int] = ()
) -> tuple[int, int] | None:
    """First and end of the slices to paint, along the first axis travelled; None for all of them."""
    if settings.where == "range":
        return settings.span
    axes = [k for k, a in enumerate(stack.plane_axes) if settings.along is None or a in settings.along]
    if settings.where == "both" or not axes:
        return None
    first, here = axes[0], stack.unravel(current)
    at, size = here[first], stack.grid[first]
    if settings.where == "until_verified":
        ahead = [stack.unravel(p) for p in verified]
        ends = [i[first] for i in ahead if i[first] > at and _same(i, here, axes)]
        return at, min(ends, default=size)
    return {"this": (at, at + 1), "onward": (at, size), "backward": (0, at + 1)}[settings.where]


def _same(index: tuple[int, ...], here: tuple[int, ...], travelled: list[int]) -> bool:
    """Whether two planes differ in axes that are travelled only."""
    return all(a == b for k, (a, b) in enumerate(zip(index, here, strict=True)) if k not in travelled)
