"""What each `iris` command does: calls one thing and prints for a person. Imports only what the command needs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from iris_service.config import Settings, environment
from iris_service.entry import tell_once
from iris_service.errors import InvalidInput, SettingsError

if TYPE_CHECKING:
    from iris_service.remote import Remote
    from iris_service.supervisor.up import Ready

CURL = "{url}/iris/api/v1.0/getpred?sepal_length=5.1&sepal_width=3.5&petal_length=1.4&petal_width=0.2"


def up(arguments: argparse.Namespace) -> int:
    from iris_service.supervisor.up import up as run_up
    from iris_service.telemetry.logs import configure_logging

    options = {"IRIS_PORT": arguments.port, "IRIS_MODEL_VERSION": arguments.model_version}
    env = environment({name: value for name, value in options.items() if value is not None})
    try:
        settings = Settings.from_env(env)
    except SettingsError as exc:
        if exc.field == "IRIS_PORT" and arguments.port is not None:
            raise SettingsError(str(exc).replace("IRIS_PORT", "--port", 1), field=exc.field) from exc
        raise
    configure_logging(settings.log, "supervisor")
    return run_up(settings, env, arguments.workers, arguments.data, _say_ready)


def _say_ready(ready: Ready) -> None:
    workers = f"{ready.workers} worker" + ("" if ready.workers == 1 else "s")
    queue = f"rq info --url '{ready.redis_url}'"
    lines = [
        f"iris is ready: {ready.model} version {ready.version}, {workers}. Ctrl-C stops everything.",
        f"  page    {ready.api_url}/",
        f"  api     {ready.api_url}",
        f"  queue   {queue}",
        *([f"  data    {ready.data}"] if ready.data else []),
        "  try     curl '" + CURL.format(url=ready.api_url) + "'",
        f"  then    curl '{ready.api_url}/iris/api/v1.0/result/JOB_ID?wait=10'",
    ]
    print("\n".join(lines), flush=True)


def api(arguments: argparse.Namespace) -> int:
    from iris_service.api.__main__ import serve

    return serve(Settings.from_env(), tell_once(arguments.ready_fd))


def key(arguments: argparse.Namespace) -> int:
    """The line to stdout, to be appended to the file; the key to stderr, to be given away."""
    from iris_service.api.api_keys import new_key

    made = new_key(arguments.name)
    print(made.line, flush=True)  # first: a key whose line was not saved is none
    print(
        f"that is a line for IRIS_API_KEYS_FILE; the key of {arguments.name}, shown this once:\n  {made.key}",
        file=sys.stderr,
    )
    return 0


def worker(arguments: argparse.Namespace) -> int:
    from iris_service.worker.__main__ import serve

    return serve(Settings.from_env(), tell_once(arguments.ready_fd))


def recovery(_arguments: argparse.Namespace) -> int:
    settings = Settings.from_env()

    from iris_service.jobs.sweeping import run_recovery
    from iris_service.telemetry.logs import configure_logging

    configure_logging(settings.log, "recovery")
    return run_recovery(settings)


def predict(arguments: argparse.Namespace) -> int:
    if arguments.csv is not None:
        return _predict_file(arguments)
    answer = _remote_answer(arguments) if arguments.url is not None else _local_answer(arguments)
    names = [name for name, _ in answer]
    if arguments.expect not in (None, *names):
        raise InvalidInput(f"--expect: there is no class {arguments.expect}, there are {', '.join(names)}")
    if arguments.json:
        print(json.dumps({"result": [{"class": name, "probability": text} for name, text in answer]}))
    else:
        width = max(map(len, names))
        for name, text in answer:
            print(f"{name:<{width}}  {text}")
    likeliest = max(answer, key=lambda share: float(share[1]))[0]
    if arguments.expect is None or arguments.expect == likeliest:
        return 0
    print(f"iris predict: {likeliest} is the likeliest, not {arguments.expect}", file=sys.stderr)
    return 1


def _local_answer(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Classes and three-decimal probabilities, as the API writes them."""
    from iris_service.model.runtime import load_model

    model = load_model(Settings.from_env().model)
    [probabilities] = model.predict([model.signature.row(arguments.values)])
    return [(name, f"{share:.3f}") for name, share in zip(model.signature.classes, probabilities, strict=True)]


def _remote_answer(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    return [(share.name, share.probability) for share in _remote(arguments.url).predict(arguments.values)]


def _predict_file(arguments: argparse.Namespace) -> int:
    """Print a CSV file with the answers beside each row, when there is one for every row."""
    from rich.console import Console

    from iris_service.classify import LocalClassifier, RemoteClassifier, classified
    from iris_service.model.progress import progress_bars
    from iris_service.tables import read_table

    if arguments.json:
        raise InvalidInput("--csv answers in CSV, so --json cannot stand beside it")
    if arguments.expect is not None:
        raise InvalidInput("--expect is for one flower: the answers to a file are in its column label")
    settings = Settings.from_env()
    table = read_table(arguments.csv)
    with progress_bars(Console(stderr=True)) as progress:
        if arguments.url is None:
            classify: LocalClassifier | RemoteClassifier = LocalClassifier(table, settings.model)
        else:
            classify = RemoteClassifier(table, _remote(arguments.url))
        text = classified(table, classify, settings.api.max_rows, progress)
    print(text, end="")
    return 0


def _remote(url: str) -> Remote:
    from iris_service.remote import Remote

    return Remote(url, _tell, Settings.from_env().client.api_key)


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def train(arguments: argparse.Namespace) -> int:
    root = arguments.models or Settings.from_env().model.repository

    from rich.console import Console

    from iris_service.model.progress import progress_bars
    from iris_service.model.recipes import RECIPES
    from iris_service.model.report import print_card
    from iris_service.model.train import train as train_version

    version = arguments.model_version or _next_version(root)
    with progress_bars(Console(stderr=True)) as progress:
        card = train_version(root, version, RECIPES.get(version, RECIPES[max(RECIPES)]), progress)
    print_card(card, Console())
    print(f"published {root / card.model / card.version}")
    return 0


def _next_version(root: Path) -> str:
    from iris_service.errors import ModelNotFound
    from iris_service.model.store import ModelRepository

    try:
        published = ModelRepository(root).versions("iris")
    except ModelNotFound:
        published = []
    return str(1 + max((int(version) for version in published if version.isdecimal()), default=0))


def verify(arguments: argparse.Namespace) -> int:
    from iris_service.model.verify import verify as verify_version

    card = verify_version(arguments.path, lambda sentence: print(f"ok  {sentence}"))
    print(f"{card.model} {card.version} is as published")
    return 0


def show(arguments: argparse.Namespace) -> int:
    from iris_service.model.card import card_to_json
    from iris_service.model.verify import card_at

    card = card_at(arguments.path)
    if arguments.json:
        print(card_to_json(card).decode(), end="")
        return 0
    from rich.console import Console

    from iris_service.model.report import print_card

    print_card(card, Console())
    return 0
