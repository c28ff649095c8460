"""`Key`: what a tuning learned, in one file of a few MB that is used instead of examples.

A key comes from anywhere, so all that is read is checked, and nothing is ever executed: safetensors and JSON only.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ..core.palette import Palette
from ..core.types import Context, Example, Kind, frozen
from ..core.words import counted
from ..errors import FileError, InContextError, KeyFileError
from ..io.storing import check_free, store
from ..io.tensor_file import TensorFormat

Method: TypeAlias = Literal["prompt", "adapter"]
METHODS: tuple[Method, ...] = get_args(Method)
FORMAT = TensorFormat(
    name="key",
    mark="napari-incontext-seg-key",
    version=1,
    max_bytes=2**30,
    others="weights (--model)",
    remedy="Make one with `incontext-seg tune`.",
    error=KeyFileError,
)
LEARNED = "learned."  # names of the method's own tensors begin so


@dataclass(frozen=True)
class Learned:
    """How a tuning went.

    Parameters
    ----------
    seconds, steps, seed
        What it took, and where its random numbers began.
    before, after
        Dice on the part of the annotated slices that was held out, untuned and tuned; None if none could be.
    kept
        Whether tuning helped there. If not, the key paints as the untuned model does.
    """

    seconds: float
    steps: int
    before: float | None
    after: float | None
    kept: bool
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = [self.seconds, *(score for score in (self.before, self.after) if score is not None)]
        if not all(type(n) in (int, float) and math.isfinite(n) and n >= 0 for n in numbers):
            raise KeyFileError(f"seconds and scores of a tuning must be numbers of at least 0; got {self}.")
        if type(self.steps) is not int or type(self.seed) is not int or type(self.kept) is not bool:
            raise KeyFileError(f"steps and seed of a tuning must be whole numbers, kept true or false; got {self}.")

    def __str__(self) -> str:
        took = f"{counted(self.steps, 'step')}, {self.seconds:.0f} s"
        if self.before is None or self.after is None:
            return f"no part of the annotated slices could be held out to judge tuning, so nothing was changed ({took})"
        if not self.steps:
            return f"no time was left to learn beside judging it, so nothing was changed ({took}): give it more"
        if not self.kept:
            return f"tuning did not help on a held-out part: Dice stays {self.before:.3f}, nothing was changed ({took})"
        return f"Dice on a held-out part of the annotated slices: {self.before:.3f}, tuned {self.after:.3f} ({took})"


@dataclass(frozen=True, eq=False)
class Key:
    """What a tuning of one model learned, and the examples that it learned from.

    Parameters
    ----------
    method
        ``prompt`` (in-context tuning) or ``adapter``.
    model, model_digest
        Name and SHA-256 of the model that was tuned; no other can use the key.
    context
        The examples; their images are kept with 16 bits.
    tensors
        float16 or float32, what the method learned, by name.
    learned
        How the tuning went.
    palette
        Colours of the labels, for methods that fix them.

    Raises
    ------
    KeyFileError
        A tensor that is not finite, or of another type.
    """

    method: Method
    model: str
    model_digest: str
    context: Context
    tensors: Mapping[str, NDArray[np.floating[Any]]]
    learned: Learned
    palette: Palette | None = field(default=None)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise KeyFileError(f"the method of a key must be one of {', '.join(METHODS)}; got {self.method!r}.")
        if not self.model or not self.model_digest:
            raise KeyFileError("a key must say which model it is for: name and digest.")
        for name, values in self.tensors.items():
            if values.dtype not in (np.float16, np.float32) or not np.isfinite(values).all():
                raise KeyFileError(f"{name} must hold finite float16 or float32; got {values.dtype}.")
        tensors = {name: frozen(np.array(values, order="C")) for name, values in self.tensors.items()}
        examples = tuple(rounded(example) for example in self.context.examples)
        object.__setattr__(self, "tensors", MappingProxyType(tensors))
        object.__setattr__(self, "context", replace(self.context, examples=examples))

    @property
    def kind(self) -> Kind:
        """``semantic`` or ``instance``."""
        return self.context.kind

    @property
    def ids(self) -> tuple[int, ...]:
        """Label ids of the examples, ascending."""
        return self.context.ids

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the key holds."""
        digest = hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode())
        for name, values in sorted(self._arrays().items()):
            digest.update(f"{name}{values.dtype.str}{values.shape}".encode() + values.tobytes())
        return digest.hexdigest()

    def check_model(self, name: str, digest: str) -> None:
        """Raise KeyFileError if the key was learned with another model than this."""
        if digest != self.model_digest:
            raise KeyFileError(
                f"this key was learned with the model {self.model} (digest {self.model_digest[:12]}) and is of no use "
                f"to {name} (digest {digest[:12]}): choose that model (--model), or tune this one."
            )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the key as one file, complete or not at all.

        Raises
        ------
        FileError, ResourceError
            It exists and ``overwrite`` is not set, or cannot be written; the disk is full.
        """
        path = Path(path).expanduser()
        check_free(path, overwrite)
        metadata = {**FORMAT.metadata, "key": json.dumps(self._facts())}
        store(path, lambda beside: beside.write_bytes(save(self._arrays(), metadata)))
        return path

    @classmethod
    def load(cls, path: str | Path) -> Key:
        """Read a key.

        Raises
        ------
        FileError
            The file cannot be read.
        KeyFileError
            It is no key, damaged, or of a newer version.
        """
        path = Path(path).expanduser()
        try:
            metadata, arrays = FORMAT.read(path)
            return _understood(metadata, arrays)
        except KeyFileError as error:
            raise KeyFileError(f"{path}: {error}") from error
        except FileError:
            raise
        except OSError as error:
            raise FileError(f"cannot read the key {path}: {error.strerror or error}. Check the path.") from error
        except MemoryError:
            raise
        except Exception as error:  # foreign bytes make parsers raise anything
            reason = f": {error}" if isinstance(error, InContextError) else ""
            raise KeyFileError(f"{path} is damaged, or no key{reason}. Copy or tune it again.") from error

    def _facts(self) -> dict[str, Any]:
        """All that is no array, as JSON knows it."""
        return {
            "method": self.method,
            "model": self.model,
            "model_digest": self.model_digest,
            "kind": self.kind,
            "class_names": [[i, name] for i, name in sorted(self.context.class_names.items())],
            "spacings": [e.spacing for e in self.context.examples],
            "palette": list(self.palette.ids) if self.palette is not None else None,
            "learned": asdict(self.learned),
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays as the file has them: labels in the fewest bits, ``valid`` only where not all is."""
        arrays: dict[str, NDArray[Any]] = {}
        for k, example in enumerate(self.context.examples):
            arrays[f"example.{k}.image"] = example.image.astype(np.float16)
            arrays[f"example.{k}.labels"] = example.labels.astype(np.min_scalar_type(int(example.labels.max())))
            if not example.valid.all():
                arrays[f"example.{k}.valid"] = np.ascontiguousarray(example.valid)
        if self.palette is not None:
            arrays["palette"] = self.palette.colours
        return arrays | {f"{LEARNED}{name}": values for name, values in self.tensors.items()}


