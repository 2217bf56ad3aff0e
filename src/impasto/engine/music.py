"""Music to picture: what is measured of a recording, and the sentence, strength and strokes that it stands for.

The mapping is ours, plain and the same every time: docs/words.md tells it. Nothing here is learnt but the tags, which a
network gives where its weights were fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError
from impasto.images import EXTENSIONS
from impasto.models.checkpoint import file_version
from impasto.models.musicnn import RATE, TAGS, MusicTagger

if TYPE_CHECKING:
    from impasto.videos import Sound

Floats = NDArray[np.float64]

TAGGER = "musicnn"
"""The network that tags recordings, where it was fetched."""

_HOP, _WINDOW, _FINE = 256, 1024, 8192  # samples
_SILENCE = -60.0  # dB of full scale: what is quieter throughout holds nothing to measure
_SHORTEST = 1.0  # seconds
_SLOWEST, _FASTEST = 40.0, 220.0  # beats a minute
_USUAL = 120.0  # beats a minute, near which people tap
_HALVES = 0.8  # of a beat's periodicity, at half its length, makes that the beat
_CLEAR = 0.5  # fit of a key's profile below which none is heard
_STEADY = 0.15  # periodicity below which nothing is called a beat
_PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclass(frozen=True)
class Measures:
    """What is measured of a recording.

    Attributes:
        tempo: beats a minute; 0 where there is no steady beat.
        loudness: root mean square, in dB of full scale.
        energy: 0 (quiet) to 1 (loud all through).
        brightness: 0 (dark) to 1 (bright): the middle of the spectrum, between 200 and 6,400 Hz, in octaves.
        roughness: 0 (pure tones) to 1 (noise): flatness of the spectrum.
        key: such as "A".
        mode: "major" or "minor".
        clarity: how well the key's profile fits, at most 1.
    """

    tempo: float
    loudness: float
    energy: float
    brightness: float
    roughness: float
    key: str
    mode: str
    clarity: float


@dataclass(frozen=True)
class Reading:
    """What a recording stands for.

    Attributes:
        measures: of it.
        reasons: each choice, and the measure that it comes from.
        sentence: for the search by meaning.
        strength: 0.6 to 1, by its energy.
        style_scale: 0.7 (small strokes) to 1.6 (large ones), by its tempo.
        tags: how likely each of `TAGS` is, from 0 to 1; none where the network is not at hand.
    """

    measures: Measures
    reasons: Mapping[str, str]
    sentence: str
    strength: float
    style_scale: float
    tags: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Plain values for `--json` and records."""
        own = self.measures
        first = sorted(self.tags, key=lambda tag: -self.tags[tag])[:_TOLD]
        return {
            "tempo": round(own.tempo, 1),
            "loudness": round(own.loudness, 1),
            "energy": round(own.energy, 3),
            "brightness": round(own.brightness, 3),
            "roughness": round(own.roughness, 3),
            "key": f"{own.key} {own.mode}",
            "tags": {tag: round(self.tags[tag], 3) for tag in first},
            "sentence": self.sentence,
            "strength": self.strength,
            "style_scale": self.style_scale,
            "reasons": dict(self.reasons),
        }


def is_sound(style: Any) -> bool:
    """Whether a style is a recording, or a film for its sound, by the ending of its name."""
    if not isinstance(style, str | Path):
        return False
    ending = Path(style).suffix.lower()
    if not ending or ending in EXTENSIONS:
        return False  # as nearly always: then nothing is loaded
    from impasto.videos import SOUND_EXTENSIONS, VIDEO_EXTENSIONS

    return ending in {*SOUND_EXTENSIONS, *VIDEO_EXTENSIONS}


def listen(path: str | Path, *, tagger: Path | None = None) -> Reading:
    """What a recording stands for; the same for the same file.

    tagger: the weights of `TAGGER`, which adds words for what it hears.

    Raises:
        InputError: it cannot be read, has no sound, is silent, or is shorter than a second.
        MissingExtra: PyAV is not installed.
    """
    path = Path(path)
    version = file_version(path) if path.is_file() else ()
    return interpret(_measured(path, version), _tagged(path, version, tagger) if tagger else {})


@lru_cache(maxsize=16)
def _measured(path: Path, version: tuple[str | int, ...]) -> Measures:  # noqa: ARG001 - a part of the key
    from impasto.videos import read_sound

    return measure(read_sound(path))


@lru_cache(maxsize=16)
def _tagged(path: Path, version: tuple[str | int, ...], tagger: Path) -> Mapping[str, float]:  # noqa: ARG001
    from impasto.videos import read_sound

    likely = MusicTagger.read(tagger)(read_sound(path, rate=RATE).samples)
    return {tag: float(value) for tag, value in zip(TAGS, likely, strict=True)}


