"""Fields of view without small objects: vessels, fibres, textured regions, anatomy, and things in front of things."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..draw import Draw
from ..shapes import Placement, canvas, objects, warp
from ..textures import blur, cloud, grain, specks, standardized, swell
from ..trees import trees
from .cells import two_kinds, wobble
from .scene import Scene, band, mix, scene, soft


def vessels(draw: Draw, size: int) -> Scene:
    """Branching tubes of two calibres or origins on shaded ground, in a round field or not: fundus, angiogram."""
    radius = draw.log_uniform(1.2, 6.5, jitter=0.05)
    bend, branching, density = draw.log_uniform(0.15, 1.5), draw.uniform(0.4, 1.0), draw.uniform(0.2, 0.9)
    by_width = draw.chance(0.5)
    first, second = trees(draw, size, radius, bend, branching, draw.chance(0.5), density, by_width).unbind(1)
    contrast = draw.uniform(0.2, 0.65)
    faint = torch.where(by_width, draw.uniform(0.6, 1.0), draw.uniform(0.25, 0.6))
    tube = 1 - torch.exp(-1.3 * first.clamp(0))
    tube = torch.maximum(tube, (1 - torch.exp(-1.3 * second.clamp(0))) * faint)
    tube = tube * (1 + 0.2 * swell(draw, size, draw.uniform(15, 50))).clamp(0.2)
    core = draw.uniform(0, 0.5) * draw.chance(0.3) * band(first.clamp(max=3) - 2.2, torch.full_like(first, 0.7))
    deeper = standardized(cloud(draw, size, draw.uniform(20, 90), draw.uniform(1.4, 3)))
    ground = draw.uniform(0.2, 0.6) * (1 + draw.uniform(0, 0.5) * (deeper - 0.5))
    ground = ground + draw.uniform(0, 0.02) * grain(draw, size, draw.uniform(2, 6), 0.5, faster=9)
    disc = objects(draw, canvas(draw, size), Placement(size * draw.uniform(0.05, 0.14), spacing=7.0, presence=0.5))
    lit = soft(disc.depth, draw.uniform(2, 6)) * draw.uniform(0, 0.5) * draw.chance(0.4)
    spots = specks(draw, size, radius * 1.5, draw.uniform(1.8, 3))
    lesion = soft(spots * 4, 1.5) * draw.uniform(-0.3, 0.4) * draw.chance(0.4)
    axis = torch.arange(size, device=draw.device) - size / 2
    centre = size * draw.normal(2, 1, 1, faster=0.3) * 0.08
    reach = ((axis[:, None] - centre[:, 0]) ** 2 + (axis[None] - centre[:, 1]) ** 2).sqrt()
    field = (reach < size * draw.uniform(0.45, 0.62)) | ~draw.chance(0.4)
    vignette = 1 - draw.uniform(0, 0.5) * (reach / size) ** 2
    dark = draw.chance(0.6)
    base = (ground * vignette + lit + lesion).clamp(0)
    tubes = (contrast * (tube - core)).clamp(0)
    grey = torch.where(dark, base * (1 - tubes), base * 0.5 + tubes)
    threshold = draw.uniform(0.42, 0.6)
    return scene(
        [grey * field],
        [
            (disc.depth > 0) & (lit > 0.05) & field,
            ((first > threshold) | (second > threshold)) & field,
            (first > threshold) & field & draw.chance(0.5),
            (second > threshold) & field & draw.chance(0.5),
            (spots > 0) & (lesion.abs() > 0.06) & field & draw.chance(0.5),
        ],
        main=1,
    )


def fibres(draw: Draw, size: int) -> Scene:
    """Long threads without branches among spots or cells: filaments, collagen, neurites, cracks, hyphae."""
    radius = draw.log_uniform(0.6, 4, jitter=0.05)
    bend, branching, density = draw.uniform(0.2, 3.0), draw.uniform(0, 0.25), draw.uniform(0.3, 1.0)
    by_width = draw.chance(0.5)
    first, second = trees(draw, size, radius, bend, branching, draw.chance(0.15), density, by_width).unbind(1)
    place, _ = two_kinds(draw, draw.log_uniform(2, 12), draw.uniform(2.5, 5), draw.uniform(0, 0.9), draw.uniform(1, 2))
    blobs = objects(draw, wobble(draw, canvas(draw, size), place.radius), place)
    beads = 1 + draw.uniform(0, 0.6) * grain(draw, size, draw.uniform(3, 12), 0.4)
    shown = draw.chance(0.7)
    faint = torch.where(by_width, draw.uniform(0.6, 1.2), draw.uniform(0.2, 0.5))
    lines = (first.clamp(0, 1.5) + second.clamp(0, 1.5) * faint) * beads
    body = soft(blobs.depth, 1.5) * (0.5 + blobs.traits[:, 0]) * shown
    weave = grain(draw, size, draw.uniform(4, 14), 0.4, draw.uniform(1.5, 3), draw.uniform(0, math.pi))
    ground = (
        draw.uniform(0.05, 0.4)
        + draw.uniform(0, 0.12) * weave
        + draw.uniform(0, 0.08) * cloud(draw, size, draw.uniform(10, 80))
    )
    threshold = draw.uniform(0.4, 0.55)
    return scene(
        [draw.uniform(0.25, 0.7) * lines.clamp(0, 1.5), ground.clamp(0), draw.uniform(0.2, 0.7) * body],
        [
            blobs.inside & shown,
            (first > threshold) | (second > threshold),
            (first > threshold) & draw.chance(0.5),
            (second > threshold) & draw.chance(0.5),
        ],
        main=1,
    )


def _texture(draw: Draw, size: int) -> Tensor:
    """Return (N, H, W) one material: cloudy, grainy, woven or granular; mean 0, deviation about 1."""
    fine = grain(
        draw, size, draw.log_uniform(2.2, 16), draw.uniform(0.2, 1.0), draw.uniform(1, 2.5), draw.uniform(0, math.pi)
    )
    rough = cloud(draw, size, draw.log_uniform(4, 60), draw.uniform(1, 3), faster=2)
    weight = draw.uniform(0, 1) ** 1.5
    field = fine * weight.sqrt() + rough * (1 - weight).sqrt()
    ridged = 1.6 - 2.0 * field.abs()
    return torch.where(draw.chance(0.35), ridged * draw.sign(), field)


def textured_regions(draw: Draw, size: int) -> Scene:
    """Three materials with curved borders; often of one mean grey, so that only their texture tells them apart."""
    wavelength = draw.log_uniform(0.25 * size, 1.2 * size)
    slope = draw.uniform(2.5, 4.5)
    height = cloud(draw, size, wavelength, slope)
    a = height > draw.uniform(-0.3, 1.0)
    b = (cloud(draw, size, wavelength, slope) > draw.uniform(0.2, 1.4)) & ~a
    b = b & draw.presence().bool()
    equal = draw.chance(0.5)
    offset_a = torch.where(equal, 0.0, draw.uniform(-0.3, 0.3))
    offset_b = torch.where(equal, 0.0, draw.uniform(-0.3, 0.3))
    contrast = draw.uniform(0.05, 0.16)
    base, first, second = _texture(draw, size), _texture(draw, size), _texture(draw, size)
    same = draw.chance(0.25)  # the same material once more, but weaker
    first = torch.where(same, base * draw.uniform(0.2, 0.6), first)
    level = torch.where(a, offset_a + first * contrast, torch.where(b, offset_b + second * contrast, base * contrast))
    border = band(height - 0.3, torch.full_like(height, 0.06)) * draw.uniform(-0.2, 0.2) * draw.chance(0.2)
    shade = swell(draw, size, draw.uniform(60, 250)) * draw.uniform(0, 0.1)
    grey = (0.5 + level + shade + border).clamp(0, 1.2)
    return scene([grey * ~(a | b), grey * a, grey * b], [a, b, ~a & ~b & draw.chance(0.3)])


def anatomy(draw: Draw, size: int) -> Scene:
    """A body in air: a rim, organs of even grey with soft borders, one ring with core and neighbour (MR, CT)."""
    grid = canvas(draw, size)
    axis = torch.arange(size, device=draw.device) - size / 2
    plane = torch.stack(torch.meshgrid(axis, axis, indexing="ij")) - draw.shift[:, :, None, None]
    plane = warp(draw, plane, draw.uniform(0.4, 1.0) * size, draw.uniform(0.1, 0.4))
    centre = 0.12 * size * draw.normal(2, 1, 1)
    height, width = size * draw.uniform(0.35, 0.75), size * draw.uniform(0.35, 0.75)
    outline = 1 - ((plane[:, 0] / height) ** 2 + (plane[:, 1] / width) ** 2).sqrt()
    body = outline * torch.minimum(height, width)
    fat = draw.uniform(1.5, 0.06 * size)
    radius = size * draw.uniform(0.06, 0.16)
    organs = objects(
        draw,
        wobble(draw, grid, radius, 2.0),
        Placement(radius, spacing=1.9, variation=0.4, aspect=draw.uniform(1, 1.8), jitter=0.4),
        reach=3,
    )
    texture = 1 + draw.uniform(0.02, 0.12) * cloud(draw, size, draw.uniform(3, 20), 1.6, faster=3)
    tissue = (organs.traits[:, 0] * draw.uniform(0.3, 0.9) + 0.1) * texture
    hollow = standardized(3 * organs.traits[:, 0] - 1.5) < draw.uniform(0, 0.25)
    tissue = blur(tissue, draw.uniform(0.5, 2)) * (1 - 0.8 * hollow)
    part = draw.uniform(0.07, 0.2) * size
    y, x = plane[:, 0] - centre[:, 0], plane[:, 1] - centre[:, 1]
    distance = (y * y + x * x * draw.uniform(0.7, 1.3)).sqrt()
    size_here = part * (1 + 0.15 * draw.normal(1, 1)).clamp(0.3)
    thickness = size_here * draw.uniform(0.2, 0.5)
    outer, inner = size_here - distance, size_here - thickness - distance
    turn = draw.uniform(0, 2 * math.pi)
    side_y, side_x = y - turn.sin() * size_here * 1.1, x - turn.cos() * size_here * 1.1
    beside = size_here * draw.uniform(0.7, 1.1) - (side_y**2 * 1.3 + side_x**2).sqrt()
    present = draw.presence()
    blood, muscle, air = draw.uniform(0.4, 1.0), draw.uniform(0.05, 0.6), draw.uniform(0.0, 0.06)
    image = mix(air, tissue, soft(body, 2.0))
    image = mix(image, blood * draw.uniform(0.7, 1.1) * texture, soft(beside, 1.5) * present)
    image = mix(image, muscle * texture, soft(outer, 1.5) * present)
    papillary = 1 - 0.6 * (grain(draw, size, size_here * 0.6, 0.4) > 1.6) * draw.chance(0.5)
    image = mix(image, blood * texture * papillary, soft(inner, 1.5) * present)
    rim = (body > 0) & (body < fat)
    image = mix(image, draw.uniform(0.1, 1.0) * texture, soft(body, 1.5) * soft(fat - body, 1.5))
    bias = torch.exp(draw.uniform(0, 0.5) * swell(draw, size, draw.uniform(0.6, 1.5) * size))
    there = present > 0
    organ = (organs.traits[:, 0] - draw.uniform(0, 1)).abs() < draw.uniform(0.05, 0.2)
    return scene(
        [image * bias],
        [
            organ & (body > fat),
            rim,
            (beside > 0) & (outer < 0) & there,
            (outer > 0) & there,
            (outer > 0) & (inner < 0) & there,
            (inner > 0) & there,
        ],
        main=3,
    )


def leaves(draw: Draw, size: int) -> Scene:
    """Things in front of things ("dead leaves"): three layers of shapes, each of its material, on a ground."""
    contrast = draw.uniform(0.05, 0.2)
    dyes = [
        0.4 + contrast * _texture(draw, size),
        *[torch.zeros(draw.count, size, size, device=draw.device) for _ in range(2)],
    ]
    parts: list[Tensor] = []
    shade = blur(standardized(cloud(draw, size, draw.uniform(10, 80), 2.0)), draw.uniform(0.5, 3)) - 0.5
    dyes[0] = dyes[0] + 0.3 * shade
    for layer in range(3):
        radius = draw.log_uniform(0.05 * size, 0.4 * size, jitter=0.06)
        grid = wobble(draw, canvas(draw, size), radius, 3.0)
        presence = draw.uniform(0.1, 0.7) * (draw.presence() if layer else 1.0)
        things = objects(
            draw,
            grid,
            Placement(
                radius, spacing=draw.uniform(1.8, 3), aspect=draw.uniform(1, 4), presence=presence, variation=0.3
            ),
        ).pointed(draw.uniform(0.8, 4), draw.uniform(0, 1))
        over = soft(things.depth, 1.2)
        material = _texture(draw, size) * draw.uniform(0.02, 0.2)
        relief = (things.depth / things.radius).clamp(0, 1) * draw.uniform(-0.3, 0.3)
        for dye in range(3):
            amount = draw.uniform(0.0, 0.6) + (things.traits[:, dye] - 0.5) * draw.uniform(0, 0.6) + material + relief
            dyes[dye] = mix(dyes[dye], amount / 1.5, over)
        parts = [part & ~things.inside for part in parts]
        parts.append(things.inside)
    return scene([dye.clamp(0) for dye in dyes], parts)
