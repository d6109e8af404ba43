"""Pages lead where they say: files that exist, headings that exist, sources that are listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "models" / "README.md"])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    return [first or second for first, second in LINK.findall(text)]


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as they are made on the forges: small letters, hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_links_are_found() -> None:
    assert sum(len(links(page)) for page in PAGES) > 40


def test_every_source_of_the_comparison_is_listed_and_every_listed_one_is_used() -> None:
    text = (ROOT / "docs" / "comparison.md").read_text()
    body, _, sources = text.partition("\n## Sources\n")
    used = {name for group in re.findall(r"\[((?:[KSBR]\d(?:, )?)+)\]", body) for name in group.split(", ")}
    listed = set(re.findall(r"^\| ([KSBR]\d) \|", sources, re.MULTILINE))
    assert used == listed


def test_the_comparison_has_no_figure_of_ours_that_performance_does_not_have() -> None:
    text = (ROOT / "docs" / "comparison.md").read_text()
    measured = (ROOT / "docs" / "performance.md").read_text()
    for claim, figure in (("3.5 ms by polling", "| ours | 3.54"), ("1.4 ms with `?wait=`", "| ours, `?wait=` | 1.44")):
        assert claim in text
        assert figure in measured, f"performance.md was measured anew: look at {claim!r} in comparison.md"
