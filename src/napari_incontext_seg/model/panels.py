"""Panels: the images that a SegGPT looks at, K examples and then the query, on an axis of their own."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import InputError


def embed(embedding: nn.Module, panels: Tensor) -> Tensor:
    """(B, K + 1, 3, Y, X) -> (B, K + 1, grid Y, grid X, width)."""
    tokens: Tensor = embedding(panels.flatten(0, 1))
    return rearrange(tokens, "(b panel) y x c -> b panel y x c", b=panels.shape[0])


def join_panels(examples: Tensor, query: Tensor) -> Tensor:
    """(B, K, ...) and (B, ...) -> (B, K + 1, ...), the query last."""
    return torch.cat([examples, query[:, None]], dim=1)


def check_examples(images: Tensor, targets: Tensor, query: Tensor | None = None) -> None:
    """Raise InputError unless these are (B, K, 3, Y, X), and the query (B, 3, Y, X)."""
    batch, num_examples, *rest = images.shape if images.ndim == 5 else (0, 0)
    if num_examples < 1 or (query is not None and (batch, *rest) != query.shape):
        raise InputError(
            f"images and targets must be (B, K, 3, Y, X), K at least 1, and the query (B, 3, Y, X) of that size; "
            f"got {tuple(images.shape)} and {None if query is None else tuple(query.shape)}."
        )
    if targets.shape != images.shape:
        raise InputError(f"targets must match the images {tuple(images.shape)}; got {tuple(targets.shape)}.")


def separate_examples(panels: Tensor) -> Tensor:
    """(B, K + 1, ...) -> (B * K, 2, ...): each example with the query."""
    examples, query = panels[:, :-1], panels[:, -1:]
    return torch.stack([examples, query.expand_as(examples)], dim=2).flatten(0, 1)
