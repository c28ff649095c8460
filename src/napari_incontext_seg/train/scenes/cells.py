"""Cells in light microscopy: fluorescent nuclei, phase contrast, stained sections, small particles."""

from __future__ import annotations

import torch
from torch import Tensor

from ..draw import Draw
from ..shapes import Objects, Placement, canvas, objects, warp
from ..textures import blur, cloud, grain, specks, standardized, swell
from .scene import Scene, band, scene, soft


def two_kinds(
    draw: Draw, radius: Tensor, spacing: Tensor, presence: Tensor, aspect: Tensor
) -> tuple[Placement, Tensor]:
    """Return a placement of two kinds of objects, and the brightness of the second kind.

    They differ in size, in shape or in brightness, sometimes in two of these: never in nothing.
    """
    cue = draw.uniform(0, 1)
    dimmer = torch.where((cue < 0.45) | draw.chance(0.2), draw.uniform(0.25, 0.6), 1.0)
    size = torch.where(((cue >= 0.45) & (cue < 0.75)) | draw.chance(0.2), draw.uniform(0.4, 0.65), 1.0)
    shape = torch.where((cue >= 0.75) | draw.chance(0.15), draw.uniform(1.8, 2.8), 1.0)
    place = Placement(
        radius=radius,
        spacing=spacing,
        variation=draw.uniform(0.05, 0.35) * torch.where(size < 1, 0.5, 1.0),
        aspect=aspect,
        order=draw.uniform(0, 1) * draw.chance(0.3),
        jitter=draw.uniform(0.15, 0.36),
        presence=presence * draw.presence(0.04),
        kinds=draw.uniform(0.2, 0.6),
        kind_size=size,
        kind_aspect=shape,
        kind_presence=presence * draw.presence() * draw.uniform(0.4, 1.0),
    )
    return place, dimmer


def brightness(draw: Draw, things: Objects, dimmer: Tensor, spread: Tensor) -> Tensor:
    """Return the brightness of each object: about 1, the second kind ``dimmer``; ``spread`` in natural logarithms."""
    spread = spread * torch.where(dimmer < 1, 0.4, 1.0)
    return torch.exp((things.traits[:, 0] - 0.5) * spread) * things.of_kind(dimmer)


def wobble(draw: Draw, grid: Tensor, radius: Tensor, strength: float = 1.0) -> Tensor:
    """Bend the lattice out of its order and roughen the outlines of what will stand on it."""
    grid = warp(draw, grid, radius * draw.uniform(7, 12), draw.uniform(0.1, 0.4))
    return warp(draw, grid, radius * draw.uniform(1.2, 3.0), draw.uniform(0.02, 0.2) * strength)


def clustered(draw: Draw, size: int, radius: Tensor) -> Tensor:
    """Return (N, H, W) bool where objects stand: everywhere, or in patches."""
    patches = swell(draw, size, radius * draw.uniform(10, 24)) < draw.uniform(-0.2, 1.2)
    return patches | draw.chance(0.55)


def fluorescent_nuclei(draw: Draw, size: int) -> Scene:
    """Bright textured nuclei on dark ground, some dim, with nucleoli, haze, cytoplasm and debris."""
    radius = draw.log_uniform(4, 0.16 * size, jitter=0.04)
    grid = wobble(draw, canvas(draw, size), radius)
    presence = draw.uniform(0.25, 1.05)
    place, dimmer = two_kinds(draw, radius, draw.uniform(1.75, 3.4), presence, draw.uniform(1.0, 1.7))
    nuclei = objects(draw, grid, place)
    texture = cloud(draw, size, radius * draw.uniform(0.3, 1.2), draw.uniform(1.5, 3.5), faster=2)
    spots = grain(draw, size, radius * draw.uniform(0.35, 0.7), 0.35, faster=1.5)
    level = brightness(draw, nuclei, dimmer, draw.uniform(0.2, 2.2))
    dome = 1 + ((nuclei.depth / nuclei.radius).clamp(0, 1).sqrt() - 1) * draw.uniform(0, 0.8)
    grainy = 1 + texture * draw.uniform(0.05, 0.35) * nuclei.of_kind(draw.uniform(0, 2))
    large = radius > 10  # nobody draws nucleoli of a pixel or two
    hole = large & (spots > draw.uniform(1.4, 2.2)) & (nuclei.depth > 0.15 * nuclei.radius)
    signed = torch.where(draw.chance(0.5), -0.6, 0.7) * draw.chance(0.6)
    body = soft(nuclei.depth, draw.uniform(0.6, 2.1)) * level * dome * grainy * (1 + signed * hole)
    haze = blur(body, radius * draw.uniform(0.6, 2.0)) * draw.uniform(0, 0.5)
    cytoplasm, whole = _cytoplasm(draw, size, nuclei, radius)
    debris = specks(draw, size, draw.log_uniform(1.2, 4), draw.uniform(2.2, 3.2))
    dust = soft(debris * 4, 1.0) * torch.exp(debris.clamp(0)) * draw.uniform(0.3, 1.2) * draw.chance(0.4)
    ground = draw.uniform(0.02, 0.25) * (1 + 0.3 * swell(draw, size, draw.uniform(40, 200)))
    bright = nuclei.inside & (level > 1) & draw.chance(0.4)
    return scene(
        [0.8 * body + haze, cytoplasm + ground, dust],
        [
            whole,
            nuclei.inside,
            nuclei.inside & nuclei.kind,
            bright,
            hole & nuclei.inside & (signed != 0),
            (debris > 0.2) & (dust > 0),
        ],
        main=1,
    )


