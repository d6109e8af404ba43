"""A hook of schemathesis: where it would send any text as a file of flowers, it sends a file of flowers."""

from __future__ import annotations

import random
from typing import Any

import schemathesis

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Replace a text; what stands for a flower in JSON is an object."""
    if context.operation.definition.raw.get("operationId") != "submit" or not isinstance(body, str):
        return body
    chance = random.Random(body)
    columns = chance.sample([*FEATURES, "species"], 5)
    rows = [[repr(chance.uniform(0, 30)) for _ in columns] for _ in range(chance.randint(1, 5))]
    end = chance.choice(["\n", "\r\n"])
    return "".join(",".join(line) + end for line in [columns, *rows])
