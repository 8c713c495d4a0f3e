"""What scripts/compare measured, as tables and a plot: compare.py DIR [record]

Reads compare.json of DIR, writes compare.md and plots beside it: compare.svg, compare-memory.svg and compare-veth.svg of
what was measured; with `record` also docs/measured.md and its plots, and the table between the two marks in README.md."""

import collections
import datetime
import json
import pathlib
import platform
import statistics
import subprocess
import sys

import compare_floors
from compare_plot import Bars
from compare_plot import Lines
from compare_plot import plot

ROOT = pathlib.Path(__file__).resolve().parent.parent
METHODS = ("dr", "tunnel", "nat", "fullnat", "rewriting")
IMIX = 354  # bytes of its frames on average
PLOTS = {"": "beside testpmd", "-memory": "in memory", "-veth": "over veth"}
MARKS = ("<!-- scripts/compare --record writes this -->", "<!-- to here -->")


def machine():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"one core of {line.split(':', 1)[1].strip()}, Linux {platform.release()}"
    return f"one core of {platform.machine()}, Linux {platform.release()}"


def version():
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "no commit"


def unique(values):
    return list(dict.fromkeys(values))


def digits(value):
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values):
    return f"{digits(statistics.median(values))} {digits(min(values))}-{digits(max(values))}"


def table(head, rows):
    """Lines of a Markdown table whose columns stand in line: the first ones are words, those with figures end there."""
    wide = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(wide[k]) for k, cell in enumerate(row)) + " |" for row in [head, *rows]]
    lines.insert(1, "| " + " | ".join("-" * max(3, width) for width in wide) + " |")
    return [*lines, ""]


def paragraph(text):
    """Broken at 78 columns, and an empty line."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > 78:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return [*lines, line, ""]


def item(text):
    return ["- " + paragraph(text)[0], *(f"  {line}" for line in paragraph(text)[1:-1])]


def named(size):
    return f"{size} B" if size.isdigit() else size.upper()


def group_name(key):
    via, kind, size, conns = key
    return f"{via}: {compare_floors.conns_are(conns)}, {kind}, {named(size)}"


def rounds_of(rows):
    """How many rounds a figure is the median of: cells may have been measured by several runs."""
    cell = ("via", "kind", "size", "bench", "conns", "method", "program", "load")
    counts = collections.Counter(tuple(r.get(k) for k in cell) for r in rows).values()
    few, many = min(counts), max(counts)
    return f"{few}" if few == many else f"{few} to {many}"


def measured_at(rows):
    """Which commits figures are of, where --add has kept those of another one than the headline's."""
    commits = unique(r["commit"] for r in rows if "commit" in r)
    return f" Measured at {', '.join(commits)}." if commits not in ([], [version()]) else ""


def methods_of(rows):
    return [m for m in METHODS if any(r["method"] == m for r in rows)]


def groups(runs):
    """Runs by what all methods of a table have in common, in the order of the tables."""
    by = {}
    for r in runs:
        by.setdefault((r["via"], r["kind"], r["size"], r["conns"]), []).append(r)
    size = lambda key: int(key[2]) if key[2].isdigit() else IMIX
    return dict(sorted(by.items(), key=lambda item: (item[0][0] != "pcap", item[0][1], size(item[0]), item[0][3])))


def figures(runs, method, program):
    return [r["mpps"] for r in runs if r["method"] == method and r["program"] == program]


def programs_of(runs):
    return unique(r["program"] for r in runs)


HOW = {
    "pcap": "Millions of packets per second of a whole loop beside testpmd: net_pcap infinite_rx in, drop out.",
    "memif": "The same between two processes by net_memif; a testpmd on another core gives the frames and takes them"
    " back. What came through counts. Both cores write the same lines of memory, so figures depend on how near each"
    " other they are: on a virtual machine that changes by the second. A run counts where a line went from core to core and"
    " back as fast as ever, nearly, before it and after it, or was the second try; how many ns that took is the last column.",
}


