"""Files of StyleGAN2 and 3 networks: ours, NVIDIA's pickles, and the checkpoints of rosinality's implementation.

NVIDIA's files are pickles that carry the source text of their classes, which their own loader executes. Here they are
read by an allow-list (see `ops.pickles`): tensors and settings come out, the text is dropped unread. A network is then
told by its tensors. Files of the first StyleGAN2, in TensorFlow, hold the same under other names and axes.
"""

from __future__ import annotations

import pickle  # its error alone
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from impasto.errors import InputError, plain
from impasto.files import refuse_address
from impasto.models import checkpoint
from impasto.models.catalog import CHECKPOINTS
from impasto.models.stylegan import SIZES, Discriminator, Generator, StyleGanSpec, sides_to
from impasto.models.stylegan3 import LEAST_SIZE, AliasFreeGenerator, StyleGan3Spec
from impasto.ops import pickles
from impasto.ops.pickles import Record

KIND = "stylegan"
HINT = "give a network of impasto gan train, NVIDIA's .pkl of StyleGAN2, 2-ADA or 3, or rosinality's .pt"

_LARGEST = 2 << 30  # bytes of a file
_DEEPEST = 32  # dense layers of a mapping
_AVERAGED = 4096  # z whose mean w stands for the average where a file lacks it

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class StyleGan:
    """A generator with, perhaps, its discriminator, as a file holds them.

    Attributes:
        spec: their shape.
        generator: tensors by the names of `stylegan.Generator`.
        discriminator: by those of `stylegan.Discriminator`; None where the file holds none.
        about: what the file says of itself.
    """

    spec: StyleGanSpec | StyleGan3Spec
    generator: Mapping[str, Tensor]
    discriminator: Mapping[str, Tensor] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Generator | AliasFreeGenerator:
        """The generator, in float32. Raises InputError where tensors do not fit together."""
        if isinstance(self.spec, StyleGan3Spec):
            return _loaded(AliasFreeGenerator(self.spec, _random()), self.generator)
        return _loaded(Generator(self.spec, _random()), self.generator)

    def build_trainable(self, random: torch.Generator) -> tuple[Generator, Discriminator]:
        """Both networks, the discriminator a new one where the file holds none. Raises InputError for a StyleGAN3."""
        if isinstance(self.spec, StyleGan3Spec):
            raise InputError("a StyleGAN3 can paint, but Impasto cannot adapt it", "adapt from a StyleGAN2")
        discriminator = Discriminator(self.spec, random)
        if self.discriminator is not None:
            discriminator = _loaded(discriminator, self.discriminator)
        return _loaded(Generator(self.spec, _random()), self.generator), discriminator

    def save(self, path: Path) -> None:
        """Write a safetensors file, in half precision. Raises as `files.write_whole`."""
        tensors = {f"generator.{name}": tensor for name, tensor in self.generator.items()}
        tensors |= {f"discriminator.{name}": tensor for name, tensor in (self.discriminator or {}).items()}
        checkpoint.write(path, tensors, {**self.about, "kind": KIND, "spec": asdict(self.spec)})


