"""A card as a person wants to see it on a terminal. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from iris_service.model.card import Card


def print_card(card: Card, console: Console) -> None:
    """Print the tables of one card; for machines there is `card_to_json`."""
    for table in (_summary(card), _features(card), _confusion(card), _golden(card)):
        console.print(table)


def _summary(card: Card) -> Table:
    metrics, training = card.metrics, card.training
    parameters = ", ".join(f"{name}={value}" for name, value in card.recipe.parameters.items())
    rows = [
        ("recipe", f"{card.recipe.estimator}({parameters}), seed {card.recipe.seed}"),
        ("", card.recipe.reason),
        ("trained on", f"{training.rows} rows: {training.data}"),
        ("", training.digest),
        (
            "hold-out",
            f"accuracy {metrics.accuracy:.3f}, log loss {metrics.log_loss:.3f} on {metrics.holdout_rows} rows",
        ),
        (
            "accuracy",
            f"{metrics.fold_accuracy_mean:.3f} ± {metrics.fold_accuracy_deviation:.3f} in {metrics.folds} folds",
        ),
        (
            "log loss",
            f"{metrics.fold_log_loss_mean:.3f} ± {metrics.fold_log_loss_deviation:.3f} in {metrics.folds} folds",
        ),
        ("libraries", ", ".join(f"{name} {version}" for name, version in card.libraries.items())),
    ]
    for name, artifact in card.artifacts.items():
        rows += [(name, f"{artifact.file}, {artifact.size} bytes"), ("", artifact.digest)]
    return _table(f"{card.model} {card.version}", ("", ""), rows, plain=True)


def _features(card: Card) -> Table:
    rows = [
        (
            feature.name,
            feature.unit,
            f"{feature.minimum:g} to {feature.maximum:g}",
            f"{profile.minimum:g} to {profile.maximum:g}",
            f"{profile.mean:.2f} ± {profile.standard_deviation:.2f}",
        )
        for feature, profile in zip(card.signature.features, card.training.features, strict=True)
    ]
    return _table("features", ("feature", "unit", "accepted", "in training", "mean"), rows)


def _confusion(card: Card) -> Table:
    classes = card.signature.classes
    rows = [(name, *map(str, counts)) for name, counts in zip(classes, card.metrics.confusion, strict=True)]
    return _table("hold-out: true class by answered class", ("", *classes), rows)


def _golden(card: Card) -> Table:
    rows = [
        (" ".join(f"{value:g}" for value in gold.row), *(f"{share:.3f}" for share in gold.probabilities), gold.note)
        for gold in card.golden
    ]
    return _table("golden rows", ("row", *card.signature.classes, "note"), rows)


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]], *, plain: bool = False) -> Table:
    table = Table(title=title, title_justify="left", show_header=not plain)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(Text, row))  # a card's text is not markup
    return table
