"""What has a Keras form: methods, settings, layers. Found out before Keras is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from impasto.engine.controls import Controls
from impasto.engine.plan import stages_of
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.methods import recipes
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import VGG19, Convolution
from impasto.settings import close_names

METHODS = ("adain", "feedforward", "optimize")
"""Methods that have a Keras form."""

LAYERS: Mapping[str, str] = {
    block.layer.replace("relu", "block").replace("_", "_conv"): block.layer
    for block in VGG19.blocks
    if isinstance(block, Convolution)
}
"""Keras' name of each layer with ours, such as `block5_conv2`: `relu5_2`. Keras' convolutions include their ReLU."""

KERAS_LAYERS: Mapping[str, str] = {ours: theirs for theirs, ours in LAYERS.items()}
"""Our name of each layer with Keras'."""

_KNOBS: Mapping[str, tuple[Any, ...]] = {
    "style_loss": ("gram", "moments"),
    "content_loss": ("features",),
    "laplacian_weight": (0.0,),
    "canvas": ("pixels",),
    "border": ("mirror",),
    "encoder": ("vgg19",),
    "checkpointing": ("off",),
    "init": ("recolored", "content", "content+noise", "noise", "draft", "file"),
}
"""Values of settings that have a Keras form; all of those that are not named."""


def check(styles: Any, request: Request) -> tuple[recipes.Stage, ...]:
    """The methods of a job in order, with their settings.

    Raises:
        InputError: something cannot be had together, or has no Keras form.
    """
    stages = stages_of(styles, request)
    for stage in stages:
        if stage.method.name not in METHODS:
            able = " or ".join(METHODS)
            raise InputError(f"method {stage.method.name} has no Keras form", f"use {able}, or leave out --backend")
        if isinstance(stage.knobs, OptimizeKnobs):
            check_knobs(stage.knobs)
    plain, given = Controls(), request.controls
    changed = [one.name for one in fields(Controls) if getattr(given, one.name) != getattr(plain, one.name)]
    flags = [f"--{name.replace('_', '-').replace('regions', 'region')}" for name in changed]
    flags += ["--save-every"] if request.snapshots is not None else []
    if flags:
        raise InputError(f"{flags[0]} has no Keras form", "leave it out, or leave out --backend")
    return stages


def check_knobs(knobs: OptimizeKnobs) -> None:
    """Raise InputError for a setting that has no Keras form, or a layer that Keras' VGG-19 lacks."""
    for name, possible in _KNOBS.items():
        value, flag = getattr(knobs, name), f"--{name.replace('_', '-')}"
        if value not in possible:
            hint = f"use {flag} {' or '.join(map(str, possible))}, or leave out --backend"
            raise InputError(f"{flag} {value} has no Keras form", hint)
    for layer in (*knobs.style_layers, *knobs.content_layers):
        layer_name(layer)


def layer_name(name: str) -> str:
    """Our name of a layer that is called by either.

    Raises:
        InputError: there is no such layer.
    """
    if name in KERAS_LAYERS:
        return name
    if name in LAYERS:
        return LAYERS[name]
    if name.replace("conv", "relu") in KERAS_LAYERS:
        hint = f"use {KERAS_LAYERS[name.replace('conv', 'relu')]}, which is after it"
        raise InputError(f"layer {name} is before its ReLU, and Keras' VGG-19 has no such output", hint)
    raise InputError(f"Keras' VGG-19 has no layer {name!r}", close_names(name, [*LAYERS, *KERAS_LAYERS]))
