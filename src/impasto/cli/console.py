"""Progress for people on standard error, and the way from signals to Cancelled."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType, TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from impasto.contract import Progress as Report
from impasto.errors import Cancelled, Terminated

_QUIET_SECONDS = 5.0  # between two lines when standard error is not a terminal


class Reporter:
    """Shows progress and turns Ctrl-C and SIGTERM into Cancelled at the next report.

    On a terminal it draws a bar with the losses and the time left; elsewhere it writes a line now and then. A second
    Ctrl-C stops at once.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self._console = Console(stderr=True)
        self._silent = silent
        self._asked: Cancelled | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._started, self._spoken = time.monotonic(), 0.0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Reporter:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def note(self, text: str) -> None:
        """Tell the user one line."""
        if not self._silent:
            self._console.print(f"note: {text}", style="dim", highlight=False, markup=False, soft_wrap=True)

    def __call__(self, report: Report) -> None:
        """Show one report. Raises Cancelled when the user has asked to stop."""
        if self._asked is not None:
            raise self._asked
        if self._silent:
            return
        if report.stage != self._stage:
            self._finish()
            self._stage, self._started = report.stage, time.monotonic()
        if self._console.is_terminal:
            self._draw(report)
        else:
            self._say(report)

    def _draw(self, report: Report) -> None:
        if self._bar is None:
            columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}")]
            columns += [TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[losses]}")]
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(report.stage, total=1 if report.total else None, losses="", count="")
        assert self._task is not None
        self._bar.update(self._task, completed=report.share, losses=_losses(report), count=_count(report))

    def _say(self, report: Report) -> None:
        now = time.monotonic()
        if now - self._started < 2 or now - self._spoken < _QUIET_SECONDS:
            return
        self._spoken = now
        left = (now - self._started) * (1 / report.share - 1) if report.share else 0.0
        words = [f"{report.stage}: {_count(report)}", _losses(report), f"{left:.0f} s left" if left else ""]
        print(", ".join(word for word in words if word), file=sys.stderr, flush=True)

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._stage = ""

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._asked is not None:
            raise KeyboardInterrupt
        self._asked = Terminated("stopped by the system") if number == signal.SIGTERM else Cancelled("stopped")
        if not self._silent:
            print("\nstopping after this step; once more to stop at once", file=sys.stderr, flush=True)


def _count(report: Report) -> str:
    if report.unit == "byte":
        return f"{report.step / 1e6:.0f}/{report.total / 1e6:.0f} MB"
    return f"{report.step}/{report.total}" if report.total else str(report.step)


def _losses(report: Report) -> str:
    names = ("content", "style", "tv")
    return " ".join(f"{name} {report.losses[name]:.3f}" for name in names if name in report.losses)
