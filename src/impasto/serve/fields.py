"""What a client sends: settings by the names of the flags, and pictures. HTTP and gRPC read them by this one function.

Nothing that a client says is taken for a path, a file of this machine or an address: a word names an upload, a painting
of the library, a style of the pack, or one of the words that a setting lists.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from impasto import images, settings
from impasto.assets import Store
from impasto.assets.library import Library
from impasto.engine import music, style_files
from impasto.engine.controls import FACE_AMOUNT, Controls
from impasto.engine.plan import stages_of
from impasto.engine.points import Points, is_points
from impasto.engine.request import Request, Task
from impasto.engine.style_files import Member, StyleFile
from impasto.engine.styles import check_name
from impasto.engine.words import in_english
from impasto.errors import InputError, counted, plain, quoted
from impasto.files import is_folder
from impasto.images import EXTENSIONS, Picture
from impasto.methods import recipes, registry
from impasto.models import catalog, clip_files, segment
from impasto.serve.settings import ServeSettings

UPLOADS = ("content", "video", "style", "preserve", "strength-map", "init", "file")
"""Fields that take files: `video` a video instead of `content`, all others pictures.

What is sent as `file` is named by the others, such as `region: sky.png=irises`.
"""

MANY = ("style", "weight", "region")
"""Settings that may be given several times."""

OWN: Mapping[str, tuple[str, str]] = {
    "style": (
        "text",
        "a painting by number or words, a sentence, pack:NAME, or the name of an upload; :NUMBER is its weight",
    ),
    "weight": ("number", "weights of the uploaded styles, one for each, in their order"),
    "region": (
        "text",
        "MASK=STYLE: a style where a mask is; MASK is an upload, subject, background, person or a point",
    ),
    "match-regions": ("flag", "paint parts of the photograph after the parts of the painting that show the like"),
    "method": ("text", "auto, or one of /v1/methods"),
    "quality": ("text", "draft (a second), good (the default) or best (minutes)"),
    "size": ("whole", "longest side in pixels; the photograph's own by default"),
    "init": ("text", "image to start from: one of the method's words, or an upload"),
    "keep-color": ("text", "keep the photograph's colours: luminance or histogram"),
    "color-only": ("flag", "take only the style's colours; paint nothing"),
    "feather": ("number", "soften the edges of masks over this many pixels"),
    "preserve": ("text", "keep the photograph where this mask is white"),
    "protect-faces": ("number", "paint faces less: by an amount from 0 to 1, or true for 0.7"),
    "strength-map": ("text", "paint fully where this mask is white, less where grey"),
    "drop-gps": ("flag", "remove the place of the photograph from the metadata"),
    "format": ("text", "of the result: png (the default), jpg, webp, tif, avif, heic or bmp"),
    "jpeg-quality": ("whole", "quality of JPEG, WebP, AVIF and HEIC: 1 to 100, 92 by default"),
}
"""Settings beside those of the methods: what kind each is, and what it means."""

OF_VIDEOS: Mapping[str, tuple[str, str]] = {
    "start": ("number", "begin a video at this second"),
    "end": ("number", "end it before this second"),
    "temporal": ("text", "how steady a video is: off, fast (the default) or best"),
}
"""Settings that only videos take."""

NOT_OF_VIDEOS = ("color-only", "protect-faces", "strength-map", "jpeg-quality")
"""Settings that videos do not take."""

_REFUSED = (
    "backend",
    "device",
    "precision",
    "runtime",
    "threads",
    "max-memory",
    "max-pixels",
    "out",
    "resume",
    "save-every",
)
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_WEIGHT = re.compile(r"(.+):([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf|infinity))", re.IGNORECASE)
_WHOLE_IDS = re.compile(r"(museum|pack|trained):[\w-]+")
_NAME_LENGTH = 80
_SEE_STYLES = "see /v1/styles for what there is, or send a picture"

Values: TypeAlias = Mapping[str, Any]

FindTrained: TypeAlias = Callable[[str], Any]
"""Gives what the engine takes for `trained:ID`, a style that a client has trained here."""

OWN_STYLE = "trained:"
"""The beginning of the ids of such styles."""


@dataclass(frozen=True)
class Upload:
    """A picture that a client sent.

    Attributes:
        field: one of `UPLOADS`.
        name: file name as the client gave it; only `clean_name` of it is used.
        data: the file.
    """

    field: str
    name: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        """sha256 of the file, in hex."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Order:
    """A request that was read and checked.

    Attributes:
        content: the photograph.
        styles: each with its weight.
        request: as the engine takes it.
        slow: whether it is an optimisation.
        method: the method that paints last.
    """

    content: Picture
    styles: tuple[tuple[Any, float], ...]
    request: Request
    slow: bool
    method: str

    @property
    def bytes(self) -> int:
        """Memory of the decoded pictures."""
        controls = self.request.controls
        everything = [self.content, self.request.init, controls.preserve, controls.strength_map]
        everything += [style for style, _ in self.styles] + [one for pair in controls.regions for one in pair]
        pictures = {id(one): one for one in everything if isinstance(one, Picture)}
        return sum(picture.pixels.nbytes for picture in pictures.values())

    @property
    def task(self) -> Task:
        """As the engine paints it."""
        return Task(self.content, list(self.styles), self.request)