def read(path: Path) -> StyleGan:
    """The networks of a file. Nothing in it is executed.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    refuse_address(str(path))
    if not path.is_file():
        raise InputError(f"there is no network {path}", HINT)
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path} has {path.stat().st_size >> 20} MB, more than any StyleGAN2", HINT)
    if path.suffix == ".pkl":
        found = _of_pickle(path)
    elif path.suffix in CHECKPOINTS:
        found = _of_checkpoint(path)
    else:
        found = _own(path)
    tensors = [*found.generator.values(), *(found.discriminator or {}).values()]
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        raise InputError(f"{path} holds numbers that are not finite", HINT)
    found.build()
    return found


def _own(path: Path) -> StyleGan:
    tensors, about = checkpoint.read(path, hint=HINT)
    parts: dict[str, dict[str, Tensor]] = {"generator": {}, "discriminator": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor.float()
    if about.get("kind") != KIND:
        raise InputError(f"{path} holds no StyleGAN", HINT)
    try:
        spec = StyleGanSpec(**{**about["spec"], "widths": tuple(about["spec"]["widths"])})
        told = _trained_so(_spec(parts["generator"], path), spec.rate, spec.clamp)
        return StyleGan(told, parts["generator"], parts["discriminator"] or None, about)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path} does not say which shape its network has", HINT) from error


# --- NVIDIA's ---------------------------------------------------------------------------------------------------------


def _of_pickle(path: Path) -> StyleGan:
    try:
        stored = pickles.read_records(path.read_bytes())
    except (OSError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} cannot be read as StyleGAN's pickle: {plain(error)[:200]}", HINT) from error
    try:
        return _of_records(stored, path)
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} is damaged: its parts are not what they are named", HINT) from error


def _of_records(stored: Any, path: Path) -> StyleGan:
    if isinstance(stored, list) and len(stored) == 3 and all(isinstance(one, Record) for one in stored):
        return _of_tensorflow(stored[2], path)
    network = stored.get("G_ema") if isinstance(stored, dict) else None
    if not isinstance(network, Record):
        raise InputError(f"{path} holds no StyleGAN", HINT)
    tensors = dict(_tensors(network))
    if any(name.startswith("synthesis.input.") for name in tensors):
        return _of_alias_free(network, tensors, path)
    spec = _spec(tensors, path)
    rate = _part(network, "mapping", "fc0").get("bias_gain", spec.rate)
    clamp = _part(network, "synthesis", f"b{spec.size}", "conv1").get("conv_clamp")
    spec, judge = _trained_so(spec, rate, clamp), stored.get("D")
    return StyleGan(spec, tensors, _fitting(dict(_tensors(judge)), spec) if isinstance(judge, Record) else None)


def _of_alias_free(network: Record, tensors: Mapping[str, Tensor], path: Path) -> StyleGan:
    """A StyleGAN3. The filters of the file are used, where they have the lengths that its layers ask for."""
    layer = re.compile(r"synthesis\.(L(\d+)_(\d+)_\d+)\.weight")
    found = sorted((int(match[2]), int(match[3]), match[1]) for name in tensors if (match := layer.fullmatch(name)))
    kernels = [tensors[f"synthesis.{name}.weight"] for _, _, name in found]
    widths = tuple(len(one) for one in kernels)
    size, latent = found[-1][1] if found else 0, len(tensors["mapping.fc0.weight"])
    depth = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in tensors)
    fits = len(found) > 4 and size in SIZES and size >= LEAST_SIZE and widths[-1] == 3 and depth <= _DEEPEST
    fits = fits and tensors["synthesis.input.weight"].shape == (widths[0], widths[0])
    pairs = zip(kernels, (widths[0], *widths), strict=False)
    fits = fits and all(one.dim() == 4 and one.shape[1] == before for one, before in pairs)
    if not fits or tensors["mapping.fc0.weight"].shape != (latent, latent):
        raise InputError(f"{path} holds no StyleGAN3 of {LEAST_SIZE} to {SIZES[-1]} px", HINT)
    if "mapping.embed.weight" in tensors:
        raise InputError(f"{path} makes pictures by labels, which Impasto does not take", HINT)
    radial = any(name.endswith(".down_filter") and one.dim() == 2 for name, one in tensors.items())
    rate = float(_part(network, "mapping", "fc0").get("bias_gain", 0.01))
    clamp = _part(network, "synthesis", found[0][2]).get("conv_clamp")
    kernel = kernels[0].shape[2]
    if not 0 < rate <= 1 or not (clamp is None or float(clamp) > 0) or kernel not in (1, 3):
        raise ValueError(rate, clamp, kernel)
    spec = StyleGan3Spec(size, widths[:-1], latent, depth, rate, clamp and float(clamp), kernel, radial)
    if spec.names != tuple(name for _, _, name in found):
        raise InputError(f"{path} has other layers than the published StyleGAN3", HINT)
    return StyleGan(spec, tensors)


def _tensors(record: Record, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of a module and of those in it, by dotted name."""
    for group in ("_parameters", "_buffers"):
        for name, array in _dict(record.parts.get(group)).items():
            if isinstance(array, np.ndarray):
                yield f"{prefix}{name}", torch.from_numpy(array.astype(np.float32))
    for name, part in _dict(record.parts.get("_modules")).items():
        if isinstance(part, Record):
            yield from _tensors(part, f"{prefix}{name}.")


