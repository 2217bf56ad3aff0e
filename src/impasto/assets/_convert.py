"""Converters: members in, stored files out; the same bytes every time, because assets.toml pins what comes out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from impasto.assets._failures import one_line
from impasto.errors import AssetError
from impasto.ops import bundles, pickles

if TYPE_CHECKING:
    from numpy.typing import NDArray

Files: TypeAlias = Mapping[str, bytes]
"""Contents by file name."""

MANIFEST = "manifest.json"
"""Lists the files of a stored folder with their hashes; its own hash is what assets.toml pins."""

_VGG19 = tuple(
    f"conv{block}_{number}" for block, count in enumerate((2, 2, 4, 4, 4), start=1) for number in range(1, count + 1)
)
_VGG19_KEYS = (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)
_DECODER = ("conv4_1", "conv3_4", "conv3_3", "conv3_2", "conv3_1", "conv2_2", "conv2_1", "conv1_2", "conv1_1")
_LITE_BLOCKS = 11  # of EfficientNet-Lite0, down to a stride of 16 pixels
_DECODER_KEYS = (1, 5, 8, 11, 14, 18, 21, 25, 28)


def _convert_vgg19(members: Files) -> Files:
    """VGG-19's features. The 1x1 colour convolution stays apart: folded in, it would be wrong where padding is zero."""
    return _rename_layers(members, dict(zip((0, *_VGG19_KEYS), ("preprocess", *_VGG19), strict=True)))


def _convert_decoder(members: Files) -> Files:
    """AdaIN's decoder, layers named after the encoder's that they mirror."""
    return _rename_layers(members, dict(zip(_DECODER_KEYS, _DECODER, strict=True)))


def _rename_layers(members: Files, names: Mapping[int, str]) -> Files:
    (payload,) = members.values()
    layers = dict(_state_dict(payload))
    with _unreadable():
        renamed = {
            f"{name}.{part}": layers.pop(f"{key}.{part}") for key, name in names.items() for part in ("weight", "bias")
        }
    assert not layers, f"layers left over: {sorted(layers)}"
    return {"weights": _safetensors_bytes(renamed)}


def _convert_microast(members: Files) -> Files:
    """MicroAST's four networks as published, each under its own prefix: `content.enc1.0.conv_layer.weight`, ..."""
    prefixes = {"content_encoder": "content", "style_encoder": "style", "modulator": "modulator", "decoder": "decoder"}
    tensors: dict[str, NDArray[Any]] = {}
    for name, payload in sorted(members.items()):
        prefix = next(own for part, own in prefixes.items() if PurePosixPath(name).name.startswith(part))
        tensors |= {f"{prefix}.{key}": tensor for key, tensor in _state_dict(payload).items()}
    return {"weights": _safetensors_bytes(tensors)}


def _convert_wct_small(members: Files) -> Files:
    """Five narrow encoders and decoders: `encoder.relu4_1.conv4_1.weight`, `decoder.relu4_1.conv4_1.weight`, ...

    Which level a file holds is told by its deepest convolution; what served only training (`*_aux`) is left out. The
    published encoders begin with the colour map of the normalised VGG, which keeps our name, `preprocess`.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for payload in members.values():
        layers = {key: tensor for key, tensor in _state_dict(payload).items() if "_aux" not in key}
        kind = "encoder" if "conv0.weight" in layers else "decoder"
        level = max(int(key[4]) for key in layers)
        for key, tensor in sorted(layers.items()):
            name, _, part = key.partition(".")
            own = "preprocess" if name == "conv0" else f"conv{name[4]}_{name[5]}"
            tensors[f"{kind}.relu{level}_1.{own}.{part}"] = tensor
    return {"weights": _safetensors_bytes(dict(sorted(tensors.items())))}


def _convert_state_dict(members: Files) -> Files:
    """A network's tensors, named as published."""
    (payload,) = members.values()
    return {"weights": _safetensors_bytes(dict(_state_dict(payload)))}


