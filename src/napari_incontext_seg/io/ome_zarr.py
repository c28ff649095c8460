"""OME-Zarr 0.4 and 0.5 in, 0.5 labels out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaozarrs
import zarr
from numpy.typing import NDArray
from yaozarrs import v04, v05
from yaozarrs.write.v05 import prepare_image
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from ..core.example_set import Rgb
from ..core.stack import Stack
from ..errors import FileError, InContextError, InputError
from .axes import guess_axes
from .paths import ZARR_MARKERS, stem
from .provenance import SOFTWARE
from .pyramid import level_shapes, levels
from .storing import read_plain, store

_CHUNK = 1024  # pixels; larger planes are cut, so that viewers read what they show
Multiscale = v04.Multiscale | v05.Multiscale


def is_zarr(path: Path) -> bool:
    """Whether the folder is a Zarr group or array."""
    return any((path / marker).is_file() for marker in ZARR_MARKERS)


class PlainFiles(LocalStore):
    """A folder of which files and folders are read, but no device or pipe, which may never end."""

    async def get(self, key: str, *args: Any, **options: Any) -> Buffer | None:
        """Read a file."""
        file = self.root / key
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise FileError(f"{file} is neither a file nor a folder.")
        return await super().get(key, *args, **options)


class ZarrArray:
    """A Zarr array whose failures say which file they happened in."""

    def __init__(self, array: zarr.Array[Any], path: Path) -> None:
        self.shape, self.dtype = array.shape, np.dtype(array.dtype)
        self.path = path
        self._array = array

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read what ``index`` names; chunks that the file does not hold are its fill value."""
        try:
            return np.asarray(self._array[index])
        except Exception as error:  # codecs raise what they like
            raise FileError(f"{self.path}: {index} cannot be read ({error}). The file may be damaged.") from error


def read_ome_zarr(path: Path, *, labels: bool = False) -> Stack:
    """Open an OME-Zarr image (its full resolution) or a plain Zarr array: see `stacks.open_stack`.

    As ``labels``, an image that has exactly one label image inside gives that.
    """
    try:
        return _opened(path, labels)
    except InContextError:
        raise
    except Exception as error:  # zarr raises many kinds for damaged metadata, here and further inside
        raise FileError(f"{path} cannot be read as Zarr: {error}. Its metadata may be damaged.") from error


def _opened(path: Path, labels: bool) -> Stack:
    node = zarr.open(PlainFiles(path, read_only=True), mode="r")
    if isinstance(node, zarr.Array):
        names = [n for n in getattr(node.metadata, "dimension_names", None) or () if n and len(n) == 1]
        named = len(names) == node.ndim
        axes = "".join(names) if named else guess_axes(node.shape, node.dtype)
        return Stack(ZarrArray(node, path), axes, name=stem(path), named=named)
    group, inner = _image_group(node, path, labels)
    image = _metadata(group, inner)
    multiscale = image.multiscales[0]
    try:
        array = group[multiscale.datasets[0].path]
    except KeyError as error:
        raise FileError(f"{inner}: its full resolution, {error}, is missing.") from error
    if not isinstance(array, zarr.Array):
        raise FileError(f"{inner}: {multiscale.datasets[0].path} is no array.")
    letters, units = zip(*(_axis(a) for a in multiscale.axes), strict=True)
    scale, translate = _transforms(multiscale)
    return Stack(ZarrArray(array, inner), "".join(letters), scale, units, translate, name=stem(path))


def _image_group(group: zarr.Group, path: Path, labels: bool) -> tuple[zarr.Group, Path]:
    """Find the image: here, the only label image inside, or the first image of a Bio-Formats export."""
    attributes = _attributes(group)
    if "plate" in attributes:
        raise FileError(f"{path} is a plate; open one of its fields, such as {path / 'A/1/0'}.")
    if labels and "image-label" not in attributes and "labels" in group:
        names = list(_attributes(group["labels"]).get("labels", []))
        if len(names) > 1:
            inside = ", ".join(str(path / "labels" / name) for name in names)
            raise InputError(f"{path} has several label images; open one of them: {inside}.")
        if names:
            return _subgroup(group, f"labels/{names[0]}"), path / "labels" / names[0]
    if "multiscales" not in attributes and "bioformats2raw.layout" in {*attributes, *group.attrs} and "0" in group:
        return _subgroup(group, "0"), path / "0"
    return group, path


