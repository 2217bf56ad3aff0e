"""What methods share that change the statistics of one layer's features and decode them: AdaIN, and each level of WCT.

    encode -> statistics of photograph and painting -> a linear map of the channels -> decode

In one piece, or under a limit of memory in tiles: a first pass adds up the statistics of the whole picture, a second
paints. The result is the same to rounding, and has no seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Features, Job, Placement, Style, StyleCode, StyleImage, check_cancelled
from impasto.memory import trim_memory
from impasto.models import decoders
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops import grids, masks
from impasto.ops.stats import EPSILON, mean_std, precise
from impasto.ops.tiles import WindowedImage, crop_to, pad_to_multiple, put, thumbnail
from impasto.ops.tiling import Tile, side_within, tiles_of
from impasto.ops.whitening import whitening_colouring

_LEAST_TILE = 128  # pixels: with smaller tiles nearly everything would be margin
# of the whole picture in the statistics of a region: a small one has flat channels, which would blow up
_SHRINKAGE = 0.1
_PIECE = 1 << 16  # positions that are turned to float64 at a time
_SMALL_MAPS = 1.0  # bytes a pixel for region masks at the size of the features


@dataclass(frozen=True)
class Moments:
    """Mean of each channel and its spread: deviations `(1, C, 1, 1)`, or the covariance `(C, C)`."""

    mean: Tensor
    spread: Tensor


FeatureMap: TypeAlias = Callable[[Tensor], Tensor]
"""Turns features `(1, C, h, w)` of the photograph into stylized ones."""


@runtime_checkable
class UnsettledMap(Protocol):
    """A map that ends by giving the whole picture's features statistics; in tiles those are added up first."""

    def open(self, features: Tensor) -> Tensor:
        """What comes before, of the features of a tile."""
        ...

    def settled(self, moments: Moments) -> FeatureMap:
        """The map for tiles, once the moments of what comes before are known over the whole picture."""
        ...


Report: TypeAlias = Callable[[int, int, Tensor | None], None]
"""Called with what is done, how much there is to do, and a preview at the end."""


@dataclass(frozen=True)
class LinearMap:
    """`features -> scale * features + shift`; the scale is a number a channel `(1, C, 1, 1)`, or a matrix `(C, C)`."""

    scale: Tensor
    shift: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Apply it to `features (B, C, h, w)`; the same type comes out."""
        device = features.device
        if self.scale.dim() == 4:
            return features * self.scale.to(device, features.dtype) + self.shift.to(device, features.dtype)
        exact = precise(features)  # whitening enlarges what is small: half a type's digits would become grain
        matrix, shift = self.scale.to(exact), self.shift.to(exact)
        return (torch.einsum("oc,bchw->bohw", matrix, exact) + shift).to(features.dtype)


class Statistics(Protocol):
    """Which statistics of features make a style, and how features are given them."""

    @property
    def settles(self) -> bool:
        """Whether its maps are `UnsettledMap`s."""
        ...

    def whole(self, features: Tensor, weight: Tensor | None) -> Moments:
        """Of `features (1, C, h, w)`, each position as `weight (1, 1, h, w)` says."""
        ...

    def squares(self, flat: Tensor, weight: Tensor) -> Tensor:
        """What a tile's `flat (C, N)` adds to the sum of squares (or products), weighted by `weight (N,)`."""
        ...

    def spread(self, mean: Tensor, square: Tensor) -> Tensor:
        """The spread, of the mean and the mean square, both float64."""
        ...

    def fit(self, content: Moments, code: StyleCode) -> FeatureMap:
        """The map that gives features of those moments the statistics of the style."""
        ...


