"""Open by drag and drop: an example set, whose examples become an image and a labels layer; and videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core.example_set import SUFFIX, ExampleItem, ExampleSet
from ..core.stack import Stack
from ..errors import InputError
from .layer_data import LayerData, layer_data

KEY = "incontext examples"  # in a layer's metadata: the file that it was made of


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return a function that reads example sets, or None if one of the paths is none."""
    paths = [path] if isinstance(path, str) else path
    return read_example_sets if all(p.lower().endswith(SUFFIX) for p in paths) else None


def read_example_sets(path: str | list[str]) -> list[LayerData]:
    """Read one or more example sets as napari layer data.

    Raises
    ------
    InContextError
        A file is damaged, or no example set.
    """
    from ..io.example_sets import load_examples

    paths = [Path(p) for p in ([path] if isinstance(path, str) else path)]
    layers = [data for file in paths for data in example_layers(load_examples(file), file)]
    if not layers:
        raise InputError(f"{paths[0].name} holds no example: there is nothing to show.")
    return layers


def get_video_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return a function that reads videos, or None if one of the paths is none."""
    from ..io.paths import VIDEO_SUFFIXES

    paths = [path] if isinstance(path, str) else path
    return read_videos if all(p.lower().endswith(VIDEO_SUFFIXES) for p in paths) else None


def read_videos(path: str | list[str]) -> list[LayerData]:
    """Read one or more videos as napari layer data: frames are decoded when they are shown.

    Raises
    ------
    InContextError
        A file is damaged, or no video.
    """
    from dask.array import from_array

    from ..io.stacks import open_stack

    layers = []
    for file in [path] if isinstance(path, str) else path:
        stack = open_stack(file)
        rgb = stack.axes.endswith("s")
        data, attributes, kind = layer_data(stack, stack.name, "image", rgb=rgb)
        axes = len(stack.axes) - rgb
        attributes |= {name: attributes[name][:axes] for name in ("scale", "translate", "units", "axis_labels")}
        if not rgb:
            attributes["contrast_limits"] = (0, np.iinfo(data.dtype).max)
        frames = from_array(data, chunks=(1, *data.shape[1:]))  # type: ignore[no-untyped-call]
        layers.append((frames, attributes, kind))
    return layers


def example_layers(examples: ExampleSet, file: Path) -> list[LayerData]:
    """Return an image and a labels layer of the examples, whose planes lie behind each other.

    Examples that differ in size, channels or spacing cannot, and get layers of their own. Pixels that are not annotated
    have the set's ignore label.
    """
    groups: dict[Any, list[ExampleItem]] = {}
    for item in examples.items:
        groups.setdefault((item.example.image.shape, item.example.spacing), []).append(item)
    layers: list[LayerData] = []
    for number, items in enumerate(groups.values(), start=1):
        name = file.stem if len(groups) == 1 else f"{file.stem} {number}"
        layers += _group_layers(examples, items, name, file)
    return layers


def _group_layers(examples: ExampleSet, items: list[ExampleItem], name: str, file: Path) -> list[LayerData]:
    first = items[0].example
    images = np.stack([item.example.image for item in items])
    unknown = np.uint32(examples.ignore_label or 0)
    labels = np.stack([np.where(i.example.valid, i.example.labels, unknown) for i in items])
    metadata = {KEY: str(file), "examples": [item.name for item in items]}
    units = ("", "micrometer", "micrometer") if first.spacing is not None else ()
    scale = (1.0, *first.spacing) if first.spacing is not None else ()
    stack = Stack(labels, "iyx", scale, units)
    _, attributes, _ = layer_data(stack, name, "image", metadata=metadata, contrast_limits=(0, 1))
    rgb = images.shape[3] == 3
    shown = _class_attributes(examples)
    return [
        (images if rgb else images[..., 0], {**attributes, "rgb": rgb}, "image"),
        layer_data(stack, f"{name} labels", "labels", metadata=metadata, **shown),
    ]


def _class_attributes(examples: ExampleSet) -> dict[str, Any]:
    """Names and colours of the classes, as a labels layer has them."""
    shown: dict[str, Any] = {}
    if examples.class_names:
        shown["features"] = {"index": list(examples.class_names), "class": list(examples.class_names.values())}
    if examples.class_colors:
        from napari.utils.colormaps import DirectLabelColormap

        colors: dict[int | None, Any] = {None: (0.5, 0.5, 0.5, 1.0), 0: (0.0, 0.0, 0.0, 0.0)}
        colors |= {label: (*color, 1.0) for label, color in examples.class_colors.items()}
        shown["colormap"] = DirectLabelColormap(color_dict=colors)
    return shown