def rounded(example: Example) -> Example:
    """The example as a key keeps it: its image has 16 bits."""
    return replace(example, image=example.image.astype(np.float16).astype(np.float32))


# -- reading ------------------------------------------------------------------------------------------------------
def _understood(metadata: Mapping[str, str], arrays: dict[str, NDArray[Any]]) -> Key:
    """The key that a file's content makes; raises anything where it makes none."""
    facts = json.loads(metadata["key"])
    expected = {"method": str, "model": str, "model_digest": str, "kind": str, "class_names": list, "spacings": list}
    for name, kind in expected.items():
        if not isinstance(facts[name], kind):
            raise KeyFileError(f"{name} must be {kind.__name__}; got {facts[name]!r}.")
    examples = tuple(_example(arrays, k, spacing) for k, spacing in enumerate(facts["spacings"]))
    palette = None
    if facts["palette"] is not None:
        if not all(type(i) is int for i in facts["palette"]):
            raise KeyFileError("ids of the palette must be whole numbers.")
        palette = Palette(tuple(facts["palette"]), _taken(arrays, "palette", 2, np.float32))
    learned = {name: values for name, values in arrays.items() if name.startswith(LEARNED)}
    if others := sorted(arrays.keys() - learned.keys()):
        raise KeyFileError(f"it holds {', '.join(others[:3])}, which no key has.")
    if facts["learned"].keys() != {f.name for f in fields(Learned)}:
        raise KeyFileError("it does not say how it was tuned.")
    names = {int(i): str(name) for i, name in facts["class_names"]}
    return Key(
        facts["method"],
        facts["model"],
        facts["model_digest"],
        Context(examples, facts["kind"], names),
        {name.removeprefix(LEARNED): values for name, values in learned.items()},
        Learned(**facts["learned"]),
        palette,
    )


def _example(arrays: dict[str, NDArray[Any]], number: int, spacing: Any) -> Example:
    """Take the arrays of an example."""
    image = _taken(arrays, f"example.{number}.image", 3, np.float16)
    labels = _taken(arrays, f"example.{number}.labels", 2, np.uint8, np.uint16, np.uint32)
    valid = f"example.{number}.valid"
    return Example(image, labels, _taken(arrays, valid, 2, np.bool_) if valid in arrays else None, spacing)  # type: ignore[arg-type]


def _taken(arrays: dict[str, NDArray[Any]], name: str, ndim: int, *dtypes: type[np.generic]) -> NDArray[Any]:
    """Take an array out of those that were read."""
    array = arrays.pop(name)
    if array.ndim != ndim or array.dtype not in dtypes:
        raise KeyFileError(f"{name} has the wrong form, {array.dtype} {array.shape}.")
    return array
