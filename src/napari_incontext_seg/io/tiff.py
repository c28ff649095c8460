"""TIFF in and out, plane by plane: OME, ImageJ and plain files, with axes, spacing and units."""

from __future__ import annotations

import json
import logging
import struct
import threading
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import inf, prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..core.stack import Stack
from ..core.units import convert, imagej_symbol, ome_symbol, unit_name
from ..errors import DegradedDataWarning, FileError, InputError
from .lazy import PagedArray
from .paths import stem

_CLASSIC_LIMIT = 2**32 - 2**25  # bytes; what tifffile, too, keeps below for a file with 32-bit offsets
_UNNAMED = {1: "z", 2: "tz", 3: "tcz"}  # what axes that nobody named are taken for, by their number
_IMAGEJ_DTYPES = ("uint8", "uint16", "uint32", "float32")
_INCH, _CENTIMETER = 2, 3  # what the tag ResolutionUnit says
_MOST_PRINTED = 1200  # dots per inch: up to here a density is that of a screen or printer, and no pixel size
_PRINTED = (2.54, 72, 96, 150, 200, 300, 600, 1200)  # dots per inch that programs write by themselves, also per cm


class _Owner:
    """An open TIFF file, closed when no array reads from it any more."""

    def __init__(self, path: Path) -> None:
        with _complaints() as complaints:
            try:
                self.file = tifffile.TiffFile(path)
                _check_chain(path, self.file)
                series = self.file.series
            except FileError:
                raise
            except Exception as error:  # tifffile raises its own, struct.error, IndexError, ... for files that are none
                raise FileError(f"{path} cannot be read as TIFF: {error}. It may be truncated or damaged.") from error
        self.lock = threading.RLock()
        weakref.finalize(self, self.file.close)
        if not series or not series[0].shape:
            raise FileError(f"{path} holds no image.")
        self._check_complete(path)
        if complaints:
            message = f"{path.name} may be truncated or damaged: {complaints[0]}"
            warnings.warn(message, DegradedDataWarning, stacklevel=5)

    def _check_complete(self, path: Path) -> None:
        """Raise FileError if the first series holds less than the file says: tifffile then just gives what is left."""
        first = self.file.series[0]
        held = prod(first.shape)
        said = (self.file.imagej_metadata or {}).get("images", 0) * prod(first.keyframe.shape)
        if self.file.shaped_metadata and first.kind != "imagej":
            said = prod(self.file.shaped_metadata[0].get("shape", ()))
        if said > held:
            page = prod(first.keyframe.shape)
            raise FileError(f"{path} is truncated or damaged: it holds {held // page} of {said // page} planes.")


