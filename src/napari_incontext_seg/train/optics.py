"""From dyes to pixels: colour, blur, shading, noise, and what cameras and file formats do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .draw import Draw
from .textures import blur, swell

STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
"""Optical densities in red, green and blue of haematoxylin, eosin and DAB (Ruifrok & Johnston 2001)."""


def form(draw: Draw, dyes: Tensor, colour: bool, inverted: Tensor) -> Tensor:
    """Take pictures of scenes; the views of an episode share microscope, camera and settings up to small changes.

    Parameters
    ----------
    dyes
        (N, 3, H, W) amounts, about 0 to 1.
    colour
        Whether the result has three different channels.
    inverted
        (N, 1, 1) bool, whether what holds dye is dark (absorption) rather than bright (emission).

    Returns
    -------
    Tensor
        (N, 3, H, W) float32 in [0, 1].
    """
    light = _coloured(draw, dyes, inverted) if colour else _grey(draw, dyes, inverted)
    low, high = _range(light, draw.uniform(0.0, 0.01))
    light = ((light - low) / (high - low)).clamp(0, 1)
    read, shot = draw.log_uniform(0.002, 0.12), draw.log_uniform(0.002, 0.25)
    noisy = ~draw.chance(0.15)
    light = light + (read * draw.uniform(0, 1.2) * noisy)[:, None] * draw.randn(*light.shape)  # grain of the sample
    light = _blurred(draw, light)
    light = _shaded(draw, light)
    light = _noisy(draw, light, read * noisy, shot * noisy)
    light = _stripes(draw, light)
    light = light.clamp(0, 1.5) ** draw.log_uniform(0.6, 1.7, jitter=0.02)[:, None]
    saturation = draw.uniform(0.001, 0.012) * (1 + 6 * draw.chance(0.1))
    low, high = _range(light, saturation)  # most readers stretch a plane over its own range; some keep the camera's
    gain = draw.uniform(1.0, 1.3) * (1 + 0.1 * draw.normal(1, 1, faster=0.3))
    own = draw.chance(0.75)[:, None]
    low, high = torch.where(own, low, 0.05 * draw.normal(1, 1, 1, faster=0.3)), torch.where(own, high, gain[:, None])
    image = ((light - low) / (high - low)).clamp(0, 1)
    image = image + (_blocky(image, draw.uniform(0.02, 0.12)) - image) * draw.chance(0.12)[:, None]
    steps = torch.where(draw.chance(0.1), draw.uniform(12, 60), 255.0).round()[:, None]
    image = (image * steps).round() / steps
    return image.expand(-1, 3, -1, -1).clamp(0, 1)


def _range(image: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ``tail`` and 1 - ``tail`` quantiles (N, 1, 1, 1) of (N, C, H, W)."""
    sample = image[..., ::4, ::4].flatten(1).sort(1).values
    last = sample.shape[1] - 1
    low = sample.gather(1, (tail[:, 0] * last).long())[..., None, None]
    high = sample.gather(1, ((1 - tail[:, 0]) * last).long())[..., None, None]
    return low, torch.maximum(high, low + 1e-4)


def _grey(draw: Draw, dyes: Tensor, inverted: Tensor) -> Tensor:
    weights = torch.where(draw.chance(0.5), 1.0, draw.uniform(0.4, 1.2))
    amount = dyes[:, :1] + dyes[:, 1:2] * weights[:, None] + dyes[:, 2:]
    dark = torch.exp(-draw.uniform(0.5, 2.0)[:, None] * amount)
    return amount + (dark - amount) * inverted[:, None]


