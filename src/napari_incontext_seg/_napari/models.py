"""Models by name: what there is to choose from, and making one ready in a run's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..model.weights import KnownWeights, fetch, find, known_weights
from .job import Stop
from .responsive import load_torch

if TYPE_CHECKING:
    from ..core.types import Context, Predictor
    from ..infer.key import Key
    from ..session.settings import RunSettings

FILE = "open a file"  # what a choice means that opens a file dialog
Say = Callable[[str], None]
Share = Callable[[float], None]


class Cancelled(Exception):
    """A download was given up because the run was cancelled."""


def model_choices() -> list[tuple[str, Any]]:
    """What to read and what is meant, for every model: built-in ones, known weights with their size, a file."""
    known = [
        (f"{w.name} ({'on this machine' if find(w.name) else f'download, {w.size_text}'})", w.name)
        for w in known_weights()
    ]
    return [("micro (built in)", "auto"), ("guess (built in, no network)", "guess"), *known, ("Weights file …", FILE)]


def to_download(model: str) -> KnownWeights | None:
    """The weights that would have to be fetched before this model can paint."""
    return next((w for w in known_weights() if w.name == model and find(w.name) is None), None)


def question(weights: KnownWeights) -> str:
    """What a person is asked before anything is fetched."""
    return (
        f"The model {weights.name} is not on this machine.\n\n"
        f"Download {weights.size_text} from {weights.url().split('/')[2]}? Licence: {weights.licence}.\n"
        "It is kept, so this happens once."
    )


def ready_predictor(settings: RunSettings, stop: Stop, say: Say, share: Share) -> Predictor:
    """Load a model, fetching its weights if that was agreed to; called in a thread, where torch is imported.

    Raises
    ------
    InContextError
        The model cannot be had.
    """
    weights = to_download(settings.model)
    if weights is not None:
        say(f"downloading {weights.name} …")

        def on_progress(done: int, total: int | None) -> None:
            if stop():
                raise Cancelled
            share(done / total if total else 0.0)

        fetch(weights.name, progress=on_progress)
    say("loading the model …")
    load_torch()
    from ..infer.predictor import load_predictor

    return load_predictor(
        settings.model,
        device=settings.device,
        ensemble=settings.ensemble,
        quality=settings.quality,
        key=settings.key,
        recolourings=1 if settings.tune_seconds is not None else None,
    )


def tuned_predictor(
    predictor: Predictor, context: Context, seconds: float, stop: Stop, say: Say, share: Share
) -> tuple[Predictor, Key]:
    """Tune a model on the examples; called in a thread."""
    from ..infer.tuning import apply_key, tune

    say(f"tuning for {seconds:.0f} s …")
    key = tune(predictor, context, seconds=seconds, on_progress=share, should_stop=stop)
    say(str(key.learned))
    return apply_key(predictor, key), key
