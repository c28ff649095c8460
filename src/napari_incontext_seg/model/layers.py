"""Layers of the SegGPT encoder and decoder. Tokens are *panels*: ``(rows, panels, Y, X, channels)``.

A canvas of SegGPT is an example above the query. Several examples share one query, so a row holds K example panels and
then the query panel once, instead of K canvases that each repeat the query. Only attention looks across panels.

Parameter names are those of the published checkpoints (baaivision/Painter, ``models_seggpt.py``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from .config import SegGptConfig

NORM_EPSILON = 1e-6


class PanelAttention(nn.Module):
    """Attention within each canvas (example k and the query), then the query averaged over its examples.

    The average *is* the feature ensemble: it is taken per query and per stream (these are rows), before the residual,
    and changes nothing for one example. Taking it before ``proj`` rather than after is the same, as ``proj`` is affine.

    Source: arXiv 2304.03284, section 3.3; decomposed relative positions: arXiv 2112.01526 (MViTv2).
    """

    def __init__(self, config: SegGptConfig) -> None:
        super().__init__()
        self.num_heads, self.head_width = config.num_heads, config.head_width
        self.canvas_grid = (2 * config.grid[0], config.grid[1])
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)
        self.relative_positions = config.relative_positions
        if config.relative_positions:
            height, width = self.canvas_grid
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * height - 1, self.head_width))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * width - 1, self.head_width))

    def forward(self, panels: Tensor, frozen: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(rows, K + 1, Y, X, channels) -> the same shape.

        With the examples' keys and values ``frozen`` (see `keys_and_values`), ``panels`` is the query alone, K = 0.
        """
        if frozen is not None:
            return self._attend_to_frozen(panels, frozen)
        grid_height, num_examples = panels.shape[2], panels.shape[1] - 1
        qkv = self.qkv(panels)
        examples, query = qkv[:, :-1], qkv[:, -1:].expand(-1, num_examples, -1, -1, -1)
        query_key_value = rearrange(
            torch.stack([examples, query], dim=2),
            "row k half y x (three head c) -> three (row k) head (half y x) c",
            three=3,
            head=self.num_heads,
        )
        attended = rearrange(
            self._attend(*query_key_value.unbind(0)),
            "(row k) head (half y x) c -> half row k y x (head c)",
            k=num_examples,
            half=2,
            y=grid_height,
        )
        mixed: Tensor = self.proj(torch.cat([attended[0], attended[1].mean(dim=1, keepdim=True)], dim=1))
        return mixed

    def keys_and_values(self, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Of example panels (rows, K, Y, X, channels): each (rows, K, heads, tokens, head width)."""
        _, keys, values = rearrange(
            self.qkv(examples), "row k y x (three head c) -> three row k head (y x) c", three=3, head=self.num_heads
        )
        return keys, values

    def _attend_to_frozen(self, query: Tensor, frozen: tuple[Tensor, Tensor]) -> Tensor:
        """The query (rows, 1, Y, X, channels) looks at itself and at examples that do not change: the same shape."""
        own = rearrange(
            self.qkv(query), "row one y x (three head c) -> three row one head (y x) c", three=3, head=self.num_heads
        )
        shape = (query.shape[0], frozen[0].shape[1], -1, -1, -1)
        key, value = (
            torch.cat([shown.expand(shape), mine.expand(shape)], dim=3).flatten(0, 1)
            for shown, mine in zip(frozen, own[1:], strict=True)
        )
        attended = rearrange(
            self._attend(own[0].expand(shape).flatten(0, 1), key, value),
            "(row k) head (y x) c -> row k y x (head c)",
            k=shape[1],
            y=query.shape[2],
        )
        mixed: Tensor = self.proj(attended.mean(dim=1, keepdim=True))
        return mixed

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Scaled dot-product attention with relative positions; all (canvases, heads, tokens, head width).

        Keys are a whole canvas's; queries too, or those of its lower half.
        """
        if not self.relative_positions:
            return F.scaled_dot_product_attention(query, key, value)
        # The bias of query i for a key at (y, x) is height_terms[i, y] + width_terms[i, x]: a product with the key's
        # one-hot row and column. So it becomes part of the dot product, and no (tokens, tokens) matrix is ever held.
        height, width = self.canvas_grid
        on_grid = rearrange(query, "n head (y x) c -> n head y x c", x=width)
        by_row = relative_table(self.rel_pos_h, height)[-on_grid.shape[2] :]
        height_terms = torch.einsum("nhyxc,yjc->nhyxj", on_grid, by_row)
        width_terms = torch.einsum("nhyxc,xjc->nhyxj", on_grid, relative_table(self.rel_pos_w, width))
        terms = torch.cat([height_terms, width_terms], dim=-1).flatten(2, 3)
        attended = F.scaled_dot_product_attention(
            torch.cat([query * self.head_width**-0.5, terms], dim=-1),
            torch.cat([key, one_hot_places(height, width, key).expand(*key.shape[:2], -1, -1)], dim=-1),
            F.pad(value, (0, height + width)),  # the fast kernels want values as wide as keys
            scale=1.0,
        )
        return attended[..., : self.head_width]


def one_hot_places(height: int, width: int, like: Tensor) -> Tensor:
    """Row and column of every place of a grid as one-hot vectors, (height * width, height + width)."""
    rows, columns = (torch.eye(size, dtype=like.dtype, device=like.device) for size in (height, width))
    return torch.cat([rows.repeat_interleave(width, dim=0), columns.repeat(height, 1)], dim=-1)


def relative_table(table: Tensor, size: int) -> Tensor:
    """Table (2 * size - 1, channels) -> (size, size, channels): entry [i, j] is the row of distance i - j."""
    positions = torch.arange(size, device=table.device)
    return table[positions[:, None] - positions[None, :] + size - 1]


class Block(nn.Module):
    """Pre-norm transformer block on panels."""

    def __init__(self, config: SegGptConfig, drop_path_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.attn = PanelAttention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.mlp = Mlp(config.width, config.mlp_ratio * config.width)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()

    def forward(self, panels: Tensor) -> Tensor:
        """(rows, K + 1, Y, X, channels) -> the same shape."""
        panels = panels + self.drop_path(self.attn(self.norm1(panels)))
        mixed: Tensor = panels + self.drop_path(self.mlp(self.norm2(panels)))
        return mixed


def decoder_head(width: int) -> nn.Sequential:
    """Full-resolution head: (B, width, Y, X) features -> (B, 3, Y, X) colours; looks one pixel around itself."""
    return nn.Sequential(
        nn.Conv2d(width, width, kernel_size=3, padding=1),
        LayerNorm2d(width, eps=NORM_EPSILON),
        nn.GELU(),
        nn.Conv2d(width, 3, kernel_size=1),
    )
