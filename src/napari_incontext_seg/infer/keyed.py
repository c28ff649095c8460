"""`KeyedSegGpt`: a SegGPT network that is shown learned prompts instead of the examples that they were learned from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.canvas import Canvas, fit_canvas
from ..core.instances import distinct_neighbours
from ..core.palette import Palette
from ..core.spacing import match_context
from ..core.tiling import crop_example
from ..core.types import Context, Example
from ..errors import InputError, KeyFileError, ModelError
from .key import Key, rounded
from .painting import SegGptPredictor, SegGptSegmenter, View, numbered, plan_with_halo
from .tuning import Budget

STRETCH = 1.25  # a plane that is so much larger than the prompt is still shown in one window


class KeyedSegGpt(SegGptPredictor):
    """A SegGPT with a key of method ``prompt``.

    Where the context holds an example of the key, what was learned is shown in its place; other examples join
    in the key's colours. With none of the key's examples in the context, all of them are shown.

    Raises
    ------
    KeyFileError
        The key is another model's, or does not fit the network.
    ModelError
        Recolourings were asked for.
    """

    def __init__(self, base: SegGptPredictor, key: Key) -> None:
        key.check_model(base.name, base.digest)
        check_recolourings(base)
        super().__init__(
            base.network,
            name=f"{base.name}+key",
            digest=f"{base.digest}+{key.digest}",
            device=base.device,
            ensemble=base.ensemble,
            approximate=base.approximate,
        )
        window, examples = self.network.config.window, len(key.context.examples)
        expected = {"images": (examples, 3, *window), "targets": (examples, 3, *window), "tile": (2,)}
        if key.method != "prompt" or {name: t.shape for name, t in key.tensors.items()} != expected:
            raise KeyFileError(
                f"the key does not fit {base.name}: prompts of {window} pixels are needed. Tune it again."
            )
        if key.palette is None or not (key.tensors["tile"] >= 1).all():
            raise KeyFileError("the key holds no colours, or no size of what it shows. Tune it again.")
        self.key, self.palette = key, key.palette
        self.tile = float(key.tensors["tile"][0]), float(key.tensors["tile"][1])
        self.images, self.targets = (
            torch.from_numpy(key.tensors[name].astype(np.float32)).to(self.device) for name in ("images", "targets")
        )
        side = round(self.tile[0]), round(self.tile[1])
        self.valid = [window_of(crop_example(e, side), window) for e in numbered(key.context)]

    def bind(self, context: Context) -> SegGptSegmenter:
        """Return a segmenter that paints what the key and ``context`` show.

        Raises
        ------
        InputError
            Labels that the key does not know, or of another kind.
        """
        if context.kind != self.key.kind:
            raise InputError(f"the key paints labels of kind {self.key.kind}; got {context.kind}. Choose that kind.")
        places: dict[str, int] = {}
        for spacing in {e.spacing for e in context.examples}:
            matched = match_context(self.key.context, spacing)
            places |= {e.digest: k for k, e in enumerate(matched.examples)}
        shown: dict[object, tuple[int | None, Example]] = {}
        for example in context.examples:
            place = places.get(example.digest, places.get(rounded(example).digest))
            shown[place if place is not None else example.digest] = (place, example)
        if all(place is None for place, _ in shown.values()):
            own = match_context(self.key.context, context.examples[0].spacing).examples
            shown = {**dict(enumerate(enumerate(own))), **shown}
        learned, examples = zip(*shown.values(), strict=True)
        joined = replace(context, examples=examples)
        if not self.key.learned.kept:  # the prompt is what the tuning began with
            return SegGptSegmenter(self, joined)
        return KeyedSegmenter(self, joined, learned)

    def tuned(self, context: Context, budget: Budget) -> Key:
        """Raise InputError: what is tuned already is not tuned again."""
        raise InputError("this model uses a key already: tune it without, on all the examples.")


class KeyedSegmenter(SegGptSegmenter):
    """A `KeyedSegGpt` bound to a context; ``learned`` holds each example's number in the key, or None."""

    predictor: KeyedSegGpt

    def __init__(self, predictor: KeyedSegGpt, context: Context, learned: tuple[int | None, ...]) -> None:
        super().__init__(predictor, context)
        self._learned = learned
        known = [i for i in predictor.palette.ids if i]
        if context.kind == "instance":
            self._examples = tuple(
                replace(e, labels=distinct_neighbours(e.labels, count=len(known))) for e in context.examples
            )
        new = {i for e in self._examples for i in e.ids if i} - set(known)
        if new and context.kind == "semantic":
            raise InputError(
                f"the key knows the labels {known}, and not {sorted(new)[:5]}: leave these out, or tune with them."
            )
        first = next(k for k, place in enumerate(learned) if place is not None)
        shape = predictor.key.context.examples[learned[first] or 0].labels.shape
        here = context.examples[first].labels.shape
        self._zoom = here[0] / shape[0], here[1] / shape[1]  # the key's pixels may have had another size

    def _view(self, shape: tuple[int, int]) -> View:
        """As much of the plane in a window as the prompt shows of its slice, so that both have one scale."""
        if shape not in self._views:
            window = self.predictor.network.config.window
            tile = [t * z for t, z in zip(self.predictor.tile, self._zoom, strict=True)]
            height, width = (n if n <= STRETCH * t else max(1, round(t)) for n, t in zip(shape, tile, strict=True))
            plan = plan_with_halo(shape, (height, width))
            rows, columns = (min(w, max(1, round(w * n / t))) for w, n, t in zip(window, plan.tile, tile, strict=True))
            examples = tuple(crop_example(example, plan.tile) for example in self._examples)
            self._views[shape] = View(plan, Canvas(plan.tile, (rows, columns), window), examples)
        return self._views[shape]

    def _palettes(self, seed: int) -> list[Palette]:
        return [self.predictor.palette]

    def _pair(self, number: int, view: View, palette: Palette) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        place = self._learned[number]
        if place is None:
            return super()._pair(number, view, palette)
        return self.predictor.images[place], self.predictor.targets[place], self.predictor.valid[place]


def window_of(cut: Example, window: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels (H, W) of a window are annotated when it shows ``cut``."""
    return fit_canvas(cut.labels.shape, window, keep_aspect=False).place_labels(cut.valid)


def check_recolourings(predictor: SegGptPredictor) -> None:
    """Raise ModelError if a predictor is to paint in other colours than those that a key learns."""
    if predictor.recolourings > 1:
        raise ModelError("a key has learned one set of colours, so recolourings must be 1: leave --recolour out.")
