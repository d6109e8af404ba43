"""Compare scaling rules on simulated traces and write the result into docs/scaling.md and docs/images/scaling.svg.

    python benchmarks/scaling.py [--seeds 3] [--no-write]

Everything is seeded: the same seeds give the same figures again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from scaling_cluster import Cluster, Outcome, oracle
from scaling_plot import Point, draw
from scaling_rules import rules
from scaling_traces import TRACES, Trace

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- results: written by benchmarks/scaling.py -->\n", "<!-- /results -->\n"
HEADER = (
    "| trace | rule | wait p50 | p95 | p99 | worker-seconds per second of work | interrupted |\n"
    "|---|---|--:|--:|--:|--:|--:|\n"
)


@dataclass(frozen=True)
class Score:
    """One rule on one trace, all seeds together; waits in seconds, cost in worker-seconds per second of work."""

    trace: str
    rule: str
    p50: float
    p95: float
    p99: float
    cost: float
    interrupted: int

    @classmethod
    def of(cls, traces: list[Trace], outcomes: list[Outcome]) -> Score:
        waits = sorted(wait for outcome in outcomes for wait in outcome.waits)
        p50, p95, p99 = (waits[min(len(waits) - 1, int(share * len(waits)))] for share in (0.5, 0.95, 0.99))
        cost = sum(outcome.worker_seconds for outcome in outcomes) / sum(sum(trace.services) for trace in traces)
        interrupted = sum(outcome.interrupted for outcome in outcomes)
        return cls(traces[0].name, outcomes[0].rule, p50, p95, p99, cost, interrupted)

    def row(self) -> str:
        waits = " | ".join(f"{wait:.1f} s" for wait in (self.p50, self.p95, self.p99))
        return f"| {self.trace} | {self.rule} | {waits} | {self.cost:.2f} | {self.interrupted} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each trace, each with its own arrivals")
    parser.add_argument("--no-write", action="store_true", help="print only, leave docs/ as it is")
    arguments = parser.parse_args()
    scores = compare(arguments.seeds)
    results = HEADER + "".join(score.row() for score in scores) + "\n" + verdict(scores)
    print(results)
    if not arguments.no_write:
        page = DOCS / "scaling.md"
        before, rest = page.read_text().split(BEGIN)
        page.write_text(before + BEGIN + results + END + rest.split(END)[1])
        picture = draw([Point(score.trace, score.rule, score.cost, score.p95) for score in scores])
        (DOCS / "images" / "scaling.svg").write_text(picture)


def compare(seeds: int) -> list[Score]:
    """Return a score for each trace and rule, the oracle first."""
    scores = []
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for make in TRACES:
            traces = [make(Random(seed)) for seed in range(seeds)]
            candidates = len(rules(traces[0]))
            task = progress.add_task(traces[0].name, total=seeds * (candidates + 1))
            scores.append(Score.of(traces, [oracle(trace) for trace in traces]))
            progress.advance(task, seeds)
            for which in range(candidates):
                outcomes = []
                for seed, trace in enumerate(traces):
                    outcomes.append(Cluster(trace, rules(trace)[which], Random(seed)).run())
                    progress.advance(task)
                scores.append(Score.of(traces, outcomes))
    return scores


def verdict(scores: list[Score]) -> str:
    """Say for each of our rules where it does not beat one of KEDA's on every wait and on cost at once."""
    found = {(score.trace, score.rule): score for score in scores}
    lines = [
        f"- {ours.trace}, {ours.rule} against {theirs.rule}: {worse}\n"
        for ours in scores
        if ours.rule.startswith("iris")
        for theirs in (found[ours.trace, name] for name in ("KEDA + HPA", "KEDA + HPA, tuned"))
        if (worse := _worse(ours, theirs))
    ]
    if not lines:
        return "Our rules beat both of KEDA's on every wait and on cost, for every trace.\n"
    return "Where ours does **not** beat theirs (everything else it does):\n\n" + "".join(lines)


def _worse(ours: Score, theirs: Score) -> str:
    """Name the figures that are higher, beyond a twentieth of a second of wait or a hundredth of cost."""
    waits = (("p50", ours.p50, theirs.p50), ("p95", ours.p95, theirs.p95), ("p99", ours.p99, theirs.p99))
    worse = [f"{name} wait {mine:.1f} s against {other:.1f} s" for name, mine, other in waits if mine - other > 0.05]
    if ours.cost - theirs.cost > 0.01:
        worse.append(f"cost {ours.cost:.2f} against {theirs.cost:.2f}")
    return ", ".join(worse)


if __name__ == "__main__":
    main()
