"""Train a version from Fisher's irises and publish it: evaluate, fit, export, write the card. Prints nothing.

Evaluation and the served model are two things. Metrics come from forests that did not see the rows they are measured
on; the forest that is published is then fitted on all 150 rows, because there are so few of them.
"""

from __future__ import annotations

from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iris_service.model.card import Artifact, Card, Format, GoldenRow, Recipe
from iris_service.model.evaluate import evaluate, fit
from iris_service.model.export import check_agreement, onnx_bytes, probe_rows, skops_bytes
from iris_service.model.irises import LARGEST_CM, SPECIES, features_of, fisher_irises, signature_of, training_of
from iris_service.model.onnx_format import load_onnx
from iris_service.model.progress import Progress, no_progress
from iris_service.model.scoring import Matrix, probabilities
from iris_service.model.sklearn_format import load_skops
from iris_service.model.store import ModelRepository, digest_of
from iris_service.schemas import Row

MODEL = "iris"
LEAST_CERTAIN = 4
"""Golden rows between two classes, where a forest that is not quite the same shows first."""
LIBRARIES = ("numpy", "onnxruntime", "pandas", "scikit-learn", "skl2onnx", "skops")


def train(repository: Path, version: str, recipe: Recipe, progress: Progress = no_progress) -> Card:
    """Train and publish `repository/iris/version` and return its card; two runs publish the same bytes.

    Raises `VersionExists`, `ExportRefused`, or `ModelRejected` when version or recipe cannot be used.
    """
    store = ModelRepository(repository)
    store.refuse_existing(MODEL, version)
    frame = fisher_irises()
    metrics = evaluate(frame, recipe, progress)
    progress("final fit and export", 0, 1)
    forest = fit(recipe, frame)
    artifacts: dict[Format, bytes] = {"onnx": onnx_bytes(forest, frame.shape[1] - 1), "skops": skops_bytes(forest)}
    card = Card(
        model=MODEL,
        version=version,
        signature=signature_of(frame),
        artifacts={name: Artifact(f"model.{name}", len(data), digest_of(data)) for name, data in artifacts.items()},
        training=training_of(frame),
        recipe=recipe,
        metrics=metrics,
        libraries={name: library_version(name) for name in LIBRARIES},
        golden=_golden_rows(frame, forest),
    )
    _check_exports(card, artifacts, forest, _table(frame))
    store.publish(card, {card.artifacts[name].file: data for name, data in artifacts.items()})
    progress("final fit and export", 1, 1)
    return card


def _check_exports(card: Card, artifacts: dict[Format, bytes], forest: Any, data: Matrix) -> None:
    rows = probe_rows(data, forest, card.recipe.seed)
    check_agreement("ONNX", load_onnx(artifacts["onnx"], card), forest.predict_proba, rows)
    check_agreement("skops", load_skops(artifacts["skops"], card), forest.predict_proba, rows)


def _table(frame: pd.DataFrame) -> Matrix:
    return features_of(frame).to_numpy(np.float32)


def _golden_rows(frame: pd.DataFrame, forest: Any) -> tuple[GoldenRow, ...]:
    """Rows with scikit-learn's answers: both of the article, one typical for each class, the least certain, the corners
    of what callers may send."""
    features = features_of(frame)
    notes: dict[Row, str] = {
        (5.1, 3.5, 1.4, 0.2): "the article's setosa",
        (6.7, 3.0, 5.2, 2.3): "the article's virginica",
    }
    for species, group in features.groupby(frame[SPECIES]):
        nearest = ((group - group.mean()) ** 2).sum(axis=1).idxmin()
        notes.setdefault(_row(features, nearest), f"typical {species}")
    ranked = np.sort(forest.predict_proba(_table(frame)), axis=1)
    lead = ranked[:, -1] - ranked[:, -2]
    for index in np.argsort(lead, kind="stable")[:LEAST_CERTAIN]:
        notes.setdefault(_row(features, index), "among the least certain of the data")
    notes[(0.0,) * features.shape[1]] = "smallest values accepted"
    notes[(LARGEST_CM,) * features.shape[1]] = "largest values accepted"
    rows = np.array(list(notes), dtype=np.float32)
    answers = probabilities(forest.predict_proba(rows), len(rows), len(forest.classes_))
    return tuple(GoldenRow(row, answer, note) for (row, note), answer in zip(notes.items(), answers, strict=True))


def _row(features: pd.DataFrame, index: Any) -> Row:
    return tuple(features.loc[index].tolist())
