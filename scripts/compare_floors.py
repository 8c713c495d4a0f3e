"""What the project promises of its speed, and whether what was measured holds it."""

import statistics

# Packets per second beside testpmd's macswap, net_pcap, 64 B, as many frames and conns.
AT = ("pcap", "established", "64", 100_000)
RATIO = {"dr": 0.45, "rewriting": 0.40}
# Nanoseconds per packet of the pipeline alone, where testpmd's macswap takes MACSWAP_NS at 100,000 frames.
MACSWAP_NS = 23
CONNS = (1, 100_000, 1_000_000, 10_000_000)
PIPELINE = {
    "dr": (18, 23, 31, 46),
    "tunnel": (18, 23, 31, 46),
    "nat": (20, 25, 33, 50),
    "fullnat": (20, 25, 33, 50),
    "rewriting": (28, 33, 42, 60),
}
# Millions of conns a second that come and go.
OPENING = {"dr": 3.5, "fullnat": 2.5}
BYTES = {"bytes": 96, "bytes_fullnat": 128}
INSTRUCTIONS = {"dr": 290, "nat": 320, "rewriting": 420}
TABLE, CROWD = 3, 1.2


def conns_are(conns):
    return "one conn" if conns == 1 else f"{conns:,} conns"


def ratio(ours, theirs):
    """The median of the rounds' own: a busy moment meets both programs of a round."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


class Floors:
    """Judges figures as they are put into tables, and remembers them for a table of its own."""

    def __init__(self, data):
        self.rows = []
        # the frames of `rewriting` are longer than 64 bytes: they bear timestamps
        beside = [r for r in data["dpdk"] if (r["via"], r["kind"], r["size"], r["conns"]) == AT]
        beside = [r for r in beside if r["method"] != "rewriting"] or beside
        mpps = [r["mpps"] for r in beside if r["program"] == "testpmd macswap"]
        self.macswap_ns = 1e3 / statistics.median(mpps) if mpps else None
        self.factor = self.macswap_ns / MACSWAP_NS if mpps else 1

    def said(self):
        """How the floors of the pipeline were come by."""
        if self.macswap_ns is None:
            return (f"Floors in ns are for a machine where testpmd's macswap takes {MACSWAP_NS} ns a packet at 100,000 frames;"
                    " this run did not measure that (--parts pcap does), so they stand as they are.")
        return (f"testpmd's macswap took {self.macswap_ns:.1f} ns a packet at 100,000 frames in this run, so floors in ns are"
                f" those of a machine where it takes {MACSWAP_NS}, times {self.factor:.2f}.")

    def pipeline(self, method):
        """Floors in nanoseconds on this machine, by number of conns."""
        return {n: floor * self.factor for n, floor in zip(CONNS, PIPELINE[method])}

    def _judge(self, what, measured, floor, holds):
        verdict = "held" if holds else "not held"
        self.rows.append([what, measured, floor, verdict])
        return f"{floor} {verdict}"

    def of_ratio(self, cell, ratio):
        *at, method, program = cell
        floor = RATIO.get(method)
        if tuple(at) != AT or program != "testpmd macswap" or floor is None:
            return ""
        return self._judge(f"pps to macswap's, 100,000 frames: {method}", f"{ratio:.2f}", f"{floor:.2f}", ratio >= floor)

    def of_pipeline(self, method, conns, ns):
        if conns not in CONNS:
            return ""
        floor = self.pipeline(method)[conns]
        return self._judge(f"ns/packet, {conns_are(conns)}: {method}", f"{ns:.1f}", f"{floor:.1f}", ns <= floor)

    def of_opening(self, method, rate):
        floor = OPENING.get(method)
        if floor is None:
            return ""
        return self._judge(f"million new conns/s, 1 M standing: {method}", f"{rate:.2f}", f"{floor:.1f}", rate >= floor)

    def of_table(self, times):
        return self._judge("times hashbrown's speed, 1 M conns", f"{times:.1f}", f"{TABLE}", times >= TABLE)

    def of_crowd(self, times):
        return self._judge("cost at 9/10 of capacity to 1/10", f"{times:.2f}", f"{CROWD}", times <= CROWD)

    def of_bytes(self, key, size):
        name = "full-NAT" if key == "bytes_fullnat" else "dr"
        return self._judge(f"bytes per v4 conn: {name}", f"{size:.0f}", f"{BYTES[key]}", size <= BYTES[key])

    def of_instructions(self, method, count):
        floor = INSTRUCTIONS.get(method)
        if floor is None:
            return ""
        return self._judge(f"instructions per packet: {method}", f"{count}", f"{floor}", count <= floor)

    def of_allocations(self, count):
        return f"{count} (floor {self._judge('allocations', str(count), '0', count == 0)})."

    def table(self, table):
        return table(["", "measured", "floor", ""], self.rows)
