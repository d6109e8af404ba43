"""What an inference request may look like, and what its answer does: tables, without HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iris_service.api.v2.outputs import Choice, choices_of, render
from iris_service.api.v2.reading import read_request
from iris_service.api.v2.rows import flowers_of
from iris_service.api.v2.tensors import to_bytes
from iris_service.errors import InvalidInput, InvalidTensors, IrisError, MalformedBody, TooManyRows
from iris_service.schemas import Answered
from stub_model import StubModel

SIGNATURE = StubModel.signature
NAMES = SIGNATURE.feature_names
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]]
FLAT = [value for row in ROWS for value in row]
RAW = to_bytes("FP64", FLAT)


def table(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "input", "shape": [2, 4], "datatype": "FP64", "data": FLAT} | changes
    return {name: value for name, value in tensor.items() if value is not ...}


def column(name: str, **changes: Any) -> dict[str, Any]:
    at = NAMES.index(name)
    return {"name": name, "shape": [2], "datatype": "FP64", "data": [row[at] for row in ROWS]} | changes


def columns(**changes: Any) -> list[dict[str, Any]]:
    return [column(name, **changes) for name in reversed(NAMES)]


def body(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def rows_of(sent: bytes, json_length: bytes | None = None, max_rows: int = 2) -> list[list[float]]:
    flowers = flowers_of(read_request(sent, json_length, SIGNATURE), max_rows, SIGNATURE)
    assert flowers.many
    return [list(row) for row in flowers.rows]


@pytest.mark.parametrize(
    "inputs",
    [
        [table()],
        [table(data=ROWS)],
        [table(name="input-0", parameters={"content_type": "np"})],
        [table(parameters=None)],
        [table(datatype="FP32")],
        columns(),
        columns(shape=[2, 1]),
        [*columns()[:2], column("sepal_length", shape=[2, 1], data=[[5.1], [6.0]]), column("sepal_width")],
    ],
)
def test_every_way_to_send_the_same_rows_is_understood(inputs: list[Any]) -> None:
    assert rows_of(body(*inputs)) == ROWS


def test_fields_without_a_meaning_here_are_ignored() -> None:
    sent = body(table(), id=None, outputs=None, parameters={"content_type": "pd", "priority": 3}, model_name="iris")
    assert rows_of(sent) == ROWS


def test_integers_are_as_good_as_floats() -> None:
    assert rows_of(body(table(datatype="UINT8", shape=[1, 4], data=[5, 3, 1, 0]))) == [[5.0, 3.0, 1.0, 0.0]]


def sized(size: Any, **changes: Any) -> dict[str, Any]:
    return table(data=..., parameters={"binary_data_size": size}, **changes)


def with_bytes(*inputs: Any, tail: bytes) -> tuple[bytes, bytes]:
    head = body(*inputs)
    return head + tail, str(len(head)).encode()


def test_bytes_follow_the_json_in_the_order_of_the_inputs() -> None:
    mixed = [
        column("petal_width", data=None, parameters={"binary_data_size": 16}),
        column("petal_length"),
        column("sepal_width", datatype="INT64", data=None, parameters={"binary_data_size": 16}),
        column("sepal_length"),
    ]
    tail = to_bytes("FP64", [0.2, 2.0]) + to_bytes("INT64", [3, 3])
    assert rows_of(*with_bytes(*mixed, tail=tail)) == [[5.1, 3.0, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]]
    assert rows_of(*with_bytes(sized(64), tail=RAW)) == ROWS


def test_a_request_may_be_nothing_but_the_bytes_of_one_row() -> None:
    assert rows_of(RAW[:32], b"0") == ROWS[:1]
    asked = read_request(RAW[:32], b"0", SIGNATURE)
    assert all(choice.binary for choice in choices_of(asked.request))
    for wrong in (b"", RAW[:31], RAW[:33], RAW):
        with pytest.raises(InvalidTensors, match="takes 32 bytes"):
            rows_of(wrong, b"0")


@pytest.mark.parametrize(
    "length", ["", " ", "x", "-1", "+5", "1.0", "0x10", "5000", "9" * 30, "٣", "1_0"]
)  # fmt: skip
def test_a_length_of_the_json_that_cannot_be_is_refused(length: str) -> None:
    with pytest.raises(InvalidTensors, match="Inference-Header-Content-Length"):
        rows_of(body(table()), length.encode())


def test_a_length_that_cuts_the_json_leaves_none() -> None:
    with pytest.raises(MalformedBody):
        rows_of(body(table()), b"10")


@pytest.mark.parametrize(
    ("tensor", "tail"),
    [
        (sized(64), RAW[:-1]),
        (sized(64), RAW + b"x"),
        (sized(63), RAW[:-1]),
        (sized(56), RAW),
        (sized(-64), RAW),
        (sized(64.0), RAW),
        (sized("64"), RAW),
        (sized(True), RAW),
        (sized(1 << 62), RAW),
        (table(), RAW),
        (table(parameters={"binary_data_size": 64}), RAW),
        (sized(64, datatype="FP32"), RAW),
        (sized(64, shape=[2, 5]), RAW),
        (sized(64, datatype="BYTES"), RAW),
    ],
)
def test_sizes_that_do_not_add_up_are_refused(tensor: Any, tail: bytes) -> None:
    with pytest.raises(InvalidTensors):
        rows_of(*with_bytes(tensor, tail=tail))


def test_bytes_are_not_looked_for_without_the_header() -> None:
    with pytest.raises(InvalidTensors, match="0 bytes follow"):
        rows_of(body(sized(64)))


@pytest.mark.parametrize(
    "sent",
    [
        [], "x", 5, None, {}, {"inputs": None}, {"inputs": []}, {"inputs": {}}, {"inputs": [1]}, {"inputs": [[]]},
        {"inputs": [table(name=...)]}, {"inputs": [table(name=1)]}, {"inputs": [table(name="")]},
        {"inputs": [table(shape=...)]}, {"inputs": [table(shape=8)]}, {"inputs": [table(shape=[])]},
        {"inputs": [table(shape=[2.0, 4])]}, {"inputs": [table(shape=["2", 4])]}, {"inputs": [table(shape=[-1, 4])]},
        {"inputs": [table(shape=[True, 4])]}, {"inputs": [table(shape=[1 << 40, 4])]},
        {"inputs": [table(shape=[1] * 9)]},
        {"inputs": [table(datatype=...)]}, {"inputs": [table(datatype="FP8")]}, {"inputs": [table(datatype="BF16")]},
        {"inputs": [table(datatype=64)]},
        {"inputs": [table(data=...)]}, {"inputs": [table(data=None)]}, {"inputs": [table(data={})]},
        {"inputs": [table(data="5.1")]},
        {"inputs": [table(parameters=[])]}, {"inputs": [table(parameters={"a": {}})]},
        {"inputs": [table(parameters={"a": None})]},
        {"inputs": [table()], "id": 7}, {"inputs": [table()], "id": "x" * 257}, {"inputs": [table()], "id": "\ud800"},
        {"inputs": [table()], "parameters": 1}, {"inputs": [table()], "outputs": {}},
        {"inputs": [table()], "outputs": [{}]}, {"inputs": [table()], "outputs": ["label"]},
        {"inputs": [table()] * 257},
        {"inputs": [table(datatype="\ud800")]}, {"inputs": [table(name="\ud800", shape=[1, 5])]},
    ],
)  # fmt: skip
def test_what_is_no_inference_request_is_refused(sent: Any) -> None:
    with pytest.raises(InvalidTensors) as refused:
        rows_of(json.dumps(sent).encode())
    str(refused.value).encode()  # it can be repeated to the caller


@pytest.mark.parametrize("id_", ["", "x" * 256, "Blüte\n\0"])
def test_an_id_may_be_any_text_of_256_characters(id_: str) -> None:
    assert read_request(body(table(), id=id_), None, SIGNATURE).request.id == id_


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([table(shape=[8])], "shape"),
        ([table(shape=[4, 2])], "shape"),
        ([table(shape=[1, 2, 4])], "shape"),
        ([table(shape=[2, 5], data=[1] * 10)], "shape"),
        ([table(shape=[0, 4], data=[])], "no rows"),
        ([table(data=FLAT[:-1])], "as many values"),
        ([table(datatype="INT64")], "not INT64"),
        ([table(datatype="BOOL")], "no numeric"),
        ([table(datatype="BYTES", data=["5.1"] * 8)], "no numeric"),
        ([table(datatype="FP16")], "binary"),
        ([table(parameters={"shared_memory_region": "x"})], "not supported"),
        ([table(), table()], "not a feature"),
        ([table(name="sepal_length")], "shape"),
        (columns()[:-1], "sepal_length is missing"),
        ([*columns(), column("petal_width")], "more than once"),
        ([*columns(), column("petal_width") | {"name": "colour"}], "colour is not a feature"),
        ([*columns()[:-1], column("sepal_length", shape=[1], data=[1.0])], "different numbers of rows"),
        (columns(shape=[1, 2]), "shape"),
        (columns(shape=[2, 1, 1]), "shape"),
    ],
)
def test_tensors_that_do_not_fit_the_model_are_refused(inputs: list[Any], words: str) -> None:
    with pytest.raises(InvalidTensors, match=words):
        rows_of(body(*inputs))


@pytest.mark.parametrize("value", [-1, 31, 10**400])
def test_a_value_out_of_range_is_named_with_its_row(value: int) -> None:
    with pytest.raises(InvalidInput, match=r"^row 1: petal_width must be a number from 0 to 30 cm") as refused:
        rows_of(body(table(data=[*FLAT[:-1], value])))
    assert (refused.value.field, refused.value.row) == ("petal_width", 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_bytes_that_are_no_finite_number_are_out_of_range(value: float) -> None:
    with pytest.raises(InvalidInput, match="petal_width"):
        rows_of(*with_bytes(sized(64), tail=to_bytes("FP64", [*FLAT[:-1], value])))


def test_the_limit_of_rows_is_exact_and_comes_before_the_values() -> None:
    assert len(rows_of(body(table()), max_rows=2)) == 2
    for inputs in ([table()], columns(), [table(data=[])], [table(shape=[1 << 30, 4])]):
        with pytest.raises(TooManyRows):
            rows_of(body(*inputs), max_rows=1)


def outputs(*chosen: Any, **parameters: Any) -> Any:
    sent = body(table(), parameters=parameters, **({"outputs": list(chosen)} if chosen else {}))
    return read_request(sent, None, SIGNATURE).request


ALL = ("predict", "predict_proba", "label")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (outputs(), [Choice(name) for name in ALL]),
        (outputs(binary_data_output=True), [Choice(name, True) for name in ALL]),
        (outputs({"name": "label"}, {"name": "predict"}), [Choice("label"), Choice("predict")]),
        (outputs({"name": "label"}, binary_data_output=True), [Choice("label", True)]),
        (
            outputs(
                {"name": "label", "parameters": {"binary_data": False}}, {"name": "predict"}, binary_data_output=True
            ),
            [Choice("label", False), Choice("predict", True)],
        ),
        (outputs({"name": "predict", "parameters": {"binary_data": True}}), [Choice("predict", True)]),
    ],
)
def test_the_request_chooses_the_outputs_and_their_form(request_: Any, expected: list[Choice]) -> None:
    assert list(choices_of(request_)) == expected


@pytest.mark.parametrize(
    "request_",
    [
        outputs({"name": "species"}),
        outputs({"name": "label"}, {"name": "label"}),
        outputs({"name": "label", "parameters": {"binary_data": 1}}),
        outputs({"name": "label", "parameters": {"classification": 3}}),
        outputs({"name": "label", "parameters": {"shared_memory_region": "x"}}),
        outputs(binary_data_output="yes"),
    ],
)
def test_outputs_that_there_are_not_are_refused(request_: Any) -> None:
    with pytest.raises(InvalidTensors):
        choices_of(request_)


ANSWER = Answered("iris", "2", "sha256:0", 1.0, 2.0, 3.0, ((0.1, 0.2, 0.7), (0.5, 0.5, 0.0)), many=True)


def test_an_answer_holds_the_chosen_tensors_in_order() -> None:
    text, json_length = render(ANSWER, SIGNATURE.classes, [Choice(name) for name in ALL], "mine")
    assert json_length is None
    assert json.loads(text) == {
        "model_name": "iris",
        "model_version": "2",
        "id": "mine",
        "outputs": [
            {"name": "predict", "shape": [2], "datatype": "INT64", "data": [2, 0]},
            {"name": "predict_proba", "shape": [2, 3], "datatype": "FP64", "data": [0.1, 0.2, 0.7, 0.5, 0.5, 0.0]},
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["virginica", "setosa"]},
        ],
    }


def test_bytes_of_an_answer_follow_its_json_in_order() -> None:
    choices = [Choice("label", True), Choice("predict_proba"), Choice("predict", True)]
    sent, json_length = render(ANSWER, SIGNATURE.classes, choices, "mine")
    assert json_length is not None
    label, shares, predict = json.loads(sent[:json_length])["outputs"]
    assert label == {"name": "label", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 23}}
    assert shares["data"] == [0.1, 0.2, 0.7, 0.5, 0.5, 0.0]
    assert predict["parameters"] == {"binary_data_size": 16}
    tail = to_bytes("BYTES", ["virginica", "setosa"]) + to_bytes("INT64", [2, 0])
    assert sent[json_length:] == tail


def test_every_refusal_is_one_of_ours() -> None:
    for sent in (b"", b"{", b"\xff", b"[" * 100_000, b'{"inputs":NaN}', b'{"inputs":[],"inputs":[]}'):
        with pytest.raises(IrisError):
            rows_of(sent)
