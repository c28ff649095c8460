"""`SegGptConfig`: the shape of a SegGPT network, and the variants that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from ..errors import ModelError


@dataclass(frozen=True)
class SegGptConfig:
    """Shape of a SegGPT network. The defaults are those of the published ViT-L (baaivision/Painter, MIT).

    Parameters
    ----------
    window
        (Y, X) pixels of one half of the canvas; the whole canvas, example above query, is twice as high.
    width, depth, num_heads, mlp_ratio
        Size of the encoder; ``width`` is shared by all heads.
    merge_index
        After this block the image stream and the target stream are averaged into one.
    out_indices
        Blocks whose outputs the decoder reads; none before ``merge_index``, since there the streams are still two.
    decoder_width
        Channels of the full-resolution decoder.
    pretrain_window
        Pixels (square) that the table of absolute positions was made for; it is interpolated to the canvas.
    type_tokens
        Whether there are tokens for semantic and instance targets (SegGPT has them, Painter has not).
    relative_positions
        Whether every block adds decomposed relative positions to its attention.
    drop_path_rate
        Stochastic depth of the last block while training, [0, 1); it grows linearly from 0 in the first.

    Raises
    ------
    ModelError
        The numbers contradict each other.
    """

    network: ClassVar[str] = "seggpt"
    window: tuple[int, int] = (448, 448)
    patch_size: int = 16
    width: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: int = 4
    merge_index: int = 2
    out_indices: tuple[int, ...] = (5, 11, 17, 23)
    decoder_width: int = 64
    pretrain_window: int = 224
    type_tokens: bool = True
    relative_positions: bool = True
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        # lists become tuples, so that a config read from JSON equals the one written
        object.__setattr__(self, "window", tuple(self.window))
        object.__setattr__(self, "out_indices", tuple(self.out_indices))
        if len(self.window) != 2:
            raise ModelError(f"window must be (Y, X); got {self.window}.")
        sizes = (*self.window, self.patch_size, self.width, self.depth, self.num_heads, self.mlp_ratio)
        if min(*sizes, self.decoder_width, self.pretrain_window) < 1:
            raise ModelError(f"sizes must be at least 1; got {self}.")
        if any(pixels % self.patch_size for pixels in (*self.window, self.pretrain_window)):
            raise ModelError(
                f"window {self.window} and pretrain_window {self.pretrain_window} must be multiples of "
                f"patch_size {self.patch_size}."
            )
        if self.width % self.num_heads:
            raise ModelError(f"width {self.width} must be a multiple of num_heads {self.num_heads}.")
        first, last = self.merge_index, self.depth - 1
        indices = self.out_indices
        if not indices or list(indices) != sorted(set(indices)) or not 0 <= first <= indices[0] <= indices[-1] <= last:
            raise ModelError(
                f"out_indices must ascend within {first}..{last} (merge_index to the last block), "
                f"and merge_index must not be negative; got {indices}."
            )
        if not 0 <= self.drop_path_rate < 1:
            raise ModelError(f"drop_path_rate must be in [0, 1); got {self.drop_path_rate}.")

    @property
    def grid(self) -> tuple[int, int]:
        """(Y, X) patches of one half of the canvas."""
        return self.window[0] // self.patch_size, self.window[1] // self.patch_size

    @property
    def tokens(self) -> int:
        """Patches of one half of the canvas."""
        return self.grid[0] * self.grid[1]

    @property
    def head_width(self) -> int:
        """Channels of one attention head."""
        return self.width // self.num_heads

    @property
    def pretrain_grid(self) -> int:
        """Rows (and columns) of the table of absolute positions."""
        return self.pretrain_window // self.patch_size


VARIANTS: Mapping[str, SegGptConfig] = MappingProxyType(
    {
        "seggpt_vit_large_patch16_896x448": SegGptConfig(),
        "painter_vit_large_patch16_896x448": SegGptConfig(type_tokens=False),
        # small enough for a laptop's CPU
        "seggpt_micro": SegGptConfig(
            window=(192, 192),
            patch_size=8,
            width=192,
            depth=12,
            num_heads=4,
            out_indices=(2, 5, 8, 11),
            decoder_width=16,
            pretrain_window=192,
        ),
        # for tests only
        "seggpt_tiny_test": SegGptConfig(
            window=(64, 64),
            width=32,
            depth=5,
            num_heads=2,
            merge_index=1,
            out_indices=(1, 2, 3, 4),
            decoder_width=8,
            pretrain_window=48,
        ),
    }
)


def find_config(name: str) -> SegGptConfig:
    """Return the config of a named variant.

    Raises
    ------
    ModelError
        No such variant.
    """
    if name not in VARIANTS:
        raise ModelError(f"model {name!r} is not known; choose one of {', '.join(VARIANTS)}.")
    return VARIANTS[name]
