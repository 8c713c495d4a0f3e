"""The plots of scripts/compare, as SVG: bars of what is counted a second, lines of nanoseconds over numbers of conns."""

import math
import statistics

OURS = ["#0b6e4f", "#57b894"]
OTHERS = ["#9aa5b1", "#c3a35b", "#7b8fb7", "#b77b7b"]
FLOOR = "#b3261e"
BAR, GAP, HIGH, LEFT, RIGHT, TOP, BELOW = 18, 22, 150, 50, 18, 40, 34
HEAD, LETTER, LEAST_WIDTH = 44, 6.5, 360
ACROSS = 2


def unique(values):
    return list(dict.fromkeys(values))


def text(x, y, words, **more):
    more = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{words}</text>'


def line(x1, y1, x2, y2, colour, **more):
    more = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def dashed(points):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{FLOOR}" stroke-width="1.5" stroke-dasharray="4 3"/>'


class Axes:
    """A panel at this place, with values from 0 to `most` on its left side."""

    def __init__(self, name, most, left, top, width):
        self.left, self.right, self.base = left + LEFT, left + width - RIGHT, top + TOP + HIGH
        self.scale = HIGH / (most * 1.05)
        self.svg = [text(self.left, top + TOP - 12, name, font_size=12)]
        step = next(s * 10.0**k for k in range(-3, 9) for s in (1, 2, 5) if most / (s * 10.0**k) <= 6)
        for n in range(int(most * 1.05 / step) + 1):
            y = self.y(n * step)
            self.svg.append(line(self.left, y, self.right, y, "#e3e6ea"))
            self.svg.append(text(self.left - 6, y + 4, f"{n * step:,g}", text_anchor="end"))

    def y(self, value):
        return self.base - value * self.scale

    def below(self, x, words):
        self.svg.append(text(x, self.base + 16, words, text_anchor="middle"))

    def spread(self, x, values):
        self.svg.append(line(x, self.y(min(values)), x, self.y(max(values)), "#222"))


class Bars:
    """Groups of bars, one for each program: runs have them under these keys. A floor is a dashed line over a bar."""

    def __init__(self, name, runs, group, value, order=None, floors=None):
        self.name, self.runs, self.group, self.value = name, runs, group, value
        self.floors = floors or {}  # by group and program
        seen = unique(r[group] for r in runs)
        self.groups = [g for g in order if g in seen] if order else seen

    def width(self, names):
        return LEFT + (BAR * len(names) + GAP) * len(self.groups) + RIGHT

    def names(self):
        return unique(r["program"] for r in self.runs)

    def draw(self, colours, left, top, width):
        most = max([r[self.value] for r in self.runs] + list(self.floors.values()))
        axes = Axes(self.name, most, left, top, width)
        wide = BAR * len(colours)
        for i, group in enumerate(self.groups):
            x = axes.left + GAP / 2 + i * (wide + GAP)
            for k, (program, colour) in enumerate(colours.items()):
                values = [r[self.value] for r in self.runs if (r[self.group], r["program"]) == (group, program)]
                if values:
                    at, y = x + k * BAR, axes.y(statistics.median(values))
                    axes.svg.append(f'<rect x="{at:.1f}" y="{y:.1f}" width="{BAR - 3}" height="{axes.base - y:.1f}"'
                                    f' fill="{colour}"/>')
                    axes.spread(at + (BAR - 3) / 2, values)
                if (group, program) in self.floors:
                    y = axes.y(self.floors[group, program])
                    axes.svg.append(dashed([(x + k * BAR - 2, y), (x + k * BAR + BAR - 1, y)]))
            axes.below(x + (wide - 3) / 2, group if isinstance(group, str) else short(group))
        return axes.svg


class Lines:
    """A line for each program over numbers of conns, which are as far apart as their logarithms; one of floors, dashed."""

    def __init__(self, name, runs, value, floors):
        self.name, self.runs, self.value = name, runs, value
        self.floors = floors  # by number of conns

    def width(self, _):
        return LEAST_WIDTH

    def names(self):
        return unique(r["program"] for r in self.runs)

    def draw(self, colours, left, top, width):
        conns = sorted({r["conns"] for r in self.runs})
        ends = [math.log10(conns[0]), math.log10(conns[-1])]
        floors = {n: floor for n, floor in self.floors.items() if conns[0] <= n <= conns[-1]}
        axes = Axes(self.name, max([r[self.value] for r in self.runs] + list(floors.values())), left, top, width)
        room = axes.right - axes.left - 50

        def x(n):
            return axes.left + 25 + room * ((math.log10(n) - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.5)

        for program in self.names():
            points, colour = [], colours[program]
            for n in conns:
                values = [r[self.value] for r in self.runs if (r["program"], r["conns"]) == (program, n)]
                if values:
                    points.append((x(n), axes.y(statistics.median(values))))
                    axes.spread(x(n), values)
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            axes.svg.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            axes.svg += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colour}"/>' for a, b in points]
        if floors:
            points = [(x(n), axes.y(floor)) for n, floor in sorted(floors.items())]
            axes.svg.append(dashed(points if len(points) > 1 else [(points[0][0] + d, points[0][1]) for d in (-20, 20)]))
        for n in conns:
            axes.below(x(n), short(n))
        return axes.svg


def short(n):
    for unit, name in ((1_000_000, " M"), (1000, " k")):
        if n >= unit:
            return f"{n / unit:g}{name}"
    return f"{n}"


def plot(title, panels):
    """The SVG of these panels under one title and one legend, or nothing where there are none."""
    if not panels:
        return ""
    names = sorted(unique(n for p in panels for n in p.names()), key=lambda n: not n.startswith("pointsman"))
    ours = [n for n in names if n.startswith("pointsman")]
    palette = OURS[: len(ours)] + OTHERS if ours else OURS[:1] + OTHERS
    colours = {n: palette[k % len(palette)] for k, n in enumerate(names)}
    width = max(LEAST_WIDTH, *(p.width(names) for p in panels))
    high = TOP + HIGH + BELOW
    across = min(ACROSS, len(panels))
    floors = any(p.floors for p in panels)
    legend, end = [], LEFT
    for name in names:
        legend.append(f'<rect x="{end:.1f}" y="32" width="10" height="10" fill="{colours[name]}"/>')
        legend.append(text(end + 15, 41, name))
        end += 38 + LETTER * len(name)
    if floors:
        legend += [dashed([(end, 37), (end + 22, 37)]), text(end + 28, 41, "floor")]
        end += 75
    whole = math.ceil(max(end, LEFT + 7 * len(title), width * across))
    tall = HEAD + 8 + high * -(-len(panels) // across)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {tall}" font-family="sans-serif" font-size="11">',
        f'<rect width="{whole}" height="{tall}" fill="white"/>',
        text(LEFT, 20, title, font_size=13),
    ]
    svg += legend
    for i, panel in enumerate(panels):
        svg += panel.draw(colours, width * (i % across), HEAD + high * (i // across), width)
    return "\n".join([*svg, "</svg>"]) + "\n"
