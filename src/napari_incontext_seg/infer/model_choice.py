"""`ModelChoice`: which model, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.types import Predictor

if TYPE_CHECKING:
    from .closed_form import Quality
    from .painting import Ensemble


@dataclass(frozen=True)
class ModelChoice:
    """What `load_predictor` is asked for, as a value with which another process loads the same.

    The parameters are those of `load_predictor`; a key is given by its file. Calling it loads the model.

    Parameters
    ----------
    folder
        Where relative paths begin.
    """

    model: str | Path = "auto"
    device: str = "auto"
    ensemble: Ensemble = "feature"
    recolourings: int | None = None
    quality: Quality = "balanced"
    key: Path | None = None
    approximate: bool = False
    folder: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        if self.key is not None:
            object.__setattr__(self, "key", self.folder / Path(self.key).expanduser())

    def __call__(self) -> Predictor:
        from .predictor import load_predictor, model_names  # torch takes seconds to import

        model = self.model
        if str(model) not in ("auto", *model_names()) and (path := self.folder / Path(model).expanduser()).exists():
            model = path
        return load_predictor(
            model, device=self.device, ensemble=self.ensemble, recolourings=self.recolourings, quality=self.quality,
            key=self.key, approximate=self.approximate,
        )  # fmt: skip
