"""How good the model is on held-out synthetic episodes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.micro import Micro
from ..model.registry import Network
from ..model.seggpt import denormalize, normalize
from .batch import in_colours, random_palettes
from .micro import micro_dice
from .pool import Pool

TOGETHER = 16  # episodes painted at a time


@dataclass(frozen=True, eq=False)
class Validation:
    """Held-out episodes in fixed colours (N, 5, 3)."""

    pool: Pool
    colours: Tensor

    @classmethod
    def of(cls, pool: Pool) -> Validation:
        """Choose the colours of a pool."""
        return cls(pool, random_palettes(pool.counts, torch.Generator(pool.counts.device).manual_seed(0)))

    @torch.no_grad()
    def dice(self, network: Network) -> float:
        """Mean Dice over classes and episodes."""
        if isinstance(network, Micro):
            return float(micro_dice(network, self.pool).mean())
        painted = []
        training = network.training
        network.eval()
        for members in torch.split(torch.arange(len(self.pool), device=self.colours.device), TOGETHER):
            images, targets = torch.split(in_colours(self.pool, members, self.colours[members]), 3, dim=2)
            panels = normalize(images)
            with torch.autocast(panels.device.type, torch.bfloat16, enabled=panels.device.type == "cuda"):
                out = network(panels[:, -1], panels[:, :-1], normalize(targets[:, :-1]), ensemble="feature")
            painted.append(denormalize(out.float()))
        network.train(training)
        return float(dice(torch.cat(painted), self.pool.labels[:, -1], self.colours, self.pool.counts).mean())


def dice(painted: Tensor, labels: Tensor, colours: Tensor, counts: Tensor) -> Tensor:
    """Mean Dice (B,) over the classes of each episode; a class that is rightly nowhere counts 1.

    Parameters
    ----------
    painted
        (B, 3, Y, X) colours, read as the nearest of ``colours`` (B, C, 3).
    labels
        (B, Y, X) classes, 1 to ``counts`` (B,), 0 = background.
    """
    distance = torch.stack([(painted - colour[..., None, None]).square().sum(1) for colour in colours.unbind(1)], 1)
    classes = torch.arange(colours.shape[1], device=colours.device)
    used = classes <= counts[:, None]
    found = distance.where(used[..., None, None], torch.inf).argmin(1)
    predicted, true = (maps[:, None] == classes[1:, None, None] for maps in (found, labels))
    both, sizes = (predicted & true).sum((2, 3)), predicted.sum((2, 3)) + true.sum((2, 3))
    each = torch.where(sizes > 0, 2 * both / sizes.clamp_min(1), 1.0) * used[:, 1:]
    return torch.where(counts > 0, each.sum(1) / counts.clamp_min(1), 1.0)
