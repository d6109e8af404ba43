"""What Starlette itself can do: reads the JSON of an inference request and answers a constant. `python bare.py PORT`

With an ONNX file as well it asks the model, one request a call, and answers what that says. The same uvicorn as ours
with the same loop and parser, and no more: no checks, ids, limits, log, metrics or queue.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

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


LABELS = ("setosa", "versicolor", "virginica")
Page = Callable[[Request], Awaitable[JSONResponse]]


async def constant(request: Request) -> JSONResponse:
    await request.json()
    return JSONResponse(ANSWER)


def asking(model: bytes) -> Page:
    """A page that answers a flower by the model, in the event loop."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    name = session.get_inputs()[0].name

    async def infer(request: Request) -> JSONResponse:
        tensor = (await request.json())["inputs"][0]
        rows = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        [shares] = session.run(["probabilities"], {name: rows})
        best = shares.argmax(axis=1).tolist()
        outputs = [
            {"name": "predict", "shape": [len(best)], "datatype": "INT64", "data": best},
            {"name": "predict_proba", "shape": list(shares.shape), "datatype": "FP64", "data": shares.ravel().tolist()},
            {"name": "label", "shape": [len(best)], "datatype": "BYTES", "data": [LABELS[number] for number in best]},
        ]
        return JSONResponse({**ANSWER, "outputs": outputs})

    return infer


if __name__ == "__main__":
    page = asking(Path(sys.argv[2]).read_bytes()) if len(sys.argv) > 2 else constant
    app = Starlette(routes=[Route("/v2/models/{model}/infer", page, methods=["POST"])])
    options = {"loop": "uvloop", "http": "httptools", "access_log": False, "log_level": "warning"}
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), **options)  # type: ignore[arg-type]
