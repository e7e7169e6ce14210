"""Gates of pairs in other languages than English: perfect pairs pass, wrong ones don't."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, render_answer
from raft_assets.core.tables import QAPair
from raft_assets.pairs.gates import OFF, apply_gates
from raft_assets.pairs.questions import Draft, parse_questions
from raft_assets.settings.domain import QuestionSettings
from raft_assets_tests.builders import a_chunk


@dataclass(frozen=True)
class Tongue:
    """Places and what happened there, and how the language says it; `{n}` place, `{y}` year, `{e}` event."""

    places: tuple[str, ...]
    events: tuple[str, ...]
    sentence: str
    rest: str
    when: str
    year: str
    what: str


TONGUES = {
    "de": Tongue(
        ("der Leuchtturm Nordmole", "die Werft Ostufer", "das Zollhaus Altstadt"),
        ("von einer bekannten Architektin umgebaut", "mit dem ersten Kran ausgestattet", "für Besucher geöffnet"),
        "Im Jahr {y} wurde {n} {e}.",
        "Viele Bewohner der Stadt kommen am Wochenende hierher, um spazieren zu gehen.",
        "In welchem Jahr wurde {n} {e}?",
        "im Jahr {y}",
        "Was geschah im Jahr {y} mit {n}?",
    ),
    "ar": Tongue(
        ("منارة الرصيف الشمالي", "حوض الضفة الشرقية", "دار الجمارك القديمة"),
        ("أعيد بناؤها على يد مهندسة مشهورة", "استقبلت أول رافعة كهربائية", "فتحت أبوابها للزوار"),
        "في عام {y} {e} {n}.",
        "يأتي سكان المدينة إلى هنا في نهاية الأسبوع.",
        "في أي عام {e} {n}؟",
        "عام {y}",
        "ماذا حدث في عام {y} في {n}؟",
    ),
    "zh": Tongue(
        ("北码头灯塔", "东岸船厂", "旧城海关大楼"),
        ("由一位著名建筑师改建", "安装了第一台起重机", "向游客免费开放"),
        "{n}于{y}年{e}。",
        "居民们常常在周末来到这里散步、聊天和休息。",
        "{n}于哪一年{e}？",
        "{y}年",
        "{n}于{y}年发生了什么？",
    ),
    "ja": Tongue(
        ("北埠頭の灯台", "東岸造船所", "旧市街の税関"),
        ("有名な建築家によって改築された", "最初のクレーンを設置した", "無料で一般に公開された"),
        "{n}は{y}年に{e}。",
        "住民は週末にここへ散歩に来ます。",
        "{n}は何年に{e}か？",
        "{y}年",
        "{n}に{y}年に何がありましたか？",
    ),
    "hi": Tongue(
        ("उत्तरी घाट का प्रकाशस्तंभ", "पूर्वी तट का पोतघर", "पुराने शहर का सीमाशुल्क भवन"),
        ("एक प्रसिद्ध वास्तुकार ने नया बनाया", "पहली क्रेन लगाई गई", "दर्शकों के लिए खोला गया"),
        "सन् {y} में {n} {e}।",
        "लोग सप्ताहांत में यहाँ घूमने आते हैं।",
        "{n} किस वर्ष {e}?",
        "सन् {y}",
        "सन् {y} में {n} के साथ क्या हुआ?",
    ),
    "ru": Tongue(
        ("маяк Северный Мол", "верфь Восточный Берег", "таможня Старого Города"),
        ("перестроен известным архитектором", "оснащён первым краном", "открыт для посетителей"),
        "В {y} году {n} был {e}.",
        "Жители города приходят сюда по выходным.",
        "В каком году {n} был {e}?",
        "в {y} году",
        "Что произошло в {y} году с местом {n}?",
    ),
    "th": Tongue(
        ("ประภาคารท่าเรือเหนือ", "อู่ต่อเรือฝั่งตะวันออก", "ศุลกากรเมืองเก่า"),
        ("ได้รับการบูรณะโดยสถาปนิกชื่อดัง", "ติดตั้งปั้นจั่นตัวแรก", "เปิดให้เข้าชมฟรี"),
        "ในปี {y} {n}{e}",
        "ชาวเมืองมาเดินเล่นที่นี่ในวันหยุด",
        "{n}{e}ในปีใด",
        "ปี {y}",
        "ในปี {y} เกิดอะไรขึ้นกับ{n}?",
    ),
}
ENGLISH_REASON = "The document names the year in which it happened in this sentence: "


def drafts_of(code: str) -> Iterator[tuple[str, Draft]]:
    """Drafts by what they are: perfect, or wrong in one way."""
    tongue = TONGUES[code]
    for number, place in enumerate(tongue.places):
        for turn, event in enumerate(tongue.events):
            year = 1874 + 17 * number + 5 * turn
            names = {"n": place, "y": year, "e": event}
            sentence = tongue.sentence.format(**names)
            quote = f"{BEGIN_QUOTE}{sentence}{END_QUOTE}"
            chunk = a_chunk(f"{number}.{turn}", f"{sentence} {tongue.rest}").model_copy(update={"language": code})
            when, what = tongue.when.format(**names), tongue.what.format(**names)
            other = tongue.events[(turn + 1) % len(tongue.events)]
            for kind, question, answer in (
                ("perfect", when, render_answer(quote, tongue.year.format(y=year))),
                ("perfect", what, render_answer(quote, event)),
                ("changed number", when, render_answer(quote, tongue.year.format(y=year + 1))),
                ("changed number", what, render_answer(quote, f"{event} {year + 1}")),
                ("of another passage", what, render_answer(quote, other)),
                ("in another language", when, render_answer(quote, f"in the year {year}")),
                ("in another language", when, render_answer(ENGLISH_REASON + quote, tongue.year.format(y=year))),
                (
                    "in another language",
                    "In which year did the great event happen here?",
                    render_answer(quote, f"{year}"),
                ),
            ):
                yield kind, Draft(chunk, question, "q", answer, "a", "ok", "")


def judged(draft: Draft) -> QAPair:
    return next(apply_gates([draft], settings=QuestionSettings(), rank_of=None))


@pytest.mark.parametrize("code", TONGUES)
def test_perfect_pairs_pass_and_wrong_ones_do_not(code: str) -> None:
    pairs = [(kind, judged(draft)) for kind, draft in drafts_of(code)]
    assert {(kind, pair.reason) for kind, pair in pairs if pair.accepted != (kind == "perfect")} == set()
    assert all(pair.language == code for _, pair in pairs)


@pytest.mark.parametrize("code", TONGUES)
def test_perfect_pairs_of_a_domain_are_no_duplicates_of_one_another(code: str) -> None:
    drafts = [draft for kind, draft in drafts_of(code) if kind == "perfect"]
    pairs = apply_gates(drafts, settings=QuestionSettings(), rank_of=None)
    assert [pair.reason for pair in pairs] == [""] * len(drafts)


@pytest.mark.parametrize("code", TONGUES)
def test_questions_of_every_language_are_read_and_typed(code: str) -> None:
    drafts = [draft for kind, draft in drafts_of(code) if kind == "perfect"][:2]
    questions = [draft.question for draft in drafts]
    assert parse_questions("\n".join(f"{n}. {question}" for n, question in enumerate(questions, 1)), 5) == questions
    assert "other" not in {judged(draft).kind for draft in drafts}


def test_digits_of_another_script_are_the_same_number() -> None:
    for code, year in (("ar", "عام ١٨٧٤"), ("hi", "सन् १८७४"), ("zh", "１８７４年")):
        draft = next(draft for _, draft in drafts_of(code))
        quote = draft.answer.split("\n")[0]
        answered = Draft(draft.chunk, draft.question, "q", render_answer(quote, year), "a", "ok", "")
        assert judged(answered).reason == ""


def test_a_question_that_gives_its_answer_is_rejected_unless_it_offers_a_choice() -> None:
    draft = next(draft for _, draft in drafts_of("zh"))
    quote = draft.answer.split("\n")[0]

    def asked(question: str) -> str:
        return judged(Draft(draft.chunk, question, "q", render_answer(quote, "著名建筑师"), "a", "ok", "")).reason

    assert asked("哪座建筑由一位著名建筑师改建？") == "question_gives_answer"
    assert asked("改建北码头灯塔的是著名建筑师还是普通工人？") == ""


def test_gates_of_english_words_say_that_they_are_off() -> None:
    pair = judged(next(draft for _, draft in drafts_of("de")))
    off = {name for name, outcome in pair.gates.items() if outcome == OFF}
    assert off == {"own_words", "named", "antecedent", "question_words"}


@pytest.mark.parametrize(
    ("reply", "questions"),
    [
        ("灯塔建于哪一年呢", ["灯塔建于哪一年呢"]),
        ("1、灯塔很高吗。\n2、灯塔很高。", ["灯塔很高吗。"]),
        ("灯台はいつ建てられましたか。", ["灯台はいつ建てられましたか。"]),
        ("- ¿Cuándo se encendió el faro?", ["¿Cuándo se encendió el faro?"]),
        ("متى أضيئت المنارة؟", ["متى أضيئت المنارة؟"]),
        ("Ե՞րբ վառվեց փարոսը։", ["Ե՞րբ վառվեց փարոսը։"]),
        ("Πότε άναψε ο φάρος;", ["Πότε άναψε ο φάρος\u037e"]),
        ("ใครสร้างประภาคารนี้เมื่อใด", ["ใครสร้างประภาคารนี้เมื่อใด"]),
        ("为什么？", []),
        ("谁?", []),
    ],
)
def test_question_marks_and_forms_of_scripts(reply: str, questions: list[str]) -> None:
    assert parse_questions(reply, 5) == questions
