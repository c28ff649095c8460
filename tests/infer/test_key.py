"""A key is read back as it was written, and a file that is none is told so, whatever it holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from napari_incontext_seg.core.palette import Palette
from napari_incontext_seg.core.types import Context, Example
from napari_incontext_seg.errors import FileError, InContextError, KeyFileError
from napari_incontext_seg.infer.key import Key, Learned, rounded


def make_key(**changes: object) -> Key:
    random = np.random.default_rng(0)
    labels = np.zeros((20, 30), np.uint32)
    labels[4:9, 5:20] = 70_000
    valid = np.ones((20, 30), bool)
    valid[:3] = False
    examples = (
        Example(random.random((20, 30, 1), np.float32), labels, valid, (0.25, 0.5)),
        Example(random.random((8, 9, 3), np.float32), np.ones((8, 9), np.uint32)),
    )
    key = Key(
        "prompt",
        "tiny",
        "abc" * 20,
        Context(examples, "semantic", {70_000: "nucleus"}),
        {"images": random.standard_normal((1, 3, 4, 4)).astype(np.float16)},
        Learned(12.5, 40, 0.5, 0.75, kept=True),
        Palette.fixed([0, 1, 70_000]),
    )
    return replace(key, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_key().save(tmp_path_factory.mktemp("key") / "key.safetensors").read_bytes()


def rewritten(
    content: bytes, path: Path, *, format_: str | None = None, version: str | None = None, **facts: object
) -> Path:
    """The file with other facts or arrays (``array_...``), saved at ``path``."""
    path.write_bytes(content)
    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata())
        arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    metadata["format"], metadata["version"] = format_ or metadata["format"], version or metadata["version"]
    for name, value in facts.items():
        if name.startswith("array_"):
            arrays[name.removeprefix("array_").replace("__", ".")] = value  # type: ignore[assignment]
    changed = {name: value for name, value in facts.items() if not name.startswith("array_")}
    metadata["key"] = json.dumps(json.loads(metadata["key"]) | changed)
    path.write_bytes(safetensors.numpy.save(arrays, metadata))
    return path


def test_a_key_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    key = make_key()
    back = Key.load(key.save(tmp_path / "cells.key"))
    assert (back.method, back.model, back.model_digest) == (key.method, key.model, key.model_digest)
    assert back.context.fingerprint == key.context.fingerprint
    assert back.context.class_names == {70_000: "nucleus"}
    assert back.context.examples[0].spacing == (0.25, 0.5)
    assert back.ids == (0, 1, 70_000)
    assert back.learned == key.learned
    assert back.palette is not None
    assert back.palette.ids == (0, 1, 70_000)
    np.testing.assert_array_equal(back.tensors["images"], key.tensors["images"])
    assert back.digest == key.digest


def test_the_digest_tells_keys_apart() -> None:
    other = {"images": np.zeros((1, 3, 4, 4), np.float16)}
    assert len({make_key().digest, make_key(tensors=other).digest, make_key(model="x").digest}) == 3


def test_images_are_kept_with_16_bits_before_they_are_saved_too() -> None:
    example = make_key().context.examples[0]
    assert rounded(example).digest == example.digest


def test_a_key_is_not_written_over_unless_asked(tmp_path: Path) -> None:
    path = make_key().save(tmp_path / "key")
    with pytest.raises(FileError, match="overwrite"):
        make_key().save(path)
    make_key(model="other").save(path, overwrite=True)
    assert Key.load(path).model == "other"
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_a_key_of_another_model_is_refused_and_both_are_named() -> None:
    key = make_key()
    key.check_model("renamed", key.model_digest)
    with pytest.raises(KeyFileError, match=r"model tiny \(digest abcabcabcabc\).*other \(digest fff"):
        key.check_model("other", "f" * 64)


def test_weights_and_other_files_are_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"", b"hello", b"\x80\x02" + bytes(50), b"PK\x03\x04" + bytes(50)):
        path.write_bytes(content)
        with pytest.raises(KeyFileError, match="no key"):
            Key.load(path)
    path.write_bytes(safetensors.numpy.save({"weights": np.zeros(3, np.float32)}))
    with pytest.raises(KeyFileError, match="perhaps weights"):
        Key.load(path)
    with pytest.raises(FileError, match="Check the path"):
        Key.load(tmp_path / "absent")
    with pytest.raises(FileError):
        Key.load(tmp_path)


def test_a_newer_version_says_to_update(tmp_path: Path, whole: bytes) -> None:
    with pytest.raises(KeyFileError, match=r"version '2'.*Update"):
        Key.load(rewritten(whole, tmp_path / "key", version="2"))


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "magic"},
        {"model": 3},
        {"model_digest": ""},
        {"kind": "other"},
        {"spacings": [[0.25, -1], None]},
        {"spacings": [[0.25, float("nan")], None]},
        {"spacings": []},
        {"spacings": [None, None, None]},
        {"palette": [0, 1, "x"]},
        {"palette": [1, 0, 2]},
        {"class_names": [["a"]]},
        {"learned": {}},
        {"learned": {"seconds": float("inf"), "steps": 1, "before": 0.1, "after": 0.2, "kept": True, "seed": 0}},
        {"learned": {"seconds": 1.0, "steps": "1", "before": 0.1, "after": 0.2, "kept": True, "seed": 0}},
        {"learned": [1]},
        {"array_learned__images": np.full((1, 3, 4, 4), np.nan, np.float16)},
        {"array_learned__images": np.zeros((1, 3, 4, 4), np.int64)},
        {"array_example__0__image": np.full((20, 30, 1), 2, np.float16)},
        {"array_example__0__image": np.zeros((20, 30, 1), np.float64)},
        {"array_example__0__labels": np.zeros((5, 5), np.uint8)},
        {"array_example__0__labels": np.zeros((20, 30), np.int32)},
        {"array_example__0__valid": np.zeros((20, 30), bool)},
        {"array_palette": np.zeros((3, 3), np.float32)},
        {"array_extra": np.zeros(3, np.float32)},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_part_is_checked(tmp_path: Path, whole: bytes, changes: dict[str, object]) -> None:
    path = tmp_path / "key"
    with pytest.raises(KeyFileError, match="key"):
        Key.load(rewritten(whole, path, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 0.9999])
def test_a_truncated_key(tmp_path: Path, whole: bytes, part: float) -> None:
    path = tmp_path / "key"
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(KeyFileError, match="no key"):
        Key.load(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1, max_size=20), head=st.booleans()
)
def test_damaged_bytes(tmp_path: Path, whole: bytes, damage: list[tuple[float, int]], head: bool) -> None:
    """Damage within the numbers may go unnoticed; any other is one of our errors."""
    content = bytearray(whole)
    for place, value in damage:
        content[int(place * (1500 if head else len(content)))] = value
    (tmp_path / "key").write_bytes(content)
    try:
        Key.load(tmp_path / "key")
    except InContextError as error:
        assert "key" in str(error)  # noqa: PT017


def test_what_a_tuning_did_is_told_in_words() -> None:
    assert "0.500, tuned 0.750 (40 steps" in str(make_key().learned)
    assert "did not help" in str(Learned(1.0, 3, 0.5, 0.4, kept=False))
    assert "could be held out" in str(Learned(1.0, 0, None, None, kept=False))