PARTS = (" Our ns a packet are of two short runs of the same process: in all and in the pipeline; then in all where each"
         " frame only waits for as long as the pipeline took. Where the third is about the first, what is above the second is"
         " the ports' and the memory's that frames come from: the later they are asked for again, the fewer of them are still"
         " in a cache, and that is a part of each ratio.")


def packets(data, floors):
    lines, said = [], set()
    for key, runs in groups(data["dpdk"]).items():
        via, kind, size, conns = key
        if via not in said:
            said.add(via)
            mine = [r for r in data["dpdk"] if r["via"] == via]
            lines += [f"## {via}", ""]
            lines += paragraph(f"{HOW[via]} Median and least-most of {rounds_of(mine)} rounds in turns; the ratio is"
                               " the median of the rounds'. Established conns have a frame each in the capture; new ones"
                               " are a SYN each, which ends one conn and opens another. Turns are those of our worker that"
                               " found frames, its housekeeping with them; beside them, of the same process, an idle spin's:"
                               " as many, each as long as their median, which only read the clock."
                               f"{PARTS if any(r.get('parts') for r in mine) else ''}{measured_at(mine)}")
        for program in (p for p in programs_of(runs) if p != "pointsman"):
            rows = []
            for method in methods_of(runs):
                ours, theirs = figures(runs, method, "pointsman"), figures(runs, method, program)
                ratio = compare_floors.ratio(ours, theirs)
                floor = floors.of_ratio((*key, method, program), ratio)
                last = floor if via == "pcap" else distances(runs, method, (program, "pointsman"))
                rows.append([method, spread(theirs), spread(ours), f"{ratio:.2f}, {conns}", last])
            lines += [f"### {group_name(key)}, beside {program}", ""]
            last = "floor" if via == "pcap" else "line, ns"
            lines += table(*drop_empty(["method", "it, Mpps", "ours, Mpps", "ratio, frames", last], rows))
        lines += turns(key, [r for r in runs if "turns" in r])
        lines += parts(key, [r for r in runs if r.get("parts")])
    return lines


def turns(key, rows):
    """Of whole turns of our worker, and of the idle spin of the same process."""
    if not rows:
        return []
    columns = lambda what, mine: [digits(statistics.median(v)) for v in zip(*(r[what][1:] for r in mine))]
    cells = []
    for method in methods_of(rows):
        mine = [r for r in rows if r["method"] == method]
        cells.append([method, *columns("turns", mine), *columns("idle", mine)])
    head = ["method", "median", "99.9 %", "worst", "idle, median", "99.9 %", "worst"]
    return [f"### {group_name(key)}, our turns in us", "", *table(head, cells)]


def parts(key, rows):
    """Where a packet's time goes."""
    if not rows:
        return []
    cells = []
    for method in methods_of(rows):
        mine = [r["parts"] for r in rows if r["method"] == method]
        cells.append([method, *(spread(ns) for ns in zip(*mine))])
    head = ["method", "in all", "in the pipeline", "in all, waiting"]
    return [f"### {group_name(key)}, our ns a packet", "", *table(head, cells)]


def distances(runs, method, programs):
    """How far the two cores were from each other during these runs."""
    ns = [r["line"] for r in runs if r["method"] == method and r["program"] in programs and "line" in r]
    return f"{min(ns)}-{max(ns)}" if ns else ""


def drop_empty(head, rows):
    """Without the last column where it says nothing."""
    if any(row[-1] for row in rows):
        return head, rows
    return head[:-1], [row[:-1] for row in rows]


def pipeline(rows, floors):
    lines = paragraph(f"Nanoseconds per established packet of the pipeline alone, 64 B, frames from memory: median and"
                      f" least-most of {rounds_of(rows)} rounds in turns. {floors.said()}{measured_at(rows)}")
    cells = []
    for method in methods_of(rows):
        for conns in sorted({r["conns"] for r in rows}):
            ns = [r["ns"] for r in rows if (r["method"], r["conns"]) == (method, conns)]
            if ns:
                floor = floors.of_pipeline(method, conns, statistics.median(ns))
                cells.append([method, f"{conns:,}", spread(ns), floor])
    return lines + table(["method", "conns", "ns", "floor, ns"], cells)


