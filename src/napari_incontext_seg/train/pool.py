"""`Pool`: many episodes made at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .episodes import EpisodeConfig, generate


@dataclass(frozen=True, eq=False)
class Pool:
    """N episodes of K examples each; panels are the examples, then the query.

    Parameters
    ----------
    images
        (N, K + 1, 3, Y, X) float16 in [0, 1].
    labels
        (N, K + 1, Y, X) uint8, classes 1 to the episode's count, 0 = background.
    counts
        (N,) classes.
    """

    images: Tensor
    labels: Tensor
    counts: Tensor

    def __len__(self) -> int:
        return len(self.images)


def make_pool(
    count: int, size: int, seed: int, device: torch.device, num_examples: int, episodes: EpisodeConfig
) -> Pool:
    """Make a pool of ``count`` episodes of ``size`` pixels a side."""
    made = generate(count, size, seed, device, num_examples, episodes)
    # the examples first, the query (view 0) last
    images, labels = (torch.cat([views[:, 1:], views[:, :1]], dim=1) for views in (made.images, made.labels))
    labels, counts = dense(labels)
    return Pool(images.half(), labels.to(torch.uint8), counts)


def dense(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Number the classes that the examples of labels (N, K + 1, Y, X) show from 1 on; return how many there are."""
    classes = max(1, int(labels.max())) + 1
    shown = torch.stack([(labels[:, :-1] == c).flatten(1).any(1) for c in range(1, classes)], 1).long()
    table = F.pad(shown.cumsum(1) * shown, (1, 0))
    return table.gather(1, labels.flatten(1)).view_as(labels), shown.sum(1)


def seed_of(*numbers: int) -> int:
    """A seed that depends on all numbers: randomness that needs no state to be saved."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
