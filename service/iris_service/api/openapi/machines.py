"""The operations for machines and people: probes, metrics, this description, and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iris_service import errors
from iris_service.api.openapi.examples import example
from iris_service.api.openapi.parts import JSON, Answer, Content, Operation, Refusal, Subject
from iris_service.api.openapi.refused import NO_PAGE, UNREADY, refused
from iris_service.api.playground import Playground
from iris_service.api.probes import Alive, Serving

PROBES = "Health and metrics"
PAGES = "Pages"
DOCUMENT, READABLE = "/openapi.json", "/docs"
_TEXT = {"type": "string"}


def operations(subject: Subject) -> tuple[Operation, ...]:
    card = subject.card
    serving = Serving(model=card.model, version=card.version)
    metrics = Operation(
        "metrics", "get", "/metrics", PROBES, "Count and measure", "In the text format of Prometheus.",
        (Answer(200, "The metrics of this process.", {"text/plain": Content(_TEXT)}),),
    )  # fmt: skip
    return (
        Operation(
            "alive", "get", "/healthz", PROBES, "Is the process alive?", "",
            (Answer(200, "It can answer.", {JSON: Content(Alive, {"alive": example(Alive())})}),),
        ),
        Operation(
            "servingPredictions", "get", "/readyz", PROBES, "Are predictions accepted?", "",
            (Answer(200, "They are.", {JSON: Content(Serving, {"serving": example(serving)})}),),
            (UNREADY,),
        ),
        *((metrics,) if subject.has_metrics else ()),
        _page(
            "document", DOCUMENT, "This description, as OpenAPI 3.1", [JSON], {"type": "object"},
            refused(errors.ModelNotReady),
        ),
        _page(
            "readable", READABLE, "This description, to be read", ["text/html"], _TEXT, refused(errors.ModelNotReady)
        ),
        _page("page", "/", "The page for people", ["text/html"], _TEXT),
        _page_files(),
    )  # fmt: skip


def _page(
    id_: str,
    path: str,
    title: str,
    kinds: Sequence[str],
    schema: Mapping[str, Any],
    refusals: tuple[Refusal, ...] = (),
    parameters: tuple[Mapping[str, Any], ...] = (),
) -> Operation:
    """Describe something that is sent once, and then only when it has changed."""
    content = {kind: Content(schema) for kind in kinds}
    known = Answer(304, "It is as it was: `If-None-Match` names its `ETag`.", {}, ("ETag",))
    found = Answer(200, "Here it is.", content, ("ETag",))
    return Operation(id_, "get", path, PAGES, title, "", (found, known), refusals, (*parameters, "IfNoneMatch"))


def _page_files() -> Operation:
    files = Playground().files
    name = {"name": "name", "in": "path", "required": True, "schema": {"enum": sorted(files)}, "example": "page.css"}
    kinds = sorted({file.media_type for file in files.values()})
    return _page("pageFile", "/page/{name}", "A file of the page", kinds, _TEXT, (NO_PAGE,), (name,))
