"""Plots as SVG: points with their Pareto front, and lines over commits.

They are drawn here and not by matplotlib, so that reports need no extra, and keep their text as text.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 40, 52
_INK, _FAINT, _PAPER = "#28241f", "#d9d4ca", "#fffdf9"
PALETTE = ("#b5432a", "#2a6fb5", "#2f8f5b", "#8a5bb0", "#b8862b", "#4b4a48", "#c2568f", "#2f9a9a")


@dataclass(frozen=True)
class Point:
    """One point of a plot; `series` chooses its colour and is named in the legend."""

    label: str
    x: float
    y: float
    series: str = ""


def pareto_front(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points that no other beats in both x and y, where less is better; sorted by x.

    Of points that are equal in both, the first stays.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, point.y)):
        if not front or point.y < front[-1].y:
            front.append(point)
    return tuple(front)


def scatter(points: Sequence[Point], *, title: str, x_label: str, y_label: str) -> Markup:
    """Points with labels, x on a logarithmic axis when it spans more than a factor 8, and the Pareto front as steps.

    Args:
        points: x must be above 0; less is better on both axes.
        title, x_label, y_label: for people.
    """
    points = [point for point in points if math.isfinite(point.x) and math.isfinite(point.y)]
    if not points:
        return _empty(title)
    xs, ys = _Axis.over([point.x for point in points], _LEFT, WIDTH - _RIGHT - 90), _y_axis([p.y for p in points])
    names = list(dict.fromkeys(point.series for point in points))
    colour = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(names)}
    drawn = [*_frame(title, xs, ys, x_label, y_label), _steps(pareto_front(points), xs, ys)]
    taken: list[tuple[float, float, float]] = []
    front = pareto_front(points)
    for point in points:
        x, y = xs.at(point.x), ys.at(point.y)
        fill = colour[point.series] if point in front else _PAPER
        dot = _shape("circle", cx=_px(x), cy=_px(y), r=5.5, fill=fill, stroke=colour[point.series])
        dot.append(_shape("title", f"{point.label}: {x_label} {point.x:.3g}, {y_label} {point.y:.3g}"))
        drawn.append(dot)
        wide = len(point.label) * 6.6
        start = x + 9 if x + 9 + wide < WIDTH else max(_LEFT, x - 9 - wide)  # left of the point where it would be cut
        drawn.append(_label(point.label, start, _free(start, y, wide, taken), colour[point.series]))
    if len(names) > 1:
        drawn += _legend(colour)
    return _plot(title, drawn)


def lines(
    series: Mapping[str, Sequence[float | None]], *, ticks: Sequence[str], title: str, y_label: str = ""
) -> Markup:
    """One line a series over named positions, from 0 up.

    Args:
        series: values by name, as long as `ticks`; None leaves a gap.
        ticks: what stands below the axis, such as commits.
        title, y_label: for people.
    """
    values = [value for line in series.values() for value in line if value is not None and math.isfinite(value)]
    if not values:
        return _empty(title)
    ys = _y_axis([0.0, *values])
    last = max(1, len(ticks) - 1)
    xs = _Axis(-0.05 * last, last * 1.05, _LEFT, WIDTH - _RIGHT)
    every = max(1, len(ticks) // 8)
    marks = {index: text for index, text in enumerate(ticks) if index % every == 0}
    colour = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(series)}
    drawn = [*_frame(title, xs, ys, "", y_label, marks=marks), *_legend(colour)]
    for name, line in series.items():
        known = [(xs.at(i), ys.at(v)) for i, v in enumerate(line) if v is not None and math.isfinite(v)]
        path = " ".join(f"{_px(x)},{_px(y)}" for x, y in known)
        drawn.append(_shape("polyline", points=path, fill="none", stroke=colour[name], stroke_width=2))
        drawn += [_shape("circle", cx=_px(x), cy=_px(y), r=3, fill=colour[name]) for x, y in known]
    return _plot(title, drawn)


@dataclass(frozen=True)
class _Axis:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        low, high = min(values), max(values)
        if low > 0 and high / low > 8:
            return cls(low / 1.3, high * 1.3, start, end, logarithmic=True)
        return cls(0.0, high * 1.1 or 1.0, start, end)

    def at(self, value: float) -> float:
        """The pixel of a value."""
        scale: Callable[[float], float] = math.log10 if self.logarithmic else float
        low, high = scale(self.low), scale(self.high)
        return self.start + (scale(value) - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values to write beside the axis."""
        if self.logarithmic:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
            inside = [tick for tick in found if self.low <= tick <= self.high]
            return inside if len(inside) <= 8 else [tick for tick in inside if str(f"{tick:e}").startswith("1")]
        step = _round_step((self.high - self.low) / 5)
        count = int(self.high / step)
        return [index * step for index in range(max(0, math.ceil(self.low / step)), count + 1)]


