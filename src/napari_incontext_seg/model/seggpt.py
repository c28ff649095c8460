"""`SegGpt`: paint a query image the way example pairs show (SegGPT and Painter), examples on an axis of their own.

Source: arXiv 2304.03284 (SegGPT), 2212.02499 (Painter); baaivision/Painter, MIT. Written anew; the published weights
load by name. Images and colours enter and leave ImageNet-normalised: see `normalize` and `denormalize`.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from einops import rearrange
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from ..errors import InputError
from .config import SegGptConfig
from .layers import NORM_EPSILON, Block, decoder_head

SegType: TypeAlias = Literal["semantic", "instance"] | Tensor
Ensemble: TypeAlias = Literal["none", "feature"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class SegGpt(nn.Module):
    """SegGPT of any size; see `SegGptConfig`."""

    def __init__(self, config: SegGptConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(
            img_size=None, patch_size=config.patch_size, embed_dim=config.width, flatten=False, output_fmt="NHWC"
        )
        self.mask_token = token(config.width)
        self.segment_token_x = token(config.width)  # x: the image stream
        self.segment_token_y = token(config.width)  # y: the target stream
        if config.type_tokens:
            self.type_token_cls = token(config.width)  # semantic
            self.type_token_ins = token(config.width)  # instance
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.pretrain_grid**2, config.width))
        rates = [config.drop_path_rate * index / max(1, config.depth - 1) for index in range(config.depth)]
        self.blocks = nn.ModuleList(Block(config, rate) for rate in rates)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.decoder_embed = nn.Linear(
            config.width * len(config.out_indices), config.patch_size**2 * config.decoder_width
        )
        self.decoder_pred = decoder_head(config.decoder_width)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(
        self,
        query: Tensor,
        images: Tensor,
        targets: Tensor,
        *,
        seg_type: SegType = "semantic",
        ensemble: Ensemble = "none",
        query_target: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Paint the queries.

        Parameters
        ----------
        query
            (B, 3, Y, X) normalised images of the config's window.
        images, targets
            (B, K, 3, Y, X) normalised images and colours of K >= 1 examples a query.
        seg_type
            Kind of the targets; a tensor (B,) of 0 (semantic) and 1 (instance) says it for each query.
            Painter (no type tokens) knows no kinds and ignores it.
        ensemble
            ``"feature"``: in every block the query attends to all its examples and the outcomes are averaged.
            ``"none"``: the query is painted with each example alone and the colours are averaged.
        query_target
            (B, 3, Y, X) normalised colours already on the query, hidden where ``mask`` says so.
        mask
            (B, (K + 1) * tokens) bool, True where target patches are hidden: those of the K examples, then those of
            the query, each row-major; for K = 1 that is the canvas, row-major. Needs ``query_target``. Default: the
            query is hidden if it has no ``query_target``, and nothing otherwise.

        Returns
        -------
        Tensor
            (B, 3, Y, X) normalised colours. As in the reference, the first row of pixels also sees the last row that
            was painted on an example: the first example, when features are averaged.

        Raises
        ------
        InputError
            A tensor of another shape.
        """
        if ensemble not in ("none", "feature"):
            raise InputError(f'ensemble must be "none" or "feature"; got {ensemble!r}.')
        image_panels = join_panels(images, query)
        target_panels = join_panels(targets, torch.zeros_like(query) if query_target is None else query_target)
        if mask is not None and query_target is None:
            raise InputError("mask says what of query_target is hidden, so it needs query_target; got none.")
        mask_panels = self._panel_mask(mask, image_panels.shape[:2], query_hidden=query_target is None)
        if ensemble == "none":
            num_examples = images.shape[1]
            image_panels, target_panels, mask_panels = map(
                separate_examples, (image_panels, target_panels, mask_panels)
            )
            seg_type = seg_type if isinstance(seg_type, str) else seg_type.repeat_interleave(num_examples)
        painted = self.decode_query(self.encode(image_panels, target_panels, mask_panels, seg_type))
        return rearrange(painted, "(b k) c y x -> b k c y x", b=query.shape[0]).mean(1)

    def paint_canvas(self, images: Tensor, targets: Tensor, mask: Tensor, *, seg_type: SegType = "semantic") -> Tensor:
        """Paint whole canvases, examples too: for training on masked patches of both halves.

        Parameters
        ----------
        images, targets
            (B, K + 1, 3, Y, X) normalised panels: K examples, then the query.
        mask
            (B, K + 1, grid Y, grid X) bool, True where target patches are hidden.
        seg_type
            As in `forward`.

        Returns
        -------
        Tensor
            (B, K, 3, 2 * Y, X): example k above the query, features averaged over the examples.
        """
        return self.decode_canvas(self.encode(images, targets, mask, seg_type))

    def encode(self, images: Tensor, targets: Tensor, mask: Tensor, seg_type: SegType) -> Tensor:
        """Panels as in `paint_canvas` -> features (B, K + 1, grid Y, grid X, width * len(out_indices))."""
        self._check_panels(images, targets, mask)
        batch = images.shape[0]
        image_tokens = embed(self.patch_embed, images) + self.segment_token_x
        visible = embed(self.patch_embed, targets)
        target_tokens = torch.where(mask[..., None], self.mask_token, visible) + self.segment_token_y
        common = self._positions(num_examples=images.shape[1] - 1) + self._type_token(seg_type)
        # both streams pass the first blocks as rows of one batch, (stream b): they share weights and never meet ...
        panels = torch.cat([image_tokens + common, target_tokens + common], dim=0)
        features = []
        for index, block in enumerate(self.blocks):
            panels = block(panels)
            if index == self.config.merge_index:  # ... until here
                panels = (panels[:batch] + panels[batch:]) / 2
            if index in self.config.out_indices:
                features.append(self.norm(panels))
        return torch.cat(features, dim=-1)

    def decode_query(self, features: Tensor) -> Tensor:
        """Features of `encode` -> the query painted, (B, 3, Y, X).

        Equal to the lower half of the first canvas of `decode_canvas`, without painting the rest of it.
        """
        # the head looks one pixel around itself: the query's first row needs the row above it, so one row of patches
        above, query = features[:, 0, -1:], features[:, -1]
        pixels = self._to_pixels(torch.cat([above, query], dim=1))[:, :, self.config.patch_size - 1 :]
        painted: Tensor = self.decoder_pred(pixels)
        return painted[:, :, 1:]

    def decode_canvas(self, features: Tensor) -> Tensor:
        """Features of `encode` -> every canvas painted, (B, K, 3, 2 * Y, X)."""
        canvases = separate_examples(features)
        painted: Tensor = self.decoder_pred(self._to_pixels(canvases.flatten(1, 2)))
        return rearrange(painted, "(b k) c y x -> b k c y x", b=features.shape[0])

    def _to_pixels(self, features: Tensor) -> Tensor:
        patch = self.config.patch_size
        pixels: Tensor = self.decoder_embed(features)
        return rearrange(pixels, "b y x (p q c) -> b c (y p) (x q)", p=patch, q=patch)

    def _positions(self, num_examples: int) -> Tensor:
        """Absolute positions (1, K + 1, grid Y, grid X, width): every example has the canvas's upper half."""
        (height, width), side = self.config.grid, self.config.pretrain_grid
        table = rearrange(self.pos_embed[:, 1:], "one (y x) c -> one c y x", y=side)  # without the class token's
        canvas = F.interpolate(table, size=(2 * height, width), mode="bicubic", align_corners=False)
        halves = rearrange(canvas, "one c (half y) x -> one half y x c", half=2)
        return torch.cat([halves[:, :1].expand(-1, num_examples, -1, -1, -1), halves[:, 1:]], dim=1)

    def _type_token(self, seg_type: SegType) -> Tensor:
        """(B or 1, 1, 1, 1, width)."""
        if not self.config.type_tokens:
            return torch.zeros_like(self.mask_token)
        if isinstance(seg_type, str):
            if seg_type not in ("semantic", "instance"):
                raise InputError(f'seg_type must be "semantic" or "instance"; got {seg_type!r}.')
            return (self.type_token_ins if seg_type == "instance" else self.type_token_cls)[None]
        return torch.where(seg_type.view(-1, 1, 1, 1, 1) > 0, self.type_token_ins, self.type_token_cls)

    def _panel_mask(self, mask: Tensor | None, batch_panels: tuple[int, ...], query_hidden: bool) -> Tensor:
        """(B, K + 1, grid Y, grid X) of the mask that `forward` takes."""
        batch, panels = batch_panels
        if mask is None:
            mask = torch.zeros(batch, panels, *self.config.grid, dtype=torch.bool, device=self.mask_token.device)
            mask[:, -1] = query_hidden
        elif mask.shape != (batch, panels * self.config.tokens):
            raise InputError(f"mask must be ({batch}, {panels * self.config.tokens}); got {tuple(mask.shape)}.")
        return mask.view(batch, panels, *self.config.grid)

    def _check_panels(self, images: Tensor, targets: Tensor, mask: Tensor) -> None:
        height, width = self.config.window
        if images.ndim != 5 or images.shape[1] < 2 or images.shape[2:] != (3, height, width):
            raise InputError(
                f"images must be (B, K + 1, 3, {height}, {width}): K examples, then the query; "
                f"got {tuple(images.shape)}. Resize planes to the model's window first."
            )
        if targets.shape != images.shape:
            raise InputError(f"targets must match the images {tuple(images.shape)}; got {tuple(targets.shape)}.")
        expected = (*images.shape[:2], *self.config.grid)
        if mask.shape != expected or mask.dtype != torch.bool:
            raise InputError(f"mask must be bool {expected}; got {mask.dtype} {tuple(mask.shape)}.")


