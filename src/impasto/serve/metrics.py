"""What the service counts, in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from impasto.serve.service import Service

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Counts of one service; names begin with `impasto_`."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "impasto_http_requests_total", "requests by route", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "impasto_http_request_seconds", "time to the answer", ("route",), buckets=_BUCKETS, registry=self.registry
        )
        self._service = service
        self.registry.register(self)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """What is read off the service when someone asks."""
        counts = self._service.counts()
        waiting = GaugeMetricFamily("impasto_jobs", "jobs that wait or run", labels=("state", "lane"))
        for (state, lane), number in counts.open.items():
            waiting.add_metric((state, lane), number)
        yield waiting
        batches = CounterMetricFamily("impasto_batches", "passes by the pictures painted in them", labels=("pictures",))
        for size, number in counts.lanes.batches.items():
            batches.add_metric((str(size),), number)
        yield batches
        waited = CounterMetricFamily("impasto_waited_seconds", "time that pictures waited", labels=("lane",))
        for lane, took in counts.lanes.waited.items():
            waited.add_metric((lane,), took)
        yield waited
        ended = CounterMetricFamily("impasto_jobs_ended", "jobs that ended", labels=("state", "method"))
        seconds = CounterMetricFamily("impasto_job_seconds", "time that jobs took to paint", labels=("method",))
        for (state, method), (number, _) in counts.ended.items():
            ended.add_metric((state, method), number)
        for method in {method for _, method in counts.ended}:
            seconds.add_metric((method,), sum(took for (_, own), (_, took) in counts.ended.items() if own == method))
        yield ended
        yield seconds

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)
