"""`TrainConfig`: all that decides a training run, read from a TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ..errors import FileError, InContextError, InputError
from ..model.config import SegGptConfig
from ..model.micro import MicroConfig
from .episodes import SMALLEST, EpisodeConfig

Table = TypeVar("Table")


@dataclass(frozen=True)
class BatchConfig:
    """How episodes become batches.

    A `Micro` paints every view of an episode from one other view, whole, and does nothing with ``lower_half``,
    ``masked``, ``crop``, ``stitch`` and ``balance``.

    Parameters
    ----------
    size
        Episodes a step.
    pool, reuse
        Episodes made at a time, and how often each is used (in other colours, turned and cropped differently).
    examples
        Numbers of examples; each pool draws one of these.
    lower_half
        Share of steps that hide exactly the query's target, as in use. The others hide blocks on all panels.
    masked
        Share of patches that blocks hide.
    crop
        Share of steps in which every panel is cropped and resized on its own (mix-context).
    stitch
        Share of steps in which several examples are stitched into one (mix-context); of pools with 4 or more.
    balance
        0: every pixel counts alike, as in SegGPT; 1: every class of a panel does. Between them small classes gain, as
        they do in Dice.
    jitter
        Strength of the photometric jitter of each panel; 0 is none.
    scene, side
        Pixels a side of an episode, and of the square that is cut from it, for a `Micro`; a SegGPT sees whole episodes
        of its window.
    """

    size: int = 16
    pool: int = 512
    reuse: int = 2
    examples: tuple[int, ...] = (1,)
    lower_half: float = 0.8
    masked: float = 0.5
    crop: float = 0.3
    stitch: float = 0.5
    balance: float = 0.5
    jitter: float = 0.5
    scene: int = 192
    side: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "examples", tuple(self.examples))
        if min(self.size, self.pool, self.reuse, *self.examples, len(self.examples)) < 1:
            raise InputError(f"sizes and numbers of a batch must be at least 1; got {self}.")
        if self.size > self.pool:
            raise InputError(f"the pool must hold a batch; got a pool of {self.pool} and batches of {self.size}.")
        if not all(0 <= share <= 1 for share in (self.lower_half, self.masked, self.crop, self.stitch, self.balance)):
            raise InputError(f"lower_half, masked, crop, stitch and balance must be in [0, 1]; got {self}.")
        if not 16 <= self.side <= self.scene or self.scene < SMALLEST:
            raise InputError(
                f"side must be 16 to scene, which must be at least {SMALLEST}; got {self.side} and {self.scene}."
            )
        if not 0 <= self.jitter < math.inf:
            raise InputError(f"jitter must be a number and not negative; got {self.jitter}.")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with warm-up and cosine, over a number of steps or of seconds.

    Parameters
    ----------
    steps, seconds
        How long to train: exactly one of them is given. With seconds, the learning rate follows the clock; time that
        is not spent training (between pieces of a run) does not count.
    warmup
        Share of the run in which the learning rate rises.
    layer_decay
        Factor of the learning rate from one block to the one below it; 1 treats all alike.
    clip
        Largest norm of the gradient.
    average
        Decay of the moving average of the weights, which is then what is validated and shipped; 0 is none.
    """

    steps: int = 0
    seconds: float = 0.0
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    clip: float = 3.0
    average: float = 0.0

    def __post_init__(self) -> None:
        if (self.steps > 0) == (self.seconds > 0) or self.steps < 0 or not 0 <= self.seconds < math.inf:
            raise InputError(f"give either steps or seconds; got {self.steps} steps and {self.seconds} seconds.")
        if not (self.learning_rate > 0 and self.clip > 0 and self.weight_decay >= 0):
            raise InputError(f"learning_rate and clip must be positive, weight_decay not negative; got {self}.")
        if not (0 <= self.warmup < 1 and 0 < self.layer_decay <= 1 and 0 <= self.average < 1):
            raise InputError(f"warmup and average must be in [0, 1), layer_decay in (0, 1]; got {self}.")


