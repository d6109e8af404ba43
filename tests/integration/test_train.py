"""Training as `iris train` does it: real data, real forests, real files."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from importlib.metadata import version as library_version
from pathlib import Path

import pytest
from rich.console import Console

from iris_service.config import ModelSettings
from iris_service.errors import ExportRefused, ModelRejected, VersionExists
from iris_service.model.card import Card, Recipe
from iris_service.model.irises import features_of, fisher_irises
from iris_service.model.progress import progress_bars
from iris_service.model.recipes import RECIPES
from iris_service.model.runtime import load_model
from iris_service.model.train import LIBRARIES, train
from iris_service.model.verify import verify
from versions import COMMITTED

pytestmark = pytest.mark.xdist_group("training")  # they share a trained version

TRAIN = """
import sys; from pathlib import Path
from iris_service.model.recipes import RECIPES; from iris_service.model.train import train
train(Path(sys.argv[1]), sys.argv[2], RECIPES[sys.argv[2]])
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Card, list[tuple[str, int, int]]]:
    root = tmp_path_factory.mktemp("models")
    steps: list[tuple[str, int, int]] = []
    return root, train(root, "1", RECIPES["1"], lambda *step: steps.append(step)), steps


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_trained_version_verifies_and_serves(trained: tuple[Path, Card, object]) -> None:
    root, card, _ = trained
    assert verify(root / "iris" / "1", lambda check: None) == card
    (answer,) = load_model(ModelSettings(root)).predict([(6.7, 3.0, 5.2, 2.3)])
    assert answer == (0.0, 0.0, 1.0)


def test_training_tells_each_step_to_its_end(trained: tuple[Path, Card, list[tuple[str, int, int]]]) -> None:
    steps = trained[2]
    assert [done for step, done, _ in steps if step == "cross-validation"] == list(range(21))
    last = {step: (done, total) for step, done, total in steps}
    assert all(done == total for done, total in last.values())


def test_the_metrics_are_honest_about_rows_that_were_not_seen(trained: tuple[Path, Card, object]) -> None:
    metrics = trained[1].metrics
    right = sum(metrics.confusion[index][index] for index in range(3))
    assert metrics.holdout_rows == sum(map(sum, metrics.confusion)) == 45
    assert metrics.accuracy == pytest.approx(right / 45, abs=1e-6)
    assert 0.85 < metrics.accuracy < 1 > metrics.fold_accuracy_mean > 0.9
    assert [sum(row) for row in metrics.confusion] == [15, 15, 15]


def test_the_profile_is_that_of_the_data(trained: tuple[Path, Card, object]) -> None:
    training = trained[1].training
    petal_width = training.features[3]
    assert (training.rows, training.class_shares) == (150, (0.333333,) * 3)
    assert (petal_width.name, petal_width.minimum, petal_width.maximum) == ("petal_width", 0.1, 2.5)
    assert petal_width.mean == pytest.approx(1.199333)
    assert petal_width.standard_deviation == pytest.approx(0.762238)
    assert petal_width.deciles[4] == 1.3


def test_two_runs_in_two_processes_publish_the_same_bytes(trained: tuple[Path, Card, object], tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONHASHSEED": "20361"}
    subprocess.run([sys.executable, "-c", TRAIN, str(tmp_path), "1"], check=True, env=env)
    assert contents(tmp_path / "iris" / "1") == contents(trained[0] / "iris" / "1")


def test_the_committed_versions_are_what_their_recipes_give(trained: tuple[Path, Card, object], tmp_path: Path) -> None:
    train(tmp_path, "2", RECIPES["2"])
    rows = [tuple(row) for row in features_of(fisher_irises()).to_numpy().tolist()]
    for root, version in ((trained[0], "1"), (tmp_path, "2")):
        ours, published = (load_model(ModelSettings(folder, version=version)) for folder in (root, COMMITTED))
        assert ours.predict(rows) == published.predict(rows)
        if ours.card.libraries == published.card.libraries:  # other versions may write the same trees otherwise
            assert contents(root / "iris" / version) == contents(COMMITTED / "iris" / version)


def test_the_card_names_the_libraries_it_was_made_with(trained: tuple[Path, Card, object]) -> None:
    assert trained[1].libraries == {name: library_version(name) for name in LIBRARIES}


def test_a_published_version_is_not_trained_again(trained: tuple[Path, Card, object]) -> None:
    before = contents(trained[0] / "iris" / "1")
    with pytest.raises(VersionExists, match="iris 1 is already published"):
        train(trained[0], "1", RECIPES["2"])
    assert contents(trained[0] / "iris" / "1") == before


def test_a_forest_that_would_be_served_differently_is_not_published(tmp_path: Path) -> None:
    recipe = Recipe("RandomForestClassifier", {"n_estimators": 100, "min_samples_leaf": 3}, 42, "ties")
    with pytest.raises(ExportRefused, match="three-decimal texts"):
        train(tmp_path, "1", recipe)
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_no_name_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="is not a version name"):
        train(tmp_path, "../2", RECIPES["1"])


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_drawn_on_a_terminal_and_nowhere_else(terminal: bool) -> None:
    screen = io.StringIO()
    with progress_bars(Console(file=screen, force_terminal=terminal, width=80)) as progress:
        for done in range(3):
            progress("cross-validation", done, 2)
    assert ("cross-validation" in screen.getvalue()) is terminal
    assert ("2/2" in screen.getvalue()) is terminal
