"""Checkpoints: the published SegGPT and Painter, transformers' SegGPT, and our own; told apart by their content.

Nothing in a file is executed: pickles are read with ``weights_only=True``, which knows tensors and plain containers.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import CheckpointError, DegradedDataWarning, FileError, ModelError, ResourceError
from .config import SegGptConfig
from .container import identify
from .convert import from_transformers, is_transformers
from .micro import Micro, MicroConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .registry import Network, NetworkConfig

Format: TypeAlias = Literal["seggpt", "painter", "transformers", "napari-incontext-seg"]

MARK: Format = "napari-incontext-seg"
VERSION = "1"
LISTED = 20  # keys named in a message
NETWORKS: dict[Any, type[SegGptConfig] | type[MicroConfig]] = {c.network: c for c in (SegGptConfig, MicroConfig)}


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, and where they came from.

    Parameters
    ----------
    network
        In evaluation mode, float32.
    digest
        SHA-256 of the file; of all shards, one after the other, where there are several.
    name
        Of the file (without suffix) or folder.
    """

    network: Network
    config: NetworkConfig
    digest: str
    format: Format
    name: str


@dataclass(frozen=True)
class Stored:
    """What a file or folder holds, before it is understood; ``settings`` is transformers' config.json."""

    tensors: Mapping[str, Any]
    metadata: Mapping[str, str]
    settings: Mapping[str, Any]
    digest: str


def load_model(path: str | Path, *, device: torch.device | str = "cpu") -> LoadedModel:
    """Load weights.

    Parameters
    ----------
    path
        A file (``torch.save`` or safetensors) or a folder as transformers writes it.

    Raises
    ------
    FileError
        It cannot be read.
    CheckpointError
        It holds no such network, parameters are missing or misshapen, or its content is not safe to read.

    Warns
    -----
    DegradedDataWarning
        It holds more than the network needs.
    """
    path = Path(path).expanduser()
    stored = _read_folder(path) if path.is_dir() else _read_file(path)
    tensors = _checked(path, stored.tensors)
    form = _recognise(path, tensors, stored.metadata)
    if form == "transformers":
        tensors = from_transformers(tensors)
    try:
        config = _own_config(stored.metadata) if form == MARK else _infer_config(tensors, stored.settings)
    except (ModelError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not describe a SegGPT network: {error}") from error
    network = _fill(path, config, tensors)
    name = path.name if path.is_dir() else path.stem
    return LoadedModel(network.to(device), config, stored.digest, form, name)


def save_model(network: Network, path: str | Path, *, half: bool = False) -> None:
    """Write weights and config as our own safetensors; an existing file is replaced at once, never half-written.

    Parameters
    ----------
    half
        Store float16: half the size, for weights that are shipped.

    Raises
    ------
    CheckpointError
        The weights are not finite (in float16, when ``half``).
    FileError, ResourceError
        The file cannot be written; the disk is full.
    """
    path = Path(path)
    dtype = torch.float16 if half else torch.float32
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in network.state_dict().items()}
    _check_finite(path, tensors)
    settings = {"network": network.config.network, **asdict(network.config)}
    metadata = {"format": MARK, "version": VERSION, "config": json.dumps(settings)}
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, beside, metadata)
        beside.replace(path)
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error):
            raise ResourceError(f"the disk is full: cannot write {path}. Free some space.") from error
        raise FileError(f"cannot write {path}: {error}. Is the folder there, and writable?") from error
    finally:
        beside.unlink(missing_ok=True)