def clean_name(name: str) -> str:
    """The file name alone, without folders, control characters or leading dots, of at most 80 characters."""
    last = re.split(r"[/\\]", plain(name))[-1]
    kept = re.sub(r"[^\w.() -]", "_", last).strip(" .")
    stem, dot, ending = kept.rpartition(".")
    short = f"{stem[: _NAME_LENGTH - len(ending) - 1]}.{ending}" if dot and len(ending) < 8 else kept[:_NAME_LENGTH]
    return short or "picture"


def plain_settings(given: Values) -> dict[str, Any]:
    """Settings by the names of their flags, checked for names; what is empty counts as not given.

    Args:
        given: by name, as `style-weight`, `style_weight` or `--style-weight`; text or JSON values, lists for `MANY`.

    Raises:
        InputError: a name is unknown, or kept to the server, or a single setting was given twice.
    """
    known = {*OWN, *OF_VIDEOS, *(name.replace("_", "-") for name in knob_table())}
    found: dict[str, Any] = {}
    for name, value in given.items():
        flag = str(name).strip().lower().removeprefix("--").replace("_", "-")
        if flag in _REFUSED:
            raise InputError(f"{flag} is not a client's to set", "leave it out: the server decides")
        if flag not in known:
            raise InputError(f"there is no setting {quoted(flag)}", settings.close_names(flag, sorted(known)))
        values = [one for one in (value if isinstance(value, list | tuple) else [value]) if one not in (None, "")]
        if not values:
            continue
        if flag in found:
            raise InputError(f"{flag} was given twice", "give it once")
        found[flag] = values if flag in MANY else _one(flag, value, values)
    return found


def _one(flag: str, value: Any, values: list[Any]) -> Any:
    knob = knob_table().get(flag.replace("-", "_"))
    if knob is not None and knob.type is tuple and isinstance(value, list | tuple):
        return ",".join(map(str, values))
    if len(values) > 1:
        raise InputError(f"{flag} was given {counted(len(values), 'time')}", "give it once")
    return values[0]


def knob_table() -> dict[str, settings.Knob]:
    """The settings of all methods by name, each as the first method has it that has it."""
    table: dict[str, settings.Knob] = {}
    for row in registry.methods().values():
        for knob in settings.knobs_of(row.load_knobs()):
            table.setdefault(knob.name, knob)
    return table


def file_format(given: Values) -> tuple[str, int | None]:
    """Ending and quality of the result's file. Raises InputError."""
    quality = _maybe(read_whole("jpeg-quality"), given.get("jpeg-quality"))
    return images.check_format(read_text(given.get("format", "png")), quality), quality


def request_digest(uploads: Iterable[Upload], given: Values) -> str:
    """sha256 that tells whether two requests ask for the same."""
    pictures = [(upload.field, clean_name(upload.name), upload.digest) for upload in uploads]
    return hashlib.sha256(json.dumps([pictures, given], sort_keys=True, default=str).encode()).hexdigest()


def no_trained(style: str) -> Any:
    """What is said of a client's trained style where there are none."""
    raise InputError(f"there is no style {quoted(style)}", _SEE_STYLES)