def _y_axis(values: Sequence[float]) -> _Axis:
    high = max(values)
    return _Axis(min(0.0, *values, 0.0), high * 1.1 or 1.0, HEIGHT - _BOTTOM, _TOP)


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= step)


def _frame(
    title: str, xs: _Axis, ys: _Axis, x_label: str, y_label: str, *, marks: Mapping[int, str] | None = None
) -> list[ET.Element]:
    """Title, axes, grid and tick labels."""
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    drawn = [
        _shape("rect", width=WIDTH, height=HEIGHT, fill=_PAPER),
        _shape("text", title, x=_LEFT, y=22, font_size=15, font_weight="600", fill=_INK),
    ]
    for tick in ys.ticks():
        y = _px(ys.at(tick))
        drawn.append(_shape("line", x1=_LEFT, x2=right, y1=y, y2=y, stroke=_FAINT))
        drawn.append(_shape("text", f"{tick:g}", x=_LEFT - 8, y=float(y) + 4, text_anchor="end", fill=_INK))
    texts = {xs.at(tick): f"{tick:g}" for tick in xs.ticks()} if marks is None else {}
    texts = texts or {xs.at(index): text for index, text in (marks or {}).items()}
    for x, text in texts.items():
        drawn.append(_shape("line", x1=_px(x), x2=_px(x), y1=bottom, y2=bottom + 5, stroke=_INK))
        drawn.append(_shape("text", text, x=_px(x), y=bottom + 19, text_anchor="middle", fill=_INK))
    drawn.append(_shape("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, stroke=_INK))
    middle = (_LEFT + right) / 2
    drawn.append(_shape("text", x_label, x=middle, y=HEIGHT - 10, text_anchor="middle", fill=_INK))
    turned = f"rotate(-90 16 {(bottom + _TOP) / 2:.0f})"
    at = (bottom + _TOP) / 2
    drawn.append(_shape("text", y_label, x=16, y=at, text_anchor="middle", fill=_INK, transform=turned))
    return drawn


def _steps(front: Sequence[Point], xs: _Axis, ys: _Axis) -> ET.Element:
    """The front as a staircase: above and to the right of it nothing is worth its time."""
    path = f"M{_px(xs.at(front[0].x))},{_TOP}"
    for point in front:
        path += f" H{_px(xs.at(point.x))} V{_px(ys.at(point.y))}"
    path += f" H{WIDTH - _RIGHT}"
    return _shape("path", d=path, fill="none", stroke=_INK, stroke_dasharray="4 4", opacity="0.55")


def _free(x: float, y: float, width: float, taken: list[tuple[float, float, float]]) -> float:
    """A height near `y` where a label of `width` covers none that was placed before; it is noted in `taken`."""
    for offset in (0, -14, 14, -28, 28, -42, 42, -56, 56, -70, 70):
        wanted = y + offset
        inside = _TOP < wanted < HEIGHT - _BOTTOM
        if inside and all(abs(wanted - other) >= 13 or x > end or x + width < begin for begin, end, other in taken):
            taken.append((x, x + width, wanted))
            return wanted
    return y


def _label(text: str, x: float, y: float, colour: str) -> ET.Element:
    # a halo of paper keeps a label readable where a line runs behind it
    halo = {"paint_order": "stroke", "stroke": _PAPER, "stroke_width": 4}
    return _shape("text", text, x=_px(x), y=_px(y + 4), fill=colour, **halo)


def _legend(colours: Mapping[str, str]) -> list[ET.Element]:
    drawn = []
    x = float(WIDTH - _RIGHT)
    for name, colour in reversed(list(colours.items())):
        drawn.append(_shape("text", name, x=_px(x), y=22, fill=colour, text_anchor="end", font_weight="600"))
        x -= len(name) * 7.5 + 16
    return drawn


def _empty(title: str) -> Markup:
    text = _shape("text", "nothing to draw", x=WIDTH / 2, y=HEIGHT / 2, text_anchor="middle", fill=_INK)
    return _plot(title, [_shape("rect", width=WIDTH, height=HEIGHT, fill=_PAPER), text])


def _plot(title: str, drawn: Sequence[ET.Element]) -> Markup:
    root = _shape(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=title,
        font_family="system-ui, sans-serif",
        font_size=12,
    )
    root.extend(drawn)
    ET.indent(root, "")
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - ElementTree has escaped every text


def _shape(name: str, text: str = "", **attributes: object) -> ET.Element:
    """An element of SVG; `stroke_width` is written stroke-width."""
    shape = ET.Element(name, {key.replace("_", "-"): str(value) for key, value in attributes.items()})
    shape.text = text or None
    return shape


def _px(value: float) -> str:
    return f"{value:.1f}"
