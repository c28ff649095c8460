"""How a `Micro` learns: to see what lets the closed form paint one view of a scene from another."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.losses import painted, painting_loss
from ..model.micro import Micro
from .batch import jittered, turned
from .config import BatchConfig
from .pool import Pool

CLASSES = 5  # background and up to four


def micro_loss(network: Micro, pool: Pool, members: Tensor, seed: int, config: BatchConfig) -> Tensor:
    """Cross-entropy and Dice of every view of ``members``, painted from another one."""
    generator = torch.Generator(pool.images.device).manual_seed(seed)
    panels = torch.cat([pool.images[members].float(), pool.labels[members][:, :, None].float()], dim=2)
    panels = cropped(turned(panels, generator), config.side, random.Random(seed))
    images, labels = jittered(panels[:, :, :3], config.jitter, generator), panels[:, :, 3].long()
    features, truth = seen(network, images), one_hot(labels)
    views = images.shape[1]
    losses = [
        painting_loss(network, features[:, shown], truth[:, shown], features[:, asked], truth[:, asked], generator)
        for asked in range(views)
        for shown in [(asked + 1) % views]
    ]
    return torch.stack(losses).mean()


def seen(network: Micro, images: Tensor) -> Tensor:
    """Features (B, P, D, Y, X) of views (B, P, 3, Y, X), standardised like the first as in the closed form."""
    deviation, mean = torch.std_mean(images, (3, 4), keepdim=True, correction=0)
    deviation = deviation + 1e-3
    standard = (images - (mean + mean[:, :1]) / 2) / (deviation * deviation[:, :1]).sqrt()
    features: Tensor = network(standard.flatten(0, 1))
    return features.view(*images.shape[:2], *features.shape[1:])


def cropped(panels: Tensor, side: int, host: random.Random) -> Tensor:
    """The same random square of all panels (B, P, C, Y, X)."""
    y, x = (host.randint(0, size - side) for size in panels.shape[3:])
    return panels[..., y : y + side, x : x + side]


@torch.no_grad()
def micro_dice(network: Micro, pool: Pool) -> Tensor:
    """Mean Dice (N,) over classes of the queries of a pool, each painted from its first example."""
    found = []
    for members in torch.split(torch.arange(len(pool), device=pool.images.device), 16):
        features = seen(network, pool.images[members][:, [0, -1]].float())
        labels = pool.labels[members].long()
        generator = torch.Generator(pool.images.device).manual_seed(0)
        scores, known = painted(network, features[:, 0], one_hot(labels[:, 0]), features[:, 1], generator)
        chosen = scores.masked_fill(~known[:, None], -torch.inf).argmax(2)
        predicted, true = (F.one_hot(t, CLASSES)[..., 1:].bool() for t in (chosen, labels[:, -1].flatten(1)))
        both, sizes = (predicted & true).sum(1), predicted.sum(1) + true.sum(1)
        dice = torch.where(sizes > 0, 2 * both / sizes.clamp_min(1), 1.0) * known[:, 1:]
        found.append(torch.where(known[:, 1:].any(1), dice.sum(1) / known[:, 1:].sum(1).clamp_min(1), 1.0))
    return torch.cat(found)


def one_hot(labels: Tensor) -> Tensor:
    """(..., Y, X) -> (..., Y * X, CLASSES)."""
    return F.one_hot(labels.flatten(-2), CLASSES).float()
