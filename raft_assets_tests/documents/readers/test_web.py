"""Pages keep what people read, wherever their framework puts it, and say how much of the rest they leave out."""

import pytest

from raft_assets.documents.readers.web import read_html

BODY = "The harbour silts up every spring, and two dredgers work there until the middle of June."


def text_of(page: str) -> str:
    return "\n\n".join(section.text for section in read_html(page.encode()).sections)


FORMS = {
    "a form around the page": f"<body><form id=f><div><h1>Dredging</h1><p>{BODY}</p></div></form>",
    "a form around the body without a heading": f"<body><form><table><tr><td>{BODY}</td></tr></table></form>",
    "a form around main": f"<body><form><nav><a href=/>Home</a></nav><main><p>{BODY}</p></main></form>",
    "a form within main around all of it": (
        f"<main><form action=x><p>{BODY} {BODY} {BODY}</p><button>Go</button></form></main>"
    ),
    "a form around an article with a search form before it": (
        f"<body><form role=search><input><button>Search</button></form><form><article><p>{BODY}</p></article></form>"
    ),
}


@pytest.mark.parametrize("page", FORMS.values(), ids=FORMS.keys())
def test_a_form_around_the_page_is_the_page(page: str) -> None:
    text = text_of(page)
    assert BODY in text
    assert "Search" not in text
    assert "Go" not in text


CONTENT_FORMS = {
    "a table": "<form action=x><input type=hidden><table><tr><td>Max. load<td>12 tonnes</table></form>",
    "two of them": "<form><h2>Depth</h2><p>Nine metres.</p></form><form><p>Max. load: 12 tonnes.</p></form>",
    "a form to send": "<form><p>Max. load: 12 tonnes.</p><input type=submit value=Next></form>",
}


@pytest.mark.parametrize("form", CONTENT_FORMS.values(), ids=CONTENT_FORMS.keys())
@pytest.mark.parametrize("around", ["{}", f"<p>{BODY}</p><p>{BODY}</p>{{}}"])
def test_a_form_with_nothing_to_fill_in_is_content(form: str, around: str) -> None:
    assert "12 tonnes" in text_of(f"<body>{around.format(form)}")


@pytest.mark.parametrize("part", ["<main><p>Ships ahoy</p></main>", "<article><p>News: we moved.</p></article>"])
def test_a_page_whose_text_is_outside_its_main_content_is_read_whole(part: str) -> None:
    text = text_of(f"<body>{part}<section><h2>Dredging</h2><p>{BODY * 3}</p></section>")
    assert BODY in text
    assert "Ships ahoy" in text or "we moved" in text


FURNITURE_FORMS = {
    "a search": "<form><label>Search this site</label><input><button>Find</button></form>",
    "a newsletter": (
        "<form><h3>Newsletter</h3><p>Get news every week. We never write more.</p>"
        "<input><button>Sign up</button></form>"
    ),
    "a sign-in": "<form><label>Name<input></label><label>Password<input></label><a href=x>Lost it?</a></form>",
    "a choice": "<form><select><option>Deutsch<option>English</select></form>",
}


@pytest.mark.parametrize("form", FURNITURE_FORMS.values(), ids=FURNITURE_FORMS.keys())
def test_a_form_to_fill_in_is_furniture_and_is_counted(form: str) -> None:
    content = read_html(f"<body><h1>Dredging</h1><p>{BODY} {BODY} {BODY}</p>{form}".encode())
    (section,) = content.sections
    assert section.text == f"# Dredging\n\n{BODY} {BODY} {BODY}"
    assert sum(content.left_out.values()) > 1
    assert set(content.left_out) <= {"form", "control"}


