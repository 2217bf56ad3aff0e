"""A folder with a page that paints on the visitor's own machine: networks, ONNX Runtime Web, and our page.

It needs no server but one that hands out files. Nothing is fetched from elsewhere, and nothing is sent.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from impasto.assets import Store
from impasto.contract import OnProgress, ignore
from impasto.export import check, onnx
from impasto.export.formats import WEB, Exported, check_target, put, workplace
from impasto.export.model import CODE, Array, Exportable
from impasto.files import storing
from impasto.models import catalog

LIBRARY = "onnxruntime-web"
"""The asset that holds the library's files."""

_SIDE = 640  # longest side of the sample
_THUMBNAIL = 192


def export(
    networks: Sequence[Path],
    folder: Path,
    store: Store,
    photographs: Sequence[Array],
    *,
    on_progress: OnProgress = ignore,
) -> Exported:
    """Write the folder; its networks paint in ONNX Runtime first, as those of `formats.export` do.

    Args:
        networks: their files.
        folder: a new one, or one that was written so before, which is replaced.
        store: has the library's files and the sample photograph.
        photographs: to compare with.
        on_progress: called while it works.

    Raises:
        InputError: a file is not an Impasto network, or the folder holds other files.
        AssetError: the library cannot be had.
        StyleError: a file paints other pictures than its network.
    """
    check_target(WEB, folder, CODE, None)
    models = {path: Exportable.of_network(path) for path in dict.fromkeys(networks)}
    with workplace(folder) as work:
        made = work / folder.name
        rows = _write(models, made, store, on_progress)
        found = []
        for row, model in zip(rows, models.values(), strict=True):
            painter, runtime = onnx.load(made / row["file"], model)
            given = check.cases(model, photographs)
            found.append(check.compare(painter, runtime, model, given, on_progress=on_progress))
            check.refuse_far(found[-1], WEB.name)
        size = sum(part.stat().st_size for part in made.rglob("*") if part.is_file())
        with storing(folder.name):
            put(made, folder)
    styles = tuple(style for model in models.values() for style in model.styles)
    return Exported(folder, WEB.name, styles, size, max(found, key=lambda one: one.maximum))


def _write(
    models: Mapping[Path, Exportable], folder: Path, store: Store, on_progress: OnProgress
) -> list[dict[str, Any]]:
    """Write all files. Returns the rows of the networks."""
    library = store.path(LIBRARY, on_progress)
    for name in ("networks", "styles", "ort"):
        (folder / name).mkdir(parents=True)
    for file in sorted(library.iterdir()):
        if file.suffix in (".mjs", ".wasm"):
            (folder / "ort" / file.name).write_bytes(store.file(LIBRARY, file.name).read_bytes())
    (folder / "ort" / "NOTICE.txt").write_text(_notice(store), encoding="utf-8")
    sample = Image.open(store.file("photos", "coffee.png")).convert("RGB")
    sample.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    sample.save(folder / "sample.jpg", quality=90)
    rows = [_network(path, model, folder, sample, number) for number, (path, model) in enumerate(models.items())]
    (folder / WEB.marker).write_text(json.dumps({"networks": rows}, ensure_ascii=False), encoding="utf-8")
    for name, data in _page():
        (folder / name).write_bytes(data)
    _write_service_worker(folder)
    return rows


def _notice(store: Store) -> str:
    asset = store.declared[LIBRARY]
    (source, *_) = asset.sources
    return f"{source.label}: {asset.licence}\n({asset.licence_source})\n"


def _network(path: Path, model: Exportable, folder: Path, sample: Image.Image, number: int) -> dict[str, Any]:
    """Write one network and its thumbnails. Returns its row."""
    stem = f"{re.sub(r'[^A-Za-z0-9_-]+', '-', model.name)}-{number}"
    (folder / "networks" / f"{stem}.onnx").write_bytes(onnx.model_bytes(model))
    codes: Mapping[str, list[float]] = json.loads(model.metadata["codes"])
    rows = []
    for at, style in enumerate(catalog.listing(path)):
        name = f"styles/{stem}-{at}.webp"
        (folder / name).write_bytes(style.thumbnail or _thumbnail(model, at, sample))
        rows.append(
            {
                "name": style.name,
                "painting": style.painting,
                "licence": style.licence,
                "code": codes[style.name],
                "thumbnail": name,
            }
        )
    return {"name": model.name, "file": f"networks/{stem}.onnx", "styles": rows}


def _thumbnail(model: Exportable, at: int, sample: Image.Image) -> bytes:
    """The sample in one style, for networks whose files hold no thumbnails."""
    small = sample.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    pixels = np.asarray(small, np.float32).transpose(2, 0, 1)[None] / 255
    painted: Array = model.reference(np.ascontiguousarray(pixels), model.seconds[at])
    codes = (painted[0].transpose(1, 2, 0) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(codes).save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def _page() -> Iterator[tuple[str, bytes]]:
    for file in sorted(resources.files(__name__).joinpath("page").iterdir(), key=lambda one: one.name):
        yield file.name, file.read_bytes()


def _write_service_worker(folder: Path) -> None:
    """Fill in what it keeps from the start, and a version that changes with any file."""
    script = folder / "service-worker.js"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != script)
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    names = [path.relative_to(folder).as_posix() for path in files]
    # networks and the library are kept when they are loaded: most visitors need one of each
    kept = ["./", *(name for name in names if not name.startswith(("networks/", "ort/")) and name != "index.html")]
    text = script.read_text(encoding="utf-8")
    text = text.replace("{{VERSION}}", f"impasto-{digest.hexdigest()[:16]}").replace("{{PAGE}}", json.dumps(kept))
    script.write_text(text, encoding="utf-8")
