"""Seconds and memory of our SegGPT against transformers', ViT-L at 896 x 448, the same random weights.

Each side lives in a process of its own, a fresh one for each number of examples; runs alternate, so that whatever else
the machine does hits both. Seconds are a plane's, the median over rounds. Megabytes are the peak *above what the
process held after loading*: on the CPU resident memory (read from /proc, so Linux only), on CUDA what torch allocated.
For several examples features are ensembled, and transformers' layer 2, which mixes image and target stream, is repaired
first: else the outputs could not be compared.

Three ways of ours: ``first`` takes in the examples and paints (compared with transformers), ``next`` paints a further
plane of a stack, ``frozen`` does so approximately (`SegGpt.freeze`, made with another plane). ``share`` is the rate of
the plain model's operations, of those a second that a large matrix product reaches on this device. Differences are
over the standard deviation of what transformers paints: the largest (``diff``), and the root mean square (``rms``), of
``frozen`` from the exact way and, for other types, of ours from ours in float32.

    python benchmarks/speed.py [--examples 1,4,8] [--threads N] [--device cpu|cuda] [--dtype float32|bfloat16]
        [--batch 1] [--compile] [--rounds 3] [--json F]
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
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
Painter = Callable[[Tensor, Tensor, Tensor], Tensor]  # query (B, 3, Y, X), images and targets (1, K, 3, Y, X)


@dataclass(frozen=True)
class Setting:
    """How both sides run."""

    device: str
    dtype: str
    threads: int
    batch: int
    compiled: bool

    def ready(self, model: Any) -> Any:
        """The model on its device."""
        return model.to(self.device, getattr(torch, self.dtype))


def make_ours(setting: Setting) -> dict[str, Painter]:
    model = empty_model()
    model.load_state_dict(random_weights(), assign=True)
    setting.ready(model)
    paint = torch.compile(model.paint) if setting.compiled else model.paint
    kept: dict[str, Any] = {}

    def first(query: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        kept["shown"] = model.show(images, targets, ensemble="feature")
        painted: Tensor = paint(query, kept["shown"])
        return painted

    def further(query: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        painted: Tensor = paint(query, kept["shown"])
        return painted

    def frozen(query: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        painted: Tensor = paint(query, kept["frozen"])
        return painted

    def freeze(query: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        other = torch.roll(query[:1], 40, dims=-1)  # the same texture elsewhere
        kept["frozen"] = model.freeze(other, kept["shown"])
        return query[:0]

    def exact(query: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        whole = copy.deepcopy(model).float()
        return torch.cat([whole(q[None].float(), images.float(), targets.float(), ensemble="feature") for q in query])

    return {"first": first, "next": further, "freeze": freeze, "frozen": frozen, "float32": exact}


def make_transformers(setting: Setting) -> dict[str, Painter]:
    from transformers import SegGptConfig as TransformersConfig
    from transformers import SegGptForImageSegmentation

    settings = TransformersConfig(
        image_size=(2 * CONFIG.window[0], CONFIG.window[1]), patch_size=CONFIG.patch_size, hidden_size=CONFIG.width,
        num_hidden_layers=CONFIG.depth, num_attention_heads=CONFIG.num_heads, mlp_dim=CONFIG.mlp_ratio * CONFIG.width,
        merge_index=CONFIG.merge_index, intermediate_hidden_state_indices=list(CONFIG.out_indices),
        decoder_hidden_size=CONFIG.decoder_width, pretrain_image_size=CONFIG.pretrain_window,
    )  # fmt: skip
    with torch.device("meta"):
        model = SegGptForImageSegmentation(settings).eval()
    model.load_state_dict(to_transformers(random_weights()), assign=True)
    setting.ready(model)
    layer = model.model.encoder.layers[CONFIG.merge_index]
    forward = layer.forward
    layer.forward = lambda hidden, ensemble_cond, *rest: forward(hidden, 2, *rest)  # the repair

    def paint(query: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        if images.shape[1] == 1:
            pairs = (t[0].expand(query.shape[0], -1, -1, -1) for t in (images, targets))
            return canvas(query, *pairs, ensemble=False)
        # its ensemble takes one query a call
        return torch.cat([canvas(q.expand_as(images[0]), images[0], targets[0], ensemble=True)[:1] for q in query])

    def canvas(query: Tensor, images: Tensor, targets: Tensor, *, ensemble: bool) -> Tensor:
        painted: Tensor = model(
            query, images, targets, embedding_type="semantic", feature_ensemble=ensemble
        ).pred_masks[:, :, CONFIG.window[0] :]
        return painted

    return {"first": paint}


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


def random_prompts(num_examples: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(batch, 3, *CONFIG.window, generator=generator)
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
def serve(side: str, setting: Setting, num_examples: int, parent: Connection) -> None:
    """A side's process: ways of painting come in, (seconds a plane, megabytes, output) go out; None ends it."""
    torch.set_num_threads(setting.threads)
    ways = SIDES[side](setting)
    prompts = [t.to(setting.device, getattr(torch, setting.dtype)) for t in random_prompts(num_examples, setting.batch)]
    memory = PeakMemory(setting.device)
    if setting.device == "cuda":  # what is compiled or chosen once
        ways["first"](*prompts)
    parent.send("ready")
    while (way := parent.recv()) is not None:
        memory.reset()
        start = time.perf_counter()
        painted = ways[way](*prompts).float().cpu()
        parent.send(((time.perf_counter() - start) / setting.batch, memory.peak(), painted.numpy()))