def settings_of(heard: Sequence[Reading]) -> dict[str, float]:
    """Strength and size of strokes that recordings ask for, in the mean."""
    return {
        "strength": round(sum(one.strength for one in heard) / len(heard), 3),
        "style_scale": round(sum(one.style_scale for one in heard) / len(heard), 3),
    }


# What is measured


def measure(sound: Sound) -> Measures:
    """All measures of a recording.

    Raises:
        InputError: it is silent, or shorter than a second.
    """
    check(sound)
    loudness = _decibels(float(np.sqrt(np.mean(sound.samples.astype(np.float64) ** 2))))
    spectrum, rate = _spectrogram(sound, _WINDOW), _rate()
    power = spectrum**2
    total = power.sum(0)
    frequencies = np.linspace(0, rate / 2, spectrum.shape[0])
    loud = total > 1e-4 * total.max()
    middles = (spectrum * frequencies[:, None]).sum(0)[loud] / spectrum.sum(0)[loud]
    centre = float(np.median(middles))  # by amplitudes: by powers, a bass alone makes everything dark
    flatness = np.exp(np.log(power[1:, loud] + 1e-12).mean(0)) / (power[1:, loud].mean(0) + 1e-12)
    key, mode, clarity = key_of(sound)
    return Measures(
        tempo=tempo_of(onsets(sound)),
        loudness=loudness,
        energy=float(np.clip((loudness + 40) / 30, 0, 1)),
        brightness=float(np.clip(np.log2(max(centre, 1.0) / 200) / 5, 0, 1)),
        roughness=float(np.clip(np.median(flatness) * 2, 0, 1)),
        key=key,
        mode=mode,
        clarity=clarity,
    )


def check(sound: Sound) -> None:
    """Refuse what holds nothing to measure. Raises InputError."""
    if sound.seconds < _SHORTEST:
        raise InputError(f"{sound.name} lasts {sound.seconds:.2f} s", "give a recording of a second or more")
    if _decibels(float(np.abs(sound.samples).max())) < _SILENCE:
        raise InputError(f"{sound.name} is silent", "give a recording with sound in it")


def onsets(sound: Sound) -> Floats:
    """How much begins at each moment, `onset_rate()` a second: the rise of the spectrum in decibels, above its mean."""
    loud = np.log1p(100 * _spectrogram(sound, _WINDOW))
    rise = np.maximum(np.diff(loud, axis=1), 0).mean(0)
    wide = max(3, round(onset_rate()) | 1)
    local = np.convolve(np.pad(rise, wide // 2, mode="reflect"), np.ones(wide) / wide, "valid")
    above: Floats = np.maximum(rise - local[: len(rise)], 0)
    return above


def onset_rate() -> float:
    """Values of `onsets` a second."""
    return _rate() / _HOP


def tempo_of(begins: Floats) -> float:
    """Beats a minute of what `onsets` gives; 0 where nothing repeats steadily.

    The lag at which it is most like itself, weighted towards what people tap; halved while the half is nearly as
    good. It is then told more exactly by a late multiple of the beat.
    """
    rate = onset_rate()
    centred = begins - begins.mean()
    size = 1 << int(2 * len(centred) - 1).bit_length()
    likeness = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2)[: len(centred)]
    if likeness[0] <= 0:
        return 0.0
    likeness = likeness / likeness[0] / np.maximum(1 - np.arange(len(centred)) / len(centred), 0.1)
    first, last = int(60 * rate / _FASTEST), min(int(60 * rate / _SLOWEST) + 1, len(centred) - 2)
    if last <= first + 2:
        return 0.0
    lags = np.arange(first, last)
    heights = np.array([_near(likeness, float(lag)) for lag in lags])
    prior = np.exp(-0.5 * np.log2(60 * rate / lags / _USUAL) ** 2)
    lag = int(lags[np.argmax(heights * prior)])
    while lag // 2 >= first and _near(likeness, lag / 2) >= _HALVES * _near(likeness, lag):
        lag = round(lag / 2)
    if _near(likeness, lag) < _STEADY:
        return 0.0
    return float(60 * rate / _refined(likeness, float(lag)))


def _near(likeness: Floats, lag: float) -> float:
    """The most alike within a step: beats rarely fall on whole steps."""
    at = round(lag)
    return float(likeness[max(at - 1, 1) : at + 2].max())


def _refined(likeness: Floats, lag: float) -> float:
    """The lag by its peaks at twice, four times, ... itself, each of which is told twice as exactly."""
    exact, times = _peak(likeness, lag, 2.0), 1
    while 2 * times * exact < len(likeness) / 2 and times < 16:
        times *= 2
        exact = _peak(likeness, times * exact, 2.0) / times
    return exact


def _peak(likeness: Floats, lag: float, reach: float) -> float:
    """The place of the highest value near a lag, between steps by a parabola."""
    low, high = max(1, int(lag - reach)), min(len(likeness) - 2, int(lag + reach) + 1)
    at = low + int(np.argmax(likeness[low : high + 1]))
    left, middle, right = likeness[at - 1 : at + 2]
    bend = left - 2 * middle + right
    return at + (0.5 * (left - right) / bend if bend < 0 else 0.0)


def key_of(sound: Sound) -> tuple[str, str, float]:
    """Key, mode, and how well the profile of that key fits what is heard, at most 1.

    Source: Krumhansl 1990, Cognitive Foundations of Musical Pitch: profiles of keys, compared by correlation.
    """
    spectrum = _spectrogram(sound, _FINE).mean(1)
    frequencies = np.linspace(0, _rate() / 2, len(spectrum))
    heard = (frequencies >= 55) & (frequencies <= 2000)
    pitches = np.round(12 * np.log2(frequencies[heard] / 440) + 9).astype(int) % 12
    chroma = np.bincount(pitches, spectrum[heard], minlength=12)
    found = [
        (float(np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]), _PITCHES[tonic], mode)
        for mode, profile in (("major", _MAJOR), ("minor", _MINOR))
        for tonic in range(12)
        if chroma.std() > 0
    ]
    clarity, key, mode = max(found, default=(0.0, "C", "major"))
    return key, mode, clarity