def _part(record: Record, *names: str) -> Mapping[str, Any]:
    """What a module inside says of itself."""
    found: Any = record
    for name in names:
        found = _dict(found.parts.get("_modules")).get(name) if isinstance(found, Record) else None
    return found.parts if isinstance(found, Record) else {}


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _spec(tensors: Mapping[str, Tensor], path: Path) -> StyleGanSpec:
    """The shape of a network, told by its tensors. A small file cannot ask for a large one: its squares are there."""
    convolution, dense = re.compile(r"synthesis\.b(\d+)\.conv1\.weight"), re.compile(r"mapping\.fc(\d+)\.weight")
    kernels = {int(match[1]): one for name, one in tensors.items() if (match := convolution.fullmatch(name))}
    layers = {int(match[1]): one for name, one in tensors.items() if (match := dense.fullmatch(name))}
    sides, latent = tuple(sorted(kernels)), len(layers[0]) if 0 in layers else 0
    fits = bool(sides) and sides[-1] in SIZES and sides == sides_to(sides[-1])
    fits = fits and sorted(layers) == [*range(len(layers))] and len(layers) <= _DEEPEST
    fits = fits and all(one.shape == (len(one), len(one), 3, 3) for one in kernels.values())
    if not fits or any(one.shape != (latent, latent) for one in layers.values()):
        raise InputError(f"{path} holds no StyleGAN2 of {SIZES[0]} to {SIZES[-1]} px", HINT)
    if "mapping.embed.weight" in tensors:
        raise InputError(f"{path} makes pictures by labels, which Impasto does not take", HINT)
    return StyleGanSpec(sides[-1], tuple(len(kernels[side]) for side in sides), latent, len(layers))


def _trained_so(spec: StyleGanSpec, rate: Any, clamp: Any) -> StyleGanSpec:
    """With settings that tensors do not tell. Raises TypeError or ValueError where they are no such numbers."""
    if not 0 < float(rate) <= 1 or not (clamp is None or float(clamp) > 0):
        raise ValueError(rate, clamp)
    return replace(spec, rate=float(rate), clamp=None if clamp is None else float(clamp))


def _fitting(tensors: dict[str, Tensor], spec: StyleGanSpec) -> dict[str, Tensor] | None:
    """A discriminator's tensors; None where it is of another architecture."""
    wanted = Discriminator(spec, _random()).state_dict()
    fits = all(name in tensors and tensors[name].shape == one.shape for name, one in wanted.items())
    return tensors if fits else None


_TensorflowNames = dict[str, tuple[str, Callable[[Any], Any]]]


def _turned(array: Any) -> Any:
    return array.T


def _kernel(array: Any) -> Any:
    return array.transpose(3, 2, 0, 1)


def _of_tensorflow(network: Record, path: Path) -> StyleGan:
    arrays = dict(_variables(network))
    tensors = {}
    for name, (theirs, change) in _tensorflow_names(arrays).items():
        if not isinstance(arrays.get(theirs), np.ndarray | float):
            raise InputError(f"{path} holds no StyleGAN2: it lacks {theirs}", HINT)
        tensors[name] = torch.from_numpy(np.array(change(arrays[theirs]), dtype=np.float32))
    return StyleGan(_spec(tensors, path), tensors)


