"""Where results go: the `-o` of the user, or beside the photograph."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.cli.printing import writing
from impasto.cli.streams import is_closed
from impasto.errors import Cancelled, InputError, plain
from impasto.files import fitting, is_folder, slug

if TYPE_CHECKING:
    from impasto.engine.request import Result


@contextmanager
def keeping_best(save: Callable[[Result], object]) -> Iterator[None]:
    """Have the best picture so far saved where the painting inside is stopped, before it ends in Cancelled."""
    try:
        yield
    except Cancelled as cancelled:
        if cancelled.result is not None:
            save(cancelled.result)
            cancelled.hint = "the best picture so far is saved"
        raise


class Targets:
    """Where results go: the `-o` of the user, or beside the photograph.

    Args:
        out: a file, a folder, "-" for standard output, or None.
        trees: folders whose own folders the results keep.
        several: whether there are several photographs, for which `out` is a folder.
        format: of what has no name of its own; PNG by default.
        jpeg_quality: see `images.write`.

    Raises:
        InputError: these do not fit together.
    """

    def __init__(
        self,
        out: str | None,
        *,
        several: bool,
        trees: Sequence[Path] = (),
        format: str | None = None,  # noqa: A002 - the flag's name
        jpeg_quality: int | None = None,
    ) -> None:
        self._out, self._jpeg_quality, self._trees = out, jpeg_quality, trees
        self._folder = out is not None and out != "-" and (several or is_folder(out) or out.endswith(("/", "\\")))
        if out == "-" and several:
            raise InputError("several pictures cannot go to standard output", "name a folder with -o")
        if several and out is not None and not is_folder(out) and _names_picture(out):
            raise InputError(f"several pictures cannot go into one file, {plain(out)}", "name a folder with -o")
        self._ending = self._ending_of(format)

    def _ending_of(self, wanted: str | None) -> str:
        """The ending of names that are made up here."""
        from impasto import images

        if wanted is None:
            return ".png"
        if self._out not in (None, "-") and not self._folder:
            raise InputError(
                f"--format is {wanted}, but -o names a file", "leave out --format: the ending of -o names the format"
            )
        return images.check_format(wanted, self._jpeg_quality)

    def to_stdout(self, contents: list[str]) -> bool:
        """Whether the picture goes to standard output."""
        return self._out == "-" or (self._out is None and contents == ["-"])

    @property
    def file(self) -> str | None:
        """The one file that results go to; None where each gets a new name."""
        return None if self._folder else self._out

    def check(self, content: str) -> None:
        """Refuse before any computing what cannot be written; `files.check_apart` tells what would replace an input."""
        from impasto import images

        if self.to_stdout([content]):
            images.check_format(self._ending, self._jpeg_quality)
            return
        target = self.of(content, ["style"])
        assert target is not None
        if self._folder and not target.parent.exists():
            self._make_folder(Path(self._out or ""))
            target.parent.mkdir(parents=True, exist_ok=True)
        images.check_output(target, (), quality=self._jpeg_quality)

    def of(self, content: str, labels: list[str]) -> Path | None:
        """The path for one content; None is standard output."""
        if self.to_stdout([content]):
            return None
        stem = "stdin" if content == "-" else Path(content).stem
        name = fitting(stem, f"-{slug(' and '.join(labels))}{self._ending}")
        if self._out is None:
            return unused(Path(content).parent / name)
        return unused(Path(self._out) / self._branch(content) / name) if self._folder else Path(self._out)

    def _branch(self, content: str) -> Path:
        """The folder of a photograph within the folder that was given, to be kept in the folder of results."""
        above = next((tree for tree in self._trees if Path(content).is_relative_to(tree)), None)
        return Path() if above is None else Path(content).parent.relative_to(above)

    def save(self, content: str, result: Result, on_note: Callable[[str], None]) -> Path | None:
        """Write the result of one content. Returns its path; None where it went to standard output."""
        path = self.of(content, labels(result.record))
        if path is not None:
            result.save(path, jpeg_quality=self._jpeg_quality, on_note=on_note)
            return path
        if is_closed(sys.stdout):
            raise InputError("standard output is closed", "name a file with -o")
        buffer = io.BytesIO()
        result.save(buffer, format=self._ending, jpeg_quality=self._jpeg_quality, on_note=on_note)
        with writing():
            sys.stdout.buffer.write(buffer.getvalue())
            sys.stdout.buffer.flush()
        return None

    def steps_folder(self, content: str) -> Path:
        """Where snapshots of one content go: NAME-steps beside the result, whatever the style."""
        name = f"{'stdin' if content == '-' else Path(content).stem}-steps"
        if self._out is None or self._out == "-":
            return Path(content).parent / name
        if self._folder:
            return Path(self._out) / self._branch(content) / name
        return Path(self._out).with_name(f"{Path(self._out).stem}-steps")

    @staticmethod
    def _make_folder(folder: Path) -> None:
        if not folder.parent.is_dir():
            raise InputError(f"the folder {folder.parent} does not exist", "make it first, or name another with -o")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}", "name another with -o") from error


def _names_picture(out: str) -> bool:
    from impasto import images

    return Path(out).suffix.lower() in images.EXTENSIONS


def labels(record: Mapping[str, Any]) -> list[str]:
    """Names of the styles of a result, those of its regions after those of the whole, each once.

    What was asked for in words, or by a folder, is named by these.
    """
    groups = [record["styles"], *(region["styles"] for region in record.get("regions", ()))]
    return list(dict.fromkeys(entry.get("asked") or entry["label"] for group in groups for entry in group))


def unused(path: Path) -> Path:
    """The path, numbered when it is taken."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate
