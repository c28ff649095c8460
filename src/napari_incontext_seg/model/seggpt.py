"""`SegGpt`: paint a query image the way example pairs show (SegGPT and Painter), examples on an axis of their own.

Source: arXiv 2304.03284 (SegGPT), 2212.02499 (Painter); baaivision/Painter, MIT. Written anew; the published weights
load by name. Images and colours enter and leave ImageNet-normalised: see `normalize` and `denormalize`.
"""

from __future__ import annotations

from dataclasses import replace
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
from .lean import advance_, keys_and_values, linear
from .panels import check_examples, embed, join_panels, separate_examples
from .shown import FrozenExamples, ShownExamples

SegType: TypeAlias = Literal["semantic", "instance"] | Tensor
Ensemble: TypeAlias = Literal["none", "feature"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DECODED = 7  # rows of patches that become pixels at once; bounds memory


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
        check_examples(images, targets, query)
        shown = self.show(
            images, targets, seg_type=seg_type, ensemble=ensemble, query_target=query_target, mask=mask
        )  # fmt: skip
        return self.paint(query, shown)

    def show(
        self,
        images: Tensor,
        targets: Tensor,
        *,
        seg_type: SegType = "semantic",
        ensemble: Ensemble = "none",
        query_target: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> ShownExamples:
        """Take in examples, to paint any number of queries with them: what does not depend on the query.

        That is more than the patches: before the merge the target stream sees no image, so it is finished here.
        Parameters and errors are those of `forward`; with B = 1 what is shown serves batches of any size.
        """
        if ensemble not in ("none", "feature"):
            raise InputError(f'ensemble must be "none" or "feature"; got {ensemble!r}.')
        if mask is not None and query_target is None:
            raise InputError("mask says what of query_target is hidden, so it needs query_target; got none.")
        check_examples(images, targets)
        unseen = torch.zeros_like(targets[:, 0]) if query_target is None else query_target
        target_panels = join_panels(targets, unseen)
        masks = self._panel_mask(mask, target_panels.shape[:2], query_hidden=query_target is None)
        self._check_panels(join_panels(images, unseen), target_panels, masks)
        apart = images.shape[1] if ensemble == "none" else 1
        if apart > 1:
            images = images.flatten(0, 1)[:, None]
            target_panels, masks = separate_examples(target_panels), separate_examples(masks)
            seg_type = seg_type if isinstance(seg_type, str) else seg_type.repeat_interleave(apart)
        common = self._positions(num_examples=images.shape[1]) + self._type_token(seg_type)
        stream = self._target_tokens(target_panels, masks) + common
        for block in self._blocks[: self.config.merge_index + 1]:
            stream = self._through(block, stream)
        common = common + self.segment_token_x
        return ShownExamples(embed(self.patch_embed, images) + common[:, :-1], stream, common[:, -1:], apart)

    def paint(self, query: Tensor, shown: ShownExamples) -> Tensor:
        """Paint queries (B, 3, Y, X) with examples from `show`, made for B queries or for one: as `forward` does.

        With frozen examples there are no gradients.
        """
        shown = self._matched(query, shown)
        with torch.set_grad_enabled(torch.is_grad_enabled() and shown.frozen is None):
            taps = [self.norm(tap) for tap in self._taps(query, shown)]
            painted = self.decode_query(torch.cat(taps, dim=-1))
        return rearrange(painted, "(b k) c y x -> b k c y x", b=query.shape[0]).mean(1)

    @torch.no_grad()
    def freeze(self, query: Tensor, shown: ShownExamples) -> ShownExamples:
        """Make `paint` faster, and APPROXIMATE: the examples look at this query, and at no other afterwards.

        In a SegGPT examples and query see each other, block after block. With frozen examples this query is painted as
        before; others are not quite.

        Raises
        ------
        InputError
            More than one query (1, 3, Y, X), or examples for more than one.
        """
        if query.shape[0] != 1 or shown.num_queries != 1:
            raise InputError(f"examples are frozen with one query; got {query.shape[0]}, for {shown.num_queries}.")
        shown = self._matched(query, replace(shown, frozen=None))
        kept: list[tuple[Tensor, Tensor]] = []
        edges = tuple(tap[:, :1].clone() for tap in self._taps(query, shown, kept))
        return replace(shown, frozen=FrozenExamples(tuple(kept), edges))

    def _taps(
        self, query: Tensor, shown: ShownExamples, keep: list[tuple[Tensor, Tensor]] | None = None
    ) -> list[Tensor]:
        """What the decoder reads, before the norm: per block (rows, 1 + grid Y, grid X, width).

        Rows of patches: the last one of the first example, then the query's. ``keep`` takes keys and values of the
        examples.
        """
        frozen, taps = shown.frozen, list[Tensor]()
        panels = embed(self.patch_embed, query[:, None]).repeat_interleave(shown.apart, dim=0) + shown.query_places
        if frozen is None:
            panels = torch.cat([shown.images, panels], dim=1)
        for index, block in enumerate(self._blocks):
            if keep is not None:
                keep.append(keys_and_values(block, panels))
            panels = self._through(block, panels, index, None if frozen is None else frozen.keys_and_values[index])
            if index == self.config.merge_index:
                panels = (panels + shown.targets[:, -panels.shape[1] :]) / 2
            if index in self.config.out_indices:
                above = panels[:, 0, -1:] if frozen is None else frozen.edges[len(taps)]
                taps.append(torch.cat([above, panels[:, -1]], dim=1))
        return taps

    @property
    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _through(
        self, block: Block, panels: Tensor, index: int = 0, frozen: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Let panels pass a block: in place where no gradients are wanted, see `lean.advance_`."""
        if torch.is_grad_enabled() or self.training:
            passed: Tensor = block(panels)
            return passed
        advance_(block, panels, last=index == self.config.depth - 1, frozen=frozen)
        return panels

    def _matched(self, query: Tensor, shown: ShownExamples) -> ShownExamples:
        """The examples with rows for these queries."""
        if query.ndim != 4 or query.shape[1:] != (3, *self.config.window) or len(query) < 1:
            height, width = self.config.window
            raise InputError(f"queries must be (B, 3, {height}, {width}); got {tuple(query.shape)}.")
        if shown.num_queries not in (1, query.shape[0]):
            raise InputError(f"the examples shown are for {shown.num_queries} queries; got {query.shape[0]}.")
        return shown.for_queries(query.shape[0])

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
        common = self._positions(num_examples=images.shape[1] - 1) + self._type_token(seg_type)
        # both streams pass the first blocks as rows of one batch, (stream b): they share weights and never meet ...
        image_tokens = embed(self.patch_embed, images) + self.segment_token_x
        panels = torch.cat([image_tokens + common, self._target_tokens(targets, mask) + common], dim=0)
        features = []
        for index, block in enumerate(self.blocks):
            panels = block(panels)
            if index == self.config.merge_index:  # ... until here
                panels = (panels[:batch] + panels[batch:]) / 2
            if index in self.config.out_indices:
                features.append(self.norm(panels))
        return torch.cat(features, dim=-1)

    def _target_tokens(self, targets: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask[..., None], self.mask_token, embed(self.patch_embed, targets)) + self.segment_token_y

    def decode_query(self, features: Tensor) -> Tensor:
        """Paint the query: features (rows, 1 + grid Y, grid X, width * len(out_indices)) -> (rows, 3, Y, X).

        The head looks one pixel around itself, so the query's first row needs the row of patches above it. Equal to the
        lower half of the first canvas of `decode_canvas`, without painting the rest of it.
        """
        patch, (height, _) = self.config.patch_size, self.config.window
        rows_at_once = 1 + self.config.grid[0] if torch.is_grad_enabled() else DECODED
        pixels = linear(features, self.decoder_embed.weight, self.decoder_embed.bias)
        strips = []
        for first in range(1, pixels.shape[1], rows_at_once):
            # a row of patches above and below, of which one row of pixels each is seen
            strip = self._unfolded(pixels[:, first - 1 : first + rows_at_once + 1])[:, :, patch - 1 :]
            wanted = min(rows_at_once * patch, height - (first - 1) * patch)
            painted: Tensor = self.decoder_pred(strip[:, :, : wanted + 2])
            strips.append(painted[:, :, 1 : 1 + wanted])
        return torch.cat(strips, dim=2)

    def decode_canvas(self, features: Tensor) -> Tensor:
        """Features of `encode` -> every canvas painted, (B, K, 3, 2 * Y, X)."""
        canvases = separate_examples(features)
        painted: Tensor = self.decoder_pred(self._unfolded(self.decoder_embed(canvases.flatten(1, 2))))
        return rearrange(painted, "(b k) c y x -> b k c y x", b=features.shape[0])

    def _unfolded(self, patches: Tensor) -> Tensor:
        """(B, patches Y, patches X, patch * patch * c) -> (B, c, pixels Y, pixels X), channels last in memory."""
        patch = self.config.patch_size
        return rearrange(patches, "b y x (p q c) -> b (y p) (x q) c", p=patch, q=patch).permute(0, 3, 1, 2)

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


def token(width: int) -> nn.Parameter:
    """A learned token that is added to, or stands for, a patch."""
    return nn.Parameter(torch.randn(1, 1, 1, width) * 0.02)


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