def _cytoplasm(draw: Draw, size: int, nuclei: Objects, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Return the amount of cytoplasm and the whole cells around ``nuclei``; none in half of the episodes."""
    shown = draw.chance(0.45)
    extent = radius * draw.uniform(0.4, 1.2)
    depth = torch.minimum(nuclei.depth + extent, nuclei.wall * 1.5 - 0.5)
    fibres = cloud(draw, size, radius * 1.5, 2.0, draw.uniform(1, 2), draw.uniform(0, 3.14))
    membrane = band(depth - 1.5, draw.uniform(0.8, 2.2)) * draw.uniform(0, 0.7) * draw.chance(0.5)
    amount = soft(depth, 2.0) * (draw.uniform(0.08, 0.4) * (1 + 0.3 * fibres)) + membrane
    return amount * shown, (depth > 0) & shown


def phase_contrast(draw: Draw, size: int) -> Scene:
    """Flat cells of the ground's own grey, seen by outline, halo and granules; round bright ones; debris."""
    radius = draw.log_uniform(7, 0.2 * size, jitter=0.04)
    grid = wobble(draw, canvas(draw, size), radius, 2.2)
    place = Placement(
        radius=radius,
        spacing=draw.uniform(1.6, 3.6),
        variation=draw.uniform(0.1, 0.35),
        aspect=draw.log_uniform(1.1, 4.5),
        order=draw.uniform(0, 0.9) * draw.chance(0.4),
        presence=draw.uniform(0.3, 1.0) * draw.presence(0.04),
        kinds=draw.uniform(0.0, 0.35),
        kind_size=draw.uniform(0.25, 0.5),
        kind_aspect=0.3,
        kind_presence=draw.uniform(0.2, 0.9) * draw.presence(),
    )
    cells = objects(draw, grid, place)
    flat = cells.pointed(draw.uniform(0.8, 2.0), draw.uniform(0, 1))
    depth = torch.where(cells.kind, cells.depth, flat.depth)
    inside = depth > 0
    granules = grain(draw, size, draw.uniform(2.5, 8), draw.uniform(0.4, 1.0), faster=2)
    clumps = standardized(cloud(draw, size, radius, 2.5)) * soft(depth - 0.1 * radius, 0.2 * radius)
    body = soft(depth, 1.5)
    halo_width = draw.log_uniform(1.5, 7)
    halo = blur(body, halo_width) - blur(body, halo_width * 3)
    edge = band(depth - 1, draw.uniform(0.8, 1.8))
    rounded = (cells.kind & inside).float()
    glow = rounded * soft(depth, 3.0)
    dark = draw.sign(0.75)  # the other sign is negative phase contrast
    mean = draw.uniform(-0.18, 0.12) * draw.chance(0.5)
    image = (
        draw.uniform(0.35, 0.6)
        + 0.02 * cloud(draw, size, draw.uniform(4, 30), 2.0)
        + dark
        * (mean * body - halo * draw.log_uniform(0.15, 0.8) - edge * draw.log_uniform(0.06, 0.35) * (1 - rounded))
        + clumps * granules * draw.uniform(0.02, 0.2) * (1 - rounded)
        + draw.uniform(0.2, 0.6) * glow
        + draw.uniform(0.1, 0.5)
        * band(depth + 1.5, draw.uniform(1, 2.5))
        * (rounded + cells.kind.float() * (1 - rounded))
    )
    nucleus = (soft(depth - 0.45 * cells.radius, 1.5) > 0.5) & ~cells.kind & draw.chance(0.5)
    image = image + nucleus * draw.uniform(-0.12, 0.12)
    debris = specks(draw, size, draw.log_uniform(1.2, 4), draw.uniform(1.8, 3))
    speck = soft(debris * 4, 1.0) * (1 - body) * draw.uniform(0.2, 0.7) * draw.sign(0.3)
    kinds = inside & cells.kind
    return scene(
        [image + 0.5 * speck],
        [inside, inside & ~cells.kind, nucleus & inside, kinds, (debris > 0) & ~inside & draw.chance(0.15)],
    )


def glowing_cells(draw: Draw, size: int) -> Scene:
    """Few elongated cells with soft long ends on noisy ground; their rims are hardly brighter than the ground."""
    radius = draw.log_uniform(5, 0.22 * size, jitter=0.04)
    grid = wobble(draw, canvas(draw, size), radius, 2.0)
    place, dimmer = two_kinds(draw, radius, draw.uniform(2.0, 4.0), draw.uniform(0.4, 1.0), draw.uniform(1.5, 7.0))
    cells = objects(draw, grid, place).pointed(draw.uniform(0.7, 1.7), draw.uniform(0, 1))
    level = brightness(draw, cells, dimmer, draw.uniform(0.5, 2.5))
    dome = (cells.depth / cells.radius).clamp(0, 1)
    profile = soft(cells.depth, draw.uniform(1.5, 4)) * (draw.uniform(0.15, 0.5) + dome)
    texture = 1 + 0.25 * cloud(draw, size, radius, 2.0, faster=2)
    undershoot = blur(soft(cells.depth, 2.0), radius * 0.8) * draw.uniform(0, 0.25)
    ground = draw.uniform(0.1, 0.4) + 0.03 * swell(draw, size, draw.uniform(60, 200))
    nucleus = (cells.depth > 0.5 * cells.radius) & draw.chance(0.3)
    return scene(
        [level * profile * texture * (1 - 0.4 * nucleus), (ground - undershoot)],
        [cells.inside, cells.inside & cells.kind, nucleus & cells.inside],
    )


def stained_section(draw: Draw, size: int) -> Scene:
    """Nuclei of two kinds in fibrous stained stroma with empty spaces: haematoxylin, eosin and a third stain."""
    radius = draw.log_uniform(3.5, 0.1 * size, jitter=0.04)
    grid = wobble(draw, canvas(draw, size), radius, 1.5)
    place, dimmer = two_kinds(draw, radius, draw.uniform(1.7, 3.0), draw.uniform(0.3, 1.0), draw.uniform(1.1, 2.2))
    nuclei = objects(draw, grid, place)
    here = clustered(draw, size, radius)
    inside = nuclei.inside & here
    chromatin = cloud(draw, size, radius * 0.7, 2.0, faster=2)
    level = draw.uniform(0.6, 1.1) * brightness(draw, nuclei, dimmer, draw.uniform(0.1, 1.2))
    pale = (nuclei.depth / nuclei.radius).clamp(0, 1) * draw.uniform(0, 0.5) * nuclei.of_kind(draw.uniform(0, 2))
    nucleus = soft(nuclei.depth, 1.5) * here * level * (1 + 0.18 * chromatin - pale)
    direction = draw.uniform(0, 3.14)
    fibres = cloud(draw, size, draw.uniform(15, 80), 1.6, draw.uniform(1, 3), direction)
    strands = grain(draw, size, draw.uniform(4, 12), 0.5, draw.uniform(1.5, 3), direction)
    space = cloud(draw, size, draw.uniform(20, 120), 3.0) > draw.uniform(0.6, 2.2)
    stroma = (draw.uniform(0.15, 0.5) * (1 + 0.35 * fibres + 0.2 * strands * draw.chance(0.6))).clamp(0)
    stroma = stroma * (1 - space * draw.uniform(0.7, 1.0))
    brown = draw.chance(0.25)
    marked = inside & nuclei.kind & brown
    return scene(
        [nucleus * (1 - 0.6 * marked) + 0.08 * stroma, stroma * (1 - 0.6 * inside), nucleus * marked],
        [space, ~space & ~inside & draw.chance(0.3), inside, inside & nuclei.kind, inside & ~nuclei.kind],
        main=2,
    )


def particles(draw: Draw, size: int) -> Scene:
    """Small grains, rods, yeast or spots of two kinds, sharp or soft, on plain or structured ground."""
    radius = draw.log_uniform(1.5, 8, jitter=0.03)
    grid = warp(draw, canvas(draw, size), radius * 10, draw.uniform(0.1, 0.5))
    place, dimmer = two_kinds(draw, radius, draw.log_uniform(1.8, 6), draw.uniform(0.2, 1.0), draw.uniform(1.0, 5.0))
    grains = objects(draw, grid, place)
    here = clustered(draw, size, radius * 1.5)
    inside = grains.inside & here
    level = brightness(draw, grains, dimmer, draw.uniform(0.1, 2))
    hollow = soft(grains.depth - draw.uniform(0.8, 1.6), 1.0) * draw.chance(0.3) * draw.uniform(0.4, 1.0)
    hollow = hollow * grains.of_kind(draw.chance(0.5).float())
    body = soft(grains.depth, draw.uniform(0.7, 2.5)) * here * level * (1 - hollow)
    ground = draw.uniform(0.05, 0.4) * (1 + draw.uniform(0, 0.5) * cloud(draw, size, draw.uniform(8, 100), 2.0))
    second = body * grains.kind
    return scene(
        [0.6 * (body - second), ground.clamp(0), 0.6 * second],
        [inside, inside & grains.kind, inside & ~grains.kind],
    )
