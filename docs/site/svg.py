"""Plain SVG drawings: boxes, arrows and sequence diagrams, without any library."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

FONT = "font-family='system-ui, sans-serif'"
INK, SOFT, FILL = "#1f2a44", "#64748b", "#eef2ff"
LINE_HEIGHT = 16


@dataclass
class Drawing:
    """Collects shapes and renders them as one SVG file. Sizes are pixels."""

    width: int
    height: int
    title: str
    shapes: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, text: str) -> None:
        self.shapes.append(
            f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='6' "
            f"fill='{FILL}' stroke='{INK}'/>"
        )
        lines = text.split("\n")
        top = y + height / 2 - (len(lines) - 1) * LINE_HEIGHT / 2 + 4
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + number * LINE_HEIGHT, line, bold=number == 0)

    def text(
        self, x: float, y: float, text: str, *, bold: bool = False, anchor: str = "middle",
        color: str = INK,
    ) -> None:  # fmt: skip
        weight = " font-weight='600'" if bold else ""
        self.shapes.append(
            f"<text x='{x}' y='{y}' text-anchor='{anchor}' font-size='12'{weight} "
            f"fill='{color}' stroke='#fff' stroke-width='4' paint-order='stroke'>"
            f"{escape(text)}</text>"
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False) -> None:
        dash = " stroke-dasharray='4 4'" if dashed else ""
        self.shapes.append(
            f"<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='{SOFT}'{dash}/>"
        )

    def arrow(self, points: list[tuple[float, float]], *, dashed: bool = False) -> None:
        dash = " stroke-dasharray='4 3'" if dashed else ""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.shapes.append(
            f"<polyline points='{path}' fill='none' stroke='{INK}'{dash} marker-end='url(#head)'/>"
        )

    def render(self) -> str:
        head = (
            "<defs><marker id='head' markerWidth='9' markerHeight='8' refX='8' refY='4' "
            f"orient='auto'><path d='M0,0 L9,4 L0,8 z' fill='{INK}'/></marker></defs>"
        )
        body = "\n".join(self.shapes)
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}' "
            f"width='{self.width}' height='{self.height}' {FONT} role='img'>\n"
            f"<title>{escape(self.title)}</title>\n{head}\n"
            f"<rect width='100%' height='100%' fill='#fff'/>\n{body}\n</svg>\n"
        )


Step = tuple[str, str, str] | tuple[str, str]
"""(from, to, label) for an arrow; (participant, label) for a note beside its line."""


def sequence(title: str, participants: list[str], steps: list[Step], *, gap: int = 170) -> str:
    """A sequence diagram: a column for each participant, a row for each step."""
    row, top, left = 34, 60, 110
    height = top + row * (len(steps) + 1)
    drawing = Drawing(left * 2 + gap * (len(participants) - 1), height + 10, title)
    x = {name: left + gap * number for number, name in enumerate(participants)}
    for name, middle in x.items():
        drawing.line(middle, top - 10, middle, height, dashed=True)
        drawing.box(middle - 72, 10, 144, 40, name)
    for number, step in enumerate(steps, 1):
        y = top + row * number - 6
        if len(step) == 2:
            last = step[0] == participants[-1]
            at, anchor = x[step[0]] + (-8 if last else 8), "end" if last else "start"
            drawing.text(at, y, f"{number}. {step[1]}", anchor=anchor, color=SOFT)
            continue
        start, end, label = x[step[0]], x[step[1]], step[2]
        away = 4 if end > start else -4
        drawing.arrow([(start + away, y), (end - away, y)])
        drawing.text((start + end) / 2, y - 5, f"{number}. {label}")
    return drawing.render()
