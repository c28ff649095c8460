"""A run in a folder, so that other processes take part in it: plain arrays and JSON, nothing that could be executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ..core.normalize import Normalization
from ..core.stack import Stack
from ..core.types import Context, Example, Predictor
from ..errors import FileError, InContextError, InputError
from ..io.reopening import address, reopen
from ..io.storing import store
from ..io.tensor_file import TensorFormat
from .meeting import Meeting
from .propagation import Propagation
from .route import Stop
from .selection import ExampleSelector

FILE = "run.safetensors"
SPARE = "image.npy"
FORMAT = TensorFormat(
    name="run",
    mark="napari-incontext-seg-run",
    version=1,
    max_bytes=2**40,
    others="weights or an example set",
    remedy="Such files are there while workers paint, and nobody else needs them.",
    error=FileError,
)
NO_PARENT = -1


def save_run(folder: Path, run: Propagation) -> None:
    """Describe a run in a folder that others can see; an image that is in no file is written there, too.

    Raises
    ------
    FileError, ResourceError
        It cannot be written.
    InputError
        A run that meets with memory, which one process paints.
    """
    if isinstance(run, Meeting) and run.memory:
        raise InputError(
            "each way of a run that meets remembers what it painted itself: leave out memory, or the workers."
        )
    annotated = sorted(run.examples)
    examples = [*run.shared, *(run.examples[p] for p in annotated)]
    stack = run.stack
    facts = {
        "image": address(stack, folder / SPARE),
        "axes": stack.axes,
        "scale": stack.scale,
        "units": stack.units,
        "translate": stack.translate,
        "channels": stack.channels,
        "normalization": None if stack.normalization is None else asdict(stack.normalization),
        "name": stack.name,
        "annotated": annotated,
        "spacings": [example.spacing for example in examples],
        "kind": run.context.kind,
        "class_names": sorted(run.context.class_names.items()),
        "memory": run.memory,
        "num_examples": run.selector.num_examples,
        "select": run.selector.select,
        "always": sorted(run.selector.always),
        "context": run.context.fingerprint,
    }
    arrays: dict[str, NDArray[Any]] = {"route": _table(run.plain.route if isinstance(run, Meeting) else run.route)}
    if isinstance(run, Meeting):
        arrays |= {"onward": _table(run.onward.route), "backward": _table(run.backward.route)}
        facts["axis"] = run.onward.selector.axis
    if stack.mix is not None:
        arrays["mix"] = np.ascontiguousarray(stack.mix)
    for k, example in enumerate(examples):
        for name in ("image", "labels", "valid"):
            arrays[f"{k}.{name}"] = np.ascontiguousarray(getattr(example, name))
    metadata = {**FORMAT.metadata, "run": json.dumps(facts)}
    store(folder / FILE, lambda beside: beside.write_bytes(save(arrays, metadata)))


def load_run(folder: Path, predictor: Predictor) -> Propagation:
    """Make the run that `save_run` described.

    Raises
    ------
    FileError
        The folder or the image cannot be read here, or is not the same.
    """
    path = folder / FILE
    try:
        metadata, arrays = FORMAT.read(path)
        facts = json.loads(metadata["run"])
        run = _understood(facts, arrays, predictor)
    except InContextError:
        raise
    except FileNotFoundError as error:
        raise FileError(
            f"{path} is not there: is the folder of the results on a disk that all machines see, under the same path?"
        ) from error
    except Exception as error:  # foreign bytes make parsers raise anything
        raise FileError(f"{path} is damaged ({error}).") from error
    if run.context.fingerprint != facts["context"]:
        raise FileError(f"{path} is damaged: its examples are not those that the run was started with.")
    return run


def _understood(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], predictor: Predictor) -> Propagation:
    stack = Stack(
        reopen(facts["image"]),
        facts["axes"],
        tuple(facts["scale"]),
        tuple(facts["units"]),
        tuple(facts["translate"]),
        None if facts["channels"] is None else tuple(facts["channels"]),
        arrays.get("mix"),
        None if facts["normalization"] is None else Normalization(**facts["normalization"]),
        facts["name"],
    )
    shown = [
        Example(arrays[f"{k}.image"], arrays[f"{k}.labels"], arrays[f"{k}.valid"], spacing)
        for k, spacing in enumerate(facts["spacings"])
    ]
    annotated = facts["annotated"]
    shared = tuple(shown[: len(shown) - len(annotated)])
    examples = dict(zip(annotated, shown[len(shared) :], strict=True))
    selector = ExampleSelector(
        stack, examples, facts["num_examples"], facts["select"], frozenset(facts["always"])
    )  # fmt: skip
    context = Context(tuple(shown), facts["kind"], {int(i): name for i, name in facts["class_names"]})
    route = _stops(arrays["route"])
    run = Propagation(stack, examples, predictor, context, route, selector, facts["memory"], shared)
    if "onward" not in arrays:
        return run
    return Meeting.of(run, _stops(arrays["onward"]), _stops(arrays["backward"]), axis=facts["axis"])


def _table(route: list[Stop]) -> NDArray[np.int64]:
    stops = [(s.position, s.source, NO_PARENT if s.parent is None else s.parent) for s in route]
    return np.array(stops, np.int64).reshape(-1, 3)


def _stops(table: NDArray[Any]) -> list[Stop]:
    return [Stop(p, s, None if parent == NO_PARENT else parent) for p, s, parent in table.tolist()]
