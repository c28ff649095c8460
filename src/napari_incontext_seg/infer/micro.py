"""`MicroPredictor`: the embedded model. Painted in closed form, like `guess`, on what a small network sees besides."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import DegradedDataWarning, InputError
from ..model.micro import Micro
from .closed_form import ClosedFormPredictor, Quality
from .guess import Respond, image_features

if TYPE_CHECKING:
    from ..core.types import Context, Kind
    from .key import Key
    from .micro_tuning import TunedNetwork
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
    opinion
        A tuned network, whose painting is averaged with the closed form's.
    kind
        Of the labels that it was tuned on; None: any.
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
        opinion: TunedNetwork | None = None,
        kind: Kind | None = None,
    ) -> None:
        self.name, self.digest = name, digest
        super().__init__(device, ensemble=ensemble, quality=quality)
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()
        self._kind = kind
        self.opinion = opinion.to(self.device).eval() if opinion is not None else None
        self._alike = partial(MicroPredictor, device=device, ensemble=ensemble, quality=quality)

    def see(self, planes: Tensor) -> Tensor:
        """Features (B, F, Y, X) of standardised planes (B, C, Y, X): filter responses, and the network's."""
        return torch.cat([image_features(planes), self.network(in_colour(planes))], dim=1)

    def second_opinion(self, kind: Kind, ids: tuple[int, ...]) -> Respond | None:
        """What the tuned network paints, if the model was tuned; of objects, with their borders or without as here.

        Raises
        ------
        InputError
            It was tuned on labels of another kind, or not on all of these labels.
        """
        tuned = self.opinion
        if tuned is None:
            return None
        if self._kind not in (None, kind):
            raise InputError(f"the key paints labels of kind {self._kind}; got {kind}. Choose that kind.")
        if kind == "instance" and ids != tuned.ids:
            here, there = ("lie apart", "touch") if len(tuned.ids) > len(ids) else ("touch", "lie apart")
            told = f"the key was tuned where objects {there}, and is not asked for examples where they {here}."
            warnings.warn(told, DegradedDataWarning, stacklevel=2)
            return None
        unknown = ", ".join(str(i) for i in ids if i not in tuned.ids)
        if unknown:
            raise InputError(f"the key does not know label {unknown} of the new examples. Tune it anew, on these too.")
        return lambda standard: tuned(in_colour(standard), ids)

    def tuned(self, context: Context, budget: Budget) -> Key:
        """Learn from the annotated slices: see `infer.tuning.tune`."""
        from .micro_tuning import tune_network

        if self._kind is not None:
            raise InputError("this model uses a key already: tune it without, on all the examples.")
        return tune_network(self, context, budget)

    def with_key(self, key: Key) -> MicroPredictor:
        """Return a predictor that also asks the network in ``key``. Raises KeyFileError if it does not fit."""
        from .micro_tuning import keyed_network

        key.check_model(self.name, self.digest)
        opinion = keyed_network(self.network, key)
        digest = f"{self.digest}+{key.digest}"
        return self._alike(self.network, name=f"{self.name}+key", digest=digest, opinion=opinion, kind=key.kind)

    def with_opinion(self, opinion: TunedNetwork) -> MicroPredictor:
        """Return a predictor like this one that also asks a tuned network."""
        return self._alike(self.network, name=self.name, digest=f"{self.digest}-other", opinion=opinion)

    def without_blocks(self) -> MicroPredictor:
        """The same model with its transformer blocks left out: to measure what they are good for."""
        return self._alike(self.network.without_blocks(), name=self.name, digest=f"{self.digest}-without-blocks")


def in_colour(planes: Tensor) -> Tensor:
    """Planes (B, C, Y, X) with the three channels that the network sees."""
    return planes if planes.shape[1] == 3 else planes[:, :1].expand(-1, 3, -1, -1)
