"""`ClosedFormPredictor`: what `guess` and `micro` have in common, and `GuessPredictor`, which needs no weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from itertools import repeat
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.palette import scores_to_labels
from ..core.types import Context, Example, Kind, Labels, Plane, Segmentation, as_plane
from ..errors import InputError, ModelError
from .guess import TILE, Guess, Respond, Shown, fit, image_features
from .places import Places
from .ridge import UNITS

if TYPE_CHECKING:
    from ..core.splitting import Splitting
    from .painting import Ensemble

Quality: TypeAlias = Literal["fast", "balanced", "best"]
QUALITIES: tuple[Quality, ...] = get_args(Quality)
CACHED = 4  # contexts
PRESENT = 0.5  # of the example's usual confidence: a plane of which no pixel reaches it shows nothing of the kind
BLANK = 0.01  # of the examples' deviation: a plane that varies less shows nothing
LARGE = 2**22  # pixels of a plane; a larger one is painted tile by tile, and places are not asked
View: TypeAlias = Callable[[Tensor], Tensor]

# how `best` looks at a plane (B, C, Y, X); each is its own inverse
VIEWS: tuple[View, ...] = (
    lambda planes: planes,
    lambda planes: planes.flip(-1),
    lambda planes: planes.flip(-2),
    lambda planes: planes.transpose(-1, -2),
)


class ClosedFormPredictor(ABC):
    """Paints by ridge regression on what it sees of the examples.

    Parameters
    ----------
    device
        Where it runs.
    ensemble
        ``feature``: one regression on all examples; ``none``: one on each that shows anything, outcomes averaged, and
        where they disagree is told. Examples of nothing but background are in every regression.
    quality
        ``fast`` paints in one stage instead of two, on half as many random features; ``best`` averages over mirrored
        views of a plane.

    Raises
    ------
    ModelError
        An ensemble or quality that is not known.
    """

    name: str
    digest: str
    knows_places = False  # whether it asks where in the plane a class lies

    def __init__(
        self, device: torch.device | str = "cpu", *, ensemble: Ensemble = "feature", quality: Quality = "balanced"
    ) -> None:
        if ensemble not in ("feature", "none"):
            raise ModelError(f"{self.name} joins examples by the ensembles feature or none; got {ensemble!r}.")
        if quality not in QUALITIES:
            raise ModelError(f"quality must be one of {', '.join(QUALITIES)}; got {quality!r}.")
        self.device = torch.device(device)
        self.ensemble: Ensemble = ensemble
        self.quality: Quality = quality
        self._segmenters: dict[str, ClosedFormSegmenter] = {}

    def bind(self, context: Context) -> ClosedFormSegmenter:
        """Return a segmenter that paints what ``context`` shows.

        Raises
        ------
        InputError
            Examples of different numbers of channels.
        """
        segmenter = self._segmenters.pop(context.fingerprint, None) or ClosedFormSegmenter(self, context)
        self._segmenters[context.fingerprint] = segmenter  # the last used is the last to go
        if len(self._segmenters) > CACHED:
            del self._segmenters[next(iter(self._segmenters))]
        return segmenter

    @abstractmethod
    def see(self, planes: Tensor) -> Tensor:
        """Features (B, F, Y, X) of standardised planes (B, C, Y, X)."""

    def second_opinion(self, kind: Kind, ids: tuple[int, ...]) -> Respond | None:
        """What is averaged with the guess: from standardised planes (B, C, Y, X) to scores (B, K, Y, X) of ``ids``.

        Raises
        ------
        InputError
            It knows other classes, or labels of another kind.
        """
        return None


class GuessPredictor(ClosedFormPredictor):
    """The closed form on filter responses: needs no weights, no network and no GPU."""

    name = "guess"
    digest = "guess-2"

    def see(self, planes: Tensor) -> Tensor:
        """Features (B, F, Y, X) of standardised planes (B, C, Y, X)."""
        return image_features(planes)


class ClosedFormSegmenter:
    """A `ClosedFormPredictor` bound to a context. Made by its ``bind``.

    Attributes
    ----------
    ids
        Of the classes that are scored: for kind ``instance`` those of `Splitting.classes`.
    """

    def __init__(self, predictor: ClosedFormPredictor, context: Context) -> None:
        self.predictor, self.context = predictor, context
        maps, self._splitting = class_maps(context)
        self.ids = _ids(maps, context)
        shown = [self._shown(e, classes) for e, classes in zip(context.examples, maps, strict=True)]
        self._guesses = [self._fitted(part, predictor.see) for part in self._parts(shown)]
        self._deviation = np.max([e.image.std((0, 1)) for e in context.examples], axis=0)
        self._opinion = predictor.second_opinion(self.context.kind, self.ids)
        self._views = VIEWS if predictor.quality == "best" else VIEWS[:1]
        self._places = None
        if predictor.knows_places and len(self.ids) > 1:
            quality = np.mean([float(guess.quality) for guess in self._guesses])
            self._places = Places.of(shown, float(quality))
        # of several classes a pixel may be unsure which one it shows, but not that it shows one
        one_kind = self.ids[0] == 0 and (len(self.ids) == 2 or (context.kind == "instance" and len(self.ids) == 3))
        self._present = PRESENT * _mean([guess.sureness for guess in self._guesses]).item() if one_kind else 0.0

    def __call__(self, plane: Plane, /) -> Segmentation:
        plane = as_plane(plane)
        large = plane.shape[0] * plane.shape[1] > LARGE
        paint = self._tilewise if large and not self._several else self._whole
        if self.ids[0] == 0 and self._blank(plane):
            paint = self._nothing
        labels, confidence, disagreement = TILE.attempt(lambda _: paint(plane))
        if self._splitting is not None:
            labels = self._splitting(labels)
        provenance = {
            "model": self.predictor.name,
            "digest": self.predictor.digest,
            "context": self.context.fingerprint,
            "kind": self.context.kind,
            "ensemble": self.predictor.ensemble,
            "quality": self.predictor.quality,
        }
        return Segmentation(labels, confidence, provenance, disagreement)

    def scores(self, plane: Plane) -> NDArray[np.float32]:
        """Scores (Y, X, K) of the classes `ids`, about [0, 1], averaged over examples and views."""
        _, opinions = self._opinions(plane)
        return _last(self._placed(_mean(opinions)))

    def asking(self, predictor: ClosedFormPredictor) -> ClosedFormSegmenter:
        """The same with another predictor's second opinion; what was fitted stays."""
        other = copy(self)
        other.predictor, other._opinion = predictor, predictor.second_opinion(self.context.kind, self.ids)
        return other

    def _parts(self, shown: Sequence[Shown]) -> list[list[Shown]]:
        """The examples that are fitted together."""
        if self.predictor.ensemble != "none":
            return [list(shown)]
        objects = [any(e.ids) for e in self.context.examples]
        grounds = [s for s, any_object in zip(shown, objects, strict=True) if not any_object]
        return [[s, *grounds] for s, any_object in zip(shown, objects, strict=True) if any_object]

    @property
    def _several(self) -> bool:
        return len(self._guesses) * len(self._views) > 1

    def _blank(self, plane: Plane) -> bool:
        """Whether a plane has no content, such as padding."""
        return plane.shape[2] == len(self._deviation) and bool((plane.std((0, 1)) <= BLANK * self._deviation).all())

    def _nothing(self, plane: Plane) -> tuple[Labels, NDArray[np.float32], NDArray[np.float32] | None]:
        """Background, of which nothing says how sure it is."""
        confidence = np.zeros(plane.shape[:2], np.float32)
        return np.zeros(plane.shape[:2], np.uint32), confidence, confidence.copy() if self._several else None

    def _tilewise(self, plane: Plane) -> tuple[Labels, NDArray[np.float32], None]:
        """As `_whole` without places; memory hardly grows with the plane."""
        labels, confidence = np.empty(plane.shape[:2], np.uint32), np.empty(plane.shape[:2], np.float32)
        guess, planes, sure = self._guesses[0], self._tensor(plane), False
        others = guess.ask_tiles(planes, self._opinion) if self._opinion else repeat((None, None))
        for (tile, scores), (_, other) in zip(guess.tiles(planes), others, strict=False):
            sure = sure or self._shows(*scores_to_labels(_last(scores), self.ids))
            joined = scores if other is None else (scores + other) / 2
            labels[tile.area], confidence[tile.area] = scores_to_labels(_last(joined), self.ids)
        if not sure:
            confidence[labels > 0] = 0
            labels[:] = 0
        return labels, confidence, None

    def _whole(self, plane: Plane) -> tuple[Labels, NDArray[np.float32], NDArray[np.float32] | None]:
        """Labels and confidence of the mean of all opinions, and, of several, the share that say something else.

        Confidence is that of the looks alone: a blurred prior knows no borders. It is 0 where something else is painted
        than they say, because of its place or because the plane shows nothing of the kind.
        """
        closed_form, opinions = self._opinions(plane)
        mean = _mean(opinions)
        looks, confidence = scores_to_labels(_last(mean), self.ids)
        labels, _ = scores_to_labels(_last(self._placed(mean)), self.ids)
        # a tuned network is always sure of something: only the closed form knows how sure it is of the example
        if not self._shows(*scores_to_labels(_last(_mean(closed_form)), self.ids)):
            labels[:] = 0
        confidence = np.where(labels == looks, confidence, np.float32(0))
        if len(opinions) == 1:
            return labels, confidence, None
        others = [scores_to_labels(_last(opinion), self.ids)[0] != labels for opinion in opinions]
        return labels, confidence, np.mean(others, axis=0, dtype=np.float32)

    def _shows(self, labels: Labels, confidence: NDArray[np.float32]) -> bool:
        """Whether a pixel, of one kind a sure one, says that a plane shows anything of what the context shows."""
        return bool(confidence.max(where=labels > 0, initial=0) > self._present)

    def _opinions(self, plane: Plane) -> tuple[list[Tensor], list[Tensor]]:
        """Scores (1, K, Y, X) of each guess and view: the closed form's, and the same with the second opinion."""
        planes = self._tensor(plane)
        closed_form, joined = [], []
        for guess in self._guesses:
            for view in self._views:
                scores = view(guess.paint(view(planes)))
                closed_form.append(scores)
                if self._opinion is not None:
                    scores = (scores + view(guess.ask(view(planes), self._opinion))) / 2
                joined.append(scores)
        return closed_form, joined

    def _placed(self, scores: Tensor) -> Tensor:
        large = scores.shape[-2] * scores.shape[-1] > LARGE
        return scores if self._places is None or large else self._places.added(scores)

    def _fitted(self, shown: Sequence[Shown], see: Respond) -> Guess:
        effort = {"stages": 1, "units": UNITS // 2} if self.predictor.quality == "fast" else {}
        return TILE.attempt(lambda _: fit(shown, background=self.ids[0] == 0, see=see, **effort))

    def _tensor(self, plane: Plane) -> Tensor:
        example = self.context.examples[0].image
        if plane.shape[2] != example.shape[2]:
            raise InputError(
                f"the examples show {_channels(example)}, the image {_channels(plane)}: choose as many of each, such "
                "as --channels 0 (channels=[0]), or mix them."
            )
        return torch.tensor(plane, device=self.predictor.device).movedim(2, 0)[None].contiguous()

    def _shown(self, example: Example, classes: Labels) -> Shown:
        targets = np.stack([(classes == i) & example.valid for i in self.ids]).astype(np.float32)
        valid, device = torch.tensor(example.valid), self.predictor.device
        return self._tensor(example.image), torch.tensor(targets, device=device)[None], valid.to(device)[None]


def class_maps(context: Context) -> tuple[list[Labels], Splitting | None]:
    """Class maps (Y, X) of the examples, and, of kind ``instance``, how painted classes become objects."""
    if context.kind == "semantic":
        return [e.labels for e in context.examples], None
    from ..core.splitting import Splitting  # scikit-image, without which training must do

    splitting = Splitting.of(context.examples)
    return [splitting.classes(e.labels) for e in context.examples], splitting


def class_ids(context: Context) -> tuple[int, ...]:
    """Ids of the classes that are scored."""
    return context.ids if context.kind == "semantic" else _ids(class_maps(context)[0], context)


def _ids(maps: Sequence[Labels], context: Context) -> tuple[int, ...]:
    annotated = [classes[e.valid] for e, classes in zip(context.examples, maps, strict=True)]
    return tuple(sorted({int(i) for classes in annotated for i in np.unique(classes)}))


def _channels(plane: Plane) -> str:
    """How many there are, in words: of two a stack shows red and green, and no blue."""
    number = 2 if plane.shape[2] == 3 and not plane[..., 2].any() else plane.shape[2]
    return f"{number} channel{'s' * (number != 1)}"


def _mean(opinions: Sequence[Tensor]) -> Tensor:
    return opinions[0] if len(opinions) == 1 else torch.stack(list(opinions)).mean(0)


def _last(scores: Tensor) -> NDArray[np.float32]:
    """(1, K, Y, X) on any device -> (Y, X, K)."""
    return scores[0].movedim(0, 2).cpu().numpy()
