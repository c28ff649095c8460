"""`Batch`: what the network sees in one step. Episodes in random colours, turned, cropped, stitched, and masked."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..core.palette import Palette, separation
from ..model.config import SegGptConfig
from ..model.panels import separate_examples
from ..model.seggpt import normalize, spatial_ensemble
from .config import BatchConfig
from .pool import Pool

STITCHED = 4  # examples from which on they are stitched
TRIES, CANDIDATES = 8, 64  # palettes, and colours for each class in them, of which the first good ones are taken
DROPPED = 0.2  # share of episodes of several classes in which one is not asked for
SMALLEST_CROP = 0.6
BLOCK_SHARE, BLOCK_ASPECT, BLOCKS = (0.01, 0.25), (0.3, 1 / 0.3), 32  # of a canvas: baaivision/Painter


@dataclass(frozen=True, eq=False)
class Batch:
    """Panels are K examples, then the query.

    Parameters
    ----------
    images, targets
        (B, K + 1, 3, Y, X) normalised.
    mask
        (B, K + 1, grid Y, grid X) bool, True where the target is hidden.
    weights
        (B, K + 1, 1, Y, X), what each pixel counts in the loss.
    query_only
        Whether exactly the query's target is hidden.
    """

    images: Tensor
    targets: Tensor
    mask: Tensor
    weights: Tensor
    query_only: bool


def make_batch(pool: Pool, members: Tensor, seed: int, config: BatchConfig, model: SegGptConfig) -> Batch:
    """Show ``members`` of a pool in a way that ``seed`` decides."""
    host, generator = random.Random(seed), torch.Generator(pool.images.device).manual_seed(seed)
    panels = turned(coloured(pool, members, config.balance, generator), generator)
    if host.random() < config.crop:
        panels = cropped(panels, generator)
    if panels.shape[1] > STITCHED and host.random() < config.stitch:
        panels = stitched(panels)
    query_only = host.random() < config.lower_half
    mask = torch.zeros(*panels.shape[:2], *model.grid, dtype=torch.bool, device=panels.device)
    if query_only:
        mask[:, -1] = True
    else:
        mask = block_mask(mask, config.masked, generator)
    images, colours = parted(panels)
    return Batch(
        normalize(jittered(images, config.jitter, generator)),
        normalize(colours[:, :, :3]),
        mask,
        colours[:, :, 3:],
        query_only,
    )


def parted(panels: Tensor) -> tuple[Tensor, Tensor]:
    """Channels (B, P, 7, Y, X) -> images (3), and targets and weights (4), which are not mixed."""
    return panels[:, :, :3], panels[:, :, 3:]


def canvases(panels: Tensor) -> Tensor:
    """(B, K + 1, C, Y, X) -> (B, K, C, 2 * Y, X), each example above the query, as the network paints them."""
    return rearrange(separate_examples(panels), "(b k) half c y x -> b k c (half y) x", b=len(panels))


def pixels(mask: Tensor, patch_size: int) -> Tensor:
    """Mask of patches (B, K + 1, grid Y, grid X) -> of pixels of the canvases (B, K, 2 * Y, X)."""
    large = mask.repeat_interleave(patch_size, -2).repeat_interleave(patch_size, -1)
    return canvases(large[:, :, None])[:, :, 0]


# -- colours ------------------------------------------------------------------------------------------------------
def coloured(pool: Pool, members: Tensor, balance: float, generator: torch.Generator) -> Tensor:
    """Members in random colours, (B, K + 1, 7, Y, X): see `parted`."""
    colours = dropped(random_palettes(pool.counts[members], generator), pool.counts[members], generator)
    return torch.cat([in_colours(pool, members, colours), balanced(pool.labels[members], balance)], dim=2)


def balanced(labels: Tensor, balance: float) -> Tensor:
    """Weights (B, P, 1, Y, X), 1 on average in each panel; a class counts in all as its size to the ``1 - balance``."""
    classes = F.one_hot(labels.long(), 5)
    sizes = classes.sum((2, 3), keepdim=True, dtype=torch.float32).clamp_min(1)
    weights = (classes * sizes**-balance).sum(-1)
    return (weights / weights.mean((2, 3), keepdim=True))[:, :, None]


def in_colours(pool: Pool, members: Tensor, colours: Tensor) -> Tensor:
    """Members in given colours (B, 5, 3): (B, K + 1, 6, Y, X), images and targets."""
    labels = pool.labels[members].long()
    targets = colours.gather(1, labels.flatten(1)[..., None].expand(-1, -1, 3)).view(*labels.shape, 3).movedim(-1, 2)
    return torch.cat([pool.images[members].float(), targets], dim=2)


def random_palettes(counts: Tensor, generator: torch.Generator) -> Tensor:
    """Colours (B, 5, 3) in [0, 1] of up to four classes and background; black beyond ``counts`` (B,) classes.

    As far apart as those of `core.palette.Palette.random`.
    """
    device, classes = counts.device, 4
    wanted = torch.tensor(
        [0.0] + [0.6 * separation(Palette.fixed(range(n + 1)).colours) for n in range(1, classes + 1)]
    )
    enough = wanted.to(device)[counts][:, None]
    used = torch.arange(classes + 1, device=device) <= counts[:, None]
    shape = (len(counts), TRIES, CANDIDATES)
    chosen = torch.zeros(*shape[:2], 1, 3, device=device)  # background is black
    reached = torch.full(shape[:2], torch.inf, device=device)
    for number in range(1, classes + 1):
        candidates = torch.rand(*shape, 3, generator=generator, device=device)
        apart = (candidates[:, :, :, None] - chosen[:, :, None]).norm(dim=-1).amin(3)
        # the first that is far enough, or else the farthest
        distance, best = apart.clamp(max=enough[..., None]).max(2)
        chosen = torch.cat([chosen, candidates.gather(2, best[..., None, None].expand(-1, -1, 1, 3))], 2)
        reached = torch.where(used[:, number, None], torch.minimum(reached, distance), reached)
    attempt = reached.argmax(1)
    return chosen[torch.arange(len(counts), device=device), attempt] * used[..., None]


def dropped(colours: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """In some episodes of several classes, one becomes background: only the colours tell what is asked for."""
    dice = torch.rand(2, len(counts), generator=generator, device=counts.device)
    chosen = 1 + (dice[0] * counts).long().clamp(max=3)
    drop = (dice[1] < DROPPED) & (counts > 1)
    return colours * ~(drop[:, None] & (torch.arange(5, device=counts.device) == chosen[:, None]))[..., None]


# -- geometry -----------------------------------------------------------------------------------------------------
def turned(panels: Tensor, generator: torch.Generator) -> Tensor:
    """Panels (B, P, C, Y, X) mirrored and turned by right angles, each episode in its own way."""
    dice = torch.rand(3, len(panels), 1, 1, 1, 1, generator=generator, device=panels.device) < 0.5
    panels = torch.where(dice[0], panels.transpose(-1, -2), panels)
    panels = torch.where(dice[1], panels.flip(-1), panels)
    return torch.where(dice[2], panels.flip(-2), panels)


def cropped(panels: Tensor, generator: torch.Generator) -> Tensor:
    """Every panel cropped on its own and brought back to size: things differ in size between example and query."""
    batch, count, _, height, width = panels.shape
    dice = torch.rand(3, batch * count, generator=generator, device=panels.device)
    scale = SMALLEST_CROP + (1 - SMALLEST_CROP) * dice[0]
    y, x = (1 - scale) * (2 * dice[1:] - 1)
    nothing = torch.zeros_like(scale)
    theta = torch.stack([scale, nothing, x, nothing, scale, y], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [batch * count, 3, height, width], align_corners=False)
    images, colours = (part.flatten(0, 1) for part in parted(panels))
    smooth = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    sharp = F.grid_sample(colours, grid, mode="nearest", padding_mode="border", align_corners=False)
    return torch.cat([smooth, sharp], 1).view_as(panels)


def stitched(panels: Tensor) -> Tensor:
    """All examples tiled into one, as `spatial_ensemble` does in use: (B, 2, C, Y, X)."""
    example = torch.cat(spatial_ensemble(*parted(panels[:, :-1])), 2)
    return torch.cat([example, panels[:, -1:]], 1)


# -- light --------------------------------------------------------------------------------------------------------
def jittered(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Gamma, contrast, brightness and noise of each panel (B, P, 3, Y, X) on its own."""
    if strength == 0:
        return images
    dice = strength * torch.randn(4, *images.shape[:2], 1, 1, 1, generator=generator, device=images.device)
    noise = torch.randn(images[:, :, :1].shape, generator=generator, device=images.device)
    bright = images.clamp_min(1e-4) ** (0.2 * dice[0]).exp()
    return (0.5 + (bright - 0.5) * (0.1 * dice[1]).exp() + 0.05 * dice[2] + 0.02 * dice[3] * noise).clamp(0, 1)


