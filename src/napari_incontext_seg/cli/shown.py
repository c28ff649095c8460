"""What a command shows the model: labels of some slices, an example set, a key; alone or together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import KindChoice, read_annotations, resolve_kind, tell_unused

if TYPE_CHECKING:
    from ..core.example_set import ExampleSet, Rgb
    from ..core.stack import Stack
    from ..core.types import Context, Kind, Labels
    from ..infer.key import Key
    from ..session.plan import Split


@dataclass(frozen=True, eq=False)
class Shown:
    """What is shown.

    Parameters
    ----------
    annotations
        Number of a slice or image -> its labels (Y, X).
    kind
        What labels are.
    ignore_label
        The label in ``annotations`` that means "not annotated".
    context
        Examples from elsewhere.
    given
        Labels of slices that come out as they are, without being shown: examples that are not used.
    class_names, class_colors
        Of the example set.
    """

    annotations: Mapping[int, Any]
    kind: Kind
    ignore_label: int | None = None
    context: Context | None = None
    given: Mapping[int, Labels] = field(default_factory=dict)
    class_names: Mapping[int, str] = field(default_factory=dict)
    class_colors: Mapping[int, Rgb] = field(default_factory=dict)


def show_stack(
    stack: Stack, labels: Stack | None, examples: Path | None, *, annotated: str | None, kind: KindChoice,
    ignore_label: int | None, key: Key | None = None,
) -> Shown:  # fmt: skip
    """What is shown for a stack; examples that were taken from it are annotated slices of it.

    Labels win over an example of the same slice.
    """
    annotations = read_annotations(stack, labels, annotated, ignore_label) if labels is not None else {}
    if examples is None:
        return _without_set(annotations, kind, ignore_label, key)
    from ..io.example_sets import load_examples
    from ..session.plan import split_examples

    loaded = load_examples(examples)
    return _with_set(
        loaded, split_examples(loaded, stack.normalized(), key=key), annotations, kind, ignore_label, key
    )  # fmt: skip


def show_collection(
    images: Sequence[Stack], annotations: Mapping[int, Any], examples: Path | None, *, kind: KindChoice,
    ignore_label: int | None, key: Key | None = None,
) -> Shown:  # fmt: skip
    """What is shown for images that are no stack; examples that were taken from one of them are its annotation."""
    tell_unused(annotations.values(), ignore_label)
    if examples is None:
        return _without_set(annotations, kind, ignore_label, key)
    from ..io.example_sets import load_examples
    from ..session.plan import split_among

    loaded = load_examples(examples)
    return _with_set(loaded, split_among(loaded, images, key=key), annotations, kind, ignore_label, key)


def _with_set(
    loaded: ExampleSet, split: Split, annotations: Mapping[int, Any], kind: KindChoice, ignore_label: int | None,
    key: Key | None,
) -> Shown:  # fmt: skip
    from ..session.plan import NOT_ANNOTATED

    both = {**split.annotations, **_with_ignored(annotations, ignore_label, NOT_ANNOTATED)}
    return Shown(
        both,
        key.kind if key is not None else loaded.kind if kind == "auto" else kind,
        NOT_ANNOTATED,
        split.context,
        {p: example.labels for p, example in split.unused.items() if p not in both},
        loaded.class_names,
        loaded.class_colors,
    )


def _without_set(annotations: Mapping[int, Any], kind: KindChoice, ignore_label: int | None, key: Key | None) -> Shown:
    if key is not None:
        return Shown(annotations, key.kind, ignore_label, key.context)
    return Shown(annotations, resolve_kind(kind, annotations.values(), ignore_label), ignore_label)


def _with_ignored(annotations: Mapping[int, Any], ignore_label: int | None, marked: int) -> dict[int, Any]:
    """Label planes in which another number means "not annotated"."""
    import numpy as np

    if ignore_label is None:
        return dict(annotations)
    return {p: np.where(plane == ignore_label, marked, plane.astype(np.int64)) for p, plane in annotations.items()}
