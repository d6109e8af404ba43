"""The article's task: pandas, scikit-learn and the pickled forest, all loaded when the module is imported.

`rq worker` imports this in every forked child, so each job pays for it again; see `preloading_worker.py`.
The forest has `n_jobs=None`, so no thread pool exists that a fork could break.
"""

# ruff: noqa: TID251  another service, with rules of its own

import os
import pickle
from pathlib import Path

import pandas as pd

forest = pickle.loads(Path(os.environ["ARTICLE_MODEL"]).read_bytes())


def predict(sepal_length, sepal_width, petal_length, petal_width):
    row = pd.DataFrame(
        [[sepal_length, sepal_width, petal_length, petal_width]],
        columns=["sepal_length", "sepal_width", "petal_length", "petal_width"],
    )
    shares = forest.predict_proba(row)[0]
    return [
        {"class": str(name), "probability": f"{share:.3f}"} for name, share in zip(forest.classes_, shares, strict=True)
    ]