# -- masks --------------------------------------------------------------------------------------------------------
def block_mask(blank: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Hide about ``share`` of the patches (B, P, Y, X) in random blocks, on all panels as if one above the other."""
    batch, panels, height, width = blank.shape
    rows = panels * height
    dice = torch.rand(4, batch, BLOCKS, 1, 1, generator=generator, device=blank.device)
    area = (BLOCK_SHARE[0] + dice[0] * (BLOCK_SHARE[1] - BLOCK_SHARE[0])) * 2 * height * width
    aspect = torch.exp(math.log(BLOCK_ASPECT[0]) + dice[1] * math.log(BLOCK_ASPECT[1] / BLOCK_ASPECT[0]))
    block_height, block_width = ((area * aspect).sqrt().round().clamp(1, rows), (area / aspect).sqrt().round())
    block_width = block_width.clamp(1, width)
    top, left = (dice[2] * (rows - block_height + 1)).floor(), (dice[3] * (width - block_width + 1)).floor()
    y, x = torch.arange(rows, device=blank.device)[:, None], torch.arange(width, device=blank.device)
    blocks = (y >= top) & (y < top + block_height) & (x >= left) & (x < left + block_width)
    covered = blocks.cumsum(1) > 0  # by the first n blocks
    best = (covered.flatten(2).sum(2) - share * rows * width).abs().argmin(1)
    return covered[torch.arange(batch, device=blank.device), best].view_as(blank)
