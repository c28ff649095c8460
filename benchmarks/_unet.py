"""What patience buys without a pretrained model: a plain U-Net, trained from nothing on the annotated slice."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_incontext_seg.core.instances import components
from napari_incontext_seg.core.palette import scores_to_labels
from napari_incontext_seg.core.tiling import blend, plan_tiles
from napari_incontext_seg.core.types import Context, Example, Plane, Segmentation, Segmenter
from napari_incontext_seg.infer.guess import Guess, fit
from napari_incontext_seg.model.precision import without_subnormals

SECONDS, THREADS = 60.0, 2
CROP, CROPS = 128, 4  # px; crops a step
WIDTH, LEVELS = 16, 5  # channels at full size, doubled at each of the coarser levels up to `WIDEST`
WIDEST = 128
LEARNING_RATE = 3e-3  # falls to nothing as a cosine of the time
LARGEST_SCALE = 1.25  # of crops, and its inverse the smallest
TILE, HALO = 1024, 64  # px
MULTIPLE = 2 ** (LEVELS - 1)
IGNORED = -100


class UNet(nn.Module):
    """(B, C, H, W) -> (B, K, H, W); H and W are multiples of `MULTIPLE`."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = [min(WIDTH * 2**level, WIDEST) for level in range(LEVELS)]
        self.down = nn.ModuleList(_block(i, o) for i, o in zip([channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(_block(coarse + fine, fine) for fine, coarse in pairwise(widths))
        self.head = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        levels = [self.down[0](images)]
        for block in self.down[1:]:
            levels.append(block(F.max_pool2d(levels[-1], 2)))
        joined = levels.pop()
        for block in reversed(self.up):
            joined = block(torch.cat([F.interpolate(joined, scale_factor=2.0), levels.pop()], 1))
        out: Tensor = self.head(joined)
        return out


def _block(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (channels, width):
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)


class UNetPredictor:
    """Binding trains a `UNet` for ``seconds`` of work. It sees the image and, as further channels, the guess's scores:
    those held out on the examples."""

    name, digest = "unet", "unet-1"

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds

    def bind(self, context: Context) -> Segmenter:
        objects = context.kind == "instance"
        ids = sorted({min(i, 1) for i in context.ids}) if objects else list(context.ids)
        parts = [_tensors(example, ids, objects) for example in context.examples]
        guess = fit([(i, _hot(c, len(ids)), c != IGNORED) for i, c in parts], background=ids[0] == 0)
        shown = [(_inputs(i, guess.paint_example(i, k), guess), c[:, None]) for k, (i, c) in enumerate(parts)]
        channels = parts[0][0].shape[1]
        network = without_subnormals(lambda _: train(shown, len(ids), channels, self.seconds))

        def segment(plane: Plane, /) -> Segmentation:
            image = torch.tensor(plane).movedim(2, 0)[None]
            inputs = _inputs(image, guess.paint(image), guess)[0].movedim(0, 2).numpy()
            tiles = plan_tiles((plane.shape[0], plane.shape[1]), (TILE, TILE), HALO)
            labels, confidence = scores_to_labels(blend(lambda tile: _paint(network, tile), inputs, tiles), ids)
            return Segmentation(components(labels) if objects else labels, confidence)

        return segment


def _tensors(example: Example, ids: list[int], objects: bool) -> tuple[Tensor, Tensor]:
    """Image (1, C, H, W) and classes (1, H, W), `IGNORED` where not annotated."""
    labels = np.minimum(example.labels, 1) if objects else example.labels
    classes = np.where(example.valid, np.searchsorted(ids, labels), IGNORED)
    return torch.tensor(example.image).movedim(2, 0)[None].contiguous(), torch.tensor(classes)[None]


def _hot(classes: Tensor, count: int) -> Tensor:
    """(B, count, H, W): 1 at the pixel's class; all 0 where it is `IGNORED`."""
    hot = F.one_hot(classes.clamp_min(0), count).movedim(3, 1) * (classes != IGNORED)[:, None]
    return hot.float().contiguous()


def _inputs(image: Tensor, scores: Tensor, guess: Guess) -> Tensor:
    """(1, C + K, H, W): the image by the example's mean and deviation, and scores."""
    return torch.cat([(image - guess.centre) / guess.spread, scores.clamp(-0.5, 1.5)], 1)


def train(shown: list[tuple[Tensor, Tensor]], classes: int, channels: int, seconds: float) -> UNet:
    """Train for ``seconds`` of `THREADS` cores' work, however busy the machine is.

    Shown are crops of inputs (1, C + K, H, W), of which ``channels`` are image, and classes.
    """
    with _threads(THREADS), torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet(shown[0][0].shape[1], classes)
        network = network.to(memory_format=torch.channels_last)  # a sixth faster on the CPU
        optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-3)
        counts = torch.stack([(c == k).sum() for _, c in shown for k in range(classes)]).view(-1, classes).sum(0)
        balance = counts.clamp_min(1).float().rsqrt()
        start = time.process_time()
        while (spent := (time.process_time() - start) / (seconds * THREADS)) < 1:
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * spent)) / 2
            inputs, targets = (torch.cat(parts) for parts in zip(*_crops(shown, channels, classes), strict=True))
            optimizer.zero_grad()
            torch.autograd.backward(loss(network(inputs), targets, balance))
            optimizer.step()
    return network.eval()


