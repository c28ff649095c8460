"""Ridge regression of classes on random rectified features, in torch: what `guess` learns with, on any device.

It is a network of one hidden layer whose hidden weights are drawn and never learned.

References
----------
Rahimi and Recht, Random features for large-scale kernel machines (2007). Cho and Saul, Kernel methods for deep learning
(2009): the arc-cosine kernel, which is what rectified features stand for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.precision import wide

UNITS = 768  # random rectified features
RIDGE = 0.02  # a pixel
LEAST = 1e-4  # added to a feature's deviation
BEYOND = 0.5  # of the range of a feature in the examples: what lies farther beyond it is taken to lie there
ROUNDING = 1e-6  # of the mean square of lifted features: what products in float32 may be wrong by
FOLD_GRIDS = (4, 8, 16, 32, 64, 128, 256, 512)  # cells a side of the chequerboard that makes the two folds
BLOCK = {"cpu": 2**11}  # pixels whose rectified features are held at a time: few enough for the cache


@dataclass(frozen=True, eq=False)
class Sample:
    """The pixels of an example that are fitted: P of each of B planes.

    Parameters
    ----------
    index
        (B, P) into the flattened plane.
    target
        (B, P, K), 1 at the pixel's class, all 0 where not annotated.
    weight
        (B, P), 0 where not annotated.
    fold
        (B, P) 0 or 1.
    grid
        (B,) cells a side of the chequerboard of the folds.
    """

    index: Tensor
    target: Tensor
    weight: Tensor
    fold: Tensor
    grid: Tensor

    @classmethod
    def drawn(cls, targets: Tensor, valid: Tensor, count: int) -> Sample:
        """Draw up to ``count`` annotated pixels of targets (B, K, H, W).

        Small classes are drawn more densely (each in proportion to the root of its size) and weigh less for it.
        """
        height, width = valid.shape[1:]
        flat = targets.flatten(2) * valid.flatten(1)[:, None]
        sizes = flat.sum(2)
        density = torch.einsum("bk,bkn->bn", sizes.clamp_min(1).rsqrt(), flat)
        noise = torch.rand(height * width, generator=torch.Generator().manual_seed(0)).to(flat.device)
        # the largest of these keys are a draw without replacement in proportion to density (Efraimidis and Spirakis)
        keys = noise.clamp(1e-7, 1 - 1e-7).log() / density.clamp_min(1e-20)
        index = keys.topk(min(count, height * width), dim=1).indices
        target = flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1))
        weight = torch.einsum("bk,bkp->bp", sizes / target.sum(2).clamp_min(1), target)
        grid = fold_grid(index, target, (height, width))
        return cls(index, target.mT.contiguous(), weight, chequerboard(index, grid, (height, width)), grid)


@dataclass(frozen=True, eq=False)
class Sums:
    """Normal equations of the pixels of each fold, float64: they add up over examples.

    Parameters
    ----------
    gram
        (2, B, L, L), products of L lifted features.
    moment
        (2, B, L, K), of lifted features and classes.
    weight
        (2, B)
    """

    gram: Tensor
    moment: Tensor
    weight: Tensor

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.gram + other.gram, self.moment + other.moment, self.weight + other.weight)

    def solve(self) -> tuple[Tensor, Tensor]:
        """Regression weights (2, B, L, K) for each fold, fitted on the other, and (B, L, K), fitted on both."""
        gram, moment, weight = (torch.cat([a.flip(0), a.sum(0, keepdim=True)]) for a in
                                (self.gram, self.moment, self.weight))  # fmt: skip
        ridge = (RIDGE * weight.clamp_min(1)[..., None]).repeat(1, 1, gram.shape[-1])
        ridge[..., -1] *= 1e-6  # the constant is not shrunk
        ridge += ROUNDING * gram.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
        solved = torch.cholesky_solve(moment, torch.linalg.cholesky(gram + torch.diag_embed(ridge))).float()
        return solved[:2], solved[2]


@dataclass(frozen=True, eq=False)
class Lift:
    """U random rectified features of F standardised features, these themselves, and a constant: L = U + F + 1 in all.

    Rectified features go on as straight lines, so what lies far `BEYOND` what the examples show is taken to lie nearer.

    Parameters
    ----------
    mean, deviation
        (B, 1, F) of the features.
    low, high
        (B, 1, F), the least and the greatest that a feature counts for.
    directions
        (F + 1, U), the last row the offsets.
    """

    mean: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor
    directions: Tensor

    @classmethod
    def fitted(cls, features: Tensor, units: int = UNITS) -> Lift:
        """Of features (B, N, F), with U = ``units``. The directions are the same on every run and device."""
        generator, count = torch.Generator().manual_seed(0), features.shape[2]
        directions = torch.randn(count, units, generator=generator) / math.sqrt(count)
        offsets = torch.randn(1, units, generator=generator)
        deviation, mean = torch.std_mean(features, 1, keepdim=True, correction=0)
        low, high = features.amin(1, keepdim=True), features.amax(1, keepdim=True)
        margin = BEYOND * (high - low)
        return cls(mean, deviation + LEAST, low - margin, high + margin, torch.cat([directions, offsets]).to(features))

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, F) -> rectified features (B, N, U), and (B, N, F + 1) standardised features and 1."""
        standard = (features.clamp(self.low, self.high) - self.mean) / self.deviation
        linear = F.pad(standard, (0, 1), value=1.0)
        return (linear @ self.directions).relu_(), linear

    def sums(self, features: Tensor, sample: Sample) -> Sums:
        """Normal equations of sampled pixels, whose features are (B, P, F)."""
        batch, length, classes = len(features), sum(self.directions.shape), sample.target.shape[2]
        gram, moment = (wide(features.new_zeros(2, batch, length, columns)) for columns in (length, classes))
        for rows in _blocks(features.shape[1], features.device):
            lifted = torch.cat(self(features[:, rows]), dim=2)
            target, weight, fold = (t[:, rows] for t in (sample.target, sample.weight, sample.fold))
            for f, plane in product((0, 1), range(batch)):
                of_fold = fold[plane] == f
                part = lifted[plane, of_fold]
                weighted = (part * weight[plane, of_fold, None]).mT
                gram[f, plane] += wide(weighted @ part)
                moment[f, plane] += wide(weighted @ target[plane, of_fold])
        weight = torch.stack([(sample.weight * (sample.fold == f)).sum(1) for f in (0, 1)])
        return Sums(gram, moment, wide(weight))

    def apply(self, features: Tensor, weights: Tensor) -> Tensor:
        """Scores (B, D, N) of features (B, F, N) by weights (B, L, D)."""
        count = self.directions.shape[1]
        of_units, of_linear = weights[:, :count], weights[:, count:]
        scores = features.new_empty(len(features), weights.shape[2], features.shape[2])
        for columns in _blocks(features.shape[2], features.device):
            units, linear = self(features[..., columns].mT)
            scores[..., columns] = (units @ of_units + linear @ of_linear).mT
        return scores


def fold_grid(index: Tensor, target: Tensor, shape: tuple[int, int]) -> Tensor:
    """Cells a side (B,) of the coarsest chequerboard that divides every class of pixels with targets (B, K, P)."""
    size = target.sum(2)
    found = torch.full_like(index[:, 0], FOLD_GRIDS[-1])
    for cells in reversed(FOLD_GRIDS[:-1]):
        fold = chequerboard(index, torch.full_like(found, cells), shape)
        share = (target * fold[:, None]).sum(2)
        divided = ((share >= 0.1 * size) & (share <= 0.9 * size)).all(1)
        found = torch.where(divided, cells, found)
    return found


def chequerboard(index: Tensor, grid: Tensor, shape: tuple[int, int]) -> Tensor:
    """Fold (B, P), 0 or 1, of pixels at ``index`` (B, P) of flattened planes, with ``grid`` (B,) cells a side."""
    y, x = index // shape[1], index % shape[1]
    return (y * grid[:, None] // shape[0] + x * grid[:, None] // shape[1]) % 2


def _blocks(count: int, device: torch.device) -> Iterator[slice]:
    step = BLOCK.get(device.type, 2**17)
    return (slice(i, i + step) for i in range(0, count, step))
