"""Pictures in and out: decode, orient, colour-manage, resize, encode. The only importer of image codecs.

A `Picture` is upright sRGB in [0, 1] with its alpha kept apart, and remembers what it takes to write it back like its
source: bit depth, profile, EXIF, XMP, resolution. What a codec cannot carry is told in one-line notes, never dropped
in silence.

Formats read: PNG, JPEG, WebP, TIFF, GIF, BMP, HEIC, AVIF; written: PNG, JPEG, WebP, TIFF, BMP, HEIC, AVIF;
animations: GIF, WebP. Sixteen bits
in gives sixteen bits out for PNG and TIFF. Importing this package loads no torch.
"""

from impasto.images._animation import ANIMATIONS, check_animation, write_animation
from impasto.images._arrays import from_tensor, to_tensor
from impasto.images._fill import fill_hidden
from impasto.images._location import contains_location, is_location_field, without_location
from impasto.images._metadata import DIGITAL_SOURCE_TYPE
from impasto.images._picture import (
    Header,
    Origin,
    Picture,
    as_float,
    bands,
    digest,
    fit,
    is_codes,
    quantise,
    resize,
    to_pil,
)
from impasto.images._pipes import MOST_BYTES, BufferedPipe, buffered, is_pipe
from impasto.images._read import MAX_PIXELS, MAX_SIDE, probe, read, read_record
from impasto.images._save import WRITABLE_EXTENSIONS, check_format, check_output, write
from impasto.images._sheet import contact_sheet
from impasto.images._shrink import least_bytes, reading_bytes

EXTENSIONS = frozenset({*WRITABLE_EXTENSIONS, ".gif"})
"""Endings by which a folder's pictures are known."""

__all__ = [
    "ANIMATIONS",
    "DIGITAL_SOURCE_TYPE",
    "EXTENSIONS",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MOST_BYTES",
    "WRITABLE_EXTENSIONS",
    "BufferedPipe",
    "Header",
    "Origin",
    "Picture",
    "as_float",
    "bands",
    "buffered",
    "check_animation",
    "check_format",
    "check_output",
    "contact_sheet",
    "contains_location",
    "digest",
    "fill_hidden",
    "fit",
    "from_tensor",
    "is_codes",
    "is_location_field",
    "is_pipe",
    "least_bytes",
    "probe",
    "quantise",
    "read",
    "read_record",
    "reading_bytes",
    "resize",
    "to_pil",
    "to_tensor",
    "without_location",
    "write",
    "write_animation",
]