def _subgroup(group: zarr.Group, name: str) -> zarr.Group:
    node = group.get(name)
    if not isinstance(node, zarr.Group):
        raise FileError(f"the Zarr group {name!r} is named in the metadata of {group.store_path}, but missing.")
    return node


def _attributes(group: Any) -> dict[str, Any]:
    """OME metadata as it is, of 0.4 or 0.5."""
    attributes = dict(group.attrs)
    return dict(attributes.get("ome", attributes))


def _metadata(group: zarr.Group, path: Path) -> v04.Image | v05.Image:
    attributes = _attributes(group)
    if "multiscales" not in attributes:
        raise FileError(f"{path} is a Zarr group without an OME-Zarr image; open an array inside it.")
    try:
        if "ome" in group.attrs:
            return yaozarrs.validate_ome_object(attributes, v05.Image)
        return yaozarrs.validate_ome_object(attributes, v04.Image)
    except ValueError as error:
        inside = path / next(group.array_keys(), "0")
        raise FileError(
            f"{path} is not valid OME-Zarr 0.4 or 0.5: {_fault(error)}. Write it anew with valid metadata; or open an "
            f"array inside it, such as {inside}, and say what its axes are (--axes)."
        ) from error


def _fault(error: ValueError) -> str:
    """The first thing that pydantic found wrong, without what it adds for programmers."""
    if not hasattr(error, "errors"):
        return str(error).rstrip(".")
    fault = error.errors()[0]
    where, what = ".".join(map(str, fault["loc"])), str(fault["msg"]).removeprefix("Value error, ").rstrip(".")
    return f"{where}: {what}" if where else what


def _axis(axis: Any) -> tuple[str, str]:
    """Letter and unit of an axis."""
    letter = {"channel": "c", "time": "t"}.get(axis.type or "", axis.name[:1].lower())
    return letter, getattr(axis, "unit", None) or ""


