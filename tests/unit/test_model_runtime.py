"""Loading and predicting: every artifact that must be refused, as a real file, and what the committed ones answer."""

from __future__ import annotations

import io
import json
import os
import pickle
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
import skops.io
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from iris_service.config import ModelSettings
from iris_service.errors import InvalidInput, ModelRejected
from iris_service.model.card import GoldenRow
from iris_service.model.export import onnx_bytes, skops_bytes
from iris_service.model.runtime import Model, load_model
from iris_service.model.sklearn_format import MAX_MEMBERS, MAX_UNPACKED_BYTES
from iris_service.schemas import Row
from versions import COMMITTED, committed_card, publish

FLOATS = TensorProto.FLOAT


def committed(version: str = "1", artifact_format: str = "onnx") -> Model:
    return load_model(ModelSettings(COMMITTED, "iris", version, artifact_format))


def committed_bytes(artifact_format: str) -> bytes:
    return (COMMITTED / "iris" / "1" / f"model.{artifact_format}").read_bytes()


def small_forest(features: int = 4, classes: int = 3) -> RandomForestClassifier:
    rows, labels = load_iris(return_X_y=True)
    return RandomForestClassifier(5, random_state=0).fit(rows[labels < classes, :features], labels[labels < classes])


class Bomb:
    """Pickled, it creates a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("artifact_format", ["onnx", "skops"])
@pytest.mark.parametrize("version", ["1", "2"])
def test_a_committed_version_loads_and_says_who_it_is(version: str, artifact_format: str) -> None:
    model = committed(version, artifact_format)
    assert (model.name, model.version) == ("iris", version)
    assert model.digest == model.card.artifact(artifact_format).digest
    assert model.signature == model.card.signature


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_flowers_of_the_article_are_what_the_article_says(version: str) -> None:
    setosa, virginica = committed(version).predict([(5.1, 3.5, 1.4, 0.2), (6.7, 3.0, 5.2, 2.3)])
    assert [f"{share:.3f}" for share in setosa] == ["1.000", "0.000", "0.000"]
    assert [f"{share:.3f}" for share in virginica] == ["0.000", "0.000", "1.000"]


def test_version_1_gives_every_flower_of_the_data_its_own_species() -> None:
    rows, labels = load_iris(return_X_y=True)
    answers = committed().predict([tuple(row) for row in rows.tolist()])
    assert [answer.index(max(answer)) for answer in answers] == labels.tolist()


@pytest.mark.parametrize("version", ["1", "2"])
def test_onnx_answers_as_scikit_learn_over_the_data_and_the_grid(version: str) -> None:
    data = load_iris(return_X_y=True)[0]
    grid = np.random.default_rng(7).integers(0, 101, size=(10_000, 4)) / 10
    rows = [tuple(row) for row in np.concatenate([data, grid]).tolist()]
    served, reference = committed(version).predict(rows), committed(version, "skops").predict(rows)
    assert np.abs(np.array(served) - np.array(reference)).max() <= 1e-6
    assert [[f"{x:.3f}" for x in row] for row in served] == [[f"{x:.3f}" for x in row] for row in reference]


def test_a_row_gets_the_same_answer_alone_and_in_a_batch() -> None:
    model = committed("2")
    rows = [tuple(row) for row in load_iris(return_X_y=True)[0].tolist()]
    assert [model.predict([row])[0] for row in rows] == model.predict(rows)


def test_answers_are_plain_and_short() -> None:
    (answer,) = committed().predict([(4.9, 2.5, 4.5, 1.7)])
    assert all(type(share) is float for share in answer)
    assert len(json.dumps(answer)) <= len("[0.00, 0.00, 0.00]")


def test_no_rows_have_no_answers() -> None:
    assert committed().predict([]) == []


@pytest.mark.parametrize("rows", [[(1.0, 2.0, 3.0)], [(1.0,) * 5], [(1.0,) * 4, (1.0,) * 3], [()]])
def test_rows_of_another_length_are_refused(rows: list[tuple[float, ...]]) -> None:
    with pytest.raises(InvalidInput, match="each row must have 4 numbers"):
        committed().predict(rows)


def test_what_the_model_raises_passes_through_so_that_a_time_limit_does() -> None:
    def too_slow(rows: object) -> Any:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        Model(committed_card(), "sha256:" + "0" * 64, too_slow).predict([(1.0,) * 4])


def test_predicting_is_fast_enough_not_to_matter() -> None:
    model = committed()
    rows: list[Row] = [(5.1, 3.5, 1.4, 0.2)] * 256

    def median_seconds(batch: list[Row], times: int) -> float:
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            model.predict(batch)
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    assert median_seconds(rows[:1], 200) < 0.000_5  # 0.000_024 measured
    assert median_seconds(rows, 20) < 0.01  # 0.000_7 measured


def test_an_onnx_model_is_served_without_scikit_learn_and_pandas() -> None:
    script = (
        "import sys; from pathlib import Path; from iris_service.config import ModelSettings\n"
        "from iris_service.model.runtime import load_model\n"
        "load_model(ModelSettings(Path(sys.argv[1]))).predict([(5.1, 3.5, 1.4, 0.2)])\n"
        "print({'sklearn', 'scipy', 'pandas', 'skops', 'joblib', 'onnx', 'skl2onnx', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(COMMITTED)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("artifact_format", ["onnx", "skops"])
def test_a_pickle_under_the_name_of_a_safe_format_is_refused_and_not_run(tmp_path: Path, artifact_format: Any) -> None:
    settings = publish(tmp_path / "models", artifact_format, pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(ModelRejected, match=r"is not an? (ONNX model|skops file), or a damaged one"):
        load_model(settings)
    with pytest.raises(ModelRejected):  # the switch is for formats that say what they are
        load_model(replace(settings, allow_pickle=True))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("artifact_format", ["pickle", "joblib"])
def test_a_pickle_is_run_only_with_the_switch_and_the_right_digest(tmp_path: Path, artifact_format: Any) -> None:
    packed = io.BytesIO()
    joblib.dump(Bomb(tmp_path / "exploded"), packed)
    settings = publish(tmp_path / "models", artifact_format, packed.getvalue())
    allowed = replace(settings, allow_pickle=True)
    with pytest.raises(ModelRejected, match="set IRIS_ALLOW_PICKLE=1 to accept that"):
        load_model(settings)
    file = tmp_path / "models" / "iris" / "1" / f"model.{artifact_format}"
    file.write_bytes(packed.getvalue().replace(b"exploded", b"EXPLODED"))
    with pytest.raises(ModelRejected, match="has digest"):
        load_model(allowed)
    assert list(tmp_path.iterdir()) == [tmp_path / "models"]
    file.write_bytes(packed.getvalue())
    with pytest.raises(ModelRejected, match="holds a NoneType, which gives no probabilities"):
        load_model(allowed)
    assert (tmp_path / "exploded").exists(), "the bomb was never live"


@pytest.mark.parametrize("artifact_format", ["pickle", "joblib"])
def test_an_accepted_pickle_serves_like_any_other_format(tmp_path: Path, artifact_format: Any) -> None:
    forest = skops.io.loads(committed_bytes("skops"), trusted=["sklearn.tree._tree.Tree"])
    packed = io.BytesIO()
    joblib.dump(forest, packed)
    data = pickle.dumps(forest) if artifact_format == "pickle" else packed.getvalue()
    model = load_model(replace(publish(tmp_path, artifact_format, data), allow_pickle=True))
    assert model.predict([(4.9, 2.5, 4.5, 1.7)]) == committed().predict([(4.9, 2.5, 4.5, 1.7)])


@pytest.mark.parametrize("artifact_format", ["onnx", "skops", "pickle", "joblib"])
@pytest.mark.parametrize("data", [b"\0", b"ORTM" * 20, b"PK\x05\x06" + bytes(18), b"\x80\x04."], ids=repr)
def test_junk_is_refused_in_every_format(tmp_path: Path, artifact_format: Any, data: bytes) -> None:
    with pytest.raises(ModelRejected):
        load_model(replace(publish(tmp_path, artifact_format, data), allow_pickle=True))


@pytest.mark.parametrize("artifact_format", ["onnx", "skops"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_file_that_was_cut_before_it_was_published_is_refused(
    tmp_path: Path, artifact_format: Any, share: float
) -> None:
    data = committed_bytes(artifact_format)
    with pytest.raises(ModelRejected, match="or a damaged one"):
        load_model(publish(tmp_path, artifact_format, data[: int(len(data) * share)]))


@pytest.mark.parametrize("artifact_format", ["onnx", "skops"])
def test_a_file_that_was_cut_afterwards_is_refused_by_its_size(tmp_path: Path, artifact_format: Any) -> None:
    settings = publish(tmp_path, artifact_format, committed_bytes(artifact_format))
    os.truncate(tmp_path / "iris" / "1" / f"model.{artifact_format}", 1000)
    with pytest.raises(ModelRejected, match="has 1000 bytes, its card says"):
        load_model(settings)


@pytest.mark.parametrize("artifact_format", ["onnx", "skops"])
@pytest.mark.parametrize(
    ("forest", "reason"),
    [
        (lambda: small_forest(features=3), "takes 3 features, its card names 4"),
        (lambda: small_forest(classes=2), "answers 2 classes"),
        (small_forest, "answers .* for .*, unlike its card"),
    ],
    ids=["features", "classes", "answers"],
)
def test_another_model_than_the_card_describes_is_refused(
    tmp_path: Path, artifact_format: Any, forest: Callable[[], Any], reason: str
) -> None:
    estimator = forest()
    export = {"onnx": lambda: onnx_bytes(estimator, estimator.n_features_in_), "skops": lambda: skops_bytes(estimator)}
    with pytest.raises(ModelRejected, match=reason):
        load_model(publish(tmp_path, artifact_format, export[artifact_format]()))


def test_a_model_with_its_classes_in_another_order_is_refused(tmp_path: Path) -> None:
    rows, labels = load_iris(return_X_y=True)
    forest = RandomForestClassifier(5, random_state=0).fit(
        rows, np.array(["virginica", "setosa", "versicolor"])[labels]
    )
    forest.classes_ = forest.classes_[::-1]
    with pytest.raises(ModelRejected, match="not those of its card"):
        load_model(publish(tmp_path, "skops", skops_bytes(forest)))


def test_a_golden_row_that_answers_otherwise_stops_the_load(tmp_path: Path) -> None:
    golden = (GoldenRow((5.1, 3.5, 1.4, 0.2), (0.99, 0.01, 0.0)),)
    with pytest.raises(ModelRejected, match="unlike its card"):
        load_model(publish(tmp_path, "onnx", committed_bytes("onnx"), golden=golden))


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Sequence[Any] = ()) -> bytes:
    made = helper.make_graph(nodes, "crafted", inputs, outputs, weights)
    data: bytes = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return data


ROWS = helper.make_tensor_value_info("features", FLOATS, [None, 4])
SHARES = helper.make_tensor_value_info("probabilities", FLOATS, [None, 3])


def weights(name: str = "W") -> Any:
    return helper.make_tensor(name, FLOATS, [4, 3], [0.0] * 12)


def external_weights() -> Any:
    """Weights that ONNX Runtime would read from the working directory, and does when nobody stops it."""
    tensor = weights()
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "48")):
        tensor.external_data.add(key=key, value=value)
    return tensor


PRODUCT = [helper.make_node("MatMul", ["features", "W"], ["z"]), helper.make_node("Softmax", ["z"], ["probabilities"])]


@pytest.mark.parametrize("place", ["initializer", "constant"])
def test_onnx_data_outside_the_file_is_refused_although_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(48))
    monkeypatch.chdir(tmp_path)
    if place == "initializer":
        data = graph(PRODUCT, [ROWS], [SHARES], [external_weights()])
    else:
        data = graph([helper.make_node("Constant", [], ["W"], value=external_weights()), *PRODUCT], [ROWS], [SHARES])
    with pytest.raises(ModelRejected, match="keeps data outside its file"):
        load_model(publish(tmp_path / "models", "onnx", data))


def test_a_longer_spelling_of_the_same_protobuf_does_not_get_external_data_through(tmp_path: Path) -> None:
    for length in (b"\x88\x00", b"\x88\x80\x00", b"\x88" + b"\x80" * 8 + b"\x00"):
        data = graph(PRODUCT, [ROWS], [SHARES], [external_weights()])
        data = data.replace(b"\x08location", length + b"location")
        with pytest.raises(ModelRejected, match="keeps data outside its file"):
            load_model(publish(tmp_path / length.hex(), "onnx", data))


def test_a_word_that_merely_contains_location_is_no_external_data(tmp_path: Path) -> None:
    constant = helper.make_node("Softmax", ["z"], ["probabilities"], name="allocation of locations")
    with pytest.raises(ModelRejected, match="unlike its card"):  # so it was loaded
        load_model(publish(tmp_path, "onnx", graph([PRODUCT[0], constant], [ROWS], [SHARES], [weights()])))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            graph(PRODUCT, [helper.make_tensor_value_info("features", FLOATS, [1, 4])], [SHARES], [weights()]),
            "exactly 1",
        ),
        (graph(PRODUCT, [ROWS, helper.make_tensor_value_info("W", FLOATS, [4, 3])], [SHARES]), "one table"),
        (
            graph(
                [helper.make_node("Cast", ["x"], ["features"], to=FLOATS), *PRODUCT],
                [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 4])],
                [SHARES],
                [weights()],
            ),
            "one table of 32-bit floats",
        ),
        (
            graph(
                [helper.make_node("MatMul", ["features", "W"], ["scores"])],
                [ROWS],
                [helper.make_tensor_value_info("scores", FLOATS, [None, 3])],
                [weights()],
            ),
            "named probabilities",
        ),
        (
            graph([helper.make_node("MatMul", ["features", "W"], ["probabilities"])], [ROWS], [SHARES], [weights()]),
            "cannot answer its golden rows: .* not a probability",
        ),
        (
            graph(
                [
                    helper.make_node("MatMul", ["features", "W"], ["z"]),
                    helper.make_node("Div", ["z", "z"], ["probabilities"]),
                ],
                [ROWS],
                [SHARES],
                [weights()],
            ),
            "cannot answer its golden rows: .* not a probability",
        ),
        (
            graph(
                [*PRODUCT[:1], helper.make_node("Reshape", ["z", "shape"], ["probabilities"])],
                [ROWS],
                [SHARES],
                [weights(), helper.make_tensor("shape", TensorProto.INT64, [2], [7, 3])],
            ),
            "raised .* on its golden rows",
        ),
    ],
    ids=["fixed rows", "two inputs", "64 bits", "no probabilities", "sums to 0", "NaN", "raises"],
)
def test_an_onnx_model_of_another_shape_or_answer_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    onnx.checker.check_model(onnx.load_from_string(data))
    with pytest.raises(ModelRejected, match=reason):
        load_model(publish(tmp_path, "onnx", data))


def test_a_skops_file_with_a_function_that_is_not_trusted_is_refused_and_not_run(tmp_path: Path) -> None:
    trap = make_pipeline(FunctionTransformer(os.mkdir), small_forest())
    with pytest.raises(ModelRejected, match=r"needs types that are not trusted: .*mkdir"):
        load_model(publish(tmp_path, "skops", skops.io.dumps(trap)))


def test_a_skops_file_does_not_even_import_the_module_of_an_untrusted_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trapdoor.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    schema = json.loads(skops_members()["schema.json"])
    schema.update(__module__="trapdoor", __class__="Anything")
    with pytest.raises(ModelRejected, match=r"not trusted: .*trapdoor\.Anything"):
        load_model(
            publish(tmp_path / "models", "skops", zipped({**skops_members(), "schema.json": json.dumps(schema)}))
        )
    assert "trapdoor" not in sys.modules


def test_a_skops_file_of_something_without_probabilities_is_refused(tmp_path: Path) -> None:
    regression = LinearRegression().fit(*load_iris(return_X_y=True))
    with pytest.raises(ModelRejected, match="holds a LinearRegression, which gives no probabilities"):
        load_model(publish(tmp_path, "skops", skops.io.dumps(regression)))


def skops_members() -> dict[str, bytes | str]:
    with zipfile.ZipFile(io.BytesIO(skops_bytes(small_forest()))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def test_a_skops_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    dense = zipped({**skops_members(), "filler": bytes(10_000_000)})  # 1000 to 1
    with pytest.raises(ModelRejected, match="the skops artifact is too large"):
        load_model(publish(tmp_path / "dense", "skops", dense))
    large = zipped({"schema.json": os.urandom(MAX_UNPACKED_BYTES + 1)}, zipfile.ZIP_STORED)
    with pytest.raises(ModelRejected, match="too large: 1 files, 33554433 bytes"):
        load_model(publish(tmp_path / "large", "skops", large))
    many = zipped({str(number): b"" for number in range(MAX_MEMBERS + 1)})
    with pytest.raises(ModelRejected, match="too large: 20001 files"):
        load_model(publish(tmp_path / "many", "skops", many))


def test_a_skops_file_of_exactly_the_limits_gets_to_the_next_check(tmp_path: Path) -> None:
    largest = zipped({"schema.json": os.urandom(MAX_UNPACKED_BYTES)}, zipfile.ZIP_STORED)
    with pytest.raises(ModelRejected, match="cannot be loaded"):
        load_model(publish(tmp_path / "largest", "skops", largest))
    most = zipped({str(number): b"" for number in range(MAX_MEMBERS)})
    with pytest.raises(ModelRejected, match="cannot be loaded"):
        load_model(publish(tmp_path / "most", "skops", most))
