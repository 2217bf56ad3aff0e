"""The pages' Jinja templates: every text is escaped, and a page holds its own styles and script."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(page: str, values: Mapping[str, Any]) -> str:
    """A page as HTML that reaches nothing outside itself.

    Args:
        page: such as "page", for the files page.html, page.css and page.js in `templates`.
        values: of the template's names; text is escaped, Markup is taken as it is.

    Raises:
        jinja2.UndefinedError: the template uses a name that has no value.
    """
    environment = Environment(
        loader=PackageLoader("impasto.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    own = {"styles": _source(f"{page}.css"), "script": _source(f"{page}.js")}
    return environment.get_template(f"{page}.html").render({**own, **values})


def _source(name: str) -> Markup:
    """A file of this package as it is."""
    return Markup(files("impasto.report").joinpath("templates", name).read_text("utf-8"))  # noqa: S704 - our own file
