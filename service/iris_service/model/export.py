"""From a fitted forest to artifacts: ONNX and skops bytes that are the same in every run, and proof that they agree.

Knows nothing of cards, files or where the forest came from.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from iris_service.errors import ExportRefused
from iris_service.model.card import PROBABILITIES
from iris_service.model.scoring import Matrix, Scorer, probabilities

OPSETS = {"": 17, "ai.onnx.ml": 3}
"""Fixed, so that a newer converter gives the same file; every ONNX Runtime since 1.12 reads it."""
AGREEMENT = 1e-6
"""Largest difference between ONNX and scikit-learn; 32 bits alone make 3e-8 of it."""
SAMPLE = 10_000
GRID_STEPS_PER_UNIT = 10
"""Fisher measured to the millimetre."""


def onnx_bytes(estimator: Any, features: int) -> bytes:
    """The estimator as ONNX: any number of rows of 32-bit floats in, labels and probabilities out."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    model = to_onnx(
        estimator,
        initial_types=[("features", FloatTensorType([None, features]))],
        options={id(estimator): {"zipmap": False}},
        target_opset=OPSETS,
    )
    _divide_once(model.graph, len(estimator.estimators_))
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _divide_once(graph: Any, trees: int) -> None:
    """Let the trees' votes be added up first and divided last, as scikit-learn does.

    The converter divides every leaf, and a hundred times 0.01 in 32 bits is 0.9999993; votes are whole numbers.
    """
    from onnx import TensorProto, helper

    (forest,) = graph.node
    (votes,) = (attribute for attribute in forest.attribute if attribute.name == "class_weights")
    votes.floats[:] = [weight * trees for weight in votes.floats]
    forest.output[1] = "votes"
    graph.initializer.append(helper.make_tensor("trees", TensorProto.FLOAT, [], [trees]))
    graph.node.append(helper.make_node("Div", ["votes", "trees"], [PROBABILITIES]))


def skops_bytes(estimator: Any) -> bytes:
    """The estimator as skops, compressed, without the memory addresses and times that skops writes into it."""
    from skops.io import dumps

    renamed: dict[str, str] = {}
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(dumps(estimator))) as source, zipfile.ZipFile(packed, "w") as target:
        schema = _renumbered(json.loads(source.read("schema.json")), {}, renamed)
        for old, new in renamed.items():
            _write(target, new, source.read(old))
        _write(target, "schema.json", json.dumps(schema, separators=(",", ":")).encode())
    return packed.getvalue()


def _renumbered(node: Any, ids: dict[int, int], files: dict[str, str]) -> Any:
    """A skops schema with object ids and file names counted in the order in which they come."""
    if isinstance(node, list):
        return [_renumbered(child, ids, files) for child in node]
    if not isinstance(node, dict):
        return node
    fresh = {key: _renumbered(child, ids, files) for key, child in node.items()}
    if "__id__" in fresh:
        fresh["__id__"] = ids.setdefault(fresh["__id__"], len(ids))
    if "file" in fresh and "__loader__" in fresh:
        fresh["file"] = files.setdefault(fresh["file"], f"{len(files)}.npy")
    return fresh


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name)  # dated 1980
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data, compresslevel=9)


def probe_rows(data: Matrix, estimator: Any, seed: int) -> Matrix:
    """Rows to compare two forms of a forest on: the data, `SAMPLE` of its grid, `SAMPLE` on the forest's thresholds.

    The grid has steps of 0.1 over the observed range, outside which a forest does not change any more. The thresholds
    are where 32 and 64 bits could part: a value that sits exactly on one must fall to the same side in both.
    """
    random = np.random.default_rng(seed)
    low, high = data.min(axis=0) * GRID_STEPS_PER_UNIT, data.max(axis=0) * GRID_STEPS_PER_UNIT
    grid = random.integers(low.round(), high.round(), size=(SAMPLE, data.shape[1]), endpoint=True) / GRID_STEPS_PER_UNIT
    edges = [random.choice(_thresholds(estimator, feature), SAMPLE) for feature in range(data.shape[1])]
    return np.concatenate([data, grid, np.stack(edges, axis=1)]).astype(np.float32)


def _thresholds(estimator: Any, feature: int) -> npt.NDArray[np.float64]:
    trees = [tree.tree_ for tree in estimator.estimators_]
    return np.unique(np.concatenate([tree.threshold[tree.feature == feature] for tree in trees]))


def check_agreement(name: str, score: Scorer, reference: Callable[[Matrix], Any], rows: Matrix) -> None:
    """Raise `ExportRefused` unless the served answers are the reference's: within `AGREEMENT` in value, and in every
    three-decimal text as callers see it.

    Both see the rows as 32-bit floats, as the service does and as scikit-learn's forests do by themselves. A caller's
    5.1 is 5.0999999 to either; what they would say to 5.1 in 64 bits is not asked.
    """
    expected, found = np.asarray(reference(rows)), score(rows)
    if (worst := float(np.abs(found - expected).max())) > AGREEMENT:
        raise ExportRefused(f"{name} and scikit-learn differ by {worst:.2g} on some row; {AGREEMENT:g} is allowed")
    served = np.array(probabilities(found, *expected.shape))
    differing = int((np.char.mod("%.3f", served) != np.char.mod("%.3f", expected)).any(axis=1).sum())
    if differing:
        raise ExportRefused(f"{name} and scikit-learn differ in three-decimal texts on {differing} of {len(rows)} rows")