def operations(num_examples: int) -> float:
    """Of the plain model, a plane: multiplications and additions, the query half counted once."""
    half, width, canvases = CONFIG.tokens, CONFIG.width, num_examples
    tokens = (num_examples + 1) * half
    linear = 2 * tokens * (4 + 2 * CONFIG.mlp_ratio) * width**2
    attention = 4 * canvases * (2 * half) ** 2 * width
    pixels = CONFIG.patch_size**2 * CONFIG.decoder_width
    decoder = 2 * half * (len(CONFIG.out_indices) * width * pixels + 9 * CONFIG.decoder_width * pixels)
    return (CONFIG.depth + CONFIG.merge_index + 1) * (linear + attention) + decoder


def matrix_rate(setting: Setting) -> float:
    """Operations a second of a large matrix product: the best of five."""
    torch.set_num_threads(setting.threads)
    side = 8192 if setting.device == "cuda" else 3072
    a, b = torch.randn(2, side, side, device=setting.device, dtype=getattr(torch, setting.dtype))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        (a @ b)[0, 0].item()
        seconds.append(time.perf_counter() - start)
    return float(2 * side**3 / min(seconds))


class Sides:
    """Both processes, for one number of examples."""

    def __init__(self, setting: Setting, num_examples: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connections: dict[str, Connection] = {}
        for side in SIDES:
            self.connections[side], child = context.Pipe()
            context.Process(target=serve, args=(side, setting, num_examples, child), daemon=True).start()
            child.close()  # so that a side that dies ends the wait for it
        for connection in self.connections.values():
            connection.recv()  # neither is timed while the other loads

    def run(self, side: str, way: str) -> tuple[float, float, Any]:
        self.connections[side].send(way)
        answer: tuple[float, float, Any] = self.connections[side].recv()
        return answer

    def end(self) -> None:
        for connection in self.connections.values():
            connection.send(None)


def measure(num_examples: int, setting: Setting, rounds: int, rate: float) -> dict[str, Any]:
    """A row of the table."""
    sides = Sides(setting, num_examples)
    order = [("ours", "first"), ("transformers", "first"), ("ours", "next")]
    spent: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    painted: dict[str, Any] = {}
    for turn in range(rounds):
        for side, way in [*order, ("ours", "freeze"), ("ours", "frozen")] if turn == rounds - 1 else order:
            name = side if way == "first" else way
            seconds, peak, painted[name] = sides.run(side, way)
            spent.setdefault(name, []).append(seconds)
            peaks[name] = max(peak, peaks.get(name, 0))
    seconds, _, _ = sides.run("ours", "frozen")
    spent["frozen"].append(seconds)
    exact = painted["ours"] if setting.dtype == "float32" else sides.run("ours", "float32")[2]
    sides.end()
    ours, theirs, further, frozen = (median(spent[name]) for name in ("ours", "transformers", "next", "frozen"))
    std = float(painted["transformers"].std())

    def rms(left: Any, right: Any) -> float:
        return float(np.sqrt(np.square(left - right).mean())) / std

    return {
        "examples": num_examples,
        "ours_s": round(ours, 4),
        "transformers_s": round(theirs, 4),
        "ratio": round(theirs / ours, 2),
        "next_s": round(further, 4),
        "next_ratio": round(theirs / further, 2),
        "frozen_s": round(frozen, 4),
        "ours_mb": round(max(peaks["ours"], peaks["next"])),
        "transformers_mb": round(peaks["transformers"]),
        "share": round(operations(num_examples) / further / rate, 3),
        "diff_over_std": float(np.abs(painted["ours"] - painted["transformers"]).max()) / std,
        "next_diff": float(np.abs(painted["next"] - painted["transformers"]).max()) / std,
        "frozen_rms": rms(painted["frozen"], painted["next"]),
        "float32_rms": rms(painted["ours"], exact),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", default="1,4,8", help="numbers of examples, with commas between")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch", type=int, default=1, help="query planes at a time")
    parser.add_argument("--compile", action="store_true", help="torch.compile ours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()

    setting = Setting(args.device, args.dtype, args.threads, args.batch, args.compile)
    rate, rows = matrix_rate(setting), []
    print(f"a large matrix product: {rate / 1e12:.3g} T operations a second")
    for num_examples in (int(n) for n in args.examples.split(",")):
        rows.append(measure(num_examples, setting, args.rounds, rate))
        if len(rows) == 1:
            print("  ".join(f"{name:>15}" for name in rows[0]))
        print("  ".join(f"{value:>15.4g}" for value in rows[-1].values()), flush=True)
    if args.json:
        here = Path(__file__).parent
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True).stdout.strip()
        machine = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
        settings = {name: value for name, value in vars(args).items() if name not in ("json", "examples", "device")}
        report = {"commit": commit, "device": machine, **settings, "matrix_rate": rate, "rows": rows}
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