QUESTIONS = {
    "a button in a heading": "<h2><button type=button>Who dredges?</button></h2><div>Two ships.</div>",
    "a button with a number before it": (
        "<h3>1. <button aria-expanded=false>Who dredges?</button></h3><p>Two ships.</p>"
    ),
    "a button by itself": (
        "<div class=item><button class=acc>Who dredges?</button><div class=body>Two ships.</div></div>"
    ),
    "a button that names its panel": (
        "<button aria-controls=p aria-expanded=false>Who dredges</button><div id=p hidden><p>Two ships.</p></div>"
    ),
    "a button of Bootstrap": (
        "<button class=btn data-bs-toggle=collapse data-bs-target='#p'>Who dredges</button>"
        "<div class=collapse id=p>Two ships.</div>"
    ),
    "a button before a panel that is hidden by its style": (
        "<button>Who dredges</button><div class=x style='display: none'>Two ships.</div>"
    ),
    "details": "<details><summary>Who dredges?</summary><p>Two ships.</p></details>",
    "a button before a part that nothing marks": (
        "<div><button type=button class=x><span>Who dredges here</span></button><div class=y>Two ships. They come "
        "from Halden in May.</div></div>"
    ),
    "a button and its part, and nothing else": (
        "<div><button>Who dredges here</button><div>Two ships.</div></div><div><button>How much mud</button>"
        "<div>Very little.</div></div>"
    ),
    "a part that opens by a script": (
        "<div role=button tabindex=0 aria-expanded=false>Who dredges</div><div hidden>Two ships.</div>"
    ),
    "a button in a part of its own": (
        "<div class=x1><div class=x2><button>Who dredges</button></div><div class=body>Two ships.</div></div>"
    ),
    "a button that says whether it is open": (
        "<div><button aria-expanded=false>Who dredges</button><section>Two ships.</section></div>"
    ),
    "details with a button": "<details><summary><button>Who dredges</button></summary>Two ships.</details>",
    "a list of definitions": "<dl><dt><button>Who dredges</button></dt><dd hidden>Two ships.</dd></dl>",
    "tabs": (
        "<ul role=tablist><li><button role=tab aria-controls=a>Who dredges</button></li></ul>"
        "<div role=tabpanel id=a hidden>Two ships.</div>"
    ),
    "tabs in nav": (
        "<nav><div role=tablist><button role=tab id=t>Who dredges</button></div></nav>"
        "<div role=tabpanel aria-labelledby=t aria-hidden=true>Two ships.</div>"
    ),
    "a panel that a search opens": "<h3>Who dredges?</h3><div hidden=until-found>Two ships.</div>",
    "a link that opens a panel": (
        "<a href='#p' class=toggle>Who dredges?</a><div id=p aria-hidden=true>Two ships.</div>"
    ),
    "a heading before what it opens": "<div class=h><h3>Who dredges?</h3></div><div hidden><b>Two ships.</b></div>",
    "questions in Chinese": "<button>谁在疏浚？</button><div>Who dredges? Two ships.</div>",
}


@pytest.mark.parametrize("items", QUESTIONS.values(), ids=QUESTIONS.keys())
@pytest.mark.parametrize("around", ["<main><h1>FAQ</h1><p>{}</p>{}</main>", "<body><div><h1>FAQ</h1>{}{}</div>"])
def test_questions_and_answers_that_open_and_close_are_content(items: str, around: str) -> None:
    text = text_of(around.format(BODY, items))
    assert "Who dredges" in text
    assert "Two ships." in text
    assert text.index("Who dredges") < text.index("Two ships.")
    assert "dredgesTwo" not in text.replace("?", "")


CONTROLS = {
    "a button that copies": "<pre>make dredge</pre><button>Copy</button>",
    "a menu": (
        "<button aria-expanded=false aria-controls=m>Menu</button><ul id=m hidden><li><a href=/a>Home</a></li></ul>"
    ),
    "a dialog": "<div class='modal fade' id=x hidden><p>We use cookies to make this site work for you.</p></div>",
    "a banner": "<div role=dialog aria-hidden=true><p>Please accept our terms before you go on reading here.</p></div>",
    "a button before the next paragraph": "<button>Copy link</button><p>Dredging ends in May. It begins in March.</p>",
    "an icon": "<span aria-hidden=true class='tab-icon'>expand_more</span>",
    "a drawing": "<svg><text>expand_more</text></svg>",
}


@pytest.mark.parametrize("part", CONTROLS.values(), ids=CONTROLS.keys())
def test_controls_menus_and_dialogs_are_left_out_and_counted(part: str) -> None:
    content = read_html(f"<main><h1>Dredging</h1><p>{BODY}</p>{part}</main>".encode())
    text = content.sections[0].text
    assert not any(word in text for word in ("Copy", "Menu", "cookies", "accept", "expand_more", "Home"))
    assert sum(content.left_out.values()) > 0