class Deviations:
    """Mean and standard deviation channel by channel. Paper: arXiv:1703.06868, eq. 8."""

    settles = False

    def whole(self, features: Tensor, weight: Tensor | None) -> Moments:
        """See `Statistics`."""
        return Moments(*mean_std(features, weight))

    def squares(self, flat: Tensor, weight: Tensor) -> Tensor:
        """See `Statistics`."""
        return flat.square() @ weight

    def spread(self, mean: Tensor, square: Tensor) -> Tensor:
        """See `Statistics`."""
        return (square - mean.square()).clamp_min(0).add(EPSILON).sqrt()[None, :, None, None]

    def fit(self, content: Moments, code: StyleCode) -> LinearMap:
        """See `Statistics`; of a code with `mean` and `std`."""
        mean, std = (code.tensors[name].to(content.mean.device) for name in ("mean", "std"))
        scale = std / content.spread
        return LinearMap(scale, mean - content.mean * scale)


@dataclass(frozen=True)
class Covariance:
    """Mean and covariance of all channels of a layer. Paper: arXiv:1705.08086."""

    layer: str
    settles = False

    def whole(self, features: Tensor, weight: Tensor | None) -> Moments:
        """See `Statistics`."""
        flat = features[0].flatten(1)
        own = torch.ones(flat.shape[1], device=flat.device) if weight is None else weight.flatten()
        total = own.double().sum()
        mean = (precise(flat) @ own.to(precise(flat))).double() / total
        return Moments(mean[None, :, None, None], self.spread(mean, self.squares(flat, own) / total))

    def squares(self, flat: Tensor, weight: Tensor) -> Tensor:
        """See `Statistics`. In float64, piece by piece: whitening divides by what is left of a difference of these."""
        pieces = zip(torch.split(flat, _PIECE, 1), torch.split(weight, _PIECE), strict=True)
        return torch.stack([(part.double() * own.double()) @ part.double().mT for part, own in pieces]).sum(0)

    def spread(self, mean: Tensor, square: Tensor) -> Tensor:
        """See `Statistics`."""
        return square - mean[:, None] * mean

    def fit(self, content: Moments, code: StyleCode) -> LinearMap:
        """See `Statistics`; of a code with `LAYER.mean` and `LAYER.covariance`."""
        mean, covariance = (code.tensors[f"{self.layer}.{name}"].cpu() for name in ("mean", "covariance"))
        matrix = whitening_colouring(content.spread.cpu(), covariance)
        middle = matrix @ content.mean.flatten().cpu().double()
        return LinearMap(matrix, mean.double() - middle[None, :, None, None])


class FeatureEncoder(Protocol):
    """Features of pictures; `Encoder` is one."""

    def __call__(self, images: Tensor, layers: Iterable[str], /, *, tile: Tile | None = None) -> Features:
        """See `Encoder`."""
        ...


class FeatureDecoder(Protocol):
    """Pictures of features; `Decoder` is one."""

    def __call__(self, features: Tensor, tile: Tile | None = None, /) -> Tensor:
        """See `Decoder`."""
        ...


@dataclass(frozen=True)
class Networks:
    """An encoder and the decoder that mirrors it.

    Attributes:
        encoder, decoder: those of torch; others take pictures in one piece only.
        removes_grid: whether the decoder's grid is already taken out of what it gives.
    """

    encoder: FeatureEncoder
    decoder: FeatureDecoder
    removes_grid: bool = False

    @classmethod
    def of(
        cls, layer: str, encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor], placement: Placement
    ) -> Networks:
        """Of weights: of VGG-19 down to a layer, or of a narrower one; and of its decoder."""
        return cls(Encoder(VGG19.down_to(layer), encoder, placement), decoders.Decoder(decoder, placement, layer))


