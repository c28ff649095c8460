"""Files that are not weights, damaged, or hostile: always one `CheckpointError` that says what to do, and no harm."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from napari_incontext_seg.errors import CheckpointError, FileError
from napari_incontext_seg.model import create_model
from napari_incontext_seg.model.checkpoint import load_model


def written_by_torch(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """A small file of each container, undamaged."""
    state = create_model("seggpt_tiny_test").state_dict()
    return {"safetensors": save(dict(state)), "pickle": written_by_torch({"model": state})}


class Bomb:
    """Unpickling it runs a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("how", ["zip", "old", "plain"])
@pytest.mark.parametrize("place", ["alone", "model", "beside"])
def test_a_malicious_pickle_does_nothing(tmp_path: Path, how: str, place: str) -> None:
    proof = tmp_path / "proof"
    bomb = Bomb(f"touch '{proof}'")
    state = {"mask_token": torch.zeros(1)}
    content = {"alone": bomb, "model": {"model": bomb}, "beside": {"model": state, "args": bomb}}[place]
    path = tmp_path / "weights.pth"
    if how == "plain":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert not proof.exists()
    if how != "plain":
        assert "could run code" in str(caught.value)


def test_the_bomb_of_these_tests_is_live(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    pickle.loads(pickle.dumps(Bomb(f"touch '{tmp_path / 'proof'}'")))
    assert (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html><title>404</title></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"{}", "neither"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "neither"),
        (b"PK\x03\x04" + bytes(50), "truncated, damaged"),
    ],
)
def test_what_is_not_weights_is_called_by_its_name(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        load_model(tmp_path / "weights.pth")


@pytest.mark.parametrize("container", ["safetensors", "pickle"])
@pytest.mark.parametrize("part", [0.001, 0.3, 0.9, 0.9999])
def test_truncated_files(tmp_path: Path, whole: dict[str, bytes], container: str, part: float) -> None:
    content = whole[container]
    (tmp_path / "weights").write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CheckpointError, match="truncated"):
        load_model(tmp_path / "weights")


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {"model": {"mask_token": "text"}}, torch.zeros(2), {}])
def test_torch_files_that_hold_something_else(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        load_model(tmp_path / "weights.pth")


def test_absent_files_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="Check the path"):
        load_model(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"]), rest=st.binary()
)
def test_arbitrary_bytes(tmp_path: Path, start: bytes, rest: bytes) -> None:
    (tmp_path / "weights").write_bytes(start + rest)
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "weights")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    container=st.sampled_from(["safetensors", "pickle"]),
    damage=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), min_size=1, max_size=20),
)
@pytest.mark.filterwarnings("ignore::napari_incontext_seg.errors.DegradedDataWarning")  # a renamed tensor
def test_damaged_bytes(tmp_path: Path, whole: dict[str, bytes], container: str, damage: list[tuple[int, int]]) -> None:
    """Damage within the numbers may go unnoticed (digests are for that); any other is a `CheckpointError`."""
    content = bytearray(whole[container])
    for place, value in damage:
        content[place] = value
    (tmp_path / "weights").write_bytes(content)
    try:
        load_model(tmp_path / "weights")
    except CheckpointError as error:
        assert str(error)  # noqa: PT017


@pytest.mark.parametrize("name", ["../part", "/etc/passwd", "a\x00b", "\ud800", "sub/part"])
def test_an_index_cannot_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="outside its folder"):
        load_model(tmp_path)