def loudness_over(sound: Sound, rate: float) -> Floats:
    """Loudness from 0 to 1 at each moment, `rate` a second, against the recording's own loudest and quietest."""
    step = round(_rate() / rate)
    count = max(1, len(sound.samples) // step)
    blocks = sound.samples[: count * step].reshape(count, -1).astype(np.float64)
    levels = np.array([_decibels(float(np.sqrt((block**2).mean()))) for block in blocks])
    low, high = np.percentile(levels, [10, 95])
    level: Floats = np.clip((levels - low) / max(high - low, 6.0), 0, 1)
    return level


def beats_of(sound: Sound) -> Floats:
    """Times of the beats in seconds; none where there is no steady tempo."""
    begins = onsets(sound)
    tempo = tempo_of(begins)
    if not tempo:
        return np.zeros(0)
    period, rate = 60 / tempo, onset_rate()
    phases = np.arange(0, period, 1 / rate)
    times = np.arange(0, len(begins) / rate - period, period)
    smooth = np.convolve(begins, np.hanning(5), "same")
    hits = [smooth[np.minimum(((times + phase) * rate).astype(int), len(smooth) - 1)].sum() for phase in phases]
    beats: Floats = times + phases[int(np.argmax(hits))]
    return beats


def _spectrogram(sound: Sound, window: int) -> Floats:
    """Amplitudes `(window / 2 + 1, T)`."""
    hop = _HOP * window // _WINDOW
    padded = np.pad(sound.samples.astype(np.float64), window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    amplitudes: Floats = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)).T / window
    return amplitudes


def _rate() -> float:
    from impasto.videos import RATE

    return float(RATE)


def _decibels(amplitude: float) -> float:
    return 20 * float(np.log10(max(amplitude, 1e-9)))


# What it stands for


def interpret(measures: Measures, tags: Mapping[str, float] | None = None) -> Reading:
    """The sentence, the strength and the strokes that measures and tags stand for; see docs/words.md."""
    pace, tags = measures.tempo or 90.0, tags or {}
    reasons = _heard(tags)
    reasons |= {
        f"tempo {measures.tempo:.0f}": _step(pace, (76, 112, 150), _MOTION),
        f"energy {measures.energy:.2f}": _step(measures.energy, (0.3, 0.6, 0.85), _FORCE),
        f"brightness {measures.brightness:.2f}": _step(measures.brightness, (0.3, 0.5, 0.7), _LIGHT),
    }
    if measures.clarity >= _CLEAR:
        reasons[f"{measures.key} {measures.mode}"] = _MOOD[measures.mode]
    if measures.roughness > 0.4:
        reasons[f"roughness {measures.roughness:.2f}"] = "rough thick paint"
    sentence = ", ".join(reasons.values())
    strength = round(0.6 + 0.4 * measures.energy, 3)
    scale = round(float(np.clip(1.6 - 0.9 * (pace - 60) / 100, 0.7, 1.6)), 3)
    return Reading(measures, reasons, sentence, strength, scale, tags)


_MOTION = (
    "calm, still, quiet",
    "gentle, soft strokes",
    "lively, quick brush strokes",
    "wild swirling strokes",
)
_FORCE = ("delicate pale empty space", "tender", "strong bold colours", "violent dramatic struggle, storm")
_LIGHT = ("dark night, deep black shadow", "warm brown and gold", "clear daylight", "bright sunny light colours")
_MOOD = {"major": "cheerful, joyful summer", "minor": "melancholy, lonely"}

