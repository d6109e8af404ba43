"""The dashboard of models and rollouts: which version serves, how each does, and whether the world has moved on."""

from __future__ import annotations

from panels import (
    BY_VERSION,
    MODEL,
    NAMESPACE,
    OF_MODEL,
    OF_VERSION,
    VERSION,
    Dashboard,
    Panel,
    Query,
    Section,
    quantile,
    rate,
    total,
)

NAME = "{{model}} {{version}}"

ROLLOUT = Section(
    "Rollout",
    (
        Panel(
            "Which versions serve, are on trial, failed?",
            "A version that was given up is not tried again until the spec names another.",
            (Query(f"iris_operator_version_info{{{OF_MODEL}}}"),),
            kind="table", columns=("model", "stable", "target", "failed"),
        ),
        Panel(
            "What does each IrisModel say of itself?",
            "Its conditions, as kubectl describe shows them with a sentence each.",
            (Query(f"iris_operator_condition{{{OF_MODEL}}}"),),
            kind="table", columns=("model", "type", "status", "reason"),
        ),
        Panel(
            "Which phase is the rollout in?",
            "Starting: workers come up · Proving: the golden set · Stepping: a growing share of jobs, judged.",
            (Query(f"iris_operator_rollout_phase{{{OF_MODEL}}} == 1", "{{model}} {{phase}}"),),
            kind="states",
        ),
        Panel(
            "How are new jobs split?",
            "The route as the API follows it.",
            (Query(f"max by (model, version) (iris_route_weight{{{OF_MODEL}}})", NAME),),
            "percent", "areas",
        ),
        Panel(
            "Which step is the rollout at?",
            "Counted from 1; 0 before and after. Each step has its share in spec.rollout.steps.",
            (Query(f"iris_operator_rollout_step{{{OF_MODEL}}}", "{{model}}"),),
        ),
        Panel(
            "What happened in rollouts?",
            "Events, as kubectl describe lists them; a peak of about one is one event.",
            (
                Query(
                    "sum by (model, reason)"
                    f" (increase(iris_operator_rollout_events_total{{{OF_MODEL}}}[$__rate_interval]))",
                    "{{model}} {{reason}}",
                ),
            ),
            "count",
        ),
    ),
)  # fmt: skip

VERSIONS = Section(
    "Version by version",
    (
        Panel(
            "How many jobs does each version answer?",
            "Well or badly, also those that it has from before it left the route.",
            (Query(total("done|error|expired", OF_VERSION, "model, version"), NAME),),
            "jobs/s", "areas",
        ),
        Panel(
            "What share of its jobs fails?",
            "Above 5 % IrisJobsFailing fires; the operator judges a version on trial by maxFailureRatio.",
            (
                Query(
                    f"{total('error|expired', OF_VERSION, 'model, version')}"
                    f" / {total('done|error|expired', OF_VERSION, 'model, version')}",
                    NAME,
                ),
            ),
            "ratio",
        ),
        Panel(
            "Why do workers fail jobs?",
            "By reason; docs/api.md says what each means. WORKER_LOST and EXPIRED are recovery's.",
            (
                Query(
                    f"sum by (model, version, code) ({rate('iris_jobs_failed_total', OF_VERSION)})",
                    NAME + " {{code}}",
                ),
            ),
            "jobs/s",
        ),
        Panel(
            "How long does the model take?",
            "95th percentile from start to answer; the operator judges a version on trial by maxP95Seconds.",
            (Query(quantile(0.95, "iris_job_task_seconds", OF_VERSION, "model, version"), NAME),),
            "seconds",
        ),
        Panel(
            "How long do its jobs wait?",
            "95th percentile from acceptance to start.",
            (Query(quantile(0.95, "iris_job_queue_seconds", OF_VERSION, "model, version"), NAME),),
            "seconds",
        ),
        Panel(
            "How many jobs wait for it?",
            "Jobs that no worker has taken.",
            (Query(f"max by (model, version) (iris_queue_waiting_jobs{{{OF_VERSION}}})", NAME),),
        ),
        Panel(
            "How old is its next job in line?",
            "Since it was accepted. One that rises by a second a second has no worker.",
            (Query(f"max by (model, version) (iris_queue_oldest_job_age_seconds{{{OF_VERSION}}})", NAME),),
            "seconds",
        ),
        Panel(
            "How many jobs does one call answer?",
            "Size of a batch, on average. Above one there is a queue.",
            (
                Query(
                    f"sum by (model, version) ({rate('iris_batch_jobs_sum', OF_VERSION)})"
                    f" / sum by (model, version) ({rate('iris_batch_jobs_count', OF_VERSION)})",
                    NAME,
                ),
            ),
        ),
        Panel(
            "Which jobs were answered twice?",
            "The second answer was thrown away: a worker was slow or frozen while recovery gave its job to another, or "
            "its caller had cancelled it.",
            (
                Query(
                    f"sum by (model, version) ({rate('iris_answers_refused_total', OF_VERSION)})", NAME
                ),
            ),
            "jobs/s",
        ),
    ),
)  # fmt: skip

