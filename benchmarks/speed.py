"""Seconds and memory of our SegGPT against transformers', ViT-L at 896 x 448, the same random float32 weights.

Each side lives in a process of its own; runs alternate, so that whatever else the machine does hits both. Seconds are
the median over rounds. Megabytes are the peak *above what the process held after loading*: on the CPU resident memory
(read from /proc, so Linux only), on CUDA what torch allocated. For several examples features are ensembled, and
transformers' layer 2, which mixes image and target stream, is repaired first: else the outputs could not be compared.

    python benchmarks/speed.py [--examples 1,4] [--threads N] [--device cpu|cuda] [--rounds 3] [--json F]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import time
from collections.abc import Callable
from math import sqrt
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_incontext_seg.model import SegGpt, SegGptConfig
from napari_incontext_seg.model.convert import to_transformers

CONFIG = SegGptConfig()
Painter = Callable[[Tensor, Tensor, Tensor], Tensor]  # query (1, 3, Y, X), images and targets (1, K, 3, Y, X)


def make_ours(device: str) -> Painter:
    model = empty_model()
    model.load_state_dict(random_weights(), assign=True)
    model.to(device)
    return lambda query, images, targets: model(query, images, targets, ensemble="feature")


def make_transformers(device: str) -> Painter:
    from transformers import SegGptConfig as TransformersConfig
    from transformers import SegGptForImageSegmentation

    with torch.device("meta"):
        model = SegGptForImageSegmentation(TransformersConfig()).eval()  # its defaults are the published ViT-L
    model.load_state_dict(to_transformers(random_weights()), assign=True)
    model.to(device)
    layer = model.model.encoder.layers[CONFIG.merge_index]
    forward = layer.forward
    layer.forward = lambda hidden, ensemble_cond, *rest: forward(hidden, 2, *rest)  # the repair

    def paint(query: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        canvas: Tensor = model(
            query.expand_as(images[0]),
            images[0],
            targets[0],
            embedding_type="semantic",
            feature_ensemble=images.shape[1] > 1,
        ).pred_masks
        return canvas[:1, :, CONFIG.window[0] :]

    return paint


SIDES = {"ours": make_ours, "transformers": make_transformers}


def empty_model() -> SegGpt:
    with torch.device("meta"):
        return SegGpt(CONFIG).eval()


def random_weights() -> dict[str, Tensor]:
    """Weights by the published names, the same in every process; every layer matters to the output."""
    generator, weights = torch.Generator().manual_seed(0), {}
    for name, parameter in empty_model().named_parameters():
        matrix = parameter.ndim > 1 and "token" not in name and name != "pos_embed"
        values = torch.randn(parameter.shape, generator=generator)
        values *= 1 / sqrt(parameter[0].numel()) if matrix else 0.1
        weights[name] = values + 1 if "norm" in name and name.endswith("weight") else values
    return {name: torch.nn.Parameter(values) for name, values in weights.items()}


def random_prompts(num_examples: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(1, 3, *CONFIG.window, generator=generator)
    images, targets = torch.randn(2, 1, num_examples, 3, *CONFIG.window, generator=generator)
    return query, images, targets


class PeakMemory:
    """Megabytes above what was held when this was made."""

    def __init__(self, device: str) -> None:
        self.device, self.held = device, 0.0
        self.reset()
        self.held = self.peak()

    def reset(self) -> None:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark becomes what is held now

    def peak(self) -> float:
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20 - self.held
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 2**10 - self.held


@torch.inference_mode()
def serve(side: str, device: str, threads: int, parent: Connection) -> None:
    """A side's process: numbers of examples come in, (seconds, megabytes, output) go out; None ends it."""
    torch.set_num_threads(threads)
    paint = SIDES[side](device)
    memory = PeakMemory(device)
    while (num_examples := parent.recv()) is not None:
        prompts = [tensor.to(device) for tensor in random_prompts(num_examples)]
        memory.reset()
        start = time.perf_counter()
        painted = paint(*prompts).cpu()
        parent.send((time.perf_counter() - start, memory.peak(), painted.numpy()))


def measure(examples: list[int], device: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    context = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    for side in SIDES:
        sides[side], child = context.Pipe()
        context.Process(target=serve, args=(side, device, threads, child), daemon=True).start()
        child.close()  # so that a side that dies ends the wait for it

    rows = []
    for num_examples in examples:
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        megabytes: dict[str, list[float]] = {side: [] for side in sides}
        painted: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
        for _ in range(rounds):
            for side, connection in sides.items():
                connection.send(num_examples)
                spent, peak, painted[side] = connection.recv()
                seconds[side].append(spent)
                megabytes[side].append(peak)
        ours, theirs = median(seconds["ours"]), median(seconds["transformers"])
        rows.append(
            {
                "examples": num_examples,
                "ours_s": round(ours, 3),
                "transformers_s": round(theirs, 3),
                "ratio": round(theirs / ours, 3),
                "ours_mb": round(max(megabytes["ours"])),
                "transformers_mb": round(max(megabytes["transformers"])),
                "max_abs_diff": float(np.abs(painted["ours"] - painted["transformers"]).max()),
                "output_std": float(painted["transformers"].std()),
            }
        )
    for connection in sides.values():
        connection.send(None)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", default="1,4", help="numbers of examples, with commas between")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()

    rows = measure([int(n) for n in args.examples.split(",")], args.device, args.threads, args.rounds)
    print("  ".join(f"{name:>15}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value:>15.4g}" for value in row.values()))
    if args.json:
        here = Path(__file__).parent
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True).stdout.strip()
        machine = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
        report = {"commit": commit, "device": machine, "threads": args.threads, "rounds": args.rounds, "rows": rows}
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
