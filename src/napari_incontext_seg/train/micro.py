"""How a `Micro` learns: to see what lets the closed form paint one view of a scene from another."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.micro import Micro, closed_form
from .batch import jittered, turned
from .config import BatchConfig
from .pool import Pool

CLASSES = 5  # background and up to four
FITTED = 2_000  # pixels that the closed form is fitted on
SMOOTHING = 50.0  # pixels added to both sides of Dice


def micro_loss(network: Micro, pool: Pool, members: Tensor, seed: int, config: BatchConfig) -> Tensor:
    """Cross-entropy and Dice of every view of ``members``, painted from another one."""
    generator = torch.Generator(pool.images.device).manual_seed(seed)
    panels = torch.cat([pool.images[members].float(), pool.labels[members][:, :, None].float()], dim=2)
    panels = cropped(turned(panels, generator), config.side, random.Random(seed))
    images, labels = jittered(panels[:, :, :3], config.jitter, generator), panels[:, :, 3].long()
    features = seen(network, images)
    views = images.shape[1]
    losses = [
        of_view(network, features[:, shown], labels[:, shown], features[:, asked], labels[:, asked], generator)
        for asked in range(views)
        for shown in [(asked + 1) % views]
    ]
    return torch.stack(losses).mean()


def of_view(
    network: Micro, shown: Tensor, shown_labels: Tensor, asked: Tensor, asked_labels: Tensor,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """The loss of a view whose features are ``asked`` (B, D, Y, X), painted from another."""
    scores, known = painted(network, shown, shown_labels, asked, generator)
    truth = F.one_hot(asked_labels.flatten(1), CLASSES).to(scores.dtype)
    truth = truth * known[:, None]  # what the example does not show cannot be known
    logits = (network.log_sharpness.exp() * scores).masked_fill(~known[:, None], -1e4)
    log_shares = logits.log_softmax(2)
    weights = (truth * truth.sum(1, keepdim=True).clamp_min(1).rsqrt()).sum(2)
    weights = weights / weights.mean(1, keepdim=True).clamp_min(1e-6)
    entropy = -((truth * log_shares).sum(2) * weights).mean()
    shares, wanted = log_shares.exp()[..., 1:], truth[..., 1:]
    dice = (2 * (shares * wanted).sum(1) + SMOOTHING) / (shares.sum(1) + wanted.sum(1) + SMOOTHING)
    counted = known[:, 1:].to(dice.dtype)
    return entropy + ((1 - dice) * counted).sum() / counted.sum().clamp_min(1)


def painted(
    network: Micro, shown: Tensor, labels: Tensor, asked: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Scores (B, Y * X, CLASSES) of the view ``asked`` from the one ``shown``, and the classes (B, CLASSES) it shows.

    Pixels are drawn so that a class counts as the root of its size.
    """
    targets = F.one_hot(labels.flatten(1), CLASSES).to(shown.dtype)
    sizes = targets.sum(1)
    density = (targets * sizes.clamp_min(1).rsqrt()[:, None]).sum(2)
    noise = torch.rand(density.shape, generator=generator, device=density.device).clamp(1e-7, 1 - 1e-7)
    index = (noise.log() / density).topk(min(FITTED, density.shape[1]), dim=1).indices
    drawn, known = (_at(t, index) for t in (shown.flatten(2).mT, targets))
    weights = closed_form(drawn, known, network.log_ridge.exp())
    return F.pad(asked.flatten(2).mT, (0, 1), value=1.0) @ weights, sizes > 0


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
        scores, known = painted(network, features[:, 0], labels[:, 0], features[:, 1], generator)
        chosen = scores.masked_fill(~known[:, None], -torch.inf).argmax(2)
        predicted, true = (F.one_hot(t, CLASSES)[..., 1:].bool() for t in (chosen, labels[:, -1].flatten(1)))
        both, sizes = (predicted & true).sum(1), predicted.sum(1) + true.sum(1)
        dice = torch.where(sizes > 0, 2 * both / sizes.clamp_min(1), 1.0) * known[:, 1:]
        found.append(torch.where(known[:, 1:].any(1), dice.sum(1) / known[:, 1:].sum(1).clamp_min(1), 1.0))
    return torch.cat(found)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` (B, P) of values (B, N, C)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
