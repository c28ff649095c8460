"""Adapter tuning of the embedded model: its network learns on for some seconds, on crops of the annotated slices.

It learns as it did before: one crop is painted, in closed form, from another one, both turned and lit at random. A part
of the slices is held out, and what does not help there is not kept.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.metrics import dice
from ..core.tiling import Tile
from ..core.types import Context, Example
from ..errors import KeyFileError
from ..model.losses import painting_loss
from ..model.micro import Micro
from .closed_form import class_ids
from .held_out import hold_out
from .key import Key
from .queries import lit, turning
from .tuning import Budget, learn

if TYPE_CHECKING:
    from .micro import MicroPredictor

SIDE, PAIRS = 128, 4  # pixels a side of a crop, and pairs of crops a step
LEARNING_RATE, WARMUP = 4e-4, 0.1
DECAY, CLIP = 0.02, 1.0
LOOKS = 3  # times that tuning is judged on its way
MAX_JUDGED = 4  # slices whose held-out part is painted to judge
TRIES = 8  # crops drawn, of which the first that shows an object is taken


def tune_network(predictor: MicroPredictor, context: Context, budget: Budget) -> Key:
    """Tune the network: see `infer.tuning.tune`."""
    tuner = NetworkTuner(predictor, context, budget.seed)
    best, learned = learn(tuner, budget, LOOKS)
    return Key("adapter", predictor.name, predictor.digest, context, best if learned.kept else {}, learned)


class NetworkTuner:
    """A copy of a network on its way.

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
        self.predictor, self.network = predictor, deepcopy(predictor.network).train()
        self.context = context
        self.ids = class_ids(context)
        examples = [replace(e, labels=self._classes(e)) for e in context.examples]
        self.held_out = [hold_out(e, (e.labels.shape[0] // 2, e.labels.shape[1] // 2)) for e in examples]
        self.examples = examples
        self.random = np.random.default_rng(seed)
        self.generator = torch.Generator(predictor.device).manual_seed(seed)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)

    def step(self, share: float) -> float:
        """Learn from some pairs of crops; ``share`` of the tuning is over. Returns the loss."""
        rate = LEARNING_RATE * min(1.0, (share + 0.01) / WARMUP) * (1 + np.cos(np.pi * share)) / 2
        self.optimizer.param_groups[0]["lr"] = rate
        images, truth = (torch.stack(t) for t in zip(*(self._crop() for _ in range(2 * PAIRS)), strict=True))
        features = self.network(images)
        loss = painting_loss(
            self.network, features[:PAIRS], truth[:PAIRS], features[PAIRS:], truth[PAIRS:], self.generator
        ) + painting_loss(
            self.network, features[PAIRS:], truth[PAIRS:], features[:PAIRS], truth[:PAIRS], self.generator
        )
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()
        return float(loss.detach())

    def judge(self) -> float | None:
        """Mean Dice on the held-out parts, painted from the rest; None if nothing is held out."""
        chosen = [k for k, tile in enumerate(self.held_out) if tile is not None][:MAX_JUDGED]
        if not chosen:
            return None
        shown = tuple(self._without_held_out(k) for k in range(len(self.examples)))
        segmenter = self.predictor.with_network(self.network.eval()).bind(Context(shown))
        self.network.train()
        scores = []
        for k in chosen:
            example, tile = self.examples[k], self.held_out[k]
            assert tile is not None
            found = np.where(example.valid, segmenter(example.image).labels, 0)[tile.area]
            truth = example.labels[tile.area]
            scores += [dice(found, truth, [i]) for i in self.ids if i and (truth == i).any()]
        return float(np.mean(scores)) if scores else None

    def found(self) -> dict[str, NDArray[np.float16]]:
        """The network's weights as a key keeps them."""
        return {name: value.detach().cpu().half().numpy() for name, value in self.network.state_dict().items()}

    def _crop(self) -> tuple[Tensor, Tensor]:
        """A crop of a slice, standardised (3, SIDE, SIDE), and its truth (SIDE * SIDE, classes)."""
        number = int(self.random.integers(len(self.examples)))
        example = self._without_held_out(number)
        for _ in range(TRIES):
            y, x = (int(self.random.integers(max(1, n - SIDE + 1))) for n in example.labels.shape)
            area = Tile(y, y + SIDE, x, x + SIDE).area
            if (example.labels[area] > 0).any() and example.valid[area].mean() > 0.25:
                break
        image = lit(example.image, self.random)[area]
        labels, valid = example.labels[area], example.valid[area]
        image, labels, valid = (_filled(a) for a in (image, labels, valid))
        turned = turning(True, self.random)
        image, labels, valid = turned(image), turned(labels), turned(valid)
        truth = np.stack([(labels == i) & valid for i in self.ids], axis=-1).reshape(-1, len(self.ids))
        mean, deviation = example.image.mean((0, 1)), example.image.std((0, 1)) + 1e-3
        standard = np.broadcast_to((image - mean) / deviation, (*image.shape[:2], 3)).astype(np.float32)
        device = self.predictor.device
        return (
            torch.from_numpy(np.ascontiguousarray(standard.transpose(2, 0, 1))).to(device),
            torch.from_numpy(truth.astype(np.float32)).to(device),
        )

    def _without_held_out(self, number: int) -> Example:
        example, tile = self.examples[number], self.held_out[number]
        if tile is None:
            return example
        valid = example.valid.copy()
        valid[tile.area] = False
        return replace(example, valid=valid)

    def _classes(self, example: Example) -> NDArray[np.uint32]:
        return example.labels if self.context.kind == "semantic" else np.minimum(example.labels, 1)


def _filled(array: NDArray[Any]) -> NDArray[Any]:
    """Mirrored at the border up to (SIDE, SIDE, ...), where a slice is smaller."""
    missing = [(0, max(0, SIDE - n)) for n in array.shape[:2]]
    return np.pad(array, [*missing, *[(0, 0)] * (array.ndim - 2)], mode="symmetric")


def adapted(network: Micro, key: Key) -> Micro:
    """A copy of the network with the key's weights, or the network itself if tuning was not kept.

    Raises
    ------
    KeyFileError
        The key's tensors are not those of the network.
    """
    if not key.tensors and not key.learned.kept:
        return network
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    if key.method != "adapter" or {name: t.shape for name, t in key.tensors.items()} != expected:
        raise KeyFileError("the key does not fit this model. Tune it again.")
    changed = deepcopy(network)
    changed.load_state_dict({name: torch.tensor(t).float() for name, t in key.tensors.items()})
    return changed
