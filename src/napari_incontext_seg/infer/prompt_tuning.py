"""In-context tuning: the network stays as it is, and the example it is shown is learned.

The images and colours of the prompt start as a real pair and go where the loss on the annotated slices leads them.
What is asked about a slice is hidden in the prompt that was made from it, so that it cannot simply be looked up.

Source: arXiv 2304.03284 (SegGPT), section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..core.canvas import fit_canvas
from ..core.metrics import dice
from ..core.palette import MAX_COLOURS, Palette, passes
from ..core.tiling import Tile, best_window
from ..core.types import Context, Example
from ..errors import InputError
from ..model.losses import masked_smooth_l1
from ..model.seggpt import SegGpt, normalize
from .held_out import hold_out
from .key import Key, Learned
from .keyed import check_recolourings
from .painting import Prompt, SegGptPredictor, SegGptSegmenter, as_colours, three_channels
from .queries import Query, draw_query
from .tuning import Budget, learn

MAX_PROMPTS = 8  # examples that become prompts; with more, the others are only asked about
MAX_SHOWN = 2  # prompts shown at once
MAX_JUDGED = 4  # slices whose held-out part is painted to judge
LOOKS = 6  # times that tuning is judged on its way
LEARNING_RATE = 0.01  # of normalised colours, which span about 4
HELD_OUT = 3 / 4  # of a tile, at most
LARGE = 50_000_000  # parameters from which on activations are computed twice rather than kept

Prompts: TypeAlias = tuple[NDArray[np.float16], NDArray[np.float16]]


def tune_prompt(predictor: SegGptPredictor, context: Context, budget: Budget) -> Key:
    """Tune the prompt: see `infer.tuning.tune`."""
    check_recolourings(predictor)
    tuner = PromptTuner(predictor, context, budget.seed)
    with frozen(predictor.network):
        best, learned = learn(tuner, budget, LOOKS)
    return tuner.key(best, learned)


class PromptTuner:
    """The prompts of some annotated slices on their way.

    Parameters
    ----------
    predictor
        Its network, ensemble and device are used; its weights are not changed.
    context
        The annotated slices.
    seed
        Where random numbers begin.

    Raises
    ------
    InputError
        More labels than can be told apart in one colouring.
    """

    def __init__(self, predictor: SegGptPredictor, context: Context, seed: int = 0) -> None:
        self.predictor, self.context = predictor, context
        self.segmenter = SegGptSegmenter(predictor, context)
        self.examples = self.segmenter.examples
        ids = sorted({i for example in self.examples for i in example.ids})
        if len(passes(ids)) > 1:
            raise InputError(
                f"a key holds at most {MAX_COLOURS - 1} different labels; got {sum(i > 0 for i in ids)}. "
                "Tune with fewer, or, if each label is one object, choose the kind instance."
            )
        self.palette = Palette.fixed(ids)
        self.window = predictor.network.config.window
        self.tile = self.segmenter.tile(self.examples[0].labels.shape)
        largest = int(self.tile[0] * HELD_OUT), int(self.tile[1] * HELD_OUT)
        self.held_out = [hold_out(example, largest) for example in self.examples]
        self.chosen = choose(self.examples, MAX_PROMPTS)
        self.areas = [best_window(self.examples[i], self.tile) for i in self.chosen]
        self.images, self.targets = (torch.stack(list(t)).requires_grad_() for t in zip(*self._start(), strict=True))
        self.random = np.random.default_rng(seed)
        self.optimizer = torch.optim.Adam([self.images, self.targets], lr=LEARNING_RATE)

    def step(self, share: float) -> float:
        """Learn from one query; ``share`` of the tuning is over. Returns the loss."""
        self.optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 + np.cos(np.pi * share)) / 2
        loss = self.loss(*self.draw())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def draw(self) -> tuple[Query, list[int], int]:
        """Draw a query, the prompts that it is painted with, and the slice that it is of."""
        number = int(self.random.integers(len(self.examples)))
        shown = self._others(number)
        if len(shown) > MAX_SHOWN:
            shown = sorted(int(i) for i in self.random.choice(shown, MAX_SHOWN, replace=False))
        query = draw_query(
            self.examples[number], self.held_out[number], self.tile, self.window, self.random,
            partly=number in {self.chosen[i] for i in shown},
        )  # fmt: skip
        return query, shown, number

    def loss(self, query: Query, shown: list[int], number: int) -> Tensor:
        """Smooth L1 of what is painted where the query asks."""
        hidden = [query.asked, self.held_out[number]]
        prompt = self._prompt(shown, number, [tile for tile in hidden if tile is not None])
        painted = self.segmenter.forward(self._tensor(query.image), prompt)
        target = self._tensor(self.palette.paint(query.labels))
        return masked_smooth_l1(painted, target, torch.from_numpy(query.weights).to(painted.device)[None])

    @torch.no_grad()
    def judge(self) -> float | None:
        """Mean Dice on what was held out of up to `MAX_JUDGED` slices, hidden in the prompt; None if nothing was."""
        scores = []
        possible = [k for k, tile in enumerate(self.held_out) if tile is not None]
        for place in np.linspace(0, len(possible) - 1, min(len(possible), MAX_JUDGED)).round().astype(int):
            number = possible[place]
            tile = self.held_out[number]
            assert tile is not None
            shown = sorted(self._others(number), key=lambda i: abs(self.chosen[i] - number))[:MAX_SHOWN]
            prompt = self._prompt(shown, number, [tile])
            scores.append(self._dice(number, tile, prompt))
        return float(np.mean(scores)) if scores else None

    def found(self) -> Prompts:
        """The prompts as a key keeps them: images and targets (K, 3, H, W)."""
        images, targets = (t.detach().cpu().numpy().astype(np.float16) for t in (self.images, self.targets))
        return images, targets

    def key(self, prompts: Prompts, learned: Learned) -> Key:
        """The key of some `prompts`."""
        tensors: dict[str, NDArray[Any]] = {
            "images": prompts[0], "targets": prompts[1], "tile": np.array(self.tile, np.float32),
        }  # fmt: skip
        examples = tuple(self.context.examples[i] for i in self.chosen)
        context = Context(examples, self.context.kind, self.context.class_names)
        return Key("prompt", self.predictor.name, self.predictor.digest, context, tensors, learned, self.palette)

    def _others(self, number: int) -> list[int]:
        """The prompts that a slice is painted with: those of other slices, or its own if there is no other."""
        return [i for i, slice_ in enumerate(self.chosen) if slice_ != number] or [0]

    def _start(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Image and target (3, H, W) of every prompt, before anything is learned."""
        for i, area in zip(self.chosen, self.areas, strict=True):
            canvas = fit_canvas((area.y1 - area.y0, area.x1 - area.x0), self.window, keep_aspect=False)
            image = canvas.place_image(self.examples[i].image[area.area])
            target = self.palette.paint(canvas.place_labels(self.examples[i].labels[area.area]))
            yield self._tensor(image)[0], self._tensor(target)[0]

    def _prompt(self, shown: list[int], number: int, hidden: list[Tile]) -> Prompt:
        """Some prompts as network input; parts of slice ``number`` are hidden in the prompt that was made from it."""
        valid = [self._valid(i, hidden if self.chosen[i] == number else []) for i in shown]
        # with the rounding of a key, so that what is judged is what is kept
        images, targets = (
            t[shown] + (t[shown].half().float() - t[shown]).detach() for t in (self.images, self.targets)
        )
        return self.segmenter.join(images, targets, np.stack(valid))

    def _valid(self, prompt: int, hidden: list[Tile]) -> NDArray[np.bool_]:
        """Pixels (H, W) of a prompt that are annotated, without whole patches where any pixel is hidden."""
        example, area = self.examples[self.chosen[prompt]], self.areas[prompt].area
        seen = np.ones(example.labels.shape, bool)
        for tile in hidden:
            seen[tile.area] = False
        canvas = fit_canvas(seen[area].shape, self.window, keep_aspect=False)
        patch = self.predictor.network.config.patch_size
        patches = canvas.place_labels(seen[area]).reshape(self.window[0] // patch, patch, -1, patch).all((1, 3))
        return canvas.place_labels(example.valid[area]) & patches.repeat(patch, 0).repeat(patch, 1)

    def _dice(self, number: int, part: Tile, prompt: Prompt) -> float:
        """Dice in a part of a slice, painted in the middle of a window."""
        example = self.examples[number]
        view = Tile(*(edge for axis in (0, 1) for edge in self._around(example.labels.shape, part, axis)))
        canvas = fit_canvas((view.y1 - view.y0, view.x1 - view.x0), self.window, keep_aspect=False)
        painted = self.segmenter.forward(self._tensor(canvas.place_image(example.image[view.area])), prompt)
        labels, _ = self.palette.decode(canvas.recover(as_colours(painted)))
        found = labels[part.y0 - view.y0 : part.y1 - view.y0, part.x0 - view.x0 : part.x1 - view.x0]
        valid = example.valid[part.area]
        found, truth = found[valid], example.labels[part.area][valid]
        if self.context.kind == "instance":
            return dice(found > 0, truth > 0, [1])
        return dice(found, truth, [i for i in np.unique(truth) if i] or [i for i in self.palette.ids if i])

    def _around(self, shape: tuple[int, ...], part: Tile, axis: int) -> tuple[int, int]:
        """Ends along an axis of the tile around ``part``, within the slice."""
        low, high = ((part.y0, part.y1), (part.x0, part.x1))[axis]
        side = min(shape[axis], self.tile[axis])
        start = min(max(0, (low + high - side) // 2), shape[axis] - side)
        return start, start + side

    def _tensor(self, image: NDArray[np.float32]) -> Tensor:
        """(H, W, C) in [0, 1] -> (1, 3, H, W), normalised."""
        pixels = np.ascontiguousarray(three_channels(image).transpose(2, 0, 1)[None])
        return normalize(torch.from_numpy(pixels).to(self.predictor.device))


def choose(examples: Sequence[Example], most: int) -> list[int]:
    """Numbers of up to ``most`` examples that show every label, if so few can; the others are spread evenly."""
    spread = [int(i) for i in np.linspace(0, len(examples) - 1, min(len(examples), most)).round()]
    missing, needed = {i for e in examples for i in e.ids}, list[int]()
    while missing and len(needed) < most:
        needed.append(max([*spread, *range(len(examples))], key=lambda k: len(missing.intersection(examples[k].ids))))
        missing -= {*examples[needed[-1]].ids}
    others = [k for k in spread if k not in needed]
    return sorted([*needed, *others[: most - len(needed)]])


@contextmanager
def frozen(network: SegGpt) -> Iterator[None]:
    """No gradients for weights meanwhile; of a large network, only what is needed is kept for those of its input."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    blocks: list[Any] = list(network.blocks) if sum(p.numel() for p in network.parameters()) > LARGE else []
    for parameter in learning:
        parameter.requires_grad_(False)
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for block in blocks:
            del block.forward
