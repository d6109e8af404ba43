"""What axe says of a page: nothing, or the test fails."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def is_accessible(page: Page, *parts: str) -> None:
    """Look at the whole page, or at some parts of a long one."""
    context = {"include": [[part] for part in parts]} if parts else None
    found = Axe().run(page, context=context, options={"runOnly": AXE_TAGS}).response
    assert len(found["passes"]) > 15, "axe looked at the page"
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
