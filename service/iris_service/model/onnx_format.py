"""ONNX artifacts: ONNX Runtime on one thread, from verified bytes alone. Imports no scikit-learn."""

from __future__ import annotations

import os
import re
from typing import Any

from iris_service.errors import ModelRejected
from iris_service.model.card import PROBABILITIES, Card
from iris_service.model.scoring import Matrix, Scorer

# Weights kept outside the file are covered by no digest, and ONNX Runtime reads them from the working directory or,
# by a special name, from the memory of the process. Each is announced by a protobuf string "location", whose length
# comes right before it: 8, plainly or in one of the longer spellings that protobuf allows.
_EXTERNAL_DATA = re.compile(rb"(?:\x08|\x88\x80*\x00)location")


def import_onnxruntime() -> Any:
    """Import ONNX Runtime, which keeps a device id and prepares reports to its maker unless told before not to."""
    os.putenv("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def load_onnx(data: bytes, card: Card) -> Scorer:
    """Make a scorer from an ONNX file; raises `ModelRejected` unless its inputs and outputs are those of the card."""
    if _EXTERNAL_DATA.search(data):
        raise ModelRejected("the ONNX artifact keeps data outside its file, which no digest covers")
    onnxruntime = import_onnxruntime()
    try:
        session = onnxruntime.InferenceSession(data, _options(onnxruntime), providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime's errors share no other base
        raise ModelRejected("the ONNX artifact is not an ONNX model, or a damaged one") from exc
    input_name = _checked_input(session.get_inputs(), len(card.signature.features))
    _check_outputs(session.get_outputs(), len(card.signature.classes))
    outputs = [PROBABILITIES]

    def score(rows: Matrix) -> Matrix:
        scores: Matrix = session.run(outputs, {input_name: rows})[0]
        return scores

    return score


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    # one small model a worker, one core a worker: more threads only cost, and workers are scaled instead
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is raised; the library would also print it
    options.add_session_config_entry("session.load_model_format", "ONNX")  # it would sniff its own format otherwise
    return options


def _checked_input(inputs: list[Any], features: int) -> str:
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
        raise ModelRejected("the ONNX artifact must take one table of 32-bit floats")
    rows, columns = inputs[0].shape
    if columns != features:
        raise ModelRejected(f"the ONNX artifact takes {columns} features, its card names {features}")
    if isinstance(rows, int):
        raise ModelRejected(f"the ONNX artifact takes exactly {rows} rows; it must take any number")
    return str(inputs[0].name)


def _check_outputs(outputs: list[Any], classes: int) -> None:
    for output in outputs:
        if output.name == PROBABILITIES and output.type == "tensor(float)" and len(output.shape) == 2:
            if output.shape[1] != classes:
                raise ModelRejected(f"the ONNX artifact answers {output.shape[1]} classes, its card names {classes}")
            return
    raise ModelRejected(f"the ONNX artifact must answer a table of 32-bit floats named {PROBABILITIES}")
