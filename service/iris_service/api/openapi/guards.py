"""Who may ask, as `access` decides it by the settings, and what is refused before any page is asked."""

from __future__ import annotations

from typing import Any

from iris_service import errors
from iris_service.api import access
from iris_service.api.openapi.parts import Operation, Subject
from iris_service.api.openapi.refused import FAULT, below_pages, refused


def guarded(operation: Operation, subject: Subject) -> Operation:
    """Return an operation that may also be refused as any request may."""
    is_free = access.is_free(operation.path)
    kinds: tuple[type[errors.IrisError], ...] = () if is_free else (errors.TooManyRequests,)
    if schemes(subject) and not is_free:
        kinds += (errors.Unauthenticated,)
        if subject.access.mode == "tokenreview":
            kinds += (errors.AuthenticationUnavailable,)
    more = (*refused(*kinds), *below_pages(subject.limits), FAULT)
    return operation._replace(refusals=(*operation.refusals, *more))


def schemes(subject: Subject) -> dict[str, Any]:
    """Return the ways to show who one is, none where nobody is asked: `IRIS_AUTH`."""
    if subject.access.mode == "none":
        return {}
    bearer = {"type": "http", "scheme": "bearer", "description": "An API key is asked for."}
    if subject.access.mode == "tokenreview":
        says = f"A Kubernetes ServiceAccount's token for the audience `{subject.access.audience}` is asked for."
        bearer |= {"bearerFormat": "JWT", "description": says}
    header = {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same, in another header."}
    return {"bearer": bearer, "header": header}
