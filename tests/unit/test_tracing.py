"""Each job has a span of OpenTelemetry, where its package is installed."""

from importlib import import_module

import pytest

from impasto.errors import ResourceError
from impasto.serve import tracing
from impasto.serve.fields import Upload
from impasto.serve.service import Service
from serving import png

UPLOADS = [Upload("content", "photo.png", png(0)), Upload("style", "painting.png", png(1))]


class Spans:
    """A tracer that keeps what is told."""

    def __init__(self):
        self.told = []

    def start_span(self, name, attributes):
        self.told.append((name, attributes))
        return self

    def add_event(self, name):
        self.told.append(name)

    def set_attribute(self, name, value):
        self.told.append((name, value))

    def set_status(self, status):
        self.told.append((status.status_code.name, status.description))

    def end(self):
        self.told.append("end")


@pytest.fixture
def spans(monkeypatch):
    trace = pytest.importorskip("opentelemetry.trace")
    spans = Spans()
    monkeypatch.setattr(trace, "get_tracer", lambda name: spans)
    return spans


def ended(engine):
    service = Service(engine)
    service.start()
    job = service.submit(UPLOADS, {"quality": "draft"})
    list(service.watch(job.id))
    service.close(0)
    return job


def test_a_job_has_a_span(engine, spans):
    job = ended(engine)
    name, about = spans.told[0]
    assert (name, about["impasto.job"], about["impasto.method"]) == ("impasto.job", job.id, "adain")
    assert spans.told[1:] == ["started", ("impasto.state", "done"), ("impasto.pixels", 64 * 48), "end"]


def test_the_span_of_a_failure_tells_it(engine, spans, monkeypatch):
    def fail(*_, **__):
        raise ResourceError("memory ran out", "use less")

    monkeypatch.setattr(engine, "stylize", fail)
    monkeypatch.setattr(engine, "prepare", fail)
    ended(engine)
    assert spans.told[-3:] == [("impasto.state", "failed"), ("ERROR", "memory ran out"), "end"]


def test_without_the_package_nothing_is_told(engine, spans, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(tracing, "import_module", missing)
    ended(engine)
    assert spans.told == []
    assert import_module("opentelemetry.trace")
