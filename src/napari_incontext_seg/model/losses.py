"""What training minimises."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

BETA = 0.01


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