# -- reading ------------------------------------------------------------------------------------------------------
@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn whatever a parser says of foreign bytes into one `CheckpointError`."""
    try:
        yield
    except (CheckpointError, FileError):
        raise
    except Exception as error:  # parsers of damaged files raise anything from KeyError to RuntimeError
        if "GLOBAL" in str(error) or "call reduce" in str(error):  # torch's words for code it refuses to run
            raise CheckpointError(
                f"{path} holds more than weights: loading it could run code that is hidden in it, so it is refused. "
                "Get the weights from their publisher, best as safetensors."
            ) from error
        raise CheckpointError(
            f"{path} cannot be read as weights: it is truncated, damaged or another kind of file. Fetch it again."
        ) from error


def _read_file(path: Path) -> Stored:
    container = identify(path)
    with _parsing(path):
        tensors, metadata = _read_safetensors(path) if container == "safetensors" else (_read_pickle(path), {})
        return Stored(tensors, metadata, {}, _sha256([path]))


def _read_pickle(path: Path) -> dict[Any, Any]:
    # An open file, as torch would go by the name's ending if it were given one. Training scripts often leave their
    # argparse.Namespace in the file: a plain bag of values, safe to read.
    with path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(file, map_location="cpu", weights_only=True)
    tensors = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(tensors, dict):
        raise CheckpointError(
            f"{path} must hold a dictionary of tensors, or one under the key 'model'; got {type(content).__name__}."
        )
    return tensors


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        # Copies: the tensors are windows onto the file, and would change with it if someone overwrote it.
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
        return tensors, file.metadata() or {}


def _read_folder(folder: Path) -> Stored:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        shards = [single]
    elif index.is_file():
        with _parsing(index):
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            if any(Path(name).name != name or not name.isprintable() for name in names):
                raise CheckpointError(f"{index} names files outside its folder. Get the weights from their publisher.")
            shards = [folder / name for name in names]
    else:
        raise CheckpointError(f"the folder {folder} holds no model.safetensors. Give the weights file itself.")
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for shard in shards:
        if identify(shard) != "safetensors":
            raise CheckpointError(f"{shard} is not a safetensors file. Fetch or copy it again.")
        with _parsing(shard):
            part, metadata = _read_safetensors(shard)
            tensors |= part
    settings_file = folder / "config.json"
    settings: dict[str, Any] = {}
    if settings_file.is_file():
        with _parsing(settings_file):
            settings = dict(json.loads(settings_file.read_text()))
    return Stored(tensors, metadata, settings, _sha256(shards))


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


# -- understanding ------------------------------------------------------------------------------------------------
def _checked(path: Path, tensors: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Only plain arrays of floats may pass."""
    for key, value in tensors.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: {key} must be a tensor; got {type(value).__name__}. Is it another model?")
        if not value.is_floating_point() or value.layout is not torch.strided or value.is_meta:
            raise CheckpointError(f"{path}: {key} must hold floats; got {value.dtype}. Is it a quantised model?")
    return {str(key): value for key, value in tensors.items()}


