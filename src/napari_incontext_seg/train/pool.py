"""`Pool`: many episodes made at once, with the guess that a primed network corrects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..infer.guess import fit, shares
from .episodes import EpisodeConfig, generate

GUESSED = {"cpu": 4}  # episodes whose features are held at a time
GUESSED_ON_GPU = 32


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
    guesses
        (N, K + 1, C, Y, X) float16 shares of the classes 0 to C - 1, held out on the examples.
    """

    images: Tensor
    labels: Tensor
    counts: Tensor
    guesses: Tensor | None

    def __len__(self) -> int:
        return len(self.images)


def make_pool(
    count: int,
    size: int,
    seed: int,
    device: torch.device,
    num_examples: int,
    episodes: EpisodeConfig,
    guess_samples: int | None,
) -> Pool:
    """Make a pool; without ``guess_samples`` one without guesses."""
    made = generate(count, size, seed, device, num_examples, episodes)
    # the examples first, the query (view 0) last
    images, labels = (torch.cat([views[:, 1:], views[:, :1]], dim=1) for views in (made.images, made.labels))
    labels, counts = dense(labels)
    guesses = None
    if guess_samples is not None:
        guesses = _guessed(images, labels, counts, episodes.max_classes + 1, guess_samples)
    return Pool(images.half(), labels.to(torch.uint8), counts, guesses)


def dense(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Number the classes that the examples of labels (N, K + 1, Y, X) show from 1 on; return how many there are."""
    classes = int(labels.max()) + 1
    shown = torch.stack([(labels[:, :-1] == c).flatten(1).any(1) for c in range(1, classes)], 1).long()
    table = F.pad(shown.cumsum(1) * shown, (1, 0))
    return table.gather(1, labels.flatten(1)).view_as(labels), shown.sum(1)


def seed_of(*numbers: int) -> int:
    """A seed that depends on all numbers: randomness that needs no state to be saved."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@torch.no_grad()
def _guessed(images: Tensor, labels: Tensor, counts: Tensor, classes: int, samples: int) -> Tensor:
    """Shares (N, K + 1, classes, Y, X) float16."""
    count, panels, _, height, width = images.shape
    found = torch.zeros(count, panels, classes, height, width, dtype=torch.float16, device=images.device)
    for members, channels, number in _alike(images, counts):
        planes = images[members, :, :channels]
        targets = torch.stack([labels[members] == c for c in range(number + 1)], 2).float()
        everywhere = torch.ones_like(targets[:, 0, 0], dtype=torch.bool)
        guess = fit([(planes[:, k], targets[:, k], everywhere) for k in range(panels - 1)], samples=samples)
        scores = [guess.paint_example(planes[:, k], k) for k in range(panels - 1)] + [guess.paint(planes[:, -1])]
        found[members, :, : number + 1] = torch.stack([shares(s) for s in scores], 1).half()
    return found


def _alike(images: Tensor, counts: Tensor) -> Iterator[tuple[Tensor, int, int]]:
    """Yield members that a guess can be fitted to together, their channels and classes; grey is one channel, as in use.

    An episode that shows no class is fitted as if there were one, which is nowhere.
    """
    grey = (images == images[:, :, :1]).flatten(1).all(1)
    kinds = torch.where(grey, 1, 3) * 100 + counts.clamp_min(1)
    for kind in sorted(set(kinds.tolist())):
        members = (kinds == kind).nonzero().flatten()
        for part in members.split(GUESSED.get(images.device.type, GUESSED_ON_GPU)):
            yield part, kind // 100, kind % 100
