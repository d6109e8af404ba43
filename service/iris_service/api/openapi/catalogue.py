"""The operations of the Open Inference Protocol V2 that tell of the server, its models and their versions."""

from __future__ import annotations

from collections.abc import Mapping

from iris_service import errors
from iris_service.api.openapi.examples import example
from iris_service.api.openapi.inference import TAG
from iris_service.api.openapi.parts import JSON, Answer, Body, Content, Operation, Refusal, Schema, Subject
from iris_service.api.openapi.refused import NO_PAGE, refused
from iris_service.api.v2 import catalogue
from iris_service.api.v2.inference import MODEL, VERSION
from iris_service.api.v2.metadata import index_entry, model_config, model_metadata, statistics
from iris_service.api.v2.shapes import (
    IndexEntry,
    IndexRequest,
    Live,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    Models,
    Ready,
    ServerMetadata,
    Statistics,
)
from iris_service.jobs.keys import Target
from iris_service.jobs.pressure import QueueReading


def operations(subject: Subject) -> tuple[Operation, ...]:
    return (*_server(subject), *_models(subject), *_repository(subject))


def _server(subject: Subject) -> tuple[Operation, ...]:
    metadata = ServerMetadata(catalogue.NAME, subject.version, catalogue.EXTENSIONS)
    unready = refused(errors.QueueUnavailable, errors.ModelNotReady)
    return (
        _page("server", "/v2", "Describe the server", ServerMetadata, metadata),
        _page("live", "/v2/health/live", "Is the server alive?", Live, Live()),
        _page(
            "serverReady", "/v2/health/ready", "Is the server ready?", Ready, Ready(), unready,
            "Redis answers, and the card of every version of every model is known.",
        ),
        _page("models", "/v2/models", "List the models", Models, Models([subject.card.model])),
        _page("statistics", "/v2/models/stats", "Count what was answered", Statistics, _counts(subject)),
    )  # fmt: skip


def _models(subject: Subject) -> tuple[Operation, ...]:
    card = subject.card
    pages: Mapping[str, tuple[str, str, Schema, object, tuple[type[errors.IrisError], ...]]] = {
        "": (
            "Metadata", "Describe {}", ModelMetadata, model_metadata(card, [card.version]), (errors.ModelNotReady,),
        ),
        "/ready": (
            "Ready", "Is {} ready?", ModelReady, ModelReady(card.model),
            (errors.ModelNotReady, errors.QueueUnavailable),
        ),
        "/config": (
            "Config", "Triton's configuration of {}", ModelConfig, model_config(card, subject.limits.max_rows),
            (errors.ModelNotReady,),
        ),
        "/stats": ("Stats", "Count what {} has answered", Statistics, _counts(subject), ()),
    }  # fmt: skip
    found = []
    for end, (name, title, kind, value, kinds) in pages.items():
        refusals = (*refused(errors.UnknownModel, *kinds), NO_PAGE)
        for scope, path, parameters in (("model", MODEL, ("Model",)), ("version", VERSION, ("Model", "Version"))):
            words = title.format("a model" if scope == "model" else "one version")
            found.append(_page(f"{scope}{name}", path + end, words, kind, value, refusals, parameters=parameters))
    return tuple(found)


def _repository(subject: Subject) -> tuple[Operation, ...]:
    entry = index_entry(Target(subject.card.model, subject.card.version), "")
    listed = {JSON: Content(list[IndexEntry], {"index": example([entry])})}
    asked = {JSON: Content(IndexRequest, {"ready": example(IndexRequest(ready=True), "Only what is ready")})}
    kinds = refused(errors.MalformedBody, errors.InvalidTensors, errors.BodyTooLarge)
    refusals = (*refused(errors.NotLoadedHere), NO_PAGE)
    says = "Always refused: a worker brings its model, and an IrisModel its workers."
    return (
        Operation(
            "index", "post", f"{catalogue.REPOSITORY}/index", TAG, "List every version", "",
            (Answer(200, "Every version of every model that takes jobs.", listed),), kinds,
            body=Body("Which to list; all without a body.", asked, required=False),
        ),
        *(
            Operation(
                verb, "post", f"{catalogue.REPOSITORY}/models/{{model}}/{verb}", TAG, f"{verb.title()} a model", says,
                (), refusals, ("Model",),
            )
            for verb in ("load", "unload")
        ),
    )  # fmt: skip


def _page(
    id_: str,
    path: str,
    title: str,
    kind: Schema,
    value: object,
    refusals: tuple[Refusal, ...] = (),
    says: str = "",
    parameters: tuple[str, ...] = (),
) -> Operation:
    answer = Answer(200, "As it is now.", {JSON: Content(kind, {"answer": example(value)})})
    return Operation(id_, "get", path, TAG, title, says, (answer,), refusals, parameters)


def _counts(subject: Subject) -> Statistics:
    return Statistics([statistics(Target(subject.card.model, subject.card.version), QueueReading())])
