"""Films in parts that begin with shots: painted one by one they are the film that is painted as a whole."""

from dataclasses import replace
from fractions import Fraction
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

from impasto.engine.request import Request
from impasto.errors import Cancelled, InputError
from impasto.video import shots
from impasto.video.film import paint_video
from impasto.video.resume import FilmFolder
from impasto.video.settings import Film
from impasto.video.shots import Job, Part, find_parts, paint_part, paint_parts
from impasto.videos import VideoReader, VideoWriter

LENGTHS = (10, 8, 12)


@pytest.fixture
def job(tmp_path, picture_file, monkeypatch):
    """A film of three shots that pan, in segments of four frames."""
    monkeypatch.setattr(shots, "_LEAST", 4)
    with VideoWriter(tmp_path / "film.mkv", rate=25) as writer:
        for shot, length in enumerate(LENGTHS):
            blocks = np.random.default_rng(shot).random((12, 40, 3)).astype(np.float32)
            wide = blocks.repeat(4, 0).repeat(4, 1)
            for index in range(length):
                writer.write(np.ascontiguousarray(wide[:, 2 * index : 2 * index + 64]))
    film = Film(codec="ffv1", segment=4)
    styles = [(str(picture_file("style.png", seed=9)), 1.0)]
    return Job(tmp_path / "film.mkv", tmp_path / "parts.mkv", styles, Request(method="adain"), film)


def one_by_one(engine):
    return lambda job, parts, _: {part.number: paint_part(engine, job, part) for part in reversed(parts)}


def frames(path):
    return list(VideoReader(path))


def test_parts_begin_at_cuts(job):
    parts = find_parts(job.reader(), least=4)
    assert [part.count for part in parts] == list(LENGTHS)
    assert [part.start for part in parts] == [0, Fraction(10, 25), Fraction(18, 25)]
    assert parts[-1].end is None
    assert [part.count for part in find_parts(job.reader(), least=12)] == [18, 12]


@pytest.mark.parametrize("temporal", ["off", "fast"])
def test_parts_are_the_whole(job, engine, temporal):
    job = replace(job, film=replace(job.film, temporal=temporal, strengths=((0.0, 1.0), (1.2, 0.3))))
    whole = job.out.with_name("whole.mkv")
    paint_video(engine, job.source, job.styles, whole, job.request, job.film)
    result = paint_parts(engine, job, workers=2, spread=one_by_one(engine))
    assert result.frames == sum(LENGTHS)
    assert result.cuts == (10, 18)
    one, two = frames(whole), frames(job.out)
    assert [frame.stamp for frame in one] == [frame.stamp for frame in two]
    for before, after in zip(one, two, strict=True):
        np.testing.assert_allclose(before.pixels, after.pixels, atol=1.5 / 255)
    assert not [path for path in job.out.parent.iterdir() if path.name.endswith(".impasto")]


def test_a_part_whose_worker_died_goes_on_where_it_was(job, engine, monkeypatch):
    from impasto.video.frames import FramePainter

    parts, paint, calls = find_parts(job.reader(), least=4), FramePainter.paint, []
    add, kept = FilmFolder.add, Event()

    def adding(*arguments, **more):
        add(*arguments, **more)
        kept.set()

    def dying(self, *arguments, **more):
        calls.append(1)
        if len(calls) == 7:
            assert kept.wait(60)  # frames are written by another thread
            raise OSError
        return paint(self, *arguments, **more)

    def counted(self, *arguments, **more):
        calls.append(1)
        return paint(self, *arguments, **more)

    monkeypatch.setattr(FilmFolder, "add", adding)
    monkeypatch.setattr(FramePainter, "paint", dying)
    with pytest.raises(OSError):
        paint_part(engine, job, parts[0])
    calls.clear()
    monkeypatch.setattr(FramePainter, "paint", counted)
    segments = paint_part(engine, job, parts[0])
    assert sum(segment.count for segment in segments) == LENGTHS[0]
    assert len(calls) <= LENGTHS[0] - 4  # a whole segment was there


def test_a_film_that_was_stopped_keeps_its_parts(job, engine):
    def stopped(job, parts, _):
        paint_part(engine, job, parts[0])
        raise Cancelled

    with pytest.raises(Cancelled):
        paint_parts(engine, job, workers=2, spread=stopped)
    assert [path for path in job.out.parent.iterdir() if path.name.endswith(".impasto")]
    assert not job.out.exists()
    result = paint_parts(engine, replace(job, resume=True), workers=2, spread=one_by_one(engine))
    assert result.frames == sum(LENGTHS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"film": Film(start=1.0)}, "ray paints a film from its beginning"),
        ({"film": Film(rate=Fraction(12))}, "ray paints a film from its beginning"),
    ],
)
def test_what_cannot_be_painted_in_parts(job, engine, change, message):
    with pytest.raises(InputError, match=message):
        paint_parts(engine, replace(job, **change), workers=2, spread=one_by_one(engine))
    pictures = replace(job, out=job.out.with_name("%05d.png"))
    with pytest.raises(InputError, match="no single pictures"):
        paint_parts(engine, pictures, workers=2, spread=one_by_one(engine))


class Ray:
    """Stands in for Ray: a worker works when it is waited for; some die."""

    def __init__(self, engine, deaths):
        self.engine, self.deaths, self.made, self.calls = engine, deaths, 0, {}

    def make(self, job):
        self.made += 1

        def call(part):
            reference = object()
            self.calls[reference] = job, part
            return reference

        return SimpleNamespace(paint=SimpleNamespace(remote=call))

    def wait(self, references, **_):
        return references[:1], references[1:]

    def get(self, reference):
        from ray.exceptions import RayActorError

        job, part = self.calls[reference]
        if self.deaths.get(part.number, 0):
            self.deaths[part.number] -= 1
            raise RayActorError
        return paint_part(self.engine, job, part)

    def kill(self, _worker):
        pass


@pytest.mark.parametrize(("deaths", "fails"), [({1: 2}, False), ({1: 3}, True)])
def test_a_part_goes_to_another_worker_when_its_own_dies(job, engine, deaths, fails):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from impasto.engine.cluster import Shape
    from impasto.errors import StyleError

    line = shots._Cluster.__new__(shots._Cluster)
    ray = Ray(engine, dict(deaths))
    line._ray, line._make, line._workers, line._busy = ray, lambda: ray.make(job), Shape(2, 1, 0).workers, {}
    parts = find_parts(job.reader(), least=4)
    if fails:
        with pytest.raises(StyleError, match="workers that painted a part died"):
            line.paint(parts, lambda _: None)
        return
    done = line.paint(parts, lambda _: None)
    assert {number: sum(each.count for each in own) for number, own in done.items()} == dict(enumerate(LENGTHS))
    assert ray.made == 4


def test_a_part_knows_its_place():
    assert Part(0, Fraction(0), None, 3) != Part(1, Fraction(0), None, 3)
