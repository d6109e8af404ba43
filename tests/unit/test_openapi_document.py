"""The OpenAPI document: valid, complete both ways, true to the settings and the card, small, and always there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from starlette.routing import Route as Page
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED, api_client
from cards import card_of
from conformance import Conformance
from iris_service.api.openapi.document import document_of
from iris_service.api.openapi.parts import Subject
from iris_service.config import AccessSettings, ApiSettings, MetricsSettings, Settings
from iris_service.errors import ModelRejected, QueueUnavailable
from iris_service.jobs.keys import Target
from iris_service.jobs.route import Route
from iris_service.jobs.watch import Observation
from iris_service.model.card import Card, card_to_json
from iris_service.schemas import Feature, Signature
from memory_queue import AnsweringQueue, MemoryQueue
from versions import committed_card

SPECIFICATION = json.loads((Path(__file__).parents[1] / "schemas" / "openapi-3.1.json").read_text())
MODES = ("none", "api-key", "tokenreview")
MOST_BYTES = 100_000
WINE = card_of(
    Signature(
        (Feature("alcohol content", "% vol", 0.5, 20.0), Feature("pH", "", -1.0, 1e300)), ("red", "white", "rose")
    ),
    model="wine",
    version="2024.1",
)
METHODS = frozenset({"get", "post", "delete"})


def document(card: Card | None = None, mode: str = "none", **limits: Any) -> dict[str, Any]:
    access = AccessSettings(mode=mode)
    subject = Subject(card or committed_card(), replace(ApiSettings(), **limits), access, "1.2.3", has_metrics=True)
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document_of(subject)))
    return made


def operations(made: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in made["paths"].items():
        for method in item.keys() & METHODS:
            yield path, method, item[method]


def inside(value: Any) -> Iterator[Any]:
    """Everything in a document."""
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(inner)


def contents(made: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every body of requests and answers, with its media type."""
    for part in inside(made["paths"]):
        if isinstance(part, dict) and isinstance(part.get("content"), dict):
            yield from part["content"].items()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("card", [committed_card(), WINE], ids=["iris", "wine"])
def test_it_is_a_document_of_openapi_3_1(card: Card, mode: str) -> None:
    made = document(card, mode)
    jsonschema.Draft202012Validator(SPECIFICATION).validate(made)
    for part in inside(made):
        if isinstance(part, dict) and isinstance(part.get("schema"), dict):
            jsonschema.Draft202012Validator.check_schema(part["schema"])
    for schema in made["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_a_document_that_is_none_is_found_out() -> None:
    made = document()
    made["paths"][GETPRED]["get"]["responses"]["200"].pop("description")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SPECIFICATION).validate(made)


@pytest.mark.parametrize("mode", MODES)
def test_every_reference_leads_somewhere_and_everything_shared_is_used(mode: str) -> None:
    made = document(mode=mode)
    resolve = Conformance(made).resolved
    references = {part["$ref"] for part in inside(made) if isinstance(part, dict) and "$ref" in part}
    for reference in references:
        assert resolve({"$ref": reference})
    shared = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "parameters", "headers", "responses")
        for name in made["components"][kind]
    }
    assert shared - references == {"#/components/responses/405.METHOD_NOT_ALLOWED"}


def test_names_are_given_once_and_links_lead_to_them() -> None:
    made = document()
    ids = [operation["operationId"] for *_, operation in operations(made)]
    assert len(set(ids)) == len(ids) > 30
    links = [
        link for part in inside(made["paths"]) if isinstance(part, dict) for link in part.get("links", {}).values()
    ]
    assert {link["operationId"] for link in links} == {"status", "result", "cancel", "job", "cancelJob"}
    tags = {tag["name"] for tag in made["tags"]}
    assert {tag for *_, operation in operations(made) for tag in operation["tags"]} == tags


