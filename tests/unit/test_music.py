"""Music to picture, on sounds that are made here: clicks at a known tempo, tones, chords, noise."""

import json
from pathlib import Path

import numpy as np
import pytest

from impasto.cli import app
from impasto.engine import music
from impasto.engine.plan import stages_of
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.models.musicnn import TAGS
from impasto.videos import RATE, Sound, read_sound
from impasto.videos._av import load


def tone(frequency, seconds, *, amplitude=0.3):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)


def clicks(tempo, seconds=12.0, *, seed=0):
    """Short bursts of noise at a tempo, over faint noise."""
    rng, samples = np.random.default_rng(seed), np.zeros(round(seconds * RATE))
    samples += rng.normal(0, 1e-4, len(samples))
    for at in np.arange(0.3, seconds - 0.1, 60 / tempo):
        place = round(at * RATE)
        burst = rng.normal(0, 0.4, 600) * np.exp(-np.arange(600) / 120)
        samples[place : place + 600] += burst[: len(samples) - place]
    return samples


def sound(samples, name="made.wav"):
    return Sound(name, np.clip(samples, -1, 1).astype(np.float32))


def write_sound(path, samples, codec, rate=48000):
    """A recording in a file, by PyAV, at a rate of its own."""
    av = load()
    count = round(len(samples) * rate / RATE)
    slow = np.interp(np.arange(count) * RATE / rate, np.arange(len(samples)), samples).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray((slow * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, "mono", rate, frame_size=stream.codec_context.frame_size or 1024)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("tempo", [52, 60, 75, 90, 100.5, 120, 128, 140, 174, 200])
def test_the_tempo_of_clicks_is_told_within_two_percent(tempo):
    assert music.tempo_of(music.onsets(sound(clicks(tempo)))) == pytest.approx(tempo, rel=0.02)


def test_noise_and_a_held_tone_have_no_tempo():
    rng = np.random.default_rng(0)
    assert music.tempo_of(music.onsets(sound(rng.normal(0, 0.1, 8 * RATE)))) == 0
    assert music.tempo_of(music.onsets(sound(tone(440, 8)))) == 0


def test_beats_lie_where_the_clicks_are():
    beats = music.beats_of(sound(clicks(100)))
    assert len(beats) >= 17
    nearest = np.abs(beats[:, None] - (0.3 + 0.6 * np.arange(20))[None]).min(1)
    assert np.median(nearest) < 0.05


@pytest.mark.parametrize(
    ("notes", "key"),
    [
        ((261.63, 329.63, 392.0, 349.23, 440.0, 493.88, 293.66, 261.63, 392.0), ("C", "major")),
        ((440.0, 523.25, 659.26, 587.33, 698.46, 493.88, 440.0, 659.26), ("A", "minor")),
        ((293.66, 369.99, 440.0, 392.0, 493.88, 554.37, 329.63, 293.66, 440.0), ("D", "major")),
    ],
)
def test_keys_of_scales_are_told(notes, key):
    samples = np.concatenate([tone(frequency, 0.5) for frequency in notes])
    assert music.key_of(sound(samples))[:2] == key


def test_measures_follow_what_changes():
    quiet, loud = (music.measure(sound(tone(440, 3, amplitude=size))) for size in (0.01, 0.6))
    assert quiet.energy < 0.2
    assert loud.energy > 0.8
    dark, bright = (music.measure(sound(tone(frequency, 3))) for frequency in (250, 4000))
    assert dark.brightness < 0.15
    assert bright.brightness > 0.8
    noise = music.measure(sound(np.random.default_rng(0).normal(0, 0.1, 3 * RATE)))
    assert noise.roughness > 0.8
    assert dark.roughness < 0.1


def test_what_a_recording_stands_for_is_told_and_the_same_every_time():
    wild = music.interpret(music.Measures(170, -8, 0.95, 0.8, 0.6, "E", "minor", 0.8))
    calm = music.interpret(music.Measures(60, -35, 0.15, 0.2, 0.05, "C", "major", 0.9))
    assert "swirling" in wild.sentence
    assert "storm" in wild.sentence
    assert "calm" in calm.sentence
    assert "dark" in calm.sentence
    assert (wild.strength, wild.style_scale) == (0.98, 0.7)
    assert (calm.strength, calm.style_scale) == (0.66, 1.6)
    assert len(wild.reasons) == 5
    assert ", ".join(wild.reasons.values()) == wild.sentence
    assert wild == music.interpret(wild.measures)
    assert json.loads(json.dumps(wild.record())) == wild.record()


def test_likely_tags_add_words_of_their_own_before_those_of_the_measures():
    measures = music.Measures(60, -35, 0.15, 0.2, 0.05, "C", "major", 0.9)
    plain = music.interpret(measures)
    tagged = music.interpret(measures, {"guitar": 0.31, "sitar": 0.4, "indian": 0.5, "quiet": 0.9, "choir": 0.3})
    assert list(tagged.reasons)[:3] == ["tag indian 0.50", "tag guitar 0.31", "tempo 60"]
    assert tagged.sentence == f"Indian miniature, maharaja court, guitar player, {plain.sentence}"
    assert list(tagged.record()["tags"].items())[:2] == [("quiet", 0.9), ("indian", 0.5)]
    assert (tagged.strength, tagged.style_scale) == (plain.strength, plain.style_scale)
    assert music.interpret(measures, {"guitar": 0.29, "loud": 0.99}).sentence == plain.sentence


def test_every_tag_that_chooses_words_is_one_of_the_networks_and_chooses_once():
    chosen = [tag for group in music._TAGGED for tag in group]
    assert set(chosen) <= set(TAGS)
    assert len(chosen) == len(set(chosen))


def test_a_recording_is_tagged_where_the_weights_are_given_and_measured_alike_where_they_are_not(tmp_path, monkeypatch):
    path = write_sound(tmp_path / "song.wav", clicks(96, 4.0), "pcm_s16le")
    plain, heard = music.listen(path), []
    likely = np.where(np.array(TAGS) == "harp", 0.6, 0.1).astype(np.float32)
    monkeypatch.setattr(music.MusicTagger, "read", lambda _path: lambda samples: heard.append(samples) or likely)
    tagged = music.listen(path, tagger=tmp_path / "weights")
    assert tagged.sentence == f"garden, nymphs, shepherd, {plain.sentence}"
    assert tagged.measures == plain.measures
    assert plain.record()["tags"] == {}
    assert len(heard[0]) == pytest.approx(4 * music.RATE, rel=0.01)
    assert music.listen(path, tagger=tmp_path / "weights") == tagged
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("ending", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("ogg", "libopus"), ("mp3", "mp3")]
)
def test_recordings_of_the_usual_kinds_are_read(tmp_path, ending, codec):
    path = write_sound(tmp_path / f"song.{ending}", clicks(96, 8.0), codec)
    heard = read_sound(path)
    assert heard.seconds == pytest.approx(8, abs=0.2)
    assert music.listen(path).measures.tempo == pytest.approx(96, rel=0.02)
    assert music.listen(path) == music.listen(str(path))


