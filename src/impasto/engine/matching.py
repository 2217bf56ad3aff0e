"""Pairs parts of a photograph with the parts of the style images that show something like them."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.assets import Store, load_weights
from impasto.contract import OnProgress, Placement
from impasto.engine.controls import MATCHED_PARTS
from impasto.engine.masks import Layout, MaskReader
from impasto.engine.request import OnNote, Sources, StyleSource
from impasto.errors import AssetError, InputError, MissingExtra
from impasto.models import correspondence
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.masks import feather
from impasto.ops.tiles import as_float, thumbnail

_SIDE = 1024  # longest side at which masks are found; those of larger pictures are enlarged
_WEIGHTS = "vgg19-normalised"
_THINGS = ("person", "subject")  # that networks find, the surer one first


def match_regions(
    photograph: Tensor,
    sources: Sources,
    store: Store,
    *,
    softness: float,
    on_progress: OnProgress,
    on_note: OnNote,
) -> tuple[tuple[tuple[str, Sources], ...], Layout]:
    """Regions of the photograph, each with the style images of which only the part that is like it counts.

    Args:
        photograph: `(1, 3, H, W)`, floats in [0, 1] or codes.
        sources: the style images.
        store: where the encoder is.
        softness: pixels over which edges fade.
        on_progress, on_note: called while the encoder is fetched, and with what was found.

    Returns:
        The regions and their masks; none where photograph and paintings have no two parts in common.
    """
    store.fetch([_WEIGHTS], on_progress=on_progress)
    encoder = Encoder(VGG19, load_weights(store.path(_WEIGHTS)), Placement())
    small = _small(photograph)
    paintings = [_small(images.to_tensor(source.picture.pixels)) for source in sources]
    known = _known([small, *paintings], store, on_progress, on_note)
    parts = correspondence.find_parts(small, paintings, encoder, most=MATCHED_PARTS, known=known)
    if not parts:
        on_note("no part of the photograph is like one of the painting: painted as a whole")
        return (), Layout()
    shares = ", ".join(f"{100 * float(part.photograph.mean()):.0f} %" for part in parts)
    on_note(f"{len(parts)} parts of the photograph are like parts of the painting: {shares} of it")
    sides = photograph.shape[2], photograph.shape[3]
    masks = [feather(F.interpolate(part.photograph, sides, mode="bilinear"), softness) for part in parts]
    layout, _ = Layout.of(masks, rest=False)
    regions: list[tuple[str, Sources]] = []
    for number, part in enumerate(parts, 1):
        own = tuple(_only(source, mask) for source, mask in zip(sources, part.paintings, strict=True))
        regions.append((f"part {number}", own))
    return tuple(regions), layout


def _known(pictures: list[Tensor], store: Store, on_progress: OnProgress, on_note: OnNote) -> list[list[Tensor]]:
    """A person or, failing that, a subject, where every picture has one: its masks; else nothing."""
    readers = [MaskReader(one, (one.shape[3], one.shape[2]), store, on_progress=on_progress) for one in pictures]
    for thing in _THINGS:
        try:
            found = [reader.figure(thing) for reader in readers]
        except InputError:  # a picture has none
            continue
        except (MissingExtra, AssetError) as missing:
            on_note(f"people and subjects are not looked for: {missing.message}")
            return []
        on_note(f"a {thing} was found in photograph and painting: paired with each other")
        return [found]
    return []


def _small(picture: Tensor) -> Tensor:
    return as_float(thumbnail(picture, _SIDE)).float()


def _only(source: StyleSource, mask: Tensor) -> StyleSource:
    """The style image with nothing to be seen but where the mask holds."""
    picture = source.picture
    shown = images.resize(mask[0, 0].numpy(), picture.height, picture.width)
    alpha = shown if picture.alpha is None else shown * picture.alpha
    return replace(source, picture=replace(picture, alpha=alpha))
