"""Words as flat shapes, and paint that knows them: typesetting, the geometry of letters, strokes, and effects."""

from impasto.lettering.effects import Example
from impasto.lettering.letters import (
    ZONES,
    Layers,
    Lettering,
    LetterPainter,
    Styles,
    on_paper,
    paper_for,
    parse_color,
    parse_size,
)
from impasto.lettering.typesetting import Setting

__all__ = [
    "ZONES",
    "Example",
    "Layers",
    "LetterPainter",
    "Lettering",
    "Setting",
    "Styles",
    "on_paper",
    "paper_for",
    "parse_color",
    "parse_size",
]
