"""The networks as Keras models, of the same files of weights: VGG-19, AdaIN's decoder, feed-forward networks.

Models take `(batch, height, width, 3)`, sRGB in [0, 1]: the preprocessing is inside. All padding is by reflection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import keras
from impasto.assets import Store
from impasto.contract import STYLE_LAYERS
from impasto.errors import InputError
from impasto.keras.forms import KERAS_LAYERS, layer_name
from impasto.models import catalog
from impasto.models.codecs import LAYER, Codec
from impasto.models.encoder_specs import VGG19, Convolution, Pooling
from impasto.ops.grids import FAINT, PERIODS, near_weights, span_weights
from impasto.runtimes import graphs
from impasto.runtimes.any_painters import read_tensors
from keras import ops

Tensors = Mapping[str, NDArray[Any]]

_MEANS = (103.939, 116.779, 123.68)  # of blue, green and red, which keras.applications takes away from 0 to 255
_EPSILON = 1e-5


def vgg19(
    layers: str | Iterable[str] = STYLE_LAYERS,
    *,
    weights: Any = None,
    store: Store | None = None,
    dtype: str = "float32",
) -> Any:
    """VGG-19 as a Keras model, whose outputs are feature maps by layer.

    Args:
        layers: a name or several, Keras' (`block5_conv2`) or ours (`relu5_2`): what a layer gives after its activation.
        weights: None for the normalised ones of the store; a file of them; or a model of keras.applications.VGG19,
            whose weights are taken over together with its preprocessing.
        store: where weights are; the user's cache by default.
        dtype: of what is computed, such as "mixed_bfloat16"; weights stay float32.

    Returns:
        A frozen keras.Model: `(B, H, W, 3)` to a mapping of names, as they were asked for, to `(B, h, w, C)`.

    Raises:
        InputError: there is no such layer, none is named, or the model is not keras.applications.VGG19.
        AssetError: the weights cannot be fetched or read.
    """
    wanted = {name: layer_name(name) for name in ([layers] if isinstance(layers, str) else layers)}
    if not wanted:
        raise InputError("no layer of VGG-19 is named", "give names such as block4_conv2; impasto.keras.LAYERS has all")
    kernels = _of_applications(weights) if hasattr(weights, "get_layer") else _of_file(weights, store)
    return _encoder(wanted, kernels, dtype)


def adain_encoder(codec: Codec, dtype: str = "float32") -> Any:
    """The encoder of AdaIN, down to its layer, as a Keras model."""
    model = _encoder({LAYER: LAYER}, _folded(codec.encoder), dtype)
    return keras.Model(model.input, model.output[LAYER], name="adain_encoder")


def adain_decoder(codec: Codec, dtype: str = "float32") -> Any:
    """AdaIN's decoder as a Keras model: features `(B, h, w, C)` to pictures, unclamped, without the decoder's grid."""
    blocks = [block for block in VGG19.down_to(LAYER).blocks if isinstance(block, Convolution | Pooling)]
    given = keras.Input((None, None, codec.encoder["conv4_1.weight"].shape[0]))
    x = given
    for block in reversed(blocks):
        if isinstance(block, Pooling):
            x = keras.layers.UpSampling2D(2, interpolation="nearest", dtype=dtype)(x)
            continue
        kernel = _Kernel.of(codec.decoder, block.key)
        x = kernel.layer(f"decoder_{block.key}", dtype, "linear" if block is blocks[0] else "relu")(_padded(x, 1))
    return _frozen(keras.Model(given, _without_grid(ops.cast(x, "float32")), name="adain_decoder"))


def feedforward(style: str | Path, *, dtype: str = "float32") -> Any:
    """A feed-forward network with one of its styles as a Keras model of one input, to be used, saved or exported.

    Args:
        style: `pack:irises`, `mine.safetensors:irises`; or the file alone, where it holds one style.
        dtype: of what is computed.

    Returns:
        A keras.Model: `(B, H, W, 3)` to the same, both in [0, 1]; sides are multiples of 8.

    Raises:
        InputError: there is no such file or style, or it is not one of a feed-forward network.
    """
    if not catalog.is_trained(style):
        raise InputError(f"{style} is not a style of a trained network", "give one such as pack:irises")
    found = catalog.find(style)
    if found.method != "feedforward":
        raise InputError(f"{found.id} is painted by {found.method}, which has no Keras form", "give one of pack:NAME")
    tensors, _ = graphs.read(found.path)
    model = network(tensors, dtype)
    image = keras.Input((None, None, 3), name="image")
    code = np.asarray(tensors[f"style.{found.name}"], np.float32)[None]
    batch = ops.zeros_like(image[:, 0, 0, :1])  # a row of the code for each picture, in the graph itself
    return _frozen(keras.Model(image, model([image, batch + code]), name="feedforward"))


def network(tensors: Tensors, dtype: str = "float32") -> Any:
    """The shared convolutions of a feed-forward network as a Keras model of pictures and codes `(B, N)`.

    Raises:
        InputError: they are not those of an Impasto network.
    """
    try:
        if "palette" in tensors:
            raise ValueError("networks for any painting have no Keras form")
        return _frozen(_Network(tensors, dtype).model())
    except (KeyError, IndexError, ValueError) as error:
        raise InputError("the file is not an Impasto network", "give one that impasto train has written") from error


class _Kernel:
    """Weights of a convolution, `(kernel, kernel, inputs, outputs)` as Keras has them, and its bias."""

    def __init__(self, weight: NDArray[Any], bias: NDArray[Any] | None) -> None:
        self.weight, self.bias = weight, bias

    @classmethod
    def of(cls, tensors: Tensors, key: str) -> _Kernel:
        """Of tensors as PyTorch has them, `(outputs, inputs, kernel, kernel)`."""
        return cls(tensors[f"{key}.weight"].transpose(2, 3, 1, 0), tensors.get(f"{key}.bias"))

    def layer(self, name: str, dtype: str, activation: str, stride: int = 1) -> Any:
        """The layer, which pads nothing."""
        return keras.layers.Conv2D(
            self.weight.shape[3],
            self.weight.shape[0],
            strides=stride,
            activation=activation,
            use_bias=self.bias is not None,
            kernel_initializer=keras.initializers.Constant(self.weight),
            bias_initializer="zeros" if self.bias is None else keras.initializers.Constant(self.bias),
            dtype=dtype,
            name=name,
        )


def _encoder(wanted: Mapping[str, str], kernels: Mapping[str, _Kernel], dtype: str) -> Any:
    image = keras.Input((None, None, 3), name="image")
    x, found = image, {}
    for block in VGG19.blocks:
        if isinstance(block, Pooling):
            x = keras.layers.MaxPooling2D(2, dtype=dtype)(x)
            continue
        assert isinstance(block, Convolution)
        x = kernels[block.key].layer(KERAS_LAYERS[block.layer], dtype, "relu")(_padded(x, 1))
        found[block.layer] = x
        if found.keys() >= set(wanted.values()):
            break
    return _frozen(keras.Model(image, {name: found[layer] for name, layer in wanted.items()}, name="vgg19"))


def _of_file(weights: Any, store: Store | None) -> dict[str, _Kernel]:
    path = (store or Store()).path(VGG19.asset) if weights is None else Path(weights)
    return _folded(read_tensors(path))


def _folded(tensors: Tensors) -> dict[str, _Kernel]:
    """The kernels with the map of colours merged into the first; exact, since that map commutes with mirroring."""
    found = {one.key: _Kernel.of(tensors, one.key) for one in VGG19.convolutions() if f"{one.key}.weight" in tensors}
    first = found["conv1_1"]
    assert first.bias is not None
    colour, offset = tensors["preprocess.weight"][:, :, 0, 0], tensors["preprocess.bias"]
    bias = first.bias + np.einsum("hwmo,m->o", first.weight, offset)
    found["conv1_1"] = _Kernel(np.einsum("hwmo,mi->hwio", first.weight, colour), bias)
    return found


def _of_applications(model: Any) -> dict[str, _Kernel]:
    """Those of keras.applications, which take blue, green, red from 0 to 255 less their means."""
    found = {}
    for one in VGG19.convolutions():
        try:
            weight, bias = (np.asarray(part) for part in model.get_layer(KERAS_LAYERS[one.layer]).get_weights())
        except ValueError as error:
            hint = "give keras.applications.VGG19(include_top=False)"
            raise InputError(f"the model given as weights has no layer {KERAS_LAYERS[one.layer]}", hint) from error
        if one.key == "conv1_1":
            bias = bias - np.einsum("hwmo,m->o", weight, np.array(_MEANS, np.float32))
            weight = 255 * weight[:, :, ::-1]
        found[one.key] = _Kernel(weight, bias)
    return found


def _padded(x: Any, border: int) -> Any:
    return ops.pad(x, [[0, 0], [border, border], [border, border], [0, 0]], mode="reflect") if border else x


def _without_grid(x: Any) -> Any:
    """As `ops.grids.without_grid`."""
    for number, period in enumerate(PERIODS):
        detail = x - _averaged(x, span_weights(period), f"span_{number}")
        share = ops.relu(1 - ops.square(detail / FAINT))
        x = x - _averaged(detail * ops.square(share), near_weights(), f"near_{number}", apart=period)
    return x


def _averaged(x: Any, weights: Sequence[float], name: str, *, apart: int = 1) -> Any:
    """Weighted means over both axes of places so many pixels apart; beyond the edges there are none."""
    for axis in ("down", "across"):
        kernel = np.array(weights, np.float32).reshape((-1, 1, 1, 1) if axis == "down" else (1, -1, 1, 1))
        spread = (apart, 1) if axis == "down" else (1, apart)

        def filtered(images: Any, part: str, kernel: Any = kernel, spread: Any = spread, axis: str = axis) -> Any:
            return keras.layers.DepthwiseConv2D(
                kernel.shape[:2],
                padding="same",
                dilation_rate=spread,
                use_bias=False,
                depthwise_initializer=keras.initializers.Constant(np.repeat(kernel, images.shape[-1], 2)),
                name=f"{name}_{axis}_{part}",
            )(images)

        ones = ops.ones_like(x[:, :, :, :1])
        x = filtered(x, "sum") / filtered(ones, "count")
    return x


class _Network:
    """Builds a feed-forward network of its tensors; see `models.networks.Network`."""

    def __init__(self, tensors: Tensors, dtype: str) -> None:
        self._tensors, self._dtype = tensors, dtype
        self._strided, self._headed = "full.weight" in tensors, "head.weight" in tensors
        self._at = 0  # in the code

    def model(self) -> Any:
        """The model: `[image, code]` to the pastiche."""
        image = keras.Input((None, None, 3), name="image")
        self._code = keras.Input((self._code_length(),), name="code")
        x = self._relu(self._convolution(image - 0.5, "stem", 2 if self._strided else 1))
        before = x
        for name in self._numbered("down"):
            before = x
            x = self._relu(self._convolution(x, name, 2))
        for name in self._numbered("blocks"):
            inner = self._relu(self._half(x, f"{name}.first"))
            x = x + self._normalised(self._half(inner, f"{name}.second"))
        for index, name in enumerate(self._numbered("up")):
            x = self._relu(self._convolution(self._doubled(x), name))
            if index == 0 and "skip" in self._tensors:
                x = x + before * ops.cast(self._tensors["skip"], x.dtype)
        if self._strided:
            x = self._convolution(self._doubled(x), "full", activation="relu" if self._headed else "linear")
        if self._headed:
            x = self._convolution(x, "head")
        return keras.Model([image, self._code], ops.sigmoid(ops.cast(x, "float32")), name="network")

    def _relu(self, x: Any) -> Any:
        return ops.relu(self._normalised(x))

    def _doubled(self, x: Any) -> Any:
        return keras.layers.UpSampling2D(2, interpolation="nearest", dtype=self._dtype)(x)

    def _convolution(self, x: Any, name: str, stride: int = 1, activation: str = "linear") -> Any:
        kernel = _Kernel.of(self._tensors, name)
        padded = _padded(x, kernel.weight.shape[0] // 2)
        return kernel.layer(name.replace(".", "_"), self._dtype, activation, stride)(padded)

    def _half(self, x: Any, name: str) -> Any:
        """One of the two convolutions of a residual block."""
        depthwise = self._tensors.get(f"{name}.depthwise.weight")
        if depthwise is None:
            return self._convolution(x, name)
        layer = keras.layers.DepthwiseConv2D(
            depthwise.shape[2],
            use_bias=False,
            depthwise_initializer=keras.initializers.Constant(depthwise.transpose(2, 3, 0, 1)),
            dtype=self._dtype,
            name=f"{name}.depthwise".replace(".", "_"),
        )
        return self._convolution(layer(_padded(x, depthwise.shape[2] // 2)), f"{name}.pointwise")

    def _normalised(self, x: Any) -> Any:
        """Instance normalisation with the code's next scales and shifts; statistics are float32."""
        channels = x.shape[-1]
        scale, shift = (
            self._code[:, None, None, start : start + channels] for start in (self._at, self._at + channels)
        )
        self._at += 2 * channels
        exact = ops.cast(x, "float32")
        mean = ops.mean(exact, axis=(1, 2), keepdims=True)
        centred = exact - mean
        inverse = ops.rsqrt(ops.mean(ops.square(centred), axis=(1, 2), keepdims=True) + _EPSILON)
        return ops.cast(centred * (scale * inverse) + shift, x.dtype)

    def _numbered(self, group: str) -> list[str]:
        found = {".".join(name.split(".")[:2]) for name in self._tensors if name.startswith(f"{group}.")}
        return sorted(found, key=lambda name: int(name.split(".")[1]))

    def _code_length(self) -> int:
        return int(next(code for name, code in self._tensors.items() if name.startswith("style.")).shape[0])


def _frozen(model: Any) -> Any:
    model.trainable = False
    return model
