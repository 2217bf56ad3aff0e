"""One picture of a batch on its way: read, painted, written. What many of them share is made once.

A BatchPainter is used from several threads: some read, one paints, some write. On a cluster each worker has its own.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from impasto import device, images, settings
from impasto.batch import places
from impasto.batch.journal import Entry, Journal
from impasto.batch.places import Stamp
from impasto.batch.plan import Work
from impasto.contract import OnProgress, ignore
from impasto.engine.digests import content_digest
from impasto.engine.plan import stages_of
from impasto.engine.request import Request, attempt, silence
from impasto.engine.run import LoadedStage, Run, paint_together
from impasto.errors import AssetError, Cancelled, InputError, MissingExtra, ResourceError, StyleError
from impasto.files import DISK_FULL, of_system

if TYPE_CHECKING:
    from impasto.engine.engine import Engine
    from impasto.engine.request import Result

_TEMPLATES = 32  # sizes and styles whose codes are kept ready
_SHARE = 0.25  # of the free memory that the pictures of one pass may take
MOST_ON_DEVICE = 16
"""Pictures of one pass at most, where a processor does not paint them by itself."""

_MOST_TOGETHER = {"cpu": 4}
_IN_MANIFEST = ("size", "quality", "method")


@dataclass(frozen=True)
class Saving:
    """How results are written.

    Attributes:
        ending: of their names, such as ".png", where a manifest does not say.
        jpeg_quality: see `images.write`.
    """

    ending: str = ".png"
    jpeg_quality: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one picture.

    Attributes:
        work: what was to be done.
        status: "painted", "kept" (done by an earlier run), "passed over" (it is a result itself) or "failed".
        seconds: that painting took, in this run or the earlier one; None where nothing was painted.
        error: what went wrong; None unless it failed.
        record: of a picture that was painted: what makes it again.
    """

    work: Work
    status: str
    seconds: float | None = None
    error: StyleError | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """Styles and settings that pictures share.

    Attributes:
        styles: as the engine takes them.
        request: how to paint.
        digest: of all that.
        plain: whether style codes are those of any other picture of its size, since no mask or palette is its own.
    """

    styles: Any
    request: Request
    digest: str
    plain: bool


@dataclass(frozen=True, eq=False)
class Prepared:
    """A photograph that was read.

    Attributes:
        work, look: what is to be done.
        run: the job.
        source: stamp of the photograph's file.
        content: its sha256.
        key: equal for pictures that can be painted in one pass; None for one that is painted alone.
    """

    work: Work
    look: Look
    run: Run
    source: Stamp
    content: str
    key: Hashable | None


@dataclass(frozen=True, eq=False)
class Painted:
    """A picture that only has to be written."""

    prepared: Prepared
    result: Result


class _Template:
    """A job whose stages, once loaded, are those of all others of its look and size."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._loaded: LoadedStage | None = None

    def loaded(self, on_progress: OnProgress) -> LoadedStage:
        """The one stage, with weights loaded and styles encoded."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self.run.load(self.run.stages[0], self.run.placements[0], on_progress)
            return self._loaded


