"""Adapter tuning of the embedded model: for some seconds its network learns to paint the annotated slices by itself.

The network gets one more layer, a linear score for each class, that begins as the closed form. Both learn on crops of
the annotated slices, turned, bent and lit at random. In use, what they paint is averaged with what the closed form
paints on the network as it was: the two err differently. A part of the slices is held out, and what does not help there
is not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.metrics import dice
from ..core.tiling import Tile, best_window, cut
from ..core.types import Context, Example
from ..errors import KeyFileError
from ..model.losses import FITTED
from ..model.micro import Micro, closed_form
from .closed_form import class_ids, class_maps
from .guess import standardized
from .held_out import hold_out
from .key import Key
from .micro import MicroPredictor, in_colour
from .tuning import Budget, learn

SIDE, CROPS = 128, 8  # pixels a side of a crop, and crops a step
TRIALS = 20  # centres drawn until a crop shows something annotated
WINDOW = 1024  # pixels a side, at most, of the part of a slice in which tuning is judged
LEARNING_RATE, WARMUP = 2e-3, 0.1
DECAY, CLIP = 0.02, 1.0
SMOOTHING = 50.0  # pixels added to both sides of Dice
LOOKS = 1  # times that tuning is judged: at its end, when the learning rate has come down
MAX_JUDGED = 4  # slices whose held-out part is painted to judge
SCALE, ASPECT, BEND = 0.15, 0.08, 3.0  # deviations of a crop's log scale and log aspect, and px
BENDS = 5  # nodes a side of the grid that bends a crop
LIGHT, NOISE = 0.15, 0.08  # deviations of log contrast and brightness; root of the noise's usual deviation
TEMPERATURE = 3.0  # so few slices make a network far too sure of itself: its scores are divided by it
IGNORED = -1


class TunedNetwork(nn.Module):
    """A `Micro` network that paints by itself.

    Parameters
    ----------
    network
        What it sees with.
    ids
        Of the classes, one score each.
    """

    def __init__(self, network: Micro, ids: Sequence[int]) -> None:
        super().__init__()
        self.network, self.ids = network, tuple(ids)
        self.head = nn.Conv2d(network.config.features, len(self.ids), 1)

    def logits(self, images: Tensor) -> Tensor:
        """(B, K, Y, X) of standardised images (B, 3, Y, X)."""
        scores: Tensor = self.head(self.network(images))
        return scores

    def forward(self, images: Tensor, ids: Sequence[int] | None = None) -> Tensor:
        """Shares of the classes ``ids``, by default all, (B, K, Y, X), which sum to one; see `logits`."""
        chosen = [self.ids.index(i) for i in (self.ids if ids is None else ids)]
        return (self.logits(images)[:, chosen] / TEMPERATURE).softmax(1)


def tune_network(predictor: MicroPredictor, context: Context, budget: Budget) -> Key:
    """Tune the network: see `infer.tuning.tune`."""
    tuner = NetworkTuner(predictor, context, budget.seed)
    best, learned = learn(tuner, budget, LOOKS)
    return Key("adapter", predictor.name, predictor.digest, context, best if learned.kept else {}, learned)


class NetworkTuner:
    """A `TunedNetwork` on its way.

    Parameters
    ----------
    predictor
        What is tuned; it stays as it is.
    context
        The annotated slices.
    seed
        Where random numbers begin.
    """

    def __init__(self, predictor: MicroPredictor, context: Context, seed: int = 0) -> None:
        self.predictor, self.context = predictor, context
        self.ids = class_ids(context)
        maps, _ = class_maps(context)
        examples = [replace(e, labels=classes) for e, classes in zip(context.examples, maps, strict=True)]
        self.examples = examples
        self.windows = [best_window(e, (WINDOW, WINDOW)) for e in examples]
        self.held_out = [_hold_out(e, window) for e, window in zip(examples, self.windows, strict=True)]
        self.random = np.random.default_rng(seed)
        self.steps = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tuned = TunedNetwork(deepcopy(predictor.network), self.ids).to(predictor.device)
        images = [torch.tensor(e.image).movedim(2, 0)[None] for e in examples]
        self._slices = [(planes[0], *self._learned_from(k)) for k, planes in enumerate(standardized(images))]
        known = [classes[classes != IGNORED].int() for _, classes, _ in self._slices]
        sizes = sum(torch.bincount(c, minlength=len(self.ids)) for c in known) + torch.ones(())
        self._balance = (sizes.rsqrt() / (sizes.rsqrt() * sizes / sizes.sum()).sum()).to(predictor.device)
        self._begin()
        # what judges: fitted here, so that the first judgement tells how long the others take
        shown = Context(tuple(cut(self._without_held_out(k), window) for k, window in enumerate(self.windows)))
        self._untuned = predictor.bind(shown) if any(tile is not None for tile in self.held_out) else None
        self.optimizer = torch.optim.AdamW(self.tuned.train().parameters(), lr=LEARNING_RATE, weight_decay=DECAY)

    def step(self, share: float) -> float:
        """Learn from some crops; ``share`` of the tuning is over. Returns the loss."""
        self.steps += 1
        rate = LEARNING_RATE * min(1.0, (share + 0.01) / WARMUP) * (1 + np.cos(np.pi * share)) / 2
        self.optimizer.param_groups[0]["lr"] = rate
        images, classes = (torch.stack(t).to(self.predictor.device) for t in zip(*self._crops(), strict=True))
        loss = self._loss(self.tuned.logits(in_colour(images)), classes)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.tuned.parameters(), CLIP)
        self.optimizer.step()
        return float(loss.detach())

    def judge(self) -> float | None:
        """Mean Dice on the held-out parts, painted from the rest; None if nothing is held out.

        Before the first step it is the untuned model that is judged.
        """
        chosen = [k for k, tile in enumerate(self.held_out) if tile is not None][:MAX_JUDGED]
        if self._untuned is None:
            return None
        segmenter = self._untuned
        if self.steps:
            segmenter = segmenter.asking(self.predictor.with_opinion(self.tuned.eval()))
        scores = []
        for k in chosen:
            window, tile = self.windows[k], self.held_out[k]
            assert tile is not None
            example, part = cut(self.examples[k], window), tile.moved(-window.y0, -window.x0).area
            found, truth = np.where(example.valid, segmenter(example.image).labels, 0)[part], example.labels[part]
            scores += [dice(found, truth, [i]) for i in self.ids if i and (truth == i).any()]
        self.tuned.train()
        return float(np.mean(scores)) if scores else None

    def found(self) -> dict[str, NDArray[np.float16]]:
        """The weights as a key keeps them."""
        return {name: value.detach().cpu().half().numpy() for name, value in self.tuned.state_dict().items()}

    @torch.no_grad()
    def _begin(self) -> None:
        """Let the last layer begin as the closed form on some pixels of every slice."""
        network, head = self.tuned.network.eval(), self.tuned.head
        features, targets = [], []
        for (image, classes, _), window in zip(self._slices, self.windows, strict=True):
            image, classes = image[(..., *window.area)], classes[window.area].flatten()
            known = (classes != IGNORED).nonzero()[:, 0]
            chosen = known[torch.from_numpy(self.random.permutation(len(known))[:FITTED])]
            seen = network(in_colour(image[None]).to(self.predictor.device))[0].flatten(1).mT
            features.append(seen[chosen.to(seen.device)])
            targets.append(F.one_hot(classes[chosen].long(), len(self.ids)).to(seen))
        weights = closed_form(torch.cat(features)[None], torch.cat(targets)[None], network.log_ridge.exp())[0]
        weights = weights * network.log_sharpness.exp()
        head.weight.copy_(weights[:-1].mT[..., None, None])
        head.bias.copy_(weights[-1])  # type: ignore[union-attr]  # this layer has one

    def _loss(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy, in which classes weigh as the roots of their sizes, and Dice over all crops."""
        known = (classes != IGNORED)[:, None]
        entropy = F.cross_entropy(logits, classes, self._balance, ignore_index=IGNORED, reduction="sum")
        wanted = F.one_hot(classes.clamp_min(0), len(self.ids)).movedim(3, 1) * known
        shares = logits.softmax(1) * known
        both, sizes = ((shares * wanted).sum((0, 2, 3)), (shares + wanted).sum((0, 2, 3)))
        overlap = ((2 * both + SMOOTHING) / (sizes + SMOOTHING))[1 if self.ids[0] == 0 else 0 :]
        return entropy / known.sum().clamp_min(1) + 1 - overlap.mean()

    def _crops(self) -> list[tuple[Tensor, Tensor]]:
        return [self._crop(*self._slices[self.random.integers(len(self._slices))]) for _ in range(CROPS)]

    def _crop(self, image: Tensor, classes: Tensor, annotated: Tensor) -> tuple[Tensor, Tensor]:
        """A crop (C, SIDE, SIDE) of a slice and its classes (SIDE, SIDE), turned, bent and lit at random."""
        random, size = self.random, np.array(classes.shape)
        centre = self._centre(annotated)
        angle, mirrored = random.uniform(0, 2 * np.pi), random.choice([-1, 1])
        scale = np.exp(random.normal(0, SCALE) + random.normal(0, ASPECT) * np.array([1, -1])) * [1, mirrored]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
        steps = np.arange(SIDE) - SIDE / 2 + 0.5
        grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1) @ turn.T + centre
        nodes = torch.from_numpy(random.normal(0, BEND, (1, 2, BENDS, BENDS)))
        bend = F.interpolate(nodes, size=(SIDE, SIDE), mode="bicubic")[0].movedim(0, 2).numpy()
        places = torch.from_numpy(((grid + bend) * 2 / size - 1)[None, ..., ::-1].astype(np.float32))
        crop = F.grid_sample(image[None], places, padding_mode="reflection", align_corners=False)[0]
        labels = F.grid_sample(
            classes[None, None], places, mode="nearest", padding_mode="reflection", align_corners=False
        )
        contrast, brightness, noise = random.normal(0, (LIGHT, LIGHT, NOISE))
        grain = torch.from_numpy(random.standard_normal((1, SIDE, SIDE), np.float32))
        return crop * np.exp(contrast) + brightness + noise**2 * grain, labels[0, 0].long()

    def _centre(self, annotated: Tensor) -> NDArray[np.float64]:
        """(2,) of a crop that shows something annotated, unless that is hard to meet."""
        size = np.array(annotated.shape)
        low = np.minimum(SIDE, size) / 2
        centre = size / 2
        for _ in range(TRIALS):
            centre = self.random.uniform(low, size - low)
            (y0, x0), (y1, x1) = (centre - low).astype(int), (centre + low).astype(int)
            if annotated[y0:y1, x0:x1].any():
                break
        return centre

    def _learned_from(self, number: int) -> tuple[Tensor, Tensor]:
        """Of a slice: classes (Y, X), `IGNORED` where nothing is learned, as floats, and where it is annotated."""
        example = self._without_held_out(number)
        classes = np.where(example.valid, np.searchsorted(self.ids, example.labels), IGNORED)
        return torch.from_numpy(classes.astype(np.float32)), torch.tensor(self.examples[number].valid)

    def _without_held_out(self, number: int) -> Example:
        example, tile = self.examples[number], self.held_out[number]
        if tile is None:
            return example
        valid = example.valid.copy()
        valid[tile.area] = False
        return replace(example, valid=valid)


def _hold_out(example: Example, window: Tile) -> Tile | None:
    """The part that is held out: see `hold_out`. It lies in the window."""
    shown = cut(example, window)
    tile = hold_out(shown, shown.labels.shape)
    return tile.moved(window.y0, window.x0) if tile is not None else None


def keyed_network(network: Micro, key: Key) -> TunedNetwork | None:
    """What ``key`` holds, or None if its tuning was not kept.

    Raises
    ------
    KeyFileError
        The key's tensors are not those of the network.
    """
    if not key.tensors and not key.learned.kept:
        return None
    tuned = TunedNetwork(deepcopy(network), class_ids(key.context))
    expected = {name: tuple(value.shape) for name, value in tuned.state_dict().items()}
    if key.method != "adapter" or {name: t.shape for name, t in key.tensors.items()} != expected:
        raise KeyFileError("the key does not fit this model. Tune it again.")
    tensors: dict[str, Any] = {name: torch.tensor(t).float() for name, t in key.tensors.items()}
    tuned.load_state_dict(tensors)
    return tuned.eval()
