"""glTF 2.0, as .glb and .gltf: reads what can be seen, and writes the same file with other base colours.

The file's JSON stays as it was but for images, the materials of what gets a new texture, and attributes that are added.
"""

from __future__ import annotations

import base64
import binascii
import copy
import io
import json
import struct
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import InputError, MissingExtra, ResourceError, StyleError
from impasto.files import write_whole
from impasto.images import Picture
from impasto.scenes.meshes import MOST_FACES, Atlas, Mesh, Paint, Shape, Surface, check_count, smooth_normals
from impasto.scenes.rasterise import Floats, Indices

_MAGIC = 0x46546C67
_JSON, _BIN = 0x4E4F534A, 0x004E4942
_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_LARGEST = {5120: 127, 5121: 255, 5122: 32767, 5123: 65535}  # of normalised integers
_COUNTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_WRAPS = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
_MIMES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
_DRACO, _WEBP, _TRANSFORM = "KHR_draco_mesh_compression", "EXT_texture_webp", "KHR_texture_transform"
_KNOWN = {
    _DRACO,
    _WEBP,
    _TRANSFORM,
    "KHR_mesh_quantization",
    "KHR_lights_punctual",
    "KHR_texture_basisu",
    "KHR_animation_pointer",
}
_DEEPEST = 200  # nodes below each other
_MOST_NODES = 100_000
_MOST_VALUES = 3 * MOST_FACES  # of an accessor
_FLOAT, _ARRAY = 5126, 34962

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class GltfFile:
    """See `MeshFile`.

    Attributes:
        suffix: ".glb" or ".gltf".
        document: the JSON.
        views: the bytes of each buffer view.
        images: images that are base colours, each with the number of the mesh's texture that it is.
    """

    suffix: str
    document: Json
    views: tuple[bytes, ...]
    images: Mapping[int, int]
    takes_textures: bool = True

    def write(self, path: Path, paint: Paint) -> None:
        """See `MeshFile`."""
        write_whole(path, self.painted(paint))

    def painted(self, paint: Paint) -> bytes:
        """The file with what is painted."""
        edit = _Edit(copy.deepcopy(self.document), list(self.views))
        for source, number in self.images.items():
            edit.replace_image(source, paint.textures[number])
        edit.apply(paint)
        return _glb(edit) if self.suffix == ".glb" else _gltf(edit)


def read(path: Path, data: bytes) -> Mesh:
    """Read a file.

    Args:
        path: where it lies: files that it names lie beside it.
        data: its contents.

    Raises:
        InputError: it is no glTF 2.0, is damaged, or names something outside its folder.
        MissingExtra: it is compressed by Draco, and DracoPy is not installed.
    """
    try:
        return _Reader(path, data).mesh()
    except StyleError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, struct.error, RecursionError) as error:
        raise InputError(f"{path.name} is damaged: {type(error).__name__} ({error})", "export it anew") from error


