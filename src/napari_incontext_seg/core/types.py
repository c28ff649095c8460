"""The nouns that everything else speaks of: `Example`, `Context`, `Segmentation`, and the predictor protocols.

A *plane* is ``(Y, X, C)`` float32 in [0, 1] with C of 1 (grey) or 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .labels import as_labels, split_ignored
from .words import counted, listed, sized

Plane: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.uint32]
Kind: TypeAlias = Literal["semantic", "instance"]
Spacing: TypeAlias = tuple[float, float]
KINDS: tuple[Kind, ...] = ("semantic", "instance")


def as_plane(image: Any) -> Plane:
    """Check a plane and return it read-only.

    Parameters
    ----------
    image
        (Y, X), (Y, X, 1) or (Y, X, 3) floats in [0, 1].

    Raises
    ------
    InputError
        Another shape, an empty plane, NaN, or values outside [0, 1].
    """
    try:
        plane = np.asarray(image, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"a plane must be an array of numbers; got {type(image).__name__} ({error}).") from error
    if plane.ndim == 2:
        plane = plane[..., None]
    if plane.ndim != 3 or plane.shape[2] not in (1, 3) or 0 in plane.shape:
        raise InputError(f"a plane must be (Y, X, C) with 1 or 3 channels; got shape {np.shape(image)}.")
    # not (>=) rather than (<): also false for NaN
    if not (plane.min() >= 0 and plane.max() <= 1):
        raise InputError(
            "a plane must hold values in [0, 1] without NaN; read it through Stack.plane, which normalises."
        )
    return frozen(plane)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view of ``array``."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Example:
    """One annotated plane.

    Parameters
    ----------
    image
        Plane (Y, X, C).
    labels
        (Y, X) ids up to uint32, 0 = background.
    valid
        (Y, X) bool, True where the annotation says something (also "background"); default everywhere.
    spacing
        Physical size of a pixel (y, x) in micrometers, when known.
    """

    image: Plane
    labels: Labels
    valid: NDArray[np.bool_] = None  # type: ignore[assignment]  # None is replaced in __post_init__
    spacing: Spacing | None = None

    def __post_init__(self) -> None:
        image = as_plane(self.image)
        labels = as_labels(self.labels, image.shape[:2])
        valid = np.ones(labels.shape, bool) if self.valid is None else np.asarray(self.valid, bool)
        if valid.shape != labels.shape:
            raise InputError(f"valid must match the labels {labels.shape}; got {valid.shape}.")
        if not valid.any():
            raise InputError("the example has no annotated pixel: every pixel is ignored.")
        if self.spacing is not None:
            try:
                spacing = tuple(float(s) for s in self.spacing)
            except (TypeError, ValueError):
                spacing = ()
            if len(spacing) != 2 or not all(0 < s < np.inf for s in spacing):
                raise InputError(f"pixel spacing must be two positive numbers (y, x); got {self.spacing}.")
            object.__setattr__(self, "spacing", spacing)
        for name, array in (("image", image), ("labels", np.where(valid, labels, np.uint32(0))), ("valid", valid)):
            object.__setattr__(self, name, frozen(array))

    def __repr__(self) -> str:
        sparse = "" if self.valid.all() else f", {self.valid.mean():.0%} annotated"
        return f"<Example {sized(self.image.shape)}, labels {listed(self.ids)}{sparse}>"

    @classmethod
    def from_labels(
        cls, image: Plane, labels: Any, ignore_label: int | None = None, spacing: Spacing | None = None
    ) -> Example:
        """Make an example whose pixels labelled ``ignore_label`` say nothing (sparse annotation, scribbles)."""
        checked, valid = split_ignored(labels, ignore_label)
        return cls(image, checked, valid, spacing)

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The label ids in the annotated pixels, ascending; 0 is among them if any background was annotated."""
        return tuple(int(i) for i in np.unique(self.labels[self.valid]))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of image, labels, valid mask and spacing."""
        h = hashlib.sha256()
        for array in (self.image, self.labels, self.valid):
            h.update(f"{array.dtype.str}{array.shape}".encode())
            h.update(np.ascontiguousarray(array).data)
        h.update(repr(self.spacing).encode())
        return h.hexdigest()


@dataclass(frozen=True, eq=False)
class Context:
    """What the model is shown: one or more examples of the same task.

    Parameters
    ----------
    examples
        At least one `Example`.
    kind
        ``"semantic"`` (an id is a class) or ``"instance"`` (an id is one object).
    class_names
        Names of ids, for people; does not change what is painted.
    """

    examples: tuple[Example, ...]
    kind: Kind = "semantic"
    class_names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "examples", tuple(self.examples))
        object.__setattr__(self, "class_names", MappingProxyType(dict(self.class_names)))
        if not self.examples:
            raise InputError("a context needs at least one annotated example; got none.")
        if self.kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}; got {self.kind!r}.")
        if not any(self.ids):
            raise InputError("no object is annotated in any example: paint at least one label.")

    def __repr__(self) -> str:
        return f"<Context of {counted(len(self.examples), 'example')}, {self.kind}, labels {listed(self.ids)}>"

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """All label ids of the examples, ascending; 0 is among them if any background was annotated."""
        return tuple(sorted({i for e in self.examples for i in e.ids}))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over examples in order and kind: cache key and provenance."""
        return hashlib.sha256("|".join([self.kind, *(e.digest for e in self.examples)]).encode()).hexdigest()

    def joined(self, *examples: Example) -> Context:
        """Return this context with more examples after its own."""
        return replace(self, examples=(*self.examples, *examples)) if examples else self


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a model painted on one plane.

    Parameters
    ----------
    labels
        (Y, X) uint32, ids of the context (kind ``semantic``) or new object ids (kind ``instance``).
    confidence
        (Y, X) float32 in [0, 1].
    provenance
        Model, its digest, context fingerprint, settings: plain values only.
    disagreement
        (Y, X) float32 in [0, 1] where several examples or recolourings disagree; None if only one was asked.
    """

    labels: Labels
    confidence: NDArray[np.float32]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    disagreement: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        labels = as_labels(self.labels)
        try:
            confidence = np.asarray(self.confidence, np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"confidence must be an array of numbers; got {type(self.confidence).__name__}."
            ) from error
        if confidence.shape != labels.shape:
            raise InputError(f"confidence must match the labels {labels.shape}; got {confidence.shape}.")
        if self.disagreement is not None:
            disagreement = np.asarray(self.disagreement, np.float32)
            if disagreement.shape != labels.shape:
                raise InputError(f"disagreement must match the labels {labels.shape}; got {disagreement.shape}.")
            object.__setattr__(self, "disagreement", frozen(disagreement))
        object.__setattr__(self, "labels", frozen(labels))
        object.__setattr__(self, "confidence", frozen(confidence))
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def __repr__(self) -> str:
        ids = tuple(int(i) for i in np.unique(self.labels))
        return (
            f"<Segmentation {sized(self.labels.shape)}, labels {listed(ids)}, confidence {self.slice_confidence:.2f}>"
        )

    @cached_property
    def slice_confidence(self) -> float:
        """One number in [0, 1] for the whole plane: see `core.metrics.slice_confidence`."""
        from .metrics import slice_confidence

        return slice_confidence(self.labels, self.confidence)


class Segmenter(Protocol):
    """A predictor bound to a context: plane (Y, X, C) -> `Segmentation` (Y, X)."""

    def __call__(self, plane: Plane, /) -> Segmentation: ...


@runtime_checkable
class Predictor(Protocol):
    """A model that can be shown a context.

    ``name`` is for people; ``digest`` identifies the weights (SHA-256, or the version of a closed form).
    """

    name: str
    digest: str

    def bind(self, context: Context) -> Segmenter:
        """Return a segmenter that paints what ``context`` shows. Cheap to call again with the same context."""
        ...