def test_the_parameters_of_a_path_are_those_it_names() -> None:
    made = document()
    resolve = Conformance(made).resolved
    for path, _, operation in operations(made):
        parameters = [resolve(one) for one in operation.get("parameters", ())]
        named = {one["name"] for one in parameters if one["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path)), path
        assert len({(one["in"], one["name"]) for one in parameters}) == len(parameters)


@pytest.mark.parametrize("metrics_port", [None, 0])
def test_every_page_is_described_and_nothing_else(metrics_port: int | None) -> None:
    settings = Settings(metrics=MetricsSettings(port=metrics_port))
    with api_client(MemoryQueue(), settings=settings) as client:
        made = client.get("/openapi.json").json()
        pages = [page for page in client.app.routes if isinstance(page, Page)]  # type: ignore[attr-defined]
        assert len(pages) == len(client.app.routes)  # type: ignore[attr-defined]
    served = {(page.path, method) for page in pages for method in page.methods or ()}
    described = {(path, method.upper()) for path, method, _ in operations(made)}
    heads = {(path, "HEAD") for path, method in described if method == "GET" and path != GETPRED}
    assert served == described | heads, "HEAD, as the description says, wherever GET does not make a job"
    assert ("/metrics", "GET") in described or metrics_port == 0


@pytest.mark.parametrize("card", [committed_card(), WINE], ids=["iris", "wine"])
def test_every_example_is_what_its_schema_says(card: Card) -> None:
    made = document(card)
    hold = Conformance(made)
    seen = 0
    for kind, content in contents(made):
        for name, example in content.get("examples", {}).items():
            hold.validate(content["schema"], example["value"], (kind, name, json.dumps(content["schema"])))
            seen += 1
    for part in inside(made):
        if isinstance(part, dict) and {"in", "example"} <= part.keys():
            hold.validate(part["schema"], part["example"], (part["name"], json.dumps(part["schema"])))
            seen += 1
    for name, schema in made["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            hold.validate(schema, example, (name,))
            seen += 1
    assert seen > 40


def test_the_examples_of_requests_are_accepted() -> None:
    made = document(card_of())
    accepted = 0
    with api_client(AnsweringQueue()) as client:
        for path, method, operation in operations(made):
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                for example in content.get("examples", {}).values():
                    value = example["value"]
                    body = value if isinstance(value, str) else json.dumps(value)
                    url = path.replace("{model}", "iris").replace("{version}", "1")
                    answer = client.request(method, url, content=body.encode(), headers={"Content-Type": kind})
                    assert answer.is_success, (path, answer.text)
                    accepted += 1
    assert accepted == 8


def test_the_features_are_those_of_the_card() -> None:
    made = document(WINE)
    flower = made["components"]["schemas"]["Flower"]
    assert flower["required"] == ["alcohol content", "pH"]
    assert flower["properties"]["alcohol content"] == {
        "type": "number", "minimum": 0.5, "maximum": 20.0, "description": "In % vol; the training data had 0 to 1.",
    }  # fmt: skip
    parameters = made["paths"][GETPRED]["get"]["parameters"]
    assert [one.get("name") for one in parameters] == ["alcohol content", "pH", None]
    row = made["components"]["schemas"]["Flowers"]["properties"]["data"]["items"]
    assert [column["title"] for column in row["prefixItems"]] == ["alcohol content", "pH"]


def test_the_limits_are_those_of_the_settings() -> None:
    made = document(max_rows=7, max_wait_seconds=4, max_body_bytes=12_345, max_query_bytes=77, max_head_bytes=2048)
    parameters = made["components"]["parameters"]
    assert made["components"]["schemas"]["Flowers"]["properties"]["data"]["maxItems"] == 7
    assert (parameters["Wait"]["schema"]["maximum"], parameters["Wait"]["example"]) == (4, 4)
    assert parameters["JsonLength"]["schema"]["maximum"] == 12_345
    assert "up to 7 of them" in made["paths"][GETPRED]["post"]["requestBody"]["description"]
    for number in ("2,048 bytes", "a query string 77", "a body 12,345"):
        assert number in made["info"]["description"]


@pytest.mark.parametrize(("mode", "schemes"), [("none", None), ("api-key", "API key"), ("tokenreview", "iris")])
def test_who_may_ask_is_as_the_settings_say(mode: str, schemes: str | None) -> None:
    made = document(mode=mode)
    asked = {path for path, _, operation in operations(made) if "401" in operation["responses"]}
    free = {path for path, _, operation in operations(made) if operation.get("security") == []}
    if schemes is None:
        assert "securitySchemes" not in made["components"]
        assert not asked
        assert "security" not in made
        return
    assert schemes in made["components"]["securitySchemes"]["bearer"]["description"]
    assert made["security"] == [{"bearer": []}, {"header": []}], "either of them"
    assert free == {
        "/", "/page/{name}", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/v2/health/live",
        "/v2/health/ready",
    }  # fmt: skip
    assert asked == set(made["paths"]) - free


@pytest.mark.parametrize("mode", MODES)
def test_it_is_small_and_the_same_for_the_same(mode: str) -> None:
    first, again = (msgspec.json.encode(document(mode=mode)) for _ in range(2))
    assert first == again
    assert len(first) < MOST_BYTES


def test_patterns_are_those_of_other_languages_too() -> None:
    made = document()
    patterns = {
        part["pattern"] for part in inside(made) if isinstance(part, dict) and isinstance(part.get("pattern"), str)
    }
    assert len(patterns) > 3
    for pattern in patterns:
        assert pattern.startswith("^")
        assert pattern.endswith("$")
        assert not re.search(r"\\[AZz]|\(\?P|\(\?[a-z]", pattern), pattern


def test_who_has_it_is_not_sent_it_again(client: TestClient) -> None:
    answer = client.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get("/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_it_is_there_while_redis_is_not(client: TestClient, queue: MemoryQueue, path: str) -> None:
    queue.trouble = QueueUnavailable("away", retry_after_seconds=1)
    queue.redis_up = False
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_without_a_card_there_is_nothing_to_describe(path: str) -> None:
    with api_client(MemoryQueue(), ModelRejected("no such card")) as client:
        answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (503, "MODEL_NOT_READY")


class TwoVersions(MemoryQueue):
    """A route with two versions whose shares may be changed; workers have published both cards."""

    def __init__(self) -> None:
        super().__init__()
        self.targets = Target("iris", "1"), Target("iris", "2")
        self.weights = (90, 10)
        self.cards = {target: card_to_json(committed_card(target.version)) for target in self.targets}

    def observe(self) -> Observation:
        shares = tuple(zip(self.targets, self.weights, strict=True))
        return replace(super().observe(), routes={"iris": Route(shares)})


def test_it_describes_the_version_that_takes_most_jobs() -> None:
    queue = TwoVersions()
    with api_client(queue) as client:

        def version() -> Any:
            described = client.get("/openapi.json").json()
            return described["components"]["parameters"]["Version"]["example"]

        assert version() == "1"
        queue.weights = (10, 90)
        assert version() == "2"
        queue.weights = (90, 10)
        assert version() == "1"


def test_a_version_whose_card_is_not_at_hand_is_left_out() -> None:
    queue = TwoVersions()
    queue.weights = (10, 90)
    queue.cards[queue.targets[1]] = b"{}"
    with api_client(queue) as client:
        described = client.get("/openapi.json").json()
        assert described["components"]["parameters"]["Version"]["example"] == "1"
        assert client.get(GETPRED, params=FLOWER).status_code in (200, 503)
