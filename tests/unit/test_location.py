"""Where a photograph was taken stays out of a picture on request, in whatever field it stood."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from impasto import images
from impasto.images import contains_location, is_location_field

KEEPERS = ["png", "jpg", "webp", "tiff", "avif", "heic", "bmp"]
PLACES = [f"Placename{number}." for number in range(16)]
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:core="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
 xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:geo="http://www.w3.org/2003/01/geo/wgs84_pos#"
 xmlns:drone="http://www.dji.com/drone-dji/1.0/" xmlns:xmpDM="http://ns.adobe.com/xmp/1.0/DynamicMedia/"
 photoshop:City="{}" photoshop:State="{}" core:Location="{}" exif:GPSLatitude="{}" geo:lat="{}"
 drone:GpsLongtitude="{}" drone:AbsoluteAltitude="{}" xmpDM:shotLocation="{}" exif:SubjectLocation="3"
 photoshop:Headline="Kept headline">
<photoshop:Country>{}</photoshop:Country><core:CountryCode>{}</core:CountryCode>
<exif:GPSLongitude>{}</exif:GPSLongitude>
<ext:LocationCreated><rdf:Bag><rdf:li rdf:parseType="Resource"><ext:City>{}</ext:City>
 <ext:ProvinceState>{}</ext:ProvinceState></rdf:li></rdf:Bag></ext:LocationCreated>
<ext:LocationShown><rdf:Bag><rdf:li ext:Sublocation="{}"/></rdf:Bag></ext:LocationShown>
<geo:long>{}</geo:long><dc:coverage>{}</dc:coverage>
<dc:creator><rdf:Seq><rdf:li>Ada</rdf:li></rdf:Seq></dc:creator>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Kept title</rdf:li></rdf:Alt></dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta>""".format(*PLACES).encode()
IIM = b"\x1c\x02\x5a\x00\x0aIIMplace1."  # 2:90, city


def photograph(kind):
    """A file that tells its place in every way it can."""
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = "Acme", {0x829A: 0.01, 0x927C: b"Makernote1."}
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0), 27: b"GPSmethod1."}
    settings, stream = {}, io.BytesIO()
    if kind == "PNG":
        settings["pnginfo"] = PngImagePlugin.PngInfo()
        settings["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
        settings["pnginfo"].add_text("exif:GPSLatitude", "Pngtext1.")
        settings["pnginfo"].add_text("Location", "Pngtext2.")
        settings["pnginfo"].add_text("Title", "Kept title")
        settings["pnginfo"].add_text("Raw profile type iptc", "\niptc\n      20\n" + IIM.hex())
    elif kind == "TIFF":
        exif[700], exif[33723] = XMP, IIM
    else:
        settings["xmp"] = XMP
    Image.fromarray(np.full((16, 24, 3), 90, np.uint8)).save(stream, kind, exif=exif.tobytes(), **settings)
    data = stream.getvalue()
    if kind == "JPEG":
        block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(IIM).to_bytes(4, "big") + IIM + b"\0" * (len(IIM) % 2)
        data = data[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]
    return data


def unpacked(path):
    """All bytes of a file, with a PNG's compressed texts beside them."""
    data = path.read_bytes()
    for name, body in images._png.chunks(data) if path.suffix == ".png" else ():
        if name == b"iTXt" and b"\0\1\0" in body:
            data += zlib.decompress(body.split(b"\0\1\0\0\0", 1)[1])
    return data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("extension", KEEPERS)
def test_no_field_tells_the_place(tmp_path, kind, extension):
    source, path = photograph(kind), tmp_path / f"a.{extension}"
    images.write(images.read(source), path, record={"a": 1}, drop_gps=True)
    data = unpacked(path)
    places = [*PLACES, "IIMplace1.", "Makernote1.", "GPSmethod1.", "Pngtext1.", "Pngtext2.", IIM.hex()]
    assert [place for place in places if place.encode() in data] == []
    if extension != "bmp":
        assert [
            text for text in ("Ada", "Kept title", "Kept headline", "SubjectLocation") if text.encode() not in data
        ] == []
        with images._source.opened(path) as (stream, name):
            exif = images._source.open_image(stream, name).getexif()
            assert exif[0x010F] == "Acme"
            assert float(exif.get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_without_the_request_it_stays(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    images.write(images.read(photograph("PNG")), path)
    data = unpacked(path)
    assert all(place.encode() in data for place in PLACES)


def test_xmp_that_cannot_be_read_is_left_out():
    picture = images.read(photograph("WEBP").replace(b"</rdf:RDF>", b"</rdf:rdf>"))
    assert b"Placename1." in picture.origin.xmp
    assert images.without_location(picture).origin.xmp is None


@pytest.mark.parametrize(
    "name",
    [
        *("GPSLatitude", "exif:GPSInfo", "City", "State", "province-state", "Country", "CountryName", "country-code"),
        *("Location", "location-eng", "Sublocation", "LocationShownCity", "RECORDING_LOCATION", "WorldRegion"),
        *("com.apple.quicktime.location.ISO6709", "GpsLongtitude", "RelativeAltitude", "GeoTag", "coverage"),
    ],
)
def test_names_that_tell_a_place(name):
    assert is_location_field(name)


@pytest.mark.parametrize(
    "name",
    ["Alt", "title", "artist", "SubjectLocation", "Regions", "capacity", "statement", "creation_time", "Geometry"],
)
def test_names_that_tell_none(name):
    assert not is_location_field(name)


def test_subtitles_of_drones_tell_it():
    assert contains_location(b"F/2.8, SS 1/60, ISO 100, GPS (8.53, 47.37, 19), D 3.2m")
    assert contains_location(b"[latitude: 47.37] [longtitude: 8.53]")
    assert not contains_location(b"They came from the city.")
