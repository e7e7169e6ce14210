import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, render_answer
from raft_assets.core.tables import ModelAnswer
from raft_assets.evaluation.judged import JUDGED_METRICS
from raft_assets.evaluation.metrics import (
    METRICS,
    OVERALL_METRICS,
    bleu,
    chrf,
    exact_match,
    normalize_answer,
    normalize_squad,
    rouge_1,
    rouge_2,
    rouge_l,
    score_answer,
    token_f1,
)
from raft_assets_tests.evaluation import mlqa
from raft_assets_tests.evaluation.builders import ABSTAINED, RIGHT, WRONG, model_answer

TEXTS = st.text(alphabet=st.sampled_from("abc THE the, an."), max_size=30)


def values(answer: ModelAnswer) -> dict[str, float]:
    return {score.metric: score.value for score in score_answer(answer)}


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The  Crane,", "crane"),  # case, article, punctuation, white space
        ("a theatre and an anthem", "theatre and anthem"),  # articles only as whole words
        ("U.S.", "us"),  # punctuation goes without leaving a gap
        ("1,000", "1000"),
        ("", ""),
    ],
)
def test_normalization_is_that_of_squad(text: str, normalized: str) -> None:
    assert normalize_squad(text) == normalized


@pytest.mark.parametrize(
    ("answer", "golden", "expected"),
    [
        ("the Eiffel Tower", "Eiffel Tower.", 1.0),
        ("Eiffel Tower in Paris", "Eiffel Tower", 2 / 3),  # precision 2/4, recall 1
        ("tower tower", "tower", 2 / 3),  # a repeated word counts once
        ("blue", "red", 0.0),
        ("", "red", 0.0),
        ("the", "a", 1.0),  # both are empty after normalization, as in SQuAD 2.0
    ],
)
def test_token_f1_counts_shared_words(answer: str, golden: str, expected: float) -> None:
    assert token_f1(answer, golden) == pytest.approx(expected)


def test_exact_match_ignores_articles_case_and_punctuation() -> None:
    assert exact_match("The crane!", "crane") == 1
    assert exact_match("cranes", "crane") == 0


@pytest.mark.parametrize(
    ("answer", "golden", "expected"),
    [
        ("police killed the gunman", "police kill the gunman", 3 / 4),  # the example of Lin (2004), section 3
        ("the gunman kill police", "police kill the gunman", 2 / 4),  # order counts
        ("one two", "three", 0.0),
        ("", "", 1.0),
    ],
)
def test_rouge_l_follows_the_longest_common_subsequence(answer: str, golden: str, expected: float) -> None:
    assert rouge_l(answer, golden) == pytest.approx(expected)


@given(TEXTS, TEXTS)
def test_text_metrics_are_symmetric_and_stay_between_0_and_1(one: str, other: str) -> None:
    for metric in (exact_match, token_f1, rouge_l):
        assert 0 <= metric(one, other) <= 1
        assert metric(one, other) == pytest.approx(metric(other, one))
        assert metric(one, one) == 1


def test_the_best_of_several_golden_answers_counts() -> None:
    assert values(model_answer("42 t", golden_answers=["42 tonnes", "42 t"]))["token_f1"] == 1


def test_abstaining_from_an_answerable_question_shares_no_words_with_its_answer() -> None:
    found = values(model_answer(ABSTAINED, golden_answers=["the documents"]))
    assert (found["token_f1"], found["rouge_l"], found["abstained_right"]) == (0, 0, 0)


def test_where_no_document_holds_the_answer_abstaining_is_all_that_counts() -> None:
    shown = {"answerable": False, "golden_answers": []}
    abstained, answered = values(model_answer(ABSTAINED, **shown)), values(model_answer(WRONG, **shown))
    for metric in ("exact_match", "token_f1", "rouge_l", "abstained_right"):
        assert abstained[metric] == 1
        assert answered[metric] == 0


@pytest.mark.parametrize("status", ["failed", "truncated", "empty", "filtered"])
@pytest.mark.parametrize("answerable", [True, False])
def test_an_answer_that_failed_scores_0_and_is_never_dropped(status: str, answerable: bool) -> None:
    golden = ["42 tonnes"] if answerable else []
    found = values(model_answer(RIGHT, status=status, answerable=answerable, golden_answers=golden))
    assert {found[metric] for metric in ("exact_match", "token_f1", "rouge_l", "abstained_right", "well_formed")} == {0}
    assert not any(math.isnan(value) for value in found.values())


