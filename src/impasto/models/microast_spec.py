"""The shape of MicroAST's networks: strides, widths, and the layers by their numbers in the file. Loads no torch."""

from __future__ import annotations

ASSET = "microast"

STRIDE = 4
LEAST = 8 * STRIDE
"""Pixels along a side that a painting is extended to."""

REACH = 56
"""Pixels around a place that what is painted there depends on (52), in whole strides."""

WIDTH = 64
CODE_SIZE = 8 * WIDTH
"""Numbers in a code: for each of the two depths the mean and deviation of features, a filter's scale and its bias."""

DEPTHS = (1, 2)
ENCODER = ((0, 1), (2, 2), (4, 1), (6, 2), (8, 1))
"""Number in the file, stride."""

RESIDUALS = ("enc1.10", "enc2.0")
"""Of an encoder, whose features are looked at."""

DECODER = ((1, 3), (6, 8))
"""The depthwise and the pointwise convolution after each doubling."""

HEAD = 10
