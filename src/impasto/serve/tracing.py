"""A span of OpenTelemetry for each job, where its package is installed; without a collector it costs nothing.

`opentelemetry-instrument impasto serve` sets up a collector, and gives requests of HTTP and gRPC spans of their own;
the span of a job then lies below that of its request.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from impasto.serve.jobs import Job


class JobSpan:
    """The span of one job, from its acceptance to its end; nothing without the package.

    Args:
        job: just accepted, in the context of its request.
    """

    def __init__(self, job: Job) -> None:
        tracer = _tracer()
        about = {"impasto.job": job.id, "impasto.method": job.method, "impasto.lane": job.lane}
        self._span = None if tracer is None else tracer.start_span("impasto.job", attributes=about)

    def started(self) -> None:
        """Its turn has come."""
        if self._span is not None:
            self._span.add_event("started")

    def end(self, job: Job) -> None:
        """Nothing more becomes of it."""
        if self._span is None:
            return
        self._span.set_attribute("impasto.state", job.state)
        if job.result is not None:
            self._span.set_attribute("impasto.pixels", job.result["width"] * job.result["height"])
        if job.state == "failed":
            status = import_module("opentelemetry.trace")
            self._span.set_status(status.Status(status.StatusCode.ERROR, (job.error or {}).get("error")))
        self._span.end()


def _tracer() -> Any:
    try:
        trace = import_module("opentelemetry.trace")
    except ImportError:
        return None
    return trace.get_tracer("impasto")
