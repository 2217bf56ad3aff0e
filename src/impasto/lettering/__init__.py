"""Words as flat shapes, and paint that knows them: typesetting, the geometry of letters, strokes, and effects."""

from impasto.lettering.effects import Example
from impasto.lettering.layers import Layers, on_paper, paper_for
from impasto.lettering.letters import LetterPainter
from impasto.lettering.record import LetterRecord
from impasto.lettering.settings import Lettering, parse_color, parse_size
from impasto.lettering.typesetting import Setting
from impasto.lettering.zones import ZONES, Styles

__all__ = [
    "ZONES",
    "Example",
    "Layers",
    "LetterPainter",
    "LetterRecord",
    "Lettering",
    "Setting",
    "Styles",
    "on_paper",
    "paper_for",
    "parse_color",
    "parse_size",
]
