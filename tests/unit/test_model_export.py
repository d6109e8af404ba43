"""The export: the same bytes for the same forest, and a refusal when the served form would answer otherwise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.ensemble import RandomForestClassifier

from iris_service.errors import ExportRefused, ModelRejected
from iris_service.model.card import Recipe
from iris_service.model.evaluate import fit
from iris_service.model.export import SAMPLE, check_agreement, onnx_bytes, probe_rows, skops_bytes
from iris_service.model.irises import features_of, fisher_irises
from iris_service.model.onnx_format import load_onnx
from iris_service.model.scoring import Matrix
from iris_service.model.sklearn_format import load_skops
from versions import committed_card


def forest(**parameters: int) -> RandomForestClassifier:
    return fit(Recipe("RandomForestClassifier", {"n_estimators": 20, **parameters}, 42, ""), fisher_irises())


DATA: Matrix = features_of(fisher_irises()).to_numpy(np.float32)


def test_the_same_forest_gives_the_same_bytes() -> None:
    first, second = forest(), forest()
    assert onnx_bytes(first, 4) == onnx_bytes(second, 4)
    assert skops_bytes(first) == skops_bytes(second)


def test_another_seed_gives_other_bytes() -> None:
    other = fit(Recipe("RandomForestClassifier", {"n_estimators": 20}, 43, ""), fisher_irises())
    assert onnx_bytes(forest(), 4) != onnx_bytes(other, 4)


def test_a_rewritten_skops_file_holds_the_same_forest() -> None:
    trained = forest()
    loaded = load_skops(skops_bytes(trained), committed_card())
    assert (loaded(DATA) == trained.predict_proba(DATA)).all()


def test_votes_are_counted_whole_so_that_certainty_is_exactly_one() -> None:
    trained = forest()
    score = load_onnx(onnx_bytes(trained, 4), committed_card())
    assert (score(DATA) == trained.predict_proba(DATA).astype(np.float32)).all()


def test_the_probes_are_the_data_its_grid_and_the_thresholds() -> None:
    trained = forest()
    rows = probe_rows(DATA, trained, 42)
    assert rows.dtype == np.float32
    assert (rows[: len(DATA)] == DATA).all()
    grid, edges = rows[len(DATA) : -SAMPLE], rows[-SAMPLE:]
    assert len(grid) == SAMPLE
    assert (grid >= DATA.min(axis=0)).all()
    assert (grid <= DATA.max(axis=0)).all()
    assert np.abs(grid * 10 - (grid * 10).round()).max() < 1e-5
    splits = {np.float32(value) for tree in trained.estimators_ for value in tree.tree_.threshold}
    assert set(edges.ravel().tolist()) <= {float(value) for value in splits}
    assert (rows == probe_rows(DATA, trained, 42)).all()


Bend = Callable[[npt.NDArray[np.floating]], npt.NDArray[np.floating]]


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (lambda scores: scores + np.array([2e-6, -2e-6, 0]), "differ by 2e-06 on some row; 1e-06 is allowed"),
        (lambda scores: scores[:, ::-1], "differ by 1 on some row"),
    ],
)
def test_answers_that_differ_by_more_than_a_millionth_are_refused(bend: Bend, reason: str) -> None:
    trained = forest()
    with pytest.raises(ExportRefused, match=f"ONNX and scikit-learn {reason}"):
        check_agreement("ONNX", lambda rows: bend(trained.predict_proba(rows)), trained.predict_proba, DATA)


def test_answers_that_differ_by_less_are_refused_when_a_caller_could_read_it() -> None:
    def reference(rows: Matrix) -> npt.NDArray[np.float64]:
        return np.array([[0.1234996, 0.8765004, 0.0]] * len(rows))

    with pytest.raises(ExportRefused, match="differ in three-decimal texts on 150 of 150 rows"):
        check_agreement("ONNX", lambda rows: reference(rows) + np.array([8e-7, -8e-7, 0]), reference, DATA)


def test_a_forest_with_impure_leaves_falls_on_ties_and_is_refused() -> None:
    trained = forest(min_samples_leaf=3, n_estimators=100)
    score = load_onnx(onnx_bytes(trained, 4), committed_card())
    with pytest.raises(ExportRefused, match="three-decimal texts"):
        check_agreement("ONNX", score, trained.predict_proba, probe_rows(DATA, trained, 42))


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (Recipe("GradientBoosting", {}, 1, ""), "GradientBoosting cannot be trained here"),
        (Recipe("RandomForestClassifier", {"trees": 1}, 1, ""), "the recipe cannot be followed: .*trees"),
        (Recipe("RandomForestClassifier", {"n_estimators": -1}, 1, ""), "the recipe cannot be followed"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_named(recipe: Recipe, reason: str) -> None:
    with pytest.raises(ModelRejected, match=reason):
        fit(recipe, fisher_irises())
