"""AdamW with layer decay, and its learning rate over a run."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..model.registry import Network
from .config import OptimizerConfig
from .state import Progress


def make_optimizer(network: Network, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW whose groups carry a ``scale`` of the learning rate; biases, norms, tokens and positions do not decay."""
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        decays = parameter.ndim > 1 and not any(word in name for word in ("token", "pos_embed", "rel_pos"))
        groups.setdefault((layer(name, network.config.depth), decays), []).append(parameter)
    top = network.config.depth + 1
    tables: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decays else 0.0,
            "scale": config.layer_decay ** (top - number),
        }
        for (number, decays), parameters in groups.items()
    ]
    return torch.optim.AdamW(
        tables, lr=config.learning_rate, betas=(0.9, 0.999), fused=next(network.parameters()).device.type == "cuda"
    )


def layer(name: str, depth: int) -> int:
    """Number of the layer that a parameter belongs to: 0 the embeddings, 1 to ``depth`` blocks, then the decoder."""
    if name.startswith("blocks."):
        return 1 + int(name.split(".")[1])
    above = ("norm.", "decoder", "enlarge.", "to_pixels.", "at_pixels.", "log_")
    return depth + 1 if name.startswith(above) else 0


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group, by its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def learning_rate(progress: Progress, config: OptimizerConfig) -> float:
    """Linear warm-up, then a cosine to 0, over steps or over seconds."""
    done = fraction(progress, config)
    if done < config.warmup:
        return config.learning_rate * done / config.warmup
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - config.warmup) / (1 - config.warmup)))


def fraction(progress: Progress, config: OptimizerConfig) -> float:
    """How much of the run is done, 0 to 1; a step counts from its middle."""
    done = (progress.step + 0.5) / config.steps if config.steps else progress.seconds / config.seconds
    return min(done, 1.0)