PSI = "Population stability index against the training data, mean over workers: from 0.1 on look, from 0.25 on act."

DRIFT = Section(
    "Drift",
    (
        Panel(
            "How far has what is asked moved?",
            f"{PSI} By feature; docs/drift.md explains it.",
            (
                Query(
                    f"avg by (model, version, feature) (iris_drift_feature_psi{{{OF_VERSION}}})", NAME + " {{feature}}"
                ),
            ),
            width=6,
        ),
        Panel(
            "How far have answers moved?",
            f"{PSI} Of the classes answered.",
            (Query(f"avg by (model, version) (iris_drift_answer_psi{{{OF_VERSION}}})", NAME),),
            width=6,
        ),
        Panel(
            "Which classes are answered?",
            "Share of each class, less its share in the training data.",
            (
                Query(
                    f"avg by (model, version, class) (iris_drift_answer_share{{{OF_VERSION}}})"
                    f" - avg by (model, version, class) (iris_drift_training_share{{{OF_VERSION}}})",
                    NAME + " {{class}}",
                ),
            ),
            "ratio", width=6,
        ),
        Panel(
            "On how many rows does it rest?",
            "Rows in the windows of all workers; below IRIS_DRIFT_MIN_ROWS a worker says nothing.",
            (Query(f"sum by (model, version) (iris_drift_rows{{{OF_VERSION}}})", NAME),),
            width=6,
        ),
    ),
)  # fmt: skip

WORKERS = Section(
    "Workers",
    (
        Panel(
            "Which artifact do the workers serve?",
            "Workers by version and digest; two digests of one version must not be.",
            (Query(f"count by (model, version, digest) (iris_model_info{{{OF_VERSION}}})"),),
            kind="table", columns=("model", "version", "digest", "Value"),
        ),
        Panel(
            "Are there as many workers as wanted?",
            "Of all versions together; max is for one version.",
            tuple(
                Query(f"iris_operator_workers_{word}{{{OF_MODEL}}}", f"{{{{model}}}} {word}")
                for word in ("desired", "ready", "max")
            ),
        ),
        Panel(
            "Why are there as many?",
            "The reason of the condition ScalingActive; docs/scaling.md explains each.",
            (Query(f'iris_operator_condition{{{OF_MODEL},type="ScalingActive"}} == 1', "{{model}} {{reason}}"),),
            kind="states",
        ),
        Panel(
            "How busy are they?",
            "Time spent on answers as a share of the time that a version's workers have.",
            (
                Query(
                    f"max {BY_VERSION} ({rate('iris_queue_busy_seconds_total', OF_VERSION)})"
                    f" / count {BY_VERSION} (iris_model_info{{{OF_VERSION}}})",
                    NAME,
                ),
            ),
            "ratio",
        ),
        Panel(
            "How many jobs does each worker answer?",
            "Well; by process.",
            (Query(f"{rate('iris_jobs_finished_total', OF_VERSION)}", NAME + " {{instance}}"),),
            "jobs/s",
        ),
        Panel(
            "How many jobs are in hand?",
            "Taken by a worker and not yet answered; a batch counts in full.",
            (Query(f"max by (model, version) (iris_queue_running_jobs{{{OF_VERSION}}})", NAME),),
        ),
    ),
)  # fmt: skip

ROLLOUTS = Dashboard(
    "iris-rollout",
    "Iris / model and rollout",
    "Which version serves, how each does, whether its workers are enough, and whether the world has moved on.",
    (NAMESPACE, MODEL, VERSION),
    (ROLLOUT, VERSIONS, WORKERS, DRIFT),
)