def test_a_silent_recording_is_refused():
    with pytest.raises(InputError, match="is silent"):
        music.measure(sound(np.zeros(4 * RATE)))


def test_a_recording_of_half_a_second_is_refused():
    with pytest.raises(InputError, match=r"lasts 0\.50 s"):
        music.measure(sound(tone(440, 0.5)))


def test_a_corrupt_recording_and_a_film_without_sound_are_refused(tmp_path):
    (tmp_path / "bad.mp3").write_bytes(b"no music" * 100)
    with pytest.raises(InputError, match=r"bad\.mp3 cannot be read as sound|holds no sound"):
        music.listen(tmp_path / "bad.mp3")

    av = load()
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="has no sound"):
        music.listen(tmp_path / "mute.mp4")
    with pytest.raises(InputError, match="does not exist"):
        music.listen(tmp_path / "none.mp3")


def test_strength_and_strokes_come_from_the_music_unless_they_are_asked_for(monkeypatch):
    reading = music.interpret(music.Measures(60, -35, 0.15, 0.2, 0.05, "C", "major", 0.9))
    monkeypatch.setattr(music, "listen", lambda _path: reading)
    knobs = stages_of("song.mp3", Request(method="adain"))[-1].knobs
    assert (knobs.strength, knobs.style_scale) == (0.66, 1.6)
    knobs = stages_of("song.mp3", Request(method="adain", knobs={"strength": 0.3}))[-1].knobs
    assert (knobs.strength, knobs.style_scale) == (0.3, 1.6)
    by_clip = stages_of("song.mp3", Request(method="auto", knobs={"clip": "shapes"}))[
        -1
    ]  # which has no strokes to scale
    assert (by_clip.method.name, by_clip.knobs.strength) == ("clip", 0.66)
    assert stages_of("arbitrary.jpg", Request(method="adain"))[-1].knobs.strength == 1.0


def test_only_recordings_are_taken_for_music():
    assert all(music.is_sound(name) for name in ("a.mp3", Path("b.FLAC"), "film.mp4"))
    assert not any(music.is_sound(name) for name in ("a.jpg", "irises", "a stormy night. dark", 3, "net.safetensors"))


def test_a_film_follows_beats_loudness_and_bars(tmp_path):
    quiet_then_loud = np.concatenate([0.1 * clicks(120, 6.0), clicks(120, 6.0)])
    path = write_sound(tmp_path / "song.wav", quiet_then_loud, "pcm_s16le")
    led = music.follow(path, styles=2, seconds=12.0)
    assert led.tempo == pytest.approx(120, rel=0.02)
    times, strengths = np.array(led.strengths).T
    assert (np.diff(times) > 0).all()
    assert (strengths >= 0).all()
    assert (strengths <= 1).all()
    assert strengths[times > 7].mean() > strengths[times < 5].mean() + 0.1
    starts = [at for at, shares in led.timeline if shares == (0.0, 1.0)]
    assert len(starts) >= 2
    assert all(sum(shares) == 1 for _, shares in led.timeline)
    assert [at for at, _ in led.timeline] == sorted(at for at, _ in led.timeline)
    assert music.follow(path, styles=1, seconds=12.0).timeline == ()
    short = music.follow(path, styles=2, seconds=3.0)
    assert max(at for at, _ in (*short.strengths, *short.timeline)) <= 3.0


def test_follow_leaves_no_room_for_points_of_the_users_own(tmp_path, capsys):
    path = write_sound(tmp_path / "song.wav", clicks(120, 4.0), "pcm_s16le")
    line = ["video", "clip.mp4", "--style", "pack:irises", "--follow", str(path), "--strength-at", "1=0.5"]
    assert app.run(line) == 2
    assert "--follow sets strength and styles over time" in capsys.readouterr().err
