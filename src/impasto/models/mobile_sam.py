"""The mask of a thing in a photograph that is pointed at: MobileSAM.

Papers: arXiv:2304.02643 (Segment Anything, Kirillov et al. 2023), whose points and decoder of masks these are;
arXiv:2306.14289 (MobileSAM, Zhang et al. 2023), whose small encoder stands in for the large one; and arXiv:2207.10666
(TinyViT, Wu et al. 2022), which that encoder is. Tensors have the names of the published file. What is not needed to
follow points (boxes and masks as prompts, the encoder's head of classes) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ASSET = "mobile-sam"

Place: TypeAlias = tuple[float, float, bool]
"""A point: x and y in [0, 1], from the left and from the top, and whether the thing is there or is not."""

_TOKENS = 4  # masks that the decoder tries: one for all points, and three for a lone point, which may mean a part


@dataclass(frozen=True)
class Sizes:
    """How large the network is; by default as published.

    Attributes:
        side: of the square that it looks at, in pixels.
        widths, depths, heads, windows: channels, blocks, heads of attention and places along a window of the encoder's
            four stages. The first has convolutions alone.
        channels: of what the encoder gives; `inner`: of the decoder's perceptrons.
    """

    side: int = 1024
    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (2, 4, 5, 10)
    windows: tuple[int, ...] = (7, 7, 14, 7)
    channels: int = 256
    inner: int = 2048


class MobileSam(nn.Module):
    """Finds the thing that is pointed at."""

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        self.side = sizes.side
        self.image_encoder = _Encoder(sizes)
        self.prompt_encoder = _Points(sizes.channels)
        self.mask_decoder = _Decoder(sizes.channels, sizes.inner)
        self.eval().requires_grad_(False)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], sizes: Sizes | None = None) -> MobileSam:
        """The network with its tensors."""
        network = cls(sizes)
        network.load_state_dict(dict(tensors))
        return network

    @torch.inference_mode()
    def look(self, image: Tensor) -> Tensor:
        """What it sees in `image (1, 3, H, W)` in [0, 1]: `(1, C, side / 16, side / 16)`. Points are asked of this."""
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]  # of ImageNet
        deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        height, width = self._within(image)
        small = F.interpolate(image, (height, width), mode="bilinear", antialias=True)
        padded = F.pad((small - mean) / deviation, (0, self.side - width, 0, self.side - height))
        seen: Tensor = self.image_encoder(padded)
        return seen

    @torch.inference_mode()
    def point(self, seen: Tensor, image: Tensor, places: Sequence[Place], *, like: Tensor | None = None) -> Tensor:
        """The mask `(1, 1, H, W)` in [0, 1] of the thing at `places`.

        Of the masks for a lone point, which may mean a thing or a part of it, the one that the network trusts most,
        weighted by how clear its edge is (the stability score of the paper's appendix B).

        Args:
            seen: what `look` gives of the image.
            image: `(1, 3, H, W)`.
            places: one or more, of which one at least is wanted.
            like: a mask `(1, 1, H, W)`; of all masks that are tried the one most like it is taken.
        """
        height, width = self._within(image)
        scale = torch.tensor([width, height]) / self.side
        at = torch.tensor([[x, y] for x, y, _ in places]) * scale
        prompts = self.prompt_encoder(at, torch.tensor([wanted for *_, wanted in places]))
        unmasked = seen + self.prompt_encoder.no_mask_embed.weight[:, :, None, None]
        logits, trust = self.mask_decoder(unmasked, self.prompt_encoder.grid(seen.shape[2]), prompts)
        if like is not None:
            best = _most_like(logits, like, (height / self.side, width / self.side))
        else:
            best = 0 if len(places) > 1 else 1 + int((trust * _clarity(logits))[0, 1:].argmax())
        shown = logits[:, best : best + 1]
        shown = F.interpolate(shown, (self.side, self.side), mode="bilinear")[:, :, :height, :width]
        return F.interpolate(shown, image.shape[2:], mode="bilinear", antialias=True).sigmoid()

    def _within(self, image: Tensor) -> tuple[int, int]:
        """Height and width of the picture in the square."""
        height, width = image.shape[2:]
        scale = self.side / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))


def _clarity(logits: Tensor) -> Tensor:
    """How little each mask `(1, N, h, w)` grows when its threshold is lowered: `(1, N)`, at most 1."""
    narrow, wide = ((logits > least).sum((2, 3)).float() for least in (1.0, -1.0))
    return narrow / wide.clamp_min(1)


def _most_like(logits: Tensor, like: Tensor, shares: tuple[float, float]) -> int:
    """Which of the masks `(1, N, h, w)`, of which the picture fills those shares of the sides, overlaps most."""
    rows, columns = (max(1, round(share * side)) for share, side in zip(shares, logits.shape[2:], strict=True))
    masks = (logits[:, :, :rows, :columns] > 0).float()
    wanted = F.interpolate(like, (rows, columns), mode="bilinear", antialias=True)
    both, either = (pick(masks, wanted).sum((2, 3)) for pick in (torch.minimum, torch.maximum))
    return int((both / either.clamp_min(1e-6)).argmax())


# The encoder


class _Convolution(nn.Sequential):
    """A convolution and its normalisation."""

    def __init__(self, taken: int, given: int, size: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(taken, given, size, stride, size // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(given))


class _Bottleneck(nn.Module):
    """Three convolutions: of channels, of neighbours within a channel, of channels again."""

    def __init__(self, taken: int, inner: int, given: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _Convolution(taken, inner, 1)
        self.conv2 = _Convolution(inner, inner, 3, stride=stride, groups=inner)
        self.conv3 = _Convolution(inner, given, 1)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return made


class _Residual(_Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + super().forward(x))


class _WindowAttention(nn.Module):
    """Attention among the places of a window; how far two lie apart, up or down and sideways, has its own bias."""

    _apart: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self._heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        row, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        places = torch.stack([row.flatten(), column.flatten()])
        down, across = (places[:, :, None] - places[:, None]).abs()
        self.register_buffer("_apart", window * down + across, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, window * window, C)`."""
        count, places, channels = x.shape
        each = self.qkv(self.norm(x)).view(count, places, self._heads, 3, channels // self._heads)
        queries, keys, values = each.permute(3, 0, 2, 1, 4)
        biases = self.attention_biases[:, self._apart]
        taken = F.scaled_dot_product_attention(queries, keys, values, attn_mask=biases)
        made: Tensor = self.proj(taken.transpose(1, 2).reshape(x.shape))
        return made


class _Perceptron(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1, self.fc2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return made


class _Block(nn.Module):
    """Attention within windows, a convolution that joins them, and a perceptron of each place."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self._window = window
        self.attn = _WindowAttention(channels, heads, window)
        self.local_conv = _Convolution(channels, channels, 3, groups=channels)
        self.mlp = _Perceptron(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(1, C, h, w)`."""
        attended: Tensor = self.local_conv(x + self._in_windows(x))
        perceived: Tensor = self.mlp(attended.flatten(2).mT)
        return attended + perceived.mT.view(x.shape)

    def _in_windows(self, x: Tensor) -> Tensor:
        """Attention; what is beyond the edge of the last windows is zero, as the network has learnt it."""
        (_, channels, height, width), window = x.shape, self._window
        padded = F.pad(x, (0, -width % window, 0, -height % window))
        down, across = padded.shape[2] // window, padded.shape[3] // window
        cut = padded.view(channels, down, window, across, window).permute(1, 3, 2, 4, 0)
        attended: Tensor = self.attn(cut.reshape(down * across, window * window, channels))
        joined = attended.view(down, across, window, window, channels).permute(4, 0, 2, 1, 3)
        return joined.reshape(padded.shape)[:, :, :height, :width]


class _Stage(nn.Module):
    """Blocks, and what leads to the next stage."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        made: Tensor = self.downsample(x)
        return made


class _ChannelNorm(nn.Module):
    """Normalises the channels of each place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, h, w)`."""
        return F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, 1e-6).movedim(-1, 1)


class _Patches(nn.Module):
    """A quarter of the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.seq = nn.Sequential(
            _Convolution(3, half, 3, stride=2), nn.GELU(), _Convolution(half, channels, 3, stride=2)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        made: Tensor = self.seq(pixels)
        return made


class _Encoder(nn.Module):
    """TinyViT, whose last stage stays at the resolution of the one before, and a neck."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        last = len(sizes.widths) - 1
        self.patch_embed = _Patches(sizes.widths[0])
        stages = []
        for stage, width in enumerate(sizes.widths):
            heads, window = sizes.heads[stage], sizes.windows[stage]
            blocks: list[nn.Module] = [
                _Block(width, heads, window) if stage else _Residual(width, 4 * width, width)
                for _ in range(sizes.depths[stage])
            ]
            following = nn.Identity() if stage == last else _following(sizes, stage)
            stages.append(_Stage(blocks, following))
        self.layers = nn.ModuleList(stages)
        self.neck = nn.Sequential(
            nn.Conv2d(sizes.widths[-1], sizes.channels, 1, bias=False),
            _ChannelNorm(sizes.channels),
            nn.Conv2d(sizes.channels, sizes.channels, 3, padding=1, bias=False),
            _ChannelNorm(sizes.channels),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """`(1, 3, side, side)`, standardised, to `(1, C, side / 16, side / 16)`."""
        x = self.patch_embed(pixels)
        for stage in self.layers:
            x = stage(x)
        made: Tensor = self.neck(x)
        return made


def _following(sizes: Sizes, stage: int) -> nn.Module:
    """From a stage to the next one: half the resolution, but before the last."""
    given = sizes.widths[stage + 1]
    return _Bottleneck(sizes.widths[stage], given, given, stride=1 if stage == len(sizes.widths) - 2 else 2)


# Points


class _Waves(nn.Module):
    """Tells where something lies by waves of random frequencies."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, channels // 2))

    def forward(self, at: Tensor) -> Tensor:
        """`(..., C)` for places `(..., 2)` in [0, 1]."""
        phases = 2 * math.pi * ((2 * at - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([phases.sin(), phases.cos()], -1)


class _Points(nn.Module):
    """Tells points and what they are, and the places of the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pe_layer = _Waves(channels)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, channels) for _ in range(2)])  # not there, there
        self.not_a_point_embed, self.no_mask_embed = nn.Embedding(1, channels), nn.Embedding(1, channels)

    def forward(self, at: Tensor, wanted: Tensor) -> Tensor:
        """`(1, N + 1, C)` for points `(N, 2)` in the square and `wanted (N,)`; the last stands for no more points."""
        kinds = torch.cat(list(self.point_embeddings.parameters()))
        points = self.pe_layer(at) + kinds[wanted.long()]
        return torch.cat([points, self.not_a_point_embed.weight])[None]

    def grid(self, side: int) -> Tensor:
        """The places of the encoder's grid, `(1, side * side, C)`."""
        along = (torch.arange(side) + 0.5) / side
        rows, columns = torch.meshgrid(along, along, indexing="ij")
        places: Tensor = self.pe_layer(torch.stack([columns, rows], -1))
        return places.flatten(0, 1)[None]


# The decoder


class _Attention(nn.Module):
    """Attention between points and places, in fewer channels."""

    def __init__(self, channels: int, inner: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(channels, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, channels)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        parts = (self.q_proj(queries), self.k_proj(keys), self.v_proj(values))
        apart = [part.unflatten(2, (self._heads, -1)).transpose(1, 2) for part in parts]
        taken = F.scaled_dot_product_attention(*apart)
        made: Tensor = self.out_proj(taken.transpose(1, 2).flatten(2))
        return made


class _Widening(nn.Module):
    """A perceptron of two layers, the inner one wide."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(channels, inner), nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.lin2(F.relu(self.lin1(x)))
        return made


class _TwoWay(nn.Module):
    """Points look at each other and at the places; then the places at the points."""

    def __init__(self, channels: int, inner: int, heads: int, *, first: bool) -> None:
        super().__init__()
        self._first = first
        self.self_attn = _Attention(channels, channels, heads)
        self.cross_attn_token_to_image = _Attention(channels, channels // 2, heads)
        self.cross_attn_image_to_token = _Attention(channels, channels // 2, heads)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(channels) for _ in range(4))
        self.mlp = _Widening(channels, inner)

    def forward(self, points: Tensor, places: Tensor, prompts: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Points `(1, N, C)` and places `(1, hw, C)`; prompts and grid tell again where they lie."""
        if self._first:
            points = self.self_attn(points, points, points)
        else:
            points = points + self.self_attn(points + prompts, points + prompts, points)
        points = self.norm1(points)
        points = self.norm2(points + self.cross_attn_token_to_image(points + prompts, places + grid, places))
        points = self.norm3(points + self.mlp(points))
        places = self.norm4(places + self.cross_attn_image_to_token(places + grid, points + prompts, points))
        return points, places


class _Transformer(nn.Module):
    """Two blocks both ways, and a last look of the points at the places."""

    def __init__(self, channels: int, inner: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_TwoWay(channels, inner, heads, first=number == 0) for number in range(2)])
        self.final_attn_token_to_image = _Attention(channels, channels // 2, heads)
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(self, prompts: Tensor, places: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """What the points `(1, N, C)` and the places `(1, hw, C)` become."""
        points = prompts
        for layer in self.layers:
            points, places = layer(points, places, prompts, grid)
        final = self.final_attn_token_to_image(points + prompts, places + grid, places)
        return self.norm_final_attn(points + final), places


class _Layers(nn.Module):
    """A perceptron of three layers."""

    def __init__(self, taken: int, inner: int, given: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(taken, inner), nn.Linear(inner, inner), nn.Linear(inner, given)])

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.layers
        made: Tensor = third(F.relu(second(F.relu(first(x)))))
        return made


class _Decoder(nn.Module):
    """Masks at a quarter of the square, as products of enlarged places with what the points have become."""

    def __init__(self, channels: int, inner: int, heads: int = 8) -> None:
        super().__init__()
        self.transformer = _Transformer(channels, inner, heads)
        self.iou_token, self.mask_tokens = nn.Embedding(1, channels), nn.Embedding(_TOKENS, channels)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, 2, 2),
            _ChannelNorm(channels // 4),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 4, channels // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            [_Layers(channels, channels, channels // 8) for _ in range(_TOKENS)]
        )
        self.iou_prediction_head = _Layers(channels, channels, _TOKENS)

    def forward(self, seen: Tensor, grid: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `(1, 4, 4 h, 4 w)`, and how far the network trusts each mask `(1, 4)`.

        Args:
            seen: `(1, C, h, w)`, of the encoder, with what stands for no mask added.
            grid: `(1, hw, C)`.
            prompts: `(1, N, C)`.
        """
        prompts = torch.cat([self.iou_token.weight[None], self.mask_tokens.weight[None], prompts], 1)
        points, places = self.transformer(prompts, seen.flatten(2).mT, grid)
        enlarged = self.output_upscaling(places.mT.reshape(seen.shape))
        own = [layers(points[:, 1 + token]) for token, layers in enumerate(self.output_hypernetworks_mlps)]
        logits = torch.einsum("btc,bchw->bthw", torch.stack(own, 1), enlarged)
        return logits, self.iou_prediction_head(points[:, 0])