def _variables(network: Record, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pair in network.parts.get("variables") or ():
        yield f"{prefix}{pair[0]}", pair[1]
    for name, part in _dict(network.parts.get("components")).items():
        if isinstance(part, Record):
            yield from _variables(part, f"{prefix}{name}/")


def _tensorflow_names(arrays: Mapping[str, Any]) -> _TensorflowNames:
    """Which of its variables each of our tensors is, and how its axes turn."""
    names: _TensorflowNames = {"mapping.w_avg": ("dlatent_avg", np.asarray)}
    for number in sorted(
        int(match[1]) for name in arrays if (match := re.fullmatch(r"mapping/Dense(\d+)/weight", name))
    ):
        names[f"mapping.fc{number}.weight"] = (f"mapping/Dense{number}/weight", _turned)
        names[f"mapping.fc{number}.bias"] = (f"mapping/Dense{number}/bias", np.asarray)
    names["synthesis.b4.const"] = ("synthesis/4x4/Const/const", lambda array: array[0])
    names |= _styled_names("synthesis.b4.conv1", "synthesis/4x4/Conv", 0)
    names |= _rgb_names(4)
    sides = sorted(
        int(match[1]) for name in arrays if (match := re.match(r"synthesis/(\d+)x\d+/Conv0_up/weight", name))
    )
    for place, side in enumerate(sides):
        names |= _styled_names(f"synthesis.b{side}.conv0", f"synthesis/{side}x{side}/Conv0_up", 2 * place + 1, up=True)
        names |= _styled_names(f"synthesis.b{side}.conv1", f"synthesis/{side}x{side}/Conv1", 2 * place + 2)
        names |= _rgb_names(side)
    return names


def _styled_names(ours: str, theirs: str, noise: int, *, up: bool = False) -> _TensorflowNames:
    return {
        # where TensorFlow doubles, it convolves with the weights turned round
        f"{ours}.weight": (f"{theirs}/weight", (lambda array: _kernel(array[::-1, ::-1])) if up else _kernel),
        f"{ours}.bias": (f"{theirs}/bias", np.asarray),
        f"{ours}.noise_strength": (f"{theirs}/noise_strength", np.asarray),
        f"{ours}.noise_const": (f"synthesis/noise{noise}", lambda array: array[0, 0]),
        f"{ours}.affine.weight": (f"{theirs}/mod_weight", _turned),
        f"{ours}.affine.bias": (f"{theirs}/mod_bias", lambda array: array + 1),
    }


def _rgb_names(side: int) -> _TensorflowNames:
    ours, theirs = f"synthesis.b{side}.torgb", f"synthesis/{side}x{side}/ToRGB"
    return {
        f"{ours}.weight": (f"{theirs}/weight", _kernel),
        f"{ours}.bias": (f"{theirs}/bias", np.asarray),
        f"{ours}.affine.weight": (f"{theirs}/mod_weight", _turned),
        f"{ours}.affine.bias": (f"{theirs}/mod_bias", lambda array: array + 1),
    }


# --- rosinality's -----------------------------------------------------------------------------------------------------

_GENERATOR_PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}
_DISCRIMINATOR_PARTS = {
    "conv1.0.weight": "conv0.weight",
    "conv1.1.bias": "conv0.bias",
    "conv2.1.weight": "conv1.weight",
    "conv2.2.bias": "conv1.bias",
    "skip.1.weight": "skip.weight",
}
_DISCRIMINATOR_END = {
    "final_conv.0.weight": "b4.conv.weight",
    "final_conv.1.bias": "b4.conv.bias",
    "final_linear.0.weight": "b4.fc.weight",
    "final_linear.0.bias": "b4.fc.bias",
    "final_linear.1.weight": "b4.out.weight",
    "final_linear.1.bias": "b4.out.bias",
}


