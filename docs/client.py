"""Ask iris from Python: `pip install httpx`, then `python client.py http://127.0.0.1:8000`.

Take from it what you need. It has what a client should: it may repeat what it asks, and it waits when it is told to.
"""

import os
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any

import httpx

Flowers = Sequence[Sequence[float]]
"""In each row the values in the order of the features: sepal length and width, petal length and width, in cm."""
WAIT_SECONDS = 10


class Refused(Exception):
    """What the API says is wrong. `code` is for programs and stays the same; the sentence is for people."""

    def __init__(self, status: int, code: str, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.code = code


class Iris:
    """A service at a URL, with a key where one is asked for; whatever goes on for longer than `patience` is raised."""

    def __init__(self, url: str, key: str | None = None, patience_seconds: float = 60) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=WAIT_SECONDS + 35)
        self._patience_seconds = patience_seconds

    def classify(self, flowers: Flowers) -> list[list[dict[str, str]]]:
        """Return each flower's classes and their probabilities. Submits one job, and waits until it is answered."""
        wait = {"wait": WAIT_SECONDS}
        answer = self._post("/iris/api/v1.0/getpred", {"data": flowers}, wait)
        if answer.status_code == 202:
            result = answer.headers["Location"]
            while answer.status_code == 202:
                answer = self._ask("GET", result, params=wait)
        found: list[list[dict[str, str]]] = answer.json()["result"]
        return found

    def labels(self, flowers: Flowers, model: str = "iris") -> list[str]:
        """Return each flower's most probable class, by the Open Inference Protocol V2."""
        table = {"name": "input", "shape": [len(flowers), len(flowers[0])], "datatype": "FP64", "data": flowers}
        answer = self._post(f"/v2/models/{model}/infer", {"inputs": [table], "outputs": [{"name": "label"}]})
        found: list[str] = answer.json()["outputs"][0]["data"]
        return found

    def _post(self, path: str, body: Any, params: dict[str, Any] | None = None) -> httpx.Response:
        """Submit once, however often it takes: the key says that it is the same request."""
        return self._ask("POST", path, json=body, params=params, headers={"Idempotency-Key": str(uuid.uuid4())})

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask again while there is no answer, or one that says when to come back."""
        ends = time.monotonic() + self._patience_seconds
        while True:
            pause_seconds = 1.0
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError:
                if time.monotonic() > ends:
                    raise
            else:
                if answer.is_success:
                    return answer
                if answer.status_code not in (429, 503) or time.monotonic() > ends:
                    raise refusal(answer)
                pause_seconds = float(answer.headers.get("Retry-After", pause_seconds))
            time.sleep(pause_seconds)


def refusal(answer: httpx.Response) -> Refused:
    """Return what an error says; one that is not JSON comes from a proxy before the API."""
    if answer.headers.get("Content-Type") != "application/json":
        return Refused(answer.status_code, "", f"{answer.status_code} {answer.reason_phrase}")
    said = answer.json()
    return Refused(answer.status_code, said["code"], said["error"])


if __name__ == "__main__":
    iris = Iris(sys.argv[1], os.environ.get("IRIS_API_KEY"))
    for shares in iris.classify([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]):
        print(max(shares, key=lambda share: float(share["probability"])))
    print(iris.labels([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]))
    try:
        iris.classify([[5.1, 3.5, 1.4, 99]])
    except Refused as refused:
        print(refused.status, refused.code, refused)