def test_quotes_are_scored_by_where_they_stand() -> None:
    def quoting(quote: str) -> dict[str, float]:
        return values(model_answer(answer=render_answer(f"{BEGIN_QUOTE}{quote}{END_QUOTE}", RIGHT)))

    assert quoting("lifts 42  tonnes.")["quote_from_oracle"] == 1
    of_distractor = quoting("four berths")
    assert (of_distractor["quote_verbatim"], of_distractor["quote_from_oracle"]) == (1, 0)
    assert quoting("lifts 43 tonnes")["quote_verbatim"] == 0


def test_quote_metrics_are_absent_where_nothing_is_quoted_or_shown() -> None:
    assert not {"quote_verbatim", "quote_from_oracle"} & values(model_answer()).keys()
    quoted = render_answer(f"{BEGIN_QUOTE}lifts 42{END_QUOTE}", RIGHT)
    closed_book = model_answer(answer=quoted, arm="closed_book", documents=[], document_chunk_ids=[])
    assert not {"quote_verbatim", "quote_from_oracle"} & values(closed_book).keys()


def test_every_metric_has_a_meaning_for_people() -> None:
    quoted = render_answer(f"{BEGIN_QUOTE}lifts 42{END_QUOTE}", RIGHT)
    assert values(model_answer(answer=quoted)).keys() == METRICS.keys() - {*OVERALL_METRICS, *JUDGED_METRICS}


PHRASES = st.lists(st.sampled_from(["the", "a", "bat", "cave,", "Cave!", "42", "of-steel", "May's"]), max_size=8).map(
    " ".join
)


@given(answer=PHRASES, golden=PHRASES)
def test_rouge_is_that_of_the_reference_implementation(answer: str, golden: str) -> None:
    expected = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False).score(golden, answer)
    assert rouge_1(answer, golden) == pytest.approx(expected["rouge1"].fmeasure)
    assert rouge_2(answer, golden) == pytest.approx(expected["rouge2"].fmeasure)
    if answer and golden:
        assert rouge_l(answer, golden) == pytest.approx(expected["rougeL"].fmeasure)


@pytest.mark.parametrize("metric", [bleu, chrf])
def test_bleu_and_chrf_go_from_nothing_in_common_to_the_same(metric: Callable[[str, str], float]) -> None:
    golden = "forty tonnes of steel in May"
    some = metric("forty tonnes of iron", golden)
    assert metric("xyz", golden) < 0.1 < some < 0.9
    assert metric(golden, golden) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("language", "text", "normalized"),
    [
        ("de", "Der  Kran, im Jahr 1932!", "kran im jahr 1932"),  # article, case, punctuation, white space
        ("de", "„Das Haus“ – ‚Straße‘", "haus strasse"),  # marks of any script, and s in both spellings
        ("fr", "L'église d’Arles", "église darles"),  # an article that an apostrophe joins; a preposition stays
        ("it", "L’Aquila e un'isola", "aquila e isola"),
        ("es", "¿La torre?", "torre"),
        ("pt", "Os navios", "navios"),
        ("nl", "'t Huis en de tuin", "huis en tuin"),
        ("vi", "Những ngọn núi của họ", "ngọn núi họ"),
        ("tr", "ISPARTA İLİ", "ısparta ili"),  # dotted and dotless i
        ("ar", "في عام ١٩٣٢، القاهرة؟", "في عام 1932 قاهرة"),  # digits, comma and question mark of the script
        ("ar", "\u200fالقاهرة", "قاهرة"),  # what isn't seen
        ("fa", "۱۹۳۲ میلادی", "1932 میلادی"),
        ("hi", "सन् १९३२।", "सन् 1932"),  # vowel signs belong to their word
        ("zh", "《红楼梦》，１９３２ 年", "红 楼 梦 1932 年"),  # letters; digits of full width stay together
        ("zh", "iPhone手机", "iphone 手 机"),
        ("ja", "東京タワー（１９５８年）", "東 京 タ ワ ー 1958 年"),
        ("ko", "서울은 1394년", "서울은 1394년"),  # words between spaces
        ("xx", "Ein Haus, 5 %", "ein haus 5"),  # a language that isn't known has no articles
    ],
)
def test_other_languages_are_normalized_as_in_mlqa(language: str, text: str, normalized: str) -> None:
    assert normalize_answer(text, language) == normalized