class FeatureTransfer:
    """Gives the features of one layer of VGG-19 a style's statistics, and decodes them.

    Args:
        layer: of VGG-19.
        networks: encoder and decoder.
        placement: where to compute.
        statistics: which ones.
        window_bytes: of memory in float32, for a pixel of a tile's window, at the peak.
        levels: how many of these work one after the other on a picture; each then blends in only so much of the style
            that strength stays even over all.
        removes_grid: take the decoder's grid out of what it paints.
    """

    def __init__(
        self,
        layer: str,
        networks: Networks,
        placement: Placement,
        *,
        statistics: Statistics,
        window_bytes: float,
        levels: int = 1,
        removes_grid: bool = False,
    ) -> None:
        self._levels = levels
        self._layer, self._placement, self._statistics = layer, placement, statistics
        self._encoder, self._decoder = networks.encoder, networks.decoder
        self._stride, self._decoder_margin = VGG19.stride(layer), decoders.margin(layer)
        self._reach = VGG19.reach([layer])
        self._grid_margin = _grid_margin(layer) if removes_grid and not networks.removes_grid else 0
        self._cells = max(1, self._decoder_margin // self._stride - 1)  # that the decoder sees beyond a region's edge
        self._window_bytes = window_bytes

    @staticmethod
    def least_memory(
        layer: str, height: int, width: int, window_bytes: float, placement: Placement, *, removes_grid: bool = False
    ) -> int:
        """Bytes that a picture of any size needs in tiles."""
        margin = decoders.margin(layer) + VGG19.reach([layer]) + (_grid_margin(layer) if removes_grid else 0)
        side = _LEAST_TILE + 2 * margin
        return int(_per_pixel(window_bytes, placement) * side**2 + _SMALL_MAPS * height * width)

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> Tensor:
        """Of a picture `(1, 3, H, W)`: `(1, C, h, w)` float32."""
        return precise(self._encoder(self._padded(pixels), [self._layer])[self._layer])

    @torch.inference_mode()
    def encode(self, style: Style) -> Moments:
        """The style's moments, averaged over its images by weight."""
        mean, spread = torch.zeros(()), torch.zeros(())
        for image, share in zip(style.images, style.shares(), strict=True):
            if style.memory is None:
                pixels = pad_to_multiple(image.pixels, self._stride, least=2 * self._stride)
                features = self._encoder(pixels, [self._layer])[self._layer]
                one = self._statistics.whole(features, self._shrunk_seen(image.seen, features))
            else:
                sheet, tiles, seen = self._style_tiles(image, style.memory)
                (one,) = self._moments(sheet, tiles, seen)
            mean, spread = mean + share * one.mean.cpu(), spread + share * one.spread.cpu()
        return Moments(mean, spread)

    @torch.inference_mode()
    def sampled(self, image: StyleImage, memory: int, *, most: int) -> tuple[Tensor, Tensor, Moments]:
        """Of a large style image, tile by tile: features of some of its places, and the moments of all.

        Args:
            image: floats or codes.
            memory: as in `Job`.
            most: places at most.

        Returns:
            Features `(1, C, h, w)` and how much each place counts `(1, 1, h, w)`, in a grid as of `coarser`.
        """
        sheet, tiles, seen = self._style_tiles(image, memory)
        (moments,) = self._moments(sheet, tiles, seen)
        step = coarse_step(sheet.sides[0] // self._stride, sheet.sides[1] // self._stride, most)
        counted = seen[0] if seen else torch.ones(1, 1, *(side // self._stride for side in sheet.sides))
        rows: dict[int, list[Tensor]] = {}
        for tile in tiles:
            check_cancelled()
            features = precise(self._features(sheet, tile)).cpu()
            down, along = (-place.start % step for place in tile.cells(self._stride))
            rows.setdefault(tile.rows[0], []).append(features[:, :, down::step, along::step])
        whole = torch.cat([torch.cat(parts, 3) for parts in rows.values()], 2)
        return whole, counted[:, :, ::step, ::step].cpu(), moments

    def _style_tiles(self, image: StyleImage, memory: int) -> tuple[WindowedImage, list[Tile], list[Tensor]]:
        """A style image, its tiles, and what of it can be seen at the size of the features, if not all."""
        sheet = self._windowed(image.pixels)
        tiles = tiles_of(sheet.sides, self._side(memory), stride=self._stride)
        return sheet, tiles, [] if image.seen is None else [self._small_map(self._windowed(image.seen), tiles)]

    def stylize(self, content: Tensor, jobs: Sequence[Job], report: Report) -> Tensor:
        """One pass for the whole batch; see `Stylizer`.

        The strength blends features (the alpha of both papers). What the decoder cannot rebuild of the photograph is
        added back in proportion, so that strength 0 is the photograph itself and not a blurred copy.

        Args:
            content: `(B, 3, H, W)` in [0, 1]; or, where jobs have `memory`, codes.
            jobs: one a picture.
            report: called as work is done.
        """
        if any(job.memory is not None for job in jobs):
            parts = [self._in_tiles(content[i : i + 1], job, report) for i, job in enumerate(jobs)]
            return torch.cat(parts)
        height, width = content.shape[2:]
        report(0, 1, None)
        with torch.inference_mode():
            padded = self._padded(content)
            features = self._encoder(padded, [self._layer])[self._layer]
            plans = [self._plan(job, features[i : i + 1], padded) for i, job in enumerate(jobs)]
            whole = torch.cat([plan.strength for plan in plans])
            strength = self._own_strength(whole)
            stylized = torch.cat([plan.stylized for plan in plans])
            blend = self._own_strength(_shrunk(whole, features)).to(features.dtype)
            pastiche = self._decoded(features + blend * (stylized - features)).to(padded)
            if (strength < 1).any():
                pastiche = pastiche + (1 - strength) * (padded - self._decoded(features).to(padded))
            cover = torch.cat([plan.cover for plan in plans])
            pastiche = masks.compose(padded, pastiche.clamp(0, 1), cover)
        report(1, 1, pastiche)
        return crop_to(pastiche, height, width).to(content.dtype)

    def _plan(self, job: Job, features: Tensor, padded: Tensor) -> _Plan:
        """What one job makes of the photograph's features, over its whole padded size."""
        whole = torch.ones(1, 1, *padded.shape[2:], device=features.device, dtype=padded.dtype)
        strength = whole * float(job.knobs.strength)
        covered = whole if job.knobs.strength > 0 else torch.zeros_like(whole)
        given = None
        if job.guide.strength is not None:
            given = self._padded(job.guide.strength.to(whole))
            strength = strength * given
        maps = [self._padded(region.mask.to(whole)) for region in job.guide.regions]
        cover = masks.painted_cover(maps, given)
        cover = covered if cover is None else covered * cover
        seen = self._shrunk_seen(job.guide.seen, features)
        if not maps:
            return _Plan(self._map(features, job.code, seen)(features), strength, cover)
        small = _shrunk(torch.cat(maps), features)
        # regions reach beyond their masks here, and are cut out by the pixel below: no edge fades into the photograph
        shares = masks.widen(small, self._cells)
        counted = [(weight[None] + _SHRINKAGE) * (1 if seen is None else seen) for weight in small]
        moves = [self._map(features, region.code, own) for region, own in zip(job.guide.regions, counted, strict=True)]
        return _Plan(_moved(features, moves, shares), strength, cover)

    def _map(self, features: Tensor, code: StyleCode, weight: Tensor | None) -> FeatureMap:
        return self._statistics.fit(self._statistics.whole(features, weight), code)

    @torch.inference_mode()
    def _in_tiles(self, content: Tensor, job: Job, report: Report) -> Tensor:
        """One picture, floats or codes, in tiles of `job.memory`; returns the same kind."""
        picture = self._windowed(content)
        small = _SMALL_MAPS * picture.sides[0] * picture.sides[1] * max(1, len(job.guide.regions))
        tiles = tiles_of(picture.sides, self._side((job.memory or 0) - int(small)), stride=self._stride)
        regions = [self._windowed(region.mask) for region in job.guide.regions]
        strengths = None if job.guide.strength is None else self._windowed(job.guide.strength)
        rounds = 3 if self._statistics.settles else 2
        report(0, rounds * len(tiles), None)
        weights = [self._small_map(mask, tiles) for mask in regions]
        shares = masks.widen(torch.cat(weights), self._cells) if regions else None
        counted = [weight + _SHRINKAGE for weight in weights]
        if job.guide.seen is not None:
            seen = self._small_map(self._windowed(job.guide.seen), tiles)
            counted = [weight * seen for weight in counted] or [seen]
        moments = self._moments(picture, tiles, counted, lambda done: report(done, rounds * len(tiles), None))
        codes = [region.code for region in job.guide.regions] or [job.code]
        moves = [self._statistics.fit(own, code) for own, code in zip(moments, codes, strict=True)]
        if self._statistics.settles:
            moves = self._settled(
                picture, tiles, moves, lambda done: report(len(tiles) + done, rounds * len(tiles), None)
            )
        result = picture.blank()
        for index, tile in enumerate(tiles):
            own = None if shares is None else shares[:, :, *self._wide(tile).cells(self._stride)]
            features = self._features(picture, self._wide(tile))
            pixels = picture.crop(tile)
            mask_parts = [mask.crop(tile) for mask in regions]
            part = self._tile(features, _moved(features, moves, own), pixels, job, tile, mask_parts, strengths)
            put(result, part, tile)
            trim_memory()
            last = index + 1 == len(tiles)
            done = (rounds - 1) * len(tiles) + index + 1
            report(done, rounds * len(tiles), thumbnail(result) if last else None)
        return result

    def _tile(
        self,
        features: Tensor,
        stylized: Tensor,
        pixels: Tensor,
        job: Job,
        tile: Tile,
        regions: Sequence[Tensor],
        strengths: WindowedImage | None,
    ) -> Tensor:
        """One tile's pixels, of its features with the decoder's margin before and after the map."""
        strength = pixels.new_full((1, 1, 1, 1), job.knobs.strength)
        covered = (strength > 0).to(pixels)
        blend, given = strength, None
        if strengths is not None:
            blend = strength * _shrunk(strengths.crop(self._wide(tile)), features)
            given = strengths.crop(tile)
            strength = strength * given
        cover = masks.painted_cover(regions, given)
        cover = covered if cover is None else covered * cover
        blend, strength = self._own_strength(blend), self._own_strength(strength)
        painted = features + blend.to(features.dtype) * (stylized - features)
        pastiche = self._decoded(painted, tile).to(pixels)
        if (strength < 1).any():
            pastiche = pastiche + (1 - strength) * (pixels - self._decoded(features, tile).to(pixels))
        return masks.compose(pixels, pastiche.clamp(0, 1), cover)

    def _own_strength(self, strength: Tensor) -> Tensor:
        """What this level adds to the style, so that all together come to `strength`."""
        return strength if self._levels == 1 else 1 - (1 - strength).clamp_min(0) ** (1 / self._levels)

    def _decoded(self, features: Tensor, tile: Tile | None = None) -> Tensor:
        """The picture of features, those of the whole or of a tile with its margins, without the decoder's grid."""
        if not self._grid_margin:
            return self._decoder(features, tile)
        if tile is None:
            return grids.without_grid(self._decoder(features))
        above, _, before, _ = tile.margins(self._grid_margin)
        picture = grids.without_grid(self._decoder(features, tile.grown(self._grid_margin)))
        (top, bottom), (left, right) = tile.rows, tile.columns
        return picture[:, :, above : above + bottom - top, before : before + right - left]

    def _wide(self, tile: Tile) -> Tile:
        """The tile with what its decoded picture depends on."""
        return tile.grown(self._grid_margin).grown(self._decoder_margin)

    def _features(self, picture: WindowedImage, tile: Tile) -> Tensor:
        return self._encoder(picture.crop(tile, self._reach), [self._layer], tile=tile)[self._layer]

    def _small_map(self, mask: WindowedImage, tiles: Sequence[Tile]) -> Tensor:
        """A mask averaged down to the positions of the features, `(1, 1, h, w)`."""
        height, width = (side // self._stride for side in mask.sides)
        small = torch.empty(1, 1, height, width, device=mask.pixels.device)
        for tile in tiles:
            small[:, :, *tile.cells(self._stride)] = F.avg_pool2d(mask.crop(tile), self._stride)
        return small

    def _settled(
        self, picture: WindowedImage, tiles: Sequence[Tile], moves: Sequence[object], report: Callable[[int], None]
    ) -> list[FeatureMap]:
        """Maps that know the moments of what they give over the whole picture."""
        unsettled = [move for move in moves if isinstance(move, UnsettledMap)]
        moments = self._moments(picture, tiles, report=report, views=[move.open for move in unsettled])
        return [move.settled(own) for move, own in zip(unsettled, moments, strict=True)]

    def _moments(
        self,
        picture: WindowedImage,
        tiles: Sequence[Tile],
        weights: Sequence[Tensor] = (),
        report: Callable[[int], None] | None = None,
        views: Sequence[FeatureMap] = (),
    ) -> list[Moments]:
        """Of the picture's features, for each of the weights `(1, 1, h, w)`; or, evenly, for each view of them."""
        count = max(1, len(weights), len(views))
        sums: list[tuple[float, Tensor, Tensor]] = [(0.0, torch.zeros(()), torch.zeros(()))] * count
        for index, tile in enumerate(tiles):
            check_cancelled()
            features = self._features(picture, tile)
            for region in range(count):
                seen = views[region](features) if views else features
                flat = precise(seen[0].flatten(1))
                own = flat.new_ones(flat.shape[1])
                if weights:
                    own = weights[region][:, :, *tile.cells(self._stride)].flatten().to(flat)
                total, first, square = sums[region]
                first = first + (flat @ own).double().cpu()
                square = square + self._statistics.squares(flat, own).double().cpu()
                sums[region] = total + own.sum().item(), first, square
            if report is not None:
                report(index + 1)
        kept = torch.float64 if self._placement.precision == "float64" else torch.float32
        return [
            Moments(
                (first / total).to(kept)[None, :, None, None],
                self._statistics.spread(first / total, square / total).to(kept),
            )
            for total, first, square in sums
        ]

    def _side(self, memory: int) -> int:
        per_pixel = _per_pixel(self._window_bytes, self._placement)
        return side_within(
            memory, per_pixel, margin=self._grid_margin + self._decoder_margin + self._reach, stride=self._stride
        )

    def seen_by_place(self, image: StyleImage, features: Tensor) -> Tensor:
        """How much each position of a style image's features counts, `(1, 1, h, w)` on their device."""
        seen = self._shrunk_seen(image.seen, features)
        return torch.ones_like(features[:, :1]) if seen is None else seen

    def _padded(self, maps: Tensor) -> Tensor:
        return pad_to_multiple(maps, self._stride, least=2 * self._stride)

    def _windowed(self, pixels: Tensor) -> WindowedImage:
        return WindowedImage(pixels, self._stride, least=2 * self._stride)

    def _shrunk_seen(self, seen: Tensor | None, features: Tensor) -> Tensor | None:
        """How much each position counts, `(1, 1, h, w)`, of how much each pixel does; None for evenly."""
        return None if seen is None else _shrunk(self._padded(seen.to(features.device)), features)


@dataclass(frozen=True)
class _Plan:
    """What one job makes of the photograph's features.

    Attributes:
        stylized: `(1, C, h, w)`, features at full strength, those of the regions joined.
        strength: `(1, 1, H, W)` in [0, 1], by pixel.
        cover: `(1, 1, H, W)` in [0, 1]; where it is 0 the photograph stays as it is.
    """

    stylized: Tensor
    strength: Tensor
    cover: Tensor


def _moved(features: Tensor, moves: Sequence[FeatureMap], shares: Tensor | None) -> Tensor:
    """Features mapped, by each region's map where its share `(R, 1, h, w)` says so."""
    if shares is None:
        return moves[0](features)
    shares = shares.to(features.dtype)
    moved = features * (1 - shares.sum(0, keepdim=True))
    for move, share in zip(moves, shares, strict=True):
        moved = moved + share * move(features)
    return moved


def coarse_step(height: int, width: int, most: int) -> int:
    """Every which place of a grid to take, so that no more than so many are left."""
    step = 1
    while -(-height // step) * -(-width // step) > most:
        step += 1
    return step


def _shrunk(maps: Tensor, features: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(maps, (features.shape[2], features.shape[3]))


def _per_pixel(window_bytes: float, placement: Placement) -> float:
    return window_bytes * (1.0 if placement.precision == "float32" else 0.55)


def _grid_margin(layer: str) -> int:
    """Pixels beyond a tile that taking the grid out sees, in whole positions of `layer`."""
    stride = VGG19.stride(layer)
    return -(-grids.REACH // stride) * stride
