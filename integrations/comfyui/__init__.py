"""ComfyUI: the node Impasto Stylize paints pictures through a running `impasto serve`."""

import io

import numpy as np
import torch
from PIL import Image

from .impasto_service import ADDRESS, Service


class ImpastoStylize:
    """Paints each picture of a batch in the style of another, or of a named painting."""

    CATEGORY = "image/stylize"
    FUNCTION = "stylize"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        """The inputs, as ComfyUI wants them."""
        return {
            "required": {
                "image": ("IMAGE",),
                "quality": (["draft", "good", "best"], {"default": "good"}),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}),
            },
            "optional": {
                "style": ("IMAGE",),
                "style_name": (
                    "STRING",
                    {"default": "", "tooltip": "without a style picture: museum:436535, pack:irises"},
                ),
                "method": ("STRING", {"default": "auto"}),
                "service": ("STRING", {"default": ADDRESS}),
                "key": ("STRING", {"default": ""}),
            },
        }

    def stylize(self, image, quality, strength, style=None, style_name="", method="auto", service=ADDRESS, key=""):
        """`(B, H, W, C)` in [0, 1] in and out."""
        if style is None and not style_name.strip():
            raise ValueError("Impasto Stylize needs a style: connect a picture, or fill in style_name")
        painter = Service(service, key)
        settings = {"quality": quality, "strength": strength, "method": method}
        styles = [style_name.strip()] if style is None else [_as_png(one) for one in style]
        painted = [
            _from_png(painter.stylize(_as_png(one), styles[index % len(styles)], settings))
            for index, one in enumerate(image)
        ]
        return (torch.stack(painted),)


def _as_png(picture):
    """`(H, W, C)` in [0, 1] as a PNG file."""
    codes = np.rint(255 * picture.cpu().numpy().clip(0, 1)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(codes).convert("RGB").save(stream, format="PNG")
    return stream.getvalue()


def _from_png(data):
    """A PNG file as `(H, W, 3)` in [0, 1]."""
    return torch.from_numpy(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32) / 255)


NODE_CLASS_MAPPINGS = {"ImpastoStylize": ImpastoStylize}
NODE_DISPLAY_NAME_MAPPINGS = {"ImpastoStylize": "Impasto Stylize"}
