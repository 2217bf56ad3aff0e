"""What Keras runs on: TensorFlow, JAX or PyTorch; chosen once in a process, before Keras is imported."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import device
from impasto.engine.request import installed_package
from impasto.errors import InputError, MissingExtra

Floats = NDArray[np.float32]
Tree = Mapping[str, Any]
"""Tensors by name, and by name once more within."""

Loss = Callable[[Any, Tree], tuple[Any, Any]]
"""Of an image, or tensors by name, and of what is compared with: a scalar that is descended, and what else to tell."""

POLICIES: Mapping[str, str] = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
"""What Keras calls each precision."""


@dataclass(frozen=True)
class Backend:
    """One library that Keras runs on.

    Attributes:
        name: what Keras calls it.
        module: what is imported.
        title: for people.
    """

    name: str
    module: str
    title: str

    @property
    def is_installed(self) -> bool:
        """Whether it is there; nothing is imported."""
        return find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """Of the package; empty where there is none."""
        try:
            return version(installed_package(self.name))
        except PackageNotFoundError:
            return ""


BACKENDS: Mapping[str, Backend] = {
    row.name: row
    for row in (
        Backend("tensorflow", "tensorflow", "TensorFlow"),
        Backend("jax", "jax", "JAX"),
        Backend("torch", "torch", "PyTorch"),
    )
}


def installed() -> list[str]:
    """What `--backend` can name here; nothing is imported."""
    return [row.name for row in BACKENDS.values() if row.is_installed and (row.name == "torch" or _has_keras())]


def use_backend(name: str) -> None:
    """Have Keras run on a library; to be called before Keras is imported.

    Args:
        name: "tensorflow", "jax" or "torch".

    Raises:
        InputError: there is no such backend, or Keras runs on another one already.
        MissingExtra: Keras or the library is not installed.
    """
    if name not in tuple(BACKENDS):  # whatever was given, lists too
        raise InputError(f"there is no backend {name!r}", f"it is one of {', '.join(BACKENDS)}")
    row = BACKENDS[name]
    missing = [title for title, here in (("Keras", _has_keras()), (row.title, row.is_installed)) if not here]
    if missing:
        are, them = ("are", "them") if len(missing) > 1 else ("is", "it")
        line = f'pip install "impasto[keras]" {name}'
        raise MissingExtra(f"{' and '.join(missing)} {are} not installed, and --backend {name} needs {them}", line)
    running = running_on()
    if running not in ("", name):
        raise InputError(
            f"Keras runs on {BACKENDS[running].title} in this process, and cannot change to {row.title}",
            "begin a new Python, and choose the backend before keras is imported",
        )
    if not running:
        _begin(name)


def running_on() -> str:
    """The backend that Keras runs on; empty where it is not imported yet."""
    if "keras" not in sys.modules:
        return ""
    import keras

    return str(keras.backend.backend())


def on_device() -> str:
    """Where the backend computes: "cpu", "gpu" or "tpu"."""
    name = running_on()
    if name == "jax":
        import jax

        return str(jax.default_backend())
    if name == "tensorflow":
        import tensorflow as tf

        return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"


def scored(model: Any, loss: Loss) -> Callable[[Any, Tree], tuple[Any, Any]]:
    """Compiles a loss of images of one size; what is called gives what the loss tells, and its gradient.

    Args:
        model: whose weights the loss uses.
        loss: written in keras.ops.

    What is called raises InputError where the gradient leaves the range of numbers, as in float16 it may.
    """

    def scaled(image: Any, target: Tree) -> tuple[Any, Any]:
        total, told = loss(image, target)
        return _loss_scale(image) * total, told

    step = {"tensorflow": _in_tensorflow, "jax": _in_jax, "torch": _in_torch}[running_on()](model, scaled)

    def score(image: Any, target: Tree) -> tuple[Any, Any]:
        told, gradient = step(image, target)
        scale = np.float32(_loss_scale(image))
        return told, _each(lambda one: _finite(one) / scale, to_numpy(gradient))

    return score


def _loss_scale(image: Any) -> float:
    """What brings gradients into the range of float16: a pixel's is about one part in as many as there are pixels.

    It is a power of two, so that in other precisions nothing is rounded.
    """
    return 1.0 if isinstance(image, Mapping) else 2.0 ** (math.prod(image.shape).bit_length() - 3)


def _finite(gradient: Floats) -> Floats:
    if not np.isfinite(gradient).all():
        raise InputError("the gradient leaves the range of its numbers", "use --precision float32, or smaller weights")
    return gradient


def compiled(model: Any) -> Callable[[Any], Any]:
    """A model as a compiled function of its input."""
    name = running_on()
    if name == "tensorflow":
        import tensorflow as tf

        function: Callable[[Any], Any] = tf.function(
            lambda image: model(image, training=False), reduce_retracing=True, autograph=False
        )
        return function
    if name == "jax":
        inner = _jitted(lambda values, image: _with_variables(model, values, lambda: model(image, training=False)))
        return lambda image: inner([variable.value for variable in model.variables], image)
    return lambda image: model(image, training=False)


def to_tensors(tree: Any) -> Any:
    """Arrays, by name and by name once more within, as the backend's tensors."""
    import keras

    return _each(keras.ops.convert_to_tensor, tree)


