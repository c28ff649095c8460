"""`SegGptPredictor`: a SegGPT network as a predictor. Colours the examples, has the query painted, reads it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.canvas import Canvas, choose_tile, fit_canvas, object_size
from ..core.instances import components, distinct_neighbours
from ..core.palette import Palette, merge, passes
from ..core.tiling import TilePlan, blend_many, crop_example, plan_tiles
from ..core.types import Context, Example, Labels, Plane, Segmentation, as_plane
from ..errors import ModelError
from ..model.seggpt import SegGpt, denormalize, normalize, spatial_ensemble
from ..model.shown import ShownExamples
from .memory import Portion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .key import Key
    from .tuning import Budget

Ensemble: TypeAlias = Literal["none", "feature", "spatial"]
ENSEMBLES: tuple[Ensemble, ...] = ("none", "feature", "spatial")
HALO = 1 / 8  # of a tile: pixels at a tile's border that another tile decides
KEPT = 8  # colourings of examples that a segmenter keeps ready
AT_ONCE = 8  # windows that a GPU paints at a time; a CPU gains nothing by more than one
MIN_ANNOTATED = 0.5  # of a patch's pixels; a target patch with less is hidden from the network


@dataclass(frozen=True)
class Prompt:
    """The examples as the network takes them: images and targets (1, K, 3, H, W), and the hidden patches, if any."""

    images: Tensor
    targets: Tensor
    hidden: Tensor | None


@dataclass(frozen=True)
class View:
    """How planes of one shape are shown to the network: cut into tiles, each resized to the window.

    ``examples`` are cut to match the tiles.
    """

    plan: TilePlan
    canvas: Canvas
    examples: tuple[Example, ...]


class SegGptPredictor:
    """Shows a context to a SegGPT network.

    Parameters
    ----------
    network
        From `model.registry.create_model` or `model.checkpoint.load_model`.
    name, digest
        For provenance; ``digest`` is the SHA-256 of the weights.
    device
        Where it runs.
    ensemble
        How several examples are joined: ``feature`` (attention averaged), ``spatial`` (tiled into one canvas),
        ``none`` (painted apart, outcomes averaged).
    recolourings
        Random colourings that vote; 1 uses fixed, well-separated colours.
    approximate
        APPROXIMATE and faster: the examples look at the first plane painted and no other (`SegGpt.freeze`). What
        comes out depends on which plane that was.

    References
    ----------
    Wang et al., SegGPT (arXiv 2304.03284).
    """

    def __init__(
        self,
        network: SegGpt,
        *,
        name: str,
        digest: str,
        device: torch.device | str = "cpu",
        ensemble: Ensemble = "feature",
        recolourings: int = 1,
        approximate: bool = False,
    ) -> None:
        if ensemble not in ENSEMBLES:
            raise ModelError(f"ensemble must be one of {', '.join(ENSEMBLES)}; got {ensemble!r}.")
        if recolourings < 1:
            raise ModelError(f"recolourings must be at least 1; got {recolourings}.")
        self.name, self.digest = name, digest
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.ensemble: Ensemble = ensemble
        self.recolourings, self.approximate = recolourings, approximate
        self.at_once = Portion(AT_ONCE if self.device.type == "cuda" else 1, "windows")

    def bind(self, context: Context) -> SegGptSegmenter:
        """Return a segmenter that paints what ``context`` shows."""
        return SegGptSegmenter(self, context)

    def tuned(self, context: Context, budget: Budget) -> Key:
        """Learn a prompt that paints the examples better than they do themselves: see `infer.tuning.tune`."""
        from .prompt_tuning import tune_prompt

        return tune_prompt(self, context, budget)

    def with_key(self, key: Key) -> SegGptPredictor:
        """Return a predictor that shows the network what ``key`` learned."""
        from .keyed import KeyedSegGpt

        return KeyedSegGpt(self, key)


class SegGptSegmenter:
    """A `SegGptPredictor` bound to a context. Made by its ``bind``."""

    def __init__(self, predictor: SegGptPredictor, context: Context) -> None:
        self.predictor, self.context = predictor, context
        self._examples = numbered(context)
        self._ids = sorted({i for example in self._examples for i in example.ids})
        self._views: dict[tuple[int, int], View] = {}
        self._shown: dict[tuple[tuple[int, int], int, int], ShownExamples] = {}
        self._object_size = min(object_size(e.labels) for e in context.examples)

    def __call__(self, plane: Plane, /) -> Segmentation:
        return self.many([plane])[0]

    @property
    def at_once(self) -> int:
        """Planes that `many` should be given for speed."""
        return self.predictor.at_once.size

    def many(self, planes: Sequence[Plane]) -> list[Segmentation]:
        """Paint several planes of one shape: as many of their tiles at a time as the device has memory for."""
        planes = [as_plane(plane) for plane in planes]
        view = self._view((planes[0].shape[0], planes[0].shape[1]))
        colourings = [self._colouring(planes, view, seed) for seed in range(self.predictor.recolourings)]
        return [self._voted(view, painted) for painted in zip(*colourings, strict=True)]

    def _voted(self, view: View, painted: Sequence[tuple[Labels, NDArray[np.float32]]]) -> Segmentation:
        labels, confidence, disagreement = vote(painted)
        if self.context.kind == "instance":
            labels = components(labels)
        return Segmentation(labels, confidence, self._provenance(view), disagreement)

    @property
    def examples(self) -> tuple[Example, ...]:
        """The examples as they are coloured: see `numbered`."""
        return self._examples

    def tile(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that one window shows of planes of a shape."""
        return self._view(shape).plan.tile

    def _view(self, shape: tuple[int, int]) -> View:
        """The whole plane in one window, or tiles where the examples' objects would become too small."""
        if shape not in self._views:
            window = self.predictor.network.config.window
            tile = choose_tile(shape, window, self._object_size)
            plan = plan_with_halo(shape, tile)
            examples = tuple(crop_example(example, plan.tile) for example in self._examples)
            self._views[shape] = View(plan, fit_canvas(plan.tile, window, keep_aspect=False), examples)
        return self._views[shape]

    def _colouring(self, planes: Sequence[Plane], view: View, seed: int) -> list[tuple[Labels, NDArray[np.float32]]]:
        """Paint planes once, in as many passes as their labels need."""
        parts = []
        for number, palette in enumerate(self._palettes(seed)):
            paint = partial(self._paint, view, palette, (seed, number))
            painted = blend_many(paint, planes, view.plan, self.predictor.at_once.size)
            parts.append([palette.decode(colours) for colours in painted])
        return [merge(list(passes_of_plane)) for passes_of_plane in zip(*parts, strict=True)]

    def _palettes(self, seed: int) -> list[Palette]:
        """The colours of each pass."""
        random = np.random.default_rng(seed)
        return [Palette.fixed(ids) if seed == 0 else Palette.random(ids, random) for ids in passes(self._ids)]

    def _prompt(self, view: View, palette: Palette) -> Prompt:
        """The examples as network input."""
        images, targets, valid = zip(*(self._pair(k, view, palette) for k in range(len(view.examples))), strict=True)
        return self.join(torch.stack(images), torch.stack(targets), np.stack(valid))

    def _pair(self, number: int, view: View, palette: Palette) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        """An example as the network takes it: image and target (3, H, W), and which pixels (H, W) are annotated."""
        example, canvas = view.examples[number], view.canvas
        if example.labels.shape != canvas.shape:
            canvas = fit_canvas(example.labels.shape, self.predictor.network.config.window, keep_aspect=False)
        image = three_channels(canvas.place_image(example.image))
        target = palette.paint(canvas.place_labels(example.labels))
        image_tensor, target_tensor = self._tensor(np.stack([image, target]))
        return image_tensor, target_tensor, canvas.place_labels(example.valid)

    def join(self, images: Tensor, targets: Tensor, valid: NDArray[np.bool_]) -> Prompt:
        """Examples (K, 3, H, W), colours (K, 3, H, W), annotated pixels (K, H, W) -> what the network is shown."""
        prompt = images[None], targets[None]
        if self.predictor.ensemble == "spatial":
            flags = self._tensor(valid[..., None].repeat(3, axis=3).astype(np.float32), colours=False)[None]
            _, flags = spatial_ensemble(prompt[0], flags)
            return Prompt(*spatial_ensemble(*prompt), self._hidden(flags[:, :, 0] > 0.5))
        return Prompt(*prompt, self._hidden(torch.from_numpy(valid)[None]))

    def _hidden(self, valid: Tensor) -> Tensor | None:
        """Valid pixels (1, K, H, W) -> the patches (1, (K + 1) * tokens) that were hardly annotated, and the query's.

        None where everything was annotated.
        """
        if valid.all():
            return None
        patch = self.predictor.network.config.patch_size
        share = torch.nn.functional.avg_pool2d(valid.float(), patch)
        hidden = torch.cat([share < MIN_ANNOTATED, torch.ones_like(share[:, :1], dtype=torch.bool)], dim=1)
        return hidden.flatten(1).to(self.predictor.device)

    def _paint(
        self, view: View, palette: Palette, colouring: tuple[int, int], tiles: list[Plane]
    ) -> Iterator[NDArray[np.float32]]:
        """Colours (h, w, 3) in [0, 1] of each tile."""

        @torch.inference_mode()
        def paint(some: Sequence[Plane]) -> list[NDArray[np.float32]]:
            queries = self._tensor(np.stack([three_channels(view.canvas.place_image(tile)) for tile in some]))
            painted = self.predictor.network.paint(queries, self._examples_shown(view, palette, colouring, queries[:1]))
            return [view.canvas.recover(as_colours(one)) for one in torch.split(painted, 1)]

        return self.predictor.at_once.portions(tiles, paint)

    def _examples_shown(self, view: View, palette: Palette, colouring: tuple[int, int], query: Tensor) -> ShownExamples:
        """What the network has taken in of the examples in these colours; kept, as it does not depend on the query.

        If the predictor is approximate, ``query`` is what the examples look at for good.
        """
        place = (view.plan.shape, *colouring)
        if place not in self._shown:
            prompt = self._prompt(view, palette)
            shown = self.predictor.network.show(prompt.images, prompt.targets, **self._manner(prompt))
            if self.predictor.approximate:
                shown = self.predictor.network.freeze(query, shown)
            self._shown[place] = shown
            if len(self._shown) > KEPT:
                del self._shown[next(iter(self._shown))]
        return self._shown[place]

    def _manner(self, prompt: Prompt) -> dict[str, Any]:
        """How the network is shown a prompt."""
        return {
            "seg_type": self.context.kind,
            "ensemble": "feature" if self.predictor.ensemble == "feature" else "none",
            "query_target": None if prompt.hidden is None else torch.zeros_like(prompt.images[:, 0]),
            "mask": prompt.hidden,
        }

    def forward(self, query: Tensor, prompt: Prompt) -> Tensor:
        """Have the network paint a query (1, 3, H, W): normalised colours of that shape."""
        painted: Tensor = self.predictor.network(query, prompt.images, prompt.targets, **self._manner(prompt))
        return painted

    def _tensor(self, images: NDArray[np.float32], *, colours: bool = True) -> Tensor:
        """(N, H, W, 3) in [0, 1] -> (N, 3, H, W) on the device, normalised if they are ``colours``."""
        tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(self.predictor.device)
        return normalize(tensor) if colours else tensor

    def _provenance(self, view: View) -> dict[str, object]:
        return {
            "model": self.predictor.name,
            "model_digest": self.predictor.digest,
            "context": self.context.fingerprint,
            "ensemble": self.predictor.ensemble,
            "recolourings": self.predictor.recolourings,
            "tiles": len(view.plan.tiles),
            **({"approximate": True} if self.predictor.approximate else {}),
        }


