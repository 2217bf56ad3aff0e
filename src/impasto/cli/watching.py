"""The flags for seeing a picture grow, and for going on with one that was broken off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.cli.flags import TERMINAL
from impasto.errors import InputError

if TYPE_CHECKING:
    from impasto.cli.preview import Preview
    from impasto.engine.request import Request, Result
    from impasto.methods.registry import Method

_TIME_LAPSE_EVERY = 2


@dataclass(frozen=True)
class Watching:
    """What was asked for.

    Attributes:
        save_every: steps between two snapshots; None for none.
        resume: go on from the last.
        time_lapse: a file to join the pictures to.
        plot: a file for the losses.
        preview: a file, or `TERMINAL`.
    """

    save_every: int | None = None
    resume: bool = False
    time_lapse: Path | None = None
    plot: Path | None = None
    preview: str | None = None

    def files(self) -> dict[str, object]:
        """The files that are written, by their flags."""
        shown = None if self.preview == TERMINAL else self.preview
        return {"--plot": self.plot, "--time-lapse": self.time_lapse, "--preview": shown}

    def check(self, contents: int, method: Method) -> None:
        """Refuse, before anything is loaded, what cannot be.

        Args:
            contents: how many photographs there are.
            method: that paints.

        Raises:
            InputError: a number or name that cannot be, or one file for several pictures.
            MissingExtra: a plot or a video needs one.
        """
        if self.save_every is not None and self.save_every < 1:
            raise InputError(f"--save-every is {self.save_every}", "it takes a whole number of steps, 1 or more")
        files = {"--time-lapse": self.time_lapse, "--plot": self.plot}
        for flag, path in files.items():
            if path is not None and contents > 1:
                raise InputError(f"{flag} is of one picture, but {contents} were given", "paint them one by one")
        if self.plot is not None:
            from impasto.report.curves import check_plot

            if method.kind != "objective":
                raise _no_losses(method.name)
            check_plot(self.plot)
        if self.time_lapse is not None:
            from impasto.engine.snapshots import check_moving

            check_moving(self.time_lapse)
        if self.preview is not None and self.preview != TERMINAL:
            from impasto import images

            images.check_output(Path(self.preview), ())

    def shown(self) -> Preview | None:
        """The preview that the reporter shows beside the bar."""
        if self.preview is None:
            return None
        from impasto.cli.preview import Preview

        return Preview(None if self.preview == TERMINAL else Path(self.preview))

    def of(self, request: Request, folder: Path) -> Request:
        """The request for one picture, whose snapshots go into `folder`."""
        if self.save_every is None and not self.resume and self.time_lapse is None:
            return request
        from impasto.engine.snapshots import EVERY, Snapshots

        every = self.save_every or (EVERY if self.time_lapse is None else _TIME_LAPSE_EVERY)
        return replace(request, snapshots=Snapshots(folder, every, self.resume))

    def finish(self, result: Result, request: Request, *, whole: bool) -> list[Path]:
        """Draw and join what was asked for; a time-lapse only of a picture that is finished. Returns the files.

        A job stopped before its first step has no losses yet, which is no error.
        """
        written = []
        if self.plot is not None and (whole or result.losses):
            from impasto.report.curves import plot_losses

            if not result.losses:
                raise _no_losses(result.record["method"])
            plot_losses(result.losses, self.plot)
            written.append(self.plot)
        if self.time_lapse is not None and whole and request.snapshots is not None:
            from impasto.engine.snapshots import write_time_lapse

            write_time_lapse(request.snapshots.frames(), self.time_lapse)
            written.append(self.time_lapse)
        return written


def _no_losses(method: str) -> InputError:
    return InputError(f"method {method} has no losses to plot", "use --quality good, or leave out --plot")
