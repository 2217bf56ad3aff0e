"""The shapes of requests and answers in the OpenAPI document, with examples."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from impasto import settings
from impasto.serve.fields import MANY, OF_VIDEOS, OWN, knob_table

_JOB: Any = {
    "id": "01a21ac2de47d89b20fca0a7456f2176",
    "kind": "picture",
    "state": "done",
    "method": "adain",
    "created": 1795745308.23,
    "started": 1795745308.24,
    "finished": 1795745308.73,
    "settings": {"quality": "draft", "strength": "0.8"},
    "error": None,
    "result": {
        "name": "photo-painting.png",
        "media_type": "image/png",
        "bytes": 391822,
        "width": 512,
        "height": 384,
        "seconds": 0.42,
    },
}


_RATING: Any = {
    "job": _JOB["id"],
    "stars": 4,
    "note": "a fine sky",
    "method": "adain",
    "style": "painting",
    "created": 1795745400.5,
}
_STYLE: Any = {
    "id": "museum:436535",
    "title": "Wheat Field with Cypresses",
    "artist": "Vincent van Gogh",
    "date": "1889",
    "licence": "CC0",
    "source": "museum",
    "method": "auto",
}
_METHOD: Any = {
    "name": "adain",
    "summary": "any style in one pass",
    "paper": "arXiv:1703.06868",
    "kind": "map",
    "lane": "quick",
    "honours": ["regions", "strength"],
    "trained": False,
    "settings": {
        "type": "object",
        "properties": {"strength": {"type": "number", "minimum": 0, "maximum": 1, "default": 1.0}},
    },
}


def _example(value: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class ErrorBody(BaseModel):
    """What went wrong, and what to do."""

    model_config = _example(
        {
            "kind": "InputError",
            "error": "strength is 'nan'",
            "hint": "it takes a number from 0 to 1",
            "request_id": "5b0f4f8c0de1",
        }
    )
    kind: str
    error: str
    hint: str
    request_id: str


class JobError(BaseModel):
    """Why a job failed or was stopped."""

    model_config = _example({"kind": "Cancelled", "error": "cancelled", "hint": "", "status": 499})
    kind: str
    error: str
    hint: str
    status: int


class ResultBody(BaseModel):
    """What is known of a finished picture."""

    model_config = _example(_JOB["result"])
    name: str
    media_type: str
    bytes: int
    width: int
    height: int
    seconds: float


class JobBody(BaseModel):
    """A job; times are seconds since 1970."""

    model_config = _example(_JOB)
    id: str
    kind: Literal["picture", "video", "training"]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    method: str
    created: float
    started: float | None
    finished: float | None
    settings: dict[str, Any]
    error: JobError | None
    result: ResultBody | None


class PageBody(BaseModel):
    """Some jobs, the newest first."""

    model_config = _example({"jobs": [_JOB], "next": None})
    jobs: list[JobBody]
    next: str | None = Field(description="what `before` takes for the next page; null at the end")


class RatingGiven(BaseModel):
    """What a client thinks of a result."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"stars": 4, "note": "a fine sky"}]})
    stars: int = Field(ge=1, le=5, strict=True)
    note: str = Field("", max_length=1000)


class RatingBody(BaseModel):
    """A rating; `created` is seconds since 1970."""

    model_config = _example(_RATING)
    job: str
    stars: int
    note: str
    method: str
    style: str
    created: float


class RatingsBody(BaseModel):
    """All ratings of a client, the oldest first."""

    model_config = _example({"ratings": [_RATING]})
    ratings: list[RatingBody]


class StyleBody(BaseModel):
    """A named style."""

    model_config = _example(_STYLE)
    id: str
    title: str
    artist: str
    date: str
    licence: str
    source: str
    method: str


class StylesBody(BaseModel):
    """All named styles that match."""

    model_config = _example({"styles": [_STYLE]})
    styles: list[StyleBody]


class MethodBody(BaseModel):
    """A method, with the JSON schema of its settings."""

    model_config = _example(_METHOD)
    name: str
    summary: str
    paper: str
    kind: Literal["map", "objective"]
    lane: Literal["quick", "slow"]
    honours: list[str]
    trained: bool
    settings: dict[str, Any]


class MethodsBody(BaseModel):
    """All methods, and the JSON schema of the settings that every method takes."""

    model_config = _example({"methods": [_METHOD], "common": {"type": "object", "properties": {}}})
    methods: list[MethodBody]
    common: dict[str, Any]


class HealthBody(BaseModel):
    """Whether the service is there, or takes jobs."""

    model_config = _example({"status": "ok"})
    status: str


def examples(name: str) -> list[Any]:
    """The examples of a model by its name."""
    extra: Any = globals()[name].model_config["json_schema_extra"]
    return list(extra["examples"])


def request_body() -> dict[str, Any]:
    """The OpenAPI request body of a picture to be painted: `multipart/form-data` with a field for each setting."""
    picture = {"type": "string", "format": "binary"}
    properties: dict[str, Any] = {
        "content": {**picture, "description": "the photograph"},
        "video": {**picture, "description": "a video instead of it; jobs alone take one"},
        "file": {
            "type": "array",
            "items": picture,
            "description": "pictures that other fields name by their file names",
        },
        "settings": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "any of the other settings as one JSON object",
        },
    }
    properties |= {name: _property(name, kind, about) for name, (kind, about) in {**OWN, **OF_VIDEOS}.items()}
    properties |= {
        name.replace("_", "-"): settings.property_of(knob) for name, knob in knob_table().items() if name not in OWN
    }
    for name in ("style", "preserve", "strength-map", "init"):
        either = {"anyOf": [picture, {"type": "string"}]}
        about = {"description": f"a picture, or: {OWN[name][1]}"}
        properties[name] = {"type": "array", "items": either, **about} if name in MANY else {**either, **about}
    example = {"content": "(photo.jpg)", "style": ["museum:436535"], "quality": "draft", "strength": 0.8, "size": 512}
    schema = {"type": "object", "properties": properties}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "example": example}}}


def training_body() -> dict[str, Any]:
    """The OpenAPI request body of a training."""
    style = {"anyOf": [{"type": "string", "format": "binary"}, {"type": "string"}]}
    properties = {
        "style": {**style, "description": "the painting: a picture, or an id of /v1/styles"},
        "name": {"type": "string", "maxLength": 40, "description": "of the style; the painting's by default"},
        "minutes": {"type": "number", "description": "how long to train; /v1/about tells the most"},
    }
    example = {"style": "museum:436535", "name": "cypresses", "minutes": 12}
    schema = {"type": "object", "required": ["style"], "properties": properties}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "example": example}}}


_TYPES = {"text": "string", "number": "number", "whole": "integer", "flag": "boolean"}


def common_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the settings that every method takes."""
    return {"type": "object", "properties": {name: _property(name, *row) for name, row in OWN.items()}}


def _property(name: str, kind: str, about: str) -> dict[str, Any]:
    one: dict[str, Any] = {"type": _TYPES[kind]}
    return {**({"type": "array", "items": one} if name in MANY else one), "description": about}
