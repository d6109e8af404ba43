"""Whatever values are combined: what comes out is valid, safe, and what the programs in it understand."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from chart.combinations import COMBINATIONS, DIGEST
from chart.irismodel_schema import spec_schema
from chart.other_kinds import complaint as complaint_of_others
from chart.rendering import NAMESPACE, Chart, Object, environment, of_kind, one, pods
from iris_operator.config import Settings as OperatorSettings
from iris_operator.manifests import max_rss_bytes, worker_deployment
from iris_operator.spec import IrisModelSpec
from iris_service.config import Settings

OTHER = f"sha256:{'d' * 64}"
OLDEST, NEWEST = "1.30.0", "1.37.0"
"""The oldest Kubernetes that Chart.yaml lets in, and the newest whose schema there is."""
NOT_OF_KUBERNETES = {"HTTPRoute", "IrisModel", "PodMonitor", "PrometheusRule"}
PARTS = {"api", "operator", "recovery", "test", "valkey", "worker"}

every_combination = pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS)


kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)
"""It reads a megabyte of definitions for every object."""


@cache
def complaint(text: str, version: str) -> str:
    """What a strict reading finds wrong with an object; each is read once however often it is rendered."""
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as exc:
        return f"{list(exc.path)}: {exc.message}"
    return ""


@every_combination
def test_every_object_is_valid_in_the_oldest_and_the_newest_kubernetes(chart: Chart, values: dict[str, Any]) -> None:
    for found in chart.render(values):
        if found["kind"] == "Secret":
            found["data"] = {}  # new passwords each time, and the same schema
        if found["kind"] in NOT_OF_KUBERNETES:
            continue
        for version in (OLDEST, NEWEST):
            name = found["metadata"]["name"]
            assert (found["kind"], name, complaint(json.dumps(found), version)) == (found["kind"], name, "")


@pytest.mark.parametrize("name", ["defaults", "monitored, in detail"])
def test_helm_has_nothing_against_it(chart: Chart, name: str) -> None:
    assert chart.lint(COMBINATIONS[name]) == ""


@pytest.mark.parametrize("name", ["defaults", "an API in the open", "placed, no operator", "monitored, in detail"])
def test_helm_3_renders_the_same(chart: Chart, chart_of_helm3: Chart, name: str) -> None:
    def rendered(by: Chart) -> list[Object]:
        return [found for found in by.render(COMBINATIONS[name]) if found["kind"] != "Secret"]

    def identity(found: Object) -> tuple[str, str]:
        return found["kind"], found["metadata"]["name"]

    assert sorted(rendered(chart_of_helm3), key=identity) == sorted(rendered(chart), key=identity)


def test_the_validation_finds_a_field_that_is_none() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    assert "prots" in complaint(json.dumps(service), OLDEST)


@every_combination
def test_no_two_objects_have_one_name_and_all_say_whose_they_are(chart: Chart, values: dict[str, Any]) -> None:
    objects = chart.render(values)
    names = Counter((found["kind"], found["metadata"]["name"]) for found in objects)
    assert [name for name, times in names.items() if times > 1] == []
    for found in objects:
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "iris"
        assert labels["app.kubernetes.io/instance"] == "iris"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert "namespace" not in found["metadata"], "it goes where helm is told"


@every_combination
def test_every_pod_is_as_the_restricted_standard_asks_and_more(chart: Chart, values: dict[str, Any]) -> None:
    for name, pod in pods(chart.render(values)):
        spec = pod["spec"]
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] in PARTS
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 10_000, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["enableServiceLinks"] is False, "a Service called iris-redis would become an unknown setting"
        asking = ("-operator", "-api") if values_of(values, "api.auth.mode") == "tokenreview" else ("-operator",)
        assert spec["automountServiceAccountToken"] is name.endswith(asking), name
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert name.endswith("-test") or {"livenessProbe", "readinessProbe"} <= container.keys(), name
        assert container["resources"]["limits"]["memory"], name
        assert container["resources"]["requests"]["memory"], name
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        claimed = {"data"} if name.endswith("-valkey") and values_of(values, "valkey.persistence.enabled") else set()
        assert mounts - claimed <= {volume["name"] for volume in spec["volumes"]}, name


def values_of(values: dict[str, Any], path: str) -> Any:
    """A value as given, true where it is not: what is asked for here is on by default."""
    found: Any = values
    for key in path.split("."):
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return True if found == {} else found


@every_combination
def test_every_process_understands_its_environment(chart: Chart, values: dict[str, Any]) -> None:
    for name, pod in pods(chart.render(values)):
        part, env = pod["metadata"]["labels"]["app.kubernetes.io/component"], environment(pod)
        env.pop("IRIS_REDIS_CA_FILE", None)  # a file of the pod's
        env |= {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}  # as in every pod
        if part == "operator":
            settings = OperatorSettings.from_env(env)
            assert settings.pods.image.endswith(one_worker_image(values)), name
        elif part in ("api", "worker", "recovery"):
            assert Settings.from_env(env).metrics.port == 9100, "the port of the probes and of the policies"
        else:
            assert {key for key in env if key.startswith("IRIS_")} <= {"IRIS_API_KEY"}, name


def one_worker_image(values: dict[str, Any]) -> str:
    return f"iris-worker@{DIGEST}" if "image" in values.get("worker", {}) else "iris-worker:0.1.0"


@every_combination
def test_every_service_budget_and_route_leads_somewhere(chart: Chart, values: dict[str, Any]) -> None:
    objects = chart.render(values)
    templates = [pod for _, pod in pods(objects)]

    def behind(selector: dict[str, str]) -> list[Object]:
        return [pod for pod in templates if selector.items() <= pod["metadata"]["labels"].items()]

    for found in of_kind(objects, "Service"):
        (pod,) = behind(found["spec"]["selector"])
        ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in found["spec"]["ports"]} <= ports
    for found in of_kind(objects, "PodDisruptionBudget"):
        assert len(behind(found["spec"]["selector"]["matchLabels"])) == 1
    for found in (*of_kind(objects, "Deployment"), *of_kind(objects, "StatefulSet")):
        assert len(behind(found["spec"]["selector"]["matchLabels"])) == 1, found["metadata"]["name"]
    accounts = {found["metadata"]["name"] for found in of_kind(objects, "ServiceAccount")}
    assert {pod["spec"]["serviceAccountName"] for pod in templates} <= accounts


@every_combination
def test_pods_change_only_when_something_in_them_does(chart: Chart, values: dict[str, Any]) -> None:
    for _, pod in pods(chart.render(values)):
        if "helm.sh/hook" not in pod["metadata"].get("annotations", {}):
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & pod["metadata"]["labels"].keys()


@every_combination
def test_the_irismodel_is_one_the_operator_understands(chart: Chart, values: dict[str, Any]) -> None:
    for found in of_kind(chart.render(values), "IrisModel"):
        jsonschema.validate(found["spec"], spec_schema())
        found["metadata"] |= {"uid": "u", "generation": 1, "namespace": NAMESPACE}
        spec = IrisModelSpec.from_body(found)
        assert found["spec"]["model"]["uri"] == f"models://{spec.name}/{spec.model.version}"


def test_without_being_asked_the_chart_says_nothing_about_how_many_workers_there_are(chart: Chart) -> None:
    plain = one(chart.render(), "IrisModel", "iris")["spec"]
    assert plain.keys() == {"model"}
    asked = one(chart.render({"model": {"worker": {"replicas": 0}}}), "IrisModel", "iris")["spec"]
    assert asked["worker"] == {"replicas": 0}


def test_what_the_operator_owns_is_not_rendered_beside_it(chart: Chart) -> None:
    def parts(values: dict[str, Any]) -> set[str]:
        return {found["metadata"]["name"] for found in of_kind(chart.render(values), "Deployment")}

    assert parts({}) == {"iris-api", "iris-operator", "iris-recovery"}
    assert parts({"operator": {"enabled": False}}) == {"iris-api", "iris-recovery", "iris-worker"}


def the_operator_s_workers(objects: list[Object]) -> Object:
    """The spec of the Deployment that the operator makes of the IrisModel, set up as the chart does."""
    body = one(objects, "IrisModel", "iris")
    body["metadata"] |= {"uid": "u", "generation": 1, "namespace": NAMESPACE}
    spec = IrisModelSpec.from_body(body)
    settings = OperatorSettings.from_env(environment(one(objects, "Deployment", "iris-operator")["spec"]["template"]))
    made: Object = worker_deployment(spec, spec.model, spec.worker.replicas or 1, settings.pods)["spec"]
    return made


@pytest.mark.parametrize(
    "name",
    [
        "without operator, in detail",
        "placed, no operator",
        "models of one's own, no operator",
        "watched, no operator",
        "jobs of another life, no operator",
    ],
)
def test_the_workers_of_the_chart_are_those_the_operator_would_render(chart: Chart, name: str) -> None:
    """All of the pod but labels, and the selectors by them."""
    values = COMBINATIONS[name]
    ours = one(chart.render(values), "Deployment", "iris-worker")["spec"]
    with_operator = chart.render({**values, "operator": {"enabled": True}})
    theirs = the_operator_s_workers(with_operator)
    assert ours["replicas"] == theirs["replicas"]
    assert ours["template"]["spec"].pop("automountServiceAccountToken") is False
    for pod in (ours["template"]["spec"], theirs["template"]["spec"]):
        pod.pop("automountServiceAccountToken", None)
        for spread in pod["topologySpreadConstraints"]:
            del spread["labelSelector"]
        pod["containers"][0]["env"].sort(key=lambda item: item["name"])
    assert ours["template"]["spec"] == theirs["template"]["spec"]


@pytest.mark.parametrize("place", ["worker", "model.worker"])
@pytest.mark.parametrize(
    "limit", ["512Mi", "1.5Gi", ".5G", "5.", "1e9", "12E+8", "1E", "2Ei", "500k", "100m", "0", 1 << 30, 1, None]
)
def test_a_worker_of_the_chart_ends_itself_where_the_operator_s_would(
    chart: Chart, place: str, limit: str | int | None
) -> None:
    resources = {"limits": {"memory": limit} if limit is not None or place == "worker" else {}}
    values = (
        {"worker": {"resources": resources}} if place == "worker" else {"model": {"worker": {"resources": resources}}}
    )
    worker = one(chart.render({**values, "operator": {"enabled": False}}), "Deployment", "iris-worker")
    env = environment(worker["spec"]["template"])
    assert env["IRIS_WORKER_MAX_RSS_BYTES"] == str(max_rss_bytes(resources))
    assert Settings.from_env(env).worker.max_rss_bytes == max_rss_bytes(resources)


def test_without_being_asked_a_worker_ends_itself_at_three_quarters_of_its_memory(chart: Chart) -> None:
    worker = one(chart.render({"operator": {"enabled": False}}), "Deployment", "iris-worker")["spec"]["template"]
    assert worker["spec"]["containers"][0]["resources"]["limits"]["memory"] == "512Mi"
    assert environment(worker)["IRIS_WORKER_MAX_RSS_BYTES"] == str(384 << 20)


WITHOUT_OPERATOR = {
    "worker.replicas": 3,
    "worker.autoscaling": {},
    "worker.jobTimeoutSeconds": 99,
    "worker.batchSize": 9,
    "worker.resources": {"limits": {"memory": "1Gi"}},
    "rollout.strategy": "Replace",
    "rollout.steps": [{"weight": 9}],
    "rollout.analysis": {"minimumJobs": 9},
    "rollout.gate": {"goldenSet": False},
    "rollout.progressDeadlineSeconds": 99,
    "rollout.autoRollback": False,
}
"""Each thing that an IrisModel may say of its workers and its rollout."""


def test_every_such_thing_is_tried() -> None:
    known = spec_schema()["properties"]
    named = {f"{part}.{name}" for part in ("worker", "rollout") for name in known[part]["properties"]}
    assert WITHOUT_OPERATOR.keys() == named


@pytest.mark.parametrize("name", WITHOUT_OPERATOR)
def test_without_an_operator_what_is_said_of_a_model_is_done_or_refused_and_never_lost(chart: Chart, name: str) -> None:
    part, _, key = name.partition(".")
    values = {"operator": {"enabled": False}, "model": {part: {key: WITHOUT_OPERATOR[name]}}}
    if name == "worker.autoscaling" or part == "rollout":
        asked = "model.rollout" if part == "rollout" else "model.worker.autoscaling"
        assert f"operator.enabled=false leaves nobody to follow {asked}" in chart.refusal(values)
    else:
        plain = chart.render({"operator": {"enabled": False}})
        assert one(chart.render(values), "Deployment", "iris-worker") != one(plain, "Deployment", "iris-worker")


@pytest.mark.parametrize(
    "name", ["defaults", "without operator", "jobs of another life", "jobs of another life, no operator"]
)
def test_a_job_has_the_same_life_for_all_who_take_part_in_it(chart: Chart, name: str) -> None:
    values, objects = COMBINATIONS[name], chart.render(COMBINATIONS[name])
    found = {
        part: environment(pod) for part, pod in pods(objects) if part in ("iris-api", "iris-recovery", "iris-worker")
    }
    if "iris-worker" not in found:
        found["iris-worker"] = environment(the_operator_s_workers(objects)["template"])
    assert len(found) == 3
    given = values.get("jobs", {"attempts": 5, "deadlineSeconds": 3600, "resultTtlSeconds": 3600})
    for part, env in found.items():
        jobs = Settings.from_env(env).jobs
        assert [jobs.attempts, jobs.deadline_seconds, jobs.result_ttl_seconds] == list(given.values()), part


@pytest.mark.parametrize("part", ["api", "recovery", "operator"])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("IRIS_JOB_ATTEMPTS", "attempts"),
        ("IRIS_JOB_DEADLINE_SECONDS", "deadlineSeconds"),
        ("IRIS_RESULT_TTL_SECONDS", "resultTtlSeconds"),
    ],
)
def test_nobody_is_told_another_life_of_a_job_alone(chart: Chart, part: str, name: str, key: str) -> None:
    refusal = chart.refusal({part: {"env": [{"name": "OTHER", "value": "1"}, {"name": name, "value": "1"}]}})
    assert f"{part}.env sets {name} for one part alone: set jobs.{key}" in refusal


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"redis": {"existingSecret": "x"}}, "set valkey.enabled=false"),
        ({"valkey": {"enabled": False}}, "there is no queue"),
        ({"api": {"ingress": {"enabled": True}}}, "api.ingress.hosts"),
        ({"api": {"httpRoute": {"enabled": True}}}, "api.httpRoute.parentRefs"),
        ({"api": {"auth": {"mode": "api-key"}}}, "api.auth.apiKeysSecret"),
        ({"api": {"sync": "inline", "image": {"digest": DIGEST}}}, "set api.image.inlineDigest"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_the_remedy(
    chart: Chart, values: dict[str, Any], words: str
) -> None:
    assert words in chart.refusal(values)


@pytest.mark.parametrize(
    ("values", "tested"),
    [
        ({}, True),
        ({"operator": {"enabled": False}}, True),
        ({"model": {"enabled": False}}, False),
        ({"model": {"name": "tulips"}}, False),
        ({"model": {"worker": {"replicas": 0}}}, False),
        ({"api": {"auth": {"mode": "api-key", "apiKeysSecret": "keys"}}}, True),
        ({"api": {"auth": {"mode": "tokenreview"}}}, False),
    ],
)
def test_helm_test_asks_about_irises_only_where_they_are_served(
    chart: Chart, values: dict[str, Any], tested: bool
) -> None:
    assert ([found["metadata"]["name"] for found in of_kind(chart.render(values), "Pod")] == ["iris-test"]) is tested


def test_a_stopping_api_has_time_for_all_it_is_promised(chart: Chart) -> None:
    values = {"api": {"preStopSeconds": 4, "drainSeconds": 20.5}}
    pod = one(chart.render(values), "Deployment", "iris-api")["spec"]["template"]["spec"]
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 4}}}
    assert pod["terminationGracePeriodSeconds"] == 4 + 21 + 15
    assert environment({"spec": pod})["IRIS_DRAIN_SECONDS"] == "20.5"


def test_an_api_lets_every_irismodel_have_its_own_time_limit(chart: Chart) -> None:
    env = environment(one(chart.render(), "Deployment", "iris-api")["spec"]["template"])
    longest = spec_schema()["properties"]["worker"]["properties"]["jobTimeoutSeconds"]["maximum"]
    assert Settings.from_env(env).jobs.timeout_seconds == longest


def test_the_number_of_api_pods_is_left_to_its_autoscaler(chart: Chart) -> None:
    assert one(chart.render(), "Deployment", "iris-api")["spec"]["replicas"] == 2
    scaled = chart.render(COMBINATIONS["an API that scales"])
    assert "replicas" not in one(scaled, "Deployment", "iris-api")["spec"]
    assert one(scaled, "HorizontalPodAutoscaler", "iris-api")["spec"]["maxReplicas"] == 9


@pytest.mark.parametrize(
    "route",
    [
        {"parentRefs": [{"name": "public"}]},
        {
            "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
            "annotations": {"a": "b"},
        },
        {"parentRefs": [{"name": "a"}, {"name": "b"}], "hostnames": ["iris.example.com", "*.flowers.example.com"]},
    ],
)
def test_the_gateway_api_finds_nothing_wrong(chart: Chart, route: dict[str, Any]) -> None:
    found = one(chart.render({"api": {"httpRoute": {"enabled": True, **route}}}), "HTTPRoute", "iris-api")
    assert (found["apiVersion"], complaint_of_others(found)) == ("gateway.networking.k8s.io/v1", "")


def test_a_route_that_the_gateway_api_does_not_know_would_be_found() -> None:
    def complaint_of(**spec: Any) -> str:
        return complaint_of_others({"kind": "HTTPRoute", "spec": spec})

    assert complaint_of(parentRefs=[{"name": "public"}]) == ""
    assert "hostname" in complaint_of(hostname=["iris.example.com"])
    assert "hostnames[0]" in complaint_of(hostnames=["https://iris.example.com"])
    assert "backendRefs[0].port" in complaint_of(rules=[{"backendRefs": [{"name": "iris-api", "port": 0}]}])


def test_a_route_of_the_gateway_api_leads_to_the_service(chart: Chart) -> None:
    objects = chart.render(COMBINATIONS["an API in the open"])
    assert one(objects, "HTTPRoute", "iris-api")["spec"] == {
        "parentRefs": [{"name": "public"}],
        "hostnames": ["iris.example.com"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"name": "iris-api", "port": 80}],
            }
        ],
    }
    (rule, _) = one(objects, "Ingress", "iris-api")["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "iris-api", "port": {"name": "http"}}


def test_images_can_come_from_elsewhere_and_be_pinned(chart: Chart) -> None:
    objects = chart.render(COMBINATIONS["images of one's own"])
    images = {name: pod["spec"]["containers"][0]["image"] for name, pod in pods(objects)}
    assert images == {
        "iris-api": f"registry.example.com/team/my-api@{DIGEST}",
        "iris-test": f"registry.example.com/team/my-api@{DIGEST}",
        "iris-recovery": f"registry.example.com/team/iris-worker@{DIGEST}",
        "iris-operator": "registry.example.com/team/iris-operator:main",
        "iris-valkey": "valkey/valkey:9.1.2",
    }
    assert all(pod["spec"]["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}] for name, pod in pods(objects))


@pytest.mark.parametrize(
    ("api", "sync", "image"),
    [
        ({}, "queue", "iris-api:0.1.0"),
        ({"sync": "inline"}, "inline", "iris-api-inline:0.1.0"),
        ({"sync": "inline", "image": {"repository": "my-api", "tag": "7"}}, "inline", "my-api-inline:7"),
        ({"sync": "inline", "image": {"inlineDigest": DIGEST}}, "inline", f"iris-api-inline@{DIGEST}"),
        ({"sync": "inline", "image": {"inlineDigest": DIGEST, "digest": OTHER}}, "inline", f"iris-api-inline@{DIGEST}"),
        ({"image": {"inlineDigest": DIGEST, "digest": OTHER}}, "queue", f"iris-api@{OTHER}"),
    ],
)
def test_an_api_that_answers_inline_has_the_image_that_can(
    chart: Chart, api: dict[str, Any], sync: str, image: str
) -> None:
    objects = chart.render({"api": api})
    found = dict(pods(objects))
    images = {name: pod["spec"]["containers"][0]["image"] for name, pod in found.items()}
    assert environment(found["iris-api"])["IRIS_SYNC"] == sync
    assert images.pop("iris-api") == images.pop("iris-test") == image
    assert "inline" not in "".join(images.values())


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("iris", {}, "iris-api"),
        ("my-iris", {}, "my-iris-api"),
        ("flowers", {}, "flowers-iris-api"),
        ("flowers", {"fullnameOverride": "f"}, "f-api"),
        ("a" * 53, {}, f"{'a' * 40}-api"),
    ],
)
def test_names_begin_with_the_release(chart: Chart, release: str, values: dict[str, Any], name: str) -> None:
    objects = chart.render(values, release)
    one(objects, "Service", name)
    assert max(len(found["metadata"]["name"]) for found in objects) <= 56, "a pod's name still is its whole host name"


def test_the_operator_may_do_what_it_does_in_one_namespace_and_no_more(chart: Chart) -> None:
    objects = chart.render()
    assert not of_kind(objects, "ClusterRole")
    assert not of_kind(objects, "ClusterRoleBinding")
    rules = one(objects, "Role", "iris-operator")["rules"]
    resources = {resource: rule["verbs"] for rule in rules for resource in rule["resources"]}
    assert resources == {
        "irismodels": ["get", "list", "watch"],
        "irismodels/status": ["patch"],
        "irismodels/finalizers": ["update"],
        "deployments": ["get", "list", "watch", "create", "patch", "delete"],
        "pods": ["list", "patch"],
        "events": ["create"],
    }
    (subject,) = one(objects, "RoleBinding", "iris-operator")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "iris-operator", "namespace": NAMESPACE}


def test_an_api_may_ask_whose_a_token_is_where_that_is_how_callers_are_known(chart: Chart) -> None:
    objects = chart.render({"api": {"auth": {"mode": "tokenreview"}}})
    (role,) = of_kind(objects, "ClusterRole")
    assert role["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]
    (binding,) = of_kind(objects, "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "iris-api", "namespace": NAMESPACE}]


def test_the_keys_of_callers_reach_the_api_as_a_folder_that_kubernetes_keeps_up_to_date(chart: Chart) -> None:
    objects = chart.render({"api": {"auth": {"mode": "api-key", "apiKeysSecret": "my-keys"}}})
    pod = one(objects, "Deployment", "iris-api")["spec"]["template"]["spec"]
    keys_file = Settings.from_env(environment({"spec": pod})).access.keys_file
    (mount,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "api-keys")
    assert str(keys_file) == f"{mount['mountPath']}/keys"
    assert "subPath" not in mount
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "api-keys")
    assert volume["secret"] == {"secretName": "my-keys", "items": [{"key": "keys", "path": "keys"}]}


def test_the_queue_keeps_jobs_through_a_restart_and_drops_none_for_memory(chart: Chart) -> None:
    found = one(chart.render(), "StatefulSet", "iris-valkey")["spec"]
    (container,) = found["template"]["spec"]["containers"]
    options = dict(zip(container["args"][::2], container["args"][1::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--maxmemory"] == "256mb"
    (claim,) = found["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert found["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