CAUTIONS = {
    "a label": "<aside aria-label=Caution><p>Caution</p><p>{}</p></aside>",
    "a class": "<aside class='starlight-aside starlight-aside--caution'>{}</aside>",
    "a role": "<aside role=note>{}</aside>",
    "nothing but a sentence": "<aside><p>{}</p></aside>",
    "a class of callouts": "<aside class='calloutBox'><p>{}</p></aside>",
    "the footnotes of the page": "<footer class=footnotes><ol><li>{}</li></ol></footer>",
    "the footer of an article": "<footer><p>{}</p></footer>",
}


@pytest.mark.parametrize("part", CAUTIONS.values(), ids=CAUTIONS.keys())
def test_cautions_and_notes_beside_the_text_are_content(part: str) -> None:
    note = "Never stand below the grab while it opens."
    assert note in text_of(f"<article><h1>Dredging</h1><p>{BODY}</p>{part.format(note)}<p>{BODY}</p></article>")


@pytest.mark.parametrize(
    "remark", ["Max. load 5 t", "Nicht betreten!", "禁止站在抓斗下面", "Betreten der Mole verboten"]
)
def test_a_short_remark_beside_the_text_is_content(remark: str) -> None:
    page = f"<main><h1>Dredging</h1><p>{BODY}</p><aside>{remark}</aside><p>{BODY}</p></main>"
    assert remark in text_of(page)


def test_words_of_fields_are_not_glued_together() -> None:
    page = f"<main><p>{BODY}</p><p><label>Berth</label><input><label>Crane</label><select></select>Pilot</p></main>"
    assert "Berth Crane Pilot" in text_of(page)


ASIDES = {
    "links": (
        "<aside><p>Read on. It is all here.</p><ul><li><a href=/a>Of the tides and of the moon.</a></li></ul></aside>"
    ),
    "a sidebar": "<aside class=sidebar><p>The port was founded in 1931 and has two basins.</p></aside>",
    "an advertisement": "<aside id=ad-1><p>Buy ropes of Orlo now, they hold for ever.</p></aside>",
    "a word": "<aside>Advert</aside>",
    "copyright": "<footer><p>Copyright 2021 by the harbour board, all rights reserved.</p></footer>",
}


@pytest.mark.parametrize("part", ASIDES.values(), ids=ASIDES.keys())
def test_sidebars_and_link_lists_are_left_out_and_counted(part: str) -> None:
    content = read_html(f"<article><h1>Dredging</h1><p>{BODY}</p>{part}</article>".encode())
    assert [section.text for section in content.sections] == [f"# Dredging\n\n{BODY}"]
    assert sum(content.left_out.values()) > 0


def test_what_is_left_out_is_counted_by_reason() -> None:
    page = (
        "<body><header>Harbour board</header><nav><a href=/>Home page</a></nav><div>One two three.</div>"
        f"<main><p>{BODY}</p><script>var a</script><aside class=sidebar>four five six</aside></main>"
        "<footer>All rights reserved</footer>"
    )
    assert read_html(page.encode()).left_out == {
        "outside_main": 5,  # the page's header and what is next to its main content
        "aside": 3,
        "footer": 3,
        "navigation": 2,
    }


def test_the_header_of_an_article_is_its_title_and_that_of_the_page_is_furniture() -> None:
    page = (
        f"<body><header>Harbour board</header><article><header><h2>Spring</h2></header><p>{BODY}</p></article>"
        f"<article><header><h2>Autumn</h2></header><p>{BODY}</p></article>"
    )
    assert text_of(page) == f"## Spring\n\n{BODY}\n\n## Autumn\n\n{BODY}"
    assert read_html(page.encode()).left_out == {"header": 2}


@pytest.mark.parametrize("part", ["<div hidden class=panel>", "<aside>", "<button>Who?</button><div class=x hidden>"])
def test_doubtful_parts_may_nest_deeper_than_anybody_looks(part: str) -> None:
    assert "The end is here." in text_of(f"<body><p>{BODY}</p>{part * 3_000}The end is here.")
