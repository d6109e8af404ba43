"""HTML made of values. What is not markup already is escaped: nothing that a card or a header says becomes a tag."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_CODE = re.compile(r"`([^`]+)`")
_WITHOUT_END = frozenset({"link", "meta"})


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str) -> Markup:
    """Return an element; a trailing underscore keeps an attribute's name from being Python's."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    end = "" if name in _WITHOUT_END else f"</{name}>"
    return Markup(f"<{name}{given}>{joined(children)}{end}")


def joined(parts: Iterable[str], between: str = "") -> Markup:
    """Return the parts one after the other."""
    return Markup(_safe(between).join(map(_safe, parts)))


def _safe(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)


def phrase(text: str) -> Markup:
    """Return a text in which what stands between backticks is code."""
    parts = _CODE.split(text)
    return joined(element("code", part) if at % 2 else part for at, part in enumerate(parts))


def prose(text: str) -> Markup:
    """Return a text whose paragraphs are apart by an empty line."""
    return joined(element("p", phrase(paragraph)) for paragraph in text.split("\n\n") if paragraph)