def opening(rows, idle, floors):
    lines = paragraph("Conns that come and go while as many stand as it says: SYN, SYN-ACK where replies pass the director,"
                      " ACK, RST, expiry, the lease and its numbers. Then a turn of housekeeping while all that stand run out"
                      " at once, and the gaps of a loop that only reads the clock, in microseconds.")
    turns = lambda rows: [digits(statistics.median(r[k] for r in rows)) for k in ("late", "latest")]
    cells = []
    for method in methods_of(rows):
        mine = [r for r in rows if r["method"] == method]
        rates = [1e3 / r["ns"] for r in mine]
        floor = floors.of_opening(method, statistics.median(rates))
        cells.append([method, f"{mine[0]['conns']:,}", spread(rates), floor, *turns(mine)])
    cells.append(["idle spin", "", "", "", *turns(idle)])
    return lines + table(["method", "standing", "million/s", "floor", "99.9 %", "worst"], cells)


def conn_table(rows, floors):
    lines = paragraph(f"The conn table of {rows[0]['conns']:,} conns: nanoseconds to find one in it, and in hashbrown's; with"
                      " a tenth of its room taken, and with nine tenths; bytes a v4 conn takes.")
    values = lambda key: [r[key] for r in rows]
    over = lambda above, below: [a / b for a, b in zip(values(above), values(below))]
    times, crowd = over("hashbrown", "ours"), over("crowded", "empty")
    cells = [
        ["find, ours", spread(values("ours")), ""],
        ["find, hashbrown's", spread(values("hashbrown")), ""],
        ["times ours", spread(times), floors.of_table(statistics.median(times))],
        ["9/10 full to 1/10", spread(crowd), floors.of_crowd(statistics.median(crowd))],
    ]
    for name, key in (("bytes, dr", "bytes"), ("bytes, full-NAT", "bytes_fullnat")):
        size = max(values(key))
        cells.append([name, f"{size:.0f}", floors.of_bytes(key, size)])
    return lines + table(["", "median least-most", "floor"], cells)


def swap(rows):
    lines = paragraph("A new snapshot, in microseconds of the worker that takes it: every dest's weight is another one; all"
                      " dests are others; and the longest gap of as long a loop that only reads the clock.")
    cells = []
    for shape in sorted({(r["services"], r["dests"]) for r in rows}):
        mine = [r for r in rows if (r["services"], r["dests"]) == shape]
        columns = [digits(statistics.median(r[k] for r in mine)) for k in ("us", "worst", "others", "gap")]
        cells.append([*(f"{n:,}" for n in shape), *columns])
    return lines + table(["services", "dests of each", "weights", "worst", "others", "idle gap"], cells)


def instructions(rows, floors):
    lines = paragraph("Instructions per established packet of the pipeline, 1,000 conns, as scripts/instructions recorded"
                      f" them ({rows[0]['rustc']}):")
    cells = [[r["method"], str(r["count"]), floors.of_instructions(r["method"], r["count"])] for r in rows]
    return lines + table(["method", "instructions", "floor"], cells)


def memory(data, floors):
    of = lambda bench: [r for r in data["memory"] if r["bench"] == bench]
    lines = ["## memory", ""]
    lines += pipeline(of("pipeline"), floors) if of("pipeline") else []
    lines += opening(of("conns"), of("idle"), floors)
    lines += conn_table(of("table"), floors)
    lines += swap(of("swap")) if of("swap") else []
    lines += instructions(of("instructions"), floors)
    allocations = sum(r["count"] for r in of("allocations"))
    return [*lines, f"Allocations in all that was timed: {floors.of_allocations(allocations)}", ""]


