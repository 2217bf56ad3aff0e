"""Files like those of NVIDIA's and of rosinality's programs, written here from a network of ours.

None of the published files can be had in tests. These have their structure: the same names of modules and functions in
the pickle, the same reductions, the same names and axes of tensors.
"""

import io
import math
import pickle
import sys
import types
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch

from impasto.models.stylegan import Discriminator, Generator, StyleGanSpec
from impasto.models.stylegan3 import AliasFreeGenerator, StyleGan3Spec

SPEC = StyleGanSpec(16, (8, 8, 8), latent=12, depth=3)
SOURCE = "raise RuntimeError('the source text was executed')"


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def networks(spec=SPEC):
    generator, discriminator = Generator(spec, seeded(1)), Discriminator(spec, seeded(2))
    generator.mapping.w_avg.copy_(torch.rand(spec.latent, generator=seeded(3)))
    with torch.no_grad():
        for name, one in [*generator.named_parameters(), *discriminator.named_parameters()]:
            if name.endswith(("bias", "strength")):
                one.add_(torch.rand(one.shape, generator=seeded(len(name))) / 10)
    return generator, discriminator


class _Named:
    """Modules that exist while a pickle is written: it then names their functions and classes."""

    def __init__(self, **names):
        self._names = names

    def __enter__(self):
        self._before = {name: sys.modules.get(name) for name in self._names}
        for name, members in self._names.items():
            module = types.ModuleType(name)
            for member, value in members.items():
                value.__module__, value.__qualname__ = name, member
                setattr(module, member, value)
            sys.modules[name] = module

    def __exit__(self, *_):
        for name, before in self._before.items():
            del sys.modules[name]
            if before is not None:
                sys.modules[name] = before


def _reconstruct_persistent_obj(meta):
    raise AssertionError("only named, never called")


class EasyDict(dict):
    pass


class Persistent:
    """Pickles as torch_utils.persistence has it: a dict with the source text and the state."""

    def __init__(self, name, state):
        self.name, self.state = name, state

    def __reduce__(self):
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.name, "state": self.state}
        return _reconstruct_persistent_obj, (meta,)


def persistent(module, name="Module", **settings):
    """A module of ours as the persistent object of theirs."""
    children = {key: persistent(one, type(one).__name__) for key, one in module.named_children()}
    state = {
        "training": True,
        "_parameters": OrderedDict(
            (key, torch.nn.Parameter(one.detach().clone())) for key, one in module.named_parameters(recurse=False)
        ),
        "_buffers": OrderedDict(module.named_buffers(recurse=False)) | {"resample_filter": torch.ones(4, 4) / 16},
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_modules": OrderedDict(children),
        "weight_gain": 1 / np.sqrt(12),
        "conv_clamp": 256,
        "bias_gain": getattr(module, "_rate", 1),
        **settings,
    }
    return Persistent(name, state)


def nvidia(generator, discriminator=None, *, protocol=3, **more):
    """A network-snapshot.pkl of StyleGAN2-ADA."""
    return pickled(
        {
            "G": None,
            "D": None if discriminator is None else persistent(discriminator, "Discriminator"),
            "G_ema": persistent(generator, "Generator", z_dim=12, c_dim=0, w_dim=12),
            "augment_pipe": None,
            "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", resolution=16),
            **more,
        },
        protocol=protocol,
    )


def alias_free(config):
    """A small StyleGAN3 of configuration T or R."""
    spec = replace(StyleGan3Spec.published(16, config, base=32, most=8 if config == "T" else 4), latent=12)
    network = AliasFreeGenerator(spec, seeded(4))
    with torch.no_grad():
        network.mapping.w_avg.copy_(torch.rand(12, generator=seeded(3)))
        for name, one in network.named_buffers():
            if name.endswith("magnitude_ema"):
                one.fill_(1.5)
    return network


