"""What says that the documents hold no answer, in every language of the table, and what only looks like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.core.abstention import MAX_CHARACTERS, denies_an_answer, is_abstention
from raft_assets.core.languages import LANGUAGES, Language
from raft_assets.core.prompt_contract import ABSTENTION, parse_answer, render_answer

# as models say it in their own words: singular, other order, other nouns, without accents, with other marks
VARIANTS = {
    "de": [
        "Das Dokument enthält die Antwort nicht",
        "Die bereitgestellten Dokumente enthalten keine Antwort auf diese Frage.",
        "In den Dokumenten ist keine Antwort zu finden!",
        "Die Frage kann anhand der Dokumente nicht beantwortet werden.",
        "DIE DOKUMENTE ENTHALTEN DIE ANTWORT NICHT.",
    ],
    "fr": [
        "Le document ne contient pas la réponse",
        "Les documents fournis ne contiennent aucune réponse à la question.",
        "La réponse ne se trouve pas dans les documents !",
        "Les documents ne permettent pas de répondre à cette question.",
        "La reponse n’est pas dans le document",
    ],
    "es": [
        "El documento no contiene la respuesta.",
        "¡Los documentos no contienen la respuesta!",
        "¿No hay respuesta en los documentos?",
        "La respuesta no se encuentra en los documentos proporcionados",
    ],
    "it": ["Il documento non contiene la risposta", "Nei documenti forniti non c'è alcuna risposta alla domanda."],
    "pt": [
        "O documento não contém a resposta",
        "A resposta não está nos documentos.",
        "Os documentos nao contem a resposta",
    ],
    "nl": ["Het document bevat het antwoord niet", "In de documenten staat geen antwoord op deze vraag."],
    "pl": ["Dokument nie zawiera odpowiedzi", "W dokumentach nie ma odpowiedzi na to pytanie."],
    "ru": ["Документ не содержит ответа", "В документах нет ответа на этот вопрос.", "Ответ отсутствует в документах"],
    "uk": ["Документ не містить відповіді", "У документах немає відповіді на це питання."],
    "tr": [
        "Belge cevabı içermiyor",
        "BELGELER YANITI İÇERMİYOR",
        "Sorunun cevabı belgelerde yok.",
        "Belgelerde cevap bulunmuyor",
    ],
    "ar": [
        "المستند لا يحتوي على الإجابة",
        "لا توجد إجابة في المستندات؟",
        "الوثائق لا تتضمن الجواب!",
        "لَا تَحْتَوِي المُسْتَنَدَاتُ عَلَى الإِجَابَةِ",
        "لا تحتوي المستندات على اجابة، ",
        "المستند لا يحتوي على إجابة لهذا السؤال",
    ],
    "he": ["המסמך אינו מכיל את התשובה", "אין תשובה במסמכים.", "התשובה לא נמצאת במסמכים"],
    "fa": ["سند پاسخ را در بر ندارد", "در اسناد پاسخی وجود ندارد.", "پاسخ در اسناد یافت نشد"],
    "hi": ["दस्तावेज़ में उत्तर नहीं है", "दस्तावेजों में इस प्रश्न का उत्तर नहीं दिया गया है।", "उत्तर दस्तावेज़ों में नहीं मिला"],
    "zh": [
        "文档中没有答案",
        "文档不包含答案。",
        "提供的文件中没有该问题的答案！",
        "文 档 中 没 有 答 案 ．",
        "文件中沒有答案。",
        "在文档中找不到答案",
        "根据文档无法回答该问题。",
    ],
    "ja": [
        "文書には答えが含まれていません",
        "ドキュメントに回答はありません。",
        "提供された文書に質問の答えは見つかりませんでした！",
        "この文書に答えはない。",
    ],
    "ko": [
        "문서에 답이 없습니다",
        "제공된 문서에는 질문에 대한 답변이 포함되어 있지 않습니다.",
        "문서에서 답을 찾을 수 없습니다",
    ],
    "vi": ["Tài liệu không chứa câu trả lời", "Không có câu trả lời trong các tài liệu được cung cấp."],
    "th": ["ในเอกสารไม่มีคำตอบ", "เอกสาร ไม่มี คำตอบ", "ไม่พบคำตอบในเอกสาร"],
    "id": ["Dokumen tidak memuat jawaban", "Tidak ada jawaban dalam dokumen-dokumen tersebut."],
}
# answers, each of some words of an abstention
ANSWERS = [
    "The document doesn't contain sugar",
    "The documents contain the answer.",
    "no",
    "Das Dokument enthält keinen Zucker.",
    "Die Dokumente enthalten die Antwort.",
    "keine Antwort",
    "nicht 1932, sondern 1933",
    "Les documents contiennent la réponse.",
    "Le document ne contient pas de sucre",
    "El documento no contiene azúcar",
    "Los documentos contienen la respuesta",
    "Il documento non contiene zucchero",
    "Документ не содержит сахара",
    "Документы содержат ответ",
    "Belge yanıtı içeriyor",
    "لا يحتوي المستند على السكر",
    "المستندات تحتوي على الإجابة",
    "המסמך אינו מכיל סוכר",
    "اسناد پاسخ را در بر دارند",
    "दस्तावेज़ में चीनी नहीं है",
    "दस्तावेज़ों में उत्तर है",
    "文档中没有糖",
    "文档中有答案",
    "没有",
    "文書には砂糖が含まれていません",
    "文書には答えが含まれています",
    "문서에 설탕이 포함되어 있지 않습니다",
    "문서에 답이 있습니다",
    "Tài liệu không chứa đường",
    "Tài liệu chứa câu trả lời",
    "เอกสารไม่มีน้ำตาล",
    "Dokumen tidak memuat gula",
    "1932",
    "",
]


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES.keys())
def test_the_sentence_that_a_model_is_asked_for_is_recognized_in_every_language(language: Language) -> None:
    sentence = language.abstention
    bare = sentence.rstrip(".。।")
    for written in (sentence, bare, f"{bare}。", f"  {bare}．", bare.upper(), f"**{sentence}**"):
        parsed = parse_answer(render_answer("So.", written))
        assert parsed.abstained, written
        assert parsed.well_formed


def test_english_is_recognized_as_before() -> None:
    assert is_abstention("the given documents don’t  contain an answer to this question")
    assert not is_abstention("The text does not contain the answer.")
    assert not is_abstention(f"{ABSTENTION} But I know that it is 42.")


@pytest.mark.parametrize(
    ("language", "said"), [(code, said) for code, all_said in VARIANTS.items() for said in all_said]
)
def test_other_words_for_it_are_recognized(language: str, said: str) -> None:
    assert is_abstention(said), language
    assert parse_answer(f"...\n<ANSWER>: {said}").abstained


def test_every_language_of_the_table_has_its_variants() -> None:
    assert VARIANTS.keys() == LANGUAGES.keys() - {"en"}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_never_taken_for_an_abstention(answer: str) -> None:
    assert not is_abstention(answer)


@pytest.mark.parametrize(
    "said",
    [
        "Unbekannt",
        "nicht angegeben",
        "未知",
        "文档中未提及。",
        "不明",
        "неизвестно",
        "desconocido",
        "غير مذكور",
        "अज्ञात",
    ],
)
def test_a_teacher_that_knows_no_answer_may_say_it_shortly(said: str) -> None:
    assert denies_an_answer(said)
    assert not is_abstention(said)


@given(st.text(max_size=80))
def test_any_text_can_be_asked_about(text: str) -> None:
    is_abstention(text)
    assert not is_abstention(text + "42")


def test_a_long_answer_is_none() -> None:
    assert not is_abstention("文档中没有答案。" * MAX_CHARACTERS)
