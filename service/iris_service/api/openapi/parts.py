"""What the OpenAPI document is put together from: frozen values that say what is, not how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from iris_service.api.answers import Problem
from iris_service.config import AccessSettings, ApiSettings
from iris_service.model.card import Card

Schema = Any
"""A type, whose schema msgspec knows; a tuple of such, of which it is one; or a schema as JSON has it."""
JSON = "application/json"
CSV = "text/csv"
BYTES = "application/octet-stream"


class Subject(NamedTuple):
    """What is described: a service of this version that serves the model of this card, within these limits."""

    card: Card
    limits: ApiSettings
    access: AccessSettings
    version: str
    has_metrics: bool


class Example(NamedTuple):
    """One value, as JSON has it or as a text, and what it shows."""

    value: Any
    shows: str = ""


class Content(NamedTuple):
    """What a body of one media type holds; examples by name."""

    schema: Schema
    examples: Mapping[str, Example] = {}


class Body(NamedTuple):
    """What a request brings, by media type."""

    says: str
    contents: Mapping[str, Content]
    required: bool = True


class Answer(NamedTuple):
    """One way for an operation to succeed. `leads_to` names operations that take the job id it tells."""

    status: int
    says: str
    contents: Mapping[str, Content] = {}
    headers: tuple[str, ...] = ()
    leads_to: tuple[str, ...] = ()


class Refusal(NamedTuple):
    """One error an operation may answer."""

    status: int
    code: str
    says: str
    headers: tuple[str, ...] = ()
    schema: type[Problem] = Problem


class Operation(NamedTuple):
    """One method of one path. `parameters` are names of those in `document`, or parameters as JSON has them."""

    id: str
    method: str
    path: str
    tag: str
    title: str
    says: str
    answers: tuple[Answer, ...]
    refusals: tuple[Refusal, ...] = ()
    parameters: tuple[str | Mapping[str, Any], ...] = ()
    body: Body | None = None