class _Reader:
    """Reads one file."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        self._notes: list[str] = []
        self._document, chunk = _split(data, path.name)
        version = str(self._document["asset"]["version"])
        if not version.startswith("2"):
            raise InputError(f"{path.name} is glTF {version}", "export it as glTF 2.0")
        unknown = sorted(set(self._document.get("extensionsRequired", ())) - _KNOWN)
        unknown = [name for name in unknown if not name.startswith(("KHR_materials", "KHR_xmp"))]
        if unknown:
            raise InputError(f"{path.name} requires {', '.join(unknown)}", "export it without")
        buffers = [self._buffer(buffer, chunk) for buffer in self._document.get("buffers", ())]
        self._views = [
            buffers[view["buffer"]][view.get("byteOffset", 0) :][: view["byteLength"]]
            for view in self._document.get("bufferViews", ())
        ]
        self._pictures: dict[int, int | None] = {}
        self._textures: list[Picture] = []

    def mesh(self) -> Mesh:
        """The surfaces of the scene."""
        surfaces: list[Surface] = []
        for node, matrix in self._nodes():
            if "mesh" in node:
                surfaces += self._surfaces(node["mesh"], matrix)
                check_count(surfaces, self._path.name)
        suffix = ".glb" if self._path.suffix.lower() == ".glb" else ".gltf"
        file = GltfFile(
            suffix,
            self._document,
            tuple(self._views),
            {source: number for source, number in self._pictures.items() if number is not None},
        )
        return Mesh(tuple(surfaces), tuple(self._textures), file, notes=tuple(dict.fromkeys(self._notes)))

    def _buffer(self, buffer: Json, chunk: bytes) -> bytes:
        data = chunk if "uri" not in buffer else self._resource(buffer["uri"])
        if data is None:
            raise InputError(f"{self._path.name} names {buffer['uri']}, which is missing", "put it beside the model")
        if len(data) < buffer["byteLength"]:
            raise InputError(f"{self._path.name} is cut short", "copy it again")
        return data

    def _resource(self, uri: str) -> bytes | None:
        """What a URI names; None where there is no such file."""
        if uri.startswith("data:"):
            try:
                return base64.b64decode(uri.partition(",")[2], validate=True)
            except binascii.Error as error:
                raise InputError(f"{self._path.name} is damaged: its data is no base64", "export it anew") from error
        return beside(self._path, unquote(uri))

    def _nodes(self) -> Iterator[tuple[Json, Floats]]:
        nodes = self._document.get("nodes", ())
        scenes = self._document.get("scenes", ())
        roots = scenes[self._document.get("scene", 0)].get("nodes", ()) if scenes else range(len(nodes))
        waiting = deque((index, np.eye(4), 0) for index in roots)
        seen = 0
        while waiting:
            index, above, depth = waiting.popleft()
            seen += 1
            if seen > _MOST_NODES:
                raise ResourceError(f"{self._path.name} has over {_MOST_NODES:,} nodes", "join some of them first")
            if depth > _DEEPEST:
                raise InputError(f"the nodes of {self._path.name} are in a circle", "export it anew")
            matrix = above @ _matrix(nodes[index])
            yield nodes[index], matrix
            waiting += [(child, matrix, depth + 1) for child in nodes[index].get("children", ())]

    def _surfaces(self, index: int, matrix: Floats) -> Iterator[Surface]:
        for number, primitive in enumerate(self._document["meshes"][index]["primitives"]):
            mode = primitive.get("mode", 4)
            if mode not in (4, 5, 6):
                self._notes.append(f"{self._path.name}: points and lines are left as they are")
                continue
            attributes, faces = self._geometry(primitive)
            positions = attributes["POSITION"].astype(np.float64)
            material = self._document["materials"][primitive["material"]] if "material" in primitive else {}
            base = material.get("pbrMetallicRoughness", {})
            used = base.get("baseColorTexture")
            texture = None if used is None else self._texture(used["index"])
            factor = np.asarray(base.get("baseColorFactor", (1, 1, 1, 1)), float)[:3]
            tinted = attributes.get("COLOR_0")
            red, green, blue = _encoded(factor).tolist()
            yield Surface(
                (index, number),
                positions @ matrix[:3, :3].T + matrix[:3, 3],
                _triangles(faces, mode),
                _coordinates(attributes, used),
                texture,
                self._wrap(used),
                (red, green, blue),
                None if tinted is None else _encoded(factor * tinted[:, :3]).astype(np.float32),
                normals=_placed_normals(attributes.get("NORMAL"), matrix),
                place=matrix,
                packed=_DRACO in primitive.get("extensions", {}),
            )

    def _geometry(self, primitive: Json) -> tuple[dict[str, Floats], Indices]:
        """Attributes by name, and indices."""
        packed = primitive.get("extensions", {}).get(_DRACO, {"attributes": {}})
        attributes = {
            name: self._accessor(number)
            for name, number in primitive["attributes"].items()
            if name not in packed["attributes"]
            and (name in ("POSITION", "NORMAL", "COLOR_0") or name.startswith("TEXCOORD_"))
        }
        if "bufferView" in packed:
            own, faces = _unpacked(self._views[packed["bufferView"]], packed["attributes"])
            return {**attributes, **own}, faces
        if "indices" not in primitive:
            return attributes, np.arange(len(attributes["POSITION"]))
        return attributes, self._accessor(primitive["indices"]).astype(np.int64).ravel()

    def _accessor(self, index: int) -> Floats:
        """Values `(N, C)` of an accessor."""
        own = self._document["accessors"][index]
        count, size = own["count"], _COUNTS[own["type"]]
        if not 0 <= count <= _MOST_VALUES:
            raise ResourceError(f"{self._path.name} has {count:,} values of one kind", "simplify it first")
        if "bufferView" in own:
            view = self._document["bufferViews"][own["bufferView"]]
            data = self._views[own["bufferView"]]
            values = _strided(data, own, count, size, view.get("byteStride", 0))
        else:
            values = np.zeros((count, size))
        if "sparse" in own:
            values = self._with_sparse(values, own["sparse"], own)
        if own.get("normalized"):
            values = np.maximum(values / _LARGEST[own["componentType"]], -1)
        return values

    def _with_sparse(self, values: Floats, sparse: Json, own: Json) -> Floats:
        places = _strided(self._views[sparse["indices"]["bufferView"]], sparse["indices"], sparse["count"], 1, 0)
        described = {**sparse["values"], "componentType": own["componentType"]}
        new = _strided(self._views[described["bufferView"]], described, sparse["count"], values.shape[1], 0)
        values = values.copy()
        values[places.astype(np.int64).ravel()] = new
        return values

    def _texture(self, index: int) -> int | None:
        """Which of the mesh's textures a texture of the file is."""
        source = image_of(self._document["textures"][index])
        if source is None:
            self._notes.append(f"{self._path.name}: textures in KTX2 cannot be read; their colour is painted")
            return None
        if source not in self._pictures:
            picture = self._picture(self._document["images"][source])
            self._pictures[source] = None if picture is None else len(self._textures)
            if picture is not None:
                self._textures.append(picture)
        return self._pictures[source]

    def _picture(self, image: Json) -> Picture | None:
        if "bufferView" in image:
            name = image.get("name") or f"{self._document['images'].index(image)} within"
            return decoded(self._views[image["bufferView"]], self._path, name, self._notes)
        return decoded(self._resource(image["uri"]), self._path, image["uri"], self._notes)

    def _wrap(self, used: Json | None) -> tuple[str, str]:
        if used is None:
            return "repeat", "repeat"
        texture = self._document["textures"][used["index"]]
        sampler = self._document["samplers"][texture["sampler"]] if "sampler" in texture else {}
        return _WRAPS[sampler.get("wrapS", 10497)], _WRAPS[sampler.get("wrapT", 10497)]


