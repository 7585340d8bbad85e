"""A few curves as one SVG."""

from collections.abc import Mapping, Sequence

_COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce")
_LEFT, _TOP, _WIDTH, _HEIGHT = 70, 20, 700, 320


def draw_curves(curves: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> str:
    points = [point for curve in curves.values() for point in curve]
    right = max(x for x, _ in points) or 1
    low, high = min(y for _, y in points), max(y for _, y in points)
    high = high if high > low else low + 1

    def place(x: float, y: float) -> str:
        across, up = x / right, (y - low) / (high - low)
        return f"{_LEFT + across * _WIDTH:.1f},{_TOP + (1 - up) * _HEIGHT:.1f}"

    bottom = _TOP + _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 30} {bottom + 50}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="white"/><path d="M{_LEFT},{_TOP}V{bottom}H{_LEFT + _WIDTH}" '
        'fill="none" stroke="#444"/>',
        f'<text x="{_LEFT + _WIDTH / 2}" y="{bottom + 38}">{x_label}</text>',
        f'<text x="{_LEFT}" y="14">{y_label}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _TOP + (1 - share) * _HEIGHT
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{low + share * (high - low):.3g}</text>'
        )
        x = _LEFT + share * _WIDTH
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{share * right:.0f}</text>')
    for index, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        line = " ".join(place(x, y) for x, y in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{_LEFT + _WIDTH - 150}" y="{_TOP + 20 + 18 * index}" fill="{colour}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])
