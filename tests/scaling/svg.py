"""Charts as SVG text, drawn by hand: bars in groups, and lines over a numeric axis. Light background, labels at the
data. No libraries. Numbers in, text out; nothing is measured here.
"""

from html import escape

WIDTH, HEIGHT = 900, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 24, 84, 52
INK, FAINT, GRID, PAPER = "#1f2933", "#616e7c", "#e4e7eb", "#ffffff"
COLORS = ["#c2410c", "#0f766e", "#1d4ed8", "#7c3aed"]  # told apart by the colour-blind, and in grey


class Canvas:
    def __init__(self, title, subtitle):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
                      f'height="{HEIGHT}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" role="img">',
                      f"<title>{escape(title)}</title>",
                      f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>']
        self.text(LEFT - 46, 28, title, size=17, weight="bold")
        self.text(LEFT - 46, 48, subtitle, size=12.5, color=FAINT)

    def text(self, x, y, text, size=12, color=INK, anchor="start", weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" '
                          f'font-weight="{weight}">{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, color=GRID, width=1.0, dash=""):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
                          f'stroke-width="{width}"{dashes}/>')

    def bar(self, x, y, width, height, color, tip):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{color}">'
                          f"<title>{escape(tip)}</title></rect>")

    def dot(self, x, y, color):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>')

    def done(self):
        return "\n".join([*self.parts, "</svg>\n"])


def ticks(top, count=5):
    """Round numbers from 0 to at least `top`."""
    step = 1e-9
    for step in (m * 10.0 ** e for e in range(-6, 16) for m in (1, 2, 2.5, 5)):
        if step * count >= top:
            break
    return [i * step for i in range(int(-(-top // step)) + 1)]


def number(x):
    return f"{x:,.0f}" if x == int(x) else f"{x:g}"


def axes(canvas, y_ticks, y_title, x_title):
    """Draws grid, labels and titles; returns the function from a value to its y."""
    bottom = HEIGHT - BOTTOM
    at = lambda value: bottom - value / y_ticks[-1] * (bottom - TOP)
    for value in y_ticks:
        canvas.line(LEFT, at(value), WIDTH - RIGHT, at(value), GRID if value else INK)
        canvas.text(LEFT - 8, at(value) + 4, number(value), anchor="end", color=FAINT)
    canvas.text(LEFT - 46, TOP - 14, y_title, color=FAINT)
    canvas.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_title, anchor="middle", color=FAINT)
    return at


def bars(title, subtitle, x_title, y_title, categories, series, level=None):
    """series: [(label, values)], one value a category; level: (label, value), a dashed line across."""
    canvas = Canvas(title, subtitle)
    top = max([v for _, values in series for v in values] + ([level[1]] if level else []))
    at = axes(canvas, ticks(top * 1.02), y_title, x_title)
    slot = (WIDTH - LEFT - RIGHT) / len(categories)
    width = slot * 0.8 / len(series)
    for i, category in enumerate(categories):
        x = LEFT + slot * i + slot * 0.1
        for j, (label, values) in enumerate(series):
            canvas.bar(x + j * width, at(values[i]), width * 0.94, at(0) - at(values[i]), COLORS[j],
                       f"{category}: {label}: {values[i]:.1f}")
        canvas.text(LEFT + slot * (i + 0.5), HEIGHT - BOTTOM + 16, str(category), size=11, anchor="middle", color=FAINT)
    if level:
        canvas.line(LEFT, at(level[1]), WIDTH - RIGHT, at(level[1]), INK, 1.2, "5 4")
        canvas.text(WIDTH - RIGHT, at(top) - 6, f"- - {level[0]}", size=11.5, anchor="end")  # clear of the bars
    legend(canvas, [label for label, _ in series])
    return canvas.done()


def legend(canvas, labels):
    x = LEFT + 100
    for j, label in enumerate(labels):
        canvas.bar(x, TOP - 24, 12, 12, COLORS[j], label)
        canvas.text(x + 18, TOP - 14, label, size=12.5)
        x += 36 + 7.2 * len(label)


def lines(title, subtitle, x_title, y_title, xs, series, ideal=None):
    """series: [(label, values)], one value an x or None; each value is written at its point. ideal: (label, slope)."""
    canvas = Canvas(title, subtitle)
    last, best = max(xs), max(v for _, values in series for v in values if v is not None)
    if ideal:
        best = max(best, last * ideal[1])
    at = axes(canvas, ticks(best * 1.05), y_title, x_title)
    right = WIDTH - RIGHT - 110  # room for labels at the ends of lines
    along = lambda x: LEFT + (x / last) * (right - LEFT)
    for x in xs:
        canvas.text(along(x), HEIGHT - BOTTOM + 16, number(x), size=11, anchor="middle", color=FAINT)
    ends = []
    if ideal:
        canvas.line(along(0), at(0), along(last), at(last * ideal[1]), FAINT, 1.4, "5 4")
        ends.append((at(last * ideal[1]), ideal[0], FAINT))
    for j, (label, values) in enumerate(series):
        points = [(along(x), at(v), v) for x, v in zip(xs, values) if v is not None]
        for (x1, y1, _), (x2, y2, _) in zip(points, points[1:]):
            canvas.line(x1, y1, x2, y2, COLORS[j], 2.2)
        for x, y, _ in points:
            canvas.dot(x, y, COLORS[j])
        if points:
            ends.append((points[-1][1], label, COLORS[j]))
    for i, x in enumerate(xs):  # the highest value stands above its point, the others below theirs
        here = sorted(((values[i], j) for j, (_, values) in enumerate(series) if values[i] is not None), reverse=True)
        for place, (v, j) in enumerate(here):
            canvas.text(along(x), at(v) + (18 if place else -9), f"{v:.2f}", size=11, anchor="middle", color=COLORS[j])
    y_free = None
    for y, label, color in sorted(ends):  # labels of lines that end close together give way downwards
        y_free = y if y_free is None else max(y, y_free + 15)
        canvas.text(along(last) + 22, y_free + 4, label, size=12.5, color=color)
    return canvas.done()