def image_of(texture: Json) -> int | None:
    """Which image of the file a texture shows; None for one of a kind that is not read."""
    webp = texture.get("extensions", {}).get(_WEBP)
    found = texture.get("source") if webp is None else webp["source"]
    return None if found is None else int(found)


def beside(model: Path, name: str) -> bytes | None:
    """The contents of a file that a model names; None where there is none.

    Raises:
        InputError: it is an address, or lies outside the model's folder.
    """
    if "://" in name or name.startswith("//"):
        raise InputError(f"{model.name} names {name[:80]}, an address", "download it, and put it beside the model")
    folder = model.parent.resolve()
    found = (folder / name.replace("\\", "/")).resolve()
    if not found.is_relative_to(folder):
        raise InputError(f"{model.name} names {name[:80]}, outside its folder", "put it beside the model")
    return found.read_bytes() if found.is_file() else None


def decoded(data: bytes | None, model: Path, name: str, notes: list[str]) -> Picture | None:
    """A texture; None, and a note, where it is missing or damaged."""
    named = f"{model.name} names the texture {name[:80]}"
    if data is None:
        notes.append(f"{named}, which is missing: its colour is painted")
        return None
    try:
        return images.read(data)
    except InputError as error:
        notes.append(f"{named}, which cannot be read ({error}): its colour is painted")
        return None


def _split(data: bytes, name: str) -> tuple[Json, bytes]:
    """The JSON and the binary chunk."""
    chunk = b""
    text = data
    if len(data) >= 20 and struct.unpack_from("<I", data)[0] == _MAGIC:
        version, length = struct.unpack_from("<II", data, 4)
        if version != 2 or length > len(data):
            raise InputError(
                f"{name} is {'glTF 1' if version == 1 else 'cut short or damaged'}", "export it as glTF 2.0"
            )
        offset, text = 12, b""
        while offset + 8 <= length:
            size, kind = struct.unpack_from("<II", data, offset)
            body = data[offset + 8 : offset + 8 + size]
            text, chunk = (body, chunk) if kind == _JSON else (text, body if kind == _BIN else chunk)
            offset += 8 + size + (-size % 4)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"{name} is no glTF file", "give a .glb or .gltf file") from error
    if not isinstance(document, dict) or "asset" not in document:
        raise InputError(f"{name} is no glTF file", "give a .glb or .gltf file")
    return document, chunk


