"""A session with KServe's client: `python kserve_session.py http://HOST:PORT` prints what it saw as JSON.

Runs in .venv-clients, so it knows nothing of this project.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]


def asked(**more: Any) -> InferRequest:
    return InferRequest("iris", [InferInput("input-0", [2, 4], "FP32", ROWS)], **more)


def in_bytes() -> InferRequest:
    tensor = InferInput("input-0", [2, 4], "FP16")
    tensor.set_data_from_numpy(np.array(ROWS, np.float16), binary_data=True)
    return InferRequest("iris", [tensor], parameters={"binary_data_output": True})


def as_frame() -> InferRequest:
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    columns = [
        InferInput(name, [2], "FP64", [row[at] for row in ROWS], {"content_type": "np"})
        for at, name in enumerate(names)
    ]
    return InferRequest("iris", columns, parameters={"content_type": "pd"})


def shown(outputs: list[InferOutput]) -> dict[str, Any]:
    return {output.name: np.round(output.as_numpy(), 6).tolist() if output.datatype != "BYTES" else
            [text.decode() if isinstance(text, bytes) else text for text in output.as_numpy().tolist()]
            for output in outputs}  # fmt: skip


async def refusal(ask: Any) -> str:
    try:
        await ask
    except httpx.HTTPStatusError as exc:
        return str(exc)
    raise AssertionError("this should have been refused")


async def session(url: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
    try:
        plain = await client.infer(url, asked(request_id="mine"), model_name="iris")
        picked = await client.infer(url, asked(request_outputs=[RequestedOutput("label")]), model_name="iris")
        narrow = InferRequest("iris", [InferInput("input-0", [1, 3], "FP32", [[1.0, 2.0, 3.0]])])
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": await client.is_model_ready(url, "iris"),
            "id": plain.id,
            "plain": shown(plain.outputs),
            "first": plain.outputs[0].data,
            "binary": shown((await client.infer(url, in_bytes(), model_name="iris")).outputs),
            "frame": shown((await client.infer(url, as_frame(), model_name="iris")).outputs),
            "picked": shown(picked.outputs),
            "narrow": await refusal(client.infer(url, narrow, model_name="iris")),
            "unknown": await refusal(client.infer(url, asked(), model_name="rose")),
            "unknown_ready": await client.is_model_ready(url, "rose"),
        }
    finally:
        await client.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(session(sys.argv[1]))))
