"""`guess`: the predictor that needs no weights. Filter responses, random Fourier features, ridge regression, twice.

The second stage sees the image's responses and those of the first stage's guess (auto-context), so that it can
close gaps and drop specks. A model scores highly what it was fitted on, so the guess that the second stage
learns from is cross-fitted: each example is cut into two folds, each guessed by a model fitted on the other.

All of it is tensor algebra with a leading batch axis, and runs on any device, inside a training step too::

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
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..core.palette import scores_to_labels
from ..core.tiling import Tile
from ..core.types import Context, Example, Plane, Segmentation
from ..errors import InputError
from .filters import HALO, REDUCTION, filter_responses, line_responses
from .ridge import Lift, Sample, chequerboard, fold_grid

SAMPLES, MIN_SAMPLES = 40_000, 10_000  # pixels fitted of all examples, and at least of each
CONTEXT_SCALES = (1.36, 2.65, 5.14, 10.0, 20.0)  # px
MAX_CONTEXT = 3  # channels in which the second stage is shown the first guess
TILE = 2**20  # values of a plane whose responses are held at a time
CACHED = 4  # contexts

Shown: TypeAlias = tuple[Tensor, Tensor, Tensor]
Respond: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Guess:
    """What `fit` found.

    Parameters
    ----------
    centre, spread
        (B, C, 1, 1), mean and deviation of the first example's image.
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
    grids
        Of each example: (B,) cells a side of the chequerboard of its folds.
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
    grids: tuple[Tensor, ...]

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
        adapted = _adapted(planes, self.centre, self.spread)
        contexts = _context(adapted, self.first, self.crossed).chunk(2, dim=1)
        of_first, of_second = (self._paint(adapted, c, w) for c, w in zip(contexts, self.held_out, strict=True))
        return torch.where(fold == 0, of_first, of_second)

    @torch.no_grad()
    def paint(self, planes: Tensor) -> Tensor:
        """Scores (B, K, H, W), about [0, 1], of planes (B, C, H, W)."""
        adapted = _adapted(planes, self.centre, self.spread)
        return self._paint(adapted, _context(adapted, self.first, self.first_weights), self.second_weights)

    @torch.no_grad()
    def tiles(self, planes: Tensor) -> Iterator[tuple[Tile, Tensor]]:
        """Yield the scores tile by tile, (B, K, height, width): memory hardly grows with the plane."""
        adapted = _adapted(planes, self.centre, self.spread)
        yield from self._tiles(adapted, _context(adapted, self.first, self.first_weights), self.second_weights)

    def _paint(self, adapted: Tensor, context: Tensor, weights: Tensor) -> Tensor:
        scores = adapted.new_empty(len(adapted), self.bias.shape[1], *adapted.shape[2:])
        for tile, part in self._tiles(adapted, context, weights):
            scores[(..., *tile.area)] = part
        return scores

    def _tiles(self, adapted: Tensor, context: Tensor, weights: Tensor) -> Iterator[tuple[Tile, Tensor]]:
        for inner, outer in _tiles(adapted):
            features = torch.cat(
                [_inside(_image_features, adapted, inner, outer), _inside(_context_features, context, inner, outer)], 1
            )
            scores = self.second.apply(features.flatten(2), weights) + self.bias
            yield inner, scores.reshape(*scores.shape[:2], *features.shape[2:])