def _strided(data: bytes, own: Json, count: int, size: int, stride: int) -> Floats:
    kind = np.dtype(_TYPES[own["componentType"]]).newbyteorder("<")
    step = stride or kind.itemsize * size
    offset = own.get("byteOffset", 0)
    if count and offset + (count - 1) * step + kind.itemsize * size > len(data):
        raise ValueError("an accessor reaches beyond its buffer")
    values = np.ndarray((count, size), kind, data, offset, (step, kind.itemsize))
    return values.astype(np.float64)


def _matrix(node: Json) -> Floats:
    if "matrix" in node:
        return np.asarray(node["matrix"], float).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turned = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turned * np.asarray(node.get("scale", (1, 1, 1)), float)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _placed_normals(normals: Floats | None, matrix: Floats) -> Floats | None:
    """Normals in the space of the scene."""
    if normals is None or abs(float(np.linalg.det(matrix[:3, :3]))) < 1e-30:
        return None
    placed = normals @ np.linalg.inv(matrix[:3, :3])
    result: Floats = placed / np.maximum(np.linalg.norm(placed, axis=1, keepdims=True), 1e-30)
    return result


def _triangles(indices: Indices, mode: int) -> Indices:
    if mode == 4:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if mode == 5:
        return np.stack((indices[:-2], indices[1:-1], indices[2:]), 1)
    return np.stack((np.repeat(indices[:1], len(indices) - 2), indices[1:-1], indices[2:]), 1)


