"""Tissues and sections: electron micrographs, cell walls, myelin, glands, and cells cut through."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..draw import Draw
from ..shapes import Objects, Placement, canvas, objects, warp
from ..textures import blur, cloud, grain, specks, standardized, swell
from .cells import two_kinds, wobble
from .scene import Scene, band, scene, soft


def _packed(draw: Draw, size: int, radius: Tensor, bend: float = 1.0) -> tuple[Objects, Objects, Tensor, Tensor]:
    """Return large and small cells that fill the plane, where the small ones are, and the distance to any wall."""
    grid = warp(draw, canvas(draw, size), radius * 7, draw.uniform(0.1, 0.45))
    grid = warp(draw, grid, radius * draw.uniform(1.0, 2.5), draw.uniform(0.05, 0.35) * bend)
    place = Placement(
        radius,
        spacing=1.8,
        variation=draw.uniform(0.05, 0.4),
        aspect=draw.uniform(1.0, 1.6),
        order=draw.uniform(0, 1),
        jitter=0.42,
    )
    large = objects(draw, grid, place, reach=3)
    small = objects(draw, grid, replace(place, radius=radius * draw.uniform(0.3, 0.5)), reach=3)
    split = large.traits[:, 1] < draw.uniform(0.0, 0.8)
    wall = torch.where(split, torch.minimum(large.wall, small.wall), large.wall)
    return large, small, split, wall


def electron_neuropil(draw: Draw, size: int) -> Scene:
    """Dark membranes of packed processes in grainy cytoplasm; mitochondria with cristae, vesicles, dark smudges."""
    radius = draw.log_uniform(14, 0.28 * size, jitter=0.04)
    large, small, split, wall = _packed(draw, size, radius, 1.3)
    thickness = torch.minimum(draw.log_uniform(0.8, 3.0, jitter=0.05), 0.05 * radius)
    # Obliquely cut membranes are wide.
    loose = standardized(swell(draw, size, radius * 1.5)) ** 3 * draw.uniform(0, 3.0)
    line = soft(thickness * (1 + loose) - wall, draw.uniform(0.8, 1.6))
    gap = band(wall, draw.uniform(0.4, 0.8)) * draw.uniform(0, 0.7) * draw.chance(0.3)
    fine = grain(draw, size, draw.uniform(2.2, 5), draw.uniform(0.4, 1.2), faster=9)
    coarse = cloud(draw, size, draw.uniform(6, 25), 1.5, faster=5)
    traits = torch.where(split[:, None], small.traits, large.traits)
    shade = (traits[:, 0] - 0.5) * draw.uniform(0, 0.3)
    roughness = draw.uniform(0.03, 0.12) * (0.5 + traits[:, 2])
    cytoplasm = draw.uniform(0.1, 0.35) + shade + roughness * fine + draw.uniform(0.01, 0.06) * coarse
    mito_depth, mito_along, present = _organelle(draw, large, split, wall - thickness - 1, 0.7)
    body_depth, _, has_body = _organelle(draw, large, split, wall - thickness - 1, 0.4)
    mito = (mito_depth > 0) & present
    other = (body_depth > 0) & has_body & ~mito
    room = soft(wall - thickness - 1.5, 1.0)
    cristae = torch.sin(mito_along * draw.uniform(0.7, 1.8) + 1.5 * coarse + 6 * large.traits[:, 1])
    matrix = (
        draw.uniform(0.1, 0.4)
        + draw.uniform(0.05, 0.2) * cristae
        + 0.6 * band(mito_depth - 0.8, draw.uniform(0.7, 1.3))
    )
    lysosome = draw.uniform(-0.1, 0.6) + 0.1 * fine
    vesicles = specks(draw, size, draw.uniform(1.4, 3), draw.uniform(0.6, 1.6), faster=9)
    crowd = (swell(draw, size, radius * 1.5) > draw.uniform(0.3, 1.5)) & (traits[:, 3] < 0.6)
    ring = band(vesicles - 0.3, draw.uniform(0.25, 0.5)) * crowd * room * draw.uniform(0.2, 0.5)
    density = (swell(draw, size, radius * 0.7) > draw.uniform(2.0, 3.0)) & (wall < 3 * thickness + 2)
    amount = cytoplasm + ring + mito * matrix + other * lysosome
    amount = torch.maximum(amount, (draw.uniform(0.7, 1.1) + 0.07 * fine) * (line - gap)) + density * 0.3
    walls = wall < thickness * (1 + loose) * draw.uniform(0.9, 1.3) + 0.3
    return scene(
        [amount.clamp(0, 1.3)],
        [
            ~walls & draw.chance(0.2),
            walls | density,
            mito,
            other,
            crowd & (room > 0.5) & draw.chance(0.2),
        ],
        main=1,
    )


def _organelle(draw: Draw, cells: Objects, split: Tensor, room: Tensor, often: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return depth, place along it in pixels and presence of one organelle in each large cell, inside its ``room``."""
    share, shape = draw.uniform(0.15, 0.38), draw.uniform(0.5, 1.0)
    chance = (cells.traits[:, 0] * 7.3 + draw.uniform(0, 1)) % 1
    y = cells.along - 0.9 * (cells.traits[:, 1] - 0.5)
    x = cells.across - 0.9 * ((cells.traits[:, 1] * 11.7) % 1 - 0.5)
    turn = 6.28 * ((chance * 13.1) % 1)
    along, across = y * turn.cos() - x * turn.sin(), y * turn.sin() + x * turn.cos()
    share = share * (0.7 + 0.6 * cells.traits[:, 2])
    depth = (1 - ((along / share) ** 2 + (across / (share * shape)) ** 2).sqrt()) * share * cells.radius
    present = (chance < draw.uniform(0.2, often + 0.2) * draw.presence()) & ~split
    return torch.minimum(depth, room), along * cells.radius, present


