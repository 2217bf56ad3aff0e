"""Options that a command takes from a dataclass of settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

import typer

from impasto.settings import Knob


def option(knob: Knob, kind: Any, default: str, *, panel: str) -> Any:
    """The annotation of a setting's option.

    Args:
        knob: the setting.
        kind: type that the command line reads.
        default: in words, for the help.
        panel: heading that it stands under in the help.
    """
    text = f"{knob.help[0].upper()}{knob.help[1:]}. [dim]({default})[/dim]"
    return Annotated[kind | None, typer.Option(knob.flag, help=text, rich_help_panel=panel)]


def with_options(command: Callable[..., None], options: Mapping[str, Any]) -> Callable[..., None]:
    """Replace `**knobs` in a command's signature by an option for each name that it lacks.

    Args:
        command: takes keywords.
        options: annotations by name; each is None unless given.
    """
    signature = inspect.signature(command, eval_str=True)
    fixed = [entry for entry in signature.parameters.values() if entry.kind is not entry.VAR_KEYWORD]
    names = {entry.name for entry in fixed}
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in options.items()
        if name not in names
    ]

    @wraps(command)
    def wrapped(**arguments: Any) -> None:
        command(**arguments)

    parameters = [entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in fixed] + added
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {entry.name: entry.annotation for entry in parameters}
    del wrapped.__wrapped__  # or the hints of the original would be read
    return wrapped
