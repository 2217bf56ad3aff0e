"""Progress for people on standard error, and the way from signals to Cancelled."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from impasto.cli.printing import tell
from impasto.contract import Progress as Report
from impasto.errors import Cancelled, Terminated, plain

if TYPE_CHECKING:
    from impasto.cli.preview import Preview

_QUIET_SECONDS = 5.0  # between two lines when standard error is not a terminal


class Reporter:
    """Shows progress and turns Ctrl-C and SIGTERM into Cancelled at the next report.

    On a terminal it draws a bar with the losses and the time left; elsewhere it writes a line now and then. A second
    Ctrl-C stops at once.

    Args:
        silent: show nothing, and tell no notes.
        preview: also shows the picture.
    """

    def __init__(self, *, silent: bool = False, preview: Preview | None = None) -> None:
        self._console = Console(stderr=True)
        self._silent, self._preview = silent, preview
        self._asked: Cancelled | None = None
        self._bar: _Bar | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._started, self._spoken = time.monotonic(), 0.0
        self._begun = 0.0  # share of the stage that was done when it began: above 0 when a job goes on
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
            self._console.print(f"note: {plain(text)}", style="dim", highlight=False, markup=False, soft_wrap=True)

    def __call__(self, report: Report) -> None:
        """Show one report. Raises Cancelled when the user has asked to stop."""
        if self._asked is not None:
            raise self._asked
        if report.stage != self._stage:
            self._finish()
            self._stage, self._started, self._begun = report.stage, time.monotonic(), report.share
        if self._preview is not None:
            self._preview.show(report, self._console.width, self.note)
        if self._silent:
            return
        if self._console.is_terminal:
            self._draw(report)
        else:
            self._say(report)

    def _draw(self, report: Report) -> None:
        if self._bar is None:
            columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}")]
            columns += [TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[losses]}")]
            often = 10 if self._preview is None else 2  # a picture is some 90 kB to a terminal
            self._bar = _Bar(*columns, console=self._console, transient=True, refresh_per_second=often)
            self._bar.preview = self._preview
            self._bar.start()
            self._task = self._bar.add_task(report.stage, total=1 if report.total else None, losses="", count="")
            self._bar.tasks[-1].completed = report.share  # above 0 when a job goes on: that was not done just now
        assert self._task is not None
        self._bar.update(self._task, completed=report.share, losses=_losses(report), count=_count(report))

    def _say(self, report: Report) -> None:
        now = time.monotonic()
        if now - self._started < 2 or now - self._spoken < _QUIET_SECONDS:
            return
        self._spoken = now
        done = report.share - self._begun
        left = (now - self._started) * (1 - report.share) / done if done > 0 else 0.0
        words = [f"{report.stage}: {_count(report)}", _losses(report), f"{left:.0f} s left" if left else ""]
        tell(", ".join(word for word in words if word))

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


class _Bar(Progress):
    """The bar, under the picture where there is one."""

    preview: Preview | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """The picture, then the bar."""
        if self.preview is not None and self.preview.text:
            yield self.preview.text
        yield from super().get_renderables()


def _count(report: Report) -> str:
    if report.unit == "byte":
        return f"{report.step / 1e6:.0f}/{report.total / 1e6:.0f} MB"
    return f"{report.step}/{report.total}" if report.total else str(report.step)


def _losses(report: Report) -> str:
    names = ("content", "style", "tv")
    if "fps" in report.losses:
        return f"{report.losses['fps']:.2f} fps"
    return " ".join(f"{name} {report.losses[name]:.3f}" for name in names if name in report.losses)
