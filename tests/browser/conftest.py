"""A visit to the page by a real Chromium: whatever it asks, says and forbids is written down and judged at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.served import Served, Visit, chromium
from servers import short_folder

expect.set_options(timeout=20_000)  # both cores may be busy

VIOLATIONS = "document.addEventListener('securitypolicyviolation', (event) => console.error(event.violatedDirective))"


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    served = Served(short_folder())
    yield served
    served.stop()


@pytest.fixture(scope="module")  # Playwright keeps an event loop running in this thread: no other could run meanwhile
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, served: Served) -> Visit:
    """Open the page; at the end nothing may have been asked of another origin, forbidden, or gone wrong in a script.

    `refusals` are the statuses that the service was made to answer: Chromium reports each as an error of its own.
    """

    @contextlib.contextmanager
    def visit(*, url: str = "", refusals: tuple[int, ...] = (), route: Any = None, **context: Any) -> Iterator[Page]:
        url = url or served.url
        told: list[str] = []
        asked: list[str] = []
        with contextlib.closing(browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **context})) as own:
            page = own.new_page()
            page.set_default_timeout(20_000)
            page.add_init_script(VIOLATIONS)
            page.on("console", lambda message: told.append(message.text))
            page.on("pageerror", lambda error: told.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            if route is not None:
                page.route("**/iris/api/**", route)
            page.goto(url)
            yield page
            allowed = [f"the server responded with a status of {status} " for status in refusals]
            assert [text for text in told if not any(part in text for part in allowed)] == []
            assert {urlsplit(address)[:2] for address in asked} == {urlsplit(url)[:2]}

    return visit
