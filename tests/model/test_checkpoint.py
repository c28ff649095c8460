"""Checkpoints are told apart by content, whatever the file is called, and give back the network they were made from."""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_incontext_seg.errors import CheckpointError, DegradedDataWarning, FileError
from napari_incontext_seg.model import SegGpt, SegGptConfig, create_model
from napari_incontext_seg.model.checkpoint import load_model, save_model
from napari_incontext_seg.model.config import find_config
from napari_incontext_seg.model.convert import to_transformers

# Built like the published networks: decoder reads the ends of quarters of the encoder. Window higher than wide.
CONFIG = SegGptConfig(
    window=(64, 32),
    width=32,
    depth=8,
    num_heads=2,
    merge_index=1,
    out_indices=(1, 3, 5, 7),
    decoder_width=8,
    pretrain_window=48,
)


def randomised(config: SegGptConfig = CONFIG) -> SegGpt:
    """A network with no parameter left at its initial value."""
    torch.manual_seed(0)
    network = create_model(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.1)
    return network


@pytest.fixture(scope="module")
def network() -> SegGpt:
    return randomised()


@pytest.fixture
def state(network: SegGpt) -> dict[str, Tensor]:
    """The published checkpoints name parameters as we do."""
    return dict(network.state_dict())


def write_published(path: Path, state: dict[str, Tensor], **more: Any) -> Path:
    torch.save({"model": state, **more}, path)
    return path