def to_numpy(tree: Any) -> Any:
    """Tensors, by name and by name once more within, as NumPy's in float32."""
    from keras import ops

    return _each(lambda tensor: np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32"))), tree)


def _each(call: Callable[[Any], Any], tree: Any) -> Any:
    """What a function gives of each tensor, under the same names."""
    return {name: _each(call, one) for name, one in tree.items()} if isinstance(tree, Mapping) else call(tree)


def _has_keras() -> bool:
    return "keras" in sys.modules or find_spec("keras") is not None


def _begin(name: str) -> None:
    os.environ["KERAS_BACKEND"] = name
    if name != "tensorflow":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from impasto.export._quiet import silent

    with silent():  # it tells of its libraries when it is imported, past Python
        import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(device.cores())
        tf.config.threading.set_inter_op_parallelism_threads(device.cores())
    except RuntimeError:  # it computes already, with as many as it took
        return


def _in_tensorflow(_model: Any, loss: Loss) -> Callable[[Any, Tree], tuple[Any, Any]]:
    import tensorflow as tf

    def step(image: Any, target: Tree) -> tuple[Any, Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(image)
            total, told = loss(image, target)
        return told, tape.gradient(total, image)

    traced: list[Any] = []

    def call(image: Any, target: Tree) -> tuple[Any, Any]:
        tensors = to_tensors(image)
        if not traced:  # once, since its shapes never change; called by itself it would warn of others that were traced
            traced.append(tf.function(step, autograph=False).get_concrete_function(tensors, target))
        told: tuple[Any, Any] = traced[0](tensors, target)
        return told

    return call


def _in_jax(model: Any, loss: Loss) -> Callable[[Any, Tree], tuple[Any, Any]]:
    import jax

    def step(values: Sequence[Any], image: Any, target: Tree) -> tuple[Any, Any]:
        def total(image: Any) -> tuple[Any, Any]:
            found: tuple[Any, Any] = _with_variables(model, values, lambda: loss(image, target))
            return found

        (_, told), gradient = jax.value_and_grad(total, has_aux=True)(image)
        return told, gradient

    inner = _jitted(step)
    # weights go in as arguments: as constants they would be compiled in, all 80 MB of them at every size
    return lambda image, target: inner([variable.value for variable in model.variables], image, target)


def _jitted(function: Callable[..., Any]) -> Callable[..., Any]:
    import jax

    jitted: Callable[..., Any] = jax.jit(function, **_jit_options())
    return jitted


@lru_cache(maxsize=1)
def _jit_options() -> dict[str, Any]:
    """On a processor, no YNNPACK: with XLA's own convolutions a step takes 0.6 of the time (jaxlib 0.10, AVX-512)."""
    import jax

    options = {"compiler_options": {"xla_cpu_experimental_ynn_fusion_type": ""}}
    if on_device() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, **options)()
    except (TypeError, jax.errors.JaxRuntimeError):  # a release of it that has no such option
        return {}
    return options


def _in_torch(_model: Any, loss: Loss) -> Callable[[Any, Tree], tuple[Any, Any]]:
    import torch

    def step(image: Any, target: Tree) -> tuple[Any, Any]:
        leaves = _each(lambda one: torch.as_tensor(one).detach().clone().requires_grad_(), image)
        total, told = loss(leaves, target)
        total.backward()
        return _each(torch.Tensor.detach, told), _each(lambda leaf: leaf.grad, leaves)

    return step


def _with_variables(model: Any, values: Sequence[Any], call: Callable[[], Any]) -> Any:
    import keras

    with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
        return call()
