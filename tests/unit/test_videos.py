"""Videos in and out, on small clips that are made here."""

import errno
import os
from fractions import Fraction

import av
import numpy as np
import pytest

from impasto.errors import InputError, ResourceError
from impasto.videos import SegmentWriter, SourceTracks, VideoReader, VideoWriter, assemble, choose_coding, probe_video
from impasto.videos import segment_coding as coded
from tiny import noise


def frames(count=6, height=32, width=48, step=2):
    wide = noise(height, width + step * count)[0].permute(1, 2, 0).numpy()
    return [np.ascontiguousarray(wide[:, step * i : step * i + width]) for i in range(count)]


@pytest.fixture
def clip(tmp_path):
    def make(name="clip.mp4", **settings):
        path = tmp_path / name
        with VideoWriter(path, rate=25) as writer:
            for pixels in frames(**settings):
                writer.write(pixels)
        return path

    return make


def raw_clip(path, *, stamps=range(4), base=Fraction(1, 25), pixel_format="yuv420p", value=(0.2, 0.6, 0.4), **context):
    """A clip made by FFmpeg alone, so that the reader is not tested against our own writer."""
    pixels = np.full((32, 48, 3), np.rint(255 * np.array(value)), np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, pixel_format
        stream.codec_context.time_base = stream.time_base = base
        for name, wanted in context.items():
            setattr(stream.codec_context, name, wanted)
        for stamp in stamps:
            frame = av.VideoFrame.from_ndarray(pixels).reformat(
                format=pixel_format,
                dst_colorspace=context.get("colorspace", 5),
                src_color_range=2,
                dst_color_range=context.get("color_range", 1),
            )
            frame.pts, frame.time_base = stamp, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def audio_track(path, seconds=0.5):
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        for start in range(0, int(48000 * seconds), 1024):
            sound = av.AudioFrame.from_ndarray(
                (0.1 * rng.standard_normal((1, 1024))).astype(np.float32), format="fltp", layout="mono"
            )
            sound.rate, sound.pts = 48000, start
            out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    return path


def joined(path, *sources, **metadata):
    """One file with the streams of several."""
    with av.open(str(path), "w") as out:
        out.metadata.update({"title": "a title", **metadata})
        pairs = []
        for source in sources:
            template = av.open(str(source)).streams[0]
            stream = out.add_stream_from_template(template, opaque=True)
            stream.time_base = template.time_base
            stream.metadata["language"] = "deu"
            pairs.append((template, stream))
        for template, stream in pairs:
            for packet in template.container.demux(template):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
    return path


def packets(path, **which):
    with av.open(str(path)) as container:
        return [(bytes(packet), packet.pts * packet.time_base) for packet in container.demux(**which) if packet.size]


def written(source, out, *, pieces=2, coding=None, end=None, start=0.0, notes=None, drop_gps=False):
    coding = coding or choose_coding(out)
    reader = VideoReader(source, even=coding.even, start=start, end=end)
    read = list(reader)
    segments, per = [], -(-len(read) // pieces)
    for index in range(0, len(read), per):
        writer = SegmentWriter(out.parent / f"segment{index}", coded(coding), reader.header)
        for frame in read[index : index + per]:
            writer.write(frame.pixels, frame.stamp)
        segments.append(writer.close())
    beside = SourceTracks(source, start, end, drop_gps)
    assemble(segments, out, coding, beside=beside, on_note=(notes if notes is not None else []).append)
    return read


@pytest.mark.parametrize(
    ("name", "settings", "least"),
    [
        ("a.mp4", {}, 33),
        ("a.mp4", {"bits": 10}, 33),
        ("a.mp4", {"codec": "hevc"}, 31),
        ("a.mp4", {"codec": "av1"}, 31),
        ("a.mkv", {"codec": "ffv1"}, 60),
        ("a.mov", {"codec": "prores"}, 36),
        ("a.webm", {"codec": "vp9"}, 31),
        ("a.gif", {}, 28),
    ],
)
def test_every_codec_keeps_frames_and_times(tmp_path, clip, name, settings, least):
    coding = choose_coding(tmp_path / name, **settings)
    size = {"height": 96, "width": 128} if coding.codec == "hevc" else {}
    read = written(clip(**size), tmp_path / name, coding=coding)
    again = VideoReader(tmp_path / name)
    back = list(again)
    assert [frame.number for frame in back] == list(range(6))
    assert [frame.stamp * again.header.time_base for frame in back] == [Fraction(i, 25) for i in range(6)]
    assert again.header.bits == (10 if coding.deep else 8)
    for one, other in zip(read, back, strict=True):
        assert -10 * np.log10(((one.pixels - other.pixels) ** 2).mean() + 1e-9) > least


def test_webp_and_pictures(tmp_path, clip):
    from PIL import Image

    source = clip()
    written(source, tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as animation:
        assert (animation.n_frames, animation.size) == (6, (48, 32))
    (tmp_path / "frames").mkdir()
    read = written(source, tmp_path / "frames" / "%03d.png")
    pictures = sorted((tmp_path / "frames").glob("*.png"))
    assert [path.name for path in pictures] == [f"{i:03d}.png" for i in range(6)]
    assert np.asarray(Image.open(pictures[2])) == pytest.approx(255 * read[2].pixels, abs=0.6)


@pytest.mark.parametrize(
    ("pixel_format", "matrix", "full"),
    [
        *[(name, matrix, 1) for name in ("yuv420p", "yuv444p", "yuv420p10le") for matrix in (1, 5)],
        ("yuv444p", 1, 2),
        ("yuv444p", 5, 2),
    ],
)
def test_matrix_range_and_depth_are_honoured(tmp_path, pixel_format, matrix, full):
    path = raw_clip(tmp_path / "clip.mkv", pixel_format=pixel_format, colorspace=matrix, color_range=full)
    header = probe_video(path)
    assert (header.matrix, header.bits) == (matrix, 10 if "10" in pixel_format else 8)
    for frame in VideoReader(path):
        assert frame.pixels.mean((0, 1)) == pytest.approx([0.2, 0.6, 0.4], abs=0.008)


def test_colours_survive_writing(tmp_path):
    wanted = [0.8, 0.3, 0.1]
    with VideoWriter(tmp_path / "a.mp4", rate=10) as writer:
        for _ in range(3):
            writer.write(np.full((64, 64, 3), wanted, np.float32))
    assert next(iter(VideoReader(tmp_path / "a.mp4"))).pixels.mean((0, 1)) == pytest.approx(wanted, abs=0.008)
    header = probe_video(tmp_path / "a.mp4")
    assert (header.matrix, header.primaries, header.transfer, header.rate) == (5, 6, 6, 10)


def test_uneven_times_are_exact(tmp_path):
    stamps = [0, 1000, 1001, 3500, 9000]
    source = raw_clip(tmp_path / "clip.mp4", stamps=stamps, base=Fraction(1, 30000))
    read = written(source, tmp_path / "out.mp4")
    seconds = [Fraction(stamp, 30000) for stamp in stamps]
    for path in (source, tmp_path / "out.mp4"):
        reader = VideoReader(path)
        assert [frame.stamp * reader.header.time_base for frame in reader] == seconds
    assert len(read) == 5


def test_a_steady_rate_repeats_and_drops(tmp_path):
    source = raw_clip(tmp_path / "clip.mp4", stamps=[0, 1, 2, 3, 4, 5, 6, 7], base=Fraction(1, 40))
    slow, fast = (list(VideoReader(source, rate=Fraction(rate))) for rate in (20, 80))
    assert len(slow) == 4
    assert len(fast) == 15
    assert [frame.stamp for frame in fast] == list(range(15))


def test_a_rotated_clip_comes_upright(tmp_path, clip):
    plain = next(iter(VideoReader(clip("plain.mp4")))).pixels
    data = bytearray((tmp_path / "plain.mp4").read_bytes())
    # the matrix of the track's header, 16.16 and 2.30 fixed point (ISO/IEC 14496-12, 8.3.2): a quarter turn clockwise
    unit, quarter = (
        b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
        for numbers in (
            (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
            (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
        )
    )
    at = data.index(unit, data.index(b"tkhd"))
    data[at : at + 36] = quarter
    (tmp_path / "turned.mp4").write_bytes(data)
    turned = next(iter(VideoReader(tmp_path / "turned.mp4"))).pixels
    assert (probe_video(tmp_path / "turned.mp4").width, turned.shape) == (32, (48, 32, 3))
    assert turned == pytest.approx(np.rot90(plain, -1), abs=1e-6)


def test_part_of_a_clip(clip):
    reader = VideoReader(clip(count=20), start=0.2, end=0.4)
    assert [(frame.number, frame.stamp * reader.header.time_base) for frame in reader] == [
        (i, Fraction(i, 25)) for i in range(5)
    ]
    whole = list(VideoReader(reader.path))
    assert [frame.pixels.sum() for frame in reader] == [frame.pixels.sum() for frame in whole[5:10]]
    assert reader.header.count == 5


def test_sound_subtitles_and_metadata_come_along(tmp_path, clip):
    (tmp_path / "words.srt").write_text("1\n00:00:00,040 --> 00:00:00,160\nhello\n\n")
    sound = audio_track(tmp_path / "sound.mp4")
    source = joined(tmp_path / "all.mkv", clip(count=12), sound, tmp_path / "words.srt")
    assert probe_video(source).streams == ("audio aac", "subtitle srt")
    notes = []
    written(source, tmp_path / "out.mkv", pieces=3, notes=notes)
    assert not notes
    assert packets(tmp_path / "out.mkv", audio=0) == packets(source, audio=0)
    assert packets(tmp_path / "out.mkv", subtitles=0) == packets(source, subtitles=0)
    with av.open(str(tmp_path / "out.mkv")) as out:
        assert out.metadata["title"] == "a title"
        assert out.streams.audio[0].language == "deu"
    written(source, tmp_path / "out.mp4", notes=notes)
    assert [data for data, _ in packets(tmp_path / "out.mp4", audio=0)] == [
        data for data, _ in packets(source, audio=0)
    ]
    assert notes == ["subtitle 2 is srt, which this container cannot hold: it is left out"]
    part = tmp_path / "part.mkv"
    written(source, part, start=0.2, end=0.4)
    cut = packets(part, audio=0)
    assert all(0 <= at < Fraction(2, 10) for _, at in cut)
    assert {data for data, _ in cut} <= {data for data, _ in packets(source, audio=0)}
    assert 8 <= len(cut) <= 10


def test_the_place_is_left_out_on_request(tmp_path, clip):
    (tmp_path / "words.srt").write_text(
        "1\n00:00:00,040 --> 00:00:00,080\nhello\n\n2\n00:00:00,120 --> 00:00:00,160\n[latitude: 47.37]\n\n"
    )
    pictures = clip(count=12)
    source = joined(tmp_path / "all.mkv", pictures, tmp_path / "words.srt", location="+47.37+008.54/")
    phone = joined(tmp_path / "phone.mov", pictures, location="+47.37+008.54/")
    for given, name in ((source, "out.mkv"), (phone, "out.mov"), (phone, "out.mp4")):
        out = tmp_path / name
        written(given, out)
        assert b"47.37" in out.read_bytes()
        written(given, out, drop_gps=True)
        assert b"47.37" not in out.read_bytes()
        with av.open(str(out)) as container:
            assert container.metadata["title"] == "a title"
    assert [text for text, _ in packets(tmp_path / "out.mkv", subtitles=0)] == [b"hello"]


def test_broken_frames_are_passed_over_and_told(tmp_path, clip):
    source = clip("clip.mkv", count=30, height=64, width=96)
    with av.open(str(source)) as container:
        place, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][12]
    data = bytearray(source.read_bytes())
    data[place + 12 : place + size] = bytes(size - 12)
    (tmp_path / "broken.mkv").write_bytes(data)
    reader = VideoReader(tmp_path / "broken.mkv")
    read = list(reader)
    assert 28 <= len(read) <= 30
    assert reader.damaged
    assert len(reader.damaged) < 18


def test_bad_clips(tmp_path, clip):
    with pytest.raises(InputError, match="there is no file"):
        VideoReader(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="cannot be read as a video"):
        VideoReader(tmp_path / "text.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read as a video"):
        VideoReader(tmp_path / "empty.mp4")
    with pytest.raises(InputError, match="holds no video"):
        VideoReader(audio_track(tmp_path / "sound.mp4"))
    with pytest.raises(InputError, match=r"0\.24 s long and should be read from 2 s"):
        VideoReader(clip(), start=2)
    data = clip("coded.mp4").read_bytes()
    (tmp_path / "unknown.mp4").write_bytes(data.replace(b"avc1", b"zzz1"))
    with pytest.raises(InputError, match=r"unknown.mp4 (is in a video codec|does not tell|cannot be read)"):
        VideoReader(tmp_path / "unknown.mp4")


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("a.txt", {}, "names no video format"),
        ("a.png", {}, "is no name for a video"),
        ("a.mp4", {"codec": "prores"}, ".mp4 files hold no prores"),
        ("a.mp4", {"codec": "divx"}, "there is no codec 'divx'"),
        ("a.webm", {"codec": "vp9", "bits": 12}, "bits is 12"),
        ("a.gif", {"crf": 3}, "gif takes no crf"),
        ("a.mp4", {"crf": 99}, "crf is 99"),
    ],
)
def test_bad_codings(tmp_path, name, settings, words):
    with pytest.raises(InputError, match=words):
        choose_coding(tmp_path / name, **settings)


def test_a_writer_leaves_nothing_half_written(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(frames()[0])
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="a frame is 48x64 px"), VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(frames()[0])
        writer.write(frames(height=64)[0])
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="cannot be written"), VideoWriter(tmp_path / "no" / "a.mp4") as writer:
        writer.write(frames()[0])


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(_number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left"), VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(frames()[0])
    assert not list(tmp_path.iterdir())


def test_hevc_refuses_tiny_frames(tmp_path):
    coding = choose_coding(tmp_path / "a.mp4", codec="hevc")
    with (
        pytest.raises(InputError, match="48x32 px are too small for hevc"),
        VideoWriter(tmp_path / "a.mp4", coding=coding) as writer,
    ):
        writer.write(frames()[0])


def test_odd_sizes(tmp_path):
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for pixels in frames(height=33, width=47):
            writer.write(pixels)
    header = probe_video(tmp_path / "a.mp4")
    assert (header.width, header.height) == (48, 34)
