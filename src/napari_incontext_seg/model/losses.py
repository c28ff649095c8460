"""What training minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .micro import Micro, closed_form

BETA = 0.01
FITTED = 2_000  # pixels that the closed form is fitted on
SMOOTHING = 50.0  # pixels added to both sides of Dice


def masked_smooth_l1(painted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Smooth L1 between normalised colours, averaged over the pixels that were hidden and are valid.

    Parameters
    ----------
    painted, target
        (..., 3, Y, X) normalised colours.
    weights
        (..., Y, X), what each pixel counts: 0 or False where nothing was hidden or annotated.

    Source: baaivision/Painter, ``models_seggpt.py`` (beta 0.01).
    """
    loss = F.smooth_l1_loss(painted.float(), target.float(), reduction="none", beta=BETA).mean(-3)
    counts = weights.to(loss.dtype)
    return (loss * counts).sum() / counts.sum().clamp_min(1)


def painting_loss(
    network: Micro, shown: Tensor, shown_truth: Tensor, asked: Tensor, asked_truth: Tensor, generator: torch.Generator
) -> Tensor:
    """Cross-entropy and Dice of a view that is painted, in closed form, from another one.

    Parameters
    ----------
    shown, asked
        (B, D, Y, X) features of the two views.
    shown_truth, asked_truth
        (B, Y * X, C), 1 at the pixel's class, background first; all 0 where it is not annotated.
    generator
        Draws the pixels that are fitted.
    """
    scores, known = painted(network, shown, shown_truth, asked, generator)
    truth = asked_truth * known[:, None]  # what the example does not show cannot be known
    logits = (network.log_sharpness.exp() * scores).masked_fill(~known[:, None], -1e4)
    log_shares = logits.log_softmax(2)
    weights = (truth * truth.sum(1, keepdim=True).clamp_min(1).rsqrt()).sum(2)
    weights = weights / weights.mean(1, keepdim=True).clamp_min(1e-6)
    entropy = -((truth * log_shares).sum(2) * weights).mean()
    annotated = truth.sum(2, keepdim=True)
    shares, wanted = (log_shares.exp() * annotated)[..., 1:], truth[..., 1:]
    dice = (2 * (shares * wanted).sum(1) + SMOOTHING) / (shares.sum(1) + wanted.sum(1) + SMOOTHING)
    counted = known[:, 1:].to(dice.dtype)
    return entropy + ((1 - dice) * counted).sum() / counted.sum().clamp_min(1)


def painted(
    network: Micro, shown: Tensor, truth: Tensor, asked: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Scores (B, Y * X, C) of the view ``asked`` from the one ``shown``, and the classes (B, C) that it shows.

    Pixels are drawn so that a class counts as the root of its size.
    """
    sizes = truth.sum(1)
    density = (truth * sizes.clamp_min(1).rsqrt()[:, None]).sum(2).clamp_min(1e-20)
    noise = torch.rand(density.shape, generator=generator, device=density.device).clamp(1e-7, 1 - 1e-7)
    index = (noise.log() / density).topk(min(FITTED, density.shape[1]), dim=1).indices
    features, targets = (t.gather(1, index[..., None].expand(-1, -1, t.shape[2])) for t in (shown.flatten(2).mT, truth))
    with torch.autocast(shown.device.type, enabled=False):  # half precision is not enough to solve
        weights = closed_form(features.float(), targets, network.log_ridge.exp())
        return F.pad(asked.flatten(2).mT.float(), (0, 1), value=1.0) @ weights, sizes > 0
