"""Adaptive instance normalisation: any style in one pass.

Paper: arXiv:1703.06868 (Huang and Belongie 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Costs, Job, OnProgress, Placement, Progress, Style, StyleCode, ignore
from impasto.memory import trim_memory
from impasto.methods.settings import AdaINKnobs
from impasto.models import decoders
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops import grids, masks
from impasto.ops.stats import EPSILON, adaptive_instance_norm, mean_std, precise
from impasto.ops.tiles import Tile, WindowedImage, crop_to, pad_to_multiple, put, side_within, thumbnail, tiles_of

LAYER = "relu4_1"
_STRIDE = 8
_DECODER_MARGIN = decoders.margin(LAYER)
_GRID_MARGIN = -(-grids.REACH // _STRIDE) * _STRIDE
_MARGIN = _GRID_MARGIN + _DECODER_MARGIN + 30  # and what the encoder sees beyond that
_LEAST_TILE = 128  # with smaller tiles nearly everything would be margin
_SMALL_MAPS = 1.0  # bytes a pixel for region masks at the size of relu4_1
_REACH = 3  # positions of relu4_1, 24 px: further away the decoder sees nothing of it
_SHRINKAGE = (
    0.1  # of the whole picture in the statistics of a region: a small one has flat channels, which would blow up
)


class AdaIN(Costs):
    """Gives VGG-19's relu4_1 features the style's mean and deviation, and decodes them.

    Under a limit of memory a picture goes through in tiles: a first pass adds up mean and deviation of the whole of it,
    a second paints. The result is the same to rounding, and has no seams.

    Args:
        weights: `vgg19-normalised` and `adain-decoder`.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self.placement = placement
        self._encoder = Encoder(VGG19, weights["vgg19-normalised"], placement)
        self._decoder = decoders.Decoder(weights["adain-decoder"], placement, LAYER)

    def encode_style(self, style: Style, knobs: AdaINKnobs) -> StyleCode:  # noqa: ARG002 - nothing in it shapes the code
        """Mean and deviation of relu4_1, averaged over the style images by weight.

        Returns:
            `mean` and `std`, each `(1, C, 1, 1)` float32.
        """
        mean, std = torch.zeros(()), torch.zeros(())
        with torch.inference_mode():
            for image, share in zip(style.images, style.shares(), strict=True):
                if style.memory is None:
                    pixels = pad_to_multiple(image.pixels, _STRIDE)
                    features = self._encoder(pixels, [LAYER])[LAYER]
                    one_mean, one_std = mean_std(features, _seen(image.seen, features))
                else:
                    sheet = WindowedImage(image.pixels, _STRIDE)
                    tiles = tiles_of(sheet.sides, self._side(style.memory), stride=_STRIDE)
                    seen = [] if image.seen is None else [self._small_map(WindowedImage(image.seen, _STRIDE), tiles)]
                    ((one_mean, one_std),) = self._moments(sheet, tiles, seen)
                mean, std = mean + share * one_mean.cpu(), std + share * one_std.cpu()
        return StyleCode({"mean": mean, "std": std})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch; see `Stylizer`.

        The strength blends features (the paper's alpha, eq. 14). What the decoder cannot rebuild of the photograph is
        added back in proportion, so that strength 0 is the photograph itself and not a blurred copy.
        """
        if any(job.memory is not None for job in jobs):
            return torch.cat([self._in_tiles(content[i : i + 1], job, on_progress) for i, job in enumerate(jobs)])
        height, width = content.shape[2:]
        on_progress(Progress("painting", 0, 1))
        with torch.inference_mode():
            padded = pad_to_multiple(content, _STRIDE, least=2 * _STRIDE)
            features = self._encoder(padded, [LAYER])[LAYER]
            plans = [_Plan.of(job, features[i : i + 1], *padded.shape[2:]) for i, job in enumerate(jobs)]
            strength = torch.cat([plan.strength for plan in plans])
            stylized = torch.cat([plan.stylized for plan in plans])
            blend = _shrunk(strength, features).to(features.dtype)
            pastiche = self._decoded(features + blend * (stylized - features)).to(padded)
            if (strength < 1).any():
                pastiche = pastiche + (1 - strength) * (padded - self._decoded(features).to(padded))
            cover = torch.cat([plan.cover for plan in plans])
            pastiche = masks.compose(padded, pastiche.clamp(0, 1), cover)
        on_progress(Progress("painting", 1, 1, preview=pastiche))
        return crop_to(pastiche, height, width).float()

    @staticmethod
    def least_memory(height: int, width: int, knobs: AdaINKnobs, placement: Placement) -> int:  # noqa: ARG004
        """Bytes that a picture of any size needs in tiles."""
        return int(_window_bytes(placement) * (_LEAST_TILE + 2 * _MARGIN) ** 2 + _SMALL_MAPS * height * width)

    def _side(self, memory: int) -> int:
        return side_within(memory, _window_bytes(self.placement), margin=_MARGIN, stride=_STRIDE)

    @torch.inference_mode()
    def _in_tiles(self, content: Tensor, job: Job, on_progress: OnProgress) -> Tensor:
        """One picture, floats or codes, in tiles of `job.memory`; returns the same kind."""
        picture = WindowedImage(content, _STRIDE, least=2 * _STRIDE)
        small = _SMALL_MAPS * picture.sides[0] * picture.sides[1] * max(1, len(job.guide.regions))
        tiles = tiles_of(picture.sides, self._side((job.memory or 0) - int(small)), stride=_STRIDE)
        regions = [WindowedImage(region.mask, _STRIDE, least=2 * _STRIDE) for region in job.guide.regions]
        strengths = None
        if job.guide.strength is not None:
            strengths = WindowedImage(job.guide.strength, _STRIDE, least=2 * _STRIDE)

        def report(done: int, preview: Tensor | None = None) -> None:
            on_progress(Progress("painting", done, 2 * len(tiles), unit="tile", preview=preview))

        report(0)
        weights = [self._small_map(mask, tiles) for mask in regions]
        shares = masks.widen(torch.cat(weights), _REACH) if regions else None
        codes = [region.code for region in job.guide.regions] or [job.code]
        counted = [weight + _SHRINKAGE for weight in weights]
        if job.guide.seen is not None:
            seen = self._small_map(WindowedImage(job.guide.seen, _STRIDE, least=2 * _STRIDE), tiles)
            counted = [weight * seen for weight in counted] or [seen]
        moments = self._moments(picture, tiles, counted, report)
        moves = [_move(code, *own) for code, own in zip(codes, moments, strict=True)]
        result = picture.blank()
        for index, tile in enumerate(tiles):
            wide = tile.grown(_GRID_MARGIN).grown(_DECODER_MARGIN)
            features = self._encoder(picture.crop(wide, self._reach), [LAYER], tile=wide)[LAYER]
            pixels = picture.crop(tile)
            strength = pixels.new_full((1, 1, 1, 1), job.knobs.strength)
            covered = (strength > 0).to(pixels)
            blend, given = strength, None
            if strengths is not None:
                blend, given = strength * _shrunk(strengths.crop(wide), features), strengths.crop(tile)
                strength = strength * given
            cover = masks.painted_cover([mask.crop(tile) for mask in regions], given)
            cover = covered if cover is None else covered * cover
            own = None if shares is None else shares[:, :, *wide.cells(_STRIDE)]
            painted = features + blend.to(features.dtype) * (_moved(features, moves, own) - features)
            pastiche = self._decoded(painted, tile).to(pixels)
            if (strength < 1).any():
                pastiche = pastiche + (1 - strength) * (pixels - self._decoded(features, tile).to(pixels))
            put(result, masks.compose(pixels, pastiche.clamp(0, 1), cover), tile)
            trim_memory()
            last = index + 1 == len(tiles)
            report(len(tiles) + index + 1, thumbnail(result) if last else None)
        return result

    def _decoded(self, features: Tensor, tile: Tile | None = None) -> Tensor:
        """The picture of features, those of the whole or of a tile with its margins, without the decoder's grid."""
        if tile is None:
            return grids.without_grid(self._decoder(features))
        above, _, before, _ = tile.margins(_GRID_MARGIN)
        picture = grids.without_grid(self._decoder(features, tile.grown(_GRID_MARGIN)))
        (top, bottom), (left, right) = tile.rows, tile.columns
        return picture[:, :, above : above + bottom - top, before : before + right - left]

    @property
    def _reach(self) -> int:
        return self._encoder.architecture.reach([LAYER])

    def _small_map(self, mask: WindowedImage, tiles: Sequence[Tile]) -> Tensor:
        """A mask averaged down to the positions of the features, `(1, 1, h, w)`."""
        height, width = (side // _STRIDE for side in mask.sides)
        small = torch.empty(1, 1, height, width, device=mask.pixels.device)
        for tile in tiles:
            small[:, :, *tile.cells(_STRIDE)] = F.avg_pool2d(mask.crop(tile), _STRIDE)
        return small

    def _moments(
        self,
        picture: WindowedImage,
        tiles: Sequence[Tile],
        weights: Sequence[Tensor] = (),
        report: Callable[[int], None] | None = None,
    ) -> list[tuple[Tensor, Tensor]]:
        """`mean_std` of the picture's features, for each of the weights `(1, 1, h, w)`; evenly where there is none."""
        sums: list[tuple[float, Tensor, Tensor]] = [(0.0, torch.zeros(()), torch.zeros(()))] * max(1, len(weights))
        for index, tile in enumerate(tiles):
            flat = precise(self._encoder(picture.crop(tile, self._reach), [LAYER], tile=tile)[LAYER][0].flatten(1))
            owns = [(weight[:, :, *tile.cells(_STRIDE)].flatten()).to(flat) for weight in weights]
            for region, own in enumerate(owns or [flat.new_ones(flat.shape[1])]):
                total, first, second = sums[region]
                first, second = first + (flat @ own).double().cpu(), second + (flat.square() @ own).double().cpu()
                sums[region] = total + own.sum().item(), first, second
            if report is not None:
                report(index + 1)
        found = []
        for total, first, second in sums:
            mean = first / total
            std = (second / total - mean.square()).clamp_min(0).add(EPSILON).sqrt()
            kept = torch.float64 if self.placement.precision == "float64" else torch.float32
            found.append((mean.to(kept)[None, :, None, None], std.to(kept)[None, :, None, None]))
        return found


@dataclass(frozen=True)
class _Plan:
    """The stylized features of one job, and how they are blended, over the whole padded size.

    Attributes:
        stylized: `(1, C, h, w)`, features at full strength, those of the regions joined.
        strength: `(1, 1, H, W)` in [0, 1], by pixel.
        cover: `(1, 1, H, W)` in [0, 1]; where it is 0 the photograph stays as it is.
    """

    stylized: Tensor
    strength: Tensor
    cover: Tensor

    @classmethod
    def of(cls, job: Job, features: Tensor, height: int, width: int) -> _Plan:
        """The plan of one job."""
        device = features.device
        strength = torch.full((1, 1, height, width), float(job.knobs.strength), device=device)
        covered = torch.ones_like(strength) if job.knobs.strength > 0 else torch.zeros_like(strength)
        given = None
        if job.guide.strength is not None:
            given = pad_to_multiple(job.guide.strength.to(device), _STRIDE, least=2 * _STRIDE)
            strength = strength * given
        maps = [pad_to_multiple(region.mask.to(device), _STRIDE, least=2 * _STRIDE) for region in job.guide.regions]
        cover = masks.painted_cover(maps, given)
        cover = covered if cover is None else covered * cover
        seen = _seen(job.guide.seen, features)
        if not maps:
            return cls(_renormalised(features, job.code, seen), strength, cover)
        small = _shrunk(torch.cat(maps), features)
        # regions reach beyond their masks here, and are cut out by the pixel below: no edge fades into the photograph
        shares = masks.widen(small, _REACH).to(features.dtype)
        stylized = features * (1 - shares.sum(0, keepdim=True))
        for region, weight, share in zip(job.guide.regions, small, shares, strict=True):
            counted = (weight[None] + _SHRINKAGE) * (1 if seen is None else seen)
            stylized = stylized + share * _renormalised(features, region.code, counted)
        return cls(stylized, strength, cover)


def _window_bytes(placement: Placement) -> float:
    """Of memory, for a pixel of a tile's window, at the peak (bench/RESULTS.md)."""
    return 2000.0 if placement.precision == "float32" else 1100.0


def _move(code: StyleCode, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift `(1, C, 1, 1)` that give features of that mean and deviation those of the style."""
    scale = code.tensors["std"].cpu() / std
    return scale, code.tensors["mean"].cpu() - mean * scale


def _moved(features: Tensor, moves: Sequence[tuple[Tensor, Tensor]], shares: Tensor | None) -> Tensor:
    """Features scaled and shifted, by each region's move where its share `(R, 1, h, w)` says so."""

    def by(move: tuple[Tensor, Tensor]) -> Tensor:
        scale, shift = (part.to(features.device, features.dtype) for part in move)
        return features * scale + shift

    if shares is None:
        return by(moves[0])
    shares = shares.to(features.dtype)
    moved = features * (1 - shares.sum(0, keepdim=True))
    for move, share in zip(moves, shares, strict=True):
        moved = moved + share * by(move)
    return moved


def _seen(seen: Tensor | None, features: Tensor) -> Tensor | None:
    """How much each position counts, `(1, 1, h, w)`, of how much each pixel does; None for evenly."""
    if seen is None:
        return None
    return _shrunk(pad_to_multiple(seen.to(features.device), _STRIDE, least=2 * _STRIDE), features)


def _shrunk(maps: Tensor, features: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(maps, (features.shape[2], features.shape[3]))


def _renormalised(features: Tensor, code: StyleCode, weight: Tensor | None = None) -> Tensor:
    """Features with the style's mean and deviation, where `weight (1, 1, h, w)` says so."""
    mean, std = (code.tensors[name].to(features.device) for name in ("mean", "std"))
    return adaptive_instance_norm(features, mean, std, weight)
