"""Filtered noise: fields with a wavelength, an orientation and a spectrum, and the smoothing of images.

All sizes are in pixels; parameters are (N, 1, 1), one an image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor

from .draw import Draw

COARSE = 4
"""Smooth fields are made at 1/4 of the resolution and enlarged."""


def frequencies(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return frequencies (height, 1) and (1, width // 2 + 1) in cycles a pixel."""
    y, x = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    return y[:, None], x[None]


def _radius(size: int, wavelength: Tensor, stretch: Tensor | None, angle: Tensor | None) -> Tensor:
    """Return frequency times wavelength squared: 1 where a period is as long as ``wavelength``."""
    y, x = frequencies(size, size, wavelength.device)
    if stretch is None or angle is None:
        return (y * y + x * x) * wavelength**2
    along, across = y * angle.sin() + x * angle.cos(), y * angle.cos() - x * angle.sin()
    return ((along * stretch) ** 2 + (across / stretch) ** 2) * wavelength**2


def _synthesize(draw: Draw, size: int, gain: Tensor, faster: float, scale: float = 1.0) -> Tensor:
    field: Tensor = torch.fft.irfft2(draw.noise_spectrum(size, faster, scale) * gain, s=(size, size))
    field = field - field.mean((-2, -1), keepdim=True)
    return field / field.std((-2, -1), keepdim=True).clamp_min(1e-8)


def grain(
    draw: Draw,
    size: int,
    wavelength: Tensor,
    bandwidth: float | Tensor = 0.5,
    stretch: Tensor | None = None,
    angle: Tensor | None = None,
    faster: float = 3.0,
) -> Tensor:
    """Return (N, size, size) band-passed noise, mean 0, standard deviation 1, as the grain of a material.

    ``stretch`` > 1 draws it out along ``angle`` (radians from x).
    """
    octave = _radius(size, wavelength, stretch, angle).clamp_min(1e-9).log() / 2
    return _synthesize(draw, size, torch.exp(-0.5 * (octave / bandwidth) ** 2), faster)


def cloud(
    draw: Draw,
    size: int,
    wavelength: Tensor,
    slope: float | Tensor = 2.0,
    stretch: Tensor | None = None,
    angle: Tensor | None = None,
    faster: float = 1.0,
) -> Tensor:
    """Return (N, size, size) noise at all scales below ``wavelength``, amplitude falling with ``slope``."""
    return _synthesize(draw, size, (1 + _radius(size, wavelength, stretch, angle)) ** (-slope / 2), faster)


def swell(draw: Draw, size: int, wavelength: Tensor, faster: float = 1.0) -> Tensor:
    """Return (N, size, size) smooth noise without detail, for warps and shading; wavelengths of 12 pixels and more."""
    small = -(-size // COARSE)
    field = _synthesize(draw, small, torch.exp(-0.7 * _radius(small, wavelength / COARSE, None, None)), faster, COARSE)
    return functional.interpolate(field[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]


def blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Return (N, ..., H, W) smoothed by a Gaussian of ``sigma`` pixels (N, 1, 1), with mirrored borders."""
    height, width = image.shape[-2:]
    pad = max(2, min(height, width) // 8)
    framed = functional.pad(image.flatten(1, -3) if image.ndim > 3 else image[:, None], [pad] * 4, mode="reflect")
    y, x = frequencies(height + 2 * pad, width + 2 * pad, image.device)
    gain = torch.exp(-2 * math.pi**2 * sigma**2 * (y * y + x * x))[:, None]
    smooth: Tensor = torch.fft.irfft2(torch.fft.rfft2(framed) * gain, s=framed.shape[-2:])
    return smooth[..., pad : pad + height, pad : pad + width].reshape(image.shape)


def standardized(field: Tensor) -> Tensor:
    """Return ``field`` with its values replaced by roughly uniform ones in [0, 1] (a normal field's quantiles)."""
    return 0.5 + 0.5 * torch.erf(field / math.sqrt(2))


def specks(draw: Draw, size: int, radius: Tensor, rarity: Tensor, faster: float = 1.5) -> Tensor:
    """Return (N, H, W) of small round spots of about ``radius`` pixels: above 0 inside, about 1 at their centres.

    ``rarity`` in standard deviations of a field: 1.5 crowded, 3 a few.
    """
    return grain(draw, size, radius * 3.5, 0.3, faster=faster) - rarity
