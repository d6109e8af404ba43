"""Judges a version on trial by its own jobs. Pure: of time it knows only whether a pause is over."""

from __future__ import annotations

from typing import Literal

from iris_operator.spec import LATENCY_BOUNDS, Analysis, Counters

Verdict = Literal["Pass", "Fail", "Wait", "Inconclusive"]


def judge(analysis: Analysis, seen: Counters, pause_over: bool) -> tuple[Verdict, str]:
    """Judge what a version has done since its step began; returns the verdict and why.

    Failure needs evidence, not time: as soon as more jobs have failed than `minimumJobs` may contain. Success needs
    both. Too few jobs is Inconclusive, never success.
    """
    jobs = seen.done + seen.failed
    allowed = analysis.max_failure_ratio * max(jobs, analysis.minimum_jobs)
    if seen.failed > allowed:
        return "Fail", f"{seen.failed} of {jobs} jobs failed; at most {analysis.max_failure_ratio:.1%} may"
    if jobs >= analysis.minimum_jobs and (p95 := p95_seconds(seen.latency)) > analysis.max_p95_seconds:
        return "Fail", f"95% of the jobs took up to {p95:.3g} s; {analysis.max_p95_seconds:g} s are allowed"
    if not pause_over:
        return "Wait", "watching its jobs"
    if jobs < analysis.minimum_jobs:
        return "Inconclusive", f"{jobs} of at least {analysis.minimum_jobs} jobs seen"
    return "Pass", f"{jobs} jobs, {seen.failed} failed"


def p95_seconds(latency: tuple[int, ...]) -> float:
    """Return the 95th percentile, as if jobs were spread evenly within a bucket; infinite beyond the last bound.

    So it lies within the bucket that holds it, a factor of 2.5 at most, and exactly at a bucket's bound.
    """
    wanted, rank, lower = sum(latency) * 19 / 20, 0, 0.0  # not 0.95 times: 95 of 100 jobs must be 95
    for bound, jobs in zip((*LATENCY_BOUNDS, float("inf")), latency, strict=False):
        if jobs and rank + jobs >= wanted:
            return bound if bound == float("inf") else min(bound, lower + (bound - lower) * (wanted - rank) / jobs)
        rank, lower = rank + jobs, bound
    return 0.0
