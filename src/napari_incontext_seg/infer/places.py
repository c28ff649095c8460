"""`Places`: where in the plane a class lies, if that is the same in the example and in the query.

Neighbouring slices, frames of a steady camera and organs in a field of view have their things at the same place;
scattered cells do not, and which of the two a query is, it shows itself: what was painted from its looks is laid over
the example's labels, and over the same labels shifted by every possible vector. Only if it fits better unshifted
than shifted at random do places count, the more so the better it fits. Then the blurred labels of the example are a
prior that is multiplied to what the looks say. Where looks alone do well, as they show on held-out pixels of the
example, places have little to add but blur, and count less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .filters import blurred

GRID = 64  # cells a side: places need no pixels
BLUR = 0.04  # of the plane's side: how far things may have moved
DOUBT = 0.02  # that a class is anywhere as likely as on average
SHARPNESS = 6.0  # from scores to the logarithm of probabilities
SURE = 2.0  # standard deviations above a random shift at which places count in full
HARD = 0.6  # Dice of the looks on held-out pixels at which places count in full; at 1 they do not count


@dataclass(frozen=True, eq=False)
class Places:
    """The places of K classes in one or more examples.

    Parameters
    ----------
    priors
        (E, K, GRID, GRID), logarithm of how much likelier a class is here than anywhere.
    weight
        How much they count at most, in [0, 1].
    """

    priors: Tensor
    weight: float = 1.0

    @classmethod
    def of(cls, shown: Sequence[tuple[Tensor, Tensor, Tensor]], quality: float) -> Places:
        """Places in examples.

        Parameters
        ----------
        shown
            As `guess.fit` gets them: images, targets (1, K, H, W), valid (1, H, W).
        quality
            Dice of what is painted from looks, on held-out pixels.
        """
        weight = min(max((1 - quality) / (1 - HARD), 0.0), 1.0)
        return cls(torch.cat([_prior(targets, valid) for _, targets, valid in shown]), weight)

    def added(self, scores: Tensor) -> Tensor:
        """Scores (1, K, Y, X) with what the places say, where they say anything."""
        classes = F.adaptive_avg_pool2d((SHARPNESS * scores).softmax(1), GRID)
        fits = _fits(classes, self.priors)
        best = int(fits.argmax())
        share = self.weight * min(float(fits[best] / SURE), 1.0)
        if not share > 0:
            return scores
        prior = F.interpolate(self.priors[best, None], size=scores.shape[2:], mode="bilinear")
        return scores + prior * (share / SHARPNESS)


def _prior(targets: Tensor, valid: Tensor) -> Tensor:
    """(1, K, GRID, GRID); 0 for a class that the example does not show, and where nothing is annotated."""
    annotated = F.adaptive_avg_pool2d(valid[:, None].float(), GRID)
    classes = F.adaptive_avg_pool2d(targets * valid[:, None], GRID)
    mean = classes.sum((2, 3), keepdim=True) / annotated.sum()
    here, known = blurred(classes, BLUR * GRID), blurred(annotated, BLUR * GRID)
    likelier = (here + DOUBT * mean) / ((known + DOUBT) * mean.clamp_min(1e-9))
    prior: Tensor = torch.where(mean > 0, likelier.clamp_min(1e-9).log(), 0.0)
    return prior


def _fits(classes: Tensor, priors: Tensor) -> Tensor:
    """How well classes (1, K, GRID, GRID) fit each of E priors (E,): in standard deviations over all shifts.

    Rare classes count as the root of their size.
    """
    share = classes.mean((2, 3), keepdim=True)
    weighted = (classes - share) / (share + 1e-3).sqrt()
    spectrum = (torch.fft.rfft2(weighted).conj() * torch.fft.rfft2(priors)).sum(1)
    by_shift = torch.fft.irfft2(spectrum, s=(GRID, GRID))
    fits: Tensor = by_shift[:, 0, 0] / by_shift.flatten(1).std(1).clamp_min(1e-9)
    return fits