def _check_chain(path: Path, file: tifffile.TiffFile) -> None:
    """Raise FileError if the chain of pages leads back into itself: tifffile would follow it without end."""
    if (file.is_imagej or file.is_shaped) and file.pages.first.is_contiguous:
        return  # one page tells where all are; reading the others may take long
    form, handle, offset, seen = file.tiff, file.filehandle, file.pages.first.offset, set[int]()
    while 0 < offset < handle.size:
        if offset in seen:
            raise FileError(f"{path} is damaged: after page {len(seen)} its pages begin anew. Save or copy it again.")
        seen.add(offset)
        handle.seek(offset)
        count = handle.read(form.tagnosize)
        if len(count) == form.tagnosize:
            handle.seek(struct.unpack(form.tagnoformat, count)[0] * form.tagsize, 1)
        end = handle.read(form.offsetsize)
        offset = struct.unpack(form.offsetformat, end)[0] if len(end) == form.offsetsize else 0


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs as errors (a chain of pages that breaks off) instead of raising it."""
    messages: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


class TiffArray(PagedArray):
    """One series of a TIFF file, a page at a time; threads may share it.

    Uncompressed contiguous series are read from their place in the file (ImageJ writes stacks above 4 GB with one page
    only), others page by page.
    """

    def __init__(self, path: Path, owner: _Owner, series: tifffile.TiffPageSeries) -> None:
        page_shape = _page_shape(series)
        if page_shape is None:
            raise FileError(f"{path}: an image of {series.shape} in pages of {series.keyframe.shape} is not supported.")
        super().__init__(series.shape, series.dtype, len(page_shape), path)
        self._pages = series.pages
        self._offset = None if series.is_multifile else series.dataoffset
        self._file_dtype = self.dtype.newbyteorder(owner.file.byteorder)
        self._page_shape = page_shape
        self._owner = owner

    def read_page(self, number: int) -> NDArray[Any]:
        """Read one page."""
        try:
            page = self._read_raw(number) if self._offset is not None else self._read_coded(number)
        except Exception as error:  # what a damaged file makes a decoder raise is not known beforehand
            raise FileError(
                f"{self.path}: plane {number} of {self.num_pages} cannot be read ({error}). "
                "The file may be truncated or damaged."
            ) from error
        return page

    def _read_raw(self, number: int) -> NDArray[Any]:
        count = prod(self._page_shape)
        offset = self._offset + number * count * self.dtype.itemsize
        page = np.fromfile(self.path, self._file_dtype, count, offset=offset)
        if page.size < count:
            raise ValueError(f"it ends after {page.size} of {count} values")
        return page.astype(self.dtype, copy=False).reshape(self._page_shape)

    def _read_coded(self, number: int) -> NDArray[Any]:
        with self._owner.lock:
            if number >= len(self._pages):
                raise ValueError(f"the file has {len(self._pages)} pages")
            page = self._pages[number]
        if page is None:
            raise ValueError("the file does not hold it")
        pixels = page.asarray(lock=self._owner.lock)
        if pixels is None or pixels.size != prod(self._page_shape):
            raise ValueError("it is incomplete")
        return np.asarray(pixels).reshape(self._page_shape)


def _page_shape(series: tifffile.TiffPageSeries) -> tuple[int, ...] | None:
    """The last axes of the series that a page holds, with axes of length 1 that the page itself leaves out."""
    page = [n for n in series.keyframe.shape if n > 1]
    for k in reversed(range(len(series.shape) + 1)):
        if [n for n in series.shape[k:] if n > 1] == page and prod(series.shape[:k]) == len(series.pages):
            return tuple(series.shape[k:])
    return None


def read_tiff(path: Path, *, labels: bool = False) -> Stack:
    """Open a TIFF: see `stacks.open_stack`; as ``labels``, samples are never taken for colours."""
    owner = _Owner(path)
    if len(owner.file.series) > 1:
        _check_other_series(path, owner.file)
    return _stack(path, owner, owner.file.series[0], labels)


def read_tiff_images(path: Path, *, labels: bool = False) -> list[Stack]:
    """Open each series of a TIFF, of whatever sizes they are."""
    owner = _Owner(path)
    stacks = [_stack(path, owner, series, labels) for series in owner.file.series]
    return [replace(s, name=f"{s.name}_{k:04d}") for k, s in enumerate(stacks)] if len(stacks) > 1 else stacks


def _stack(path: Path, owner: _Owner, series: tifffile.TiffPageSeries, labels: bool) -> Stack:
    axes, named = _axes(series, labels)
    if labels and "s" in axes:
        raise InputError(
            f"{path.name} is a colour image {series.shape}; labels need one whole number a pixel. Save it as a TIFF of "
            "integers without colours (Image > Type > 8-bit or 16-bit in ImageJ)."
        )
    steps = _steps(owner.file, series)
    scale, units = zip(*(steps.get(a, (1.0, "")) for a in axes), strict=True)
    return Stack(TiffArray(path, owner, series), axes, scale, units, name=stem(path), named=named)


def _check_other_series(path: Path, file: tifffile.TiffFile) -> None:
    first, *others = file.series
    if first.kind in ("generic", "uniform", "shaped"):
        raise InputError(
            f"{path.name} holds images of different sizes ({first.shape}, {others[0].shape}, ...), which are no stack: "
            "open them one by one with open_images."
        )
    warnings.warn(
        f"{path.name} holds {len(file.series)} images; only the first, {first.shape}, is used.",
        DegradedDataWarning,
        stacklevel=4,
    )


def _axes(series: tifffile.TiffPageSeries, labels: bool) -> tuple[str, bool]:
    """Axes in our letters, samples as colours only where they are; and whether none of them is guessed."""
    axes = series.axes.lower()
    if (
        series.kind == "shaped"
        and "s" not in axes
        and "axes" not in (series.keyframe.parent.shaped_metadata or ({},))[0]
    ):
        axes = "q" * (len(axes) - 2) + "yx"  # tifffile takes others for y and x where these are of length 1
    colours = series.keyframe.photometric in (2, 3, 5, 6, 8)  # RGB, palette, CMYK, YCbCr, CIELab
    if "s" in axes and labels and not axes.endswith("s"):
        axes = axes.replace("s", "q")  # three slices that a writer took for the planes of a colour image
    elif "s" in axes and not colours and "c" not in axes:
        axes = axes.replace("s", "c")
    letters = list(axes)
    unknown = [k for k, a in enumerate(axes) if a == "q" or not a.isalpha() or a in axes[:k]]
    free = [a for a in _UNNAMED.get(len(unknown), "") if a not in axes and not (a == "c" and "s" in axes)]
    free = [a for a in "klmnpuvw" if a not in axes] + free
    for k, letter in zip(reversed(unknown), reversed(free), strict=False):
        letters[k] = letter
    return "".join(letters), not unknown


# -- spacing ----------------------------------------------------------------------------------------------------------
def _steps(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> dict[str, tuple[float, str]]:
    """Axis letter -> (step, unit), for those the file knows."""
    try:
        if file.is_ome and file.ome_metadata:
            return _ome_steps(file.ome_metadata, file.series.index(series))
        metadata = file.imagej_metadata or (file.shaped_metadata or ({},))[0]
        return _imagej_steps(metadata, series.keyframe)
    except Exception as error:  # foreign metadata make parsers raise anything
        warnings.warn(f"the pixel size in the file was not understood ({error!r}).", DegradedDataWarning, stacklevel=4)
        return {}


def _ome_steps(text: str, number: int) -> dict[str, tuple[float, str]]:
    image = tifffile.xml2dict(text)["OME"]["Image"]
    pixels = (image[number] if isinstance(image, list) else image)["Pixels"]
    keys = {a: (f"PhysicalSize{a.upper()}", "µm") for a in "zyx"} | {"t": ("TimeIncrement", "s")}
    return {
        axis: (float(pixels[key]), unit_name(pixels.get(f"{key}Unit", default)))
        for axis, (key, default) in keys.items()
        if float(pixels.get(key, 0)) > 0
    }


def _imagej_steps(metadata: Mapping[str, Any], page: Any) -> dict[str, tuple[float, str]]:
    steps = {}
    unit = unit_name(metadata.get("unit"))
    tagged = page.tags.valueof("ResolutionUnit", default=_INCH)
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        count, length = page.tags.valueof(tag, default=(0, 0))
        if not count or not length:
            continue
        if tagged == _CENTIMETER and not (_is_printed(2.54 * count / length) or (unit and "ImageJ" in metadata)):
            steps[axis] = (convert(length, "centimeter", unit or "micrometer") / count, unit or "micrometer")
        elif unit:  # ImageJ's counts in it, whatever the tag says
            steps[axis] = (length / count, unit)
        elif tagged == _INCH and count / length > _MOST_PRINTED:
            steps[axis] = (convert(2.54 * length, "centimeter", "micrometer") / count, "micrometer")
    spacing, interval, rate = (abs(float(metadata.get(name, 0))) for name in ("spacing", "finterval", "fps"))
    if unit and 0 < spacing < inf:
        steps["z"] = (spacing, unit)
    interval = interval or (1 / rate if rate else 0)
    if 0 < interval < inf:
        steps["t"] = (interval, unit_name(metadata.get("tunit", "s")))
    return steps


def _is_printed(density: float) -> bool:
    return any(abs(density / usual - 1) < 1e-3 for usual in _PRINTED)


# -- writing ----------------------------------------------------------------------------------------------------------
def write_tiff(
    path: Path, planes: Iterator[NDArray[Any]], like: Stack, dtype: np.dtype[Any], provenance: Mapping[str, Any]
) -> None:
    """Write single-channel planes, one after the other, as a compressed TIFF with the geometry of ``like``.

    OME-TIFF where the name says so; else what ImageJ understands where it can hold these axes and numbers; else a
    TIFF that describes its axes (tifffile's), BigTIFF from 4 GB.
    """
    axes = like.plane_axes + "yx"
    shape = (*like.grid, *like.plane_shape)
    steps = {a: (like.scale[like.axes.index(a)], like.units[like.axes.index(a)]) for a in axes}
    big = prod(shape) * dtype.itemsize >= _CLASSIC_LIMIT
    options: dict[str, Any] = {"bigtiff": big}
    counted_in, tag = "centimeter", "CENTIMETER"  # what other programs than ImageJ read
    if is_ome(path):
        options |= {"ome": True, "metadata": _ome_metadata(axes, steps, provenance)}
    else:
        thin = shape[-1] == 1  # ImageJ's format forgets this axis
        imagej = not big and not thin and dtype.name in _IMAGEJ_DTYPES and axes in ("yx", "zyx", "tyx", "tzyx")
        metadata = _imagej_metadata(axes, steps)
        if imagej and dtype.name == "uint32":  # ImageJ opens it as 32-bit; tifffile would not write it
            info = tifffile.imagej_metadata_tag({"Info": json.dumps(provenance, indent=1)}, "<")
            text = tifffile.imagej_description(shape, rgb=False, **metadata)
            options |= {"byteorder": "<", "description": text, "metadata": None, "extratags": info}
        else:
            note = {"Info": json.dumps(provenance, indent=1)} if imagej else {"provenance": dict(provenance)}
            options |= {"imagej": imagej, "metadata": {**metadata, **note}}
        if imagej:
            counted_in, tag = steps["x"][1], "NONE"
    if like.spacing is not None:
        y, x = (convert(abs(steps[a][0]), steps[a][1], counted_in) for a in "yx")
        options |= {"resolution": (1 / x, 1 / y), "resolutionunit": tag}
    data = np.stack(list(planes)).reshape(shape) if shape[-1] == 1 else planes  # tifffile makes one page of all these
    tifffile.imwrite(
        path, data, shape=shape, dtype=dtype, photometric="minisblack", compression="zlib",
        compressionargs={"level": 4}, **options,
    )  # fmt: skip


def _imagej_metadata(axes: str, steps: Mapping[str, tuple[float, str]]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes.upper()}
    if steps["x"][1]:
        metadata["unit"] = _escaped(imagej_symbol(steps["x"][1]))
    if "z" in steps and steps["z"][1]:
        metadata["spacing"] = convert(abs(steps["z"][0]), steps["z"][1], steps["x"][1])
    if "t" in steps and steps["t"][1]:
        metadata |= {"finterval": steps["t"][0], "tunit": _escaped(imagej_symbol(steps["t"][1]))}
    return metadata


def _escaped(unit: str) -> str:
    """A unit as ImageJ writes it: its metadata are ASCII."""
    return "".join(c if c.isascii() else f"\\u{ord(c):04x}" for c in unit)


def is_ome(path: Path) -> bool:
    """Whether the name of a file says OME-TIFF."""
    return path.name.lower().endswith((".ome.tif", ".ome.tiff"))


def check_ome_axes(axes: str) -> str:
    """What axes are called in an OME-TIFF, which knows no collections: images become times.

    Raises
    ------
    InputError
        It cannot hold them.
    """
    named = axes if set(axes) <= set("tzyx") else "".join(a if a in "zyx" else "t" for a in axes)
    if len(set(named)) != len(named):
        raise InputError(f"OME-TIFF cannot hold the axes {axes!r}; name the output .tif or .zarr instead.")
    return named


def _ome_metadata(axes: str, steps: Mapping[str, tuple[float, str]], provenance: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": check_ome_axes(axes).upper(), "Description": json.dumps(provenance)}
    for axis, (step, unit) in steps.items():
        key = "TimeIncrement" if axis == "t" else f"PhysicalSize{axis.upper()}"
        if unit and axis in "tzyx":
            metadata |= {key: abs(step), f"{key}Unit": ome_symbol(unit)}
    return metadata