@torch.no_grad()
def fit(shown: Sequence[Shown], *, background: bool = True, samples: int = SAMPLES) -> Guess:
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
    """
    count = max(min(MIN_SAMPLES, samples), samples // len(shown))
    drawn = [Sample.drawn(targets, valid, count) for _, targets, valid in shown]
    centre, spread = _moments(shown[0][0])
    adapted = [_adapted(images, centre, spread) for images, _, _ in shown]
    seen = [_gathered(_image_features, images, s.index) for images, s in zip(adapted, drawn, strict=True)]
    first = Lift.fitted(seen[0])
    held_out, weights = _solved(first, seen, drawn)
    mixing = _mixing(weights)
    # what each fold is shown comes from the other: (B, L, 2 M)
    crossed = torch.cat([w @ mixing for w in held_out], dim=2)
    for i, (images, sample) in enumerate(zip(adapted, drawn, strict=True)):
        folds = _context(images, first, crossed).chunk(2, dim=1)
        context = [_gathered(_context_features, guessed, sample.index) for guessed in folds]
        seen[i] = torch.cat([seen[i], torch.where(sample.fold[..., None] == 0, context[0], context[1])], dim=2)
    second = Lift.fitted(seen[0])
    held_out, final = _solved(second, seen, drawn)
    bias = torch.zeros_like(final[:, -1])
    if background and bias.shape[1] > 1:
        scores = []
        for features, sample in zip(seen, drawn, strict=True):
            of_first, of_second = (second.apply(features.mT, w) for w in held_out)
            scores.append(torch.where(sample.fold[:, None] == 0, of_first, of_second))
        bias[:, 1:] = _bias(torch.cat(scores, 2), drawn)[:, 1:]
    grids = tuple(
        fold_grid(d.index, d.target.mT, (images.shape[2], images.shape[3]))
        for d, images in zip(drawn, adapted, strict=True)
    )
    return Guess(centre, spread, first, second, weights @ mixing, final, bias[..., None], crossed, held_out, grids)


class GuessPredictor:
    """The closed-form predictor: needs no weights, no network and no GPU."""

    name = "guess"
    digest = "guess-1"

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._segmenters: dict[str, GuessSegmenter] = {}

    def bind(self, context: Context) -> GuessSegmenter:
        """Return a segmenter that paints what ``context`` shows.

        Raises
        ------
        InputError
            Examples of different numbers of channels.
        """
        segmenter = self._segmenters.pop(context.fingerprint, None) or GuessSegmenter(context, self.device)
        self._segmenters[context.fingerprint] = segmenter  # the last used is the last to go
        if len(self._segmenters) > CACHED:
            del self._segmenters[next(iter(self._segmenters))]
        return segmenter


class GuessSegmenter:
    """A `GuessPredictor` bound to a context. Made by its ``bind``.

    Attributes
    ----------
    ids
        Of the classes that are scored: for kind ``instance`` 1 stands for every object.
    """

    def __init__(self, context: Context, device: torch.device) -> None:
        self.context, self.device = context, device
        self.ids = context.ids if context.kind == "semantic" else tuple(sorted({min(i, 1) for i in context.ids}))
        self._guess = fit([self._shown(e) for e in context.examples], background=self.ids[0] == 0)

    def __call__(self, plane: Plane, /) -> Segmentation:
        labels, confidence = np.empty(plane.shape[:2], np.uint32), np.empty(plane.shape[:2], np.float32)
        for tile, scores in self._guess.tiles(self._tensor(plane)):
            labels[tile.area], confidence[tile.area] = scores_to_labels(_last(scores), self.ids)
        if self.context.kind == "instance":
            from ..core.instances import components  # scikit-image, without which training must do

            labels = components(labels)
        provenance = {
            "model": GuessPredictor.name,
            "digest": GuessPredictor.digest,
            "context": self.context.fingerprint,
            "kind": self.context.kind,
        }
        return Segmentation(labels, confidence, provenance)

    def scores(self, plane: Plane) -> NDArray[np.float32]:
        """Scores (Y, X, K) of the classes `ids`, about [0, 1]."""
        return _last(self._guess.paint(self._tensor(plane)))

    def _tensor(self, plane: Plane) -> Tensor:
        channels = self.context.examples[0].image.shape[2]
        if plane.shape[2] != channels:
            raise InputError(
                f"the examples have {channels} channel(s), the image {plane.shape[2]}. Choose or mix channels alike."
            )
        return torch.tensor(plane, device=self.device).movedim(2, 0)[None].contiguous()

    def _shown(self, example: Example) -> Shown:
        labels = example.labels if self.context.kind == "semantic" else np.minimum(example.labels, 1)
        targets = np.stack([(labels == i) & example.valid for i in self.ids]).astype(np.float32)
        valid = torch.tensor(example.valid, device=self.device)
        return self._tensor(example.image), torch.tensor(targets, device=self.device)[None], valid[None]


def shares(scores: Tensor) -> Tensor:
    """The nearest shares of classes, each at least 0 and together 1, to scores (B, K, H, W); the order is kept.

    Painted in colours, shares show what the scores say: the nearest colour is, for two classes, that of the larger.

    References
    ----------
    Duchi et al., Efficient projections onto the l1-ball (2008).
    """
    ordered = scores.sort(dim=1, descending=True).values
    ranks = torch.arange(1, scores.shape[1] + 1, device=scores.device, dtype=scores.dtype).view(1, -1, 1, 1)
    excess = (ordered.cumsum(1) - 1) / ranks
    kept = (ordered > excess).sum(1, keepdim=True)
    return (scores - excess.gather(1, kept - 1)).clamp_min(0)


def _image_features(adapted: Tensor) -> Tensor:
    return torch.cat([filter_responses(adapted), line_responses(adapted)], dim=1)


def _context_features(context: Tensor) -> Tensor:
    return filter_responses(context, CONTEXT_SCALES)


def _context(adapted: Tensor, first: Lift, weights: Tensor) -> Tensor:
    """What the second stage is shown (B, M, H, W): the first stage's guess."""
    context = adapted.new_empty(len(adapted), weights.shape[2], *adapted.shape[2:])
    for inner, outer in _tiles(adapted):
        features = _inside(_image_features, adapted, inner, outer)
        context[(..., *inner.area)] = first.apply(features.flatten(2), weights).reshape(
            len(adapted), -1, *features.shape[2:]
        )
    return context.clamp_(-0.5, 1.5)


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


