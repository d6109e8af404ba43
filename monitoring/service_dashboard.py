"""The dashboard of the service: are callers served, do answers keep up, are Redis, recovery and the processes well?"""

from __future__ import annotations

from panels import IN_NAMESPACE, NAMESPACE, Dashboard, Panel, Query, Section, quantile, rate, total

NOT_PROBES = f'{IN_NAMESPACE},route!~"/healthz|/readyz|/metrics|/v2/health/.+"'
FAULTY = f'{NOT_PROBES},status=~"5.."'
SENT_AWAY = f'{IN_NAMESPACE},code=~"TOO_MANY_CONNECTIONS|TOO_MANY_BODIES"'
"""Answered 503 before there was a request that could be counted."""
REQUESTS, FAULTS = (
    f"sum({rate('iris_http_requests_total', which)} or {rate('iris_requests_refused_total', SENT_AWAY)})"
    for which in (NOT_PROBES, FAULTY)
)
OF_COMPONENT = f"* on (namespace, job, instance) group_left (component) iris_build_info{{{IN_NAMESPACE}}}"

AT_A_GLANCE = Section(
    "At a glance",
    (
        Panel(
            "Are callers served?",
            "Share of requests that were not answered by 5xx. Below 95 % IrisApiErrors fires.",
            (Query(f"1 - {FAULTS} / {REQUESTS}"),),
            "ratio", "figure", 4, {0: "bad", 0.95: "watch", 0.99: "good"},
        ),
        Panel(
            "How many come in?",
            "Jobs committed to the queue, by all API processes.",
            (Query(f"sum({rate('iris_jobs_accepted_total', IN_NAMESPACE)})"),),
            "jobs/s", "figure", 4,
        ),
        Panel(
            "How many are open?",
            "Accepted jobs without an answer, of all queues: what the ledger holds.",
            (Query(f"max(iris_ledger_jobs{{{IN_NAMESPACE}}})"),),
            "count", "figure", 4,
        ),
        Panel(
            "How old is the first?",
            "Since the first open job was accepted. Above 5 min IrisOldestJobTooOld fires.",
            (Query(f"max(iris_ledger_oldest_job_age_seconds{{{IN_NAMESPACE}}})"),),
            "seconds", "figure", 4, {0: "good", 60: "watch", 300: "bad"},
        ),
        Panel(
            "Can all use Redis?",
            "No, when one API process cannot: its callers get 503.",
            (Query(f"min(iris_redis_up{{{IN_NAMESPACE}}})"),),
            "yes/no", "figure", 4, {0: "bad", 1: "good"},
        ),
        Panel(
            "When was a sweep?",
            "Seconds since then. Recovery sweeps once a second; without it the jobs of dead workers wait.",
            (Query(f"time() - max(iris_recovery_last_sweep_timestamp_seconds{{{IN_NAMESPACE}}})"),),
            "seconds", "figure", 4, {0: "good", 15: "watch", 60: "bad"},
        ),
    ),
    height=4,
)  # fmt: skip

CALLERS = Section(
    "Callers",
    (
        Panel(
            "What do callers get?",
            "Requests by status, without probes. Other 4xx than 429 are a caller's mistake, 429 and 503 are "
            "back-pressure, 500 is a failed job or a fault of ours.",
            (Query(f"sum by (status) ({rate('iris_http_requests_total', NOT_PROBES)})", "{{status}}"),),
            "requests/s", "areas",
        ),
        Panel(
            "Which requests are slow?",
            "95th percentile by route. A result asked for with ?wait= takes as long as it waits.",
            (Query(quantile(0.95, "iris_http_request_seconds", NOT_PROBES, "route"), "{{route}}"),),
            "seconds",
        ),
        Panel(
            "Why are requests refused?",
            "Connections, callers and predictions, by error code; docs/api.md says what each means.",
            (Query(f"sum by (code) ({rate('iris_requests_refused_total', IN_NAMESPACE)})", "{{code}}"),),
            "/s",
        ),
    ),
)  # fmt: skip

