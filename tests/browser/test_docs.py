"""The description at /docs in a real Chromium: readable in any light and width, by keyboard, and its commands work."""

from __future__ import annotations

import json
import subprocess

import pytest
from playwright.sync_api import Page, expect

from browser.accessibility import is_accessible
from browser.prefix import behind_a_prefix
from browser.served import Served, Visit

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

TOO_WIDE = """() => [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth || one.scrollWidth > one.clientWidth + 1)
  .filter((one) => getComputedStyle(one).display !== "inline" && !one.matches(".skip"))
  .map((one) => one.outerHTML.slice(0, 120))"""


ONE_OF_EACH_KIND = (
    "header", "#contents", "section:has(#start)", "article:has(#submit)", "article:has(#cancel)",
    "article:has(#schema\\.Flower)",
)  # fmt: skip
"""What axe looks at: all of a long page would take it 20 s."""


@pytest.fixture
def docs(served: Served) -> str:
    return f"{served.url}docs"


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(TOO_WIDE) == []


def lightness(page: Page) -> int:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb(")
    return int(colour.split(",")[0])


def test_it_is_accessible_and_fits(visit: Visit, docs: str) -> None:
    with visit(url=docs, color_scheme="light") as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("iris: the HTTP API")
        assert lightness(page) > 128, "its styles are there"
        is_accessible(page, *ONE_OF_EACH_KIND)
        fits(page)


def test_it_is_accessible_and_fits_in_the_dark_on_a_narrow_screen(visit: Visit, docs: str) -> None:
    with visit(url=docs, viewport={"width": 360, "height": 740}, color_scheme="dark") as page:
        assert lightness(page) < 128
        fits(page)
        for details in page.locator("details").all():
            details.evaluate("one => { one.open = true; }")
        fits(page)
        is_accessible(page, *ONE_OF_EACH_KIND)


def test_it_needs_no_scripts(visit: Visit, docs: str) -> None:
    with visit(url=docs, java_script_enabled=False) as page:
        assert page.locator("script").count() == 0
        page.get_by_role("navigation", name="On this page").get_by_role("link", name="POST Infer", exact=True).click()
        expect(page.get_by_role("article", name="POST /v2/models/{model}/infer")).to_be_in_viewport()
        answer = page.locator("article:has(#infer) details").first
        expect(answer.locator("pre")).to_be_hidden()
        answer.locator("summary").click()
        expect(answer.locator("pre")).to_contain_text('"model_name": "iris"')


def test_a_click_takes_a_command_that_answers_as_it_says(visit: Visit, docs: str) -> None:
    with visit(url=f"{docs}#submit") as page:
        article = page.locator("article:has(#submit)")
        expect(article).to_be_in_viewport()
        article.locator(".command").first.click()
        command = page.evaluate("getSelection().toString()")
        shown = article.locator(".command + pre").first.inner_text()
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == json.loads(shown)


def test_the_keyboard_goes_to_the_operations_and_along_the_list(visit: Visit, docs: str) -> None:
    with visit(url=docs) as page:
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the operations")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport(ratio=1)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Page", exact=True)).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        for _ in range(4):
            page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="GET Submit one flower")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#submitOne")).to_be_in_viewport()


def test_the_page_leads_here_and_back_also_below_a_prefix(visit: Visit, served: Served) -> None:
    with behind_a_prefix(served.url, "/flowers/iris/") as url, visit(url=url) as page:
        expect(page.locator("#verdict")).to_contain_text("Iris")
        page.get_by_role("link", name="API", exact=True).click()
        expect(page).to_have_url(f"{url}docs")
        expect(page.locator("article").first).to_have_css("border-radius", "12.8px")
        document = page.get_by_role("link", name="OpenAPI", exact=True).evaluate(
            "one => fetch(one.href).then((it) => it.json())"
        )
        assert document["servers"][0]["url"] == ".", "the folder of the document: below the prefix, too"
        page.get_by_role("link", name="Page", exact=True).click()
        expect(page).to_have_url(url)
        assert page.get_by_role("link", name="OpenAPI", exact=True).evaluate("one => one.href") == f"{url}openapi.json"
        expect(page.locator("#verdict")).to_contain_text("Iris")
