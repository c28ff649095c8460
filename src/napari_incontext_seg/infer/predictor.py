"""`load_predictor`: from a model's name or file to something that can be shown a context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.types import Predictor
from ..errors import ModelError
from .device import resolve_device
from .guess import GuessPredictor
from .tuning import apply_key

if TYPE_CHECKING:
    from .key import Key
    from .painting import Ensemble

DEFAULT = "guess"


def load_predictor(
    model: str | Path = "auto",
    *,
    device: str = "auto",
    ensemble: Ensemble = "feature",
    recolourings: int = 1,
    key: Key | str | Path | None = None,
) -> Predictor:
    """Load a model.

    Parameters
    ----------
    model
        ``auto`` (the best that needs no download), ``guess`` (closed form, no weights), the name of known weights
        that were fetched before, or a checkpoint file or folder.
    device
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    ensemble, recolourings
        How a SegGPT uses several examples and colourings: see `SegGptPredictor`; ``guess`` needs neither.
    key
        What a tuning of this model learned, or its file: see `tune`.

    Raises
    ------
    ModelError
        An unknown name, or known weights that are not here yet.
    CheckpointError
        A file that holds no such model.
    KeyFileError
        A key that is none, or of another model.
    DeviceError
        No such device.
    """
    if key is not None:
        plain = load_predictor(model, device=device, ensemble=ensemble, recolourings=recolourings)
        return apply_key(plain, key)
    where = resolve_device(device)
    name = str(model)
    if name in ("auto", DEFAULT):
        return GuessPredictor(device=where)
    # here, not above: timm takes seconds to import, and the closed form does without
    from ..model.checkpoint import load_model
    from .painting import SegGptPredictor

    loaded = load_model(_checkpoint(name))
    return SegGptPredictor(
        loaded.network,
        name=loaded.name,
        digest=loaded.digest,
        device=where,
        ensemble=ensemble,
        recolourings=recolourings,
    )


def _checkpoint(name: str) -> Path:
    """The file of a model given by name or path."""
    from ..model.weights import find, known_weights

    known = {w.name for w in known_weights()}
    if name in known:
        path = find(name)
        if path is None:
            raise ModelError(
                f"the weights {name} are not on this machine: run `incontext-seg weights fetch {name}` once."
            )
        return path
    path = Path(name).expanduser()
    if path.exists():
        return path
    raise ModelError(f"no model or file {name!r}: use auto, guess, {', '.join(sorted(known))}, or a checkpoint file.")


def model_names() -> dict[str, str]:
    """Name -> state of every model that can be asked for."""
    from ..model.weights import find, known_weights

    states = {w.name: "fetched" if find(w.name) else "not fetched" for w in known_weights()}
    return {DEFAULT: "built in", **states}
