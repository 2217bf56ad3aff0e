"""The image that a descent begins with: the photograph, recoloured, noise, the painting, or one that was given."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import (
    Job,
    StyleCode,
    check_cancelled,
)
from impasto.errors import InputError
from impasto.methods.optimize.balances import EVEN, FINE
from impasto.methods.optimize.levels import STRIDE, sides_of
from impasto.methods.settings import OptimizeKnobs
from impasto.ops.color import color_sums, recoloring
from impasto.ops.tiles import WindowedImage, as_float, put, resample
from impasto.ops.tiling import Tile, tiles_of

_LONG_KERNEL = 64  # positions, beyond which filtering is a product of matrices
_GRAIN = 8  # pixels from the middle of a grain of noise to where it has faded


def start_image(content: Tensor, job: Job) -> Tensor:
    """The image that the descent begins with."""
    knobs: OptimizeKnobs = job.knobs
    if job.guide.init is not None:
        return job.guide.init.to(content.device)
    if knobs.init in ("draft", "file"):
        raise InputError(f"the descent should start from a {knobs.init}, but none was given", "choose another --init")
    generator = torch.Generator().manual_seed(knobs.seed)

    def noise() -> Tensor:
        return torch.randn(content.shape, generator=generator).to(content.device)

    starts: dict[str, Callable[[], Tensor]] = {
        "content": lambda: softened(content, knobs),
        "content+noise": lambda: (as_float(softened(content, knobs)) + 0.1 * noise()).clamp(0, 1),
        "noise": lambda: _clouds(content, generator),
        "style": lambda: _painting(content, job),
        "recolored": lambda: softened(_recolored(content, job), knobs),
    }
    return starts[knobs.init]()


def softened(picture: Tensor, knobs: OptimizeKnobs) -> Tensor:
    """The picture without the share of its fine detail that is to be painted anew.

    What is fine is what a Gaussian of 3 pixels takes away where the longest side is 512: strokes grow with the picture.
    A descent keeps the detail of its start wherever the encoder hardly sees it, and then a photograph shows through.
    """
    if knobs.detail == 1:
        return picture
    wrap = knobs.border == "wrap"
    sheet = WindowedImage(picture, STRIDE)
    kernel = _gaussian(FINE * max(sheet.size), picture.device)
    reach = len(kernel) // 2
    result = sheet.blank()
    for tile in tiles_of(sheet.sides, 1024, stride=STRIDE, wrap=wrap):
        check_cancelled()
        window = tile.crop(sheet.whole(), reach) if wrap else sheet.crop(tile, reach)
        above, below, before, after = tile.margins(reach)
        wide = F.pad(window, (reach - before, reach - after, reach - above, reach - below), mode="replicate")
        soft = _filtered(wide, kernel)
        sharp = wide[:, :, reach : wide.shape[2] - reach, reach : wide.shape[3] - reach]
        put(result, torch.lerp(soft, sharp, knobs.detail**EVEN), tile)
    return result


def _gaussian(deviation: float, device: torch.device) -> Tensor:
    """Weights of a Gaussian that sum to 1, out to three deviations."""
    reach = max(1, math.ceil(3 * deviation))
    along = torch.arange(-reach, reach + 1, device=device)
    weights = torch.exp(-0.5 * (along / deviation).square())
    return weights / weights.sum()


def _filtered(images: Tensor, kernel: Tensor) -> Tensor:
    """`images (B, C, H, W)` filtered along both axes, smaller by the kernel's reach on each side."""
    if len(kernel) > _LONG_KERNEL:
        below, beside = (_band(side, kernel.to(images)) for side in images.shape[2:])
        return below @ images @ beside.mT
    channels = images.shape[1]
    rows = F.conv2d(images, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _band(side: int, kernel: Tensor) -> Tensor:
    """The matrix `(side - 2 * reach, side)` that filters a column, since long convolutions are slow on a processor."""
    length = side - len(kernel) + 1
    band = kernel.new_zeros(length, side)
    band.as_strided((length, len(kernel)), (side + 1, 1)).copy_(kernel.expand(length, -1))
    return band


def _recolored(content: Tensor, job: Job) -> Tensor:
    """The photograph with the mean and covariance of the painting's colours; in each region with its own."""
    sheet = WindowedImage(content, STRIDE)
    regions = [(WindowedImage(region.mask.to(content.device), STRIDE), region.code) for region in job.guide.regions]
    parts: list[tuple[WindowedImage | None, StyleCode]] = [*regions] or [(None, job.code)]
    changes = []
    for mask, code in parts:
        own = color_statistics(sheet, _counted(mask, job, content))
        changes.append((mask, *recoloring(own, code.tensors["colors"].to(own))))
    result = sheet.blank()
    for tile in _strips(sheet):
        check_cancelled()
        part = sheet.crop(tile)
        moved = part.clone()
        for mask, matrix, shift in changes:
            change = torch.einsum("ij,bjhw->bihw", matrix, part) + shift[:, None, None] - part
            moved += change if mask is None else mask.crop(tile) * change
        put(result, moved.clamp_(0, 1), tile)
    return result


def _counted(mask: WindowedImage | None, job: Job, content: Tensor) -> WindowedImage | None:
    """How much each pixel counts: by the mask, and by how much of it is seen."""
    if job.guide.seen is None:
        return mask
    height, width = content.shape[2:]
    seen = job.guide.seen.to(content.device)[:, :, :height, :width]
    if mask is None:
        return WindowedImage(seen, STRIDE)
    return WindowedImage(mask.pixels * seen, STRIDE)


def color_statistics(picture: WindowedImage, mask: WindowedImage | None = None) -> Tensor:
    """`color_sums` of a picture, part by part: in float64 all of it would take more than the picture itself."""
    sums = torch.zeros(1, 4, 4, dtype=torch.float64, device=picture.pixels.device)
    for tile in _strips(picture):
        check_cancelled()
        sums += color_sums(picture.crop(tile), None if mask is None else mask.crop(tile))
    return sums


def _strips(picture: WindowedImage) -> list[Tile]:
    return tiles_of(picture.sides, 1024, stride=STRIDE)


def _clouds(content: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of some eight pixels' grain. Finer grain would stay: what the levels pass on is the change to the start.

    Blurred, not enlarged: enlarged noise is steep between its samples and flat at them, and that grid stays too. The
    blur goes round the edges, so that a tile has no seam.
    """
    height, width = sides_of(content)
    noise = torch.randn(3, 1, height, width, generator=generator).to(content.device)
    along = torch.arange(-_GRAIN, _GRAIN + 1, device=content.device)
    kernel = torch.cos(along * (torch.pi / (2 * _GRAIN + 2))).square()
    for axis, sides in ((2, (0, 0, _GRAIN, _GRAIN)), (3, (_GRAIN, _GRAIN, 0, 0))):
        shape = [1, 1, 1, 1]
        shape[axis] = len(kernel)
        noise = F.conv2d(F.pad(noise, sides, mode="circular"), kernel.view(shape))
    return (0.5 + 0.2 * noise.transpose(0, 1) / noise.std()).clamp(0, 1)


def _painting(content: Tensor, job: Job) -> Tensor:
    """The style image, cut to the size of the picture; in each region its own."""
    sides = sides_of(content)

    def cut(code: StyleCode) -> Tensor:
        return _covering(as_float(code.tensors["image"].to(content.device)), *sides)

    if not job.guide.regions:
        return cut(job.code)
    painting = content = as_float(content)
    for region in job.guide.regions:
        painting = painting + region.mask.to(content.device) * (cut(region.code) - content)
    return painting.clamp(0, 1)


def _covering(image: Tensor, height: int, width: int) -> Tensor:
    """Resize without stretching until `height` x `width` is covered, and cut out the middle."""
    scale = max(height / image.shape[2], width / image.shape[3])
    sides = max(height, round(image.shape[2] * scale)), max(width, round(image.shape[3] * scale))
    large = resample(image, *sides).clamp(0, 1)
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    return large[:, :, top : top + height, left : left + width]
