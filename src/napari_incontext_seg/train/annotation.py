"""What a person asks for in a scene, and how they draw it."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from .draw import Draw
from .textures import swell

MIN_SHARE = 0.0012
"""A part must cover this share of an example to be asked for."""
MAX_SHARE = 0.85


def annotate(draw: Draw, parts: Tensor, main: int, max_classes: int) -> Tensor:
    """Choose parts as classes and draw them; only parts that an example shows are chosen.

    Parameters
    ----------
    parts
        (N, P, H, W) bool, the outer before the inner.
    main
        The part that people ask for most.

    Returns
    -------
    Tensor
        (N, H, W) int64, 0 = background.
    """
    classes = _classes(draw, parts, main, max_classes)
    # The topmost of all parts and of the chosen ones, counted from 1, then the class of it.
    topmost = torch.zeros_like(parts[:, 0], dtype=torch.uint8)
    top_chosen = topmost
    for part in range(parts.shape[1]):
        covered = parts[:, part].to(torch.uint8) * (part + 1)
        topmost = torch.maximum(topmost, covered)
        top_chosen = torch.maximum(top_chosen, covered * (classes[:, part, None, None] > 0))
    table = functional.pad(classes, (1, 0)).flatten()
    start = torch.arange(len(parts), device=parts.device, dtype=torch.int32)[:, None, None] * (parts.shape[1] + 1)
    carved, labels = table[start + topmost], table[start + top_chosen]
    # "The cell without its nucleus": what was not asked for may be cut out of what was, where enough is left of it.
    enough = _example_area(draw, carved) > 0.4 * _example_area(draw, labels)
    cut = (draw.spread(enough) & draw.chance(0.2)).to(torch.uint8)
    labels = carved * cut + labels * (1 - cut)
    labels = _by_hand(draw, labels)
    views = draw.by_episode(labels)
    for number in range(1, max_classes + 1):  # no example shows it: it is not asked for in the query either
        unseen = ~(views[:, 1:] == number).flatten(1).any(1)
        views = views * ~((views == number) & unseen[:, None, None, None])
    return views.flatten(0, 1).long()


def _example_area(draw: Draw, labels: Tensor) -> Tensor:
    """Return (episodes,) how many pixels of the examples are labelled."""
    return draw.by_episode(labels > 0)[:, 1:].float().sum((1, 2, 3))


def _classes(draw: Draw, parts: Tensor, main: int, max_classes: int) -> Tensor:
    """Return (N, P) the class of each part, 0 for parts not asked for."""
    episodes, views, count = draw.episodes, draw.views, parts.shape[1]
    share = draw.by_episode(parts.float().mean((-2, -1)))
    shown = ((share > MIN_SHARE) & (share < MAX_SHARE))[:, 1:].any(1)
    score = draw.rand(episodes, count)
    score[:, main] += 0.3
    score = torch.where(shown, score, -1.0)
    rank = score.argsort(1, descending=True).argsort(1)
    dice = draw.rand(episodes, 1)
    wanted = 1 + (dice > 0.6).long() + (dice > 0.85).long() + (dice > 0.95).long()
    chosen = (rank < wanted.clamp(max=max_classes)) & shown
    classes = torch.where(chosen, rank + 1, 0)
    # Now and then two parts are one class ("both kinds").
    merged = draw.rand(episodes, 1) < 0.1
    classes = torch.where(merged & chosen, 1, classes)
    return classes.repeat_interleave(views, 0).to(torch.uint8)


def _by_hand(draw: Draw, labels: Tensor) -> Tensor:
    """Make outlines a little too wide, too narrow or jagged, the same way in all views of an episode."""
    size = labels.shape[-1]
    wavelength = draw.log_uniform(12, 40)
    strength = draw.uniform(0, 0.9) * draw.chance(0.3)
    axis = torch.arange(size, device=draw.device, dtype=torch.float32)
    y = (axis[:, None] + strength * swell(draw, size, wavelength)).round().long().clamp(0, size - 1)
    x = (axis[None] + strength * swell(draw, size, wavelength)).round().long().clamp(0, size - 1)
    labels = labels.flatten(1).gather(1, (y * size + x).flatten(1)).view_as(labels)
    framed = functional.pad(labels, (1, 1, 1, 1))
    around = [framed[:, :-2, 1:-1], framed[:, 2:, 1:-1], framed[:, 1:-1, :-2], framed[:, 1:-1, 2:]]
    most, least = labels, labels
    for side in around:
        most, least = torch.maximum(most, side), torch.minimum(least, side)
    dilated = labels + most * (labels == 0)
    eroded = labels * (least > 0)
    # Thin structures do not survive erosion: no annotator draws them away.
    robust = draw.spread(_example_area(draw, eroded) > 0.75 * _example_area(draw, labels))
    dice = draw.uniform(0, 1)
    wide, narrow = (dice < 0.15).to(torch.uint8), ((dice > 0.88) & robust).to(torch.uint8)
    return dilated * wide + eroded * narrow + labels * (1 - wide - narrow)
