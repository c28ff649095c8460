"""`ExampleSet`: the examples that a person collected, their names, where they are from, and which of them are used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

from ..errors import InputError
from .types import KINDS, Context, Example, Kind

SUFFIX = ".incontext"  # of the file that an example set is kept in
Rgb: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class ExampleItem:
    """An example in a set.

    Parameters
    ----------
    example
        Image plane, labels, where these say something, spacing.
    name
        For people: ``"ovule, z 12"``.
    source
        Name of the image that it was taken from.
    position, index
        Number of the plane in that image, and the same along each of the image's plane axes.
    used
        Whether it is shown to the model.
    """

    example: Example
    name: str
    source: str = ""
    position: int | None = None
    index: tuple[int, ...] = ()
    used: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", tuple(int(i) for i in self.index))
        numbers = [i for i in (self.position, *self.index) if i is not None]
        if any(i < 0 for i in numbers):
            raise InputError(f"the place of an example must be 0 or more; got {self.position}, {self.index}.")


@dataclass(frozen=True, eq=False)
class ExampleSet:
    """Examples in the order in which they are shown. Never changed: every method returns a new set.

    Parameters
    ----------
    items
        The examples.
    kind
        ``"semantic"`` or ``"instance"``.
    class_names, class_colors
        Label -> name, and red, green, blue in [0, 1]; for people.
    ignore_label
        Label that meant "not annotated" when the examples were taken.
    """

    items: tuple[ExampleItem, ...] = ()
    kind: Kind = "semantic"
    class_names: Mapping[int, str] = field(default_factory=dict)
    class_colors: Mapping[int, Rgb] = field(default_factory=dict)
    ignore_label: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}; got {self.kind!r}.")
        for label, color in self.class_colors.items():
            if len(color) != 3 or not all(math.isfinite(c) and 0 <= c <= 1 for c in color):
                raise InputError(f"the colour of label {label} must be red, green, blue in 0 to 1; got {color}.")
        colors = {int(i): (float(r), float(g), float(b)) for i, (r, g, b) in self.class_colors.items()}
        object.__setattr__(self, "items", tuple(self.items))
        object.__setattr__(self, "class_names", MappingProxyType({int(i): n for i, n in self.class_names.items()}))
        object.__setattr__(self, "class_colors", MappingProxyType(colors))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def used(self) -> tuple[ExampleItem, ...]:
        """The examples that are shown to the model."""
        return tuple(item for item in self.items if item.used)

    def find(self, source: str, position: int) -> int | None:
        """Number of the example that was taken from this plane of this image, None if there is none."""
        return next((k for k, i in enumerate(self.items) if (i.source, i.position) == (source, position)), None)

    def context(self, *, excluding: tuple[int, ...] = ()) -> Context:
        """What the model is shown: the examples that are used, without those whose numbers are ``excluding``.

        Raises
        ------
        InputError
            None is left.
        """
        shown = [item.example for k, item in enumerate(self.items) if item.used and k not in excluding]
        if not shown:
            raise InputError("no example is used: add a slice to the examples, or tick one.")
        return Context(tuple(shown), self.kind, self.class_names)

    # -- changes --------------------------------------------------------------------------------------------------
    def added(self, item: ExampleItem) -> ExampleSet:
        """With one more example, at the end."""
        return replace(self, items=(*self.items, item))

    def removed(self, number: int) -> ExampleSet:
        """Without an example."""
        self._check(number)
        return replace(self, items=(*self.items[:number], *self.items[number + 1 :]))

    def replaced(self, number: int, item: ExampleItem) -> ExampleSet:
        """With another example in the place of one."""
        self._check(number)
        return replace(self, items=(*self.items[:number], item, *self.items[number + 1 :]))

    def renamed(self, number: int, name: str) -> ExampleSet:
        """With another name for an example."""
        self._check(number)
        return self.replaced(number, replace(self.items[number], name=name))

    def with_used(self, number: int, used: bool) -> ExampleSet:
        """With an example used, or not."""
        self._check(number)
        return self.replaced(number, replace(self.items[number], used=used))

    def moved(self, number: int, to: int) -> ExampleSet:
        """With an example moved, so that it has the number ``to``."""
        self._check(number)
        self._check(to)
        others = [*self.items[:number], *self.items[number + 1 :]]
        return replace(self, items=(*others[:to], self.items[number], *others[to:]))

    def _check(self, number: int) -> None:
        if not 0 <= number < len(self.items):
            raise InputError(f"there is no example {number}; the set has {len(self.items)}, counted from 0.")