def cell_walls(draw: Draw, size: int) -> Scene:
    """Cells that fill the plane, seen by their walls: stained or dark, even or patchy, with nuclei in some."""
    radius = draw.log_uniform(7, 0.3 * size, jitter=0.04)
    large, _, split, wall = _packed(draw, size, radius)
    split = split & draw.chance(0.4)
    wall = torch.where(split, wall, large.wall)
    width = draw.log_uniform(0.8, 0.13 * 30, jitter=0.05)
    width = torch.minimum(width, radius * 0.15)
    patchy = (1 + draw.uniform(0, 0.6) * swell(draw, size, draw.uniform(20, 100))).clamp(0.1)
    line = band(wall, width) * patchy * (0.7 + 0.6 * large.traits[:, 3] * draw.uniform(0, 1))
    glow = blur(line, width * draw.uniform(1.0, 3.0)) * draw.uniform(0, 1.5)
    marked = large.traits[:, 0] < draw.uniform(0.1, 0.5) * draw.presence()
    fill = draw.uniform(0, 0.2) + marked * draw.uniform(-0.05, 0.5) * draw.chance(0.5)
    texture = grain(draw, size, draw.uniform(3, 10), 0.5, faster=2)
    fill = fill * (1 + draw.uniform(0, 0.3) * texture) + marked * texture * draw.uniform(0, 0.12)
    nuclear_depth = large.depth - large.radius * (1 - draw.uniform(0.25, 0.5))
    shown = draw.chance(0.4)
    nuclei = (nuclear_depth > 0) & shown & (wall > width + 1)
    outside = cloud(draw, size, draw.uniform(60, 200), 3.0) > draw.uniform(1.2, 4.0)
    inside = ~outside
    thick = draw.uniform(0.6, 2.5)
    walls = (wall < thick) & inside
    return scene(
        [(0.8 * line + glow) * inside, fill * inside, nuclei * draw.uniform(0.15, 0.6) * inside],
        [inside & draw.chance(0.3), marked & inside & ~walls, nuclei & inside, walls],
        main=3,
    )


