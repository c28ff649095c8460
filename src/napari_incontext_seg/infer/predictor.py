"""`load_predictor`: from a model's name or file to something that can be shown a context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.types import Predictor
from ..errors import ModelError
from .closed_form import QUALITIES, GuessPredictor, Quality
from .device import resolve_device
from .tuning import apply_key

if TYPE_CHECKING:
    from .key import Key
    from .painting import Ensemble

EMBEDDED = "micro"
BEST_RECOLOURINGS = 4


def load_predictor(
    model: str | Path = "auto",
    *,
    device: str = "auto",
    ensemble: Ensemble = "feature",
    recolourings: int | None = None,
    quality: Quality = "balanced",
    key: Key | str | Path | None = None,
    approximate: bool = False,
) -> Predictor:
    """Load a model.

    Parameters
    ----------
    model
        ``auto`` (the best that needs no download: ``micro``), ``micro`` (embedded), ``guess`` (closed form, no
        weights), the name of known weights that were fetched before, or a checkpoint file or folder.
    device
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    ensemble
        How several examples are used: see `SegGptPredictor` and `ClosedFormPredictor`.
    recolourings
        Random colourings that a SegGPT averages over; the closed forms ``micro`` and ``guess`` know no colours.
        Default: what the quality says.
    quality
        ``fast``, ``balanced`` or ``best``: `ClosedFormPredictor` says what that means. A SegGPT without a key averages
        over 4 recolourings for ``best``.
    key
        What a tuning of this model learned, or its file: see `tune`.
    approximate
        Of a SegGPT: APPROXIMATE and faster, see `SegGptPredictor`.

    Raises
    ------
    ModelError
        An unknown name, known weights that are not here yet, or what only a SegGPT knows asked of a closed form.
    CheckpointError
        A file that holds no such model.
    KeyFileError
        A key that is none, or of another model.
    DeviceError
        No such device.
    """
    if key is not None:
        plain = load_predictor(
            model, device=device, ensemble=ensemble, recolourings=recolourings or 1, quality=quality,
            approximate=approximate,
        )  # fmt: skip
        return apply_key(plain, key)
    if quality not in QUALITIES:
        raise ModelError(f"quality must be one of {', '.join(QUALITIES)}; got {quality!r}.")
    where = resolve_device(device)
    name = str(model)
    if name == "guess":
        _check_closed_form(name, recolourings, approximate)
        return GuessPredictor(where, ensemble=ensemble, quality=quality)
    # here, not above: the closed form does without
    from ..model.checkpoint import load_model
    from ..model.micro import Micro

    loaded = load_model(_checkpoint(name))
    if isinstance(loaded.network, Micro):
        _check_closed_form(loaded.name, recolourings, approximate)
        from .micro import MicroPredictor

        return MicroPredictor(
            loaded.network, name=loaded.name, digest=loaded.digest, device=where, ensemble=ensemble, quality=quality
        )
    from .painting import SegGptPredictor  # timm takes seconds to import

    if recolourings is None:
        recolourings = BEST_RECOLOURINGS if quality == "best" else 1
    return SegGptPredictor(
        loaded.network,
        name=loaded.name,
        digest=loaded.digest,
        device=where,
        ensemble=ensemble,
        recolourings=recolourings,
        approximate=approximate,
    )


def _check_closed_form(name: str, recolourings: int | None, approximate: bool) -> None:
    if recolourings is not None and recolourings > 1:
        raise ModelError(f"{name} paints without colours: --recolour (recolourings) is for a SegGPT, leave it out.")
    if approximate:
        raise ModelError(f"{name} looks at the examples alone: --approximate is for a SegGPT, leave it out.")


def _checkpoint(name: str) -> Path:
    """The file of a model given by name or path."""
    from ..model.weights import find, known_weights

    if name in ("auto", EMBEDDED):
        return Path(__file__).parents[1] / "model" / "assets" / f"{EMBEDDED}.safetensors"
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
    raise ModelError(
        f"no model or file {name!r}: use auto, micro, guess, {', '.join(sorted(known))}, or a checkpoint file."
    )


def model_names() -> dict[str, str]:
    """Name -> state of every model that can be asked for."""
    from ..model.weights import find, known_weights

    states = {w.name: "fetched" if find(w.name) else "not fetched" for w in known_weights()}
    return {EMBEDDED: "built in", "guess": "built in", **states}
