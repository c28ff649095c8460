"""Objects in any number at a constant cost a pixel: each pixel looks at the nearest places of a jittered lattice."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .draw import Draw
from .textures import standardized, swell

LATTICE = 32
"""Objects repeat after this many places (a power of two): only the smallest do within an image, bent otherwise."""


def canvas(draw: Draw, size: int) -> Tensor:
    """Return (N, 2, size, size) coordinates in pixels, turned at random, drifted and a little scaled."""
    axis = torch.arange(size, device=draw.device) - (size - 1) / 2
    y, x = axis[:, None], axis[None]
    angle = draw.uniform(0, 2 * math.pi) + 0.6 * draw.angle.reshape(-1, 1, 1) * draw.normal(1, 1)
    zoom = 1 + 0.08 * draw.angle.reshape(-1, 1, 1).sin() * draw.normal(1, 1)
    y, x = (y - draw.shift[:, :1, None]) * zoom, (x - draw.shift[:, 1:, None]) * zoom
    return torch.stack([y * angle.cos() - x * angle.sin(), y * angle.sin() + x * angle.cos()], 1)


def warp(draw: Draw, grid: Tensor, wavelength: Tensor, strain: Tensor) -> Tensor:
    """Bend ``grid`` (N, 2, H, W) smoothly; lengths change by about ``strain`` (a share; above 0.7 it folds)."""
    size = grid.shape[-1]
    step = torch.stack([swell(draw, size, wavelength), swell(draw, size, wavelength)], 1)
    return grid + step * (strain * wavelength / (2 * math.pi))[:, None]


@dataclass(frozen=True, eq=False)
class Objects:
    """The nearest object of every pixel; all (N, H, W) but ``traits`` (N, 4, H, W), uniform in [0, 1] per object.

    ``depth`` is pixels inside its outline (negative outside), ``along`` and ``across`` the place in the object's own
    frame (-1 to 1 inside), ``radius`` its mean radius, ``wall`` the distance in pixels to where the next object is
    nearest, ``kind`` True for the second kind of objects.
    """

    depth: Tensor
    along: Tensor
    across: Tensor
    radius: Tensor
    wall: Tensor
    kind: Tensor
    traits: Tensor

    @property
    def inside(self) -> Tensor:
        """Whether a pixel lies in an object (N, H, W) bool."""
        return self.depth > 0

    def of_kind(self, value: Tensor) -> Tensor:
        """Return 1 in the objects of the first kind and ``value`` in those of the second."""
        return torch.where(self.kind, value, torch.ones_like(value))

    def pointed(self, power: Tensor, skew: Tensor | float = 0.0) -> Objects:
        """Return the objects with outlines of a power norm: 2 an ellipse, 1 a diamond, less a star, more a box.

        ``skew`` 0 to 1 bends, tapers and lobes each in its own way.
        """
        bend, taper = (self.traits[:, 2] - 0.5) * skew * 1.6, (self.traits[:, 3] - 0.5) * skew * 1.6
        across = (self.across + bend * (self.along**2 - 0.4)) / (1 + taper * self.along.clamp(-1.2, 1.2))
        norm = (self.along.abs() ** power + across.abs() ** power + 1e-6) ** (1 / power)
        turn = torch.atan2(across, self.along)
        lobes = torch.cos((2 + (self.traits[:, 1] * 4).floor()) * turn + 20 * self.traits[:, 2])
        return replace(self, depth=(1 - norm * (1 + 0.22 * skew * lobes)) * self.radius)


@dataclass(frozen=True, eq=False)
class Placement:
    """How objects stand; each (N, 1, 1) or a number.

    ``radius`` is in pixels, ``spacing`` in mean radii, ``order`` 0 (each its own direction) to 1 (all alike),
    ``presence`` the share of lattice places taken, ``kinds`` the share of the second kind, whose radius and
    aspect ratio are multiplied by ``kind_size`` and ``kind_aspect``.
    """

    radius: Tensor
    spacing: Tensor | float = 2.4
    variation: Tensor | float = 0.2
    aspect: Tensor | float = 1.2
    order: Tensor | float = 0.0
    jitter: Tensor | float = 0.3
    presence: Tensor | float = 1.0
    kinds: Tensor | float = 0.0
    kind_size: Tensor | float = 1.0
    kind_aspect: Tensor | float = 1.0
    kind_presence: Tensor | float = 1.0


def objects(draw: Draw, grid: Tensor, place: Placement, reach: int = 2) -> Objects:
    """Raster objects on ``grid`` (N, 2, H, W).

    ``reach`` 2 looks at 4 lattice places a pixel: right for objects that stand apart (spacing above 1.6 radii);
    3 looks at 9, which `Objects.wall` needs.
    """
    count, _, height, width = grid.shape
    shape = (count, height, width)
    spacing = place.radius * place.spacing
    forms, looks = _table(draw, place, reach)
    # In lattice units, so that a view's other scale leaves the middle of the image where it is.
    origin = LATTICE * draw.normal(2, 1, 1, faster=0.0)
    y, x = (grid / spacing[:, None] + origin).flatten(2).unbind(1)
    centred = 0.5 if reach == 2 else 0.0
    first_y, first_x = (y + centred).floor() - 1, (x + centred).floor() - 1
    y, x = y - first_y, x - first_x
    first_y, first_x = first_y.int(), first_x.int()
    start = torch.arange(count, device=grid.device, dtype=torch.int32)[:, None] * LATTICE**2
    best = torch.full_like(y, 1e9)
    second = best
    for dy in range(reach):
        row = start + ((first_y + dy) & (LATTICE - 1)) * LATTICE
        for dx in range(reach):
            index = row + ((first_x + dx) & (LATTICE - 1))
            form = forms.index_select(1, index.flatten()).view(-1, count, y.shape[1])
            off_y, off_x = y - (form[0] + dy), x - (form[1] + dx)
            distance = (form[2] * off_y + form[3] * off_x) * off_y + form[4] * off_x * off_x + form[5]
            # The last four bits of the distance say which place it is: the nearest is then one minimum.
            distance = ((distance.clamp_min(0).view(torch.int32) & ~15) | (dy * reach + dx)).view(torch.float32)
            second = torch.minimum(second, torch.maximum(best, distance))
            best = torch.minimum(best, distance)
    which = best.view(torch.int32) & 15
    row_of = torch.div(which, reach, rounding_mode="floor")
    column_of = which - row_of * reach
    cell = ((first_y + row_of) & (LATTICE - 1)) * LATTICE + ((first_x + column_of) & (LATTICE - 1))
    winner = start + cell
    look = looks.index_select(1, winner.flatten()).view(-1, *shape)
    form = forms[:2].index_select(1, winner.flatten()).view(2, count, -1)
    off_y, off_x = (y - form[0] - row_of).view(shape), (x - form[1] - column_of).view(shape)
    radius = look[4].abs() * spacing
    norm, next_norm = best.clamp(max=1e4).sqrt().view(shape), second.clamp(max=1e4).sqrt().view(shape)
    return Objects(
        depth=(1 - norm) * radius,
        along=(off_y * look[0] + off_x * look[1]) * look[2],
        across=(off_x * look[0] - off_y * look[1]) * look[3],
        radius=radius,
        wall=(next_norm - norm) * radius / 2,
        kind=look[4] < 0,
        traits=look[5:].movedim(0, 1),
    )


def _table(draw: Draw, place: Placement, reach: int) -> tuple[Tensor, Tensor]:
    """Return forms (6, N * cells) and looks (9, N * cells) of the objects of the lattice; lengths in lattice units.

    Forms: centre y, x; the three terms of the squared distance; a penalty where no object is. Looks: cosine, sine;
    1 / radii along and across; mean radius, negative for the second kind; four traits.
    """
    cells = LATTICE**2
    normals = draw.normal(cells, 7)

    def flat(value: Tensor | float) -> Tensor:
        return value.view(-1, 1) if isinstance(value, Tensor) else torch.full((1, 1), value, device=draw.device)

    quantile = standardized(normals)
    kind = quantile[..., 5] < flat(place.kinds)
    radius = (normals[..., 0].clamp(-2, 2) * flat(place.variation)).exp() / flat(place.spacing)
    radius = radius * torch.where(kind, flat(place.kind_size), 1.0)
    presence = torch.where(kind, flat(place.kind_presence), flat(place.presence))
    # Near the threshold of presence objects are small, like the caps of spheres that a section just touches.
    margin = (presence - quantile[..., 1]) / 0.12
    radius = radius * torch.where(presence >= 1, torch.ones_like(margin), margin.clamp(0.02, 1).sqrt())
    aspect = flat(place.aspect) * torch.where(kind, flat(place.kind_aspect), 1.0)
    aspect = (1 + (aspect - 1) * (0.4 + 1.2 * quantile[..., 6])).clamp_min(0.2)
    # A pixel sees no object whose place is further: larger ones would be cut off.
    radius = torch.minimum(radius, (reach / 2 - flat(place.jitter)) / torch.maximum(aspect, 1 / aspect).sqrt())
    turn = math.pi * quantile[..., 4] * (1 - flat(place.order))
    centre = 0.5 + flat(place.jitter)[..., None] * (2 * quantile[..., 2:4] - 1)
    cosine, sine = turn.cos(), turn.sin()
    long, short = 1 / (radius * aspect.sqrt()), aspect.sqrt() / radius
    squared = (
        (cosine * long) ** 2 + (sine * short) ** 2,
        2 * sine * cosine * (long**2 - short**2),
        (sine * long) ** 2 + (cosine * short) ** 2,
    )
    penalty = torch.where(margin > 0, 0.0, 1e6)
    forms = torch.stack([centre[..., 0], centre[..., 1], *squared, penalty])
    traits = draw.quantile(4, cells).movedim(1, 0)
    looks = torch.cat([torch.stack([cosine, sine, long, short, torch.where(kind, -radius, radius)]), traits])
    return forms.flatten(1), looks.flatten(1)