def embed(embedding: nn.Module, panels: Tensor) -> Tensor:
    """(B, K + 1, 3, Y, X) -> (B, K + 1, grid Y, grid X, width)."""
    tokens: Tensor = embedding(panels.flatten(0, 1))
    return rearrange(tokens, "(b panel) y x c -> b panel y x c", b=panels.shape[0])


def token(width: int) -> nn.Parameter:
    """A learned token that is added to, or stands for, a patch."""
    return nn.Parameter(torch.randn(1, 1, 1, width) * 0.02)


def join_panels(examples: Tensor, query: Tensor) -> Tensor:
    """(B, K, ...) and (B, ...) -> (B, K + 1, ...), the query last."""
    batch, num_examples, *rest = examples.shape if examples.ndim == 5 else (0, 0)
    if num_examples < 1 or (batch, *rest) != query.shape:
        raise InputError(
            f"images and targets must be (B, K, 3, Y, X), K at least 1, and the query (B, 3, Y, X) of that size; "
            f"got {tuple(examples.shape)} and {tuple(query.shape)}."
        )
    return torch.cat([examples, query[:, None]], dim=1)


def separate_examples(panels: Tensor) -> Tensor:
    """(B, K + 1, ...) -> (B * K, 2, ...): each example with the query."""
    examples, query = panels[:, :-1], panels[:, -1:]
    return torch.stack([examples, query.expand_as(examples)], dim=2).flatten(0, 1)