def numbered(context: Context) -> tuple[Example, ...]:
    """The examples as they are coloured: of single objects neighbours differ, as a few colours do for any number."""
    if context.kind == "semantic":
        return context.examples
    return tuple(replace(e, labels=distinct_neighbours(e.labels)) for e in context.examples)


def plan_with_halo(shape: tuple[int, int], tile: tuple[int, int]) -> TilePlan:
    """Cut a plane into tiles, whose borders do not count where there are several."""
    return plan_tiles(shape, tile, 0 if tile == shape else int(min(tile) * HALO))


def as_colours(painted: Tensor) -> NDArray[np.float32]:
    """What the network painted (1, 3, H, W) -> colours (H, W, 3) in [0, 1]."""
    colours: NDArray[np.float32] = denormalize(painted)[0].clamp(0, 1).permute(1, 2, 0).float().cpu().numpy()
    return colours


def three_channels(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey (H, W, 1) -> (H, W, 3); colour stays."""
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def vote(
    painted: Sequence[tuple[Labels, NDArray[np.float32]]],
) -> tuple[Labels, NDArray[np.float32], NDArray[np.float32] | None]:
    """Join several paintings of one plane: the label with the most confidence in all wins.

    Returns labels, confidence (the winner's sum over the number of paintings) and disagreement (the share of
    confidence that other labels got; None for a single painting), all (Y, X).
    """
    if len(painted) == 1:
        return (*painted[0], None)
    best = np.zeros(painted[0][0].shape, np.uint32)
    best_sum = np.full(best.shape, -1, np.float32)
    for label in sorted({int(i) for labels, _ in painted for i in np.unique(labels)}):
        total = sum((np.where(labels == label, c, 0) for labels, c in painted), np.zeros(best.shape, np.float32))
        better = total > best_sum
        best[better], best_sum[better] = label, total[better]
    everything = sum((c for _, c in painted), np.zeros(best.shape, np.float32))
    disagreement = 1 - best_sum / np.maximum(everything, 1e-6)
    return best, (best_sum / len(painted)).astype(np.float32), disagreement.clip(0, 1).astype(np.float32)
