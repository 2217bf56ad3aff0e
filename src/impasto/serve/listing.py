"""What there is to paint with, and small pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto import images, settings
from impasto.assets.library import Library, Painting
from impasto.engine.words import by_meaning
from impasto.errors import AssetError
from impasto.methods import registry
from impasto.models import catalog
from impasto.models.checkpoint import SUFFIX
from impasto.serve.settings import NotFoundError

if TYPE_CHECKING:
    from torch import Tensor


def styles(library: Library, words: str = "") -> list[dict[str, Any]]:
    """Named styles that match all words: those of the pack, then the paintings of the library, also by meaning.

    Without the library, which may not have been fetched, the pack alone.
    """
    found: list[Painting] = []
    known: dict[str, Painting] = {}
    with suppress(AssetError):
        known = {painting.id: painting for painting in library.paintings()}
        found = library.search(words) or by_meaning(library, words)
    ids = {painting.id for painting in found}
    rows = []
    for style in catalog.pack():
        if not words or style.painting in ids or words.lower() in (style.name, style.id):
            own = known.get(style.painting)
            row = _style(style.id, style.name, own.artist if own else "", own.date if own else "", style.licence)
            rows.append({**row, "source": "pack", "method": "feedforward"})
    for one in found:
        row = _style(one.id, one.title, one.artist, one.date, one.licence)
        rows.append({**row, "source": one.source, "method": "auto"})
    return rows


def trained_style(style_id: str, result: Mapping[str, Any] | None) -> dict[str, Any]:
    """A style that was trained here, by the result of its training."""
    name = str((result or {}).get("name", "")).removesuffix(SUFFIX)
    return {**_style(style_id, name, "", "", ""), "source": "trained", "method": "feedforward"}


def _style(style_id: str, title: str, artist: str, date: str, licence: str) -> dict[str, Any]:
    return {"id": style_id, "title": title, "artist": artist, "date": date, "licence": licence}


def thumbnail(library: Library, style_id: str, *, side: int, network: Path | None = None) -> bytes:
    """A small JPEG of a named style, whose file `network` is where it was trained here. Raises NotFoundError."""
    for style in catalog.pack() if network is None else catalog.listing(network):
        if (network is not None or style.id == style_id) and style.thumbnail:
            return jpeg(images.read(style.thumbnail), side)
    with suppress(AssetError):
        for painting in library.paintings():
            if painting.id == style_id:
                return jpeg(library.read(painting), side)
    raise NotFoundError("there is no such style", "GET /v1/styles lists them")


def methods() -> list[dict[str, Any]]:
    """All methods, with the JSON schema of each one's settings."""
    return [
        {
            "name": row.name,
            "summary": row.summary,
            "paper": row.paper,
            "kind": row.kind,
            "lane": "slow" if row.kind == "objective" else "quick",
            "honours": sorted(row.honours),
            "trained": row.trained,
            "settings": settings.json_schema(row.load_knobs()),
        }
        for row in registry.methods().values()
    ]


def preview(picture: Tensor, side: int) -> tuple[dict[str, Any], bytes]:
    """Of a preview `(B, 3, H, W)` its size, and its first picture as a small JPEG."""
    first = images.Picture(images.from_tensor(picture[:1].clamp(0, 1)))
    return {"width": first.width, "height": first.height}, jpeg(first, side)


def jpeg(picture: images.Picture, side: int) -> bytes:
    """A small JPEG without metadata, of at most that longest side."""
    if max(picture.width, picture.height) > side:
        width, height = images.fit(picture.width, picture.height, side)
        picture = picture.resized(height, width)
    stream = io.BytesIO()
    images.write(images.Picture(images.as_float(picture.pixels)), stream, format="JPEG", quality=85)
    return stream.getvalue()
