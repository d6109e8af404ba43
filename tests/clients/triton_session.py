"""A session with tritonclient as it comes: `python triton_session.py HOST:PORT` prints what it saw as JSON.

Runs in .venv-clients, so it knows nothing of this project.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])


def table(datatype: str, rows: np.ndarray, *, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("input", list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return tensor


def answers(result: triton.InferResult) -> dict[str, Any]:
    texts = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("label")]
    return {
        "predict": result.as_numpy("predict").tolist(),
        "predict_proba": result.as_numpy("predict_proba").round(6).tolist(),
        "label": texts,
    }


def refusal(ask: Any) -> list[str | None]:
    try:
        ask()
    except InferenceServerException as exc:
        return [exc.status(), exc.message()]
    raise AssertionError("this should have been refused")


def session(client: triton.InferenceServerClient) -> dict[str, Any]:
    by_default = [table("FP64", ROWS)]
    defaults = client.infer("iris", by_default, request_id="mine")
    columns = [triton.InferInput(name, [2], "FP32") for name in ("petal_width", "petal_length", "sepal_width")]
    columns.append(triton.InferInput("sepal_length", [2, 1], "FP32"))
    for tensor, at in zip(columns, (3, 2, 1, 0), strict=True):
        tensor.set_data_from_numpy(ROWS[:, at].reshape(tensor.shape()).astype(np.float32))
    chosen = [triton.InferRequestedOutput("label"), triton.InferRequestedOutput("predict", binary_data=False)]
    picked = client.infer("iris", by_default, outputs=chosen)
    wide = table("FP64", np.ones((1, 5)))
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready("iris"), client.is_model_ready("iris", "1")],
        "other_ready": [client.is_model_ready("rose"), client.is_model_ready("iris", "9")],
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata("iris", "1"),
        "config": client.get_model_config("iris"),
        "index": client.get_model_repository_index(),
        "defaults": answers(defaults),
        "id": defaults.get_response()["id"],
        "binary": all("binary_data_size" in output["parameters"] for output in defaults.get_response()["outputs"]),
        "json": answers(client.infer("iris", [table("FP64", ROWS, binary=False)])),
        "FP32": answers(client.infer("iris", [table("FP32", ROWS.astype(np.float32))], model_version="1")),
        "FP16": answers(client.infer("iris", [table("FP16", ROWS.astype(np.float16))])),
        "INT64": answers(client.infer("iris", [table("INT64", ROWS.round().astype(np.int64))])),
        "columns": answers(client.infer("iris", columns)),
        "picked": [output["name"] for output in picked.get_response()["outputs"]],
        "gzip": answers(client.infer("iris", by_default, request_compression_algorithm="gzip")),
        "deflate": answers(
            client.infer(
                "iris", by_default, request_compression_algorithm="deflate", response_compression_algorithm="gzip"
            )
        ),
        "async": [answers(client.async_infer("iris", by_default).get_result()) for _ in range(3)],
        "statistics": client.get_inference_statistics("iris"),
        "all_statistics": client.get_inference_statistics(),
        "wide": refusal(lambda: client.infer("iris", [wide])),
        "unknown": refusal(lambda: client.infer("rose", by_default)),
        "version": refusal(lambda: client.infer("iris", by_default, model_version="9")),
        "load": refusal(lambda: client.load_model("iris")),
        "unload": refusal(lambda: client.unload_model("iris")),
        "logging": refusal(client.get_log_settings),
    }


if __name__ == "__main__":
    client = triton.InferenceServerClient(sys.argv[1], concurrency=2)
    print(json.dumps(session(client)))
    client.close()
