"""Markup without templates: elements as function calls, so that nothing is ever written unescaped."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})
_SHAPES = frozenset({"line", "path", "circle", "rect", "polyline"})


class Markup(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """One element of HTML or SVG.

    Args:
        name: such as "p".
        children: text (escaped), Markup (taken as it is), or None (left out).
        attributes: `class_` is written class, `stroke_width` stroke-width. None and False leave one out, True writes
            it without a value.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    inside = "".join(markup(child) for child in children)
    if name in _VOID or (name in _SHAPES and not inside):
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{inside}</{name}>")


def markup(child: object) -> Markup:
    """A child as markup: text is escaped."""
    if child is None:
        return Markup("")
    return child if isinstance(child, Markup) else Markup(escape(str(child), quote=False))


def join(children: list[Markup]) -> Markup:
    """Elements one after another, a line each."""
    return Markup("\n".join(children))


def document(title: str, *, styles: str, script: str, body: Markup) -> str:
    """A whole page that can reach nothing outside itself.

    Its policy forbids every address but data URIs, so what is missing inside cannot be loaded in silence.

    Args:
        title: of the page.
        styles: CSS.
        script: JavaScript; must not hold a closing script tag.
        body: all that is visible.
    """
    assert "</script" not in script.lower()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(styles)),
    )
    page = element("html", head, element("body", body, element("script", Markup(script))), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    name = "viewBox" if name == "viewBox" else name
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
