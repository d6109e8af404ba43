"""Puts the OpenAPI 3.1 document together: a pure function of what is described. The same gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from iris_service.api.access import is_free
from iris_service.api.answers import FailedJob, Problem
from iris_service.api.openapi import article, catalogue, inference, machines
from iris_service.api.openapi.components import Schemas, flower, flowers
from iris_service.api.openapi.examples import Examples
from iris_service.api.openapi.guards import guarded, schemes
from iris_service.api.openapi.parameters import EVERYWHERE, HEADERS, parameters
from iris_service.api.openapi.parts import JSON, Answer, Body, Content, Operation, Refusal, Subject
from iris_service.api.openapi.refused import NO_METHOD, NO_PAGE
from iris_service.api.probes import NotServing

TAGS = {
    article.TAG: "The article's API, version 1.0: submit flowers, fetch the answers.",
    inference.TAG: "What clients of KServe, Triton and MLServer know, for every model that has a route.",
    machines.PROBES: "For Kubernetes and Prometheus.",
    machines.PAGES: "For people, and for tools.",
}


def operations(subject: Subject) -> tuple[Operation, ...]:
    """Return every operation, those of one path together."""
    shelves = (article, inference, catalogue, machines)
    return tuple(guarded(operation, subject) for shelf in shelves for operation in shelf.operations(subject))


def document_of(subject: Subject) -> dict[str, Any]:
    """Return the document, as JSON has it."""
    known = operations(subject)
    writer = _Writer(_schemas(known, subject), frozenset(schemes(subject)))
    paths = {path: writer.path(list(group)) for path, group in groupby(known, lambda operation: operation.path)}
    writer.refusals((NO_METHOD,))  # of no operation, for it has another method
    return _given(
        openapi="3.1.0",
        info=_info(subject),
        servers=[{"url": ".", "description": "Where this document was found."}],
        tags=[{"name": name, "description": says} for name, says in TAGS.items()],
        security=[{name: list[str]()} for name in schemes(subject)],
        paths=paths,
        components=_given(
            schemas=dict(sorted(writer.schemas.components.items())),
            parameters=parameters(subject),
            headers={name: header for name, header in HEADERS.items() if name in writer.headers},
            responses=dict(sorted(writer.responses.items())),
            securitySchemes=schemes(subject),
        ),
    )


def _info(subject: Subject) -> dict[str, Any]:
    limits = subject.limits
    return {
        "title": "iris",
        "version": subject.version,
        "summary": f"Classify with the model {subject.card.model}, behind a queue that loses no accepted prediction.",
        "description": "\n\n".join(
            (
                "A prediction becomes a job on a queue, and a worker answers it. Its caller waits, or asks again.",
                "A trailing slash changes nothing. `HEAD` works wherever `GET` does, except where a `GET` makes a job; "
                "`OPTIONS` answers 204 with `Allow`.",
                "Every error is JSON, with a stable `code` and a sentence. What was answered with a 4xx was not "
                f"accepted. Another path is 404 `{NO_PAGE.code}`, another method 405 `{NO_METHOD.code}`. 429 and 503 "
                "say in `Retry-After` when to come back.",
                f"Request line and headers may have {limits.max_head_bytes:,} bytes, a query string "
                f"{limits.max_query_bytes:,}, a body {limits.max_body_bytes:,}.",
            )
        ),
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }


def _schemas(known: Sequence[Operation], subject: Subject) -> Schemas:
    asked = [content for operation in known if operation.body for content in operation.body.contents.values()]
    answers = [answer for operation in known for answer in operation.answers]
    answered = [content for answer in answers for content in answer.contents.values()]
    schemas = Schemas(_types(asked), [*_types(answered), Problem, FailedJob, NotServing])
    schemas.components["Problem"]["examples"] = [Examples(subject.card).refusal]
    schemas.components["Flower"] = flower(subject.card)
    schemas.components["Flowers"] = flowers(subject.card, subject.limits.max_rows)
    return schemas


def _types(contents: Iterable[Content]) -> list[Any]:
    """Return each type once, in order."""
    kinds: list[Any] = []
    for content in contents:
        for kind in content.schema if isinstance(content.schema, tuple) else (content.schema,):
            if not isinstance(kind, Mapping) and kind not in kinds:
                kinds.append(kind)
    return kinds


class _Writer:
    """Writes operations as JSON has them; keeps the responses that several have, and the names of headers."""

    def __init__(self, schemas: Schemas, ways_to_prove: frozenset[str]) -> None:
        self.schemas = schemas
        self.responses: dict[str, Any] = {}
        self.headers: set[str] = set()
        self._asks_who = bool(ways_to_prove)

    def path(self, group: Sequence[Operation]) -> dict[str, Any]:
        shared = [_reference("parameters", name) for name in EVERYWHERE]
        return {"parameters": shared, **{operation.method: self._operation(operation) for operation in group}}

    def _operation(self, operation: Operation) -> dict[str, Any]:
        written = _given(
            operationId=operation.id,
            tags=[operation.tag],
            summary=operation.title,
            description=operation.says,
            parameters=[_reference("parameters", one) if isinstance(one, str) else one for one in operation.parameters],
            requestBody=operation.body and self._body(operation.body),
            responses={
                **{str(answer.status): self._answer(answer) for answer in operation.answers},
                **self.refusals(operation.refusals),
            },
        )
        return {**written, "security": []} if self._asks_who and is_free(operation.path) else written

    def _body(self, body: Body) -> dict[str, Any]:
        return {"description": body.says, "content": self._contents(body.contents), "required": body.required}

    def _answer(self, answer: Answer) -> dict[str, Any]:
        links = {
            id_: {"operationId": id_, "parameters": {"job_id": "$response.body#/job_id"}} for id_ in answer.leads_to
        }
        return _given(
            description=answer.says,
            headers=self._headers(answer.headers),
            content=self._contents(answer.contents),
            links=links,
        )

    def _contents(self, contents: Mapping[str, Content]) -> dict[str, Any]:
        return {
            kind: _given(
                schema=self.schemas.of(content.schema),
                examples={name: _given(summary=one.shows, value=one.value) for name, one in content.examples.items()},
            )
            for kind, content in contents.items()
        }

    def refusals(self, refusals: Iterable[Refusal]) -> dict[str, Any]:
        """Return references by status; the codes of one status are one response."""
        found = {}
        by_status = sorted(dict.fromkeys(refusals), key=lambda refusal: (refusal.status, refusal.code))
        for status, group in groupby(by_status, lambda refusal: refusal.status):
            ours = list(group)
            codes = list(dict.fromkeys(refusal.code for refusal in ours))
            kinds = list(dict.fromkeys(refusal.schema for refusal in ours))
            name = ".".join([str(status), *codes, *(kind.__name__ for kind in kinds if kind is not Problem)])
            if name not in self.responses:
                self.responses[name] = self._refusal(ours, codes, kinds)
            found[str(status)] = _reference("responses", name)
        return found

    def _refusal(self, refusals: Sequence[Refusal], codes: Sequence[str], kinds: Sequence[Any]) -> dict[str, Any]:
        said = self.schemas.of(kinds[0] if len(kinds) == 1 else tuple(kinds))
        return {
            "description": "\n\n".join(f"`{refusal.code}`: {refusal.says}" for refusal in refusals),
            "headers": self._headers(sorted({name for refusal in refusals for name in refusal.headers})),
            "content": {JSON: {"schema": {"allOf": [said], "properties": {"code": {"enum": list(codes)}}}}},
        }

    def _headers(self, names: Iterable[str]) -> dict[str, Any]:
        found = {name: _reference("headers", name) for name in ("X-Request-Id", *names)}
        self.headers |= found.keys()
        return found


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields that say something."""
    return {name: value for name, value in fields.items() if value or value is False}