def nvidia3(network, **more):
    """A network-snapshot.pkl of StyleGAN3: settings are NumPy's numbers and arrays."""
    whole = persistent(network, "Generator", z_dim=12, c_dim=0, w_dim=12, img_resolution=16)
    synthesis = whole.state["_modules"]["synthesis"].state
    del synthesis["_buffers"]["resample_filter"]
    synthesis |= {"layer_names": [*network.spec.names], "num_layers": 14, "num_critical": 2, "margin_size": 10}
    for name, one in synthesis["_modules"].items():
        one.state |= {"in_size": np.broadcast_to(np.asarray(36), [2]), "in_cutoff": np.float64(2), "padding": [9, 10]}
        one.state |= {
            "use_fp16": np.bool_(name != "input"),
            "is_torgb": name.startswith("L14"),
            "up_factor": np.int64(2),
        }
        one.state["_buffers"].pop("resample_filter")
    return pickled({"G": None, "D": None, "G_ema": whole, "training_set_kwargs": EasyDict(resolution=16), **more})


def pickled(value, *, protocol=3):
    names = {
        "torch_utils.persistence": {"_reconstruct_persistent_obj": _reconstruct_persistent_obj},
        "dnnlib.util": {"EasyDict": EasyDict},
        "torch_utils": {},
        "dnnlib": {},
    }
    with _Named(**names):
        return pickle.dumps(value, protocol=protocol)


class Network:
    """Pickles as a network of dnnlib.tflib."""

    def __init__(self, variables, components=()):
        self.state = {
            "version": 4,
            "name": "G",
            "static_kwargs": {"fmap_base": 16},
            "components": dict(components),
            "build_module_src": SOURCE,
            "build_func_name": "G_main",
            "variables": variables,
        }

    def __getstate__(self):
        return self.state


def tensorflow(generator):
    """A stylegan2-*.pkl of the first StyleGAN2: three networks, arrays with TensorFlow's axes."""
    tensors = {name: one.numpy() for name, one in generator.state_dict().items()}
    mapping = [
        (f"Dense{i}/{part}", tensors[f"mapping.fc{i}.{part}"].T) for i in range(3) for part in ("weight", "bias")
    ]
    synthesis = [("4x4/Const/const", tensors["synthesis.b4.const"][None])]
    for number, (ours, theirs) in enumerate(
        [("b4.conv1", "4x4/Conv")]
        + [(f"b{r}.conv{i}", f"{r}x{r}/{name}") for r in (8, 16) for i, name in enumerate(("Conv0_up", "Conv1"))]
    ):
        own = {
            name.removeprefix(f"synthesis.{ours}."): one
            for name, one in tensors.items()
            if f"synthesis.{ours}." in name
        }
        kernel = own["weight"].transpose(2, 3, 1, 0)
        synthesis += [
            (f"{theirs}/weight", kernel[::-1, ::-1] if "up" in theirs else kernel),
            (f"{theirs}/bias", own["bias"]),
            (f"{theirs}/noise_strength", own["noise_strength"]),
            (f"{theirs}/mod_weight", own["affine.weight"].T),
            (f"{theirs}/mod_bias", own["affine.bias"] - 1),
            (f"noise{number}", own["noise_const"][None, None]),
        ]
    for r in (4, 8, 16):
        own = f"synthesis.b{r}.torgb."
        synthesis += [
            (f"{r}x{r}/ToRGB/weight", tensors[f"{own}weight"].transpose(2, 3, 1, 0)),
            (f"{r}x{r}/ToRGB/bias", tensors[f"{own}bias"]),
            (f"{r}x{r}/ToRGB/mod_weight", tensors[f"{own}affine.weight"].T),
            (f"{r}x{r}/ToRGB/mod_bias", tensors[f"{own}affine.bias"] - 1),
        ]
    top = [("dlatent_avg", tensors["mapping.w_avg"]), ("lod", np.float32(0))]
    with _Named(**{"dnnlib.tflib.network": {"Network": Network}, "dnnlib": {}, "dnnlib.tflib": {}}):
        whole = Network(top, {"mapping": Network(mapping), "synthesis": Network(synthesis)})
        return pickle.dumps((Network([]), Network([]), whole), protocol=4)


