"""Metadata of pictures: EXIF, XMP, and our own record of how a picture was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from xml.dom import minidom  # packets with a DOCTYPE, the door of entity attacks, are refused
from xml.parsers.expat import ExpatError

from PIL import Image

from impasto.errors import InputError

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's mark of a picture made by editing an existing one with a trained network.

`algorithmicallyEnhanced` is for corrections that leave the main content alone, `trainedAlgorithmicMedia` for pictures
made from nothing but a prompt; a pastiche is in between. Source: IPTC NewsCodes, Digital Source Type.
"""

NAMESPACE = "urn:impasto:1.0:"
MAX_METADATA = 1 << 20  # bytes of EXIF or XMP that are carried; JPEG's own limit is 64 kB
MAX_RECORD = 1 << 19
_MAX_TAGS, _MAX_DEPTH = 20_000, 64  # of an XMP packet; real ones have hundreds and a dozen
ORIENTATION, SOFTWARE, EXIF_IFD, GPS_IFD = 0x0112, 0x0131, 0x8769, 0x8825

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_X_DENSITY, _Y_DENSITY, _DENSITY_UNIT, _INCH = 0x011A, 0x011B, 0x0128, 2
MAKER_NOTE, _INTEROP, _WIDTH, _HEIGHT = 0x927C, 0xA005, 0xA002, 0xA003
# tags of IFD0 that describe the picture; the others describe how one file stores it
_KEPT: tuple[int, ...] = (0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298)
_KEPT += (0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F)
# tags that EXIF 2.32 types UNDEFINED and that Pillow would write as BYTE
_UNDEFINED = {0x9000, 0x9101, MAKER_NOTE, 0x9286, 0xA000, 0xA300, 0xA301, 0xA302, 0xA40B, 0x001B, 0x001C}


@lru_cache(maxsize=1)
def software() -> str:
    """The name and version written into files. Found once: it takes as long as encoding a small picture."""
    try:
        return f"Impasto {version('impasto')}"
    except PackageNotFoundError:
        return "Impasto"


def _exif_in(image: Image.Image) -> Image.Exif:
    """What has been read of the EXIF. A PNG's own method would decode the pixels, to look for EXIF behind them."""
    return Image.Image.getexif(image) if image.format == "PNG" else image.getexif()


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        value = _exif_in(image).get(ORIENTATION)
    except Exception:  # EXIF comes from strangers: a damaged one must not stop a picture from being read
        return 1
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_of(image: Image.Image) -> tuple[bytes | None, tuple[str, ...]]:
    """The descriptive part of an image's EXIF, upright and without its thumbnail (which shows the old picture).

    Returns a TIFF structure without the "Exif" prefix, or None, and notes.
    """
    try:
        source, kept = _exif_in(image), Image.Exif()
        for tag in _KEPT:
            if tag in source:
                kept[tag] = source[tag]
        for tag in (EXIF_IFD, GPS_IFD):
            if entries := dict(source.get_ifd(tag)):
                entries.pop(_INTEROP, None)  # an offset into the old file
                kept[tag] = entries
        if not len(kept):
            return None, ()
        blob = _typed(kept.tobytes()[6:])
    except Exception:  # as above; Pillow raises a dozen types here
        return None, ("the EXIF is damaged and was left out",)
    if len(blob) > MAX_METADATA:
        return None, (f"the EXIF is over {MAX_METADATA >> 10} kB and was left out",)
    return blob, ()


def exif_for(source: bytes | None, *, width: int, height: int, dpi: tuple[float, float] | None = None) -> Image.Exif:
    """The EXIF of a picture to write: the source's, upright, with our name, the new size and the resolution."""
    exif = Image.Exif()
    if source:
        exif.load(b"Exif\0\0" + source)
    exif[ORIENTATION], exif[SOFTWARE] = 1, software()
    if dpi:
        exif[_X_DENSITY], exif[_Y_DENSITY], exif[_DENSITY_UNIT] = dpi[0], dpi[1], _INCH
    if entries := directory(exif, EXIF_IFD):
        for tag, value in ((_WIDTH, width), (_HEIGHT, height)):
            if tag in entries:
                entries[tag] = value
        exif[EXIF_IFD] = entries
    return exif


def directory(exif: Image.Exif, tag: int) -> dict[int, Any]:
    """A copy of a sub-directory as it is now: Pillow's `get_ifd` goes on giving the one first read after a change."""
    if tag not in exif:
        return {}
    value = exif[tag]
    return dict(value if isinstance(value, dict) else exif.get_ifd(tag))


def exif_bytes(exif: Image.Exif, *, limit: int = MAX_METADATA) -> bytes:
    """EXIF as bytes with its prefix, without the maker note, or without all but our name, where it exceeds `limit`."""
    blob = exif.tobytes()
    if len(blob) > limit and EXIF_IFD in exif:
        entries = directory(exif, EXIF_IFD)
        entries.pop(MAKER_NOTE, None)
        exif[EXIF_IFD] = entries
        blob = exif.tobytes()
    if len(blob) > limit:
        bare = Image.Exif()
        bare[SOFTWARE] = software()
        blob = bare.tobytes()
    return blob[:6] + _typed(blob[6:])


