"""Failures of the operator, named by what to do next."""

from __future__ import annotations


class OperatorError(Exception):
    """An expected failure; the message is one sentence for a person."""


class NotYet(OperatorError):
    """Something is not there or not reachable now: try again soon."""


class NoCard(NotYet):
    """No worker has published a version's card yet."""


class Refused(OperatorError):
    """The API server will not have what follows from a spec, however often it is asked: say so and wait for an edit."""


class InvalidSpec(OperatorError):
    """The IrisModel cannot be honoured: say so in its status and wait for the next edit."""
