"""The closed form behind `guess` and `micro`: filter responses, random rectified features, ridge regression, twice.

The second stage sees the image's responses and those of the first stage's guess (auto-context), so that it can
close gaps and drop specks. A model scores highly what it was fitted on, so the guess that the second stage
learns from is cross-fitted: each example is cut into two folds, each guessed by a model fitted on the other.

All of it is tensor algebra with a leading batch axis, and runs on any device::

    guess = fit([(images, targets, valid)])    # (B, C, H, W), (B, K, H, W), (B, H, W)
    scores = guess.paint(queries)              # (B, C, H, W) -> (B, K, H, W)
    colours = torch.einsum("bkhw,bkc->bchw", scores, palette)    # ridge regression is linear in its targets

References
----------
Rahimi and Recht, Random features for large-scale kernel machines (2007). Tu and Bai, Auto-context (2010).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.tiling import Tile
from .filters import HALO, REDUCTION, filter_responses, line_responses
from .memory import Portion
from .ridge import UNITS, Lift, Sample, chequerboard

SAMPLES, MIN_SAMPLES = 40_000, 10_000  # pixels fitted of all examples, and at least of each
CONTEXT_SCALES = (1.36, 2.65, 5.14, 10.0, 20.0)  # px
SURE = 90  # percentile of confidence that is called usual
LEAST = 1e-3  # added to an image's deviation
CONSTANT = 2 * LEAST  # deviation, with what is added, below which an image is called constant
MAX_CONTEXT = 3  # channels in which the second stage is shown the first guess
# values of a plane whose responses are held at a time
TILE = Portion(2**20, "values of a plane", least=2**14)
# pixels of all examples whose features (212 bytes each of grey, 444 of colour) are kept while fitting; else seen twice
KEPT = 2**21

Shown: TypeAlias = tuple[Tensor, Tensor, Tensor]
Respond: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Guess:
    """What `fit` found.

    Parameters
    ----------
    centre, spread
        (B, C, 1, 1), mean and deviation of the first example's image, or of the first that is not constant.
    first, second
        Features of the stages.
    first_weights
        (B, L, M): from features to what the second stage is shown.
    second_weights
        (B, L, K)
    bias
        (B, K, 1), added to the scores.
    crossed, held_out
        (B, L, 2 M) and (2, B, L, K), weights of the two stages for the pixels of each fold, fitted on the other fold.
    quality
        (B,), mean Dice of the classes, without background, on held-out pixels of the examples.
    sureness
        (B,), how sure it is where it is right on held-out pixels, without background: percentile `SURE` of the
        confidence that `core.palette.scores_to_labels` gives; 0 if it is right nowhere.
    grids
        Of each example: (B,) cells a side of the chequerboard of its folds.
    see
        From standardised planes (B, C, H, W) to features (B, F, H, W): what the guess looks at.
    """

    centre: Tensor
    spread: Tensor
    first: Lift
    second: Lift
    first_weights: Tensor
    second_weights: Tensor
    bias: Tensor
    crossed: Tensor
    held_out: Tensor
    quality: Tensor
    sureness: Tensor
    grids: tuple[Tensor, ...]
    see: Respond

    @torch.no_grad()
    def paint_example(self, planes: Tensor, example: int = 0) -> Tensor:
        """Held-out scores (B, K, H, W) of an example that was fitted: where they are wrong, so is the guess.

        Parameters
        ----------
        planes
            (B, C, H, W), the images of that example.
        """
        height, width = planes.shape[2:]
        index = torch.arange(height * width, device=planes.device).expand(len(planes), -1)
        fold = chequerboard(index, self.grids[example], (height, width)).view(-1, 1, height, width)
        view = View.of(_adapted(planes, self.centre, self.spread), self.see)
        contexts = _context(view, self.first, self.crossed).tensor_split(2, dim=1)
        of_first, of_second = (self._paint(view, c, w) for c, w in zip(contexts, self.held_out, strict=True))
        return torch.where(fold == 0, of_first, of_second)

    @torch.no_grad()
    def paint(self, planes: Tensor) -> Tensor:
        """Scores (B, K, H, W), about [0, 1], of planes (B, C, H, W)."""
        view = View.of(_adapted(planes, self.centre, self.spread), self.see)
        return self._paint(view, _context(view, self.first, self.first_weights), self.second_weights)

    @torch.no_grad()
    def tiles(self, planes: Tensor) -> Iterator[tuple[Tile, Tensor]]:
        """Yield the scores tile by tile, (B, K, height, width): memory hardly grows with the plane."""
        view = View.of(_adapted(planes, self.centre, self.spread), self.see)
        yield from self._tiles(view, _context(view, self.first, self.first_weights), self.second_weights)

    @torch.no_grad()
    def ask(self, planes: Tensor, see: Respond) -> Tensor:
        """What ``see`` makes (B, F, H, W) of planes (B, C, H, W), standardised as the guess sees them, tile by tile."""
        answers: Tensor | None = None
        for inner, part in self.ask_tiles(planes, see):
            answers = part.new_empty(*part.shape[:2], *planes.shape[2:]) if answers is None else answers
            answers[(..., *inner.area)] = part
        assert answers is not None
        return answers

    @torch.no_grad()
    def ask_tiles(self, planes: Tensor, see: Respond) -> Iterator[tuple[Tile, Tensor]]:
        """As `ask`, but yield tile by tile, the same tiles as `tiles`."""
        view = View.of(_adapted(planes, self.centre, self.spread), see)
        for inner, outer in view.tiles:
            yield inner, view.features(inner, outer)

    def _paint(self, view: View, context: Tensor, weights: Tensor) -> Tensor:
        scores = context.new_empty(len(context), self.bias.shape[1], *context.shape[2:])
        for tile, part in self._tiles(view, context, weights):
            scores[(..., *tile.area)] = part
        return scores

    def _tiles(self, view: View, context: Tensor, weights: Tensor) -> Iterator[tuple[Tile, Tensor]]:
        for inner, outer in view.tiles:
            features = torch.cat([view.features(inner, outer), _inside(_context_features, context, inner, outer)], 1)
            scores = self.second.apply(features.flatten(2), weights) + self.bias
            yield inner, scores.reshape(*scores.shape[:2], *features.shape[2:])


@torch.no_grad()
def fit(
    shown: Sequence[Shown],
    *,
    background: bool = True,
    samples: int = SAMPLES,
    see: Respond | None = None,
    stages: int = 2,
    units: int = UNITS,
) -> Guess:
    """Learn from examples.

    Parameters
    ----------
    shown
        Of each example: images (B, C, H, W), targets (B, K, H, W) that are 1 at the pixel's class and else 0, valid
        (B, H, W) bool. H and W may differ between examples.
    background
        Whether the first class is background. Then the others are favoured as much as it takes to halve the distance
        to the best Dice on held-out pixels of the examples.
    samples
        Pixels fitted of all examples.
    see
        From standardised planes (B, C, H, W) to the features (B, F, H, W) of their pixels; default: filter responses.
    stages
        1: the second stage is not shown the first guess, which takes half the time.
    units
        Random rectified features of a pixel.
    """
    see = see or image_features
    count = max(min(MIN_SAMPLES, samples), samples // len(shown))
    drawn = [Sample.drawn(targets, valid, count) for _, targets, valid in shown]
    centre, spread = _moments_of_first([images for images, _, _ in shown])
    kept = sum(valid[0].numel() for _, _, valid in shown) <= KEPT
    views = [View.of(_adapted(images, centre, spread), see, kept) for images, _, _ in shown]
    seen = [_gathered(view.features, view.tiles, s.index) for view, s in zip(views, drawn, strict=True)]
    first = Lift.fitted(torch.cat(seen, 1), units)
    held_out, weights = _solved(first, seen, drawn)
    mixing = _mixing(weights) if stages > 1 else weights.new_zeros(weights.shape[2], 0)
    # what each fold is shown comes from the other: (B, L, 2 M)
    crossed = torch.cat([w @ mixing for w in held_out], dim=2)
    second, final = first, weights
    if stages > 1:
        for i, (view, sample) in enumerate(zip(views, drawn, strict=True)):
            seen[i] = torch.cat([seen[i], _crossed_context(view, sample, first, crossed)], dim=2)
        second = Lift.fitted(torch.cat(seen, 1), units)
        held_out, final = _solved(second, seen, drawn)
    judged = _held_out_scores(second, held_out, seen, drawn)
    bias = torch.zeros_like(final[:, -1])
    if background and bias.shape[1] > 1:
        bias[:, 1:] = _bias(judged, drawn)[:, 1:]
    judged = judged + bias[..., None]
    first_class = 1 if background else 0
    return Guess(
        centre, spread, first, second, weights @ mixing, final, bias[..., None], crossed, held_out,
        _dice(judged, drawn, first_class), _sureness(judged, drawn, first_class),
        tuple(d.grid for d in drawn), see,
    )  # fmt: skip


def image_features(adapted: Tensor) -> Tensor:
    """Filter responses (B, F, H, W) of standardised planes (B, C, H, W)."""
    return torch.cat([filter_responses(adapted), line_responses(adapted)], dim=1)


def _context_features(context: Tensor) -> Tensor:
    return filter_responses(context, CONTEXT_SCALES) if context.shape[1] else context


def _context(view: View, first: Lift, weights: Tensor) -> Tensor:
    """What the second stage is shown (B, M, H, W): the first stage's guess."""
    planes = view.planes
    context = planes.new_empty(len(planes), weights.shape[2], *planes.shape[2:])
    for inner, outer in view.tiles if weights.shape[2] else ():
        features = view.features(inner, outer)
        context[(..., *inner.area)] = first.apply(features.flatten(2), weights).reshape(
            len(planes), -1, *features.shape[2:]
        )
    return context.clamp_(-0.5, 1.5)


