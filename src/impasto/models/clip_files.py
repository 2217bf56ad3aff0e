"""Finds and reads CLIP's checkpoints: OpenAI's and open_clip's state dicts, transformers' folders, and our own files.

All become tensors with OpenAI's names, beside the shape and the vocabulary in `ABOUT`; see `Clip.of_weights`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.errors import AssetError, InputError, MissingExtra, counted, plain, require
from impasto.models import checkpoint
from impasto.models.bpe import BytePairs, read_vocabulary
from impasto.models.clip import ABOUT, Clip, ClipSpec, TowerSpec, about_tensor

KIND = "clip"
"""What our own files say that they hold."""

SHIPPED = "shapes"
"""The name of the one that ships: it knows colours and patterns alone."""

FOLDER = "clip"
"""Folder of the cache with checkpoints by their names."""

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_HEAD_WIDTH = 64  # channels a head, in all of OpenAI's transformers
_OPENAI_ONLY = ("input_resolution", "context_length", "vocab_size")  # numbers that its state dicts hold beside weights
_NAMED = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
_LARGEST = 8 << 30  # bytes of a file
_HINT = "give a CLIP by OpenAI, open_clip or transformers, or a file of impasto train clip"


def resolve(name: str, cache: Path, *, offline: bool) -> Path:
    """The file or folder of a checkpoint: the shipped one, a user's, one in the cache, or one fetched into it.

    Args:
        name: `SHIPPED`, a path, the name of one in the cache, or a model of open_clip (`ViT-B-32`, or
            `ViT-B-32:laion2b_s34b_b79k`) or transformers (`openai/clip-vit-base-patch32`).
        cache: the cache folder.
        offline: do not reach out.

    Raises:
        AssetError: it is not there and cannot be had; says what to fetch and where to put it.
    """
    if name == SHIPPED:
        return Path(str(resources.files("impasto.assets") / "clip-shapes.safetensors"))
    if Path(name).exists():
        return Path(name)
    kept = _kept(name, cache)
    found = _in_cache(kept)
    if found is not None:
        return found
    target = kept.with_name(f"{kept.name}.safetensors")
    if offline or Path(name).suffix in _SUFFIXES or Path(name).is_absolute():
        raise _missing(name, kept)
    try:
        weights = _from_transformers(name) if "/" in name else _from_open_clip(name)
    except MissingExtra as error:
        raise _missing(name, kept) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    write(target, weights, {})
    return target


def is_here(name: str, cache: Path) -> bool:
    """Whether a name is the shipped one's, or that of a checkpoint in the cache: no path, and nothing to be fetched."""
    return name == SHIPPED or (re.fullmatch(r"[\w-]+", name) is not None and _in_cache(_kept(name, cache)) is not None)


def _kept(name: str, cache: Path) -> Path:
    """Where the cache keeps it, but for the suffix."""
    return cache / FOLDER / re.sub(r"[^\w.-]", "_", name.rsplit("/", 1)[-1])


def _in_cache(kept: Path) -> Path | None:
    places = (kept, *(kept.with_name(kept.name + suffix) for suffix in _SUFFIXES))
    return next((place for place in places if place.exists()), None)


def read(path: Path) -> dict[str, Tensor]:
    """The weights in a file or folder, float32, with `ABOUT`.

    Raises:
        InputError: it cannot be read, is no CLIP, or its vocabulary is missing.
    """
    if path.is_dir():
        return _from_folder(path)
    tensors, about = _state(path)
    if about.get("kind") == KIND:
        own = {name: tensor.float() for name, tensor in tensors.items()}
        return {**own, ABOUT: torch.frombuffer(bytearray(json.dumps(about[KIND]).encode()), dtype=torch.uint8)}
    return _with_vocabulary(tensors, path, _config(path.parent))


