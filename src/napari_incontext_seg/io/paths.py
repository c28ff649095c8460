"""Names of files: which are images, what they are called, in which order people mean them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import FileError

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".lsm")
RASTER_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".webm", ".wmv")
IMAGE_SUFFIXES = TIFF_SUFFIXES + RASTER_SUFFIXES
FILE_SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".npy", ".npz", ".zarr")  # what is so called is no plain folder
ZARR_MARKERS = ("zarr.json", ".zgroup", ".zarray")
CHALLENGE_TABLES = ("res_track.txt", "man_track.txt")  # of a folder of the Cell Tracking Challenge, and its labels:
CHALLENGE_MASKS = ("mask*.tif", "man_track*.tif")
READABLE = "TIFF, PNG, JPEG, BMP, .npy, .npz, OME-Zarr, videos, a folder of images, or a pattern such as 'images/*.png'"

PathLike = str | os.PathLike[str]


def stem(path: Path) -> str:
    """File name without its suffix, double (``.ome.tif``) or not."""
    name = path.name
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return path.stem


def check_exists(path: Path) -> None:
    """Raise FileError if there is no such file or folder, or its name is none."""
    try:
        exists = path.exists()
    except OSError as error:  # too long a name
        raise FileError(f"{path.name[:40]}... cannot be opened: {error.strerror or error}.") from error
    if not exists:
        raise FileError(f"{path} does not exist.")


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sort key under which ``slice2.png`` comes before ``slice10.png``."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def is_pattern(path: Path) -> bool:
    """Whether ``path`` names several files by wildcards, and is not itself a file called so."""
    if not any(c in str(path) for c in "*?["):
        return False
    try:
        return not path.exists()
    except OSError:  # too long for a file's name
        return True


def pattern_base(pattern: Path) -> Path:
    """The folder below which ``pattern`` looks: its longest part that is one, whose name may hold brackets itself."""
    base = pattern
    while not _is_folder(base):
        base = base.parent
    return base


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # too long for a file's name
        return False


def image_files(path: Path) -> list[Path]:
    """Return the images of a folder, or those that match a pattern, in natural order.

    Of a folder of the Cell Tracking Challenge its label images: what lies beside them is about them.

    Raises
    ------
    FileError
        There is none, or the folder cannot be read.
    """
    try:
        found = _matching(path) if is_pattern(path) else masks_with_tracks(path) or list(path.iterdir())
        files = [f for f in found if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith(".") and f.is_file()]
    except OSError as error:
        raise FileError(f"the folder {path} cannot be read: {error.strerror or error}.") from error
    if not files:
        raise FileError(f"{path} holds no image: expected files that end in {', '.join(IMAGE_SUFFIXES)}.")
    return sorted(files, key=natural_key)


def masks_with_tracks(folder: Path) -> list[Path]:
    """The label images of a folder of the Cell Tracking Challenge, in order; none if it is no such folder."""
    if not any((folder / name).is_file() for name in CHALLENGE_TABLES):
        return []
    found = (sorted(folder.glob(pattern), key=natural_key) for pattern in CHALLENGE_MASKS)
    return next((files for files in found if files), [])


def input_files(path: Path) -> list[Path]:
    """The files that ``path`` stands for: itself, or the images of a folder or pattern.

    Raises
    ------
    FileError
        A folder or pattern holds no image.
    """
    path = path.expanduser()
    folder = path.is_dir() and not any((path / marker).exists() for marker in ZARR_MARKERS)
    return image_files(path) if folder or is_pattern(path) else [path]


def label_inputs(path: Path) -> list[Path]:
    """As `input_files`, of labels; with those inside a Zarr image, which it may stand for."""
    inside = path.expanduser() / "labels"
    return [*input_files(path), *(inside.iterdir() if path.suffix.lower() == ".zarr" and inside.is_dir() else ())]


def _matching(pattern: Path) -> list[Path]:
    base = pattern_base(pattern)
    return list(base.glob(str(pattern.relative_to(base))))
