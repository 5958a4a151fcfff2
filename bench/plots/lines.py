"""Lines over interactions as an SVG file: percent upwards, interactions to the right by their root, for most happens
early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

WIDTH, HEIGHT, LEFT, RIGHT, EDGE = 760, 380, 44, 180, 28
COLOURS = ("#1f5fa8", "#c8581c", "#3f8f4f", "#8a5aa8", "#b0303c")
LAST, LOWEST = 160, 40  # interactions and percent at the ends of the axes


def drawn(lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """An SVG of named lines of (interactions, percent)."""
    grey = 'stroke="#8886" fill="none"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12" fill="#777">'
    ]
    for percent in range(LOWEST, 101, 10):
        parts.append(f'<path d="M{_x(0):.0f} {_y(percent):.0f}H{_x(LAST):.0f}" {grey}/>')
        parts.append(f'<text x="{LEFT - 6}" y="{_y(percent) + 4:.0f}" text-anchor="end">{percent}%</text>')
    for at in (0, 2, 10, 20, 40, 80, 160):
        parts.append(f'<text x="{_x(at):.0f}" y="{HEIGHT - 8}" text-anchor="middle">{at}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{_x(at):.1f} {_y(percent):.1f}" for at, percent in points)
        parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"/>')
        parts += [f'<circle cx="{_x(at):.1f}" cy="{_y(percent):.1f}" r="3" fill="{colour}"/>' for at, percent in points]
        parts.append(f'<text x="{_x(LAST) + 12:.0f}" y="{EDGE + 18 * number + 8}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(at: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * sqrt(at / LAST)


def _y(percent: float) -> float:
    return EDGE + (HEIGHT - 2 * EDGE - 8) * (100 - max(percent, LOWEST)) / (100 - LOWEST)