def _coloured(draw: Draw, dyes: Tensor, inverted: Tensor) -> Tensor:
    """Absorption by stains (Beer-Lambert), emission of fluorophores, or one hue with darker parts."""
    own = torch.tensor(STAINS, device=draw.device) + 0.12 * (2 * _palette(draw) - 1)
    anything = _palette(draw)
    known = draw.chance(0.6)
    stains = torch.where(known, own, anything).clamp_min(0.02)
    stains = stains / stains.norm(dim=-1, keepdim=True)
    strength = torch.stack([draw.uniform(1.0, 2.6), draw.uniform(0.5, 1.8), draw.uniform(1.0, 2.6)], 1)[..., 0]
    glow = anything / anything.amax(-1, keepdim=True)
    warm = torch.tensor([[0.08, 0.02, 0.01], [1.0, 0.55, 0.3]], device=draw.device) * draw.uniform(0.7, 1.2)
    low, high = _palette(draw)[:, 0] * 0.35, 0.35 + 0.65 * _palette(draw)[:, 0]
    eye = draw.chance(0.4)[:, 0]  # the colours of tissue in white light
    low, high = torch.where(eye, warm[:, 0], low), torch.where(eye, warm[:, 1], high)
    # All are linear in the dyes; absorption is the exponential of that.
    hue, ground = draw.chance(0.5), torch.zeros_like(low)
    matrix = torch.where(hue, (high - low)[:, None], glow)
    matrix = torch.where(inverted, stains * strength, matrix)
    offset = torch.where(hue[:, 0] & ~inverted[:, 0], low, ground)[..., None, None]
    linear = torch.einsum("ndc,ndhw->nchw", matrix, dyes) + offset
    white = 1 - 0.2 * _palette(draw)[:, 0] * draw.uniform(0, 1)[..., 0]
    absorbed = white[..., None, None] * torch.exp(-linear)
    return linear + (absorbed - linear) * inverted[:, None]


def _palette(draw: Draw) -> Tensor:
    """Return (N, 3, 3) random colours, one a dye, shared by the views."""
    return draw.rand(draw.episodes, 3, 3).repeat_interleave(draw.views, 0) + 0.02


def _blurred(draw: Draw, light: Tensor) -> Tensor:
    sigma = torch.where(draw.chance(0.3), 0.0, draw.log_uniform(0.35, 2.6, jitter=0.1))
    smooth = blur(light, sigma)
    sharpened = 2 * light - smooth  # unsharp masking, as scanners do
    return smooth + (sharpened - smooth) * draw.chance(0.07)[:, None]


def _shaded(draw: Draw, light: Tensor) -> Tensor:
    size = light.shape[-1]
    shading = swell(draw, size, draw.uniform(0.7, 2.5) * size, faster=0.5)
    strength = draw.uniform(0, 0.35) * draw.chance(0.5)
    axis = torch.linspace(-1, 1, size, device=draw.device)
    vignette = (axis[:, None] ** 2 + axis[None] ** 2) * draw.uniform(0, 0.3) * draw.chance(0.2)
    factor = (1 + strength * shading - vignette).clamp(0.15, 2.0)
    veil = 0.3 * strength * shading * draw.chance(0.3)
    return light * factor[:, None] + veil[:, None]


def _noisy(draw: Draw, light: Tensor, read: Tensor, shot: Tensor) -> Tensor:
    deviation = (read[:, None] ** 2 + shot[:, None] ** 2 * light.clamp_min(0)).sqrt()
    noise = draw.randn(*light.shape)
    return light + deviation * noise


def _stripes(draw: Draw, light: Tensor) -> Tensor:
    """Add line noise, a periodic pattern, and hot or dead pixels, each to a few episodes."""
    count, _, height, width = light.shape
    rows = draw.randn(count, 1, height, 1) * (draw.uniform(0, 0.06) * draw.chance(0.1))[:, None]
    axis = torch.arange(width, device=draw.device)[None, None]
    wave = torch.sin(2 * math.pi * (axis + draw.view_uniform(0, 50)) / draw.log_uniform(3, 40))
    wave = wave * draw.uniform(0, 0.05) * draw.chance(0.06)
    rate = draw.log_uniform(1e-4, 2e-2) * draw.chance(0.08)
    dice = draw.rand(count, 1, height, width)
    light = torch.where(dice < rate[:, None] / 2, 1.0, torch.where(dice > 1 - rate[:, None] / 2, 0.0, light))
    return light + rows + wave[:, None]


def _blocky(image: Tensor, step: Tensor) -> Tensor:
    """Quantise the cosine transform of 8x8 blocks, coarser for finer waves, as JPEG does."""
    count, channels, height, width = image.shape
    tall, wide = height // 8 * 8, width // 8 * 8
    k = torch.arange(8, device=image.device, dtype=torch.float32)
    basis = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / 16) / 2
    basis = torch.cat([basis[:1] / math.sqrt(2), basis[1:]])
    blocks = image[..., :tall, :wide].reshape(count, channels, tall // 8, 8, wide // 8, 8).transpose(3, 4)
    table = step.view(-1, 1, 1, 1, 1, 1) * (1 + k[:, None] + k[None])
    waves = ((basis @ blocks @ basis.T) / table).round() * table
    out = image.clone()
    out[..., :tall, :wide] = (basis.T @ waves @ basis).transpose(3, 4).reshape(count, channels, tall, wide)
    return out
