"""Branching tubes: random walks with branches, splatted as points and blurred, each by its own radius."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .draw import Draw
from .textures import frequencies

TRUNKS = 8
SLOW = 0.3
LEVELS = ((5, 0.6), (4, 0.3))
"""Branches a path may have, and their length in image sizes, from level to level."""
SIGMAS = (0.65, 1.0, 1.6, 2.6, 4.3)
"""Blurs that tubes are made of; what lies between is made by brightness."""


@dataclass(frozen=True, eq=False)
class _Paths:
    """Points (N, M, T, 2) in pixels from the centre, headings and radii (N, M, T), life and group (N, M)."""

    points: Tensor
    heading: Tensor
    radius: Tensor
    alive: Tensor
    group: Tensor


def trees(
    draw: Draw,
    size: int,
    radius: Tensor,
    bend: Tensor,
    branching: Tensor,
    from_point: Tensor,
    density: Tensor,
    by_width: Tensor,
) -> Tensor:
    """Grow trees of tubes in two groups.

    Parameters
    ----------
    radius
        Pixels, of a trunk.
    bend
        Radians of turning on the way through the image.
    branching, density
        Share of the branches, and of the trunks, that grow.
    from_point
        Whether all trunks start at one place, or else they come in from the borders.
    by_width
        Whether the second group are the thin tubes, or else some trunks with their branches.

    Returns
    -------
    Tensor
        (N, 2, size, size), above 0.5 inside a tube and smooth across it.
    """
    # Slower than the scene: a small change of a trunk's beginning moves all of the tree.
    root = size * 0.4 * draw.normal(1, 2, faster=SLOW).clamp(-1, 1) + 2 * draw.normal(TRUNKS, 2, faster=SLOW)
    sector = torch.arange(TRUNKS, device=draw.device) * (2 * math.pi / TRUNKS)  # trunks of one root part ways
    outward = sector + 0.8 * draw.quantile(TRUNKS, faster=SLOW) + draw.uniform(0, 2 * math.pi)[..., 0]
    border = 0.7 * size * torch.stack([outward.sin(), outward.cos()], -1)
    inward = outward + math.pi + 1.2 * (draw.quantile(TRUNKS, faster=SLOW) - 0.5)
    start, heading = torch.where(from_point, root, border), torch.where(from_point[..., 0], outward, inward)
    alive = (draw.quantile(TRUNKS) < density[..., 0]).float()
    alive[:, :2] = 1.0
    group = (draw.quantile(TRUNKS) < 0.5).float()
    width = radius[..., 0] * (0.35 * draw.normal(TRUNKS)).exp()
    levels = [_grow(draw, start, heading, width, alive, group, 1.3 * size, bend)]
    for children, length in LEVELS:
        levels.append(_branch(draw, levels[-1], children, branching, length * size, 1.4 * bend))
    points = torch.cat([level.points.flatten(1, 2) for level in levels], 1)
    radii = torch.cat([level.radius.flatten(1) for level in levels], 1)
    alive = torch.cat([level.alive[..., None].expand_as(level.radius).flatten(1) for level in levels], 1)
    group = torch.cat([_second(level, radius, by_width).flatten(1) for level in levels], 1)
    return _tubes(size, points + draw.shift[:, None] + (size - 1) / 2, radii, alive, group)


def _second(paths: _Paths, radius: Tensor, by_width: Tensor) -> Tensor:
    """Return (N, M, T) 1 where a point is of the second group; a path is of one group as a whole."""
    thin = (paths.radius[..., 0] < 0.55 * radius[..., 0]).float()
    return torch.where(by_width[..., 0], thin, paths.group)[..., None].expand_as(paths.radius)


def _grow(
    draw: Draw, start: Tensor, heading: Tensor, width: Tensor, alive: Tensor, group: Tensor, length: float, bend: Tensor
) -> _Paths:
    """Walk from ``start`` (N, M, 2) with inertia, tapering; the others are (N, M)."""
    steps = max(8, int(length / 4))
    turns = draw.normal(start.shape[1], steps, faster=SLOW) * bend / math.sqrt(steps)
    smooth = turns + turns.roll(1, -1) + turns.roll(2, -1)
    headings = heading[..., None] + smooth.cumsum(-1) / 1.7
    direction = torch.stack([headings.sin(), headings.cos()], -1)
    points = start[:, :, None] + direction.cumsum(2) * (length / steps)
    taper = torch.linspace(1, 0.45, steps, device=draw.device)
    return _Paths(points, headings, width[..., None] * taper, alive, group)


def _branch(draw: Draw, parent: _Paths, children: int, branching: Tensor, length: float, bend: Tensor) -> _Paths:
    """Grow ``children`` branches off each path of ``parent``, to either side and narrower than where they leave."""
    count, many, steps = parent.heading.shape
    where = (draw.quantile(many, children, faster=SLOW) * (steps - 1)).long().clamp(0, steps - 1)
    start = parent.points.gather(2, where[..., None].expand(-1, -1, -1, 2))
    side = torch.where(draw.normal(many, children) > 0, 1.0, -1.0)
    heading = parent.heading.gather(2, where) + side * (0.5 + 0.6 * draw.quantile(many, children, faster=SLOW))
    width = parent.radius.gather(2, where) * (0.4 + 0.45 * draw.quantile(many, children))
    alive = parent.alive[..., None] * (draw.quantile(many, children) < branching)
    group = parent.group[..., None].expand(count, many, children)
    return _grow(
        draw,
        start.flatten(1, 2),
        heading.flatten(1),
        width.flatten(1),
        alive.flatten(1),
        group.flatten(1),
        length,
        bend,
    )


def _tubes(size: int, path: Tensor, width: Tensor, alive: Tensor, group: Tensor) -> Tensor:
    """Splat points (N, P, 2) with radii (N, P) and blur each by its own radius; returns (N, 2, size, size)."""
    count = len(path)
    sigma = torch.tensor(SIGMAS, device=path.device)
    reach = 1.18  # radius of a tube of amplitude 1 at half its height, in sigmas
    width = width.clamp_min(0.8)  # thinner ones would be dotted
    slot = (torch.bucketize(width / reach, sigma) - 1).clamp(0, len(SIGMAS) - 1)
    scale = sigma[slot]
    amplitude = 0.5 * torch.exp((width / scale) ** 2 / 2).clamp(max=8.0)
    points = 6  # a point stands for about this many pixels of length, made denser below
    offsets = torch.linspace(0, 1, points + 1, device=path.device)[:-1]
    ahead = torch.cat([path[:, 1:], path[:, -1:]], 1)
    step = ahead - path
    joined = step.norm(dim=-1) < 12  # the next point belongs to the same path
    dense = path[..., None, :] + torch.where(joined[..., None], step, 0.0)[..., None, :] * offsets[:, None]
    spacing = torch.where(joined, step.norm(dim=-1), 1.0) / points
    mass = alive * joined * amplitude * scale * math.sqrt(2 * math.pi) * spacing
    mass, slot, group = (v[..., None].expand(*v.shape, points).flatten(1) for v in (mass, slot, group))
    dense = dense.flatten(1, 2)
    channel = (group.long() * len(SIGMAS) + slot) * size * size
    image = torch.zeros(count, 2 * len(SIGMAS) * size * size, device=path.device)
    corner = dense.floor()
    part = dense - corner
    for dy in (0, 1):
        for dx in (0, 1):
            y, x = corner[..., 0].long() + dy, corner[..., 1].long() + dx
            weight = (part[..., 0] - (1 - dy)).abs() * (part[..., 1] - (1 - dx)).abs()
            valid = (y >= 0) & (y < size) & (x >= 0) & (x < size)
            index = channel + y.clamp(0, size - 1) * size + x.clamp(0, size - 1)
            image.scatter_add_(1, index, mass * weight * valid)
    f_y, f_x = frequencies(size, size, path.device)
    gain = torch.exp(-2 * math.pi**2 * sigma[:, None, None] ** 2 * (f_y * f_y + f_x * f_x))
    spectrum = torch.fft.rfft2(image.view(count, 2, len(SIGMAS), size, size))
    field: Tensor = torch.fft.irfft2((spectrum * gain).sum(2), s=(size, size))
    return field
