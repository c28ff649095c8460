"""`Micro`: the network that the package ships. It gives the closed form (`infer.guess`) learned features to paint with.

A small convolutional pyramid, a ViT over patches of 16 pixels, and a decoder that sees the pyramid again turn an image
into features a pixel. What they mean in a context is not learned: colours are painted by ridge regression on the
examples, in closed form, in training as in use. So the network learns from every episode to see what is worth seeing,
in any image, and nothing of what the classes are: that is left to the context.

Reference: Bertinetto et al., Meta-learning with differentiable closed-form solvers (arXiv 1805.08136).
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError
from .precision import wide

GROUPS = 8  # of the pyramid's group norms
POSITION_PERIOD, POSITION_SCALE = 100.0, 0.1  # patches; size beside the tokens


@dataclass(frozen=True)
class MicroConfig:
    """Shape of a `Micro` network.

    Parameters
    ----------
    channels
        Of the convolutional pyramid, at 1/2, 1/4, ... of the resolution; patches are one step coarser.
    width, depth, num_heads, mlp_ratio
        Of the transformer.
    features
        Channels at full resolution that the closed form sees.

    Raises
    ------
    ModelError
        The numbers contradict each other.
    """

    network: ClassVar[str] = "micro"
    channels: tuple[int, ...] = (24, 48, 96)
    width: int = 192
    depth: int = 4
    num_heads: int = 4
    mlp_ratio: int = 4
    features: int = 24

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        sizes = (*self.channels, self.width, self.depth, self.num_heads, self.mlp_ratio, self.features)
        if not self.channels or min(sizes) < 1:
            raise ModelError(f"sizes must be at least 1, and there must be a pyramid; got {self}.")
        if self.width % 4 or self.width % self.num_heads or any(c % GROUPS for c in self.channels):
            raise ModelError(f"width must divide by 4 and by num_heads, channels by {GROUPS}; got {self}.")

    @property
    def patch_size(self) -> int:
        """Pixels a side of a patch."""
        return int(2 ** (len(self.channels) + 1))


class Micro(nn.Module):
    """See the module's text."""

    def __init__(self, config: MicroConfig) -> None:
        super().__init__()
        self.config = config
        levels = (*config.channels, config.width)
        steps = list(pairwise(levels))  # fine and coarse
        self.reduce = nn.ModuleList([nn.Conv2d(3, levels[0], 4, stride=2, padding=1)])
        self.reduce.extend(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.encoders = nn.ModuleList(ConvBlock(c) for c in config.channels)
        self.neighbours = nn.Conv2d(config.width, config.width, 3, padding=1, groups=config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.enlarge = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in steps)
        self.decoders = nn.ModuleList(ConvBlock(c) for c in config.channels)
        self.to_pixels = nn.Conv2d(levels[0], 4 * config.features, 1)
        self.at_pixels = nn.Conv2d(3, config.features, 3, padding=1)
        self.log_ridge = nn.Parameter(torch.tensor(-3.0))
        self.log_sharpness = nn.Parameter(torch.tensor(1.8))

    def forward(self, images: Tensor) -> Tensor:
        """Standardised images (N, 3, Y, X) of any size -> features (N, features, Y, X)."""
        height, width = images.shape[2:]
        patch = self.config.patch_size
        shown = F.pad(images, (0, -width % patch, 0, -height % patch), mode="replicate")
        level = shown.contiguous(memory_format=torch.channels_last)
        skips = []
        for reduce, encode in zip(self.reduce, self.encoders, strict=False):
            level = encode(reduce(level))
            skips.append(level)
        level = self._attend(self.reduce[-1](level))
        for enlarge, decode in zip(reversed(self.enlarge), reversed(self.decoders), strict=True):
            level = decode(skips.pop() + F.interpolate(enlarge(level), scale_factor=2, mode="bilinear"))
        pixels = F.gelu(F.pixel_shuffle(self.to_pixels(level), 2) + self.at_pixels(shown))
        features: Tensor = pixels[..., :height, :width]
        return features

    def without_blocks(self) -> Micro:
        """A copy whose transformer blocks do nothing: no patch sees another. Shows what the blocks are for."""
        ablated = deepcopy(self)
        ablated.blocks = nn.ModuleList()
        return ablated

    def _attend(self, level: Tensor) -> Tensor:
        level = level + self.neighbours(level)
        tokens = level.flatten(2).mT + self._positions(*level.shape[2:])
        for block in self.blocks:
            tokens = block(tokens)
        attended: Tensor = self.norm(tokens).mT.reshape(level.shape)
        return attended

    def _positions(self, height: int, width: int) -> Tensor:
        """(T, width) sines and cosines of row and column."""
        count, device = self.config.width // 4, self.norm.weight.device
        rates = torch.exp(torch.arange(count, device=device) / count * -math.log(POSITION_PERIOD))
        angles = [torch.arange(n, device=device)[:, None] * rates for n in (height, width)]
        y, x = (torch.cat([a.sin(), a.cos()], 1) for a in angles)
        both = [y[:, None].expand(height, width, -1), x[None].expand(height, width, -1)]
        return torch.cat(both, 2).flatten(0, 1) * POSITION_SCALE


class ConvBlock(nn.Module):
    """Norm, convolution, GELU, convolution, added to what came in; the identity at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        nothing(self.conv2)

    def forward(self, level: Tensor) -> Tensor:
        """(N, channels, Y, X) -> the same shape."""
        change: Tensor = self.conv2(F.gelu(self.conv1(self.norm(level))))
        return level + change


class Block(nn.Module):
    """A transformer block; the identity at first."""

    def __init__(self, config: MicroConfig) -> None:
        super().__init__()
        self.num_heads, width = config.num_heads, config.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, config.mlp_ratio * width), nn.Linear(config.mlp_ratio * width, width)
        nothing(self.proj)
        nothing(self.fc2)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) -> the same shape."""
        heads = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*heads.unbind(0)).transpose(1, 2).flatten(2)
        tokens = tokens + self.proj(attended)
        changed: Tensor = tokens + self.fc2(F.gelu(self.fc1(self.norm2(tokens))))
        return changed


def nothing(layer: nn.Conv2d | nn.Linear) -> None:
    """Make a layer's output 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def closed_form(features: Tensor, targets: Tensor, ridge: Tensor | float) -> Tensor:
    """Ridge regression (B, D + 1, C), the last row a constant, from features (B, P, D) to targets (B, P, C).

    ``ridge`` is relative to the variance of each feature.
    """
    deviation, mean = torch.std_mean(features, 1, keepdim=True, correction=0)
    deviation = (deviation**2 + 1e-4).sqrt()
    standard = (features - mean) / deviation
    centre = targets.mean(1, keepdim=True)
    products = torch.cat([standard, targets - centre], 2)
    gram, moment = wide(standard.mT @ products / features.shape[1]).tensor_split([features.shape[2]], dim=2)
    strength = torch.as_tensor(ridge + 1e-5, device=gram.device)
    gram = gram + strength * torch.eye(features.shape[2], device=gram.device, dtype=gram.dtype)
    slope = torch.cholesky_solve(moment, torch.linalg.cholesky(gram)).to(features) / deviation.mT
    return torch.cat([slope, centre - mean @ slope], 1)
