"""How well a recipe does on rows it was not fitted on. Fits and measures; publishes nothing, prints nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split

from iris_service.errors import ModelRejected
from iris_service.model.card import Metrics, Recipe
from iris_service.model.irises import SPECIES, features_of
from iris_service.model.progress import Progress

HOLDOUT_SHARE = 0.3
FOLDS, REPEATS = 5, 4
"""One round of five folds is noise on 150 rows; four rounds take a few seconds."""


def fit(recipe: Recipe, frame: pd.DataFrame) -> RandomForestClassifier:
    """A forest grown by the recipe on all rows of `frame`; raises `ModelRejected` for a recipe it cannot follow."""
    if recipe.estimator != "RandomForestClassifier":
        raise ModelRejected(f"{recipe.estimator} cannot be trained here, only RandomForestClassifier")
    try:
        forest = RandomForestClassifier(**recipe.parameters, random_state=recipe.seed)
        # 32-bit floats are what the service will show it; a forest would convert them by itself
        return forest.fit(features_of(frame).to_numpy(np.float32), frame[SPECIES].to_numpy(str))
    except (TypeError, ValueError) as exc:
        raise ModelRejected(f"the recipe cannot be followed: {str(exc)[:200]}") from exc


def evaluate(frame: pd.DataFrame, recipe: Recipe, progress: Progress) -> Metrics:
    """A stratified hold-out for the confusion matrix, and a repeated cross-validation for a figure to trust."""
    known, held = train_test_split(frame, test_size=HOLDOUT_SHARE, stratify=frame[SPECIES], random_state=recipe.seed)
    accuracy, loss, confusion = _measure(known, held, recipe)
    folds = []
    splits = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=recipe.seed)
    for done, (inside, outside) in enumerate(splits.split(frame, frame[SPECIES])):
        progress("cross-validation", done, FOLDS * REPEATS)
        folds.append(_measure(frame.iloc[inside], frame.iloc[outside], recipe)[:2])
    progress("cross-validation", FOLDS * REPEATS, FOLDS * REPEATS)
    (mean_accuracy, mean_loss), (spread_accuracy, spread_loss) = np.mean(folds, axis=0), np.std(folds, axis=0)
    return Metrics(
        holdout_rows=len(held),
        accuracy=round(accuracy, 6),
        log_loss=round(loss, 6),
        confusion=confusion,
        folds=FOLDS * REPEATS,
        fold_accuracy_mean=round(float(mean_accuracy), 6),
        fold_accuracy_deviation=round(float(spread_accuracy), 6),
        fold_log_loss_mean=round(float(mean_loss), 6),
        fold_log_loss_deviation=round(float(spread_loss), 6),
    )


def _measure(
    known: pd.DataFrame, held: pd.DataFrame, recipe: Recipe
) -> tuple[float, float, tuple[tuple[int, ...], ...]]:
    """Accuracy, log loss and confusion on `held` of a forest that saw only `known`."""
    forest = fit(recipe, known)
    truth = held[SPECIES].to_numpy(str)
    chances = forest.predict_proba(features_of(held).to_numpy(np.float32))
    answers = forest.classes_[chances.argmax(axis=1)]
    confusion = confusion_matrix(truth, answers, labels=forest.classes_)
    loss = log_loss(truth, chances, labels=forest.classes_)
    return float(accuracy_score(truth, answers)), float(loss), tuple(map(tuple, confusion.tolist()))