def write(path: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write weights with `ABOUT` as one file in half precision, whole or not at all."""
    own = {name: tensor for name, tensor in weights.items() if name != ABOUT}
    shape = json.loads(bytes(weights[ABOUT].tolist()).decode())
    checkpoint.write(path, own, {**about, "kind": KIND, KIND: shape})


def _missing(name: str, kept: Path) -> AssetError:
    shown = plain(name)
    if Path(name).suffix in _SUFFIXES or Path(name).is_absolute():
        return AssetError(f"there is no CLIP {shown}", "name a file or a folder that exists, or shapes")
    known = shown if "/" in shown else f"{shown} (for ViT-B-32 that is openai/clip-vit-base-patch32)"
    files = "config.json, model.safetensors, vocab.json and merges.txt"
    extra = 'or pip install "impasto[clip]" where there is a network, and it is fetched'
    return AssetError(f"the CLIP {shown} is not here", f"put {files} of {known} into the folder {kept}; {extra}")


def _from_folder(folder: Path) -> dict[str, Tensor]:
    """Of a folder as transformers or open_clip lay it out, or with a single file of weights."""
    found = [folder / name for name in _NAMED if (folder / name).is_file()]
    found = found or sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if not found:
        raise InputError(
            f"the folder {folder} holds no weights", f"put {_NAMED[0]} into it, or name another with --clip"
        )
    return _with_vocabulary(_state(found[0])[0], found[0], _config(folder))


def _state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and what one of our own files says of itself."""
    if path.suffix == ".safetensors":
        tensors, about = checkpoint.read(path, hint=_HINT)
        return tensors, about
    told = "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
    loaded = checkpoint.unpickled(path, f"of a TorchScript archive save the weights: {told}", largest=_LARGEST)
    inner = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    return {name: value for name, value in inner.items() if torch.is_tensor(value)}, {}


def _config(folder: Path) -> dict[str, Any]:
    """What config.json or open_clip_config.json of a folder says; nothing where there is none."""
    for name in ("config.json", "open_clip_config.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _with_vocabulary(tensors: Mapping[str, Tensor], path: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    if not any(name.removeprefix("module.").startswith(_TOWERS) for name in tensors):
        raise InputError(f"{path} is no CLIP: it has no visual.conv1.weight", _HINT)
    words = read_vocabulary(path.parent)
    if words is None:
        told = "put vocab.json and merges.txt, or bpe_simple_vocab_16e6.txt.gz, beside it"
        raise InputError(f"{path} is there, but no vocabulary", told)
    return _complete(tensors, words, config, str(path))


def _complete(
    tensors: Mapping[str, Tensor], words: BytePairs, config: Mapping[str, Any], path: str
) -> dict[str, Tensor]:
    """Tensors in OpenAI's names with `ABOUT`, checked against the network that they make up."""
    clean = {name.removeprefix("module."): tensor.float() for name, tensor in tensors.items()}
    openai = any(name in clean for name in _OPENAI_ONLY)
    own = _in_openai_names(clean)
    if "visual.layer1.0.conv1.weight" in own:
        raise InputError(f"{path} is a CLIP with a ResNet", "give one whose name begins with ViT, such as ViT-B-32")
    try:
        spec = _spec(own, config, quick=openai)
        with torch.device("meta"):
            wanted = {name: tuple(tensor.shape) for name, tensor in Clip(spec, words).state_dict().items()}
    except KeyError as error:
        raise InputError(f"{path} is no CLIP: it has no {error.args[0]}", _HINT) from error
    own.setdefault("logit_scale", torch.tensor(0.0))
    own["logit_scale"] = own["logit_scale"].reshape(())
    wrong = [name for name, shape in wanted.items() if name not in own or tuple(own[name].shape) != shape]
    if wrong:
        state = "of another shape" if wrong[0] in own else "missing"
        more = f" and {counted(len(wrong) - 1, 'tensor')} more" if len(wrong) > 1 else ""
        raise InputError(f"{path} is no CLIP that fits together: {wrong[0]}{more} {state}", _HINT)
    if len(words.vocabulary) > spec.vocabulary:
        told = f"the vocabulary beside {path} has {len(words.vocabulary)} pieces, the network {spec.vocabulary}"
        raise InputError(told, "take both from the same model")
    return {**{name: own[name].contiguous() for name in wanted}, ABOUT: about_tensor(spec, words)}


def _spec(own: Mapping[str, Tensor], config: Mapping[str, Any], *, quick: bool) -> ClipSpec:
    """The shape that tensors have; what they do not tell is taken from `config`. Raises KeyError for one that lacks."""
    width, _, _, patch = own["visual.conv1.weight"].shape
    grid = round((len(own["visual.positional_embedding"]) - 1) ** 0.5)
    context, text_width = own["positional_embedding"].shape
    own_model = config.get("model_cfg", {})
    image_config = config.get("vision_config") or own_model.get("vision_cfg") or {}
    text_config = config.get("text_config") or own_model.get("text_cfg") or {}
    image_heads = image_config.get("num_attention_heads") or width // image_config.get("head_width", _HEAD_WIDTH)
    text_heads = text_config.get("num_attention_heads") or text_config.get("heads") or text_width // _HEAD_WIDTH
    if config:
        named = image_config.get("hidden_act") or ("quick_gelu" if "vision_config" in config else "")
        quick = own_model.get("quick_gelu", False) if own_model else named == "quick_gelu"
    return ClipSpec(
        image=TowerSpec(width, _layers(own, "visual.transformer."), max(1, image_heads)),
        text=TowerSpec(text_width, _layers(own, "transformer."), max(1, text_heads)),
        resolution=grid * patch,
        patch=patch,
        context=context,
        vocabulary=len(own["token_embedding.weight"]),
        size=own["visual.proj"].shape[1],
        quick_gelu=quick,
    )


def _layers(own: Mapping[str, Tensor], prefix: str) -> int:
    found = {int(match[1]) for name in own if (match := re.match(rf"{prefix}resblocks\.(\d+)\.", name))}
    if not found:
        raise KeyError(f"{prefix}resblocks.0.attn.in_proj_weight")
    return max(found) + 1


_TOWERS = ("visual.", "vision_model.")
_RENAMED = (
    (r"^text\.", ""),  # of open_clip, where the text tower stands apart
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),  # spelt so
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"\.self_attn\.", ".attn."),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
_PROJECTIONS = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}


