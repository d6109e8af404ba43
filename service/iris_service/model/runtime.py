"""Load a model version and answer with it. The only way from a file to something that predicts.

The order is fixed: consent for pickles, size and digest, then the parser that the settings name (nothing is sniffed),
then the shape of inputs and outputs, then the golden rows. What comes out has proven itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from iris_service.config import ModelSettings
from iris_service.errors import ModelRejected, PredictionFailed
from iris_service.model.card import Card
from iris_service.model.scoring import Scorer, matrix, probabilities
from iris_service.model.store import ModelRepository
from iris_service.schemas import Row

GOLDEN_TOLERANCE = 1e-5
"""How far an answer to a golden row may be from the card; one tree in a thousand is a hundred times as much."""


class Model:
    """A model version that can predict; made by `load_model`."""

    def __init__(self, card: Card, digest: str, score: Scorer) -> None:
        self.card = card
        self.name = card.model
        self.version = card.version
        self.digest = digest
        """Of the artifact that is served."""
        self.signature = card.signature
        self._score = score

    def predict(self, rows: Sequence[Row]) -> list[tuple[float, ...]]:
        """Probabilities for each row in class order, from 0 to 1, rounded to 7 decimals.

        Rows must have passed `signature.row`. Raises `InvalidInput` for rows of another length, `PredictionFailed` when
        the model answers something that is not a distribution over the classes, and whatever the model itself raises:
        a caller's time limit, which looks the same from here, must get through.
        """
        if not rows:
            return []
        table = matrix(rows, len(self.signature.features))
        return probabilities(self._score(table), len(rows), len(self.signature.classes))


def load_model(settings: ModelSettings) -> Model:
    """The model version that the settings name, verified and proven; raises `ModelNotFound` or `ModelRejected`."""
    repository = ModelRepository(settings.repository)
    card = repository.card(settings.name, settings.version)
    if settings.digest and card.artifact(settings.artifact_format).digest != settings.digest:
        raise ModelRejected(f"IRIS_MODEL_DIGEST asks for {settings.digest}, and the card names another artifact")
    return load_artifact(repository, card, settings.artifact_format, allow_pickle=settings.allow_pickle)


def load_artifact(repository: ModelRepository, card: Card, artifact_format: str, *, allow_pickle: bool) -> Model:
    """One artifact of a version, verified and proven on the card's golden rows; raises `ModelRejected`."""
    if artifact_format in ("joblib", "pickle") and not allow_pickle:
        raise ModelRejected(f"loading {artifact_format} runs its author's code: set IRIS_ALLOW_PICKLE=1 to accept that")
    data = repository.artifact_bytes(card, artifact_format)
    try:
        score = _parse(artifact_format, data, card)
    except ModuleNotFoundError as exc:
        raise ModelRejected(f"a {artifact_format} artifact needs {exc.name}, which is not installed here") from exc
    model = Model(card, card.artifact(artifact_format).digest, score)
    _prove(model)
    return model


def _parse(artifact_format: str, data: bytes, card: Card) -> Scorer:
    # imported here, so that each format costs only those who use it: scikit-learn takes seconds
    if artifact_format == "onnx":
        from iris_service.model.onnx_format import load_onnx

        return load_onnx(data, card)
    from iris_service.model import sklearn_format

    loaders = {
        "skops": sklearn_format.load_skops,
        "joblib": sklearn_format.load_joblib,
        "pickle": sklearn_format.load_pickle,
    }
    return loaders[artifact_format](data, card)


def _prove(model: Model) -> None:
    try:
        answers = model.predict(model.card.golden_rows)
    except PredictionFailed as exc:
        raise ModelRejected(f"{model.name} {model.version} cannot answer its golden rows: {exc}") from exc
    except Exception as exc:  # the model's own code may raise anything
        raise ModelRejected(f"{model.name} {model.version} raised {type(exc).__name__} on its golden rows") from exc
    for gold, answer in zip(model.card.golden, answers, strict=True):
        if any(abs(a - b) > GOLDEN_TOLERANCE for a, b in zip(gold.probabilities, answer, strict=True)):
            raise ModelRejected(f"{model.name} {model.version} answers {answer} for {gold.row}, unlike its card")