@dataclass(frozen=True)
class OrderReader:
    """Reads requests.

    Attributes:
        limits: what is allowed.
        library: where paintings are found.
        decode: a file's bytes and name to a picture.
    """

    limits: ServeSettings
    library: Library
    decode: Callable[[Upload], Picture]

    def read(self, uploads: Sequence[Upload], given: Values, *, trained: FindTrained = no_trained) -> Order:
        """The order of `plain_settings`.

        Args:
            uploads, given: what was sent.
            trained: gives the file of a style that the client has trained; raises InputError.

        Raises:
            InputError: something cannot be used; told by the name of the field.
        """
        content = single(uploads, "content")
        if content is None:
            raise InputError("no content was sent", "send the photograph as the file field content")
        refuse_settings(given, OF_VIDEOS, "is for videos", "leave it out, or send a video as the file field video")
        styles, request = self.painting(uploads, given, trained=trained)
        stages = stages_of(styles, request)
        file_format(given)
        picture = self.decode(content)
        request.sides(picture.width, picture.height)
        slow = not request.controls.color_only and any(stage.method.kind == "objective" for stage in stages)
        return Order(picture, styles, request, slow, stages[-1].method.name)

    def painting(
        self, uploads: Sequence[Upload], given: Values, *, trained: FindTrained = no_trained
    ) -> tuple[tuple[tuple[Any, float], ...], Request]:
        """Styles with their weights, and how to paint; see `read`."""
        if len(uploads) > self.limits.pictures:
            hint = f"{self.limits.pictures} are allowed"
            raise InputError(f"{counted(len(uploads), 'picture')} were sent", hint)
        files = {clean_name(upload.name): upload for upload in uploads}
        words = _Words(files, self.library, self.decode, trained, sentences=_by_words(given))
        styles = self._styles(uploads, given, words)
        regions = [words.region(text) for text in map(read_text, given.get("region", ()))]
        if not styles and not regions:
            raise InputError("no style was given", "send one or more as style: files, or ids of /v1/styles")
        controls = self._controls(uploads, given, words, regions)
        request = Request(
            method=read_text(given.get("method", "auto")),
            quality=_maybe(read_text, given.get("quality")),
            size=_maybe(read_whole("size"), given.get("size")),
            init=words.init(single(uploads, "init"), given.get("init")),
            knobs=_knobs(given),
            max_memory=self.limits.job_memory,
            max_pixels=self.limits.max_pixels,
            controls=controls,
            drop_gps=_flag("drop-gps", given.get("drop-gps")),
        )
        return styles, request

    def painting_id(self, text: str) -> str:
        """A painting of the library by its id or words. Raises InputError."""
        _refuse_place("style", text)
        return str(_Words({}, self.library, self.decode, no_trained).painting(text))

    def _styles(self, uploads: Sequence[Upload], given: Values, words: _Words) -> tuple[tuple[Any, float], ...]:
        sent = [upload for upload in uploads if upload.field == "style"]
        weights = [read_number("weight")(weight) for weight in given.get("weight", ())]
        if weights and len(weights) != len(sent):
            raise InputError(
                f"{counted(len(weights), 'weight')} for {counted(len(sent), 'uploaded style')}",
                "give one for each file, in their order; a named style has its own, such as irises:2",
            )
        for weight in weights:
            _check_weight("an uploaded style", weight)
        pairs = zip(sent, weights or [1.0] * len(sent), strict=True)
        uploaded = [one for upload, weight in pairs for one in self._uploaded_style(upload, weight)]
        return (*uploaded, *(words.weighted_style(text) for text in map(read_text, given.get("style", ()))))

    def _uploaded_style(self, upload: Upload, weight: float) -> list[tuple[Any, float]]:
        """A picture, or what a style file is made of, which shares its weight."""
        if not upload.name.endswith(style_files.SUFFIX):
            return [(self.decode(upload), weight)]
        kept = style_files.parse(upload.data, clean_name(upload.name))
        if len(kept.pictures) > self.limits.pictures:
            told = f"{clean_name(upload.name)} holds {counted(len(kept.pictures), 'picture')}"
            raise InputError(told, f"{self.limits.pictures} are allowed")
        total = sum(member.weight for member in kept.members)
        return [(self._member(kept, member, upload), weight * member.weight / total) for member in kept.members]

    def _member(self, kept: StyleFile, member: Member, upload: Upload) -> Any:
        if member.id:
            return self.library.find(member.id).id
        return self.decode(replace(upload, name=member.picture, data=kept.pictures[member.picture]))

    def _controls(
        self, uploads: Sequence[Upload], given: Values, words: _Words, regions: list[tuple[Any, Any]]
    ) -> Controls:
        controls = Controls(
            keep_color=_maybe(read_text, given.get("keep-color")),
            color_only=_flag("color-only", given.get("color-only")),
            match_regions=_flag("match-regions", given.get("match-regions")),
            regions=tuple(regions),
            feather=read_number("feather")(given.get("feather", 0.0)),
            preserve=words.mask_of("preserve", single(uploads, "preserve"), given),
            protect_faces=_maybe(_faces, given.get("protect-faces")),
            strength_map=words.mask_of("strength-map", single(uploads, "strength-map"), given),
        )
        controls.check()
        return controls


