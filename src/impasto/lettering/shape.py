"""What is known of a flat shape at each pixel: how far the edge is, how wide the stroke, and where it runs.

Paper: arXiv:1611.09026 (Yang et al. 2017), section 3: effects of text follow the distance to the stroke, divided by its
width. Departs from it in the skeleton, which is the ridge of the distance transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import InputError

Floats: TypeAlias = NDArray[np.float32]

_RIDGE = 0.75  # gradient of the distance below which a pixel lies on the ridge; it is 1 elsewhere
_LEAST_RADIUS = 1.0


@dataclass(frozen=True, eq=False)
class Shape:
    """A flat shape and its geometry.

    Attributes:
        coverage: `(H, W)` in [0, 1], antialiased.
    """

    coverage: Floats

    def __post_init__(self) -> None:
        if self.coverage.max() < 0.5:
            raise InputError("the letters are too thin to be painted", "use a bolder --font, or a larger --size")

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        return self.coverage.shape[0], self.coverage.shape[1]

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """`(H, W)`, where at least half of a pixel is covered."""
        return self.coverage >= 0.5

    @cached_property
    def distance(self) -> Floats:
        """`(H, W)`, pixels to the edge: above 0 inside, below 0 outside."""
        inner = cv2.distanceTransform(self.inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        outer = cv2.distanceTransform((~self.inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(np.where(self.inside, inner - 0.5, 0.5 - outer), np.float32)

    @cached_property
    def skeleton(self) -> NDArray[np.bool_]:
        """`(H, W)`, the middle lines of the strokes: the ridge of the distance."""
        smooth = cv2.GaussianBlur(self.distance, (0, 0), 1.0)
        slope = np.hypot(
            cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
        )
        ridge = (slope < _RIDGE) & self.inside & (self.distance > 0.5)
        return ridge if ridge.any() else self.inside

    @cached_property
    def radius(self) -> Floats:
        """`(H, W)`, half the width of the nearest stroke in pixels."""
        _, labels = cv2.distanceTransformWithLabels(
            (~self.skeleton).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        table = np.zeros(int(labels.max()) + 1, np.float32)
        table[labels[self.skeleton]] = self.distance[self.skeleton]
        return np.asarray(np.maximum(cv2.blur(table[labels], (5, 5)), _LEAST_RADIUS), np.float32)

    @cached_property
    def stroke_radius(self) -> float:
        """Half the width of most strokes, in pixels."""
        return max(float(np.median(self.distance[self.skeleton])), _LEAST_RADIUS)

    @cached_property
    def depth(self) -> Floats:
        """`(H, W)`, the distance by the width of the stroke: 1 on the skeleton, 0 at the edge, below 0 outside."""
        return np.asarray(np.minimum(self.distance / self.radius, 1.0), np.float32)

    @cached_property
    def directions(self) -> Floats:
        """`(H, W, 2)`: the unit vector (x, y) along which the stroke runs, and round it outside; its sign is arbitrary.

        The eigenvector of the smaller eigenvalue of the distance's structure tensor, over about half a stroke's width:
        so that it is defined on the skeleton, too, where the gradient of the distance vanishes.
        """
        smooth = cv2.GaussianBlur(self.distance, (0, 0), max(1.0, 0.15 * self.stroke_radius))
        right, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
        reach = max(1.5, 0.45 * self.stroke_radius)
        xx, xy, yy = (cv2.GaussianBlur(part, (0, 0), reach) for part in (right * right, right * down, down * down))
        across = 0.5 * np.arctan2(2 * xy, xx - yy)  # the direction of steepest change
        return np.asarray(np.dstack([-np.sin(across), np.cos(across)]), np.float32)

    def grown(self, pixels: float) -> Floats:
        """Coverage `(H, W)` of the shape made wider by so many pixels, antialiased."""
        if pixels <= 0:
            return self.coverage
        return np.asarray(np.maximum(self.coverage, np.clip(self.distance + pixels + 0.5, 0, 1)), np.float32)

    def scaled(self, scale: float) -> Shape:
        """The shape at another size."""
        if scale == 1:
            return self
        return Shape(images.resize(self.coverage, *(max(1, round(scale * side)) for side in self.sides)))
