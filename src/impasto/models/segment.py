"""Finds what a photograph shows: its subject, its people, their faces. Masks are `(1, 1, H, W)` in [0, 1].

The networks are stored as they were published: those for subject and person in ONNX, run by ONNX Runtime (the extra
`segment`), the one for faces by OpenCV, which is always there. What is pointed at is found by `models.mobile_sam`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import InputError, require
from impasto.models.mobile_sam import MobileSam, Place, Sizes
from impasto.ops import masks

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

ASSETS = {"subject": "u2netp", "background": "u2netp", "person": "modnet"}
"""Words that may stand for a mask, and the networks that find them."""

FACES = "centerface"

_LEAST_AREA = 0.004  # of the picture: below it a mask is noise
_LEAST_SURE = (
    0.15  # of what a network marks at all; lawns, mountains and orchestras have less, whatever stands out more
)
_SALIENT = 320  # side of the square that U2-Net was trained on
_MATTE = 512  # MODNet's short side
_SURE = 4.0  # how much steeper edges become: what the network is not sure of shows the grid that it computes in
_SPECK = 0.02  # of the largest part of a thing: a smaller part is a reflection, not a part behind a pole
_FACE_SIDE = 640
_FACE_SCORE = 0.5  # of 0 to 1; at 0.35 leaves and fur begin to look like faces


def find(what: str, image: Tensor, network: Path, faces: Sequence[Box] = ()) -> Tensor:
    """A mask of the subject or of people.

    Args:
        what: "subject" or "person".
        image: `(1, 3, H, W)` in [0, 1].
        network: the ONNX file of `ASSETS[what]`.
        faces: those of the picture. People are taken for such where one of these lies in what was cut out: the network
            for people cuts something out of most pictures, and the one for faces now and then sees one in a castle.
            Of 236 photographs the two agreed on the ten with people near enough, and on sculptures and one monkey.

    Raises:
        InputError: there is none in the picture.
        MissingExtra: ONNX Runtime is not installed.
    """
    found = _matte(image, network) if what == "person" else _salient(image, network)
    sure, marked = (float((found > least).float().mean()) for least in (0.5, 0.1))
    if sure < max(_LEAST_AREA, _LEAST_SURE * marked):
        raise _none(what)
    if what == "person" and not any(_covers(found, face) for face in faces):
        raise _none("person")
    found = masks.refine(found, image, radius=max(2, max(image.shape[2:]) // 80))
    return ((found - 0.1) / 0.8).clamp(0, 1)  # the networks hedge: clear cases become 0 and 1


class Pointer:
    """Finds what is pointed at in one photograph, which is looked at once.

    Args:
        tensors: of `mobile_sam.ASSET`.
        image: `(1, 3, H, W)` in [0, 1].
        sizes: of the network.
    """

    def __init__(self, tensors: Mapping[str, Tensor], image: Tensor, sizes: Sizes | None = None) -> None:
        self._network, self._image = MobileSam.of(tensors, sizes), image.cpu()
        self._seen = self._network.look(self._image)

    def find(self, places: Sequence[Place], *, like: Tensor | None = None) -> Tensor:
        """A mask of the thing at the places; see `MobileSam.point`.

        Raises:
            InputError: there is nothing.
        """
        found = self._network.point(self._seen, self._image, places, like=like)
        if float((found > 0.5).float().mean()) == 0:
            raise InputError("nothing was found where the points are", "set them in the middle of the thing")
        clear = ((found - 0.5) * _SURE + 0.5).clamp(0, 1) * _without_specks(found > 0.5)
        return masks.refine(clear, self._image, radius=max(2, max(self._image.shape[2:]) // 200))


def _without_specks(inside: Tensor) -> Tensor:
    """1 but near the parts of a mask `(1, 1, H, W)` that are far smaller than its largest one."""
    count, labels, about, _ = cv2.connectedComponentsWithStats(inside[0, 0].numpy().astype(np.uint8))
    areas = about[:, cv2.CC_STAT_AREA]
    specks = [number for number in range(1, count) if areas[number] < _SPECK * areas[1:].max()]
    near = cv2.dilate(np.isin(labels, specks).astype(np.float32), np.ones((5, 5)))
    return torch.from_numpy(1 - near)[None, None]


def _none(what: str) -> InputError:
    ways = "paint the whole picture with --style, or draw a mask: --region mask.png=STYLE"
    if what == "person":  # seen from behind, say
        return InputError("no person with a face was found in the photograph", f"try --region subject=STYLE, or {ways}")
    return InputError("no subject was found in the photograph: nothing stands out", ways)


def with_heads(mask: Tensor, faces: Sequence[Box]) -> Tensor:
    """A subject's mask and the heads above it: the network leaves some out, as that of Van Gogh's Pere Tanguy.

    Args:
        mask: `(1, 1, H, W)`.
        faces: those of the picture. One counts whose body, twice as tall as the face and below it, is in the mask.
    """
    heads = []
    for left, top, right, bottom in faces:
        wide, tall = right - left, bottom - top
        if not _covers(mask, (left, top, right, bottom)) and _covers(mask, (left, bottom, right, bottom + 2 * tall)):
            heads.append((left - wide / 4, top - tall / 2, right + wide / 4, bottom + tall / 4))
    ovals = masks.ellipses(heads, mask.shape[2], mask.shape[3])
    return torch.maximum(mask, ovals.to(mask))


def _covers(mask: Tensor, box: Box) -> bool:
    """Whether most of a box lies in the mask."""
    left, top, right, bottom = (max(0, round(side)) for side in box)
    inside = mask[:, :, top : max(bottom, top + 1), left : max(right, left + 1)]
    return inside.numel() > 0 and float(inside.mean()) > 0.5


def find_faces(image: Tensor, network: Path) -> list[Box]:
    """Boxes around the faces in `image (1, 3, H, W)`, the surest first.

    Paper: arXiv:1911.03599 (CenterFace).
    """
    height, width = image.shape[2:]
    scale = min(1.0, _FACE_SIDE / max(height, width))
    sides = _multiple(height * scale, 32), _multiple(width * scale, 32)
    pixels = F.interpolate(image, sides, mode="bilinear", antialias=True).mul(255).cpu().numpy().astype(np.float32)
    net = cv2.dnn.readNetFromONNX(str(network))
    net.setInput(pixels)
    heat, size, offset, _landmarks = net.forward(["537", "538", "539", "540"])
    rows, columns = np.nonzero(heat[0, 0] > _FACE_SCORE)
    boxes, scores = [], []
    for row, column in zip(rows, columns, strict=True):
        tall, wide = 4 * np.exp(size[0, :, row, column])
        middle = 4 * (np.array([row, column]) + 0.5 + offset[0, :, row, column])
        boxes.append([float(middle[1] - wide / 2), float(middle[0] - tall / 2), float(wide), float(tall)])
        scores.append(float(heat[0, 0, row, column]))
    kept = cv2.dnn.NMSBoxes(boxes, scores, _FACE_SCORE, 0.3) if boxes else []
    across, along = width / sides[1], height / sides[0]
    return [
        (left * across, top * along, (left + wide) * across, (top + tall) * along)
        for left, top, wide, tall in (boxes[index] for index in kept)
    ]


def _salient(image: Tensor, network: Path) -> Tensor:
    """The salient subject. Paper: arXiv:2005.09007 (U2-Net); this is its small form of 4.7 MB."""
    small = F.interpolate(image, (_SALIENT, _SALIENT), mode="bilinear", antialias=True)
    small = small / small.max().clamp_min(1e-3)
    mean = torch.tensor([0.485, 0.456, 0.406], device=small.device)[:, None, None]  # of ImageNet
    deviation = torch.tensor([0.229, 0.224, 0.225], device=small.device)[:, None, None]
    return _grown(_run(network, (small - mean) / deviation), image)


def _matte(image: Tensor, network: Path) -> Tensor:
    """People in front of anything. Paper: arXiv:2011.11961 (MODNet)."""
    height, width = image.shape[2:]
    scale = _MATTE / min(height, width)
    sides = _multiple(height * scale, 32), _multiple(width * scale, 32)
    small = F.interpolate(image, sides, mode="bilinear", antialias=True)
    return _grown(_run(network, 2 * small - 1), image)


def _run(network: Path, pixels: Tensor) -> Tensor:
    runtime: Any = require("onnxruntime", "segment")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # the published files warn of their own layout
    session = runtime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return torch.from_numpy(session.run(None, {name: pixels.cpu().numpy()})[0]).float()


def _grown(mask: Tensor, image: Tensor) -> Tensor:
    sides = image.shape[2], image.shape[3]
    return F.interpolate(mask, sides, mode="bicubic", antialias=True).clamp(0, 1).to(image.device)


def _multiple(length: float, step: int) -> int:
    return max(step, round(length / step) * step)