JOBS = Section(
    "Jobs",
    (
        Panel(
            "Do answers keep up with jobs?",
            "Where the lines part, the queue grows. A job that its caller cancels has its answer, too.",
            (
                Query(total("accepted", IN_NAMESPACE), "accepted"),
                Query(total("done|error|expired|cancelled", IN_NAMESPACE), "answered"),
            ),
            "jobs/s",
        ),
        Panel(
            "How long do jobs wait and run?",
            "From acceptance to start, and from start to answer, of jobs that were answered.",
            tuple(
                Query(quantile(share, f"iris_job_{part}_seconds", IN_NAMESPACE), f"{word}, {name}")
                for part, word in (("queue", "wait"), ("task", "run"))
                for share, name in ((0.5, "half below"), (0.95, "95 % below"))
            ),
            "seconds",
        ),
        Panel(
            "How many jobs wait, and how many run?",
            "Of all versions that take new jobs.",
            tuple(
                Query(f"sum(max by (namespace, model, version) (iris_queue_{word}_jobs{{{IN_NAMESPACE}}}))", word)
                for word in ("waiting", "running")
            ),
            "count", "areas",
        ),
        Panel(
            "How full are the queues?",
            "Waiting jobs of a version as a share of IRIS_QUEUE_LIMIT; at 100 % callers get 429.",
            (
                Query(
                    f"max by (model, version) (iris_queue_waiting_jobs{{{IN_NAMESPACE}}})"
                    f" / on () group_left () max(iris_queue_limit_jobs{{{IN_NAMESPACE}}})",
                    "{{model}} {{version}}",
                ),
            ),
            "ratio",
        ),
        Panel(
            "Which jobs end badly, or twice?",
            "error: ended with a reason · expired: nobody took it in time · cancelled: by its caller · quarantined: "
            "could not be read · refused: an answer that came second, or after a cancelling, and was thrown away.",
            (Query(total("error|expired|cancelled|refused|quarantined", IN_NAMESPACE, "outcome"), "{{outcome}}"),),
            "jobs/s",
        ),
        Panel(
            "How many callers wait for an answer?",
            "Requests held until there is an answer, by process.",
            (Query(f"sum by (instance) (iris_api_waiters{{{IN_NAMESPACE}}})", "{{instance}}"),),
        ),
    ),
)  # fmt: skip

STORE = Section(
    "Redis and recovery",
    (
        Panel(
            "Is Redis durable?",
            "No, when its last write to disk failed or when it may evict keys: IrisRedisNotDurable.",
            (
                Query(
                    f"min(iris_redis_persisting{{{IN_NAMESPACE}}})"
                    f" - max(iris_redis_may_evict{{{IN_NAMESPACE}}}) == bool 1"
                ),
            ),
            "yes/no", "figure", 4, {0: "bad", 1: "good"},
        ),
        Panel(
            "How full is its memory?",
            "What Redis uses of maxmemory. At the limit the API refuses jobs with 503.",
            (
                Query(
                    f"max(iris_redis_memory_used_bytes{{{IN_NAMESPACE}}})"
                    f" / (max(iris_redis_memory_max_bytes{{{IN_NAMESPACE}}}) > 0)",
                    "used",
                ),
                Query(f"max(iris_redis_memory_limit_ratio{{{IN_NAMESPACE}}})", "limit"),
            ),
            "ratio", width=5,
        ),
        Panel(
            "What did recovery mend?",
            "requeued: given to another worker · lost: attempts used up · expired: past its deadline · quarantined: "
            "could not be read. Anything but zero means that something died.",
            (
                Query(
                    f"sum by (outcome) ({rate('iris_recovery_jobs_total', IN_NAMESPACE)})", "{{outcome}}"
                ),
            ),
            "jobs/s", width=5,
        ),
        Panel(
            "How do its sweeps go?",
            "done · left to another recovery · failed because of Redis. One a second in all.",
            (
                Query(
                    f"sum by (result) ({rate('iris_recovery_sweeps_total', IN_NAMESPACE)})", "{{result}}"
                ),
            ),
            "/s", width=5,
        ),
        Panel(
            "How long does a sweep take?",
            "It looks at every queue, and every fifth time holds the whole ledger against them.",
            tuple(
                Query(quantile(share, "iris_recovery_sweep_seconds", IN_NAMESPACE), name)
                for share, name in ((0.5, "half below"), (0.95, "95 % below"))
            ),
            "seconds", width=5,
        ),
    ),
)  # fmt: skip

PROCESSES = Section(
    "Processes",
    (
        Panel(
            "What runs, of which release?",
            "How many processes of each component there are.",
            (Query(f"count by (component, release) (iris_build_info{{{IN_NAMESPACE}}})"),),
            kind="table", width=6, columns=("component", "release", "Value"),
        ),
        Panel(
            "How much processor do they use?",
            "All processes of a component together.",
            (
                Query(
                    f"sum by (component) ({rate('process_cpu_seconds_total', IN_NAMESPACE)} {OF_COMPONENT})",
                    "{{component}}",
                ),
            ),
            "cores", "areas", 6,
        ),
        Panel(
            "How much memory do they use?",
            "Resident memory of the largest process of a component; a worker ends itself at IRIS_WORKER_MAX_RSS_BYTES.",
            (
                Query(
                    f"max by (component) (process_resident_memory_bytes{{{IN_NAMESPACE}}} {OF_COMPONENT})",
                    "{{component}}",
                ),
            ),
            "bytes", width=6,
        ),
        Panel(
            "How long has the youngest run?",
            "Of each component; a line that falls is a start.",
            (
                Query(
                    f"min by (component) ((time() - process_start_time_seconds{{{IN_NAMESPACE}}}) {OF_COMPONENT})",
                    "{{component}}",
                ),
            ),
            "seconds", width=6,
        ),
    ),
)  # fmt: skip

SERVICE = Dashboard(
    "iris-service",
    "Iris / service",
    "Are callers served, and if not, where does it stick? What to do about an alert is in docs/operations.md.",
    (NAMESPACE,),
    (AT_A_GLANCE, CALLERS, JOBS, STORE, PROCESSES),
)