def write_transformers(folder: Path, state: dict[str, Tensor], settings: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    save_file(to_transformers(state), folder / "model.safetensors", {"format": "pt"})
    if settings is not None:
        (folder / "config.json").write_text(json.dumps(settings))
    return folder


def assert_same(loaded: SegGpt, network: SegGpt) -> None:
    """Equal parameters and an equal painting."""
    for (name, ours), theirs in zip(loaded.state_dict().items(), network.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    example = torch.rand(1, 1, 3, *network.config.window)
    with torch.inference_mode():
        assert torch.equal(loaded(example[0], example, example), network(example[0], example, example))


# -- formats ------------------------------------------------------------------------------------------------------
def test_published_seggpt(tmp_path: Path, network: SegGpt, state: dict[str, Tensor]) -> None:
    path = write_published(tmp_path / "seggpt_vit_tiny.pth", state)
    loaded = load_model(path)
    assert (loaded.format, loaded.name, loaded.config) == ("seggpt", "seggpt_vit_tiny", CONFIG)
    assert loaded.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.network.training
    assert_same(loaded.network, network)


def test_published_painter_has_no_type_tokens(tmp_path: Path) -> None:
    painter = randomised(replace(CONFIG, type_tokens=False))
    loaded = load_model(write_published(tmp_path / "p.pth", dict(painter.state_dict())))
    assert loaded.format == "painter"
    assert not loaded.config.type_tokens
    assert_same(loaded.network, painter)


def test_leftovers_of_training_are_read_safely(tmp_path: Path, network: SegGpt, state: dict[str, Tensor]) -> None:
    path = write_published(tmp_path / "c.pth", state, epoch=3, args=argparse.Namespace(lr=1e-4))
    assert_same(load_model(path).network, network)


def test_files_of_old_torch(tmp_path: Path, network: SegGpt, state: dict[str, Tensor]) -> None:
    torch.save({"model": state}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(load_model(tmp_path / "old.pth").network, network)


def test_content_decides_not_the_name(tmp_path: Path, network: SegGpt, state: dict[str, Tensor]) -> None:
    save_file(to_transformers(state), tmp_path / "a.pth")
    write_published(tmp_path / "b.safetensors", to_transformers(state))
    write_published(tmp_path / "c.bin", state)
    save_model(network, tmp_path / "d.pth")
    formats = [load_model(tmp_path / name).format for name in ("a.pth", "b.safetensors", "c.bin", "d.pth")]
    assert formats == ["transformers", "transformers", "seggpt", "napari-incontext-seg"]


def test_transformers_folder_says_which_blocks_are_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    settings = {"intermediate_hidden_state_indices": [0, 2, 3, 7], "merge_index": 0, "num_attention_heads": 2}
    loaded = load_model(write_transformers(tmp_path / "folder", state, settings))
    assert loaded.config == replace(CONFIG, merge_index=0, out_indices=(0, 2, 3, 7))
    assert (loaded.format, loaded.name) == ("transformers", "folder")


def test_a_network_written_by_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    settings = transformers.SegGptConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=[64, 32], pretrain_image_size=48,
        decoder_hidden_size=8, intermediate_hidden_state_indices=[0, 1, 2, 3], merge_index=0, mlp_dim=64,
    )  # fmt: skip
    theirs = transformers.SegGptForImageSegmentation(settings)
    theirs.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config.window == (32, 32)
    assert loaded.config.mlp_ratio == 2
    assert loaded.config.out_indices == (0, 1, 2, 3)
    for name, value in to_transformers(loaded.network.state_dict()).items():
        assert torch.equal(value, theirs.state_dict()[name]), name


def test_sharded_folder(tmp_path: Path, network: SegGpt, state: dict[str, Tensor]) -> None:
    names = to_transformers(state)
    shards = {"one.safetensors": list(names)[:20], "two.safetensors": list(names)[20:]}
    for shard, keys in shards.items():
        save_file({key: names[key] for key in keys}, tmp_path / shard)
    index = {"weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    loaded = load_model(tmp_path)
    assert_same(loaded.network, network)
    both = b"".join((tmp_path / shard).read_bytes() for shard in shards)
    assert loaded.digest == hashlib.sha256(both).hexdigest()
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(FileError, match=r"two\.safetensors"):
        load_model(tmp_path)


def test_shards_outside_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(CheckpointError, match="outside"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["seggpt_vit_large_patch16_896x448", "painter_vit_large_patch16_896x448"])
def test_shapes_of_the_published_networks_give_their_config(name: str) -> None:
    from napari_incontext_seg.model.checkpoint import _infer_config

    with torch.device("meta"):  # shapes without 1.5 GB of numbers
        state = create_model(name).state_dict()
    assert _infer_config(state, {}) == find_config(name)


def test_positions_without_a_class_token(tmp_path: Path, network: SegGpt, state: dict[str, Tensor]) -> None:
    state["pos_embed"] = state["pos_embed"][:, 1:].clone()
    loaded = load_model(write_published(tmp_path / "c.pth", state))
    assert loaded.config == CONFIG
    example = torch.rand(1, 1, 3, *CONFIG.window)
    with torch.inference_mode():
        assert torch.equal(loaded.network(example[0], example, example), network(example[0], example, example))


# -- our own ------------------------------------------------------------------------------------------------------
def test_our_own_keeps_what_shapes_do_not_tell(tmp_path: Path) -> None:
    ours = randomised(replace(find_config("seggpt_tiny_test"), merge_index=0, out_indices=(0, 1, 4)))
    save_model(ours, tmp_path / "own.safetensors")
    loaded = load_model(tmp_path / "own.safetensors")
    assert (loaded.format, loaded.config) == ("napari-incontext-seg", ours.config)
    assert_same(loaded.network, ours)


def test_a_config_that_names_no_network_is_that_of_a_seggpt(tmp_path: Path, network: SegGpt) -> None:
    metadata = {"format": "napari-incontext-seg", "version": "1", "config": json.dumps(asdict(CONFIG))}
    save_file(network.state_dict(), tmp_path / "own.safetensors", metadata)
    loaded = load_model(tmp_path / "own.safetensors")
    assert loaded.config == CONFIG
    assert_same(loaded.network, network)


def test_half_precision_is_half_the_size_and_loads_as_float32(tmp_path: Path, network: SegGpt) -> None:
    save_model(network, tmp_path / "whole.safetensors")
    save_model(network, tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    for ours, theirs in zip(
        load_model(tmp_path / "half.safetensors").network.parameters(), network.parameters(), strict=True
    ):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs.half().float())


def test_saving_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomised()
    path = tmp_path / "own.safetensors"
    save_model(network, path)
    before = path.read_bytes()
    with torch.no_grad():
        network.mask_token.fill_(1e30)
    with pytest.raises(CheckpointError, match="mask_token"):
        save_model(network, path, half=True)  # beyond float16

    def full(tensors: object, file: Path, metadata: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_incontext_seg.model.checkpoint.save_file", full)
    with pytest.raises(MemoryError, match="disk is full"):
        save_model(network, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_into_no_folder(tmp_path: Path, network: SegGpt) -> None:
    with pytest.raises(FileError, match="folder"):
        save_model(network, tmp_path / "nowhere" / "own.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "2"}, "Update"),
        ({"config": "not json"}, "does not describe"),
        ({"config": "{}"}, "window"),
        ({"config": json.dumps(asdict(CONFIG) | {"width": "32"})}, "width"),
        ({"config": json.dumps(asdict(CONFIG) | {"num_heads": 5})}, "num_heads"),
        ({"config": json.dumps(asdict(CONFIG) | {"colour": 1})}, "colour"),
        ({"config": json.dumps(asdict(CONFIG) | {"depth": 10**9})}, "not complete"),
        ({"config": json.dumps(asdict(CONFIG) | {"network": "unicorn"})}, "'unicorn' is not known to this program"),
        ({"config": json.dumps(asdict(CONFIG) | {"width": 64})}, "expected"),
    ],
)
def test_our_own_with_a_wrong_config(
    tmp_path: Path, state: dict[str, Tensor], change: dict[str, str], said: str
) -> None:
    metadata = {"format": "napari-incontext-seg", "version": "1", "config": json.dumps(asdict(CONFIG))}
    save_file(state, tmp_path / "own.safetensors", metadata | change)
    with pytest.raises(CheckpointError, match=said):
        load_model(tmp_path / "own.safetensors")


# -- what is missing or too much ----------------------------------------------------------------------------------
def test_every_missing_or_misshapen_key_is_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    missing = ["mask_token", "type_token_ins", "blocks.3.attn.qkv.weight", "patch_embed.proj.bias"]
    for key in missing:
        del state[key]
    state["blocks.1.norm1.weight"] = torch.zeros(31)
    state["decoder_pred.3.bias"] = torch.zeros(1, 3)
    with pytest.raises(CheckpointError) as caught:
        load_model(write_published(tmp_path / "c.pth", state))
    for key in missing:
        assert f"{key} is missing" in str(caught.value)
    assert "blocks.1.norm1.weight is (31,), expected (32,)" in str(caught.value)
    assert "decoder_pred.3.bias is (1, 3), expected (3,)" in str(caught.value)


@pytest.mark.parametrize(
    "key", ["patch_embed.proj.weight", "pos_embed", "blocks.0.attn.rel_pos_h", "decoder_embed.weight"]
)
def test_keys_that_the_config_is_read_from_may_be_missing_too(
    tmp_path: Path, state: dict[str, Tensor], key: str
) -> None:
    del state[key]
    with pytest.raises(CheckpointError, match=key):
        load_model(write_published(tmp_path / "c.pth", state))


def test_a_long_list_is_cut_in_the_middle(tmp_path: Path, state: dict[str, Tensor]) -> None:
    kept = {key: value for key, value in state.items() if not key.endswith("bias")}
    with pytest.raises(CheckpointError, match=r"\d+ more") as caught:
        load_model(write_published(tmp_path / "c.pth", kept))
    assert str(caught.value).count("is missing") == 20
    assert "patch_embed.proj.bias is missing" in str(caught.value)
    assert "decoder_pred.3.bias is missing" in str(caught.value)


def test_unexpected_keys_warn(tmp_path: Path, network: SegGpt, state: dict[str, Tensor]) -> None:
    path = write_published(tmp_path / "c.pth", {**state, "head.weight": torch.zeros(2)})
    with pytest.warns(DegradedDataWarning, match=r"head\.weight"):
        assert_same(load_model(path).network, network)


def test_another_model(tmp_path: Path) -> None:
    save_file({"layer1.0.conv1.weight": torch.zeros(2)}, tmp_path / "resnet.safetensors")
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight"):
        load_model(tmp_path / "resnet.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_must_be_finite(tmp_path: Path, state: dict[str, Tensor], value: float) -> None:
    state["norm.weight"] = torch.full((32,), value)
    with pytest.raises(CheckpointError, match=r"finite.*norm\.weight"):
        load_model(write_published(tmp_path / "c.pth", state))


def test_weights_must_be_floats(tmp_path: Path, state: dict[str, Tensor]) -> None:
    state["norm.weight"] = torch.ones(32, dtype=torch.int8)
    with pytest.raises(CheckpointError, match=r"norm\.weight must hold floats; got torch\.int8"):
        load_model(write_published(tmp_path / "c.pth", state))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32(tmp_path: Path, state: dict[str, Tensor], dtype: torch.dtype) -> None:
    save_file({key: value.to(dtype) for key, value in state.items()}, tmp_path / "c.safetensors")
    assert {p.dtype for p in load_model(tmp_path / "c.safetensors").network.parameters()} == {torch.float32}


def test_the_loaded_network_can_be_trained(tmp_path: Path, state: dict[str, Tensor]) -> None:
    loaded = load_model(write_published(tmp_path / "c.pth", state)).network
    example = torch.rand(1, 1, 3, *CONFIG.window)
    loaded(example[0], example, example).sum().backward()
    assert loaded.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


def test_a_loaded_network_does_not_change_with_its_file(tmp_path: Path, network: SegGpt) -> None:
    path = tmp_path / "own.safetensors"
    save_model(network, path)
    loaded = load_model(path).network
    path.write_bytes(bytes(path.stat().st_size))
    assert_same(loaded, network)


def test_our_safetensors_need_nothing_of_ours_to_be_read(tmp_path: Path, network: SegGpt) -> None:
    save_model(network, tmp_path / "own.safetensors")
    assert load_file(tmp_path / "own.safetensors").keys() == network.state_dict().keys()