def _coordinates(attributes: dict[str, Floats], used: Json | None) -> Floats | None:
    """Texture coordinates as the material uses them."""
    moved = {} if used is None else used.get("extensions", {}).get(_TRANSFORM, {})
    number = moved.get("texCoord", 0 if used is None else used.get("texCoord", 0))
    uv = attributes.get(f"TEXCOORD_{number}")
    if uv is None or not moved:
        return uv
    angle = moved.get("rotation", 0.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    result: Floats = uv * moved.get("scale", (1, 1)) @ turn.T + moved.get("offset", (0, 0))
    return result


def _unpacked(data: bytes, wanted: Json) -> tuple[dict[str, Floats], Indices]:
    """Attributes and indices out of a Draco buffer."""
    try:
        import DracoPy
    except ImportError as error:
        raise MissingExtra("this model is compressed by Draco", "pip install 'impasto[scenes]'") from error
    mesh = DracoPy.decode(data)
    attributes = {}
    for name, number in wanted.items():
        found = mesh.get_attribute_by_unique_id(number)
        if found is not None:
            values = np.asarray(found["data"])
            scale = np.iinfo(values.dtype).max if values.dtype.kind in "iu" and name == "COLOR_0" else 1
            attributes[name] = values.reshape(len(values), -1).astype(np.float64) / scale
    return attributes, np.asarray(mesh.faces, np.int64).ravel()


def _encoded(linear: Floats) -> Floats:
    """The sRGB values of linear light."""
    clipped = np.clip(linear, 0, 1)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def _linear(encoded: NDArray[Any]) -> NDArray[np.float32]:
    clipped = np.clip(encoded, 0, 1)
    curved = np.where(clipped <= 0.04045, clipped / 12.92, ((clipped + 0.055) / 1.055) ** 2.4)
    result: NDArray[np.float32] = curved.astype(np.float32)
    return result


@dataclass
class _Edit:
    """A document that is being changed, with its buffer views."""

    document: Json
    views: list[bytes]

    def apply(self, paint: Paint) -> None:
        """Put in what is painted."""
        for key, atlas in paint.atlases.items():
            self._remap(self._primitive(key), atlas)
        for key, shape in paint.shapes.items():
            self._move(self._primitive(key), shape)
        for key, number in paint.added.items():
            atlas_wrap = key in paint.atlases
            self._give_texture(self._primitive(key), paint.textures[number], clamp=atlas_wrap)
        for key, colors in paint.colors.items():
            self._give_colors(self._primitive(key), colors)

    def _primitive(self, key: tuple[int, ...]) -> Json:
        found: Json = self.document["meshes"][key[0]]["primitives"][key[1]]
        return found

    def replace_image(self, source: int, picture: Picture) -> None:
        """Another picture for an image, of the same kind."""
        image = self.document["images"][source]
        kind = _MIMES.get(image.get("mimeType", ""), picture.origin.format)
        kind = kind if kind in _MIMES.values() else "PNG"
        data = encoded_picture(picture, kind)
        if "bufferView" in image:
            self.views[image["bufferView"]] = data
        else:
            image.pop("uri")
            image["bufferView"] = self.append(data)
        image["mimeType"] = next(name for name, known in _MIMES.items() if known == kind)

    def append(self, data: bytes, target: int | None = None) -> int:
        """A new buffer view. Returns its number."""
        self.document.setdefault("bufferViews", []).append({} if target is None else {"target": target})
        self.views.append(data)
        return len(self.views) - 1

    def _add_accessor(self, values: NDArray[Any], kind: str, component: int, target: int) -> int:
        view = self.append(np.ascontiguousarray(values).tobytes(), target)
        row: Json = {"bufferView": view, "componentType": component, "count": len(values), "type": kind}
        self.document.setdefault("accessors", []).append(row)
        return len(self.document["accessors"]) - 1

    def _remap(self, primitive: Json, atlas: Atlas) -> None:
        """Vertices split along the seams of an atlas."""
        for name, index in list(primitive["attributes"].items()):
            primitive["attributes"][name] = self._picked(index, atlas.vertices)
        for morph in primitive.get("targets", ()):
            for name, index in list(morph.items()):
                morph[name] = self._picked(index, atlas.vertices)
        uv = atlas.uv.astype("<f4")
        primitive["attributes"]["TEXCOORD_0"] = self._add_accessor(uv, "VEC2", _FLOAT, _ARRAY)
        primitive["indices"] = self._add_accessor(atlas.faces.astype("<u4").ravel(), "SCALAR", 5125, 34963)
        primitive["mode"] = 4

    def _move(self, primitive: Json, shape: Shape) -> None:
        """Vertices elsewhere. Tangents are left out, so that programs make them anew."""
        positions = shape.positions.astype("<f4")
        number = self._add_accessor(positions, "VEC3", _FLOAT, _ARRAY)
        self.document["accessors"][number] |= {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()}
        primitive["attributes"]["POSITION"] = number
        if shape.normals is not None:
            primitive["attributes"]["NORMAL"] = self._add_accessor(shape.normals.astype("<f4"), "VEC3", _FLOAT, _ARRAY)
        for attributes in (primitive["attributes"], *primitive.get("targets", ())):
            attributes.pop("TANGENT", None)

    def _picked(self, index: int, vertices: Indices) -> int:
        """A copy of an accessor with other vertices, of the same type, to the bit."""
        own = self.document["accessors"][index]
        view = self.document["bufferViews"][own["bufferView"]]
        kind = np.dtype(_TYPES[own["componentType"]]).newbyteorder("<")
        size = _COUNTS[own["type"]]
        step = view.get("byteStride") or kind.itemsize * size
        values = np.ndarray(
            (own["count"], size), kind, self.views[own["bufferView"]], own.get("byteOffset", 0), (step, kind.itemsize)
        )[vertices]
        padded = -(kind.itemsize * size) % 4
        data = np.pad(np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1), ((0, 0), (0, padded)))
        view_number = self.append(data.tobytes(), _ARRAY)
        if padded:
            self.document["bufferViews"][view_number]["byteStride"] = kind.itemsize * size + padded
        row = {**own, "bufferView": view_number, "count": len(vertices)}
        row.pop("byteOffset", None)
        self.document["accessors"].append(row)
        return len(self.document["accessors"]) - 1

    def _own_material(self, primitive: Json) -> Json:
        """A material of this primitive alone, with no tint."""
        materials = self.document.setdefault("materials", [])
        known = copy.deepcopy(materials[primitive["material"]]) if "material" in primitive else {}
        primitive["material"] = len(materials)
        materials.append(known)
        base = known.setdefault("pbrMetallicRoughness", {"metallicFactor": 0.0})
        base["baseColorFactor"] = [1.0, 1.0, 1.0, base.get("baseColorFactor", (1, 1, 1, 1))[3]]
        return base  # type: ignore[no-any-return]

    def _give_texture(self, primitive: Json, picture: Picture, *, clamp: bool) -> None:
        base = self._own_material(primitive)
        self.document.setdefault("images", []).append(
            {"bufferView": self.append(encoded_picture(picture, "PNG")), "mimeType": "image/png"}
        )
        texture: Json = {"source": len(self.document["images"]) - 1}
        if clamp:
            self.document.setdefault("samplers", []).append({"wrapS": 33071, "wrapT": 33071})
            texture["sampler"] = len(self.document["samplers"]) - 1
        self.document.setdefault("textures", []).append(texture)
        base["baseColorTexture"] = {"index": len(self.document["textures"]) - 1}
        primitive["attributes"].pop("COLOR_0", None)
        primitive.get("extensions", {}).get(_DRACO, {}).get("attributes", {}).pop("COLOR_0", None)

    def _give_colors(self, primitive: Json, colors: NDArray[np.float32]) -> None:
        base = self._own_material(primitive)
        base.pop("baseColorTexture", None)
        values = _linear(colors).astype("<f4")
        primitive["attributes"]["COLOR_0"] = self._add_accessor(values, "VEC3", _FLOAT, _ARRAY)