def _transforms(multiscale: Multiscale) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and translation of the full resolution: its own transforms, then those of all levels."""
    scale, translate = np.ones(multiscale.ndim), np.zeros(multiscale.ndim)
    dataset = multiscale.datasets[0]
    for transform in (*dataset.coordinateTransformations, *(multiscale.coordinateTransformations or ())):
        if transform.type == "scale":
            scale, translate = scale * transform.scale, translate * transform.scale
        else:
            translate = translate + transform.translation
    return tuple(map(float, scale)), tuple(map(float, translate))


# -- writing ----------------------------------------------------------------------------------------------------------
def write_ome_zarr_labels(
    path: Path,
    planes: Iterator[NDArray[Any]],
    like: Stack,
    dtype: np.dtype[Any],
    provenance: Mapping[str, Any],
    *,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, Rgb] | None = None,
    inside: bool = False,
) -> None:
    """Write planes, in the order of ``like``, as an OME-Zarr 0.5 label image, plane by plane.

    Parameters
    ----------
    path
        The folder.
    planes, dtype
        (Y, X) each, and the type of whole numbers that they have.
    like
        Axes, scale, units and position come from it.
    provenance
        Goes into the attributes.
    names, colors
        Of classes: label -> name, and red, green, blue in [0, 1].
    inside
        Whether it will lie in an image's group ``labels``.
    """
    labels: dict[str, Any] = {"version": "0.5"}
    if colors:
        labels["colors"] = [
            {"label-value": i, "rgba": [*(round(255 * c) for c in color), 255]} for i, color in sorted(colors.items())
        ]
    if names:
        labels["properties"] = [{"label-value": i, "name": name} for i, name in sorted(names.items())]
    if inside:
        labels["source"] = {"image": "../../"}
    image = v05.LabelImage.model_validate({"multiscales": [_multiscale(like)], "image-label": labels})
    _write(path, image, planes, like, dtype, {SOFTWARE: dict(provenance)})
    group = zarr.open_group(path, mode="r+")
    # as it is: the model makes floats of the labels, which ome-zarr-py refuses, and leaves out names
    group.attrs["ome"] = {**dict(group.attrs)["ome"], "image-label": labels}  # type: ignore[dict-item]


def write_ome_zarr_image(path: Path, planes: Iterator[NDArray[Any]], like: Stack, dtype: np.dtype[Any]) -> None:
    """Write single-channel planes, in the order of ``like``, as an OME-Zarr 0.5 image, plane by plane."""
    _write(path, v05.Image(multiscales=[_multiscale(like)]), planes, like, dtype, None)


def _write(
    path: Path,
    image: v05.Image,
    planes: Iterator[NDArray[Any]],
    like: Stack,
    dtype: np.dtype[Any],
    attributes: dict[str, Any] | None,
) -> None:
    order = _order(like)
    sizes = [((*(like.grid[k] for k in order), *shape), dtype) for shape in level_shapes(*like.plane_shape)]
    chunks = (*(1 for _ in order), *(min(_CHUNK, n) for n in like.plane_shape))
    _, arrays = prepare_image(path, image, sizes, chunks=chunks, writer="zarr", extra_attributes=attributes)
    for position, plane in enumerate(planes):
        at = like.unravel(position)
        for number, level in enumerate(levels(plane)):
            arrays[str(number)][tuple(at[k] for k in order)] = level


# -- labels inside an image -------------------------------------------------------------------------------------------
def goes_inside(path: Path) -> bool:
    """Whether labels written to ``path`` become a part of an OME-Zarr image: ``IMAGE.zarr/labels/NAME``."""
    return path.parent.name == "labels" and is_zarr(path.parent.parent)


def check_inside(path: Path) -> None:
    """Raise InputError if the image around ``path`` is of a version that cannot hold the labels that we write."""
    image = path.parent.parent
    try:
        version = json.loads(read_plain(image / "zarr.json"))["attributes"]["ome"]["version"]
    except (OSError, ValueError, LookupError, TypeError, InContextError):
        version = None
    if version != "0.5":
        raise InputError(
            f"labels are written as OME-Zarr 0.5, and {image} is no image of this version: write them beside it, "
            f"such as --out {image.parent / path.name}.zarr."
        )


def register(path: Path) -> None:
    """Name the labels at ``path`` in the list of labels of the image around them."""
    file = path.parent / "zarr.json"
    group: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    if file.is_file():
        group = json.loads(read_plain(file))
    ome = group.setdefault("attributes", {}).setdefault("ome", {"version": "0.5"})
    names = ome.setdefault("labels", [])
    if path.name not in names:
        names.append(path.name)
        store(file, lambda beside: beside.write_text(json.dumps(group, indent=2), encoding="utf-8"))


def _order(like: Stack) -> list[int]:
    """Order of the plane axes that OME-Zarr wants: time, others, space."""
    rank = {"t": 0, "z": 2}
    return sorted(range(len(like.grid)), key=lambda k: rank.get(like.plane_axes[k], 1))


def _multiscale(like: Stack) -> v05.Multiscale:
    letters = "".join(like.plane_axes[k] for k in _order(like)) + "yx"
    at = [like.axes.index(a) for a in letters]
    axes = [_ome_axis(like.axes[k], like.units[k]) for k in at]
    scale, translate = ([values[k] for k in at] for values in (like.scale, like.translate))
    datasets = []
    for level in range(len(level_shapes(*like.plane_shape))):
        factor = [2**level if letter in "yx" else 1 for letter in letters]
        step = [s * f for s, f in zip(scale, factor, strict=True)]
        # the middle of a pixel is that of the pixels that it was made of
        start = [t + s * (f - 1) / 2 for t, s, f in zip(translate, scale, factor, strict=True)]
        transforms: list[Any] = [v05.ScaleTransformation(scale=step)]
        if any(start):
            transforms.append(v05.TranslationTransformation(translation=start))
        datasets.append(v05.Dataset(path=str(level), coordinateTransformations=transforms))
    return v05.Multiscale(name=like.name or None, axes=axes, datasets=datasets)


def _ome_axis(letter: str, unit: str) -> Any:
    named = {"unit": unit} if unit and unit != "pixel" else {}
    kind = {"t": "time", **dict.fromkeys("zyx", "space")}.get(letter)
    return {"name": letter, **({"type": kind} if kind else {}), **named}
