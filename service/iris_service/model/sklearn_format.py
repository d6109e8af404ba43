"""scikit-learn artifacts: skops, safe because it builds only types it was told, and the two pickles, which are not.

Imports its libraries when asked: a worker that serves ONNX has none of them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

from iris_service.errors import ModelRejected
from iris_service.model.card import Card
from iris_service.model.scoring import Scorer

TRUSTED_TYPES = ("sklearn.tree._tree.Tree",)
"""What a RandomForestClassifier needs beyond the estimators that skops knows by itself."""
MAX_MEMBERS = 20_000
"""A forest of 100 trees has 500 members in its zip."""
MAX_UNPACKED_BYTES = 33_554_432
"""Our forests unpack to 1.6 MB. A file of 200 KB can unpack to 500 MB and take the worker with it."""
MAX_UNPACKED_RATIO = 200
"""Ours are at 10; the most that deflate can do is about 1000."""


def load_skops(data: bytes, card: Card) -> Scorer:
    """Make a scorer from a skops file; raises `ModelRejected`, having built nothing of an untrusted type."""
    _check_zip(data)
    from skops.io import loads
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        estimator = loads(data, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as exc:
        raise ModelRejected(f"the skops artifact needs types that are not trusted: {str(exc)[:200]}") from exc
    except Exception as exc:  # whatever a forged schema makes skops stumble over
        raise ModelRejected(f"the skops artifact cannot be loaded ({type(exc).__name__})") from exc
    return _scorer(estimator, card)


def load_joblib(data: bytes, card: Card) -> Scorer:
    """Make a scorer from a joblib file: runs whatever its author wrote into it, so ask for consent before."""
    import joblib

    return _scorer(_unpickled(lambda: joblib.load(io.BytesIO(data)), "joblib"), card)


def load_pickle(data: bytes, card: Card) -> Scorer:
    """Make a scorer from a pickle: runs whatever its author wrote into it, so ask for consent before."""
    import pickle  # noqa: TID251 - behind an explicit switch and a digest, see runtime

    return _scorer(_unpickled(lambda: pickle.loads(data), "pickle"), card)  # noqa: S301


def _unpickled(load: Callable[[], Any], kind: str) -> Any:
    try:
        return load()
    except Exception as exc:  # a pickle may raise anything
        raise ModelRejected(f"the {kind} artifact cannot be loaded ({type(exc).__name__})") from exc


def _check_zip(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as exc:
        raise ModelRejected("the skops artifact is not a skops file, or a damaged one") from exc
    # the sizes are the archive's own word, but zipfile never unpacks more of a member than that
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or unpacked > min(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * len(data)):
        raise ModelRejected(f"the skops artifact is too large: {len(members)} files, {unpacked} bytes unpacked")


def _scorer(estimator: Any, card: Card) -> Scorer:
    features, classes = len(card.signature.features), card.signature.classes
    if not hasattr(estimator, "predict_proba"):
        raise ModelRejected(f"the artifact holds a {type(estimator).__name__}, which gives no probabilities")
    if (found := getattr(estimator, "n_features_in_", None)) != features:
        raise ModelRejected(f"the artifact takes {found} features, its card names {features}")
    known = list(getattr(estimator, "classes_", ()))
    if known not in (list(range(len(classes))), list(classes)):
        raise ModelRejected(f"the artifact answers {len(known)} classes that are not those of its card, in its order")
    return lambda rows: estimator.predict_proba(rows)