def encoded_picture(picture: Picture, kind: str) -> bytes:
    """A picture as bytes of a format."""
    stream = io.BytesIO()
    images.write(picture, stream, format=kind, quality=95 if kind in ("JPEG", "WEBP") else None)
    return stream.getvalue()


def _packed(edit: _Edit) -> bytes:
    """One buffer of all views, each at a multiple of four bytes."""
    body = bytearray()
    for row, data in zip(edit.document.get("bufferViews", ()), edit.views, strict=True):
        body += bytes(-len(body) % 4)
        row |= {"buffer": 0, "byteOffset": len(body), "byteLength": len(data)}
        body += data
    return bytes(body + bytes(-len(body) % 4))


def _glb(edit: _Edit) -> bytes:
    body = _packed(edit)
    edit.document["buffers"] = [{"byteLength": len(body)}]
    text = json.dumps(edit.document, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    parts = struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(body), _BIN) + body
    return struct.pack("<III", _MAGIC, 2, 12 + len(parts)) + parts


def _gltf(edit: _Edit) -> bytes:
    """One file, its data within."""
    body = _packed(edit)
    uri = "data:application/octet-stream;base64," + base64.b64encode(body).decode()
    edit.document["buffers"] = [{"byteLength": len(body), "uri": uri}]
    return json.dumps(edit.document, ensure_ascii=False).encode()


def plain(
    surfaces: Sequence[Surface],
    textures: Sequence[Picture],
    colors: Sequence[NDArray[Any] | None],
    *,
    lit: bool = False,
) -> bytes:
    """A .glb of any surfaces, for viewers, in world space.

    Args:
        surfaces: what is seen.
        textures: what they show.
        colors: `(V, 3)`, sRGB, of the vertices of each surface without texture.
        lit: whether light shows their shape.
    """
    document: Json = {
        "asset": {"version": "2.0", "generator": "impasto"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(surfaces)))}],
        "nodes": [{"mesh": index} for index in range(len(surfaces))],
        "meshes": [],
        "materials": [],
        "extensionsUsed": ["KHR_materials_unlit"],
    }
    edit = _Edit(document, [])
    for picture in textures:
        view = edit.append(encoded_picture(picture, "JPEG"))
        document.setdefault("images", []).append({"bufferView": view, "mimeType": "image/jpeg"})
        document.setdefault("textures", []).append({"source": len(document["images"]) - 1})
    for surface, own in zip(surfaces, colors, strict=True):
        _add_plain(edit, surface, own, lit=lit and len(surface.faces) > 0)
    return _glb(edit)


def _add_plain(edit: _Edit, surface: Surface, colors: NDArray[Any] | None, *, lit: bool) -> None:
    document = edit.document
    positions = surface.positions.astype("<f4")
    accessor = edit._add_accessor(positions, "VEC3", _FLOAT, _ARRAY)
    document["accessors"][accessor] |= {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()}
    attributes = {"POSITION": accessor}
    material: Json = {"pbrMetallicRoughness": {"metallicFactor": 0.0}, "doubleSided": True}
    if lit:
        normals = smooth_normals(surface).astype("<f4")
        attributes["NORMAL"] = edit._add_accessor(normals, "VEC3", _FLOAT, _ARRAY)
    else:
        material["extensions"] = {"KHR_materials_unlit": {}}
    if surface.texture is not None and surface.uv is not None:
        attributes["TEXCOORD_0"] = edit._add_accessor(surface.uv.astype("<f4"), "VEC2", _FLOAT, _ARRAY)
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": surface.texture}
    elif colors is not None:
        attributes["COLOR_0"] = edit._add_accessor(_linear(colors).astype("<f4"), "VEC3", _FLOAT, _ARRAY)
    primitive: Json = {"attributes": attributes, "material": len(document["materials"])}
    if len(surface.faces):
        primitive["indices"] = edit._add_accessor(surface.faces.astype("<u4").ravel(), "SCALAR", 5125, 34963)
    else:
        primitive["mode"] = 0
    document["materials"].append(material)
    document["meshes"].append({"primitives": [primitive]})