def _bias(scores: Tensor, samples: Sequence[Sample]) -> Tensor:
    """(B, K) that moves each class's threshold half way from 1/2 to where Dice on held-out scores (B, K, P) is best."""
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
    return 0.5 - scores.new_tensor(thresholds)[smooth.argmax(2)]


def _moments(planes: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(planes, (2, 3), keepdim=True, correction=0)
    return mean, deviation + 1e-3


def _adapted(planes: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """Planes standardised by statistics half way between their own and the first example's.

    Their own would undo what a plane truly has more of, the example's would not forgive a drift of brightness.
    """
    mean, deviation = _moments(planes)
    return (planes - (mean + centre) / 2) / (deviation * spread).sqrt()


def _tiles(planes: Tensor) -> Iterator[tuple[Tile, Tile]]:
    """Cut planes (B, C, H, W) into tiles; with each, the tile with the surroundings that its responses depend on."""
    channels, height, width = planes.shape[1:]
    side = max(REDUCTION, int(math.sqrt(TILE / channels)) // REDUCTION * REDUCTION)
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


def _gathered(respond: Respond, planes: Tensor, index: Tensor) -> Tensor:
    """Responses (B, P, F) at ``index`` (B, P) into the flattened planes."""
    y, x = index // planes.shape[3], index % planes.shape[3]
    gathered: Tensor | None = None
    for inner, outer in _tiles(planes):
        responses = _inside(respond, planes, inner, outer)
        here = (y >= inner.y0) & (y < inner.y1) & (x >= inner.x0) & (x < inner.x1)
        local = ((y - inner.y0) * responses.shape[3] + x - inner.x0).where(here, 0)
        values = responses.flatten(2).gather(2, local[:, None].expand(-1, responses.shape[1], -1)).mT
        gathered = values if gathered is None else torch.where(here[..., None], values, gathered)
    assert gathered is not None
    return gathered


def _last(scores: Tensor) -> NDArray[np.float32]:
    """(1, K, Y, X) on any device -> (Y, X, K)."""
    return scores[0].movedim(0, 2).cpu().numpy()
