"""Example sets as files: one ``.incontext`` file each, safetensors and JSON.

A set comes from anywhere, so all that is read is checked, and nothing is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ..core.example_set import SUFFIX, ExampleItem, ExampleSet
from ..core.types import Example
from ..errors import FileError, InContextError
from .paths import PathLike
from .storing import check_free, store
from .tensor_file import TensorFormat

FORMAT = TensorFormat(
    name="example set",
    mark="napari-incontext-seg-examples",
    version=1,
    max_bytes=2**34,
    others="a key (--key) or weights (--model)",
    remedy="Save one from the dock, or with `incontext-seg examples`.",
    error=FileError,
)


def save_examples(path: PathLike, examples: ExampleSet, *, overwrite: bool = False) -> Path:
    """Write an example set as one file, complete or not at all; ``.incontext`` is appended where it is missing.

    Raises
    ------
    FileError, ResourceError
        It exists and ``overwrite`` is not set, or cannot be written; the disk is full.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != SUFFIX:
        path = path.with_name(path.name + SUFFIX)
    check_free(path, overwrite)
    metadata = {**FORMAT.metadata, "examples": json.dumps(_facts(examples))}
    store(path, lambda beside: beside.write_bytes(save(_arrays(examples), metadata)))
    return path


def load_examples(path: PathLike) -> ExampleSet:
    """Read an example set.

    Raises
    ------
    FileError
        The file cannot be read, is no example set, damaged, or of a newer version.
    """
    path = Path(path).expanduser()
    try:
        metadata, arrays = FORMAT.read(path)
        return _understood(json.loads(metadata["examples"]), arrays)
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    except OSError as error:
        raise FileError(f"cannot read the example set {path}: {error.strerror or error}. Check the path.") from error
    except MemoryError:
        raise
    except Exception as error:  # foreign bytes make parsers raise anything
        reason = f": {error}" if isinstance(error, InContextError) else ""
        raise FileError(f"{path} is damaged, or no example set{reason}. Copy or export it again.") from error


# -- writing ------------------------------------------------------------------------------------------------------
def _facts(examples: ExampleSet) -> dict[str, Any]:
    """All that is no array, as JSON knows it."""
    return {
        "kind": examples.kind,
        "class_names": [[label, name] for label, name in sorted(examples.class_names.items())],
        "class_colors": [[label, list(color)] for label, color in sorted(examples.class_colors.items())],
        "ignore_label": examples.ignore_label,
        "items": [
            {
                "name": item.name,
                "source": item.source,
                "position": item.position,
                "index": list(item.index),
                "used": item.used,
                "spacing": item.example.spacing,
            }
            for item in examples.items
        ],
    }


def _arrays(examples: ExampleSet) -> dict[str, NDArray[Any]]:
    """All arrays: images as they are, labels in the fewest bits, ``valid`` only where not all is."""
    arrays: dict[str, NDArray[Any]] = {}
    for k, item in enumerate(examples.items):
        labels, valid = item.example.labels, item.example.valid
        arrays[f"{k}.image"] = np.ascontiguousarray(item.example.image)
        arrays[f"{k}.labels"] = labels.astype(np.min_scalar_type(int(labels.max())), order="C")
        if not valid.all():
            arrays[f"{k}.valid"] = np.ascontiguousarray(valid)
    return arrays


# -- reading ------------------------------------------------------------------------------------------------------
def _understood(facts: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> ExampleSet:
    """The example set that a file's content makes; raises anything where it makes none."""
    items = tuple(_item(_fact(facts["items"], k, dict), arrays, k) for k in range(len(_fact(facts, "items", list))))
    if arrays:
        raise FileError(f"it holds {', '.join(sorted(arrays)[:3])}, which no example set has.")
    return ExampleSet(
        items,
        _fact(facts, "kind", str),
        {_label(label): str(name) for label, name in _fact(facts, "class_names", list)},
        {_label(label): tuple(color) for label, color in _fact(facts, "class_colors", list)},
        _fact(facts, "ignore_label", int, type(None)),
    )


def _item(facts: Mapping[str, Any], arrays: dict[str, NDArray[Any]], number: int) -> ExampleItem:
    image = _taken(arrays, f"{number}.image", 3, np.float32)
    labels = _taken(arrays, f"{number}.labels", 2, np.uint8, np.uint16, np.uint32)
    valid = _taken(arrays, f"{number}.valid", 2, np.bool_) if f"{number}.valid" in arrays else None
    spacing = _fact(facts, "spacing", list, type(None))
    index = _fact(facts, "index", list)
    return ExampleItem(
        Example(image, labels, valid, spacing),  # type: ignore[arg-type]  # checked there
        _fact(facts, "name", str),
        _fact(facts, "source", str),
        _fact(facts, "position", int, type(None)),
        tuple(_fact(index, k, int) for k in range(len(index))),
        _fact(facts, "used", bool),
    )


def _fact(facts: Any, name: str | int, *kinds: type) -> Any:
    """A value that must be of one of these types; a bool is no int."""
    value = facts[name]
    if type(value) not in kinds:
        raise FileError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}; got {value!r}.")
    return value


def _label(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**32:
        raise FileError(f"a label must be a whole number from 0 to {2**32 - 1}; got {value!r}.")
    return value


def _taken(arrays: dict[str, NDArray[Any]], name: str, ndim: int, *dtypes: type[np.generic]) -> NDArray[Any]:
    """Take an array out of those that were read."""
    array = arrays.pop(name)
    if array.ndim != ndim or array.dtype not in dtypes:
        raise FileError(f"{name} has the wrong form, {array.dtype} {array.shape}.")
    return array