@dataclass(frozen=True)
class _Words:
    """What a client's words mean."""

    files: Mapping[str, Upload]
    library: Library
    decode: Callable[[Upload], Picture]
    trained: FindTrained
    sentences: bool = False  # are styles as they are

    def weighted_style(self, text: str) -> tuple[Any, float]:
        """STYLE[:WEIGHT]."""
        found = None if text in self.files or _WHOLE_IDS.fullmatch(text) else _WEIGHT.fullmatch(text)
        if found is None:
            return self.style(text), 1.0
        weight = float(found[2])
        _check_weight(f"style {quoted(found[1])}", weight)
        return self.style(found[1]), weight

    def style(self, text: str) -> Any:
        """An upload, a style of the pack, or the id of a painting."""
        if text in self.files:
            return self.decode(self.files[text])
        if text.startswith(OWN_STYLE):
            return self.trained(text)
        _refuse_place("style", text)
        if text.startswith("pack:"):
            return catalog.find(text).id if catalog.is_trained(text) else _no_style(text)
        if is_folder(text):  # the library would say what lies on this machine
            return _no_style(text)
        return self.named(text)

    def named(self, text: str) -> str:
        """A painting's id, or a sentence that means some, or is one. Raises InputError."""
        if self.sentences and not text.startswith("museum:"):
            in_english(text)
            return text
        return _told_to_clients(lambda: check_name(self.library, text))

    def painting(self, text: str) -> str:
        """A painting of the library. Raises InputError."""
        return _told_to_clients(lambda: self.library.find(text).id)

    def mask(self, field: str, text: str) -> Any:
        """An upload, or a word for what is found in the photograph."""
        if text in self.files:
            return self.decode(self.files[text])
        if is_points(text):
            Points.parse(text)
        elif text not in segment.ASSETS:
            names = ", ".join(sorted(segment.ASSETS))
            raise InputError(
                f"{field} names no mask: {quoted(text)}", f"name a picture that you send, or one of {names}"
            )
        return text

    def mask_of(self, field: str, upload: Upload | None, given: Values) -> Any:
        """The mask of a field, sent or named."""
        if upload is not None and field in given:
            raise InputError(f"{field} was given as a file and as a word", "give one of them")
        if upload is not None:
            return self.decode(upload)
        return self.mask(field, read_text(given[field])) if field in given else None

    def region(self, text: str) -> tuple[Any, Any]:
        """MASK=STYLE."""
        splits = [(text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == "="]
        wanted = "write it as mask.png=STYLE with mask.png sent as file, or subject=STYLE, background=STYLE"
        if not splits:
            raise InputError(f"region {quoted(text)} lacks a mask or a style", wanted)
        known = (pair for pair in splits if pair[0] in self.files or pair[0] in segment.ASSETS or is_points(pair[0]))
        mask, style = next(known, splits[0])
        if not mask or not style:
            raise InputError(f"region {quoted(text)} lacks a mask or a style", wanted)
        return self.mask("region", mask), self.style(style)

    def init(self, upload: Upload | None, word: Any) -> Any:
        """The image to start from, sent or one of the method's words."""
        if upload is not None:
            return self.decode(upload)
        if word is None:
            return None
        text = read_text(word)
        if text in self.files:
            return self.decode(self.files[text])
        choices = [name for name in knob_table()["init"].choices if name != "file"]
        if text not in choices:
            raise InputError(f"init is {quoted(text)}", f"send a picture as init, or use one of {', '.join(choices)}")
        return text


def _told_to_clients(find: Callable[[], str]) -> str:
    """What is found; the hint of an InputError is for clients, who have no command line of ours."""
    try:
        return find()
    except InputError as error:
        if "impasto styles" not in error.hint:
            raise
        raise InputError(error.message, _SEE_STYLES) from error


def _by_words(given: Values) -> bool:
    """Whether the method that is asked for takes a sentence as its style."""
    asked = given.get("method", "auto")
    if asked == "auto":
        return recipes.WORDS_METHOD in given
    row = registry.methods().get(str(asked))
    return row is not None and row.takes_words


def _no_style(text: str) -> Any:
    raise InputError(f"there is no style {quoted(text)}", _SEE_STYLES)


def _refuse_place(field: str, text: str) -> None:
    """Raise InputError for what looks like a path or an address."""
    suffix = PurePosixPath(text).suffix.lower()
    place = any(letter in text for letter in "/\\\0") or text[:1] in ("~", ".")
    file = suffix in (*EXTENSIONS, *catalog.CHECKPOINTS, ".safetensors", ".pkl") or music.is_sound(text)
    file = file or style_files.split(text) is not None
    if place or file:
        raise InputError(f"{field} {quoted(text)} names no picture that was sent", "send the file in the same request")


def _knobs(given: Values) -> dict[str, Any]:
    """The methods' settings. Raises InputError for one that names a file of the server, or what it would fetch."""
    table = knob_table()
    found = {flag.replace("-", "_"): value for flag, value in given.items() if flag not in {*OWN, *OF_VIDEOS}}
    for name, value in found.items():
        foreign = isinstance(value, str) and bool(table[name].file_of(value))
        if foreign or (name == recipes.WORDS_METHOD and not clip_files.is_here(str(value), Store().root)):
            choice = "use a name that comes with impasto; files of the server are not to be named"
            raise InputError(f"{table[name].flag} is {quoted(value)}", choice)
    return found


def refuse_settings(given: Values, names: Iterable[str], why: str, hint: str) -> None:
    """Raise InputError where one of these settings is given."""
    for name in names:
        if name in given:
            raise InputError(f"{name} {why}", hint)


def single(uploads: Sequence[Upload], field: str) -> Upload | None:
    """The one file of a field; None where there is none. Raises InputError for several."""
    sent = [upload for upload in uploads if upload.field == field]
    if len(sent) > 1:
        raise InputError(f"{counted(len(sent), 'file')} were sent as {field}", "send one")
    return sent[0] if sent else None


def _check_weight(what: str, weight: float) -> None:
    if not 0 < weight < float("inf"):
        raise InputError(f"the weight of {what} is {weight:g}", "it takes a number above 0")


def read_text(value: Any) -> str:
    """Text. Raises InputError for all else."""
    if not isinstance(value, str):
        raise InputError(f"{quoted(value)} was given where text is wanted", "give text")
    return value.strip()


def _maybe(read: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else read(value)


def read_number(field: str) -> Callable[[Any], float]:
    """What reads the number of a field, and raises InputError for all else."""
    return settings.Knob(field, float, 0.0, "").check


def read_whole(field: str) -> Callable[[Any], int]:
    """The same for a whole number."""
    return settings.Knob(field, int, 0, "").check


def _faces(value: Any) -> float | None:
    """An amount; true stands for the usual one, false for none."""
    truth = _truth(value)
    if truth is None:
        return read_number("protect-faces")(value)
    return FACE_AMOUNT if truth else None


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    return True if word in _TRUE[:3] else False if word in _FALSE[:3] else None


def _flag(field: str, value: Any) -> bool:
    if value is None:
        return False
    truth = _truth({"1": True, "0": False}.get(str(value).strip(), value))
    if truth is None:
        raise InputError(f"{field} is {quoted(value)}", "it takes true or false")
    return truth
