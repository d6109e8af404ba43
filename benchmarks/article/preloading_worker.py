"""`rq worker` with one thing changed: the task's module is imported before the worker forks. The fair opponent."""

# ruff: noqa: TID251, I001  another service, with rules of its own

import os

from redis import Redis
from rq import Worker

import prediction  # noqa: F401  every forked child finds it loaded


def main():
    Worker(["default"], connection=Redis.from_url(os.environ["ARTICLE_REDIS_URL"])).work()


if __name__ == "__main__":
    main()
