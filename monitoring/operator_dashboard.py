"""The dashboard of the operator: is it alive, does it get its work done, and which IrisModels are not as wanted?"""

from __future__ import annotations

from panels import IN_NAMESPACE, NAMESPACE, Dashboard, Panel, Query, Section, quantile, rate

AT_A_GLANCE = Section(
    "At a glance",
    (
        Panel(
            "When did it look?",
            "Seconds since then. It looks at everything once a second; above a minute IrisOperatorStale fires.",
            (Query(f"time() - max(iris_operator_last_success_timestamp_seconds{{{IN_NAMESPACE}}})"),),
            "seconds", "figure", 4, {0: "good", 15: "watch", 60: "bad"},
        ),
        Panel(
            "When did it list?",
            "Seconds since then. It asks the API server for everything once a minute; more: it gets no answer.",
            (Query(f"time() - max(iris_operator_last_listing_timestamp_seconds{{{IN_NAMESPACE}}})"),),
            "seconds", "figure", 4, {0: "good", 120: "watch", 300: "bad"},
        ),
        Panel(
            "Can it read queues?",
            "Without Redis it holds everything as it is.",
            (Query(f"min(iris_operator_redis_up{{{IN_NAMESPACE}}})"),),
            "yes/no", "figure", 4, {0: "bad", 1: "good"},
        ),
        Panel(
            "How many IrisModels?",
            "In the namespace it watches.",
            (Query(f"sum(iris_operator_models{{{IN_NAMESPACE}}})"),),
            "count", "figure", 4,
        ),
        Panel(
            "How many not ready?",
            "Of them. A version on trial makes its model not ready, too, while the stable one serves.",
            (
                Query(
                    f'count(iris_operator_condition{{{IN_NAMESPACE},type="Ready",status!="True"}})'
                    f" or 0 * sum(iris_operator_models{{{IN_NAMESPACE}}})"
                ),
            ),
            "count", "figure", 4, {0: "good", 1: "watch"},
        ),
        Panel(
            "How many looks fail?",
            "IrisModels whose last look failed; it tries again, at most 30 s apart.",
            (Query(f"sum(iris_operator_failing{{{IN_NAMESPACE}}})"),),
            "count", "figure", 4, {0: "good", 1: "bad"},
        ),
    ),
    height=4,
)  # fmt: skip

LOOKS = Section(
    "Its looks",
    (
        Panel(
            "What comes of its looks?",
            "ok · not_yet: Redis or the API server did not let it, it tries again · error: a fault of the operator.",
            (
                Query(
                    f"sum by (result) ({rate('iris_operator_reconciles_total', IN_NAMESPACE)})",
                    "{{result}}",
                ),
            ),
            "looks/s", "areas",
        ),
        Panel(
            "How long does a look take?",
            "At one IrisModel.",
            tuple(
                Query(quantile(share, "iris_operator_reconcile_seconds", IN_NAMESPACE), name)
                for share, name in ((0.5, "half below"), (0.99, "99 % below"))
            ),
            "seconds",
        ),
        Panel(
            "How many are due at once?",
            "IrisModels that were due at the last look.",
            (Query(f"sum by (instance) (iris_operator_due{{{IN_NAMESPACE}}})", "{{instance}}"),),
        ),
        Panel(
            "What does it change in the cluster?",
            "Writes by kind. A steady state writes nothing.",
            (Query(f"sum by (verb) ({rate('iris_operator_api_writes_total', IN_NAMESPACE)})", "{{verb}}"),),
            "/s",
        ),
        Panel(
            "Do its watches tell everything?",
            "Seconds since a listing brought what the watch had not told. Above 30 s the operator is started anew.",
            (Query(f"max by (kind) (iris_operator_watch_behind_seconds{{{IN_NAMESPACE}}})", "{{kind}}"),),
            "seconds",
        ),
        Panel(
            "Which rollouts are under way?",
            "IrisModels by the phase of their rollout.",
            (
                Query(
                    f'sum by (phase) (iris_operator_rollout_phase{{{IN_NAMESPACE},phase!="Idle"}})', "{{phase}}"
                ),
            ),
            "count", "areas",
        ),
    ),
)  # fmt: skip

MODELS = Section(
    "What it looks after",
    (
        Panel(
            "Which IrisModels are ready?",
            "The reason of the condition Ready.",
            (
                Query(
                    f'max by (model, status, reason) (iris_operator_condition{{{IN_NAMESPACE},type="Ready"}})',
                    "{{model}} {{reason}}",
                ),
            ),
            kind="states", width=6,
        ),
        Panel(
            "Which lack workers?",
            "Workers wanted less workers ready, of all versions of a model.",
            (
                Query(
                    f"sum by (model) (iris_operator_workers_desired{{{IN_NAMESPACE}}})"
                    f" - sum by (model) (iris_operator_workers_ready{{{IN_NAMESPACE}}})",
                    "{{model}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Which have a backlog?",
            "Jobs that wait or run, of all versions of a model, also of those that take no new ones.",
            (Query(f"sum by (model) (iris_operator_backlog_jobs{{{IN_NAMESPACE}}})", "{{model}}"),),
            width=6,
        ),
        Panel(
            "What share is on trial?",
            "Percent of new jobs; 0 while none is on trial.",
            (Query(f"sum by (model) (iris_operator_target_weight{{{IN_NAMESPACE}}})", "{{model}}"),),
            "percent", width=6,
        ),
    ),
)  # fmt: skip
OPERATOR = Dashboard(
    "iris-operator",
    "Iris / operator",
    "Is the operator alive, does it get its work done, and which IrisModels are not as wanted?",
    (NAMESPACE,),
    (AT_A_GLANCE, LOOKS, MODELS),
)
