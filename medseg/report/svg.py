"""The few SVG elements that the plots need, every text escaped, colours left to the page's style sheet.

Marks carry classes (``s0``, ``s1``, ... for structures), so one drawing suits light, dark and paper.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """A straight line from data [low, high] to pixels [start, stop]."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, about: int = 5) -> tuple[float, ...]:
        """Round values inside the range, about this many."""
        raw = (self.high - self.low) / max(about, 1)
        magnitude = 10.0 ** math.floor(math.log10(raw))
        step = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999) * magnitude
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(round(number * step, 10) for number in range(first, last + 1))


@dataclass
class Drawing:
    """Collects elements; ``finish`` gives the SVG. ``title`` is what a screen reader says of the picture."""

    width: float
    height: float
    title: str
    _parts: list[Markup] = field(default_factory=list)

    def line(self, start: Point, stop: Point, name: str) -> None:
        (x1, y1), (x2, y2) = start, stop
        self._add(
            Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>'), _n(x1), _n(y1), _n(x2), _n(y2), name
        )

    def path(self, points: Iterable[Point], name: str, title: str = "") -> None:
        """An open line through the points; nothing for fewer than two."""
        places = [f"{_n(x)} {_n(y)}" for x, y in points]
        if len(places) > 1:
            self._add(Markup('<path d="M{}" class="{}">{}</path>'), "L".join(places), name, _title(title))

    def rect(self, corner: Point, size: tuple[float, float], name: str, title: str = "") -> None:
        (x, y), (width, height) = corner, size
        template = Markup('<rect x="{}" y="{}" width="{}" height="{}" rx="2" class="{}">{}</rect>')
        self._add(template, _n(x), _n(y), _n(width), _n(height), name, _title(title))

    def dot(self, centre: Point, name: str, title: str, radius: float = 3.5) -> None:
        template = Markup('<circle cx="{}" cy="{}" r="{}" class="{}">{}</circle>')
        self._add(template, _n(centre[0]), _n(centre[1]), _n(radius), name, _title(title))

    def dots(self, centres: Iterable[Point], name: str) -> None:
        """Many dots as one path of lines without length, which round ends make visible."""
        places = "".join(f"M{_n(x)} {_n(y)}h0" for x, y in centres)
        if places:
            self._add(Markup('<path d="{}" class="{}"/>'), places, name)

    def text(self, place: Point, text: str, name: str = "tick", anchor: str = "middle") -> None:
        template = Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>')
        self._add(template, _n(place[0]), _n(place[1]), name, anchor, text)

    def turned_text(self, place: Point, text: str) -> None:
        """Text that runs upwards, for the label of a vertical axis."""
        x, y = _n(place[0]), _n(place[1])
        template = Markup(
            '<text transform="translate({} {}) rotate(-90)" class="label" text-anchor="middle">{}</text>'
        )
        self._add(template, x, y, text)

    def finish(self) -> Markup:
        head = Markup('<svg viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">').format(
            _n(self.width), _n(self.height), _n(self.width), _n(self.height), self.title
        )
        return head + Markup("").join(self._parts) + Markup("</svg>")

    def _add(self, template: Markup, *values: object) -> None:
        self._parts.append(template.format(*values))


def x_axis(drawing: Drawing, x: Scale, top: float, bottom: float, ticks: Sequence[float]) -> None:
    """Vertical grid lines with their values below."""
    for value in ticks:
        drawing.line((x(value), top), (x(value), bottom), "grid")
        drawing.text((x(value), bottom + 16), tick_text(value))


def y_axis(drawing: Drawing, y: Scale, left: float, right: float, ticks: Sequence[float]) -> None:
    """Horizontal grid lines with their values on the left."""
    for value in ticks:
        drawing.line((left, y(value)), (right, y(value)), "grid")
        drawing.text((left - 7, y(value) + 4), tick_text(value), anchor="end")


def tick_text(value: float) -> str:
    if abs(value) >= 10000:
        return f"{value / 1000:g}k"
    return f"{value:.6g}"


def _title(text: str) -> Markup:
    return Markup("<title>{}</title>").format(escape(text)) if text else Markup("")


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