class BatchPainter:
    """Reads, paints and writes pictures of one batch.

    Args:
        engine: paints.
        request: how, where a picture has no settings of its own.
        out: folder of results, a path or an address.
        journal: tells what is done, and is told.
        saving: how results are written.
        stand_ins: pictures for names of styles, where the files cannot be seen from here.
        digests: of looks, by `look_key`, where they cannot be told from here.
    """

    def __init__(
        self,
        engine: Engine,
        request: Request,
        *,
        out: str,
        journal: Journal,
        saving: Saving = Saving(),
        stand_ins: Mapping[str, Any] | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        self.engine, self.request, self.out = engine, request, out
        self.journal, self.saving = journal, saving
        self._stand_ins, self._digests = dict(stand_ins or {}), dict(digests or {})
        self._lock = threading.Lock()
        self._looks: dict[str, Look] = {}
        self._templates: OrderedDict[Hashable, _Template] = OrderedDict()

    @property
    def device(self) -> str:
        """What paints: "cpu", or the name of another device."""
        return self.engine.placement(device.PRECISIONS).device

    def look(self, work: Work) -> Look:
        """The look of a picture. Raises InputError for settings that cannot be."""
        key = look_key(work)
        with self._lock:
            found = self._looks.get(key)
        if found is None:
            found = self._make_look(work)
            with self._lock:
                self._looks[key] = found
        return found

    def kept(self, work: Work) -> Outcome | None:
        """A picture that an earlier run has painted, as far as can be told without reading the photograph."""
        try:
            entry = self._kept(work, self.look(work), places.stamp(work.content))
        except StyleError:
            return None
        return None if entry is None else Outcome(work, "kept", entry.seconds)

    def read(self, work: Work) -> Prepared | Outcome:
        """Read a photograph, unless its picture is done."""
        try:
            return self._read(work)
        except Exception as error:
            return Outcome(work, "failed", error=known(error))

    def paint(self, prepared: Sequence[Prepared], on_progress: OnProgress = ignore) -> list[Painted | Outcome]:
        """Paint pictures, those of one key in one pass.

        Raises:
            Cancelled: `on_progress` asked to stop.
            AssetError, MissingExtra: weights cannot be had, so that no picture can be painted.
        """
        done: list[Painted | Outcome] = []
        for one, result in zip(prepared, self._paint(prepared, on_progress), strict=True):
            if isinstance(result, Cancelled | AssetError | MissingExtra):
                raise result
            if isinstance(result, Exception):
                done.append(Outcome(one.work, "failed", error=known(result)))
            else:
                done.append(Painted(one, result))
        return done

    def write(self, painted: Painted) -> Outcome:
        """Write a picture, with a line in the journal first.

        Raises:
            ResourceError: the disk is full, which stops the others, too.
        """
        prepared, result = painted.prepared, painted.result
        work = prepared.work
        try:
            data = self._encoded(work, result)
            entry = Entry(
                output=work.output,
                look=prepared.look.digest,
                content=prepared.content,
                source=places.absolute(work.content),
                source_size=prepared.source.size,
                source_version=prepared.source.version,
                size=0,
                version="",
                sha256=hashlib.sha256(data).hexdigest(),
                seconds=result.seconds,
            )
            name = places.join(self.out, work.output)
            places.write(name, data, lambda stamp: self.journal.add([entry.with_stamp(stamp)]))
        except ResourceError as error:
            if getattr(error.__cause__, "errno", None) in DISK_FULL:
                raise
            return Outcome(work, "failed", error=error)
        except Exception as error:
            return Outcome(work, "failed", error=known(error))
        return Outcome(work, "painted", result.seconds, record=result.record)

    def together(self, prepared: Prepared) -> int:
        """How many pictures like this one are painted in one pass at most: what memory holds, and what pays."""
        if prepared.key is None:
            return 1
        device_name = prepared.run.placements[0].device
        room = device.available_memory(device_name) * _SHARE
        most = _MOST_TOGETHER.get(device_name.partition(":")[0], MOST_ON_DEVICE)
        return max(1, min(most, int(room // max(prepared.run.room.needed, 1))))

    def _make_look(self, work: Work) -> Look:
        own = dict(work.settings)
        fields = {name: own.pop(name) for name in _IN_MANIFEST if name in own}
        if isinstance(fields.get("size"), str):
            fields["size"] = int(fields["size"]) if fields["size"].isdecimal() else fields["size"]
        request = replace(self.request, knobs={**self.request.knobs, **own}, **fields)
        styles = [(self._stand_ins.get(name, name), weight) for name, weight in work.styles]
        stages = stages_of(styles, request)
        controls = request.controls
        varying = bool(controls.map_count()) or controls.color_only or controls.keep_color == "histogram"
        made = [[stage.method.name, settings.as_record(stage.knobs)] for stage in stages]
        digest = self._digests.get(look_key(work)) or content_digest([styles, request, made, self.saving.jpeg_quality])
        return Look(styles, request, digest, not varying and request.init is None)

    def _read(self, work: Work) -> Prepared | Outcome:
        look = self.look(work)
        stamp = places.stamp(work.content)
        entry = self._kept(work, look, stamp)
        if entry is not None:
            return Outcome(work, "kept", entry.seconds)
        data = places.read(work.content)
        digest = hashlib.sha256(data).hexdigest()
        entry = self.journal.find(work.output, look.digest, digest)
        if entry is not None:
            return Outcome(work, "kept", entry.seconds)
        if images.read_record(BytesIO(data)) is not None:
            return Outcome(work, "passed over")
        name = places.join(self.out, work.output)
        if not self.journal.knows(work.output) and places.stamp(name) is not None:
            self.journal.load()  # another process may have painted it since
            entry = self.journal.find(work.output, look.digest, digest)
            if entry is not None:
                return Outcome(work, "kept", entry.seconds)
            self._check_ours(work.output, name)
        run, key = self._prepared(work, look, data)
        return Prepared(work, look, run, stamp or Stamp(len(data), ""), digest, key)

    def _kept(self, work: Work, look: Look, stamp: Stamp | None) -> Entry | None:
        """The entry of a picture that is done, of a photograph that has not changed since."""
        digest = None if stamp is None else self.journal.known_digest(places.absolute(work.content), stamp)
        return None if digest is None else self.journal.find(work.output, look.digest, digest)

    def _check_ours(self, output: str, name: str) -> None:
        """Refuse to replace a file that is no result of Impasto."""
        try:
            ours = self.journal.knows(output) or images.read_record(BytesIO(places.read(name))) is not None
        except InputError:
            ours = False
        if not ours:
            hint = "move it away, or name another folder with -o"
            raise InputError(f"{output} is there already, and Impasto has not painted it", hint)

    def _prepared(self, work: Work, look: Look, data: bytes) -> tuple[Run, Hashable | None]:
        source = BytesIO(data)
        origin = Path(PurePosixPath(work.content).name if places.is_address(work.content) else work.content)
        if not look.plain:
            run = self._new_run(source, look, origin)
            return run, run.size_class
        header = images.probe(source, max_pixels=look.request.max_pixels)
        key = (look.digest, look.request.sides(header.width, header.height))
        with self._lock:
            template = self._templates.get(key)
            if template is not None:
                self._templates.move_to_end(key)
        if template is not None:
            return template.run.for_picture(source, path=origin), key
        run = self._new_run(source, look, origin)
        if run.size_class is None:
            return run, None
        with self._lock:
            self._templates[key] = _Template(run)
            while len(self._templates) > _TEMPLATES:
                self._templates.popitem(last=False)
        return run, key

    def _new_run(self, source: Any, look: Look, origin: Path) -> Run:
        run = self.engine.prepare(source, look.styles, look.request, on_note=silence, announce_time=False)
        picture = replace(run.content, origin=replace(run.content.origin, path=origin))
        return replace(run, content=picture)

    def _paint(self, prepared: Sequence[Prepared], on_progress: OnProgress) -> list[Result | Exception]:
        """What becomes of each."""
        template = self._templates.get(prepared[0].key) if prepared[0].key is not None else None
        if template is not None:
            loaded = attempt(lambda: template.loaded(on_progress))
            if isinstance(loaded, Exception):
                return [loaded] * len(prepared)
            runs = [replace(one.run, loaded=(loaded,)) for one in prepared]
        else:
            runs = [one.run for one in prepared]
        if len(runs) == 1:
            return [attempt(lambda: runs[0].paint(on_progress))]
        return paint_together(runs, [on_progress] + [ignore] * (len(runs) - 1))

    def _encoded(self, work: Work, result: Result) -> bytes:
        buffer = BytesIO()
        ending = PurePosixPath(work.output).suffix or self.saving.ending
        quality = self.saving.jpeg_quality
        result.save(buffer, format=images.check_format(ending, quality), jpeg_quality=quality)
        return buffer.getvalue()


def look_key(work: Work) -> str:
    """What tells looks apart."""
    return repr((work.styles, sorted(work.settings.items())))


def known(error: Exception) -> StyleError:
    """An error as one of ours."""
    if isinstance(error, StyleError):
        return error
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return ResourceError("memory ran out", "use a smaller --size, or free some memory")
    if isinstance(error, OSError) and error.errno is not None:
        return of_system(error)
    reason = " ".join(str(error).split())
    return StyleError(f"a bug in impasto: {type(error).__name__}: {reason}", "please report it")
