"""Progress for people on standard error, and the way from signals to Cancelled."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from impasto.cli.printing import tell
from impasto.contract import Progress as Report
from impasto.errors import Cancelled, Terminated, plain

if TYPE_CHECKING:
    from impasto.cli.preview import Preview

_QUIET_SECONDS = 5.0  # between two lines when standard error is not a terminal
_POINTS = 32  # reports over which the speed is taken


class TimeLeft:
    """Predicts when a stage ends, from the speed of its latest steps.

    The first step is left out: weights are loaded and memory is taken in it, so it lasts longer than those that follow.
    """

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque(maxlen=_POINTS)
        self._begun: float | None = None

    def update(self, share: float, now: float) -> None:
        """Take in that `share` of the work, from 0 to 1, is done at `now`, in seconds."""
        if self._begun is None:
            self._begun = share  # above 0 when a job goes on
        elif share > (self._points[-1][1] if self._points else self._begun):
            self._points.append((now, share))

    def seconds(self, now: float) -> float | None:
        """Until the end; None while too little is known."""
        if len(self._points) < 2:
            return None
        (since, before), (until, share) = self._points[0], self._points[-1]
        left = (1 - share) * (until - since) / (share - before)
        return max(0.0, left - (now - until))


class _TimeLeftColumn(ProgressColumn):
    """The time that is left, as `TimeLeft` predicts it."""

    def render(self, task: Task) -> Text:
        seconds = task.fields["left"].seconds(time.monotonic())
        return Text("" if seconds is None else f"{in_words(seconds)} left", style="progress.remaining")


def in_words(seconds: float) -> str:
    """A time for people: 42 s, 2:05, 1:02:05."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


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
        self._left = TimeLeft()
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
            self._stage, self._started, self._left = report.stage, time.monotonic(), TimeLeft()
        self._left.update(report.share, time.monotonic())
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
            columns += [TimeElapsedColumn(), _TimeLeftColumn(), TextColumn("{task.fields[losses]}")]
            often = 10 if self._preview is None else 2  # a picture is some 90 kB to a terminal
            self._bar = _Bar(*columns, console=self._console, transient=True, refresh_per_second=often)
            self._bar.preview = self._preview
            self._bar.start()
            self._task = self._bar.add_task(
                report.stage, total=1 if report.total else None, losses="", count="", left=self._left
            )
        assert self._task is not None
        self._bar.update(self._task, completed=report.share, losses=_losses(report), count=_count(report))

    def _say(self, report: Report) -> None:
        now = time.monotonic()
        if now - self._started < 2 or now - self._spoken < _QUIET_SECONDS:
            return
        self._spoken = now
        left = self._left.seconds(now)
        words = [f"{report.stage}: {_count(report)}", _losses(report), f"{in_words(left)} left" if left else ""]
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
    if report.done is not None:  # steps differ in cost, and coarser levels take some more than were asked for
        return f"{100 * report.done:.0f} %"
    return f"{report.step}/{report.total}" if report.total else str(report.step)


def _losses(report: Report) -> str:
    names = ("content", "style", "tv")
    if "fps" in report.losses:
        return f"{report.losses['fps']:.2f} fps"
    return " ".join(f"{name} {report.losses[name]:.3f}" for name in names if name in report.losses)
