"""Weights by other names: transformers' ``SegGptForImageSegmentation`` <-> the published checkpoints (ours).

Only names differ, so values are passed on untouched; names that neither side knows are kept, for the loader to report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

# (transformers, published): whole dotted prefixes; the part after them is the same on both sides
_TOP_LEVEL = (
    ("model.embeddings.mask_token", "mask_token"),
    ("model.embeddings.segment_token_input", "segment_token_x"),
    ("model.embeddings.segment_token_prompt", "segment_token_y"),
    ("model.embeddings.type_token_semantic", "type_token_cls"),
    ("model.embeddings.type_token_instance", "type_token_ins"),
    ("model.embeddings.position_embeddings", "pos_embed"),
    ("model.embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("model.encoder.layernorm", "norm"),
    ("decoder.decoder_embed", "decoder_embed"),
    ("decoder.decoder_pred.conv", "decoder_pred.0"),
    ("decoder.decoder_pred.layernorm", "decoder_pred.1"),
    ("decoder.decoder_pred.head", "decoder_pred.3"),
)
_BLOCKS = ("model.encoder.layers", "blocks")  # followed by a number, then:
_IN_BLOCK = (
    ("attention", "attn"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("mlp.lin1", "mlp.fc1"),
    ("mlp.lin2", "mlp.fc2"),
)


def from_transformers(state: Mapping[str, Value]) -> dict[str, Value]:
    """Weights of transformers' SegGPT -> the same by the published names, which are also ours."""
    return {_rename(name, source=0): value for name, value in state.items()}


def to_transformers(state: Mapping[str, Value]) -> dict[str, Value]:
    """Weights by the published names -> the same for transformers' SegGPT (which always has type tokens)."""
    return {_rename(name, source=1): value for name, value in state.items()}


def is_transformers(state: Mapping[str, object]) -> bool:
    """Whether the names are transformers' (with a head: ``model.`` and ``decoder.``)."""
    return any(name.startswith(f"{_BLOCKS[0]}.") for name in state)


def _rename(name: str, source: int) -> str:
    blocks = _BLOCKS[source] + "."
    if name.startswith(blocks):
        number, _, rest = name.removeprefix(blocks).partition(".")
        return f"{_BLOCKS[1 - source]}.{number}.{_replace_prefix(rest, _IN_BLOCK, source)}"
    return _replace_prefix(name, _TOP_LEVEL, source)


def _replace_prefix(name: str, pairs: tuple[tuple[str, str], ...], source: int) -> str:
    for pair in pairs:
        if name == pair[source] or name.startswith(pair[source] + "."):
            return pair[1 - source] + name.removeprefix(pair[source])
    return name
