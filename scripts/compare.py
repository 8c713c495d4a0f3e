"""compare.md and compare.svg from compare.json in the directory given: what scripts/compare measured."""

import json
import pathlib
import platform
import statistics
import sys

room = pathlib.Path(sys.argv[1])
parts = json.loads((room / "compare.json").read_text())
runs, veth = parts["dpdk"], parts["veth"]


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def unique(values):
    return list(dict.fromkeys(values))


def figures(cell, program):
    return [r["mpps"] for r in runs if (r["size"], r["conns"], r["method"]) == cell and r["program"] == program]


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def programs_of(runs):
    return unique(r["program"] for r in runs)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def dpdk_table():
    others = [p for p in programs_of(runs) if p != "pointsman"]
    head = ["size", "frames = conns", "method", "pointsman, Mpps", "ns"]
    for other in others:
        head += [f"{other}, Mpps", "ratio"]
    rows = []
    for cell in cells:
        ours = figures(cell, "pointsman")
        row = [cell[0], f"{cell[1]:,}", cell[2], spread(ours), f"{1e3 / statistics.median(ours):.1f}"]
        for other in others:
            theirs = figures(cell, other)
            # of one round each, which a busy moment meets together
            ratios = [a / b for a, b in zip(ours, theirs)]
            row += [spread(theirs), f"{statistics.median(ratios):.2f}"]
        rows.append(row)
    return [
        f"{machine}; net_pcap infinite_rx in, drop out; median (least-most) of {len(unique(r['round'] for r in runs))}"
        " rounds in turns; the ratio is the median of the rounds'.",
        "",
        *table(head, rows),
    ]


def veth_table():
    loads = unique(r["load"] for r in veth)
    head = ["requests per second, conns", *loads, "requests failed"]
    rows = []
    for program in programs_of(veth):
        mine = [r for r in veth if r["program"] == program]
        rates = [[r["rate"] for r in mine if r["load"] == load] for load in loads]
        row = [f"{statistics.median(v):,.0f} ({min(v):,}-{max(v):,})" for v in rates]
        rows.append([program, *row, f"{sum(r['failed'] for r in mine):,}"])
    return [
        f"{machine}; wrk with 64 conns, two nginx servers, veth; median (least-most) of"
        f" {len(unique(r['round'] for r in veth))} rounds in turns.",
        "",
        *table(head, rows),
    ]


machine = f"One core of {processor()}, Linux {platform.release()}"
cells = unique((r["size"], r["conns"], r["method"]) for r in runs)
lines = (dpdk_table() if runs else []) + (veth_table() if veth else [])
(room / "compare.md").write_text("\n".join(lines))
if not runs:
    sys.exit()

# A group of bars for each cell: ours, then the others; the line over a bar is the spread.
programs = ["pointsman", *(p for p in programs_of(runs) if p != "pointsman")]
colours = ["#0b6e4f", "#9aa5b1", "#c3a35b", "#7b8fb7", "#b77b7b"]
BAR, GAP, HIGH, LEFT, TOP = 18, 26, 220, 56, 34
group = BAR * len(programs) + GAP
width, height = max(460, LEFT + group * len(cells) + 20), TOP + HIGH + 92
top = max(r["mpps"] for r in runs) * 1.05
scale = HIGH / top
svg = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
    f'<rect width="{width}" height="{height}" fill="white"/>',
    f'<text x="{LEFT}" y="18" font-size="13">Millions of packets per second on one core: median, least and most</text>',
]
step = next(s for s in (0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if top / s <= 8)
for n in range(int(top / step) + 1):
    y = TOP + HIGH - n * step * scale
    svg.append(f'<line x1="{LEFT}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e6ea"/>')
    svg.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{n * step:g}</text>')
for i, cell in enumerate(cells):
    x = LEFT + GAP / 2 + i * group
    for k, program in enumerate(programs):
        values = figures(cell, program)
        tall = statistics.median(values) * scale
        at, mid = x + k * BAR, x + k * BAR + BAR / 2
        colour = colours[k % len(colours)]
        svg.append(f'<rect x="{at:.1f}" y="{TOP + HIGH - tall:.1f}" width="{BAR - 3}" height="{tall:.1f}" fill="{colour}"/>')
        low, most = (TOP + HIGH - v * scale for v in (min(values), max(values)))
        svg.append(f'<line x1="{mid - 1.5:.1f}" x2="{mid - 1.5:.1f}" y1="{low:.1f}" y2="{most:.1f}" stroke="#222"/>')
    mid = x + BAR * len(programs) / 2
    for n, words in enumerate((cell[2], f"{cell[0]} B" if cell[0].isdigit() else cell[0], f"{cell[1]:,}")):
        svg.append(f'<text x="{mid:.1f}" y="{TOP + HIGH + 16 + 14 * n}" text-anchor="middle">{words}</text>')
for k, program in enumerate(programs):
    x = LEFT + k * 130
    svg.append(f'<rect x="{x}" y="{height - 18}" width="10" height="10" fill="{colours[k % len(colours)]}"/>')
    svg.append(f'<text x="{x + 15}" y="{height - 9}">{program}</text>')
svg.append("</svg>")
(room / "compare.svg").write_text("\n".join(svg) + "\n")
