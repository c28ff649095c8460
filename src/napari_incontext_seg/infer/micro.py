"""`MicroPredictor`: the embedded model. Painted in closed form, like `guess`, on what a small network sees besides."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model.micro import Micro
from .closed_form import ClosedFormPredictor, Quality
from .guess import image_features

if TYPE_CHECKING:
    from ..core.types import Context
    from .key import Key
    from .painting import Ensemble
    from .tuning import Budget


class MicroPredictor(ClosedFormPredictor):
    """Shows a context to a `Micro` network.

    Parameters
    ----------
    network
        From `model.checkpoint.load_model`.
    name, digest
        For provenance; ``digest`` is the SHA-256 of the weights.
    device, ensemble, quality
        See `ClosedFormPredictor`.
    """

    knows_places = True

    def __init__(
        self,
        network: Micro,
        *,
        name: str,
        digest: str,
        device: torch.device | str = "cpu",
        ensemble: Ensemble = "feature",
        quality: Quality = "balanced",
    ) -> None:
        self.name, self.digest = name, digest
        super().__init__(device, ensemble=ensemble, quality=quality)
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()
        self._alike = partial(MicroPredictor, device=device, ensemble=ensemble, quality=quality)

    def see(self, planes: Tensor) -> Tensor:
        """Features (B, F, Y, X) of standardised planes (B, C, Y, X): filter responses, and the network's."""
        colours = planes if planes.shape[1] == 3 else planes[:, :1].expand(-1, 3, -1, -1)
        return torch.cat([image_features(planes), self.network(colours)], dim=1)

    def tuned(self, context: Context, budget: Budget) -> Key:
        """Learn on from the annotated slices: see `infer.tuning.tune`."""
        from .micro_tuning import tune_network

        return tune_network(self, context, budget)

    def with_key(self, key: Key) -> MicroPredictor:
        """Return a predictor whose network has learned what ``key`` holds. Raises KeyFileError if it does not fit."""
        from .micro_tuning import adapted

        key.check_model(self.name, self.digest)
        return self._alike(adapted(self.network, key), name=f"{self.name}+key", digest=f"{self.digest}+{key.digest}")

    def with_network(self, network: Micro) -> MicroPredictor:
        """Return a predictor like this one with other weights."""
        return self._alike(network, name=self.name, digest=f"{self.digest}-other")

    def without_blocks(self) -> MicroPredictor:
        """The same model with its transformer blocks left out: to measure what they are good for."""
        return self._alike(self.network.without_blocks(), name=self.name, digest=f"{self.digest}-without-blocks")
