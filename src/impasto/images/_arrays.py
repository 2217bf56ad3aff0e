"""Numpy arrays and torch tensors as pictures. Tensors are known by their methods, so that torch is not imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError
from impasto.images._picture import Floats, Origin, Picture, is_codes

if TYPE_CHECKING:
    from torch import Tensor

_SLACK = 1e-3  # float arithmetic may overshoot [0, 1] by rounding; more is another range


def is_array(source: Any) -> bool:
    """A numpy array or a torch tensor."""
    return isinstance(source, np.ndarray) or _is_tensor(source)


def _is_tensor(source: Any) -> bool:
    return all(hasattr(source, name) for name in ("detach", "cpu", "is_floating_point", "shape"))


def shape_of_array(source: Any) -> tuple[int, int]:
    """`(width, height)` without copying anything from a device."""
    shape = tuple(int(side) for side in source.shape)
    if _is_tensor(source):
        if len(shape) == 4 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (3, 4):
            shape = (*shape[1:], shape[0])
        elif len(shape) == 3 and shape[0] in (3, 4):
            shape = (*shape[1:], shape[0])  # (3, H, 3): the layout of tensors wins
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)):
        return shape[1], shape[0]
    wanted = "(3, H, W), (1, 3, H, W) or (H, W, 3)" if _is_tensor(source) else "(H, W, 3), (H, W, 4) or (H, W)"
    raise InputError(f"an array of shape {tuple(source.shape)} is not a picture", f"give one of shape {wanted}")


def picture_of_array(source: Any) -> Picture:
    """The picture in an array of uint8, uint16, bool or floats in [0, 1]; a copy."""
    width, height = shape_of_array(source)
    array = _to_numpy(source)
    if array.ndim == 4:
        array = array[0]
    if array.ndim == 3 and _is_tensor(source) and array.shape[1:] == (height, width):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 2:
        array = array[..., None]
    values = _to_unit(array)
    color = np.repeat(values[..., :1], 3, axis=2) if values.shape[2] == 1 else values[..., :3].copy()
    alpha = values[..., 3].copy() if values.shape[2] == 4 else None
    mode = "grey" if values.shape[2] == 1 else "rgb"
    return Picture(color, alpha, Origin(bits=16 if array.dtype == np.uint16 else 8, mode=mode))


def _to_numpy(source: Any) -> NDArray[Any]:
    if not _is_tensor(source):
        return np.asarray(source)
    if source.is_meta or str(source.layout) != "torch.strided" or source.is_quantized:
        kind = "on the meta device holds no values and" if source.is_meta else f"of layout {source.layout}"
        raise InputError(f"a tensor {kind} is not a picture", "give a dense tensor with values, such as x.to_dense()")
    tensor = source.detach().cpu().resolve_conj().resolve_neg()
    if tensor.is_floating_point():
        tensor = tensor.float()  # numpy knows no bfloat16
    return np.asarray(tensor.numpy())


def _to_unit(array: NDArray[Any]) -> Floats:
    if array.dtype in (np.uint8, np.uint16):
        unit: Floats = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
        return unit
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"an array of {array.dtype} is not a picture", "give uint8, uint16, or floats in [0, 1]")
    if not np.isfinite(array).all():
        raise InputError("the array holds NaN or infinity", "give numbers in [0, 1]")
    low, high = float(array.min()), float(array.max())
    if low < -_SLACK or high > 1 + _SLACK:
        hint = "divide it by 255" if high > 2 and low >= 0 else "scale or clip it to [0, 1]"
        raise InputError(f"the array's floats run from {low:.3g} to {high:.3g}; [0, 1] is allowed", hint)
    clipped: Floats = np.clip(array, 0.0, 1.0).astype(np.float32)
    return clipped


def to_tensor(pixels: NDArray[Any]) -> Tensor:
    """`(H, W, 3)` as a tensor `(1, 3, H, W)` on the CPU: a float32 copy; or of codes a view of the same type."""
    import torch

    if is_codes(pixels):
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return torch.from_numpy(np.array(np.moveaxis(pixels, 2, 0), dtype=np.float32, order="C"))[None]


def from_tensor(image: Tensor) -> NDArray[Any]:
    """`(1, 3, H, W)` on any device as `(H, W, 3)`: float32, or codes of the tensor's type."""
    if not image.is_floating_point():
        codes: NDArray[Any] = image[0].permute(1, 2, 0).cpu().contiguous().numpy()
        return codes
    array: Floats = image[0].detach().permute(1, 2, 0).float().cpu().contiguous().numpy()
    return array
