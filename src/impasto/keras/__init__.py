"""Impasto in Keras 3: on TensorFlow or JAX, without PyTorch.

    import impasto.keras
    impasto.keras.stylize("photo.jpg", "painting.jpg", backend="tensorflow").save("out.png")

Importing this loads no Keras; what is used first does. Models are Keras models, which take and give
`(batch, height, width, 3)`, sRGB in [0, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.keras.backends import use_backend
    from impasto.keras.engine import KerasEngine, stylize
    from impasto.keras.forms import LAYERS
    from impasto.keras.losses import content_error, gram_matrix, relative_error, style_error, total_variation
    from impasto.keras.models import adain_decoder, feedforward, vgg19

__all__ = [
    "LAYERS",
    "KerasEngine",
    "adain_decoder",
    "content_error",
    "feedforward",
    "gram_matrix",
    "relative_error",
    "style_error",
    "stylize",
    "total_variation",
    "use_backend",
    "vgg19",
]

_LAZY = {
    "use_backend": "backends",
    "KerasEngine": "engine",
    "stylize": "engine",
    "content_error": "losses",
    "gram_matrix": "losses",
    "relative_error": "losses",
    "style_error": "losses",
    "total_variation": "losses",
    "LAYERS": "forms",
    "adain_decoder": "models",
    "feedforward": "models",
    "vgg19": "models",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
