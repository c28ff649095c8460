"""`RunSettings`: everything that says how a run goes, as one value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ..core.types import KINDS, Kind
from ..errors import InputError
from ..io.labels import recorded_provenance
from ..io.paths import check_exists
from ..io.storing import read_plain

Where: TypeAlias = Literal["this", "onward", "backward", "both", "until_verified", "range"]
# the words of infer/, repeated here because importing them would import torch
Quality: TypeAlias = Literal["fast", "balanced", "best"]
Ensemble: TypeAlias = Literal["none", "feature", "spatial"]
Selection: TypeAlias = Literal["nearest", "similar"]
Meeting: TypeAlias = Literal["both", "meet"]


@dataclass(frozen=True)
class RunSettings:
    """How a run goes.

    Parameters
    ----------
    model, device, quality, ensemble
        What `infer.predictor.load_predictor` takes.
    kind
        ``"semantic"`` or ``"instance"``.
    memory, num_examples, select, along, names
        What `infer.propagate.propagate` takes.
    direction
        ``"meet"``: slices between two examples are painted from both sides.
    tune_seconds
        Tune the model on the examples for so long first.
    key
        File of what an earlier tuning learned; instead of tuning.
    where
        Which slices are painted, seen from the one on display.
    span
        (first, end) of the slices painted, if ``where`` is ``"range"``.
    """

    model: str = "auto"
    device: str = "auto"
    kind: Kind = "semantic"
    quality: Quality = "balanced"
    ensemble: Ensemble = "feature"
    memory: int = 0
    num_examples: int | None = None
    select: Selection = "nearest"
    tune_seconds: float | None = None
    key: Path | None = None
    where: Where = "both"
    span: tuple[int, int] | None = None
    along: str | None = None
    direction: Meeting = "both"
    names: bool = False

    def __post_init__(self) -> None:
        choices: tuple[tuple[str, tuple[str, ...]], ...] = (
            ("kind", KINDS), ("quality", get_args(Quality)), ("ensemble", get_args(Ensemble)),
            ("select", get_args(Selection)), ("where", get_args(Where)),
            ("direction", get_args(Meeting)),
        )  # fmt: skip
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}.")
        whole = [self.memory, *(() if self.num_examples is None else (self.num_examples,)), *(self.span or ())]
        texts = [self.model, self.device, *(() if self.along is None else (self.along,))]
        fits = type(self.names) is bool and all(type(n) is int for n in whole)
        if not fits or not all(isinstance(text, str) for text in texts):
            raise InputError(f"a setting has a value that does not fit: {self}.")
        if self.memory < 0 or (self.num_examples is not None and self.num_examples < 1):
            raise InputError(
                f"memory must be 0 or more slices and at least one example be shown; got {self.memory} and "
                f"{self.num_examples}."
            )
        if self.names and self.kind != "semantic":
            raise InputError("labels that are names stay as they are: names go with kind semantic, not with instance.")
        if self.tune_seconds is not None and not 0 < self.tune_seconds < float("inf"):
            raise InputError(f"tuning takes a number of seconds above 0; got {self.tune_seconds}.")
        if self.tune_seconds is not None and self.key is not None:
            raise InputError("a key is what a tuning learned: tune, or use a key, not both.")
        if (self.where == "range") != (self.span is not None):
            raise InputError("a range of slices is given with where='range', and only then.")
        if self.span is not None and len(self.span) != 2:
            raise InputError(f"a range is its first slice and the one after its last; got {self.span}.")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "key": None if self.key is None else str(self.key)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSettings:
        """The settings that `as_dict` wrote; what is missing has its default.

        Raises
        ------
        InputError
            A name that no setting has, or a value that does not fit.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise InputError(f"there is no setting {', '.join(unknown)}.")
        given = dict(values)
        if given.get("key") is not None:
            given["key"] = Path(str(given["key"]))
        try:
            if given.get("span") is not None:
                given["span"] = tuple(given["span"])  # JSON knows lists only
            return cls(**given)
        except TypeError as error:
            raise InputError(f"a setting has a value that does not fit: {error}.") from error


def load_settings(path: Path) -> RunSettings:
    """Settings of a run in napari, from labels that were saved there, or the ``.json`` beside them.

    Raises
    ------
    FileError
        The file cannot be read.
    InputError
        It holds no such settings.
    """
    path = path.expanduser()
    check_exists(path)
    try:
        found = json.loads(read_plain(path)) if path.suffix.lower() == ".json" else recorded_provenance(path)
        settings = (found or {})["settings"]
        if "axes" not in settings:  # which the command line records, and napari does not
            return RunSettings.from_dict(settings)
    except (UnicodeError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = f" ({error})" if isinstance(error, InputError) else ""
        raise InputError(
            f"{path} holds no settings of a run in napari{reason}: name labels saved there, or the .json beside them."
        ) from error
    raise InputError(
        f"{path} was made by the command line, not saved by napari: give the options of that command line instead."
    )
