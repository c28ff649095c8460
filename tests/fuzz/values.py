"""Arrays, labels, examples, files of our own (sets, keys, weights, sessions, configs), outputs and the command line."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
import torch  # now, as its import needs more memory than an attempt may take
from damage import altered, altered_text, damage_folder, damaged
from files import PROOF, SHAPE, Bomb, check_stack, pictures, tiffs, volume, zarrs
from registry import target

from napari_incontext_seg.core.example_set import ExampleItem, ExampleSet
from napari_incontext_seg.core.labels import as_labels, split_ignored
from napari_incontext_seg.core.palette import Palette, passes
from napari_incontext_seg.core.sparse_change import SparseChange
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Context, Example, Segmentation
from napari_incontext_seg.errors import InContextError
from napari_incontext_seg.io.example_sets import load_examples, save_examples
from napari_incontext_seg.io.label_folder import LabelFolder
from napari_incontext_seg.io.labels import LabelWriter
from napari_incontext_seg.io.stacks import open_labels, open_stack, stack_from_array
from napari_incontext_seg.session.settings import RunSettings

DTYPES = (
    "?",
    "u1",
    "i1",
    "u2",
    "i2",
    ">u2",
    "u4",
    "i4",
    "u8",
    "i8",
    "f2",
    "f4",
    "f8",
    "g",
    "c8",
    "O",
    "U3",
    "S2",
    "M8[s]",
    "V4",
)


def array(random: Random, most: int = 6) -> Any:
    """An array of any kind, sometimes no array at all."""
    if random.randrange(25) == 0:
        return random.choice((None, 3, "text", [], [[1, 2], [3, 4]], [[]], {}, object(), b"x"))
    shape = tuple(
        random.choice((0, 1, 2, 3, 4, 5, 16, 24)) for _ in range(random.choice((0, 1, 2, 2, 2, 3, 3, 4, 5, 6)))
    )
    shape = shape if math.prod(shape) < 10**5 else (24, 20)
    rng = np.random.default_rng(random.randrange(2**32))
    dtype = np.dtype(random.choice(DTYPES))
    values = rng.integers(0, random.choice((1, 2, most, 200, 2**33)), shape)
    with np.errstate(all="ignore"):
        made = values.astype(dtype) if dtype.kind != "V" else np.zeros(shape, dtype)
    if made.size and dtype.kind in "iuf" and random.randrange(2):
        info = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        odd = [info.max, info.min, *((np.nan, np.inf, -np.inf, 0.5, -0.0) if dtype.kind == "f" else ())]
        made[tuple(rng.integers(0, n) for n in shape)] = random.choice(odd)
    if made.ndim >= 2 and random.randrange(3) == 0:
        made = random.choice((made.T, made[::-1], made[..., ::2], np.asfortranarray(made)))
    if random.randrange(10) == 0:
        made.flags.writeable = False
    return made


@target("image arrays")
def fuzz_images(random: Random, folder: Path) -> None:
    given = array(random)
    if not isinstance(given, np.ndarray):
        given = np.asarray(given, object)
    before = given.copy()
    letters = "".join(random.choice("yxyxzctsi") for _ in range(given.ndim))
    stack = Stack(given, letters) if random.randrange(2) else stack_from_array(given, random.choice((None, letters)))
    check_stack(stack)
    assert np.array_equal(before, given, equal_nan=given.dtype.kind in "fc"), "the input was changed"


@target("labels")
def fuzz_labels(random: Random, folder: Path) -> None:
    given = array(random, 20)
    ignored = random.choice((None, 0, 1, -1, 255, 2**32, 2**70, 0.5, float("nan")))
    if random.randrange(2):
        labels = as_labels(given, random.choice((None, None, (24, 20), np.shape(given))))
        assert labels.dtype == np.uint32
        assert (labels == np.asarray(given)).all(), "ids were changed"
    else:
        labels, valid = split_ignored(given, ignored)
        assert labels.shape == valid.shape
        assert (labels[valid] == np.asarray(given)[valid]).all()
    if labels.size:
        other = as_labels(np.roll(labels, 1))
        change = SparseChange.between(labels, other)
        assert (change.apply(labels) == other).all()
        assert (change.revert(other) == labels).all()


def odd_example(random: Random) -> Example:
    image = array(random)
    if random.randrange(2):
        image = np.random.default_rng(random.randrange(2**32)).random((24, 20, random.choice((1, 3))), np.float32)
    labels = array(random) if random.randrange(2) else volume(np.uint32, (24, 20)) % 5
    valid = random.choice((None, None, np.ones((24, 20), bool), np.zeros((24, 20), bool), array(random)))
    spacing = random.choice((None, (1.0, 2.0), (0, 1), (float("nan"), 1), (1,), "ab", (-1, 1), 3))
    return Example(image, labels, valid, spacing)


@target("examples and contexts")
def fuzz_examples(random: Random, folder: Path) -> None:
    odd = random.randrange(2)
    examples = [odd_example(random) if odd else plain_set().items[0].example for _ in range(random.randrange(1, 3))]
    kind = random.choice(("semantic", "instance", "semantic", "instance", "", None, 3))
    context = Context(tuple(examples), kind, random.choice(({}, {1: "cell"}, {-1: ""})))
    assert len(context.fingerprint) == 64
    assert list(context.ids) == sorted(set(context.ids))
    if random.randrange(3) == 0:
        Segmentation(array(random), array(random))


@target("undo whose files are damaged")
def fuzz_journal(random: Random, folder: Path) -> None:
    from napari_incontext_seg.session.journal import Journal

    journal, planes = Journal(memory_bytes=1), [volume(np.uint32, (24, 20)) * k for k in range(4)]
    with mock.patch("tempfile.mkdtemp", return_value=str(folder)):
        for k in range(3):
            journal.record(k, 0, planes[k], planes[k + 1])
    if random.randrange(3):
        damage_folder(random, folder)
    for k in (2, 1, 0):
        for entry in journal.undo_run():
            reverted = entry.change.revert(planes[k + 1])
            assert reverted.shape == planes[k].shape


@target("tracks and links")
def fuzz_tracks(random: Random, folder: Path) -> None:
    from napari_incontext_seg.core.tracks import Tracks
    from napari_incontext_seg.infer.linking import link

    frames = [array(random, 20) if random.randrange(4) == 0 else volume(np.uint32, (24, 20)) // 60 for _ in range(3)]
    if random.randrange(2):
        parents = random.choice((None, {2: (1,)}, {1: (1,)}, {1: (99,)}, {2: ()}))
        tracks = Tracks.measure(frames, parents=parents)
        assert len(tracks.track) == len(tracks.frame)
        assert (tracks.area > 0).all()
    else:
        link(frames)


@target("files that vanish or change")
def fuzz_vanishing(random: Random, folder: Path) -> None:
    """A disk that is unplugged, a file that is written anew, while it is read plane by plane."""
    kind = random.randrange(4)
    if kind == 0:
        path = folder / "a.tif"
        path.write_bytes(random.choice(tiffs()))
    elif kind == 1:
        path = folder / f"a.{pictures()[0][0]}"
        path.write_bytes(pictures()[0][1])
    elif kind == 2:
        path = folder / "a.zarr"
        shutil.copytree(zarrs() / "new.zarr", path)
    else:
        path = folder / "images"
        path.mkdir()
        for k in range(3):
            (path / f"p{k}.png").write_bytes(pictures()[1][1])
    stack = open_stack(path).normalized()
    place = path if path.is_dir() else folder
    if random.randrange(2):
        damage_folder(random, place)
    else:
        shutil.rmtree(place)
        place.mkdir()
    for position in range(len(stack)):
        assert stack.plane(position).shape[:2] == stack.plane_shape


@target("palettes")
def fuzz_palettes(random: Random, folder: Path) -> None:
    ids = [random.choice((*range(20), 255, 2**31, 2**32 - 1, 2**32, -1, 2**70)) for _ in range(random.randrange(20))]
    for group in passes(ids):
        palette = random.choice((Palette.fixed, lambda i: Palette.random(i, np.random.default_rng(0))))(group)
        labels = np.random.default_rng(0).choice(np.array(palette.ids, np.uint32), (6, 7))
        read, sure = palette.decode(palette.paint(labels))
        assert (read == labels).all()
        assert (sure > 0.99).all()


# -- our own files ------------------------------------------------------------------------------------------------
def plain_set() -> ExampleSet:
    labels = np.zeros((24, 20), np.uint32)
    labels[3:9, 4:12] = 2
    items = [
        ExampleItem(Example(np.full((24, 20, 1), 0.5, np.float32), labels, None, (0.5, 0.5)), "a", "image", k, (k,))
        for k in range(2)
    ]
    return ExampleSet(tuple(items), "semantic", {2: "nucleus"}, {2: (1.0, 0.0, 0.0)})


@cache
def our_files() -> dict[str, bytes]:
    """An example set, a key and weights of both containers."""
    from safetensors.torch import save

    from napari_incontext_seg.infer.key import Key, Learned
    from napari_incontext_seg.model import create_model

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_examples(folder / "a.incontext", plain_set())
        tensors = {"images": np.zeros((1, 3, 4, 4), np.float16)}
        context = Context(tuple(item.example for item in plain_set().items), "semantic", {2: "nucleus"})
        learned = Learned(12.5, 40, 0.5, 0.75, kept=True)
        Key("prompt", "tiny", "abc" * 20, context, tensors, learned, Palette.fixed([0, 2])).save(folder / "key")
        made = {"set": (folder / "a.incontext").read_bytes(), "key": (folder / "key").read_bytes()}
    state = create_model("seggpt_tiny_test").state_dict()
    stream = io.BytesIO()
    torch.save({"model": state}, stream)
    return {**made, "safetensors": save(dict(state)), "torch": stream.getvalue()}


def altered_tensors(random: Random, content: bytes) -> bytes:
    """A safetensors file: damaged, or its header altered where it is JSON, and JSON inside that."""
    if random.randrange(3) == 0:
        return damaged(random, content, random.choice((0, 1, 2)))
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    facts = header.get("__metadata__", {})
    inner = [name for name, text in facts.items() if text.startswith("{")]
    if inner and random.randrange(3):
        name = random.choice(inner)
        facts[name] = altered_text(random, facts[name]).decode("utf-8", "replace")
    else:
        header = altered(random, header)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


@target("example sets")
def fuzz_sets(random: Random, folder: Path) -> None:
    path = folder / "a.incontext"
    path.write_bytes(altered_tensors(random, our_files()["set"]))
    examples = load_examples(path)
    again = save_examples(folder / "again.incontext", examples)
    assert len(load_examples(again)) == len(examples)


@target("keys")
def fuzz_keys(random: Random, folder: Path) -> None:
    from napari_incontext_seg.infer.key import Key

    path = folder / "key.safetensors"
    path.write_bytes(altered_tensors(random, our_files()["key"]))
    key = Key.load(path)
    assert len(key.digest) == 64
    assert Key.load(key.save(folder / "again")).digest == key.digest


@target("weights")
def fuzz_weights(random: Random, folder: Path) -> None:
    from napari_incontext_seg.model.checkpoint import load_model

    path = folder / "weights.pth"
    what = random.randrange(4)
    if what == 0:
        path.write_bytes(altered_tensors(random, our_files()["safetensors"]))
    elif what == 1:
        path.write_bytes(damaged(random, our_files()["torch"], random.choice((0, 1, 2))))
    elif what == 2:
        bomb, tensor = Bomb(folder / PROOF), torch.zeros(random.choice(((0,), (1,), (2, 3))))
        content = random.choice(
            (bomb, {"model": bomb}, {"mask_token": tensor, "x": bomb}, [tensor], {"model": {"blocks.0": tensor}})
        )
        torch.save(content, path, _use_new_zipfile_serialization=bool(random.randrange(2)))
    else:
        path = folder / "model"
        path.mkdir()
        (path / "part.safetensors").write_bytes(altered_tensors(random, our_files()["safetensors"]))
        name = random.choice(("part.safetensors", "../part.safetensors", "/etc/passwd", "none", "", 3))
        index = json.dumps({"weight_map": {"a": name}})
        (path / "model.safetensors.index.json").write_bytes(
            random.choice((index.encode(), altered_text(random, index)))
        )
        if random.randrange(2):
            (path / "config.json").write_bytes(altered_text(random, '{"merge_index": 2, "num_attention_heads": 2}'))
    model = load_model(path)
    assert all(bool(torch.isfinite(p).all()) for p in model.network.parameters())


@cache
def session() -> Path:
    """A session's folder."""
    import atexit

    from napari_incontext_seg.session.autosave import Autosave

    place = Path(tempfile.mkdtemp(prefix="incontext-fuzz-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    stack = Stack(volume(), "zyx", name="blocks")
    saving = Autosave(place / "session", stack)
    for z in range(3):
        saving.save_plane(z, volume()[z])
        saving.save_touched(z, volume()[z] > 100)
        saving.save_confidence(z, 0.5)
        saving.save_verified(z, z == 1)
    saving.save_settings(RunSettings(model="guess"))
    saving.save_examples(plain_set())
    saving.close()
    return place / "session"


@target("sessions")
def fuzz_sessions(random: Random, folder: Path) -> None:
    from napari_incontext_seg.session.autosave import Autosave
    from napari_incontext_seg.session.project import Project
    from napari_incontext_seg.session.saved import load_session

    place = folder / "session"
    shutil.copytree(session(), place)
    damage_folder(random, place)
    stack = Stack(volume(), "zyx", name="blocks")
    found = load_session(place, stack)
    planes = Planes(stack)
    project = Project(stack, planes)
    found.restore_into(project)
    assert str(found)
    assert all(0 <= p < len(stack) for p in (*project.verified, *project.confidence))
    saving = Autosave(place, stack, resumed=True)
    saving.save_plane(0, planes.read(0))
    saving.close()


class Planes:
    """Labels in memory."""

    def __init__(self, stack: Stack) -> None:
        self.data = np.zeros((len(stack), *stack.plane_shape), np.uint32)

    def __len__(self) -> int:
        return len(self.data)

    def read(self, position: int) -> np.ndarray[Any, Any]:
        return self.data[position].copy()

    def write(self, position: int, plane: Any) -> None:
        self.data[position] = plane


@target("settings of a run")
def fuzz_settings(random: Random, folder: Path) -> None:
    value = json.loads(json.dumps(RunSettings(num_examples=2, where="range", span=(0, 2), along="z").as_dict()))
    for _ in range(random.randrange(3)):
        value = altered(random, value)
    if not isinstance(value, dict):
        return
    settings = RunSettings.from_dict(value)
    assert RunSettings.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


@target("configs of a training")
def fuzz_configs(random: Random, folder: Path) -> None:
    from napari_incontext_seg.train.config import read_config

    lines = [
        "seed = 1",
        "[model]",
        'network = "micro"',
        "[batch]",
        "size = 4",
        "examples = [1, 2]",
        "[optimizer]",
        "steps = 10",
        "learning_rate = 1e-3",
        "[report]",
        "log_steps = 3",
        "[episodes]",
    ]
    odd = (
        "-1",
        "0",
        "1e999",
        "nan",
        "inf",
        '"x"',
        "[]",
        "[[1]]",
        "{}",
        "true",
        "1979-05-27",
        str(10**30),
        "0.5",
        "[1, 'a']",
        "'''",
    )
    for _ in range(random.randrange(4)):
        at = random.randrange(len(lines))
        lines[at] = f"{lines[at].partition('=')[0].strip('[]')} = {random.choice(odd)}"
    path = folder / "train.toml"
    text = "\n".join(lines).encode()
    path.write_bytes(damaged(random, text, random.choice((0, 0, 0, 1))))
    config = read_config(path)
    assert config.batch.size >= 1
    assert config.scene >= 1


# -- outputs ------------------------------------------------------------------------------------------------------
@target("outputs")
def fuzz_outputs(random: Random, folder: Path) -> None:
    """Labels that do not fit, a disk that fills up, a folder that may not be written to: whole files, or none."""
    like = Stack(
        volume(),
        "zyx",
        random.choice(((), (2.0, 0.5, 0.5), (0.0, -1.0, float("nan")))),
        random.choice(((), ("micrometer",) * 3, ("x", "\x00", "é" * 99))),
        name=random.choice(("a", "../a", "", "a/b", "é" * 300)),
    )
    name = random.choice(
        ("o.tif", "o.ome.tif", "o.zarr", "o.zarr", "o.TIF", "o.png", "", "x" * 260 + ".tif", "sub/o.tif", "o.tif/x.tif")
    )
    path, blocks = folder / "out" / name, random.choice((10**9, 10**9, *range(12)))
    planes = [volume(np.uint32)[k] if random.randrange(5) else array(random) for k in range(3)]
    sure = random.choice((None, np.ones(SHAPE[1:], np.float32), np.full(SHAPE[1:], np.nan), array(random)))
    with full_disk(blocks), LabelWriter(path, like) as writer:
        for position in random.choice(([0, 1, 2], [2, 0], [0, 0, 3], [-1], [])):
            writer.write(position, planes[position % 3], sure)
    assert not path.exists() or open_labels(path).data.shape == SHAPE
    assert path.exists() or not any(f.name.startswith(".partial") for f in folder.rglob("*"))


@contextlib.contextmanager
def full_disk(blocks: int) -> Any:
    """A disk on which so many files can still be opened for writing."""
    left, real = [blocks], os.open
    opened = io.open

    def spend() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def counted(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if set(mode) & set("wax+"):
            spend()
        return opened(file, mode, *args, **options)

    with mock.patch("io.open", counted), mock.patch("builtins.open", counted), mock.patch("os.open", real):
        yield


@target("outputs of a collection")
def fuzz_collections(random: Random, folder: Path) -> None:
    names = [
        random.choice(("a", "b", "", "../a", "a/b", "/napari-incontext-seg/x", "..", "x" * 260, "é", "a\x00b"))
        for _ in range(2)
    ]
    images = [Stack(volume(shape=(24, 20)), "yx", name=name) for name in names]
    out = folder / "out" / "labels"
    with LabelFolder(out, images) as writer:
        for number in range(2):
            writer.write(number, volume(np.uint32)[number], random.choice((None, np.ones((24, 20)))))
    written = {f for f in folder.rglob("*") if f.is_file()}
    assert all(out in f.parents for f in written), f"outside of the output folder: {written}"


# -- the command line ---------------------------------------------------------------------------------------------
@target("command line")
def fuzz_command_line(random: Random, folder: Path) -> None:
    """Arguments that contradict each other, numbers that are none, files that are not there."""
    from napari_incontext_seg.cli.main import main

    image, labels = folder / "image.npy", folder / "labels.npy"
    np.save(image, volume(shape=(2, 24, 20)))
    np.save(labels, np.stack([volume(shape=(24, 20)) > 100, np.zeros((24, 20), bool)]))
    (folder / "bad.tif").write_bytes(b"II*\x00 bad")
    (folder / "a.incontext").write_bytes(damaged(random, our_files()["set"], random.choice((0, 1))))
    words = (
        image,
        labels,
        folder / "bad.tif",
        folder / "a.incontext",
        folder / "none.tif",
        folder,
        folder / "out.tif",
        "",
        "-1",
        "0",
        "1",
        "99999999999999999999",
        "nan",
        "0:2",
        "1:0",
        ":",
        "0,1",
        "a",
        "z",
        "yx",
        "zyx",
        "qqq",
        "é",
        "--",
        "1e999s",
        "60x",
        "best",
        "auto",
        "guess",
        "*.tif",
        "[",
    )
    options = (
        "--labels",
        "--out",
        "--examples",
        "--key",
        "--tune",
        "--annotated",
        "--kind",
        "--model",
        "--device",
        "--quality",
        "--memory",
        "--num-examples",
        "--select",
        "--direction",
        "--along",
        "--range",
        "--axes",
        "--channels",
        "--ignore",
        "--overwrite",
        "--none",
        "-h",
    )
    command = random.choice(
        ("propagate", "propagate", "propagate", "tune", "track", "examples", "info", "weights", "none")
    )
    if command in ("propagate", "tune", "track") and random.randrange(3):
        arguments = [
            command,
            image,
            "--labels",
            labels,
            "--out",
            folder / "out.tif",
            *(("--model", "guess") if command != "tune" else ()),
        ]
    else:
        arguments = [command]
    for _ in range(random.randrange(4)):
        arguments += [random.choice(options), random.choice(words)]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main([str(a) for a in arguments])
    assert code in (0, 1, 2), code
    assert "Traceback" not in said.getvalue()
    assert "--debug shows where" not in said.getvalue(), f"{arguments}: {said.getvalue()}"
    if (folder / "out.tif").exists():
        open_stack(folder / "out.tif").read(0)
    if code:
        raise InContextError(said.getvalue().strip() or "the help")
