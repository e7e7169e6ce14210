"""Which parts of a web page are furniture (navigation, controls, banners, closed dialogs) rather than content.

Tags alone don't say: frameworks wrap whole pages in a form, put questions into buttons, cautions into asides, and
answers into panels that are hidden until they are opened. What is doubtful is content.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from selectolax.lexbor import LexborHTMLParser, LexborNode

from raft_assets.documents.readers.cleaning import to_one_line
from raft_assets.documents.readers.left_out import LeftOutReason, count_words

NO_TEXT = frozenset({"script", "style", "template", "iframe", "object", "head"})
MAX_LINK_SHARE = 0.5  # of the words; above it a part leads to other pages
MIN_FORM_WORDS = 40  # outside labels and controls: a form for a search, a sign-in or a newsletter has fewer
MAX_ANCESTORS = 100  # that are looked at
MAX_WRAPPERS = 3  # around a button
MIN_REMARK_WORDS = 3  # of an aside within the text; an advertisement's label is shorter
MIN_HIDDEN_WORDS = 20  # of a hidden part that nothing marks as a panel

_SENTENCE = re.compile(r"[^\W\d_][^.!?。！？؟।]{12,}[.!?。！？؟।]|[^\W\d_][^。！？]{5,}[。！？]")
_QUESTION = re.compile(r"[?？؟;]\s*$")
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "summary", "dt"})
_PANEL_TAGS = frozenset(
    {"div", "section", "article", "dd", "dl", "ul", "ol", "p", "details", "table", "pre", "figure", "blockquote"}
)
# what a reader fills in
_FILLED_IN = "input:not([type=hidden]):not([type=submit]):not([type=button]):not([type=image]), select, textarea"
_LABELS_AND_CONTROLS = frozenset({"button", "select", "textarea", "label", "legend", "option", "datalist"})
# words of class, id, role and aria-label, split at hyphens and capitals
_WORD_OF_NAME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+")
_DISCLOSURE = frozenset({"accordion", "collapse", "collapsible", "toggle", "expand", "expander", "disclosure", "faq"})
_DISCLOSURE |= {"question", "tab", "tabs", "spoiler", "summary"}
_PANEL = _DISCLOSURE | {"panel", "pane", "tabpanel", "tabpane", "answer", "body", "content", "details", "more"}
_DIALOG = frozenset({"dialog", "alertdialog", "modal", "cookie", "cookies", "consent", "gdpr", "popup", "overlay"})
_DIALOG |= {"menu", "menubar", "nav", "navigation", "navbar", "search", "login", "signin", "signup", "tooltip"}
_DIALOG |= {"newsletter", "subscribe", "lightbox", "offcanvas", "drawer", "dropdown", "loading", "spinner"}
_NOTE = frozenset({"caution", "warning", "warn", "danger", "note", "notice", "tip", "hint", "info", "important"})
_NOTE |= {"admonition", "callout", "attention", "alert", "sidenote", "marginnote", "footnote", "footnotes", "endnote"}
_NOTE |= {"endnotes", "remark", "example", "definition", "hinweis", "achtung", "warnung", "vorsicht", "attention"}
_APART = frozenset(
    {"sidebar", "related", "share", "sharing", "social", "ad", "ads", "advert", "advertisement", "promo"}
)
_APART |= {
    "newsletter",
    "subscribe",
    "toc",
    "author",
    "bio",
    "widget",
    "nav",
    "navigation",
    "menu",
    "comments",
    "cookie",
}
_APART |= {"recommended", "recommendations", "breadcrumb", "breadcrumbs", "banner", "sponsor", "sponsored", "copyright"}
_CONTROLLING = ("aria-controls", "data-bs-target", "data-target", "href")  # that name what is opened
_COPYRIGHT = re.compile(r"©|\(c\)\s*\d{4}|\bcopyright\b|all rights reserved", re.IGNORECASE)


def find_furniture(tree: LexborHTMLParser) -> dict[int, LeftOutReason]:
    """Return the parts that are no content, by the identity of their node, and why."""
    return _Page(tree).furniture()


def text_below(node: LexborNode, without: frozenset[str] = frozenset()) -> str:
    """Return the text below a node, of scripts and the given tags apart, with blanks between the texts."""
    texts: list[str] = []
    pending = [node]
    while pending:
        node = pending.pop()
        if node.is_text_node:
            texts.append(node.text_content or "")
        elif str(node.tag) not in NO_TEXT and str(node.tag) not in without:
            pending.extend(reversed(list(node.iter(include_text=True))))
    return " ".join(texts)


def count_left_out(
    body: LexborNode | None, content: LexborNode | None, furniture: dict[int, LeftOutReason]
) -> Counter[LeftOutReason]:
    """Count the words of a page that are not in its content, by reason."""
    words: Counter[LeftOutReason] = Counter()
    outside: LeftOutReason | None = "outside_main"
    pending: list[tuple[LexborNode, LeftOutReason | None]] = [(body, outside)] if body else []
    while pending:
        node, reason = pending.pop()
        if node.is_text_node:
            if reason:
                words[reason] += count_words(node.text_content or "")
        elif str(node.tag) not in NO_TEXT:
            if content and node.mem_id == content.mem_id:
                reason = None
            if reason in (None, outside):
                reason = furniture.get(node.mem_id, reason)
            pending.extend((child, reason) for child in node.iter(include_text=True))
    return words


@dataclass
class _Page:
    tree: LexborHTMLParser
    marked: dict[int, LeftOutReason] = field(default_factory=dict)

    def furniture(self) -> dict[int, LeftOutReason]:
        self._mark("nav", "navigation", lambda node: node.css_first("[role=tablist]") is None and not _is_tablist(node))
        self._mark("svg", "graphic", lambda _: True)
        self._mark("noscript", "hidden", lambda _: True)
        self._mark("select, datalist, form textarea", "control", lambda _: True)
        self._mark("button", "control", lambda node: not self._holds_label(node))
        self._mark("form", "form", lambda node: not self._is_content_form(node))
        self._mark("[hidden], [aria-hidden=true]", "hidden", lambda node: not self._is_closed_panel(node))
        self._mark("aside", "aside", lambda node: not self._is_note(node))
        self._mark("footer", "footer", lambda node: not self._is_closing_note(node))
        return self.marked

    def _mark(self, selector: str, reason: LeftOutReason, is_furniture: Callable[[LexborNode], bool]) -> None:
        judged: set[int] = set()
        for node in self.tree.css(selector):
            if node.mem_id in self.marked or any(above.mem_id in judged for above in _ancestors(node)):
                continue  # what is in such a part shares its fate
            judged.add(node.mem_id)
            if is_furniture(node):
                self.marked[node.mem_id] = reason

    def _holds_label(self, button: LexborNode) -> bool:
        """Return whether a button is a heading rather than a control: of an accordion, of a tab, or a question."""
        text = to_one_line(button.text())
        if not count_words(text):
            return False
        if any(str(node.tag) in _HEADINGS for node in _ancestors(button)) or _QUESTION.search(text):
            return True
        names, panel = _names(button), self._panel_of(button)
        if panel is not None:
            return self._is_content_panel(panel)
        return "tab" in names or bool(names & _DISCLOSURE and count_words(text) > 1)

    def _panel_of(self, button: LexborNode) -> LexborNode | None:
        """Return what a button opens: what it names, else a part after it that is hidden or called a panel."""
        for attribute in _CONTROLLING:
            name = (button.attributes.get(attribute) or "").removeprefix("#").split(" ")[0]
            if name in self.by_id:
                return self.by_id[name]
        for node in self._as_large_as(button):
            after = _next_element(node)
            if after is not None:
                return after if str(after.tag) in _PANEL_TAGS and self._is_opened(after, button) else None
        return None

    def _as_large_as(self, button: LexborNode) -> Iterator[LexborNode]:
        """Yield the button and what holds no other words than it, which frameworks wrap it in."""
        words = self.words.get(button.mem_id)
        yield button
        for above in islice(_ancestors(button), MAX_WRAPPERS):
            if self.words.get(above.mem_id) != words:
                return
            yield above

    def _is_opened(self, after: LexborNode, button: LexborNode) -> bool:
        """Return whether what comes after a button is the panel that it opens rather than the text that goes on."""
        if _is_hidden(after) or _names(after) & _PANEL or "aria-expanded" in button.attributes:
            return True
        if count_words(to_one_line(button.text())) < 2 or str(after.tag) == "p":
            return False
        item = after.parent
        children = (child for child in item.iter() if child.is_element_node) if item is not None else iter(())
        are_alone = sum(1 for _ in islice(children, 3)) == 2
        return are_alone or bool(_SENTENCE.search(text_below(after)))

    def _is_content_form(self, form: LexborNode) -> bool:
        """Return whether a form holds content: frameworks wrap pages in one, and questionnaires are texts."""
        if form.css_first("main, [role=main], article, h1"):
            return True
        if not form.css_first(_FILLED_IN) and self._is_content_panel(form):
            return count_words(text_below(form, _LABELS_AND_CONTROLS)) > 0
        words = count_words(text_below(form, _LABELS_AND_CONTROLS | {"nav", "footer"}))
        if words >= MIN_FORM_WORDS:
            return True
        return 2 * words > self.body_words and bool(_SENTENCE.search(text_below(form, _LABELS_AND_CONTROLS)))

    def _is_closed_panel(self, node: LexborNode) -> bool:
        """Return whether a hidden part is content that a reader can open: the panel of a tab or an accordion."""
        names = _names(node)
        if str(node.tag) not in _PANEL_TAGS or names & _DIALOG or not self._is_content_panel(node):
            return False
        is_panel = (
            names & _PANEL
            or node.attributes.get("hidden") == "until-found"
            or any(name in node.attributes for name in ("aria-labelledby", "aria-describedby"))
            or str(node.tag) == "dd"
            or any(str(above.tag) == "details" for above in _ancestors(node))
            or _follows_label(node)
            or node.attributes.get("id") in self.controlled
        )
        is_long = self.words[node.mem_id][0] >= MIN_HIDDEN_WORDS
        return bool(is_panel or (is_long and _SENTENCE.search(text_below(node))))

    @cached_property
    def body_words(self) -> int:
        """Words of the page without its navigation, header, footer, labels and controls."""
        body = self.tree.body
        return (
            count_words(text_below(body, _LABELS_AND_CONTROLS | {"nav", "footer", "header"})) if body is not None else 0
        )

    @cached_property
    def by_id(self) -> dict[str, LexborNode]:
        """The first node of each id."""
        nodes: dict[str, LexborNode] = {}
        for node in self.tree.css("[id]"):
            nodes.setdefault(node.attributes.get("id") or "", node)
        return nodes

    @cached_property
    def controlled(self) -> set[str]:
        """Ids of what something opens."""
        names: set[str] = set()
        for attribute in _CONTROLLING:
            for node in self.tree.css(f"[{attribute}]"):
                value = node.attributes.get(attribute) or ""
                if attribute == "aria-controls":
                    names.update(value.split())
                elif value.startswith("#"):
                    names.add(value[1:])
        return names

    @cached_property
    def words(self) -> dict[int, tuple[int, int]]:
        """Words of every element, and how many of them are links; counted once, whatever the page nests."""
        counts: dict[int, tuple[int, int]] = {}
        pending = [(self.tree.body, False)] if self.tree.body is not None else []
        while pending:
            node, is_done = pending.pop()
            children = list(node.iter(include_text=True))
            if not is_done:
                pending.append((node, True))
                pending.extend((child, False) for child in children if child.is_element_node)
                continue
            inner = [counts.get(child.mem_id, (0, 0)) for child in children if child.is_element_node]
            texts = (child.text_content or "" for child in children if child.is_text_node)
            total = 0 if str(node.tag) in NO_TEXT else sum(map(count_words, texts)) + sum(words for words, _ in inner)
            is_link = str(node.tag) == "a" and "href" in node.attributes
            counts[node.mem_id] = (total, total if is_link else sum(links for _, links in inner))
        return counts

    def _is_content_panel(self, node: LexborNode) -> bool:
        """Return whether a part has words, most of which lead to no other page."""
        words, links = self.words.get(node.mem_id, (0, 0))
        return words > 0 and links <= MAX_LINK_SHARE * words

    def _is_note(self, aside: LexborNode) -> bool:
        """Return whether an aside belongs to the text: a caution, a tip or any remark in sentences."""
        names = _names(aside)
        if names & _NOTE:
            return True
        if names & _APART or not self._is_content_panel(aside):
            return False
        words, links = self.words[aside.mem_id]
        is_inside = any(str(node.tag) in {"article", "main"} for node in _ancestors(aside))
        is_remark = is_inside and not links and words >= MIN_REMARK_WORDS
        return is_remark or bool(_SENTENCE.search(text_below(aside)))

    def _is_closing_note(self, footer: LexborNode) -> bool:
        """Return whether a footer is text: the footnotes, the source of a quotation, the end of an article."""
        if _names(footer) & _NOTE or any(str(node.tag) in {"blockquote", "figure"} for node in _ancestors(footer)):
            return True
        is_inside = any(str(node.tag) in {"article", "main"} for node in _ancestors(footer))
        if not is_inside or _names(footer) & _APART or not self._is_content_panel(footer):
            return False
        text = text_below(footer)
        return bool(_SENTENCE.search(text)) and not _COPYRIGHT.search(text)


def _is_tablist(node: LexborNode) -> bool:
    return node.attributes.get("role") == "tablist"


def is_page_header(header: LexborNode) -> bool:
    """Return whether a header is that of the page and not of an article or section in it."""
    return not any(str(node.tag) in {"article", "section", "main", "blockquote"} for node in _ancestors(header))


def is_within(node: LexborNode, furniture: dict[int, LeftOutReason]) -> bool:
    """Return whether a node is furniture or in a part that is."""
    return node.mem_id in furniture or any(above.mem_id in furniture for above in _ancestors(node))


def _is_hidden(node: LexborNode) -> bool:
    style = re.sub(r"\s", "", node.attributes.get("style") or "").casefold()
    return "hidden" in node.attributes or node.attributes.get("aria-hidden") == "true" or "display:none" in style


def _names(node: LexborNode) -> set[str]:
    values = [node.attributes.get(name) or "" for name in ("class", "id", "role", "aria-label", "data-bs-toggle")]
    return {word.casefold() for value in values for word in _WORD_OF_NAME.findall(value)}


def _follows_label(node: LexborNode) -> bool:
    """Return whether a hidden part comes after the heading or button that opens it."""
    before = node.prev
    while before is not None and not before.is_element_node:
        before = before.prev
    return before is not None and (
        str(before.tag) in _HEADINGS | {"button"}
        or before.attributes.get("role") == "button"
        or "aria-expanded" in before.attributes
        or before.css_first("button, h2, h3, h4, h5, h6") is not None
    )


def _next_element(node: LexborNode) -> LexborNode | None:
    following = node.next
    while following is not None and not following.is_element_node:
        following = following.next
    return following


def _ancestors(node: LexborNode) -> Iterator[LexborNode]:
    """Yield what a node is in, up to a limit: pages nest as deep as they like."""
    above = node.parent
    for _ in range(MAX_ANCESTORS):
        if above is None or not above.is_element_node:
            return
        yield above
        above = above.parent
