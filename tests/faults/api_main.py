"""An API process for the fault tests that dies as soon as its jobs are committed, before any caller hears of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Sequence

from faults.caller import TARGET
from iris_service.api.idempotency import fingerprint
from iris_service.config import Settings
from iris_service.jobs.job_id import id_of_key
from iris_service.jobs.job_queue import JobQueue, Submission
from iris_service.schemas import Payload

ROW = (1.0, 2.0, 3.0, 4.0)


class DyingJobQueue(JobQueue):
    async def _flush_submissions(self, queue: str, items: Sequence[Submission]) -> Sequence[int]:
        await super()._flush_submissions(queue, items)
        os.kill(os.getpid(), signal.SIGKILL)
        return []


async def main(jobs: int) -> None:
    settings = Settings.from_env()
    queue = DyingJobQueue(settings.redis, settings.jobs, TARGET)
    payload = Payload(rows=(ROW,), many=False, request_id="fault", accepted_at=time.time())
    ids = [id_of_key(b"%d" % number, None) for number in range(jobs)]
    await asyncio.gather(*(queue.commit(job_id, payload, TARGET, fingerprint("stub", payload)) for job_id in ids))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, required=True)
    asyncio.run(main(parser.parse_args().jobs))