def spatial_ensemble(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Tile K examples into one, on the smallest n x n grid that holds them: nearly as cheap as one example.

    Parameters
    ----------
    images, targets
        (B, K, 3, Y, X) normalised images and colours. The grid's last cells repeat examples from the first on.

    Returns
    -------
    tuple[Tensor, Tensor]
        (B, 1, 3, Y, X) each. Images are shrunk smoothly, targets to their nearest pixel, so that no colour is mixed.

    Source: arXiv 2304.03284, section 3.3 (spatial ensemble).
    """
    num_examples, (height, width) = images.shape[1], images.shape[-2:]
    side = ceil(sqrt(num_examples))
    if side == 1:
        return images, targets
    cells = torch.arange(side**2, device=images.device) % num_examples
    image_grid, target_grid = (
        rearrange(examples[:, cells], "b (row column) c y x -> b c (row y) (column x)", row=side)
        for examples in (images, targets)
    )
    image = F.interpolate(image_grid, size=(height, width), mode="bicubic", align_corners=False, antialias=True)
    target = F.interpolate(target_grid, size=(height, width), mode="nearest-exact")
    return image[:, None], target[:, None]


def normalize(values: Tensor) -> Tensor:
    """Images or colours (..., 1 or 3, Y, X) in [0, 1] -> (..., 3, Y, X) as the network wants them (ImageNet)."""
    mean, std = (values.new_tensor(numbers)[:, None, None] for numbers in (IMAGENET_MEAN, IMAGENET_STD))
    return (values - mean) / std


def denormalize(values: Tensor) -> Tensor:
    """What the network paints (..., 3, Y, X) -> colours, in [0, 1] but for the network's overshoot."""
    mean, std = (values.new_tensor(numbers)[:, None, None] for numbers in (IMAGENET_MEAN, IMAGENET_STD))
    return values * std + mean
