"""The `iris` command: its arguments, its help, and the exit codes of what can go wrong."""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from iris_service import commands
from iris_service.errors import InvalidInput, IrisError, ModelRejected, SettingsError

EX_USAGE = 2
"""As argparse has it."""
EX_INTERRUPTED = 130
_OUTPUT_TROUBLES = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
MOST_WORKERS = 64
DESCRIPTION = "Classify irises, and any small tabular model, behind a queue that loses no accepted prediction."
EPILOG = """\
settings
  What has no option is set by an IRIS_ variable: IRIS_REDIS_URL, IRIS_MODELS, IRIS_MODEL_VERSION, IRIS_LOG_LEVEL ...

examples
  iris up --workers 2
  iris predict 5.1 3.5 1.4 0.2
  iris predict 6.7 3.0 5.2 2.3 --url http://127.0.0.1:8000 --json
  iris predict --csv irises.csv > answers.csv
  IRIS_REDIS_URL=redis://10.0.0.5:6379/0 iris worker
  iris model show models/iris/1

exit codes
  0 done · 1 failed, as said · 2 wrong usage · 65 the model was rejected · 78 a setting cannot be used
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; what it printed has arrived by then, or that is said."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except UnicodeEncodeError as exc:
        what = f"{exc.encoding} has no {exc.object[exc.start]!a}: set PYTHONIOENCODING=utf-8"
    except OSError as exc:
        if exc.errno not in _OUTPUT_TROUBLES or exc.filename is not None:
            raise
        what = str(exc.strerror)
    _write_nothing_more()
    print(f"iris: the output is not complete: {what}", file=sys.stderr)
    return 1


def _write_nothing_more() -> None:
    """Python would try once more when it ends, and complain in its own words."""
    with suppress(OSError, ValueError):  # under a test there may be no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    command: Command | None = arguments.command
    if command is None:
        parser.print_help(sys.stderr)
        return EX_USAGE
    try:
        return command.run(arguments)
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except IrisError as exc:
        print(f"iris {command.name}: {exc}", file=sys.stderr)
        return _exit_code(exc)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("iris_service"):
            raise
        how = f"in a clone, pip install -e '.[{command.extra}]'"
        print(f"iris {command.name}: needs {exc.name}, which is not installed: {how}", file=sys.stderr)
        return 1


def _exit_code(exc: IrisError) -> int:
    if isinstance(exc, SettingsError):
        return os.EX_CONFIG
    return os.EX_DATAERR if isinstance(exc, ModelRejected) else 1


def _up_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", metavar="PORT", help="port of the API, 0 for a free one (IRIS_PORT, else 8000)")
    parser.add_argument("--workers", type=_workers, default=1, metavar="N", help="number of workers (default 1)")
    parser.add_argument(
        "--data", type=Path, default=Path(".iris"), metavar="DIR", help="the queue's files (default .iris)"
    )
    _version_argument(parser, "model version to serve (IRIS_MODEL_VERSION, else 1)")


def _predict_arguments(parser: argparse.ArgumentParser) -> None:
    what = "sepal length, sepal width, petal length, petal width"
    flowers = parser.add_mutually_exclusive_group(required=True)
    flowers.add_argument("values", type=_number, nargs="*", default=[], metavar="CM", help=what)
    flowers.add_argument("--csv", type=Path, metavar="FILE", help="all flowers of a file, - for standard input")
    parser.add_argument("--url", metavar="URL", help="ask this server instead of the model in IRIS_MODELS")
    parser.add_argument("--json", action="store_true", help="print the API's result")
    parser.add_argument(
        "--expect",
        metavar="CLASS",
        help="fail when another class is the likeliest: a check for scripts; for one flower",
    )


def _key_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the caller it is for: letters, digits and . _ -")


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    _version_argument(parser, "version to publish (default: the next number)")
    parser.add_argument("--models", type=Path, metavar="DIR", help="where to publish (IRIS_MODELS, else models)")


def _path_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="the folder of a version, such as models/iris/1")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    _path_argument(parser)
    parser.add_argument("--json", action="store_true", help="print card.json")


def _process_arguments(parser: argparse.ArgumentParser) -> None:
    """The rest is a setting. What `iris up` listens to is no concern of a person."""
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """Everything is a setting."""


def _version_argument(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--version", dest="model_version", metavar="VERSION", help=what)


def _workers(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {MOST_WORKERS}, not {text!r}")
    return int(text)


def _number(text: str) -> float:
    from iris_service.schemas import decimal_from_text

    try:
        value = decimal_from_text("it", text)  # as the API and files have it: no 1_0, no inf
    except InvalidInput:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a decimal number, not {text!r}")
    return value


class Command(NamedTuple):
    """One command; `extra` is what must be installed for it."""

    group: str
    name: str
    summary: str
    run: Callable[[argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], None]
    extra: str


COMMANDS = (
    Command("run it", "up", "everything on this machine, with an embedded Valkey", commands.up, _up_arguments, "local"),
    Command("run it", "api", "the HTTP API alone", commands.api, _process_arguments, "api"),
    Command("run it", "worker", "one worker alone", commands.worker, _process_arguments, "worker"),
    Command(
        "run it", "recovery", "gives the jobs of lost workers to others", commands.recovery, _no_arguments, "worker"
    ),
    Command("run it", "key", "make an API key, and its line for the API", commands.key, _key_arguments, "api"),
    Command(
        "use it",
        "predict",
        "classify one flower, or a file of them, here or on a server",
        commands.predict,
        _predict_arguments,
        "local",
    ),
    Command(
        "models",
        "train",
        "train a version on Fisher's irises and publish it",
        commands.train,
        _train_arguments,
        "train",
    ),
    Command(
        "models",
        "model verify",
        "check every byte and golden row of a version",
        commands.verify,
        _path_argument,
        "worker",
    ),
    Command("models", "model show", "print the card of a version", commands.show, _show_arguments, "train"),
)


class _Parser(argparse.ArgumentParser):
    """argparse would list all commands in one heap."""

    def format_help(self) -> str:
        lines = ["usage: iris COMMAND [options]", "", DESCRIPTION]
        for group, members in groupby(COMMANDS, key=lambda command: command.group):
            lines += ["", group, *(f"  {command.name:<14}{command.summary}" for command in members)]
        lines += ["", "options", "  -h, --help    this; with a COMMAND before it, the options of that command"]
        lines += ["  --version     the version of iris", "", EPILOG]
        return "\n".join(lines)


class _ShowVersion(argparse.Action):
    """Looks the version up only when asked: reading the metadata takes longer than all of `iris --help`."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"iris {version('iris-serving')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="iris", allow_abbrev=False)
    parser.add_argument("--version", action=_ShowVersion, nargs=0)
    parser.set_defaults(command=None)
    shelves = {"": parser.add_subparsers(metavar="COMMAND", parser_class=argparse.ArgumentParser)}
    for command in COMMANDS:
        shelf, _, name = command.name.rpartition(" ")
        if shelf not in shelves:
            nested = shelves[""].add_parser(shelf, description="Look at published versions.", allow_abbrev=False)
            shelves[shelf] = nested.add_subparsers(metavar="verify|show", required=True)
        summary = f"{command.summary[0].upper()}{command.summary[1:]}."
        leaf = shelves[shelf].add_parser(name, help=command.summary, description=summary, allow_abbrev=False)
        command.arguments(leaf)
        leaf.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