_LIKELY = 0.3  # of a tag that counts: white noise is called a guitar with 0.28
_MOST_TAGGED, _TOLD = 2, 5
_TAGGED = {
    ("indian", "sitar"): "Indian miniature, maharaja court",
    ("choir", "choral"): "golden angels, heavenly choir",
    ("opera",): "theatrical drama, noble passion",
    ("harpsichord",): "Rococo court, powdery pastel, luxurious",
    ("piano",): "piano, cosy interior, music lesson",
    ("guitar",): "guitar player",
    ("violin", "cello", "strings"): "violin and lute, Baroque musicians",
    ("harp", "flute"): "garden, nymphs, shepherd",
    ("techno", "electronic", "synth", "beat", "beats"): "cabaret at night, dots, Paris nightlife",
    ("dance",): "ballet dancers",
    ("rock", "metal", "drums"): "fierce battle, fire, rearing horses",
    ("ambient", "new age"): "moonlight, mist, dreamlike",
    ("country",): "harvest, peasants, country life",
    ("weird",): "odd ghostly monster, hell",
    ("female", "woman", "female vocal", "female voice"): "graceful lady",
    ("male", "man", "male vocal", "male voice"): "portrait of a man",
}  # what tags stand for, each with those that are much the same; others tell of no picture, or what is measured anyhow


def _heard(tags: Mapping[str, float]) -> dict[str, str]:
    """The likeliest tags with their words, each group of tags once."""
    found = [(max((tags.get(tag, 0.0), tag) for tag in group), words) for group, words in _TAGGED.items()]
    likely = sorted(((value, tag, words) for (value, tag), words in found if value >= _LIKELY), reverse=True)
    return {f"tag {tag} {value:.2f}": words for value, tag, words in likely[:_MOST_TAGGED]}


def _step(value: float, limits: Sequence[float], words: Sequence[str]) -> str:
    return words[sum(value >= limit for limit in limits)]


# A film that follows music

_FOLLOW_RATE = 10.0  # points a second
_QUIET, _LOUD, _BEAT = 0.45, 0.85, 0.15  # strength where it is quiet, where it is loud, and what a beat adds
_BAR = 4  # beats until the next style


@dataclass(frozen=True)
class Following:
    """How a film follows a recording.

    Attributes:
        strengths: pairs of seconds and strength.
        timeline: pairs of seconds and shares of the styles; none for one style.
        tempo: beats a minute; 0 where there is no steady beat.
    """

    strengths: tuple[tuple[float, float], ...]
    timeline: tuple[tuple[float, tuple[float, ...]], ...]
    tempo: float


def follow(path: Path, *, styles: int, seconds: float) -> Following:
    """Strength by loudness and beat, and the next style at each bar of four beats.

    Args:
        path: of the recording.
        styles: how many there are.
        seconds: that the film lasts; where the recording is shorter, it is as quiet as at its quietest from then on.

    Raises:
        InputError: as `listen`.
    """
    from impasto.videos import read_sound

    sound = read_sound(path)
    check(sound)
    levels, beats = loudness_over(sound, _FOLLOW_RATE), beats_of(sound)
    until = min(seconds, sound.seconds)
    points = {
        round(index / _FOLLOW_RATE, 3): _QUIET + (_LOUD - _QUIET) * float(level)
        for index, level in enumerate(levels)
        if index / _FOLLOW_RATE <= until
    }
    for beat in beats[beats <= until]:
        at = round(float(beat), 3)
        level = _QUIET + (_LOUD - _QUIET) * float(levels[min(int(beat * _FOLLOW_RATE), len(levels) - 1)])
        points[at] = min(1.0, level + _BEAT)
    strengths = tuple((at, round(value, 4)) for at, value in sorted(points.items()))
    tempo = tempo_of(onsets(sound))
    return Following(strengths, _bars(beats[beats <= until], styles), tempo)


def _bars(beats: Floats, styles: int) -> tuple[tuple[float, tuple[float, ...]], ...]:
    """The time line that goes on to the next style at each bar, within a fifth of a second."""
    if styles < 2 or not len(beats):
        return ()
    points: list[tuple[float, tuple[float, ...]]] = []
    for number, start in enumerate(beats[::_BAR]):
        before, after = _only((number - 1) % styles, styles), _only(number % styles, styles)
        if number and start > 0.2:
            points.append((round(float(start) - 0.2, 3), before))
        points.append((round(float(start), 3), after))
    return tuple(points)


def _only(index: int, count: int) -> tuple[float, ...]:
    return tuple(float(place == index) for place in range(count))