def _convert_mobile_sam(members: Files) -> Files:
    """What follows points: without prompts that are boxes or masks, and without the encoder's head of classes."""
    (payload,) = members.values()
    unused = ("image_encoder.norm_head.", "image_encoder.head.", "prompt_encoder.mask_downscaling.")
    corners = ("prompt_encoder.point_embeddings.2.", "prompt_encoder.point_embeddings.3.")
    kept = {
        name: tensor
        for name, tensor in sorted(_state_dict(payload).items())
        if not name.startswith((*unused, *corners)) and not name.endswith("num_batches_tracked")
    }
    return {"weights": _safetensors_bytes(kept)}


def _state_dict(payload: bytes) -> Mapping[str, NDArray[Any]]:
    import numpy as np

    with _unreadable():
        stored = pickles.read_checkpoint(payload)
        tensors: Mapping[str, NDArray[Any]] = stored.get("model", stored)
        if not all(isinstance(one, np.ndarray) for one in tensors.values()):
            raise TypeError("it holds more than tensors")
    return tensors


def _convert_lpips(members: Files) -> Files:
    """A backbone and its linear heads: `conv1.weight (O, I, kh, kw)`, `conv1.bias (O)`, ..., `head1.weight (C)`, ..."""
    (payload,) = members.values()
    with _unreadable():
        arrays = pickles.read_arrays(payload)
    renamed = {}
    for name, array in arrays.items():
        module, layer, part = name.split(".")
        number = int((module if module.startswith("NetLin") else layer).rpartition("_")[2]) + 1
        if module.startswith("NetLin"):
            renamed[f"head{number}.weight"] = array.reshape(-1)
        elif part == "kernel":
            renamed[f"conv{number}.weight"] = array.transpose(3, 2, 0, 1)  # from (kh, kw, I, O)
        else:
            renamed[f"conv{number}.{part}"] = array
    return {"weights": _safetensors_bytes(renamed)}


def _convert_squeezenet(members: Files) -> Files:
    """SqueezeNet's features: `conv1.weight (O, I, kh, kw)`, `conv1.bias (O)`, `fire2.squeeze.weight`, ..."""
    (payload,) = members.values()
    with _unreadable():
        arrays = pickles.read_arrays(payload)
    renamed = {}
    for name, array in sorted(arrays.items()):
        layer, _, part = name.rpartition(".")
        if layer == "conv10":
            continue
        key = layer.replace("/squeeze1x1", ".squeeze").replace("/", ".")
        if part == "0":
            renamed[f"{key}.weight"] = array.transpose(3, 2, 0, 1)  # from (kh, kw, I, O)
        else:
            renamed[f"{key}.bias"] = array.reshape(-1)
    return {"weights": _safetensors_bytes(renamed)}


def _convert_efficientnet(members: Files) -> Files:
    """EfficientNet-Lite's stem and its blocks 0 to 10, as the checkpoint names them; normalisations stay apart."""
    (payload,) = members.values()
    blocks = tuple(f"_blocks.{index}." for index in range(_LITE_BLOCKS))
    kept = {
        name: tensor
        for name, tensor in sorted(_state_dict(payload).items())
        if name.startswith(("_conv_stem.", "_bn0.", *blocks)) and not name.endswith("num_batches_tracked")
    }
    return {"weights": _safetensors_bytes(kept)}


def _convert_musicnn(members: Files) -> Files:
    """Tensors of musicnn, named as published; what served only training (Adam's) is left out."""
    parts = {PurePosixPath(name).name: payload for name, payload in members.items()}
    with _unreadable():
        tensors = bundles.read_bundle(parts[".index"], parts[".data-00000-of-00001"])
    kept = {name: tensor for name, tensor in sorted(tensors.items()) if "Adam" not in name and "_power" not in name}
    return {"weights": _safetensors_bytes(kept)}


