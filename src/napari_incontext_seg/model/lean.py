"""A SegGPT block without gradients: the numbers of `layers.Block`, in less time and memory.

On the CPU nothing but the panels themselves grows with the number of examples: a block is finished example by example,
in place. Attention within a canvas of two panels is put together from panels that look at panels, as softmax allows;
what the query sees of itself is the same on every canvas, so it is computed once.

Source: softmax in parts, arXiv 2112.05682; relative positions as part of the product, see `layers.PanelAttention`.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Block, relative_table

if TYPE_CHECKING:
    from collections.abc import Callable

UPPER, LOWER = 0, 1  # halves of a canvas
PANELWISE = ("cpu",)  # devices on which attention is put together; others have fused attention for a whole canvas
ROWS = 8192  # tokens that pass an MLP at once: bounds its hidden layer


@dataclass(frozen=True)
class Seen:
    """What tokens saw of one panel.

    Parameters
    ----------
    values
        (rows, tokens, heads, head width) mean of the panel's values, as attention weighs them.
    weight
        (rows, tokens, heads, 1) log of the sum of exponentials, by which two panels are weighed against each other.
    """

    values: Tensor
    weight: Tensor

    def with_panel(self, other: Seen) -> Tensor:
        """What is seen of two panels together."""
        return torch.lerp(other.values, self.values, torch.sigmoid(self.weight - other.weight))


@dataclass(frozen=True)
class Queries:
    """Queries of a panel, and what relative positions add to their scores.

    Parameters
    ----------
    scaled
        (rows, heads, tokens, head width) divided by the root of the head's width.
    by_row, by_column
        (rows, heads, tokens, 2 * Y) and (..., X): what is added for keys of each row of the canvas, and of each column.
        None without relative positions.
    """

    scaled: Tensor
    by_row: Tensor | None
    by_column: Tensor | None

    def last(self, count: int) -> Queries:
        """The last few."""
        cut = (None if t is None else t[:, :, -count:] for t in (self.scaled, self.by_row, self.by_column))
        return Queries(*cut)  # type: ignore[arg-type]  # scaled is there

    def bias(self, row: int, head: int, half: int) -> Tensor | None:
        """What is added to the scores for a panel, the canvas's upper (0) or lower (1) half: (tokens, Y * X)."""
        if self.by_row is None or self.by_column is None:
            return None
        height = self.by_row.shape[-1] // 2
        rows = self.by_row[row, head, :, half * height : (half + 1) * height]
        return (rows[:, :, None] + self.by_column[row, head, :, None]).flatten(1)


def advance_(block: Block, panels: Tensor, *, last: bool = False, frozen: tuple[Tensor, Tensor] | None = None) -> None:
    """Let panels pass a block, in place.

    Parameters
    ----------
    block
        Without drop path.
    panels
        (rows, K + 1, Y, X, channels) contiguous: K examples, then the query; with ``frozen`` the query alone.
    last
        Only the query and the first example's last row of patches are wanted: the rest may be left as it was.
    frozen
        Keys and values of the examples: see `keys_and_values`.
    """
    if panels.device.type in PANELWISE:
        _advance_panels_(block, panels, last, frozen)
        return
    panels.add_(block.attn(block.norm1(panels), frozen))
    flat = panels.flatten(0, 3)
    for tokens in torch.split(flat, ROWS):
        tokens.add_(block.mlp(block.norm2(tokens)))


