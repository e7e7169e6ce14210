"""The language of a text."""

import pytest

from raft_assets.core.language_detection import (
    detect_language,
    document_languages,
    is_other_language,
    main_language,
    main_script,
)

SENTENCES = {
    "en": "The lighthouse on the northern pier was lit for the first time in 1884.",
    "de": "Der Leuchtturm auf der Nordmole wurde im Jahr 1884 zum ersten Mal angezündet.",
    "fr": "Le phare de la jetée nord a été allumé pour la première fois en 1884.",
    "es": "El faro del muelle norte se encendió por primera vez en el año 1884.",
    "it": "Il faro del molo nord fu acceso per la prima volta nel 1884.",
    "pt": "O farol do cais norte foi aceso pela primeira vez no ano de 1884.",
    "nl": "De vuurtoren op de noordelijke pier werd in 1884 voor het eerst ontstoken.",
    "pl": "Latarnia na północnym molo została po raz pierwszy zapalona w roku 1884.",
    "ru": "Маяк на северном молу был впервые зажжён в 1884 году.",
    "uk": "Маяк на північному молі вперше запалили в 1884 році, і він світить досі.",
    "tr": "Kuzey iskelesindeki deniz feneri ilk kez 1884 yılında yakıldı ve çok güçlü bir ışığı var.",
    "ar": "أضيئت المنارة على الرصيف الشمالي لأول مرة عام 1884.",
    "he": "המגדלור על המזח הצפוני הודלק לראשונה בשנת 1884.",
    "fa": "فانوس دریایی اسکله شمالی برای نخستین بار در سال ۱۸۸۴ روشن شد.",
    "hi": "उत्तरी घाट का प्रकाशस्तंभ पहली बार सन् १८८४ में जलाया गया था।",
    "zh": "北码头的灯塔于1884年首次点亮。",
    "ja": "北埠頭の灯台は1884年に初めて灯された。",
    "ko": "북쪽 부두의 등대는 1884년에 처음으로 불을 밝혔다.",
    "vi": "Ngọn hải đăng ở cầu tàu phía bắc được thắp sáng lần đầu tiên vào năm 1884.",
    "th": "ประภาคารที่ท่าเรือเหนือจุดไฟครั้งแรกในปี 1884",
    "id": "Mercusuar di dermaga utara dinyalakan untuk pertama kali pada tahun 1884.",
    "sv": "Fyren på den norra piren tändes för första gången år 1884 och lyser än.",
    "el": "Ο φάρος στη βόρεια προβλήτα άναψε για πρώτη φορά το 1884.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_enough_to_tell_its_language(code: str) -> None:
    assert detect_language(SENTENCES[code]) == code


@pytest.mark.parametrize(
    "text",
    ["", "42", "Halden, Porto, Gdansk, Marit Lund, Birgitta Sjöberg", "tides.load(port, days=7) -> list[Tide]", "Ja."],
)
def test_names_code_and_scraps_are_of_no_language(text: str) -> None:
    assert detect_language(text) == ""


def test_a_few_letters_of_a_script_of_one_language_are_enough() -> None:
    assert [detect_language(text) for text in ("灯塔", "とうだい", "등대", "מגדלור")] == ["zh", "ja", "ko", "he"]


def test_japanese_is_told_by_its_syllables_and_chinese_by_their_absence() -> None:
    assert (main_script("北埠頭の灯台"), main_script("北码头灯塔")) == ("kana", "han")


@pytest.mark.parametrize(
    ("code", "question"),
    [
        ("zh", "如何在 Kubernetes 中使用 PersistentVolumeClaim？"),
        ("zh", "使用 kubectl get pods --all-namespaces"),
        ("ja", "KubernetesでPersistentVolumeClaimを使うには？"),
        ("ko", "Kubernetes에서 PersistentVolumeClaim은?"),
        ("ru", "Как настроить PersistentVolumeClaim в Kubernetes?"),
        ("ar", "كيف أستخدم PersistentVolumeClaim في Kubernetes؟"),
        ("hi", "PersistentVolumeClaim को Kubernetes में कैसे बनाएं?"),
        ("th", "วิธีใช้ PersistentVolumeClaim ใน Kubernetes"),
    ],
)
def test_a_question_with_more_letters_of_names_and_code_than_its_own_is_in_its_language(
    code: str, question: str
) -> None:
    assert not is_other_language(question, code)


def test_a_manual_is_in_the_language_of_its_sentences_however_much_code_it_has() -> None:
    code = "```yaml\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: the-claim-of-the-pod\n```"
    chinese = (
        "使用 `kubectl apply -f pvc.yaml` 创建 PersistentVolumeClaim，"
        "然后在 Deployment 的 spec.template.spec.volumes 中引用它。"
    )
    russian = "Сервер nginx слушает порт 8080, а команда `systemctl restart nginx.service` перезапускает его."
    assert document_languages(f"{chinese}\n\n{code}\n\n" * 20) == ["zh"]
    assert document_languages(f"{russian}\n\n{code}\n\n" * 20) == ["ru"]


def test_a_document_has_the_languages_of_its_greater_parts_only() -> None:
    german, french = SENTENCES["de"] * 30, SENTENCES["fr"] * 30
    assert document_languages(german + "\n\n" + french * 2) == ["fr", "de"]
    assert document_languages(german + SENTENCES["fr"]) == ["de"]
    assert document_languages("42, 43, 44") == []


def test_the_main_language_is_that_of_most_words_and_english_where_none_is_known() -> None:
    assert main_language([("de", 10), ("fr", 30), ("", 100)]) == "fr"
    assert main_language([("", 5)]) == main_language([]) == "en"


@pytest.mark.parametrize(
    ("text", "language", "is_other"),
    [
        (SENTENCES["en"], "de", True),
        (SENTENCES["de"], "en", True),
        (SENTENCES["fr"], "zh", True),
        (SENTENCES["zh"], "ja", False),  # Japanese may do without syllables
        (SENTENCES["ja"] + "まだ光っています。", "zh", True),
        (SENTENCES["ru"], "uk", True),
        (SENTENCES["de"], "de", False),
        ("PyTorch 2.0", "zh", False),
        ("Who designed the bridge 南京长江大桥?", "zh", True),
        ("Koji most je izgrađen 1932. godine u Beogradu?", "sr", False),  # which is written in two scripts
        ("1884", "ar", False),
        ("Halden, Porto, Gdansk, Marit Lund, Birgitta Sjöberg", "de", False),
    ],
)
def test_only_what_says_so_is_in_another_language(text: str, language: str, *, is_other: bool) -> None:
    assert is_other_language(text, language) is is_other