def _convert_inception(members: Files) -> Files:
    """Inception-v3 as the archive names it, such as `mixed_4.tower.conv_1.weight`; `beta`, `mean` and `var` beside."""
    (payload,) = members.values()
    with _unreadable():
        arrays = pickles.read_torchscript(payload)
    renamed = {name.removeprefix("net.layers."): array for name, array in arrays.items()}
    return {"weights": _safetensors_bytes(renamed)}


@contextmanager
def _unreadable() -> Iterator[None]:
    """Turn what a reader raises into an AssetError: whatever it is, this is another file than was declared."""
    try:
        yield
    except Exception as error:
        raise AssetError(
            f"the checkpoint cannot be read ({type(error).__name__}: {one_line(error)})",
            "the declaration does not fit the package; please report it",
        ) from error


def _safetensors_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The safetensors format, float32, in the order given.

    Written here because the result is pinned to the byte, and a library may lay out its header anew in any release.
    """
    header: dict[str, Any] = {}
    body = bytearray()
    for name, tensor in tensors.items():
        payload = tensor.astype("<f4").tobytes()  # in C's order, whatever its own
        span = [len(body), len(body) + len(payload)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": span}
        body += payload
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # the format aligns the data
    return len(encoded).to_bytes(8, "little") + encoded + body


def _convert_museum(members: Files) -> Files:
    """The Met's records cut down to what is shown and searched, and the pictures as they are."""
    pictures = _base_names(members)
    records = json.loads(pictures.pop("objects.json"))["objects"]
    rows = [_museum_row(record) for record in records if record["isPublicDomain"]]
    rows = [row for row in rows if row["file"] in pictures]
    index = json.dumps(sorted(rows, key=lambda row: row["file"]), indent=1, ensure_ascii=False).encode()
    return {"index.json": index, **{row["file"]: pictures[row["file"]] for row in rows}}


def _museum_row(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"museum:{record['objectID']}",
        "title": record["title"],
        "artist": record["artistDisplayName"],
        "date": record["objectDate"],
        "medium": record["medium"],
        "culture": record["culture"],
        "tags": [tag["term"] for tag in record["tags"] or ()],
        "licence": "public domain (CC0)",
        "file": f"{record['objectID']}.jpg",
    }


def _convert_spot(members: Files) -> Files:
    """The triangles, with the texture that the author's README gives them named in an MTL file, and the README."""
    files = {PurePosixPath(name).name: payload for name, payload in members.items()}
    return {
        "spot.obj": b"mtllib spot.mtl\nusemtl spot\n" + files["spot_triangulated.obj"],
        "spot.mtl": b"newmtl spot\nKd 1 1 1\nmap_Kd spot_texture.png\n",
        "spot_texture.png": files["spot_texture.png"],
        "README.txt": files["README.txt"],
    }


def _base_names(members: Files) -> dict[str, bytes]:
    """Files as they are, without their folders."""
    return {PurePosixPath(name).name: payload for name, payload in members.items()}


CONVERTERS: Mapping[str, Callable[[Files], Files]] = {
    "vgg19-normalised": _convert_vgg19,
    "adain-decoder": _convert_decoder,
    "microast": _convert_microast,
    "mobile-sam": _convert_mobile_sam,
    "state-dict": _convert_state_dict,
    "wct-small": _convert_wct_small,
    "lpips": _convert_lpips,
    "squeezenet": _convert_squeezenet,
    "efficientnet-lite": _convert_efficientnet,
    "inception-fid": _convert_inception,
    "musicnn": _convert_musicnn,
    "museum": _convert_museum,
    "spot": _convert_spot,
    "pictures": _base_names,
    "copy": _base_names,
}


def manifest_bytes(files: Files) -> bytes:
    """The manifest of a folder that holds these files."""
    listed = {
        name: {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()} for name, payload in files.items()
    }
    return json.dumps(listed, indent=1, sort_keys=True).encode()