def _recognise(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Format:
    if metadata.get("format") == MARK:
        if metadata.get("version") != VERSION:
            raise CheckpointError(
                f"{path} has version {metadata.get('version')} of our format; this program reads {VERSION}. Update it."
            )
        return MARK
    if is_transformers(tensors):
        return "transformers"
    if any(key.startswith(("patch_embed.", "blocks.", "decoder_pred.")) for key in tensors):
        return "seggpt" if any(key.startswith("type_token_") for key in tensors) else "painter"
    names = ", ".join(list(tensors)[:3]) or "nothing"
    raise CheckpointError(f"{path} holds no SegGPT or Painter weights, but {names}. Is it another model?")


def _own_config(metadata: Mapping[str, str]) -> NetworkConfig:
    settings = json.loads(metadata.get("config", "null"))
    if not isinstance(settings, dict):
        raise ModelError("the config is missing.")
    name = settings.pop("network", "seggpt")
    if name not in NETWORKS:
        raise ModelError(f"the network {name!r} is not known to this program. Update it.")
    kind = NETWORKS[name]
    for field in fields(kind):
        value, default = settings.get(field.name), field.default
        numbers = (int, float) if isinstance(default, float) else (type(default),)
        fits = (
            isinstance(value, list) and all(type(v) is int for v in value)
            if isinstance(default, tuple)
            else type(value) in numbers
        )
        if not fits:
            raise ModelError(f"{field.name} in its config must be like {default!r}; got {value!r}.")
    return kind(**settings)


def _infer_config(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> SegGptConfig:
    """Read the config off the shapes of the weights; what is missing counts as in the published ViT-L.

    The shapes do not tell which blocks the decoder reads and where the streams merge. transformers' config.json does;
    without it the ends of equal parts of the encoder and block 2 are taken, as in the published networks.
    """
    usual = SegGptConfig()

    def size(key: str, axis: int, otherwise: int) -> int:
        shape = tensors[key].shape if key in tensors else ()
        return (shape[axis] if axis < len(shape) else 0) or otherwise

    patch, width = size("patch_embed.proj.weight", 2, usual.patch_size), size("patch_embed.proj.weight", 0, usual.width)
    numbers = {int(n) for key in tensors if key.startswith("blocks.") and (n := key.split(".")[1]).isdecimal()}
    depth = 1 + max((n for n in numbers if n < len(tensors)), default=usual.depth - 1)
    head_width = size("blocks.0.attn.rel_pos_h", 1, usual.head_width)
    rows = size("blocks.0.attn.rel_pos_h", 0, 4 * usual.grid[0] - 1)
    columns = size("blocks.0.attn.rel_pos_w", 0, 2 * usual.grid[1] - 1)
    outputs = max(1, size("decoder_embed.weight", 1, width * len(usual.out_indices)) // width)
    ends = tuple(depth * (i + 1) // outputs - 1 for i in range(outputs))
    out_indices = tuple(settings.get("intermediate_hidden_state_indices", ends))
    return SegGptConfig(
        window=((rows + 1) // 4 * patch, (columns + 1) // 2 * patch),
        patch_size=patch,
        width=width,
        depth=depth,
        num_heads=int(settings.get("num_attention_heads", max(1, width // head_width))),
        mlp_ratio=max(1, size("blocks.0.mlp.fc1.weight", 0, usual.mlp_ratio * width) // width),
        merge_index=int(settings.get("merge_index", min(usual.merge_index, *out_indices, depth - 1))),
        out_indices=out_indices,
        decoder_width=size("decoder_pred.0.weight", 0, usual.decoder_width),
        pretrain_window=isqrt(size("pos_embed", 1, usual.pretrain_grid**2)) * patch,
        type_tokens=any(key.startswith("type_token_") for key in tensors),
    )


def _fill(path: Path, config: NetworkConfig, tensors: dict[str, Tensor]) -> Network:
    """Make the network and put the weights into it."""
    if config.depth > len(tensors):
        raise CheckpointError(f"{path} is not complete: {config.depth} blocks need more than {len(tensors)} tensors.")
    with torch.device("meta"):  # shapes only: nothing is initialised that would be overwritten
        network = _made(config)
    expected = network.state_dict()
    if "pos_embed" in tensors:
        tensors = {**tensors, "pos_embed": _with_class_token(tensors["pos_embed"], expected["pos_embed"])}
    problems = [f"{key} is missing" for key in expected if key not in tensors]
    problems += [
        f"{key} is {tuple(tensors[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    if problems:
        raise CheckpointError(
            f"{path} does not fit the network; {len(problems)} parameters are wrong: {_listed(problems)}. "
            "Is it another model, or an incomplete file?"
        )
    if unexpected := [key for key in tensors if key not in expected]:
        warnings.warn(
            f"{path} holds {len(unexpected)} tensors that the network does not have; they are ignored: "
            f"{_listed(unexpected)}.",
            DegradedDataWarning,
            stacklevel=3,
        )
    needed = {key: tensors[key].to(torch.float32) for key in expected}
    _check_finite(path, needed)
    network.load_state_dict(needed, assign=True)
    return network


def _made(config: NetworkConfig) -> Network:
    if isinstance(config, MicroConfig):
        return Micro(config).eval()
    from .registry import create_model  # with timm, which takes seconds to import

    return create_model(config)


def _with_class_token(table: Tensor, expected: Tensor) -> Tensor:
    """Add the row of the class token to a table of positions that has none: nothing ever reads it."""
    if table.ndim == 3 and table.shape[1] == expected.shape[1] - 1:
        return torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)
    return table


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    broken = [key for key, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise CheckpointError(f"{path}: weights must be finite; NaN or Inf stands in {_listed(broken)}.")


def _listed(items: Sequence[str]) -> str:
    """All items, or the first and last of many with the count of those between."""
    if len(items) <= LISTED:
        return "; ".join(items)
    half = LISTED // 2
    return "; ".join([*items[:half], f"... {len(items) - LISTED} more ...", *items[-half:]])
