"""Measures of pictures, sets and videos: one definition for the whole project.

METRICS is the table of them. Scores of a picture are taken at longest side 512 (content and style each; the pastiche
resized to the content); VGG-19's by the normalised network with reflection padding and max pooling; all in float32.

Inside, _networks, _style, _pixels, _sets, _video and _table know nothing of weights or files; _judge joins them.
"""

from impasto.metrics._judge import (
    SCORE_SIZE,
    SCORES,
    Judge,
    Scores,
    at_score_size,
    measure,
    measure_video,
    unmeasurable,
)
from impasto.metrics._pixels import psnr, ssim
from impasto.metrics._sets import FID_FULL_RANK, FID_LEAST, KID_LEAST, check_counts, set_notes
from impasto.metrics._style import CONTENT_LAYER, wasserstein_of
from impasto.metrics._table import METRICS, Metric, check_names, names_of

__all__ = [
    "CONTENT_LAYER",
    "FID_FULL_RANK",
    "FID_LEAST",
    "KID_LEAST",
    "METRICS",
    "SCORES",
    "SCORE_SIZE",
    "Judge",
    "Metric",
    "Scores",
    "at_score_size",
    "check_counts",
    "check_names",
    "measure",
    "measure_video",
    "names_of",
    "psnr",
    "set_notes",
    "ssim",
    "unmeasurable",
    "wasserstein_of",
]