def myelin(draw: Draw, size: int) -> Scene:
    """Rings of many sizes, packed or loose, round pale or dark cores: nerve fibres, tubules, follicles."""
    radius = draw.log_uniform(5, 0.15 * size, jitter=0.04)
    grid = wobble(draw, canvas(draw, size), radius)
    place = Placement(
        radius,
        spacing=draw.uniform(1.6, 2.6),
        variation=draw.uniform(0.2, 0.5),
        aspect=draw.uniform(1.0, 1.6),
        presence=draw.uniform(0.6, 1.05) * draw.presence(0.04),
        kinds=draw.uniform(0, 0.5),
        kind_size=draw.uniform(0.4, 1.2),
        jitter=0.35,
        kind_presence=draw.presence(),
    )
    fibres = objects(draw, grid, place, reach=3)
    depth = torch.minimum(fibres.depth, fibres.wall * draw.uniform(1.0, 2.0))
    ratio = draw.uniform(0.2, 0.45) * torch.exp((fibres.traits[:, 0] - 0.5) * draw.uniform(0.1, 1.0))
    sheath = (ratio * fibres.radius).clamp_min(1.2)
    plain = fibres.kind & draw.chance(0.4)  # fibres without a sheath look like the cores of others
    ring = soft(depth, 1.2) - soft(depth - sheath, 1.2)
    ring = torch.where(plain, band(depth - 1, torch.ones_like(ring)) * 0.5, ring)
    core = soft(depth - sheath, 1.2)
    texture = grain(draw, size, draw.uniform(2.5, 9), 0.5, faster=3)
    ground = draw.uniform(0.05, 0.5) * (1 + 0.4 * cloud(draw, size, draw.uniform(5, 40), 1.8, faster=2))
    core_level = torch.where(draw.chance(0.5), draw.uniform(0, 0.15), ground * draw.uniform(0.6, 1.3))
    level = draw.uniform(0.6, 1.0) * (1 + (fibres.traits[:, 1] - 0.5) * draw.uniform(0, 0.7))
    body = soft(depth, 1.2)
    amount = ground * (1 - body) + core * core_level + ring * level + draw.uniform(0.0, 0.08) * texture
    inside = depth > 0
    inner = (depth > sheath) & ~plain
    myelinated = inside & ~inner & ~plain
    return scene(
        [ring * level, ground.clamp(0) * (1 - body), (amount - ring * level - ground * (1 - body)).clamp(0)],
        [inside, myelinated, inner, inner & fibres.kind, inside & plain],
    )


def glands(draw: Draw, size: int) -> Scene:
    """Large rings of nuclei round a lumen in a stroma of spindle nuclei: glands, ducts, tubules; stained or grey."""
    radius = draw.log_uniform(0.1 * size, 0.38 * size, jitter=0.05)
    grid = wobble(draw, canvas(draw, size), radius, 1.3)
    place = Placement(
        radius,
        spacing=draw.uniform(1.9, 2.6),
        variation=draw.uniform(0.1, 0.35),
        aspect=draw.uniform(1, 1.8),
        presence=draw.uniform(0.6, 1.1),
        jitter=0.3,
    )
    gland = objects(draw, grid, place, reach=3)
    depth = torch.minimum(gland.depth, gland.wall - 1.5)
    depth = depth + radius * 0.04 * swell(draw, size, radius * 0.5)
    epithelium = (draw.uniform(0.3, 0.7) * (0.6 + 0.8 * gland.traits[:, 1])) * gland.radius
    inside, lumen = depth > 0, depth > epithelium
    ring = inside & ~lumen
    small = (radius * draw.uniform(0.08, 0.16)).clamp_min(2.0)
    crowded, _ = two_kinds(draw, small, draw.uniform(1.6, 2.1), draw.uniform(0.7, 1.05), draw.uniform(1.1, 1.8))
    cells = objects(draw, wobble(draw, canvas(draw, size), small), crowded)
    # The nuclei of an epithelium stand in a row near its outer border.
    row = band(depth - small * draw.uniform(1.2, 2.0), small * draw.uniform(0.7, 2.0))
    direction = draw.uniform(0, 3.14)
    fibres = cloud(draw, size, draw.uniform(10, 50), 1.5, draw.uniform(1.2, 3), direction)
    spindle = objects(
        draw,
        wobble(draw, canvas(draw, size), small),
        Placement(
            small * 0.8,
            spacing=draw.uniform(2.2, 4.0),
            aspect=2.8,
            order=draw.uniform(0, 1),
            presence=draw.uniform(0.3, 1),
        ),
    )
    chromatin = 1 + 0.2 * grain(draw, size, small, 0.6, faster=2)
    epithelial = soft(cells.depth, 1.3) * ring * (row > 0.4)
    stromal = soft(spindle.depth, 1.3) * ~inside
    nuclei = (epithelial * draw.uniform(0.7, 1.1) + stromal * draw.uniform(0.4, 1.1)) * chromatin
    mucus = draw.uniform(0, 0.2) * (1 + 0.4 * fibres)
    stroma = (draw.uniform(0.15, 0.55) * (1 + 0.35 * fibres)).clamp(0)
    plasm = draw.uniform(0.1, 0.45) * (1 + 0.15 * chromatin)
    counter = torch.where(inside, torch.where(lumen, mucus, plasm), stroma)
    return scene(
        [nuclei + 0.1 * counter, counter.clamp(0) * (1 - 0.5 * nuclei.clamp(0, 1))],
        [inside, ~inside & draw.chance(0.3), ring, lumen, (epithelial > 0.5), stromal > 0.5],
    )
