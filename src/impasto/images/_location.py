"""Where a photograph was taken, in all the fields that tell it, taken out of its metadata.

Captions, titles and keywords stay: what a photographer has written there in words is for them to change.
"""

from __future__ import annotations

import re
from dataclasses import replace
from xml.dom import minidom

from PIL import Image

from impasto.images import _metadata
from impasto.images._picture import Picture

# Names in EXIF, XMP (whatever the prefix: exif, photoshop, Iptc4xmpCore, Iptc4xmpExt, xmpDM, drones' own), Matroska,
# QuickTime and text chunks. exif:SubjectLocation is a point of the picture. Sources: IPTC Photo Metadata Standard
# 2023.2, 9 and 14; XMP part 2, 2.4 and 2.7; Dublin Core, coverage.
_NAMES = re.compile(
    r"gps|geo(tag|loc|ref|code)|latitude|longt?itude|altitude|iso6709|(?<!subject)location"
    r"|^(city|state|province([-_ /]?state)?|country([-_ ]?(name|code))?|(world)?region|coverage)$",
    re.IGNORECASE,
)
_NAMESPACES = ("http://www.w3.org/2003/01/geo/wgs84_pos#",)
_IN_WORDS = re.compile(rb"gps\s*[(:]|latitude|longt?itude|iso6709", re.IGNORECASE)


def is_location_field(name: str, namespace: str | None = None) -> bool:
    """Whether a field of metadata tells a place, by its name without a prefix."""
    return namespace in _NAMESPACES or _NAMES.search(name.rpartition(":")[2]) is not None


def contains_location(text: bytes) -> bool:
    """Whether a subtitle tells where the camera is, as drones write it."""
    return _IN_WORDS.search(text) is not None


def without_location(picture: Picture) -> Picture:
    """A picture whose metadata do not tell where it was taken.

    The maker's note goes too, since some makers repeat the position in it, and XMP that cannot be read.
    """
    origin = picture.origin
    text = {name: value for name, value in origin.text.items() if not is_location_field(name)}
    bare = replace(origin, exif=_exif_without(origin.exif), xmp=_xmp_without(origin.xmp), text=text)
    return replace(picture, origin=bare)


def _exif_without(source: bytes | None) -> bytes | None:
    if not source:
        return None
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + source)
    if entries := _metadata.directory(exif, _metadata.EXIF_IFD):
        entries.pop(_metadata.MAKER_NOTE, None)
        exif[_metadata.EXIF_IFD] = entries
    if _metadata.GPS_IFD in exif:
        del exif[_metadata.GPS_IFD]
    return _metadata.exif_bytes(exif)[6:]


def _xmp_without(packet: bytes | None) -> bytes | None:
    document = _metadata.parse_packet(packet)
    if document is None:
        return None
    _metadata.remove_fields(document, is_location_field)
    element = document.documentElement
    assert isinstance(element, minidom.Element)
    return element.toxml().encode()