def _in_openai_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in _PROJECTIONS:
            own[_PROJECTIONS[name]] = tensor.T
            continue
        known = name
        for pattern, replacement in _RENAMED:
            known = re.sub(pattern, replacement, known)
        own[known] = tensor
    for name in [name for name in own if name.endswith(".attn.q_proj.weight")]:
        prefix = name.removesuffix("q_proj.weight")
        for kind in ("weight", "bias"):
            parts = [own.get(f"{prefix}{part}_proj.{kind}") for part in "qkv"]
            if all(part is not None for part in parts):
                own[f"{prefix}in_proj_{kind}"] = torch.cat([part for part in parts if part is not None])
    return own


def _from_transformers(name: str) -> dict[str, Tensor]:
    """A model of transformers by its name, fetched as transformers does it."""
    transformers: Any = require("transformers", "clip")
    model, tokenizer = _fetched(
        name, lambda: (transformers.CLIPModel.from_pretrained(name), transformers.CLIPTokenizer.from_pretrained(name))
    )
    table = tokenizer.get_vocab()
    config: dict[str, Any] = model.config.to_dict()
    words = BytePairs(sorted(table, key=table.__getitem__), _merges(tokenizer))
    return _complete(model.state_dict(), words, config, name)


def _merges(tokenizer: Any) -> list[tuple[str, str]]:
    """Of a tokenizer of transformers: its own table, or that of the library behind it."""
    ranks = getattr(tokenizer, "bpe_ranks", None)
    if ranks is not None:
        listed = sorted(ranks, key=ranks.__getitem__)
    else:
        listed = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    pairs = [pair.split() if isinstance(pair, str) else pair for pair in listed]
    return [(one, other) for one, other in pairs]


def _from_open_clip(name: str) -> dict[str, Tensor]:
    """A model of open_clip by its name, fetched as open_clip does it; OpenAI's weights where no others are named."""
    open_clip: Any = require("open_clip", "clip")
    architecture, _, pretrained = name.partition(":")
    tag = pretrained or "openai"
    model = _fetched(name, lambda: open_clip.create_model(architecture, pretrained=tag))
    words = read_vocabulary(Path(open_clip.__file__).parent)
    if words is None:
        raise InputError("open_clip is installed without its vocabulary", "install open_clip_torch again")
    config = {"model_cfg": dict(open_clip.get_model_config(architecture) or {})}
    config["model_cfg"]["quick_gelu"] = (
        config["model_cfg"].get("quick_gelu", False) or (pretrained or "openai") == "openai"
    )
    return _complete(model.state_dict(), words, config, name)


def _fetched(name: str, fetch: Callable[[], Any]) -> Any:
    try:
        return fetch()
    except Exception as error:  # each package has errors of its own
        told = plain(str(error).split("\n")[0])[:200]
        raise AssetError(
            f"the CLIP {plain(name)} cannot be fetched: {told}", "check the name and the network"
        ) from error