def rosinality(generator, discriminator=None, *, average=True):
    """A checkpoint of rosinality's stylegan2-pytorch."""
    tensors, spec = generator.state_dict(), generator.spec
    state = {"input.input": tensors["synthesis.b4.const"][None], "to_rgbs.0.upsample.kernel": torch.ones(4, 4)}
    for i in range(spec.depth):
        for part in ("weight", "bias"):
            state[f"style.{i + 1}.{part}"] = tensors[f"mapping.fc{i}.{part}"]
    styled = {"b4.conv1": "conv1"}
    styled |= {f"b{4 << (n // 2 + 1)}.conv{n % 2}": f"convs.{n}" for n in range(2 * len(spec.sides) - 2)}
    for number, (ours, theirs) in enumerate(styled.items()):
        own = f"synthesis.{ours}."
        state |= {
            f"{theirs}.conv.weight": tensors[f"{own}weight"][None],
            f"{theirs}.conv.modulation.weight": tensors[f"{own}affine.weight"],
            f"{theirs}.conv.modulation.bias": tensors[f"{own}affine.bias"],
            f"{theirs}.conv.blur.kernel": torch.ones(4, 4),
            f"{theirs}.noise.weight": tensors[f"{own}noise_strength"][None],
            f"{theirs}.activate.bias": tensors[f"{own}bias"],
            f"noises.noise_{number}": tensors[f"{own}noise_const"][None, None],
        }
    for number, side in enumerate(spec.sides):
        own, theirs = f"synthesis.b{side}.torgb.", "to_rgb1" if number == 0 else f"to_rgbs.{number - 1}"
        state |= {
            f"{theirs}.conv.weight": tensors[f"{own}weight"][None],
            f"{theirs}.conv.modulation.weight": tensors[f"{own}affine.weight"],
            f"{theirs}.conv.modulation.bias": tensors[f"{own}affine.bias"],
            f"{theirs}.bias": tensors[f"{own}bias"].view(1, 3, 1, 1),
        }
    stored = {"g_ema": state}
    if average:
        stored["latent_avg"] = tensors["mapping.w_avg"]
    if discriminator is not None:
        stored["d"] = _rosinality_discriminator(discriminator)
    file = io.BytesIO()
    torch.save(stored, file)
    return file.getvalue()


def _rosinality_discriminator(discriminator):
    tensors, size = discriminator.state_dict(), discriminator.spec.size
    state = {"convs.0.0.weight": tensors[f"b{size}.fromrgb.weight"], "convs.0.1.bias": tensors[f"b{size}.fromrgb.bias"]}
    for number in range(1, int(math.log2(size)) - 1):
        own = f"b{size >> (number - 1)}."
        state |= {
            f"convs.{number}.conv1.0.weight": tensors[f"{own}conv0.weight"],
            f"convs.{number}.conv1.1.bias": tensors[f"{own}conv0.bias"],
            f"convs.{number}.conv2.0.kernel": torch.ones(4, 4),
            f"convs.{number}.conv2.1.weight": tensors[f"{own}conv1.weight"],
            f"convs.{number}.conv2.2.bias": tensors[f"{own}conv1.bias"],
            f"convs.{number}.skip.1.weight": tensors[f"{own}skip.weight"],
        }
    names = {"final_conv.0.weight": "conv.weight", "final_conv.1.bias": "conv.bias"}
    names |= {"final_linear.0.weight": "fc.weight", "final_linear.0.bias": "fc.bias"}
    names |= {"final_linear.1.weight": "out.weight", "final_linear.1.bias": "out.bias"}
    return state | {theirs: tensors[f"b4.{ours}"] for theirs, ours in names.items()}
