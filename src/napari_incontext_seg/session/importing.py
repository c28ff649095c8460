"""Examples of a set join those of a project."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.example_set import ExampleSet
from .plan import is_own

if TYPE_CHECKING:
    from .project import Project


def joined(project: Project, given: ExampleSet) -> ExampleSet:
    """The examples of a project with those of ``given`` that are new.

    An example that was taken from the project's image counts as its own, and locks its slice, if the slice has no
    labels yet (it gets the example's) or the same ones. Else it joins as an example from elsewhere, and what was
    painted stays.
    """
    examples = project.examples
    first, known = not examples.items, {item.example.digest for item in examples.items}
    for item in given.items:
        if item.example.digest in known:
            continue
        own = is_own(item, project.stack)
        if own and project.take_labels(int(item.position or 0), item.example):
            item = replace(item, source=project.source)
        elif own or item.source == project.source:  # of another image of this name: many are called "image"
            item = replace(item, position=None)
        examples = examples.added(item)
    return replace(
        examples,
        kind=given.kind if first else examples.kind,
        class_names={**given.class_names, **examples.class_names},
        class_colors={**given.class_colors, **examples.class_colors},
        ignore_label=given.ignore_label if first else examples.ignore_label,
    )
