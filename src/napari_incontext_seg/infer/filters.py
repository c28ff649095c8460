"""Filter responses of planes at several scales, in torch: what `guess` looks at."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = (0.7, 1.36, 2.65, 5.14, 10.0)  # px
RESPONSES = 5  # an image, channel and scale
LINE_LEVELS = (1, 2)  # reductions at which lines are sought
LINE_WIDTH, LINE_LENGTH = 1.5, 9  # px of the reduced image: sigma across, and half the length of the kernel
ORIENTATIONS = 8
FINEST = 2.7  # px: a larger scale is computed on an image reduced so far that it is smaller
HALO = 96  # px around a tile that its responses depend on (scales up to 20); a multiple of REDUCTION
REDUCTION = 16  # tiles begin at multiples of it, so that reduced images do not depend on the tile


def filter_responses(planes: Tensor, scales: tuple[float, ...] = SCALES) -> Tensor:
    """Return Gaussian, gradient magnitude, both Hessian eigenvalues and local deviation at each scale.

    Derivatives are multiplied by their scale (scale-normalised); pixels beyond the border repeat it.

    Parameters
    ----------
    planes
        (B, C, H, W) floats.
    scales
        Standard deviations of the Gaussians, in pixels.

    Returns
    -------
    (B, scales * RESPONSES * C, H, W)
    """
    height, width = planes.shape[-2:]
    padded = _padded(planes)
    responses = [_enlarged(_at_scale(_reduced(padded, r), _reduced(padded**2, r), s / r, r), r)
                 for s, r in ((s, _reduction(s)) for s in scales)]  # fmt: skip
    return torch.cat([r[..., :height, :width] for r in responses], dim=1)


def line_responses(planes: Tensor) -> Tensor:
    """Return the largest and the smallest response over `ORIENTATIONS` of an elongated ridge filter, at two widths.

    Parameters
    ----------
    planes
        (B, C, H, W) floats.

    Returns
    -------
    (B, 2 * len(LINE_LEVELS) * C, H, W)
    """
    batch, channels, height, width = planes.shape
    padded = _padded(planes)
    kernels = _line_kernels().to(planes)
    found = []
    for level in LINE_LEVELS:
        reduced = _reduced(padded, level)
        single = reduced.flatten(0, 1)[:, None]
        along = F.conv2d(F.pad(single, (LINE_LENGTH,) * 4, mode="replicate"), kernels)
        extremes = torch.stack([along.amax(1), along.amin(1)], 1).reshape(batch, 2 * channels, *reduced.shape[2:])
        found.append(_enlarged(extremes, level)[..., :height, :width])
    return torch.cat(found, dim=1)


def _padded(planes: Tensor) -> Tensor:
    height, width = planes.shape[-2:]
    return F.pad(planes, (0, -width % REDUCTION, 0, -height % REDUCTION), mode="replicate")


def _reduction(scale: float) -> int:
    return 1 << max(0, math.ceil(math.log2(scale / FINEST)))


def _reduced(planes: Tensor, reduction: int) -> Tensor:
    return F.avg_pool2d(planes, reduction) if reduction > 1 else planes


def _enlarged(planes: Tensor, factor: int) -> Tensor:
    return F.interpolate(planes, scale_factor=factor, mode="bilinear") if factor > 1 else planes


def _at_scale(planes: Tensor, squares: Tensor, scale: float, reduction: int) -> Tensor:
    """The responses at one scale (in pixels of the reduced image), of reduced planes and their reduced squares."""
    # averaging over blocks has already blurred: a box of r pixels has variance (r^2 - 1) / 12
    sigma = math.sqrt(scale**2 - (1 - reduction**-2) / 12)
    mean, mean_square = blurred(torch.cat([planes, squares], 1), sigma).chunk(2, dim=1)
    p = F.pad(mean, (1, 1, 1, 1), mode="replicate")
    above, below, left, right = p[..., :-2, 1:-1], p[..., 2:, 1:-1], p[..., 1:-1, :-2], p[..., 1:-1, 2:]
    gradient = torch.hypot(below - above, right - left) * (scale / 2)
    yy, xx = below - 2 * mean + above, right - 2 * mean + left
    xy = (p[..., 2:, 2:] - p[..., 2:, :-2] - p[..., :-2, 2:] + p[..., :-2, :-2]) / 4
    centre, radius = (yy + xx) * (scale**2 / 2), torch.hypot((yy - xx) / 2, xy) * scale**2
    deviation = (mean_square - mean**2).clamp_min(0).sqrt()
    return torch.cat([mean, gradient, centre + radius, centre - radius, deviation], dim=1)


def blurred(planes: Tensor, sigma: float) -> Tensor:
    """Gaussian blur (B, C, H, W), truncated at three standard deviations."""
    radius, channels = math.ceil(3 * sigma), planes.shape[1]
    offsets = torch.arange(-radius, radius + 1, device=planes.device, dtype=planes.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(planes, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def _line_kernels() -> Tensor:
    """(ORIENTATIONS, 1, k, k) ridge filters: a Gaussian along, its negative second derivative across, sum zero."""
    steps = torch.arange(-LINE_LENGTH, LINE_LENGTH + 1.0)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    angle = torch.arange(ORIENTATIONS)[:, None, None] * (math.pi / ORIENTATIONS)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    across_squared = (across / LINE_WIDTH) ** 2
    kernels = torch.exp(-0.5 * (along / (LINE_LENGTH / 2.5)) ** 2 - 0.5 * across_squared) * (1 - across_squared)
    kernels = kernels - kernels.mean((1, 2), keepdim=True)
    return (kernels / kernels.abs().sum((1, 2), keepdim=True))[:, None]