def veth(data):
    runs = data["veth"]
    loads = unique(r["load"] for r in runs)
    rows = []
    for program in programs_of(runs):
        mine = [r for r in runs if r["program"] == program]
        rates = [[r["rate"] for r in mine if r["load"] == load] for load in loads]
        row = [f"{statistics.median(v):,.0f} {min(v):,}-{max(v):,}" for v in rates]
        rows.append([program, *row, f"{sum(r['failed'] for r in mine):,}"])
    return [
        "## veth",
        "",
        *paragraph(f"Requests per second: wrk with 64 conns, two nginx servers, median and least-most of {rounds_of(runs)}"
                   f" rounds in turns.{measured_at(runs)}"),
        *table(["requests/s, conns", *loads, "failed"], rows),
    ]


def plots(data, floors):
    """SVG by the end of its file's name."""
    cells = groups(data["dpdk"]).items()
    beside = [Bars(group_name(key), runs, "method", "mpps", METHODS) for key, runs in cells]
    of = lambda bench: [{**r, "program": r["method"], "rate": 1e3 / r["ns"]} for r in data["memory"] if r["bench"] == bench]
    alone, mine = [], of("pipeline")
    for methods in (("dr", "tunnel"), ("nat", "fullnat"), ("rewriting",)):
        runs = [r for r in mine if r["method"] in methods]
        if runs:
            alone.append(Lines(f"{', '.join(methods)}: ns a packet", runs, "ns", floors.pipeline(methods[0])))
    if opened := of("conns"):
        standing = {(r["conns"], m): floor for r in opened for m, floor in compare_floors.OPENING.items()}
        name = "million new conns/s, by conns that stand"
        alone.append(Bars(name, opened, "conns", "rate", floors=standing))
    over = [Bars("64 conns of wrk, two servers", data["veth"], "load", "rate")] if data["veth"] else []
    drawn = {
        "": plot("Millions of packets per second of one core: median, least and most", beside),
        "-memory": plot("The pipeline alone, 64 B, by number of conns: median, least and most", alone),
        "-veth": plot("Requests per second over veth: median, least and most", over),
    }
    return {end: svg for end, svg in drawn.items() if svg}


def record(lines, drawn, floors):
    docs = ROOT / "docs"
    for end, svg in drawn.items():
        (docs / f"measured{end}.svg").write_text(svg)
    there = [(f"measured{end}.svg", title) for end, title in PLOTS.items() if (docs / f"measured{end}.svg").exists()]
    plots_are = ", ".join(f"[{title}]({name})" for name, title in there)
    intro = paragraph(f"`scripts/compare --record` writes this. Plots: {plots_are}.")
    (docs / "measured.md").write_text("\n".join(["# Measured", "", *intro, *lines]))
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, mark, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not mark or not end:
        sys.exit(f"README.md: no line {MARKS[0]}, or none {MARKS[1]} after it")
    readme.write_text("\n".join([before + mark, "", headline(), "", *floors.table(table), end]) + after)


def headline():
    return "\n".join(paragraph(f"{machine()}, {version()}, {datetime.date.today()}:")[:-1]).replace("one core", "One core", 1)


def main():
    room = pathlib.Path(sys.argv[1])
    data = json.loads((room / "compare.json").read_text())
    floors = compare_floors.Floors(data)
    lines = packets(data, floors)
    lines += memory(data, floors) if data["memory"] else []
    lines += veth(data) if data["veth"] else []
    if data["skipped"]:
        lines += ["## Not measured", "", *(line for said in unique(data["skipped"]) for line in item(said)), ""]
    judged = ["## Floors", "", *paragraph(floors.said()), *floors.table(table)] if floors.rows else []
    lines = [headline(), "", *judged, *lines]
    (room / "compare.md").write_text("\n".join(lines))
    drawn = plots(data, floors)
    for end, svg in drawn.items():
        (room / f"compare{end}.svg").write_text(svg)
    if sys.argv[2:] == ["record"]:
        record(lines, drawn, floors)


main()
