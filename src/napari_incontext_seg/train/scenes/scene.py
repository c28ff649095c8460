"""What a family of scenes returns, and small helpers all of them use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..draw import Draw

PARTS = 6


@dataclass(frozen=True, eq=False)
class Scene:
    """What is in the field of view, before any optics.

    Parameters
    ----------
    dyes
        (N, 3, H, W) amounts of up to three dyes, about 0 to 1. Their sum is the grey image; in colour each has its own.
    parts
        (N, PARTS, H, W) bool, what could be asked for, the outer before the inner; unused ones are empty.
    main
        The part that people ask for most.
    """

    dyes: Tensor
    parts: Tensor
    main: int


Family: TypeAlias = Callable[[Draw, int], Scene]


def scene(dyes: Sequence[Tensor], parts: Sequence[Tensor], main: int = 0) -> Scene:
    """Stack what a family made."""
    blank = torch.zeros_like(dyes[0])
    nothing = blank > 1
    return Scene(
        torch.stack([*dyes, *[blank] * (3 - len(dyes))], 1),
        torch.stack([*parts, *[nothing] * (PARTS - len(parts))], 1),
        main,
    )


def soft(depth: Tensor, width: Tensor | float) -> Tensor:
    """Return 0 outside to 1 inside, over an edge of ``width`` pixels."""
    return torch.sigmoid(depth * 2 / width)


def band(depth: Tensor, width: Tensor) -> Tensor:
    """Return 1 on the line ``depth`` = 0, falling off over ``width`` pixels."""
    return torch.exp(-((depth / width) ** 2))


def mix(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    """Return ``low`` where ``weight`` is 0, ``high`` where it is 1."""
    return low + (high - low) * weight