def loss(scores: Tensor, targets: Tensor, balance: Tensor) -> Tensor:
    """Cross entropy, classes weighted by ``balance`` (K,), and Dice, of scores (B, K, H, W) and classes (B, H, W)."""
    hot = _hot(targets, scores.shape[1])
    shares = scores.softmax(1) * hot.sum(1, keepdim=True)
    overlap = (2 * (shares * hot).sum((0, 2, 3)) + 1) / (shares.sum((0, 2, 3)) + hot.sum((0, 2, 3)) + 1)
    entropy = F.cross_entropy(scores, targets, balance, ignore_index=IGNORED, reduction="sum")
    return entropy / (hot * balance[:, None, None]).sum().clamp_min(1e-6) + 1 - overlap.mean()


def _crops(shown: list[tuple[Tensor, Tensor]], channels: int, classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Random crops: inputs (1, C, CROP, CROP) and classes (1, CROP, CROP), turned, flipped, scaled and jittered."""
    for _ in range(CROPS):
        inputs, targets = shown[_draw(len(shown))]
        places = (targets[0, 0] == _draw(classes)).nonzero()
        size = torch.tensor(targets.shape[2:])
        centre = places[_draw(len(places))] if len(places) else (torch.rand(2) * size).long()
        scale = LARGEST_SCALE ** (2 * torch.rand(()) - 1)
        around = (torch.arange(CROP) - CROP / 2 + 0.5) * scale * (2 * torch.randint(2, (2, 1)) - 1)
        shift = (torch.rand(2) - 0.5) * CROP / 2
        y, x = ((centre + shift)[:, None] + around) * 2 / (size[:, None] - 1).clamp_min(1) - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="ij") if _draw(2) else torch.meshgrid(x, y, indexing="xy"), -1)
        crop, target = (
            F.grid_sample(t.float(), grid[None], mode=mode, padding_mode="reflection", align_corners=True)
            for t, mode in ((inputs, "bilinear"), (targets, "nearest"))
        )
        gain, offset = 1 + 0.15 * torch.randn(channels, 1, 1), 0.15 * torch.randn(channels, 1, 1)
        crop[:, :channels] = crop[:, :channels] * gain + offset + 0.05 * torch.rand(()) * torch.randn(CROP, CROP)
        yield crop, target[:, 0].long()


def _draw(count: int) -> int:
    return int(torch.randint(count, ()))


@torch.inference_mode()
def _paint(network: UNet, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, C) -> shares of classes (h, w, K)."""
    height, width = tile.shape[:2]
    inputs = torch.tensor(tile).movedim(2, 0)[None]
    padded = F.pad(inputs, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
    shares: NDArray[np.float32] = network(padded).softmax(1)[0, :, :height, :width].movedim(0, 2).numpy()
    return shares


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
