"""Image and label files: damaged, truncated, renamed, of odd kinds, and folders and OME-Zarr with hostile metadata."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import tifffile
from damage import SIZES, VALUES, damage_folder, damaged
from PIL import Image
from registry import PROOF, target

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.io.labels import LabelWriter
from napari_incontext_seg.io.paths import FILE_SUFFIXES
from napari_incontext_seg.io.stacks import open_images, open_label_images, open_labels, open_stack

SHAPE = (3, 24, 20)
MOST = 2**22  # pixels of a plane that a check looks at


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.proof), "w")


def check_stack(stack: Stack) -> None:
    """What holds for every image that could be opened; planes are read as a run reads them."""
    assert len(stack) >= 1
    assert len(stack.data.shape) == len(stack.axes)
    if len(stack) > 50 or stack.plane_shape[0] * stack.plane_shape[1] * stack.num_channels > MOST:
        stack.read(0)  # of any size: a result or an error, in bounded memory
        return
    shown = stack.normalized()
    for position in sorted({0, len(stack) // 2, len(stack) - 1}):
        plane = shown.plane(position)
        assert plane.dtype == np.float32
        assert plane.shape[:2] == stack.plane_shape
        assert plane.shape[2] in (1, 3)
        assert plane.min() >= 0
        assert plane.max() <= 1
    assert stack.spacing is None or all(0 < s < np.inf for s in stack.spacing)


def check_labels(stack: Stack) -> None:
    """What holds for all labels that could be opened."""
    from napari_incontext_seg.core.labels import as_labels

    assert stack.num_channels == 1
    raw = stack.read(0)[..., 0]
    labels = as_labels(raw)
    assert (labels == raw).all()


def use(random: Random, path: Path) -> None:
    """Open a file in one of the ways there are."""
    way = random.randrange(6)
    if way < 3:
        check_stack(open_stack(path))
    elif way == 3:
        check_labels(open_labels(path))
    else:
        opened = open_images(path) if way == 4 else open_label_images(path)
        for stack in opened[:5]:
            check_stack(stack) if way == 4 else check_labels(stack)


def volume(dtype: Any = np.uint8, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@cache
def tiffs() -> tuple[bytes, ...]:
    """Small TIFFs of the kinds that microscopes and programs write."""
    kinds: list[tuple[np.ndarray[Any, Any], dict[str, Any]]] = [
        (
            volume(np.uint16),
            {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 2, "unit": "um"}, "resolution": (2, 2)},
        ),
        (volume(), {"ome": True, "metadata": {"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}}),
        (volume(np.float32), {"compression": "zlib"}),
        (volume(shape=(24, 20, 3)), {"photometric": "rgb"}),
        (volume(np.uint16, (32, 32)), {"tile": (16, 16), "compression": "zlib"}),
        (volume(np.uint32), {"bigtiff": True}),
        (volume(np.uint16), {"byteorder": ">"}),
        (volume(np.float64), {}),
        (volume(bool, (16, 16)), {}),
    ]
    made = []
    for array, options in kinds:
        stream = io.BytesIO()
        tifffile.imwrite(stream, array, **{"photometric": "minisblack", **options})
        made.append(stream.getvalue())
    return tuple(made)


@cache
def pictures() -> tuple[tuple[str, bytes], ...]:
    """PNG, JPEG and BMP in every mode that people have."""
    made = []
    grey = Image.fromarray(volume(shape=SHAPE[1:]))
    modes = {"png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "jpg": ("L", "RGB", "CMYK"), "bmp": ("1", "L", "RGB")}
    for suffix, names in modes.items():
        for mode in names:
            picture = Image.fromarray(volume(np.uint16, SHAPE[1:])) if mode == "I;16" else grey.convert(mode)
            stream = io.BytesIO()
            picture.save(stream, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
            made.append((suffix, stream.getvalue()))
    return tuple(made)


@target("TIFF")
def fuzz_tiff(random: Random, folder: Path) -> None:
    path = folder / random.choice(("a.tif", "a.ome.tif", "a.TIFF", "a.btf"))
    path.write_bytes(damaged(random, random.choice(tiffs()), random.choice((0, 1, 1, 2, 3))))
    use(random, path)


@target("PNG, JPEG, BMP")
def fuzz_pictures(random: Random, folder: Path) -> None:
    suffix, content = random.choice(pictures())
    path = folder / f"a.{suffix}"
    path.write_bytes(damaged(random, content, random.choice((0, 1, 2, 3))))
    use(random, path)


@target("NumPy files")
def fuzz_numpy(random: Random, folder: Path) -> None:
    """Headers that lie, objects, records, archives."""
    what, path = random.randrange(5), folder / "a.npy"
    if what == 0:
        path.write_bytes(
            pickle.dumps(Bomb(folder / PROOF)) if random.randrange(2) else _npy(np.array([Bomb(folder / PROOF)]))
        )
    elif what == 1:
        shape = tuple(random.choice((*SIZES, -1, 3)) for _ in range(random.randrange(6)))
        header = {
            "descr": random.choice(("|u1", "<f8", "|O", "<U9", "<M8[ns]", "|V0", "<c16", "<f2", ">i8", "x", "|S0")),
            "fortran_order": random.choice((True, False, 3)),
            "shape": shape,
        }
        text = (repr(header) + "\n").encode()
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(100))
    elif what == 2:
        path = folder / "a.npz"
        arrays = {f"a{k}": volume() for k in range(random.choice((0, 1, 1, 2)))}
        with path.open("wb") as file:
            (np.savez_compressed if random.randrange(2) else np.savez)(file, **arrays)
        path.write_bytes(damaged(random, path.read_bytes(), random.choice((0, 1, 2))))
    else:
        array = volume(
            random.choice((np.uint8, np.float16, np.complex64, "U3", "M8[s]", bool, [("a", "u1")])),
            random.choice((SHAPE, (5,), (), (2, 2, 2, 2, 2, 2), (0, 3))),
        )
        path.write_bytes(damaged(random, _npy(array), random.choice((0, 1, 2))))
    use(random, path)


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@target("wrong suffix, no image, odd names")
def fuzz_names(random: Random, folder: Path) -> None:
    """Renamed files, empty files, text, and names as people and programs make them."""
    name = random.choice(
        ("a", "ä ö", "名前", " ", "a.b.c", "x" * 200, "-o", "a[1]", "a*", "%s", "a\nb", "..a", "\u202e")
    )
    path = folder / f"{name}{random.choice((*FILE_SUFFIXES, '', '.czi', '.txt', '.pdf'))}"
    contents = (
        b"",
        b"\n",
        b"text",
        b"\x00" * 500,
        random.choice(tiffs()),
        random.choice(pictures())[1],
        _npy(volume()),
        bytes(random.randrange(256) for _ in range(random.randrange(300))),
        b"II*\x00",
        b"MM\x00*\xff\xff\xff\xff",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"BM",
        b"PK\x03\x04",
        b"RIFF\xff\xff\xff\xffAVI ",
    )
    path.write_bytes(random.choice(contents))
    if random.randrange(10) == 0:
        use(
            random,
            folder / random.choice(("none.tif", "no/such.png", "*.png", "[", "**", "a" * 300 + ".tif", "\x00.tif")),
        )
    else:
        use(random, path)


@target("folders of images")
def fuzz_folder(random: Random, folder: Path) -> None:
    place = folder / "images"
    place.mkdir()
    for k in range(random.randrange(5)):
        suffix, content = random.choice(pictures()) if random.randrange(2) else ("tif", random.choice(tiffs()))
        (place / f"p{k}.{suffix}").write_bytes(damaged(random, content, random.choice((0, 0, 1))))
    if random.randrange(6) == 0:
        (place / "p9.png").symlink_to(random.choice((Path("/dev/zero"), place, place / "p9.png", Path("/etc/passwd"))))
    if random.randrange(6) == 0:
        (place / "p8.tif").mkdir()
    use(random, place if random.randrange(3) else place / random.choice(("*.png", "p[0-9].*", "*", "?", "[!]*")))


@cache
def zarrs() -> Path:
    """A folder with an OME-Zarr 0.5 of labels and confidence, an OME-Zarr 0.4, and plain arrays of both formats."""
    import atexit

    import zarr

    folder = Path(tempfile.mkdtemp(prefix="incontext-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    like = Stack(volume(), "zyx", (2.0, 0.5, 0.5), ("micrometer",) * 3)
    with LabelWriter(folder / "new.zarr", like) as writer:
        for z in range(3):
            writer.write(z, volume()[z], np.ones(SHAPE[1:], np.float32))
    group = zarr.open_group(folder / "old.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=volume(np.uint16), chunks=(1, 24, 20))
    labels = group.create_group("labels").create_group("cells")
    labels.create_array("0", data=volume(np.uint32), chunks=(1, 24, 20))
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]}]
    image = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}
    group.attrs.update(image)
    group["labels"].attrs["labels"] = ["cells"]
    labels.attrs.update({**image, "image-label": {"version": "0.4"}})
    zarr.create_array(folder / "plain3.zarr", data=volume(), chunks=(1, 24, 20), dimension_names=("z", "y", "x"))
    zarr.create_array(folder / "plain2.zarr", data=volume(np.float32), chunks=(2, 8, 20), zarr_format=2)
    return folder


@target("OME-Zarr")
def fuzz_zarr(random: Random, folder: Path) -> None:
    source = random.choice(sorted(zarrs().iterdir()))
    path = folder / "a.zarr"
    shutil.copytree(source, path)
    if random.randrange(4):
        damage_folder(random, path)
    else:  # paths that lead out, and pixels without end, where they would do harm
        for file in (f for f in path.rglob("*") if f.name in (".zattrs", ".zarray", "zarr.json")):
            _hostile(random, file)
    use(random, path)


def _hostile(random: Random, file: Path) -> None:
    """Alter exactly what is dangerous: paths, shapes, chunks, names."""
    facts = json.loads(file.read_text())

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            changed = {k: walk(v) for k, v in value.items()}
            for key in changed.keys() & {
                "path",
                "shape",
                "chunks",
                "chunk_shape",
                "name",
                "labels",
                "scale",
                "fill_value",
            }:
                if random.randrange(3) == 0:
                    sizes = [random.choice(SIZES) for _ in range(3)]
                    changed[key] = random.choice((random.choice(VALUES), sizes, ["../../../etc"], "../../outside"))
            return changed
        return [walk(v) for v in value] if isinstance(value, list) else value

    file.write_bytes(json.dumps(walk(facts)).encode("utf-8", "surrogatepass"))
