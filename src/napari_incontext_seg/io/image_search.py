"""Many images at once: what patterns, folders and files stand for, and where the result of each belongs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import FileError, InputError
from .labels import label_files
from .ome_zarr import is_zarr
from .paths import FILE_SUFFIXES, check_exists, is_pattern, natural_key, pattern_base, stem

SUFFIXES = tuple(suffix for suffix in FILE_SUFFIXES if suffix != ".zarr")


def outputs_for(inputs: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Find images, each a stack of its own, and name a label file for each.

    Folders below what an input names are kept, so that images of the same name stay apart.

    Parameters
    ----------
    inputs
        Files; folders, of which the images directly inside are meant; patterns (``"data/**/*.tif"``). A pattern that
        matches nothing but folders means a stack of the images in each. If ``out`` is among them, what is in it is no
        input.
    out
        The folder for the results.

    Returns
    -------
    dict
        Image -> ``.tif``, or ``.zarr`` for a Zarr.

    Raises
    ------
    FileError
        An input does not exist, or holds no image.
    InputError
        Two images would have the same result.
    """
    singles = [path.absolute() for path in inputs if not is_pattern(path) and not _is_plain_folder(path)]
    shared = Path(os.path.commonpath([path.parent for path in singles])) if singles else Path()
    found: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for given in inputs:
        base, images = _images(given.absolute())
        base = shared if given.absolute() in singles else base
        earlier = out.absolute() if base in out.absolute().parents else None
        inside = [image for image in images if earlier is None or earlier not in image.parents]
        if not inside:
            deeper = next((f for f in given.glob("*/*") if _is_image(f)), None) if given.is_dir() else None
            hint = (
                "" if deeper is None else f" For those in subfolders, quote a pattern: '{given}/**/*{deeper.suffix}'."
            )
            raise FileError(f"{given} holds no image: expected files that end in {', '.join(FILE_SUFFIXES)}.{hint}")
        for image in inside:
            target = out / image.relative_to(base).with_name(_result_name(image))
            for file in label_files(target):
                if taken.setdefault(file, image) != image:
                    raise InputError(
                        f"{taken[file]} and {image} would both be written to {file}: rename one, or give them an "
                        "output folder each."
                    )
            found[image] = target
    return found


def _images(path: Path) -> tuple[Path, list[Path]]:
    """The images that an input stands for, in natural order, and the folder from which their paths count."""
    if is_pattern(path):
        base = pattern_base(path)
        matching = [match for match in base.glob(str(path.relative_to(base))) if not match.name.startswith(".")]
        images = [match for match in matching if _is_image(match)]
        if not images and all(match.is_dir() for match in matching):
            images = [folder for folder in matching if any(_is_image(file) for file in folder.iterdir())]
    else:
        check_exists(path)
        if not _is_plain_folder(path):
            return path.parent, [path]
        base, images = path, [file for file in path.iterdir() if _is_image(file)]
    return base, sorted(images, key=lambda image: [natural_key(Path(part)) for part in image.parts])


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not is_zarr(path)


def _is_image(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in SUFFIXES if path.is_file() else is_zarr(path)


def _result_name(image: Path) -> str:
    if is_zarr(image):
        return f"{stem(image)}.zarr"
    whole = image.name if image.is_dir() else stem(image)  # a dot in a folder's name begins no suffix
    return f"{whole}.ome.tif" if image.name.lower().endswith((".ome.tif", ".ome.tiff")) else f"{whole}.tif"
