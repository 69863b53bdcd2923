"""A page of HTML as a parser sees it."""

from __future__ import annotations

from html.parser import HTMLParser

ENDS_ALONE = ("td", "th", "tr", "tbody", "thead", "li", "option")  # end tags that HTML lets one leave out
EMPTY = ("meta", "input", "path", "circle", "polygon")


class Seen(HTMLParser):
    """What a page holds: elements with their attributes, texts, scripts, and ends that end nothing."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.unclosed: list[str] = []
        self.wrong: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element, and wait for its end."""
        self.elements.append((tag, dict(attrs)))
        if tag not in (*ENDS_ALONE, *EMPTY):
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element that has no end."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """The end of the last element that has not ended."""
        if tag in ENDS_ALONE or (self.unclosed and self.unclosed[-1] == tag):
            self.unclosed = self.unclosed[:-1] if tag not in ENDS_ALONE else self.unclosed
        else:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        (self.scripts if self.unclosed[-1:] == ["script"] else self.texts).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]