def _typed(blob: bytes) -> bytes:
    """A TIFF structure with the type UNDEFINED where EXIF wants it; the sizes are the same, so nothing moves."""
    patched = bytearray(blob)
    order: Any = "little" if blob[:2] == b"II" else "big"

    def number(offset: int, size: int) -> int:
        return int.from_bytes(patched[offset : offset + size], order)

    pending, seen = [number(4, 4)], set()
    while pending:
        start = pending.pop()
        if start in seen or start < 8 or start + 2 > len(patched):
            continue
        seen.add(start)
        for entry in range(start + 2, start + 2 + 12 * number(start, 2), 12):
            tag, kind = number(entry, 2), number(entry + 2, 2)
            if tag in (EXIF_IFD, GPS_IFD):
                pending.append(number(entry + 8, 4))
            elif tag in _UNDEFINED and kind == 1:
                patched[entry + 2 : entry + 4] = (7).to_bytes(2, order)
    return bytes(patched)


def record_json(record: Mapping[str, Any]) -> str:
    """The record as one line of ASCII JSON; what JSON does not know is written as text."""
    text = json.dumps(record, default=str)
    if len(text) > MAX_RECORD:
        raise InputError(f"the record is {len(text)} bytes; at most {MAX_RECORD} fit", "record fewer knobs")
    return text


def parse_record(text: str | None) -> dict[str, Any] | None:
    """The record back from its JSON; None for anything else."""
    try:
        record = json.loads(text[: MAX_RECORD + 1]) if text else None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def record_in_xmp(packet: bytes | None) -> dict[str, Any] | None:
    """Our record in an XMP packet, or None."""
    document = parse_packet(packet)
    if document is None:
        return None
    found = document.getElementsByTagNameNS(NAMESPACE, "record")
    return parse_record("".join(node.data for node in found[0].childNodes if hasattr(node, "data"))) if found else None


def xmp_for(source: bytes | None, *, record: str | None) -> bytes:
    """The source's packet with our mark and record merged in; a fresh one where it has none or a broken one.

    The orientation in it is set to 1; an older mark and record give way to ours.
    """
    document = parse_packet(source) or parse_packet(_EMPTY)
    assert document is not None
    remove_fields(document, _is_ours)
    _set_upright(document)
    rdf = document.getElementsByTagNameNS(_RDF, "RDF")[0]
    prefix = f"{rdf.prefix}:" if rdf.prefix else ""
    ours = document.createElementNS(_RDF, f"{prefix}Description")
    ours.setAttributeNS(_RDF, f"{prefix}about" if prefix else "about", "")
    for name, uri in (("Iptc4xmpExt", _IPTC), ("impasto", NAMESPACE)):
        ours.setAttributeNS(_XMLNS, f"xmlns:{name}", uri)
    _append(document, ours, _IPTC, "Iptc4xmpExt:DigitalSourceType", DIGITAL_SOURCE_TYPE)
    if record is not None:
        _append(document, ours, NAMESPACE, "impasto:record", record)
    rdf.appendChild(ours)
    assert document.documentElement is not None
    body = document.documentElement.toxml()
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{body}<?xpacket end="w"?>'.encode()


_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"/></x:xmpmeta>'.encode()


def _append(document: minidom.Document, parent: minidom.Element, namespace: str, name: str, text: str) -> None:
    element = document.createElementNS(namespace, name)
    element.appendChild(document.createTextNode(text))
    parent.appendChild(element)


def parse_packet(packet: bytes | None) -> minidom.Document | None:
    """The packet as a tree with an rdf:RDF in it; None where it is missing, too large, hostile or broken."""
    if not packet or len(packet) > MAX_METADATA + MAX_RECORD or packet.count(b"<") > _MAX_TAGS:
        return None
    if b"<!" in packet.replace(b"<!--", b""):
        return None
    try:
        document = minidom.parseString(packet.strip(b"\0 \r\n\t"))  # noqa: S318  (no DOCTYPE: see above)
    except (ExpatError, ValueError, LookupError):
        return None
    if _depth(document) > _MAX_DEPTH:
        return None
    return document if document.getElementsByTagNameNS(_RDF, "RDF") else None


def _depth(document: minidom.Document) -> int:
    """Levels of elements, counted without recursion, which minidom's own methods use."""
    level: list[Any] = [document]
    depth = 0
    while level and depth <= _MAX_DEPTH:
        level = [child for node in level for child in node.childNodes]
        depth += 1
    return depth


def remove_fields(document: minidom.Document, unwanted: Callable[[str, str | None], bool]) -> None:
    """Take out all attributes and elements of which `unwanted` says so, by local name and namespace."""
    for element in list(document.getElementsByTagName("*")):
        for attribute in _attributes(element):
            if attribute.namespaceURI != _XMLNS and unwanted(attribute.localName or "", attribute.namespaceURI):
                element.removeAttributeNode(attribute)
        if element.parentNode not in (None, document) and unwanted(element.localName or "", element.namespaceURI):
            element.parentNode.removeChild(element)


def _is_ours(name: str, namespace: str | None) -> bool:
    return namespace == NAMESPACE or (namespace == _IPTC and name == "DigitalSourceType")


def _set_upright(document: minidom.Document) -> None:
    """Set the orientation to 1 wherever it stands."""
    for element in document.getElementsByTagName("*"):
        for attribute in _attributes(element):
            if attribute.namespaceURI == _TIFF and attribute.localName == "Orientation":
                attribute.value = "1"
        if element.namespaceURI == _TIFF and element.localName == "Orientation":
            while element.firstChild:
                element.removeChild(element.firstChild)
            element.appendChild(document.createTextNode("1"))


def _attributes(element: minidom.Element) -> list[Any]:
    return [element.attributes.item(index) for index in range(element.attributes.length)]
