"""What the rounds have shown, as tables and as JSON."""

import statistics

from cases import MEMORY_TARGET, Case
from measure import Side

NONE = "-"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Columns of text, the first two to the left, the others, which are figures, to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def deviation(values: list[float]) -> float:
    """By how much a median of so many values is off, as a standard deviation."""
    return 1.25 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("inf")


def quotient(ours: list[float], other: list[float]) -> tuple[float, float]:
    """The ratio of two medians, and its standard deviation."""
    upper, lower = statistics.median(ours), statistics.median(other)
    if lower <= 0:
        return float("nan"), float("inf")
    ratio = upper / lower
    return ratio, (deviation(ours) ** 2 + (ratio * deviation(other)) ** 2) ** 0.5 / lower


def verdict(ratio: float, error: float, target: float | None) -> str:
    if target is None:
        return ""
    sure = "" if abs(ratio - target) > 2 * error else "?"
    return ("ok" if ratio <= target else "over") + sure


def totals(side: Side, case: Case) -> list[float]:
    return [cost.total for cost in side.costs[case]]


class Report:
    """All that is said about one run. The peer is None where there is none."""

    def __init__(self, cases: list[Case], ours: Side, peer: Side | None):
        self.cases, self.ours, self.peer = cases, ours, peer
        self.handlers = [case for case in cases if not case.function]
        self.functions = [case for case in cases if case.function]

    def costs(self) -> str:
        statics = dict.fromkeys(case.static for case in self.cases)
        rows = []
        for case in (*statics, *self.cases):
            row = [case.name, case.url]
            for side in (self.ours, self.peer):
                for what in ("user", "system"):
                    measured = side and side.costs.get(case)
                    row.append(spread([getattr(cost, what) for cost in measured]) if measured else NONE)
            rows.append(row)
        return table(["handler", "request", "user", "system", "peer's user", "peer's system"], rows)

    def against_peer(self) -> list[dict]:
        results = []
        for case in self.handlers:
            result = {"name": case.name, "about": case.about, "target": case.target}
            both = {}
            for name, side in (("ours", self.ours), ("peer", self.peer)):
                if side and side.costs.get(case) and side.costs.get(case.static):
                    both[name] = side
                    result[name] = side.over_static(case)
            if len(both) == 2:
                ratio, error = quotient(result["ours"], result["peer"])
                result |= {"ratio": ratio, "error": error, "verdict": verdict(ratio, error, case.target)}
                result["total_ratio"], _ = quotient(totals(self.ours, case), totals(self.peer, case))
            results.append(result)
        return results

    def against_static(self) -> list[dict]:
        results = []
        for case in self.functions:
            result = {"name": case.name, "about": case.about, "target": case.target}
            if self.ours.costs.get(case) and self.ours.costs.get(case.static):
                result["total"], result["static"] = totals(self.ours, case), totals(self.ours, case.static)
                ratio, error = quotient(result["total"], result["static"])
                result |= {"ratio": ratio, "error": error, "verdict": verdict(ratio, error, case.target)}
            results.append(result)
        return results

    def handler_table(self) -> str:
        rows = []
        for result in self.against_peer():
            rows.append([
                result["name"],
                result["about"],
                *(spread(result[side]) if side in result else NONE for side in ("ours", "peer")),
                *ratio_cells(result),
                f"{result['total_ratio']:.2f}" if "total_ratio" in result else NONE,
            ])
        head = ["handler", "what it does", "ours", "peer", "ratio", "target", "", "total ratio"]
        return table(head, rows)

    def function_table(self) -> str:
        rows = []
        for result in self.against_static():
            measured = [spread(result[side]) if side in result else NONE for side in ("total", "static")]
            rows.append([result["name"], result["about"], *measured, *ratio_cells(result)])
        return table(["function", "what it is", "in all", "return 200", "ratio", "target", ""], rows)

    def notes(self) -> list[str]:
        """What a reader of the figures should know."""
        found = []
        for side in filter(None, (self.ours, self.peer)):
            name = side.server.name
            if not side.busy:
                continue
            waited = 100 * side.waited / (side.used + side.waited)
            found.append(
                f"{name}: the worker used {100 * side.used / side.busy:.0f} % of its core,"
                f" and was kept waiting for it {waited:.1f} % of the time"
            )
            if not side.samples:
                found.append(f"{name}: user and system are told apart by clock ticks, which is coarse")
        return found


def ratio_cells(result: dict) -> list[str]:
    target = f"{result['target']:.2f}" if result["target"] is not None else ""
    if "ratio" not in result:
        return [NONE, target, ""]
    return [f"{result['ratio']:.2f} ±{2 * result['error']:.2f}", target, result["verdict"]]


def memory_table(bare: dict[str, int], ours: dict[str, int]) -> str:
    rows = []
    for key, about in (("rss", "resident"), ("pss", "its share of that"), ("private", "its alone")):
        more = ours[key] - bare[key]
        rows.append([
            key,
            about,
            *(f"{kib / 1024:.2f}" for kib in (bare[key], ours[key], more, MEMORY_TARGET)),
            "ok" if more <= MEMORY_TARGET else "over",
        ])
    return table(["MiB", "of a worker", "without", "with", "more", "target", ""], rows)