def keys_and_values(block: Block, panels: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values that a block makes of the examples of ``panels``, as `advance_` takes them."""
    if panels.device.type not in PANELWISE:
        return block.attn.keys_and_values(block.norm1(panels[:, :-1]))
    made = [_project(block, panels[:, k].flatten(1, 2), UPPER) for k in range(panels.shape[1] - 1)]
    return torch.stack([keys for _, keys, _ in made], dim=1), torch.stack([values for *_, values in made], dim=1)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """``F.linear``, then GELU if asked: in float32 on x86 through oneDNN, which there is up to 1.4 times as fast."""
    fused = None if torch.is_grad_enabled() else _onednn()
    if fused is not None and x.dtype == torch.float32 and x.device.type == "cpu":
        return fused(x, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else "")
    out = F.linear(x, weight, bias)
    return F.gelu(out) if gelu else out


@cache
def _onednn() -> Callable[..., Tensor] | None:
    """torch's operator for linear layers on oneDNN, where there is one and it pays."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    operator: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return operator


def _advance_panels_(block: Block, panels: Tensor, last: bool, frozen: tuple[Tensor, Tensor] | None) -> None:
    columns, flat = panels.shape[3], panels.flatten(2, 3)
    query, num_examples = flat[:, -1], flat.shape[1] - 1 if frozen is None else frozen[0].shape[1]
    asking, own_keys, own_values = _project(block, query, LOWER)
    itself = _look(asking, own_keys, own_values, LOWER)
    mean: Tensor | None = None
    for k in range(num_examples):
        if frozen is not None:
            keys, values = frozen[0][:, k], frozen[1][:, k]
        else:
            example = flat[:, k]
            looking, keys, values = _project(block, example, UPPER)
            if last:
                example, looking = example[:, -columns:], looking.last(columns)
            if not last or k == 0:
                across = _look(looking, own_keys, own_values, LOWER)
                _finish_(block, example, _look(looking, keys, values, UPPER).with_panel(across))
        canvas = itself.with_panel(_look(asking, keys, values, UPPER))
        mean = canvas if mean is None else mean.add_(canvas)
    assert mean is not None  # K is at least 1
    _finish_(block, query, mean.div_(num_examples))


def _finish_(block: Block, tokens: Tensor, attended: Tensor) -> None:
    """What follows attention, on tokens (rows, tokens, channels), in place."""
    tokens.add_(linear(attended.flatten(2), block.attn.proj.weight, block.attn.proj.bias))
    for row in tokens:
        for part in torch.split(row, ROWS):
            hidden = linear(_normed(block.norm2, part), block.mlp.fc1.weight, block.mlp.fc1.bias, gelu=True)
            part.add_(linear(hidden, block.mlp.fc2.weight, block.mlp.fc2.bias))


def _project(block: Block, tokens: Tensor, half: int) -> tuple[Queries, Tensor, Tensor]:
    """Queries, keys and values of one panel (rows, tokens, channels), the canvas's upper (0) or lower (1) half.

    Keys are (rows, heads, tokens, head width), values (rows, heads, head width, tokens).
    """
    attention = block.attn
    mixed = linear(_normed(block.norm1, tokens), attention.qkv.weight, attention.qkv.bias)
    query, key, value = mixed.view(*mixed.shape[:2], 3, attention.num_heads, -1).unbind(2)
    keys, values = key.transpose(1, 2).contiguous(), value.permute(0, 2, 3, 1).contiguous()
    scaled = (query * attention.head_width**-0.5).transpose(1, 2).contiguous()
    if not attention.relative_positions:
        return Queries(scaled, None, None), keys, values
    height, width = attention.canvas_grid[0] // 2, attention.canvas_grid[1]
    on_grid = query.reshape(query.shape[0], height, width, *query.shape[2:])
    rows = relative_table(attention.rel_pos_h, 2 * height)[half * height : (half + 1) * height]
    by_row = torch.einsum("nyxhc,yjc->nhyxj", on_grid, rows).flatten(2, 3)
    by_column = torch.einsum("nyxhc,xjc->nhyxj", on_grid, relative_table(attention.rel_pos_w, width)).flatten(2, 3)
    return Queries(scaled, by_row, by_column), keys, values


def _look(queries: Queries, keys: Tensor, values: Tensor, half: int) -> Seen:
    """Attention to one panel; head by head, so that no more than (tokens, tokens) scores are held."""
    rows, heads, tokens, _ = queries.scaled.shape
    seen = keys.new_empty(rows, tokens, heads, values.shape[2])
    weight = keys.new_empty(rows, tokens, heads, 1)
    for row in range(rows):
        for head in range(heads):
            scores = _product(queries.scaled[row, head], keys[row, head], queries.bias(row, head, half))
            largest = scores.amax(dim=-1, keepdim=True)
            shares = scores.softmax(dim=-1)
            seen[row, :, head] = linear(shares, values[row, head])
            # the largest share is 1 over the sum of exponentials
            weight[row, :, head] = largest - shares.amax(dim=-1, keepdim=True).log_()
    return Seen(seen, weight)


def _product(x: Tensor, y: Tensor, added: Tensor | None) -> Tensor:
    """``x @ y.T + added``, of matrices."""
    if added is None or _onednn() is None or x.dtype != torch.float32:
        return linear(x, y) if added is None else torch.addmm(added, x, y.mT)
    product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, added, y, None, "add")
    return product


def _normed(norm: nn.LayerNorm, tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
