"""What `SegGpt` is measured against: transformers' SegGPT, and the published rule written out plainly and slowly."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SegGptConfig as TransformersConfig
from transformers import SegGptForImageSegmentation

from napari_incontext_seg.model.config import SegGptConfig
from napari_incontext_seg.model.convert import to_transformers
from napari_incontext_seg.model.seggpt import SegGpt

TOLERANCE = 1e-4  # of the output's standard deviation, in float32
SMALL = SegGptConfig(
    window=(32, 32),
    patch_size=8,
    width=32,
    depth=5,
    num_heads=2,
    merge_index=2,
    out_indices=(2, 3, 4),
    decoder_width=8,
    pretrain_window=24,
)


def randomise(model: SegGpt, seed: int = 0) -> SegGpt:
    """Give every parameter a random value, with attention sharp: at default initialisation it hardly matters."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if "rel_pos" in name:
            values *= 1.2 / sqrt(model.config.head_width)
        elif parameter.ndim > 1 and "token" not in name and name != "pos_embed":
            values *= (2.0 if "qkv" in name else 1.0) / sqrt(parameter[0].numel())
        else:
            values *= 0.3
        if "norm" in name and name.endswith("weight"):
            values += 1
        parameter.data.copy_(values)
    return model.eval()


def prompts(config: SegGptConfig, batch: int, num_examples: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Random normalised query (B, 3, Y, X), images and targets (B, K, 3, Y, X)."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, 3, *config.window, generator=generator)
    images, targets = torch.randn(2, batch, num_examples, 3, *config.window, generator=generator)
    return query, images, targets


def difference(ours: Tensor, reference: Tensor) -> float:
    """Largest absolute difference, in standard deviations of the reference."""
    return float((ours - reference).abs().max() / reference.std())


def as_transformers(model: SegGpt) -> SegGptForImageSegmentation:
    """transformers' SegGPT with our weights; every key must match."""
    config = model.config
    theirs = SegGptForImageSegmentation(
        TransformersConfig(
            image_size=(2 * config.window[0], config.window[1]),
            patch_size=config.patch_size,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            mlp_dim=config.mlp_ratio * config.width,
            merge_index=config.merge_index,
            intermediate_hidden_state_indices=list(config.out_indices),
            decoder_hidden_size=config.decoder_width,
            pretrain_image_size=config.pretrain_window,
        )
    )
    state = to_transformers(model.state_dict())
    if not config.type_tokens:  # Painter: nothing is added
        for kind in ("semantic", "instance"):
            state[f"model.embeddings.type_token_{kind}"] = torch.zeros(1, 1, 1, config.width)
    theirs.load_state_dict(state)
    return theirs.eval()


def repair(theirs: SegGptForImageSegmentation) -> SegGptForImageSegmentation:
    """Let the layer ``merge_index`` ensemble per stream, as the published code does.

    transformers (5.23) averages there over the rows of both streams at once, and does so even for one example.
    """
    layer = theirs.model.encoder.layers[theirs.config.merge_index]
    forward = layer.forward
    layer.forward = lambda hidden, ensemble_cond, *rest: forward(hidden, 2, *rest)
    return theirs


def paint_with(
    theirs: SegGptForImageSegmentation, query: Tensor, images: Tensor, targets: Tensor, **settings: object
) -> Tensor:
    """What transformers paints (B, 3, Y, X); its ensemble takes one query a call. Row 0 counts, as in the reference."""
    painted = []
    for one, shown, wanted in zip(query, images, targets, strict=True):
        canvas = theirs(one.expand_as(shown), shown, wanted, **settings).pred_masks
        painted.append(canvas[0, :, query.shape[2] :])
    return torch.stack(painted)


def sharpness(theirs: SegGptForImageSegmentation, run: Callable[[], object]) -> float:
    """Mean over all layers, heads and tokens of the largest attention probability."""
    largest = []

    def look(attention: nn.Module, args: tuple[Tensor, ...]) -> None:
        largest.append(type(attention).forward(attention, args[0], output_attentions=True)[1].amax(-1).mean())

    hooks = [layer.attention.register_forward_pre_hook(look) for layer in theirs.model.encoder.layers]
    run()
    for hook in hooks:
        hook.remove()
    return float(torch.stack(largest).mean())


def paint_slowly(model: SegGpt, query: Tensor, images: Tensor, targets: Tensor, kind: str) -> Tensor:
    """One query (3, Y, X) with K examples (K, 3, Y, X), features ensembled: one canvas, one stream at a time."""
    config, weight = model.config, model.state_dict()
    height, width = 2 * config.grid[0], config.grid[1]
    half = height * width // 2
    table = weight["pos_embed"][0, 1:].T.reshape(1, config.width, config.pretrain_grid, config.pretrain_grid)
    positions = F.interpolate(table, size=(height, width), mode="bicubic").flatten(2)[0].T
    positions = positions + weight["type_token_ins" if kind == "instance" else "type_token_cls"].flatten()

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weight[f"{name}.weight"], weight[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weight[f"{name}.weight"], weight[f"{name}.bias"], 1e-6)

    def embed(canvas: Tensor) -> Tensor:
        projection = weight["patch_embed.proj.weight"], weight["patch_embed.proj.bias"]
        return F.conv2d(canvas[None], *projection, stride=config.patch_size)[0].flatten(1).T

    def attention(block: str, x: Tensor) -> Tensor:
        query, key, value = linear(f"{block}.qkv", x).reshape(2 * half, 3, config.num_heads, -1).permute(1, 2, 0, 3)
        y, x_ = torch.arange(2 * half) // width, torch.arange(2 * half) % width
        by_row = weight[f"{block}.rel_pos_h"][y[:, None] - y[None] + height - 1]  # (tokens, tokens, channels)
        by_column = weight[f"{block}.rel_pos_w"][x_[:, None] - x_[None] + width - 1]
        logits = query @ key.transpose(1, 2) / sqrt(config.head_width)
        logits = logits + torch.einsum("hic,ijc->hij", query, by_row + by_column)
        return linear(f"{block}.proj", (logits.softmax(-1) @ value).transpose(0, 1).flatten(1))

    image_stream, target_stream = [], []
    for image, target in zip(images, targets, strict=True):
        image_tokens = embed(torch.cat([image, query], dim=1)) + weight["segment_token_x"].flatten()
        target_tokens = embed(torch.cat([target, torch.zeros_like(query)], dim=1))
        target_tokens[half:] = weight["mask_token"].flatten()
        image_stream.append(image_tokens + positions)
        target_stream.append(target_tokens + weight["segment_token_y"].flatten() + positions)

    streams, outputs = [image_stream, target_stream], []
    for index in range(config.depth):
        block = f"blocks.{index}"
        for stream in streams:
            attended = [attention(f"{block}.attn", norm(f"{block}.norm1", x)) for x in stream]
            ensembled = torch.stack([x[half:] for x in attended]).mean(0)  # the query half, over the examples
            for k, x in enumerate(stream):
                mixed = x + torch.cat([attended[k][:half], ensembled])
                hidden = F.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", mixed)))
                stream[k] = mixed + linear(f"{block}.mlp.fc2", hidden)
        if index == config.merge_index:
            streams = [[(x + y) / 2 for x, y in zip(*streams, strict=True)]]
        if index in config.out_indices:
            outputs.append(norm("norm", streams[0][0]))  # the first canvas is the answer

    patch = config.patch_size
    pixels = linear("decoder_embed", torch.cat(outputs, dim=-1)).reshape(height, width, patch, patch, -1)
    pixels = pixels.permute(4, 0, 2, 1, 3).reshape(1, -1, height * patch, width * patch)
    pixels = F.conv2d(pixels, weight["decoder_pred.0.weight"], weight["decoder_pred.0.bias"], padding=1)
    pixels = F.gelu(norm("decoder_pred.1", pixels.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    colours = F.conv2d(pixels, weight["decoder_pred.3.weight"], weight["decoder_pred.3.bias"])
    return colours[0, :, height * patch // 2 :]
