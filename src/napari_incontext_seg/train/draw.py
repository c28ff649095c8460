"""Correlated random numbers: everything random in an episode comes from a `Draw`.

A view is a point on an arc between two draws: ``cos(angle) * shared + sin(angle) * own``. At 90 degrees the views are
independent scenes of one parameter set; at a few degrees they are the same scene a little further on, as neighbouring
slices or frames are: objects shift, grow, vanish and appear, because each normal number changes a little and keeps its
distribution. Scenes are written once and need not know which of the two they make.

N below is ``episodes * views``, the views of an episode in a row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

POOL = 64
"""Parameters that are drawn at once."""


class Draw:
    """Random numbers of one batch of episodes.

    Parameters
    ----------
    angle
        (episodes, views) radians in [0, pi / 2]: how far each view is from the scene the episode shares.
    shift
        (episodes, views, 2) pixels (y, x): how far each view has drifted.
    generator
        On the device of ``angle``; None draws from the global one.
    """

    def __init__(self, angle: Tensor, shift: Tensor, generator: torch.Generator | None) -> None:
        self.episodes, self.views = angle.shape
        self.count = self.episodes * self.views
        self.device = angle.device
        self.generator = generator
        self.angle = angle
        self.shift = shift.reshape(self.count, 2)
        self._pool: list[Tensor] = []

    def rand(self, *shape: int) -> Tensor:
        """Return independent uniform numbers in [0, 1]."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def randn(self, *shape: int) -> Tensor:
        """Return independent standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def _next(self) -> Tensor:
        """Return (N, 1, 1) uniform in [0, 1], equal in the views of an episode."""
        if not self._pool:  # many at once: a GPU is slow at making one small tensor at a time
            self._pool = list(self.rand(POOL, self.episodes).repeat_interleave(self.views, 1)[..., None, None])
        return self._pool.pop()

    def spread(self, values: Tensor) -> Tensor:
        """Repeat one value an episode (episodes,) over its views, as (N, 1, 1)."""
        return values.repeat_interleave(self.views).view(-1, 1, 1)

    def by_episode(self, values: Tensor) -> Tensor:
        """Return (N, ...) values as (episodes, views, ...)."""
        return values.view(self.episodes, self.views, *values.shape[1:])

    def uniform(self, low: float, high: float, jitter: float = 0.0) -> Tensor:
        """Return (N, 1, 1) uniform parameters, shared by the views up to a relative ``jitter``."""
        values = low + (high - low) * self._next()
        return values * (1 + jitter * self.randn(self.count, 1, 1)) if jitter else values

    def log_uniform(self, low: float, high: float, jitter: float = 0.0) -> Tensor:
        """Return (N, 1, 1) parameters whose logarithm is uniform."""
        values = self.uniform(math.log(low), math.log(high)).exp()
        return values * (1 + jitter * self.randn(self.count, 1, 1).clamp(-2, 2)) if jitter else values

    def chance(self, probability: float) -> Tensor:
        """Return (N, 1, 1) booleans, shared by the views."""
        return self._next() < probability

    def view_uniform(self, low: float, high: float) -> Tensor:
        """Return (N, 1, 1) uniform numbers, one a view."""
        return low + (high - low) * self.rand(self.count, 1, 1)

    def sign(self, probability: float = 0.5) -> Tensor:
        """Return (N, 1, 1) of 1 with ``probability``, else -1."""
        return torch.where(self.chance(probability), 1.0, -1.0)

    def presence(self, absent: float = 0.15) -> Tensor:
        """Return (N, 1, 1): 1, and in the share ``absent`` of the episodes 0 in the query (view 0) only."""
        missing = self.rand(self.episodes, 1) < absent
        query = torch.arange(self.views, device=self.device) == 0
        return 1 - (missing & query).float().view(-1, 1, 1)

    def normal(self, *shape: int, faster: float = 1.0) -> Tensor:
        """Return (N, *shape) standard normal numbers, correlated between the views of an episode.

        ``faster`` > 1 lets them change more from view to view than the scene does.
        """
        angle = (self.angle * faster).clamp(max=math.pi / 2).view(self.episodes, self.views, *[1] * len(shape))
        shared = self.randn(self.episodes, 1, *shape)
        own = self.randn(self.episodes, self.views, *shape)
        return (angle.cos() * shared + angle.sin() * own).flatten(0, 1)

    def quantile(self, *shape: int, faster: float = 1.0) -> Tensor:
        """Return (N, *shape) uniform numbers in [0, 1], correlated like `normal`."""
        return 0.5 + 0.5 * torch.erf(self.normal(*shape, faster=faster) / math.sqrt(2))

    def noise_spectrum(self, size: int, faster: float, scale: float = 1.0) -> Tensor:
        """Return (N, size, size // 2 + 1) complex spectra of white noise, drifted by ``shift`` / ``scale``."""
        noise = torch.complex(*self.normal(2, size, size // 2 + 1, faster=faster).unbind(1))
        y = torch.fft.fftfreq(size, device=self.device) * self.shift[:, :1] * (-2 * math.pi / scale)
        x = torch.fft.rfftfreq(size, device=self.device) * self.shift[:, 1:] * (-2 * math.pi / scale)
        return noise * (torch.polar(torch.ones_like(y), y)[:, :, None] * torch.polar(torch.ones_like(x), x)[:, None])
