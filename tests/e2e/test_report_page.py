"""The structure of the report's page: what keyboards and screen readers go by."""

import re
import subprocess
from html.parser import HTMLParser

import pytest
from conftest import BINARY, GRAPHS

VOID = {"meta", "input", "br", "link", "img"}
ENCODERS = GRAPHS.parent / "encoders"


class Page(HTMLParser):
    """Elements in order, each with its parents and the text inside it."""

    def __init__(self, text):
        super().__init__()
        self.open, self.all = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "at": dict(attrs), "parents": list(self.open), "text": ""}
        self.all.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.all.append({"tag": tag, "at": dict(attrs), "parents": list(self.open), "text": ""})

    def handle_endtag(self, tag):
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> ends {self.open[-1]['tag'] if self.open else 'nothing'}"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def of(self, *tags):
        return [e for e in self.all if e["tag"] in tags]


@pytest.fixture(scope="module", params=["profile", "explain"])
def page(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    flags = ["--runs", "2"] if request.param == "profile" else []
    subprocess.run([BINARY, request.param, ENCODERS / "modernbert_ts17.onnx", "--batch", "2", "--length", "9",
                    "--html", path, *flags], check=True, stdout=subprocess.DEVNULL, timeout=120)
    return Page(path.read_text(encoding="utf-8"))


def test_elements_nest_and_ids_are_unique(page):
    assert not page.open
    ids = [e["at"]["id"] for e in page.all if "id" in e["at"]]
    assert len(ids) == len(set(ids))


def test_links_lead_somewhere(page):
    ids = {e["at"].get("id") for e in page.all}
    links = page.of("a")
    assert links, "a page without even a skip link"
    for link in links:
        assert link["at"]["href"].startswith("#") and link["at"]["href"][1:] in ids, link["at"]
        assert link["text"].strip() or link["at"].get("aria-label"), link["at"]


def test_the_first_stop_of_the_keyboard_skips_to_the_content(page):
    stops = [e for e in page.all if e["tag"] in ("a", "button", "input") or e["at"].get("tabindex") == "0"]
    assert stops[0]["at"].get("class") == "skip" and stops[0]["at"]["href"] == "#main"
    main = page.of("main")
    assert len(main) == 1 and main[0]["at"]["id"] == "main" and main[0]["at"]["tabindex"] == "-1"


def test_no_stop_is_out_of_the_order_of_the_page(page):
    assert {e["at"].get("tabindex") for e in page.all} <= {None, "0", "-1"}


def test_everything_that_takes_focus_has_a_name(page):
    labels = {e["at"].get("for") for e in page.of("label")}
    for element in page.all:
        if element["tag"] == "button" or element["at"].get("tabindex") == "0":
            assert element["text"].strip() or element["at"].get("aria-label"), element["at"]
        if element["tag"] == "input":
            assert element["at"]["id"] in labels


def test_headings_go_down_one_level_at_a_time(page):
    levels = [int(e["tag"][1]) for e in page.of("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:])), levels


def test_sections_are_named_by_their_headings(page):
    headings = {e["at"].get("id"): e["text"] for e in page.of("h2")}
    for section in page.of("section"):
        assert headings[section["at"]["aria-labelledby"]].strip()


def test_tables_have_captions_and_every_head_has_text(page):
    tables = page.of("table")
    assert len(page.of("caption")) == len(tables) > 3
    for head in page.of("th"):
        assert head["at"]["scope"] in ("col", "row")
        assert head["text"].strip(), "a head cell without a word"
    for table in tables:
        inside = [e for e in page.all if table in e["parents"]]
        rows = [e for e in inside if e["tag"] == "tr"]
        widths = {sum(1 for e in inside if e["tag"] in ("td", "th") and e["parents"][-1] is row) for row in rows}
        assert len(widths) == 1, "rows of different lengths"


def test_pictures_are_told_or_hidden(page):
    for svg in page.of("svg"):
        told = svg["at"].get("role") in ("img", "group") and svg["at"].get("aria-label")
        assert told or svg["at"].get("aria-hidden") == "true", svg["at"]


def test_lists_without_marks_are_still_lists(page):
    style = page.of("style")[0]["text"]
    bare = re.findall(r"\.([a-z]+)\{[^}]*list-style:none", style)
    assert bare
    for element in page.of("ol", "ul"):
        if element["at"].get("class") in bare:
            assert element["at"].get("role") == "list"


def test_focus_is_seen_and_motion_only_where_it_is_wanted(page):
    style = page.of("style")[0]["text"]
    assert re.search(r":focus-visible\{outline:3px", style)
    assert style.index("prefers-reduced-motion:no-preference") < style.index("scroll-behavior:smooth")


def test_what_changes_by_itself_is_announced(page):
    assert [e["at"]["id"] for e in page.all if e["at"].get("role") == "status"] == ["count"]