def _crossed_context(view: View, sample: Sample, first: Lift, crossed: Tensor) -> Tensor:
    """Context features (B, P, F) of sampled pixels, each guessed by what was fitted on the other fold."""
    of_first, of_second = (
        _gathered(partial(_inside, _context_features, guessed), view.tiles, sample.index)
        for guessed in _context(view, first, crossed).tensor_split(2, dim=1)
    )
    return torch.where(sample.fold[..., None] == 0, of_first, of_second)


def _mixing(weights: Tensor) -> Tensor:
    """(K, M) that turns K scores into what the second stage is shown: all but the first, or, of many, a colour."""
    classes = weights.shape[2]
    if classes <= MAX_CONTEXT + 1:
        return torch.eye(classes).to(weights)[:, min(1, classes - 1) :]
    return torch.rand(classes, MAX_CONTEXT, generator=torch.Generator().manual_seed(0)).to(weights)


def _solved(lift: Lift, features: Sequence[Tensor], samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    first, *more = (lift.sums(f, s) for f, s in zip(features, samples, strict=True))
    held_out, both = sum(more, first).solve()
    return held_out.to(features[0]), both.to(features[0])


def _held_out_scores(lift: Lift, weights: Tensor, features: Sequence[Tensor], samples: Sequence[Sample]) -> Tensor:
    """(B, K, P) of the sampled pixels of all examples, each by the weights fitted on the other fold."""
    scores = []
    for seen, sample in zip(features, samples, strict=True):
        of_first, of_second = (lift.apply(seen.mT, w) for w in weights)
        scores.append(torch.where(sample.fold[:, None] == 0, of_first, of_second))
    return torch.cat(scores, 2)


def _dice(scores: Tensor, samples: Sequence[Sample], first: int) -> Tensor:
    """(B,) mean Dice of held-out scores (B, K, P) over the classes from ``first`` on."""
    target = torch.cat([s.target for s in samples], 1).mT
    weight = torch.cat([s.weight for s in samples], 1)[:, None]
    found = F.one_hot(scores.argmax(1), scores.shape[1]).mT * weight
    sizes = found.sum(2) + (target * weight).sum(2)
    return (2 * (found * target).sum(2) / sizes.clamp_min(1e-6))[:, first:].mean(1)


def _sureness(scores: Tensor, samples: Sequence[Sample], first: int) -> Tensor:
    """(B,) percentile `SURE` of confidence where held-out scores (B, K, P) rightly say a class from ``first`` on."""
    target, found = torch.cat([s.target for s in samples], 1).mT, scores.argmax(1, keepdim=True)
    shares = scores.clamp(0, 1)
    best = shares.topk(min(2, shares.shape[1]), dim=1).values
    confidence = (best[:, 0] - best[:, -1]) / shares.sum(1).clamp_min(1e-12)
    right = (target.gather(1, found) > 0) & (found >= first)
    return confidence.masked_fill(~right[:, 0], math.nan).nanquantile(SURE / 100, dim=1).nan_to_num(0.0)


def _bias(scores: Tensor, samples: Sequence[Sample]) -> Tensor:
    """(B, K) that moves each class's threshold half way from 1/2 to where Dice on held-out scores (B, K, P) is best.

    0 where Dice is 0 at every threshold.
    """
    target = torch.cat([s.target for s in samples], 1).mT
    weight = torch.cat([s.weight for s in samples], 1)[:, None]
    thresholds = torch.linspace(0.15, 0.7, 56).tolist()
    size = (target * weight).sum(2)
    dice = []
    for threshold in thresholds:
        above = (scores > threshold) * weight
        dice.append(2 * (above * target).sum(2) / (above.sum(2) + size).clamp_min(1e-6))
    # smoothed, so that a lucky threshold does not win
    smooth = F.avg_pool1d(F.pad(torch.stack(dice, 2), (2, 2), mode="replicate"), 5, stride=1)
    return (0.5 - scores.new_tensor(thresholds)[smooth.argmax(2)]) * (smooth.amax(2) > 0)


@dataclass(eq=False)
class View:
    """Standardised planes (B, C, H, W) and what is seen of them, tile by tile; of a single tile once and for all."""

    planes: Tensor
    see: Respond
    tiles: list[tuple[Tile, Tile]]
    keeps: bool
    _kept: Tensor | None = None

    @classmethod
    def of(cls, planes: Tensor, see: Respond, keeps: bool = True) -> View:
        """Cut planes into tiles."""
        return cls(planes, see, list(_tiles(planes)), keeps)

    def features(self, inner: Tile, outer: Tile) -> Tensor:
        """Features (B, F, height, width) of a tile."""
        if self._kept is not None:
            return self._kept
        features = _inside(self.see, self.planes, inner, outer)
        if self.keeps and len(self.tiles) == 1:
            self._kept = features
        return features


def _moments(planes: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(planes, (2, 3), keepdim=True, correction=0)
    return mean, deviation + LEAST


def _moments_of_first(examples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Of the first example, or, where a channel of it is constant, of the first in which it is not."""
    centre, spread = _moments(examples[0])
    for planes in examples[1:]:
        mean, deviation = _moments(planes)
        constant = spread < CONSTANT
        centre, spread = torch.where(constant, mean, centre), torch.where(constant, deviation, spread)
    return centre, spread


def standardized(examples: Sequence[Tensor]) -> list[Tensor]:
    """Images of examples, (B, C, H, W) each, as a guess sees them that was fitted on them."""
    centre, spread = _moments_of_first(examples)
    return [_adapted(planes, centre, spread) for planes in examples]


def _adapted(planes: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """Planes standardised by statistics half way between their own and the first example's.

    Their own would undo what a plane truly has more of, the example's would not forgive a drift of brightness. A
    channel that is constant in all examples says nothing in a plane either: 0.
    """
    mean, deviation = _moments(planes)
    return (planes - (mean + centre) / 2) * (spread >= CONSTANT) / (deviation * spread).sqrt()


def _tiles(planes: Tensor) -> Iterator[tuple[Tile, Tile]]:
    """Cut planes (B, C, H, W) into tiles; with each, the tile with the surroundings that its responses depend on."""
    channels, height, width = planes.shape[1:]
    side = max(REDUCTION, int(math.sqrt(TILE.size / channels)) // REDUCTION * REDUCTION)
    for y in range(0, height, side):
        for x in range(0, width, side):
            inner = Tile(y, min(y + side, height), x, min(x + side, width))
            yield (
                inner,
                Tile(max(y - HALO, 0), min(y + side + HALO, height), max(x - HALO, 0), min(x + side + HALO, width)),
            )


def _inside(respond: Respond, planes: Tensor, inner: Tile, outer: Tile) -> Tensor:
    responses = respond(planes[(..., *outer.area)])
    y, x = inner.y0 - outer.y0, inner.x0 - outer.x0
    return responses[..., y : y + inner.y1 - inner.y0, x : x + inner.x1 - inner.x0]


def _gathered(features: Callable[[Tile, Tile], Tensor], tiles: Sequence[tuple[Tile, Tile]], index: Tensor) -> Tensor:
    """Features (B, P, F) at ``index`` (B, P) into the flattened planes."""
    width = max(inner.x1 for inner, _ in tiles)
    y, x = index // width, index % width
    gathered: Tensor | None = None
    for inner, outer in tiles:
        responses = features(inner, outer)
        here = (y >= inner.y0) & (y < inner.y1) & (x >= inner.x0) & (x < inner.x1)
        local = ((y - inner.y0) * responses.shape[3] + x - inner.x0).where(here, 0)
        values = responses.flatten(2).gather(2, local[:, None].expand(-1, responses.shape[1], -1)).mT
        gathered = values if gathered is None else torch.where(here[..., None], values, gathered)
    assert gathered is not None
    return gathered
