"""Fisher's irises as scikit-learn bundles them: the rows, what a caller may send, and what the card says of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.datasets import load_iris

from iris_service.model.card import FeatureProfile, Training
from iris_service.model.store import digest_of
from iris_service.schemas import Feature, Signature

LARGEST_CM = 30.0
"""No iris has a sepal or petal near this; wide enough for any flower, narrow enough to refuse millimetres."""
SPECIES = "species"
"""The column of the class; every other column is a feature."""


def fisher_irises() -> pd.DataFrame:
    """150 flowers: sepal_length, sepal_width, petal_length and petal_width in cm, and the species by name."""
    bunch = load_iris(as_frame=True)
    frame: pd.DataFrame = bunch.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    return frame.assign(**{SPECIES: bunch.target_names[bunch.target]})


def features_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=SPECIES)


def signature_of(frame: pd.DataFrame) -> Signature:
    features = tuple(Feature(str(name), "cm", 0.0, LARGEST_CM) for name in features_of(frame).columns)
    return Signature(features, tuple(sorted(frame[SPECIES].unique())))


def training_of(frame: pd.DataFrame) -> Training:
    """The profile of the data; its digest is that of the table as CSV with a header line and LF line ends."""
    text = frame.to_csv(index=False, lineterminator="\n")
    return Training(
        data="Fisher's irises (1936), as bundled with scikit-learn",
        rows=len(frame),
        digest=digest_of(text.encode()),
        features=tuple(_profile(str(name), column) for name, column in features_of(frame).items()),
        class_shares=tuple(frame[SPECIES].value_counts(normalize=True).sort_index().round(6).tolist()),
    )


def _profile(name: str, column: pd.Series[float]) -> FeatureProfile:
    return FeatureProfile(
        name=name,
        minimum=float(column.min()),
        maximum=float(column.max()),
        mean=round(float(column.mean()), 6),
        standard_deviation=round(float(column.std()), 6),
        deciles=tuple(column.quantile(np.arange(1, 10) / 10).round(6).tolist()),
    )
