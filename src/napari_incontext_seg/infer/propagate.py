"""`propagate`: annotated planes in, every other plane out, one at a time, as a generator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from ..core.instances import guess_kind
from ..core.spacing import match_context
from ..core.splitting import check_ground
from ..core.stack import Stack
from ..core.types import Context, Example, Kind, Predictor, Segmentation, Segmenter
from ..errors import InputError
from .meeting import Meeting
from .memory import memory_errors
from .naming import check_names, first_shown, reconciled
from .propagation import Propagation as Propagation
from .propagation import Step as Step
from .propagation import keep_given as keep_given
from .route import Direction, first_axis, plan_route
from .selection import ExampleSelector, Selection, Side


def propagate(
    stack: Stack,
    annotations: Mapping[int, Any],
    predictor: Predictor,
    *,
    kind: Kind | Literal["auto"] = "auto",
    direction: Direction = "both",
    along: str | None = None,
    span: tuple[int, int] | None = None,
    memory: int = 0,
    num_examples: int | None = None,
    select: Selection = "nearest",
    ignore_label: int | None = None,
    context: Context | None = None,
    names: bool = False,
) -> Propagation:
    """Paint in every other plane what was annotated in some.

    Iterating runs it: planes are read when it is their turn, so memory does not grow with the stack. Annotated
    planes come out exactly as given (of a sparsely annotated plane, the annotated pixels do).

    Parameters
    ----------
    stack
        The image; its value range is fitted here if it has none.
    annotations
        Plane number -> labels (Y, X), ids up to uint32. May be empty if there is a ``context``.
    predictor
        From `load_predictor`.
    kind
        ``semantic``: ids are classes. ``instance``: ids are objects. ``auto``: the context's, or, without one, what the
        annotations look like (`guess_kind`).
    direction, along, span
        Where to go: see `plan_route`. With ``meet``, planes between two annotated ones are painted from both sides:
        see `Meeting`.
    memory
        How many of the last predicted planes join the examples.
    num_examples, select
        How many annotated planes are shown for one plane, the ``nearest`` or the most ``similar``; default all.
    ignore_label
        Id of pixels that were not annotated (scribbles).
    context
        More examples, from other images; resampled to this stack's pixel size where both are known.
    names
        Each id is one object, up to 13, which other annotated planes may lack (kind ``semantic``). A plane's background
        does not count where it may be an object that only others name: see `reconciled`. The first plane that shows an
        object is always shown, whatever ``num_examples``.

    Returns
    -------
    Propagation
        An iterable of `Step` with a length.

    Raises
    ------
    InputError
        Labels that do not fit, no annotated plane or object, objects without background, plane numbers out of range.
    """
    if memory < 0:
        raise InputError(f"memory must be 0 or more planes; got {memory}.")
    if not isinstance(annotations, Mapping):
        raise InputError(
            "annotations must say of which plane each is, {position: labels}, such as {0: labels[0]}; got "
            f"{type(annotations).__name__}."
        )
    stack = stack.normalized()
    examples = {p: _example(stack, p, labels, ignore_label) for p, labels in annotations.items()}
    if kind == "auto":
        kind = _guessed(annotations, ignore_label, context, names)
    starts = list(examples) or ([] if context is None else _first_planes(stack, along))
    route = plan_route(stack, starts, direction=direction, along=along, span=span)
    if names:
        examples = _named(examples, kind, predictor)
    shared = match_context(context, stack.spacing).examples if context is not None else ()
    known = context.class_names if context is not None else {}
    whole = Context((*shared, *(examples[p] for p in sorted(examples))), kind, known)
    check_ground(whole)
    always = first_shown(examples) if names else frozenset()
    selector = ExampleSelector(stack, examples, num_examples, select, always)
    run = Propagation(stack, examples, predictor, whole, route, selector, memory, shared)
    return _meeting(run, starts, along, span) if direction == "meet" else run


def _guessed(annotations: Mapping[int, Any], ignore_label: int | None, context: Context | None, names: bool) -> Kind:
    if names:
        return "semantic"
    return context.kind if context is not None else guess_kind(list(annotations.values()), ignore_label)


def _named(examples: Mapping[int, Example], kind: Kind, predictor: Predictor) -> dict[int, Example]:
    """Examples whose labels are names."""
    if kind != "semantic":
        raise InputError("labels that are names stay as they are: names go with kind semantic, not with instance.")
    check_names(examples)
    return reconciled(examples, predictor)


def _meeting(run: Propagation, starts: list[int], along: str | None, span: tuple[int, int] | None) -> Meeting:
    """The run, in which planes between annotated ones are painted from both sides."""
    axis = first_axis(run.stack, along)
    sides: tuple[Side, Side] = ("onward", "backward")
    ways = [plan_route(run.stack, starts, direction=side, along=along, span=span) for side in sides]
    return Meeting.of(run, *ways, axis=axis)


def _first_planes(stack: Stack, along: str | None) -> list[int]:
    """Where to begin if no plane is annotated: the first plane of every series that is travelled."""
    travelled = [i for i, axis in enumerate(stack.plane_axes) if along is None or axis in along]
    return [p for p in range(len(stack)) if not any(stack.unravel(p)[i] for i in travelled)]


def _example(stack: Stack, position: int, labels: Any, ignore_label: int | None) -> Example:
    stack.unravel(position)  # a plane number out of range is named before anything is read
    try:
        return Example.from_labels(stack.plane(position), labels, ignore_label, stack.spacing)
    except InputError as error:
        raise InputError(f"annotated slice {position}: {error}") from error


def segment_images(
    images: Iterable[Stack], context: Context, predictor: Predictor
) -> Iterator[tuple[Stack, Segmentation]]:
    """Paint what ``context`` shows in every plane of a collection, image by image.

    Each image is normalised on its own; the examples are resampled to its pixel size where both are known.
    Yields (image, segmentation of its first plane).

    Raises
    ------
    InputError
        Objects without background.
    """
    check_ground(context)
    bound: tuple[str, Segmenter] | None = None
    for image in images:
        matched = match_context(context, image.spacing)
        if bound is None or bound[0] != matched.fingerprint:
            bound = matched.fingerprint, predictor.bind(matched)
        segmenter, plane = bound[1], image.normalized().plane(0)
        with memory_errors(f"{image.name or 'an image'} of {plane.shape[0]} x {plane.shape[1]} pixels"):
            yield image, segmenter(plane)
