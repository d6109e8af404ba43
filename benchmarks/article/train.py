"""Trains and pickles the article's forest: `python train.py FILE`. The same 100 trees and seed as our version 1."""

# ruff: noqa: TID251  another service, with rules of its own

import pickle
import sys
from pathlib import Path

from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def main(target: Path) -> None:
    irises = load_iris(as_frame=True)
    table = irises.data.set_axis(COLUMNS, axis="columns")
    forest = RandomForestClassifier(n_estimators=100, random_state=42)
    forest.fit(table, irises.target_names[irises.target])
    target.write_bytes(pickle.dumps(forest))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
