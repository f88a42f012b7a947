"""Rounds: the same load on each server in turn, and what it cost the worker."""

import random
import statistics
import time
from dataclasses import dataclass, field

from cases import Case
from cputime import Meter, Reading
from load import LoadError, load
from server import Server


@dataclass(frozen=True)
class Cost:
    """CPU a request, in microseconds."""

    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system


@dataclass
class Side:
    """A module's server, the cases that it answers well, and what each has cost in each round."""

    server: Server
    costs: dict[Case, list[Cost]] = field(default_factory=dict)
    # case -> why it is not measured
    missing: dict[Case, str] = field(default_factory=dict)
    # How many lines of the error log are about cases that are not measured.
    complaints_of_check: int = 0
    samples: bool = True
    busy: float = 0.0
    used: float = 0.0
    waited: float = 0.0

    def port(self, case: Case) -> int:
        return self.server.gateway_port if case.function else self.server.port

    def has(self, case: Case) -> bool:
        return case in self.costs

    def median(self, case: Case, what: str) -> float:
        return statistics.median(getattr(cost, what) for cost in self.costs[case])

    def over_static(self, case: Case) -> list[float]:
        """User CPU beyond that of the same request's `return 200`, in each round."""
        pairs = zip(self.costs[case], self.costs[case.static])
        return [cost.user - static.user for cost, static in pairs]

    def measure(self, case: Case, seconds: int, core: int) -> Cost:
        pid = self.server.worker()
        meter = Meter(pid)
        try:
            began, before = time.monotonic(), meter.read()
            count = load(self.port(case), case.url, seconds, core, headers=case.headers)
            spent, took = meter.read() - before, time.monotonic() - began
        except (ProcessLookupError, FileNotFoundError, LoadError) as failure:
            if self.server.worker() != pid:
                raise LoadError(f"{case.url}: the worker has crashed") from failure
            raise
        finally:
            meter.close()
        if self.server.worker() != pid:
            raise LoadError(f"{case.url}: the worker has crashed")
        self.samples = self.samples and meter.samples
        self._note(spent, took)
        return Cost(spent.user / count * 1e6, (spent.total - spent.user) / count * 1e6)

    def _note(self, spent: Reading, took: float) -> None:
        self.busy += took
        self.used += spent.total
        self.waited += spent.waited


def rounds(sides: list[Side], cases: list[Case], count: int, seconds: int, core: int, progress) -> int:
    """Fills in the costs. A case that fails is taken off that side, with the reason; returns the number of those."""
    failed = 0
    statics = list(dict.fromkeys(case.static for case in cases))
    steps = [(side, case) for case in (*statics, *cases) for side in sides if case not in side.missing]
    for side, case in steps:
        side.costs[case] = []
    # Round 0 is a short one that does not count, so that what the first requests set up is not in the figures.
    for number in range(count + 1):
        order = [*statics, *cases]
        random.shuffle(order)
        for case in order:
            # Whoever goes first changes from round to round.
            for side in sides[:: -1 if number % 2 else 1]:
                if not side.has(case):
                    continue
                progress(number, count, side.server.name, case)
                try:
                    cost = side.measure(case, seconds if number else 1, core)
                except LoadError as failure:
                    side.missing[case] = str(failure)
                    del side.costs[case]
                    failed += 1
                    continue
                if number:
                    side.costs[case].append(cost)
    return failed
