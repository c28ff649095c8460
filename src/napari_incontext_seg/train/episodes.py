"""Synthetic in-context episodes: several views of one kind of scene, and the same parts drawn in each.

Everything is made in batches on the device that trains, so that nothing is copied to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import InputError
from .annotation import annotate
from .draw import Draw
from .optics import form
from .scenes import FAMILIES

Key = TypeVar("Key", str, bool)
SMALLEST = 64  # pixels a side of an episode: no scene fits into less

__all__ = ["SMALLEST", "EpisodeConfig", "Episodes", "generate"]


@dataclass(frozen=True)
class EpisodeConfig:
    """What episodes are made of.

    Parameters
    ----------
    families
        Names in `scenes.FAMILIES`.
    neighbours
        Share of episodes whose views are one scene deformed, as neighbouring slices or frames are; the others show
        different scenes of one kind.
    max_classes
        Most classes in an episode, 1 to 4.
    """

    families: tuple[str, ...] = tuple(FAMILIES)
    neighbours: float = 0.45
    max_classes: int = 4

    def __post_init__(self) -> None:
        unknown = sorted(set(self.families) - set(FAMILIES))
        if unknown or not self.families:
            raise InputError(f"families must be some of {', '.join(FAMILIES)}; got {unknown or 'none'}.")
        if not 0 <= self.neighbours <= 1:
            raise InputError(f"neighbours must be a share in [0, 1]; got {self.neighbours}.")
        if not 1 <= self.max_classes <= 4:
            raise InputError(f"max_classes must be 1 to 4; got {self.max_classes}.")


@dataclass(frozen=True, eq=False)
class Episodes:
    """A batch of episodes; view 0 is the query, the others are the examples.

    Parameters
    ----------
    images
        (B, 1 + K, 3, H, W) float32 in [0, 1]; three equal channels where the scene is grey.
    labels
        (B, 1 + K, H, W) int64 classes, 0 = background. Every class is in at least one example.
    families
        B names.
    """

    images: Tensor
    labels: Tensor
    families: tuple[str, ...]


def generate(
    batch: int,
    size: int,
    seed: int,
    device: torch.device | str = "cpu",
    num_examples: int = 1,
    config: EpisodeConfig | None = None,
) -> Episodes:
    """Make ``batch`` episodes of ``size`` x ``size`` pixels with ``num_examples`` examples each.

    A call is some 20,000 small operations however many episodes it makes: on a GPU make hundreds at once and train on
    slices of them; a CPU is fastest with about 16. The same arguments give the same episodes on one kind of device (a
    GPU sums in any order: up to rounding); another device draws other numbers.

    Raises
    ------
    InputError
        A size below `SMALLEST`, no episode, or no example.
    """
    if size < SMALLEST or batch < 1 or num_examples < 1:
        raise InputError(
            f"episodes need a size of at least {SMALLEST}, a batch and an example; got {size}, {batch}, {num_examples}."
        )
    config = config or EpisodeConfig()
    device = torch.device(device)
    # Which families, and which episodes are in colour, is decided on the host: the device is never asked.
    host = torch.Generator().manual_seed(seed)
    weights = torch.tensor([FAMILIES[name].weight for name in config.families])
    chosen = torch.multinomial(weights, batch, replacement=True, generator=host).tolist()
    names = [config.families[i] for i in chosen]
    dice = torch.rand(2, batch, generator=host).tolist()
    in_colour = [draw < FAMILIES[name].colour for name, draw in zip(names, dice[0], strict=True)]
    inverted = torch.tensor([draw < FAMILIES[name].inverted for name, draw in zip(names, dice[1], strict=True)])
    generator = torch.Generator(device).manual_seed(seed)
    angle, shift = _views(batch, 1 + num_examples, size, config.neighbours, generator, device)

    def draw_for(members: Tensor) -> Draw:
        return Draw(angle[members], shift[members], generator)

    scenes = []
    for name, members in _groups(names, device):
        draw = draw_for(members)
        scene = FAMILIES[name].family(draw, size)
        labels = annotate(draw, scene.parts, scene.main, config.max_classes)
        scenes.append((members, draw.by_episode(scene.dyes), draw.by_episode(labels)))
    dyes, labels = _in_order(scenes)
    pictures = []
    for colour, members in _groups(in_colour, device):
        draw = draw_for(members)
        picture = form(draw, dyes[members].flatten(0, 1), colour, draw.spread(inverted.to(device)[members]))
        pictures.append((members, draw.by_episode(picture)))
    (images,) = _in_order(pictures)
    return Episodes(images, labels, tuple(names))


def _groups(keys: Sequence[Key], device: torch.device) -> Iterator[tuple[Key, Tensor]]:
    """Yield each key with the indices of the episodes that have it."""
    for key in dict.fromkeys(keys):
        yield key, torch.tensor([i for i, other in enumerate(keys) if other == key], device=device)


def _in_order(parts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Join the tensors of groups, whose first says which episodes they are, in the order of the episodes."""
    members, *tensors = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    order = members.argsort()
    return tuple(tensor[order] for tensor in tensors)


def _views(
    batch: int, views: int, size: int, neighbours: float, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return how far (batch, views) radians and where to (batch, views, 2) pixels each view has moved on."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    related = uniform(batch, 1) < neighbours
    step = 0.012 * (40 ** uniform(batch, 1))  # less than a degree to 30
    angle = torch.where(related, step * (0.5 + uniform(batch, views)), torch.full((), math.pi / 2, device=device))
    drift = torch.randn((batch, views, 2), generator=generator, device=device) * 0.12 * size
    return angle, torch.where(related[..., None], drift * step[..., None], 0.0)
