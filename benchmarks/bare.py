"""What Starlette itself can do: reads the JSON of an inference request and answers a constant. `python bare.py PORT`

The same uvicorn as ours with the same loop and parser, and no more: no checks, ids, limits, log, metrics or queue.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ANSWER = {
    "model_name": "iris",
    "model_version": "1",
    "id": "0" * 32,
    "outputs": [
        {"name": "predict", "shape": [1], "datatype": "INT64", "data": [0]},
        {"name": "predict_proba", "shape": [1, 3], "datatype": "FP64", "data": [1.0, 0.0, 0.0]},
        {"name": "label", "shape": [1], "datatype": "BYTES", "data": ["setosa"]},
    ],
}


async def infer(request: Request) -> JSONResponse:
    await request.json()
    return JSONResponse(ANSWER)


if __name__ == "__main__":
    app = Starlette(routes=[Route("/v2/models/{model}/infer", infer, methods=["POST"])])
    options = {"loop": "uvloop", "http": "httptools", "access_log": False, "log_level": "warning"}
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), **options)  # type: ignore[arg-type]
