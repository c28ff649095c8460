"""Synthetic in-context episodes: several views of one kind of scene, and the same parts drawn in each.

Everything is made in batches on the device that trains, so that the device never waits for data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from .annotation import annotate
from .draw import Draw
from .optics import form
from .scenes import FAMILIES, Recipe

__all__ = ["EpisodeConfig", "Episodes", "generate"]


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
    instances
        (B, 1 + K, H, W) int64 ids of the objects under the labels, the same in all views of a deformed scene; 0
        where the family has no objects.
    families
        B names.
    """

    images: Tensor
    labels: Tensor
    instances: Tensor
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

    The same arguments give the same episodes on one kind of device; another device draws other numbers.

    Raises
    ------
    InputError
        A size below 64 pixels (no scene fits), no episode, or no example.
    """
    if size < 64 or batch < 1 or num_examples < 1:
        raise InputError(
            f"episodes need a size of at least 64, a batch and an example; got {size}, {batch}, {num_examples}."
        )
    config = config or EpisodeConfig()
    device = torch.device(device)
    # Which families, and which episodes are in colour, is decided on the host: the device is never asked.
    host = torch.Generator().manual_seed(seed)
    weights = torch.tensor([FAMILIES[name].weight for name in config.families])
    chosen = torch.multinomial(weights, batch, replacement=True, generator=host).tolist()
    names = [config.families[i] for i in chosen]
    colour = [dice < FAMILIES[name].colour for name, dice in zip(names, torch.rand(batch, generator=host), strict=True)]
    generator = torch.Generator(device).manual_seed(seed)
    angle, shift = _views(batch, 1 + num_examples, size, config.neighbours, generator, device)
    groups: dict[tuple[str, bool], list[int]] = {}
    for episode, key in enumerate(zip(names, colour, strict=True)):
        groups.setdefault(key, []).append(episode)
    made = []
    for (name, in_colour), members in groups.items():
        index = torch.tensor(members, device=device)
        made.append(_group(Draw(angle[index], shift[index], generator), size, FAMILIES[name], in_colour, config))
    order = torch.tensor([episode for members in groups.values() for episode in members], device=device).argsort()
    images, labels, instances = (torch.cat(tensors)[order] for tensors in zip(*made, strict=True))
    return Episodes(images, labels, instances, tuple(names))


def _views(
    batch: int, views: int, size: int, neighbours: float, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return how far (batch, views) radians and where to (batch, views, 2) pixels each view has moved on."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    related = uniform(batch, 1) < neighbours
    step = 0.03 * (25 ** uniform(batch, 1))  # a few degrees to 45
    angle = torch.where(related, step * (0.5 + uniform(batch, views)), torch.full((), math.pi / 2, device=device))
    drift = torch.randn((batch, views, 2), generator=generator, device=device) * 0.12 * size
    return angle, torch.where(related[..., None], drift * step[..., None], 0.0)


def _group(
    draw: Draw, size: int, recipe: Recipe, in_colour: bool, config: EpisodeConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, labels and instances of the episodes of one family."""
    scene = recipe.family(draw, size)
    labels = annotate(draw, scene.parts, config.max_classes)
    images = form(draw, scene.dyes, in_colour, recipe.inverted)
    instances = torch.where(labels > 0, scene.identity, 0)
    views = (draw.episodes, draw.views)
    return images.unflatten(0, views), labels.unflatten(0, views), instances.unflatten(0, views)
