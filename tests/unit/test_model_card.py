"""The card: what is read back, and everything that is not a card."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_service.errors import ModelRejected
from iris_service.model.card import MAX_ARTIFACT_BYTES, MAX_CARD_BYTES, Card, card_from_json, card_to_json
from versions import COMMITTED, committed_card

Edit = Callable[[dict[str, Any]], object]


def edited(edit: Edit) -> bytes:
    document = json.loads(card_to_json(committed_card()))
    edit(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_committed_card_is_read_and_written_back_to_the_same_bytes(version: str) -> None:
    data = (COMMITTED / "iris" / version / "card.json").read_bytes()
    assert card_to_json(card_from_json(data)) == data


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_golden_rows_of_a_committed_card_cover_every_class_and_the_borders(version: str) -> None:
    card = committed_card(version)
    answered = {max(range(3), key=gold.probabilities.__getitem__) for gold in card.golden}
    assert answered == {0, 1, 2}
    assert {(0.0,) * 4, (30.0,) * 4} <= set(card.golden_rows)
    assert min(max(gold.probabilities) for gold in card.golden) < 0.7


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda card: card.update(extra=1), "unknown field"),
        (lambda card: card["signature"].update(extra=1), "unknown field"),
        (lambda card: card["signature"]["features"][0].update(extra=1), "unknown field"),
        (lambda card: card["artifacts"]["onnx"].update(url="x"), "unknown field"),
        (lambda card: card.pop("golden"), "missing required field"),
        (lambda card: card.update(golden=[]), "length >= 1"),
        (lambda card: card.update(artifacts={}), "length >= 1"),
        (lambda card: card["artifacts"].update(exe=card["artifacts"]["onnx"]), "Invalid enum value 'exe'"),
        (lambda card: card.update(model="Iris"), "matching regex"),
        (lambda card: card.update(model=".."), "matching regex"),
        (lambda card: card.update(version="1\n"), "matching regex"),
        (lambda card: card.update(version="../1"), "matching regex"),
        (lambda card: card["artifacts"]["onnx"].update(file="../model.onnx"), "matching regex"),
        (lambda card: card["artifacts"]["onnx"].update(file="card.json"), "one names the card"),
        (lambda card: card["artifacts"]["onnx"].update(file="model.skops"), "two formats name the same file"),
        (lambda card: card["artifacts"]["onnx"].update(digest="sha256:" + "A" * 64), "matching regex"),
        (lambda card: card["artifacts"]["onnx"].update(digest="md5:" + "a" * 32), "matching regex"),
        (lambda card: card["artifacts"]["onnx"].update(size=0), ">= 1"),
        (lambda card: card["artifacts"]["onnx"].update(size=MAX_ARTIFACT_BYTES + 1), "<= 67108864"),
        (lambda card: card["artifacts"]["onnx"].update(size="79993"), "Expected `int`"),
        (lambda card: card["signature"]["features"][0].update(minimum=30.0), "is empty"),
        (lambda card: card["signature"]["features"][0].update(unit="c\nm"), "printable"),
        (lambda card: card["signature"]["features"][0].update(name="<b>"), "matching regex"),
        (lambda card: card["signature"]["features"].pop(), "different features"),
        (lambda card: card["signature"]["classes"].append("setosa"), "named twice"),
        (lambda card: card["signature"].update(classes=["setosa"]), "from 2 to 256"),
        (lambda card: card["signature"]["classes"].append("rosa"), "another number of classes"),
        (lambda card: card["training"]["class_shares"].pop(), "another number of classes"),
        (lambda card: card["training"]["features"][0]["deciles"].pop(), "length >= 9"),
        (lambda card: card["metrics"]["confusion"][0].pop(), "confusion matrix"),
        (lambda card: card["metrics"].update(accuracy=1.5), "<= 1"),
        (lambda card: card["golden"][0]["row"].pop(), "golden row"),
        (lambda card: card["golden"][0].update(row=[5, 3, 1, 31]), "petal_width must be a number from 0 to 30 cm"),
        (lambda card: card["golden"][0]["probabilities"].pop(), "golden row"),
        (lambda card: card["recipe"].update(reason="\x1b[2J"), "matching regex"),
        (lambda card: card["recipe"]["parameters"].update(n=[1]), "Expected"),
    ],
)
def test_a_card_with_a_fault_is_refused_and_the_fault_named(edit: Edit, reason: str) -> None:
    with pytest.raises(ModelRejected, match=f"the card cannot be used: .*{reason}"):
        card_from_json(edited(edit))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
@pytest.mark.parametrize("place", ['"maximum": 30.0', '"mean": 5.843333', '"accuracy": 0.888889'])
def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(place: str, number: str) -> None:
    text = card_to_json(committed_card()).decode()
    assert place in text
    with pytest.raises(ModelRejected):
        card_from_json(text.replace(place, place.split(":")[0] + ": " + number, 1).encode())


def test_a_key_given_twice_is_refused() -> None:
    data = card_to_json(committed_card()).replace(b"{", b'{"model": "other",', 1)
    with pytest.raises(ModelRejected, match="twice"):
        card_from_json(data)


def test_the_largest_artifact_that_a_card_may_name_is_the_limit_itself() -> None:
    card = card_from_json(edited(lambda card: card["artifacts"]["onnx"].update(size=MAX_ARTIFACT_BYTES)))
    assert card.artifact("onnx").size == MAX_ARTIFACT_BYTES


def test_a_card_may_have_as_many_bytes_as_the_limit_and_not_one_more() -> None:
    padded = card_to_json(committed_card()).ljust(MAX_CARD_BYTES)
    assert card_from_json(padded) == committed_card()
    with pytest.raises(ModelRejected, match=f"larger than {MAX_CARD_BYTES} bytes"):
        card_from_json(padded + b" ")


def test_a_format_that_was_not_published_is_named() -> None:
    with pytest.raises(ModelRejected, match="iris 1 has no joblib artifact"):
        committed_card().artifact("joblib")


@given(st.binary(max_size=200))
def test_bytes_that_are_no_card_are_refused_and_never_crash(data: bytes) -> None:
    with pytest.raises(ModelRejected):
        card_from_json(data)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)


@given(field=st.sampled_from(Card.__struct_fields__), value=JSON)
def test_a_field_of_another_kind_is_refused_and_never_crashes(field: str, value: object) -> None:
    try:
        card_from_json(edited(lambda card: card.update({field: value})))
    except ModelRejected:
        return
    assert field in ("model", "version")  # other names may be good ones


@given(at=st.integers(0, 5000), byte=st.integers(0, 255))
def test_a_card_with_one_damaged_byte_is_read_or_refused_and_never_crashes(at: int, byte: int) -> None:
    data = bytearray(card_to_json(committed_card()))
    data[at] = byte
    try:
        card_from_json(bytes(data))
    except ModelRejected:
        pass