@dataclass(frozen=True)
class ReportConfig:
    """When to look and to save.

    Parameters
    ----------
    log_steps, save_steps
        Steps between two lines, and between two saved states.
    validate_seconds
        Between two validations.
    validation_episodes
        Held out, the same throughout the run.
    """

    log_steps: int = 20
    save_steps: int = 500
    validate_seconds: float = 60.0
    validation_episodes: int = 128

    def __post_init__(self) -> None:
        if min(self.log_steps, self.save_steps, self.validation_episodes) < 1 or not self.validate_seconds > 0:
            raise InputError(f"steps, seconds and episodes of a report must be positive; got {self}.")


@dataclass(frozen=True)
class TrainConfig:
    """A training run. ``compile`` concerns CUDA only.

    Raises
    ------
    InputError
        The parts contradict each other.
    """

    seed: int = 0
    compile: bool = True
    model: SegGptConfig | MicroConfig = field(default_factory=SegGptConfig)
    episodes: EpisodeConfig = field(default_factory=EpisodeConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(steps=1000))
    report: ReportConfig = field(default_factory=ReportConfig)

    def __post_init__(self) -> None:
        if isinstance(self.model, SegGptConfig) and self.model.window[0] != self.model.window[1]:
            raise InputError(f"episodes are square, so the model's window must be; got {self.model.window}.")
        if self.seed < 0:
            raise InputError(f"seed must not be negative; got {self.seed}.")

    @property
    def scene(self) -> int:
        """Pixels a side of an episode."""
        return self.model.window[0] if isinstance(self.model, SegGptConfig) else self.batch.scene


def read_config(path: str | Path) -> TrainConfig:
    """Read a TOML file whose tables are the fields of `TrainConfig`.

    Raises
    ------
    FileError
        It cannot be read.
    InputError, ModelError
        It is no TOML, or holds unknown keys or values that do not fit.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}. Give the TOML file of a training run.") from error
    except ValueError as error:
        raise InputError(f"{path} is not a TOML file: {error}") from error
    try:
        return read_table(TrainConfig, content)
    except InContextError as error:
        raise type(error)(f"{path}: {error}") from error


def read_table(kind: type[Table], content: Mapping[str, Any], where: str = "") -> Table:
    """Make the dataclass ``kind`` of plain values; unknown keys and wrong types are refused."""
    kinds = get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]  # a dataclass, which TypeVar cannot say
    values = {}
    for key, value in content.items():
        name = where + key
        if key not in known:
            raise InputError(f"{name} is not known; known are {', '.join(known)}.")
        if kinds[key] == SegGptConfig | MicroConfig or is_dataclass(kinds[key]):
            if not isinstance(value, dict):
                raise InputError(f"{name} must be a table; got {value!r}.")
            values[key] = read_model(value) if key == "model" else read_table(kinds[key], value, f"{name}.")
        else:
            values[key] = _fitting(value, kinds[key], name)
    return kind(**values)


def read_model(content: Mapping[str, Any]) -> SegGptConfig | MicroConfig:
    """The table of the network, whose ``network`` says which one it is: seggpt (default) or micro."""
    networks: dict[Any, type[SegGptConfig] | type[MicroConfig]] = {"seggpt": SegGptConfig, "micro": MicroConfig}
    settings = dict(content)
    name = settings.pop("network", "seggpt")
    if not isinstance(name, str) or name not in networks:
        raise InputError(f"model.network must be one of {', '.join(networks)}; got {name!r}.")
    return read_table(networks[name], settings, "model.")


def _fitting(value: Any, kind: Any, name: str) -> Any:
    """The value as ``kind``: bool, int, float, or a tuple of int or str."""
    if kind is float and type(value) is int:
        return float(value)
    if kind in (bool, int, float):
        if type(value) is kind:
            return value
        raise InputError(f"{name} must be of type {kind.__name__}; got {value!r}.")
    element = kind.__args__[0]
    if isinstance(value, list | tuple) and all(type(v) is element for v in value):
        return tuple(value)
    raise InputError(f"{name} must be a list of {element.__name__}; got {value!r}.")