@pytest.mark.parametrize(
    ("language", "answer", "golden", "expected"),
    [
        ("zh", "1932年", "1932 年", 1.0),
        ("zh", "1932年建成", "1932年", 2 * 2 / (4 + 2)),  # 1932, 年, 建, 成 against 1932, 年
        ("zh", "1933年", "1932年", 1 / 2),
        ("ja", "東京", "東京都", 2 * 2 / (2 + 3)),
        ("de", "das rote Haus", "ein rotes Haus", 1 / 2),  # rote, haus against rotes, haus
        ("ar", "المدينة القديمة", "مدينة قديمة", 1.0),
        ("ar", "١٩٣٢", "1932", 1.0),
        ("hi", "लाल किला", "लाल पत्थर", 1 / 2),
        ("ru", "в Москве", "Москва", 0.0),  # inflected words are others
        ("ru", "Москва.", "«москва»", 1.0),
    ],
)
def test_token_f1_counts_words_or_letters_by_language(language: str, answer: str, golden: str, expected: float) -> None:
    assert token_f1(answer, golden, language) == pytest.approx(expected)
    assert exact_match(answer, golden, language) == float(expected == 1)


MLQA_WORDS = {
    "de": ["Der", "Die", "das", "eine", "rote", "Haus,", "Straße", "(Burg)", "1.932", "Wald-", "wald"],
    "es": ["La", "las", "una", "torre", "Torre,", "¿dónde?", "«río»", "1.932", "año"],
    "vi": ["của", "những", "Núi,", "núi", "(cao)", "1.932", "là", "đồng"],
    "ar": ["القاهرة،", "عالم", "مدينة", "المدينة؟", "ال", "1932", "بالبحر"],
    "hi": ["लाल", "किला।", "(दिल्ली)", "दिल्ली,", "1932", "में"],
    "zh": ["北京", "《红楼梦》", "1932年，", "于1932", "iPhone手机", "年", "京"],
}


@given(st.sampled_from(sorted(MLQA_WORDS)), st.data())
def test_token_f1_is_that_of_mlqas_rules(language: str, data: st.DataObject) -> None:
    phrases = st.lists(st.sampled_from(MLQA_WORDS[language]), min_size=1, max_size=6).map(" ".join)
    answer, golden = data.draw(phrases), data.draw(phrases)
    assert normalize_answer(answer, language).split() == [
        word.replace("ß", "ss") for word in mlqa.tokens(answer, language)
    ]
    assert token_f1(answer, golden, language) == pytest.approx(mlqa.f1(answer, golden, language))


def test_rouge_counts_the_words_of_any_script() -> None:
    assert rouge_1("schöne Grüße", "schöne Wege", "de") == pytest.approx(1 / 2)
    assert rouge_1("红楼梦", "红楼", "zh") == pytest.approx(2 * 2 / (3 + 2))
    assert rouge_2("红楼梦", "红楼", "zh") == pytest.approx(2 * 1 / (2 + 1))
    assert rouge_l("لال किला १", "किला 1", "hi") == pytest.approx(2 * 2 / (3 + 2))
    assert rouge_l("в доме", "в старом доме", "ru") == pytest.approx(2 * 2 / (2 + 3))


@pytest.mark.parametrize(
    ("language", "tokenizer", "given", "golden"),
    [
        ("zh", "zh", "这座桥建于１９３２年。", "这座桥建于1932年。"),
        ("ja", "char", "橋は１９３２年に開通した", "橋は1932年に開通した"),
        ("th", "char", "สะพานเปิดในปี ๑๙๓๒", "สะพานเปิดในปี 1932"),
        ("ar", "intl", "افتتح الجسر عام ١٩٣٢", "افتتح الجسر عام 1932"),
    ],
)
def test_bleu_splits_a_text_as_its_language_is_written(language: str, tokenizer: str, given: str, golden: str) -> None:
    assert bleu(given, golden, language) == pytest.approx(1.0)
    assert chrf(given, golden, language) == pytest.approx(1.0)
    half = golden[: len(golden) // 2]
    expected = BLEU(effective_order=True, tokenize=tokenizer).sentence_score(half, [golden]).score / 100
    assert bleu(half, golden, language) == pytest.approx(expected)
    assert 0 < bleu(half, golden, language) < 1


def test_an_answer_of_no_language_is_scored_as_english() -> None:
    told, untold = values(model_answer("The  crane", language="en")), values(model_answer("The  crane"))
    assert told == untold
    assert untold["answer_words"] == 2


def test_the_length_of_an_answer_counts_letters_where_words_have_no_spaces() -> None:
    shown = {"golden_answers": ["1932年"], "language": "zh"}
    found = values(model_answer("建于1932年", **shown))
    assert found["answer_words"] == 4
    assert found["token_f1"] == pytest.approx(2 * 2 / (4 + 2))
    assert values(model_answer("saal im ersten Stock", golden_answers=["x"], language="de"))["answer_words"] == 4