def _of_checkpoint(path: Path) -> StyleGan:
    stored = checkpoint.unpickled(path, HINT, largest=_LARGEST)
    if not isinstance(stored, Mapping) or not _is_state(stored.get("g_ema")):
        raise InputError(f"{path} holds no generator by the name g_ema", HINT)
    tensors = {ours: one for name, one in stored["g_ema"].items() if (ours := _generator_name(name)) is not None}
    tensors = {name: _reshaped(name, one.float()) for name, one in tensors.items()}
    spec = _spec(tensors, path)
    average = stored.get("latent_avg")
    if isinstance(average, Tensor):
        tensors["mapping.w_avg"] = average.float().flatten()
    else:
        tensors["mapping.w_avg"] = torch.zeros(spec.latent)
        tensors["mapping.w_avg"] = _mean_w(_loaded(Generator(spec, _random()), tensors))
    judge = _discriminator(stored["d"], spec) if _is_state(stored.get("d")) else None
    return StyleGan(spec, tensors, judge)


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(one, Tensor) for one in value.values())


def _generator_name(name: str) -> str | None:
    """Our name of a tensor of rosinality's; None for what is not kept, such as filters."""
    if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d+)", name):
        return f"synthesis.{_layer(int(match[1]) - 1)}.noise_const"
    if name == "input.input":
        return "synthesis.b4.const"
    match = re.fullmatch(r"(conv1|to_rgb1|convs\.\d+|to_rgbs\.\d+)\.(.+)", name)
    part = _GENERATOR_PARTS.get(match[2]) if match else None
    if match is None or part is None:
        return None
    kind, _, number = match[1].partition(".")
    if kind in ("to_rgb1", "to_rgbs"):
        return f"synthesis.b{4 if not number else 8 << int(number)}.torgb.{part}"
    return f"synthesis.{_layer(int(number) if number else -1)}.{part}"


def _layer(number: int) -> str:
    """Of the convolutions after the first, which has -1."""
    return "b4.conv1" if number < 0 else f"b{8 << number // 2}.conv{number % 2}"


def _reshaped(name: str, tensor: Tensor) -> Tensor:
    """Without the axes of length 1 that it begins with there."""
    axes = {"weight": 2 if ".affine." in name or name.startswith("mapping") else 4, "noise_const": 2, "const": 3}
    wanted = axes.get(name.rpartition(".")[2], 0 if name.endswith("strength") else 1)
    while tensor.dim() > wanted and 1 in (tensor.shape[0], tensor.shape[-1]):
        tensor = tensor[0] if tensor.shape[0] == 1 else tensor[..., 0]
    return tensor


def _discriminator(stored: Mapping[str, Tensor], spec: StyleGanSpec) -> dict[str, Tensor] | None:
    tensors = {}
    for name, tensor in stored.items():
        match = re.fullmatch(r"convs\.(\d+)\.(.+)", name)
        if name in _DISCRIMINATOR_END:
            tensors[_DISCRIMINATOR_END[name]] = tensor.float()
        elif match and match[1] == "0":
            part = {"0.weight": "weight", "1.bias": "bias"}.get(match[2], "")
            tensors[f"b{spec.size}.fromrgb.{part}"] = tensor.float()
        elif match and match[2] in _DISCRIMINATOR_PARTS:
            tensors[f"b{spec.size >> (int(match[1]) - 1)}.{_DISCRIMINATOR_PARTS[match[2]]}"] = tensor.float()
    return _fitting(tensors, spec)


@torch.no_grad()
def _mean_w(network: Generator) -> Tensor:
    z = torch.randn(_AVERAGED, network.spec.latent, generator=_random())
    return torch.as_tensor(network.mapping(z).mean(0))


def _loaded(network: N, tensors: Mapping[str, Tensor]) -> N:
    wanted = network.state_dict()
    wrong = [name for name, one in wanted.items() if name not in tensors or tensors[name].shape != one.shape]
    if wrong:
        raise InputError(f"the network's tensor {wrong[0]} is missing, or of another shape", HINT)
    network.load_state_dict({name: tensors[name] for name in wanted})
    return network


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(0)
