"""``incontext-seg train``: train a network on synthetic episodes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from .stopping import gentle_stop


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to train, as in configs/micro.toml.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: state, log, weights.")] = Path("training"),
    start: Annotated[Path | None, typer.Option(help="Weights to begin with, of the same network.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    seconds: Annotated[float, typer.Option(help="Stop after so many seconds, to be resumed.")] = math.inf,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train a network on synthetic episodes."""
    from ..infer.device import resolve_device
    from ..train.config import read_config
    from ..train.loop import train as train_network

    settings = read_config(config)
    with gentle_stop() as should_stop:
        train_network(
            settings,
            out,
            resolve_device(device),
            start=start,
            resume=resume,
            seconds=seconds,
            say=lambda line: print(line, flush=True),
            should_stop=should_stop,
        )
