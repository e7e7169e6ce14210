"""Bytes to text: what is certain is read, what is not is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_assets.documents.readers.content import UnreadableError
from raft_assets.documents.readers.decoding import decode, find_declared_encoding

FRENCH = "L'été dernier, la chauve-souris dormait là, près du château. "
RUSSIAN = "Летучие мыши летают ночью и спят днём. "
POLISH = "Żółte nietoperze śpią całą zimę w głębokiej jaskini, aż do wiosny. "
JAPANESE = (
    "コウモリ（蝙蝠）は、哺乳綱コウモリ目（翼手目）に属する動物の総称である。"
    "鳥類に匹敵する高い飛翔能力をもち、超音波によって周囲の状況を知ることができる。"
)
CHINESE = "码头上的起重机每天早上检查一次，检查结果写在账本里。绳子断了的时候，值班的人必须马上通知灯塔。"
REPETITIVE_JAPANESE = [
    "港の船は夜に出る。" * 3,
    "灯台の光が見えるまで待つ。" * 2,
    "クレーン " * 10,
    "船がでる。船がもどる。" * 5,
]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")))
def test_utf_8_is_read_as_it_was_written(text: str) -> None:
    assert decode(text.encode()) == text
    assert decode(text.encode("utf-8-sig")) == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_what_follows(encoding: str) -> None:
    assert decode(RUSSIAN.encode(encoding)) == RUSSIAN


def test_utf_32_is_not_taken_for_the_utf_16_whose_mark_it_begins_with() -> None:
    assert decode(b"\xff\xfe\x00\x00" + "bats".encode("utf-32-le")) == "bats"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        ("naïve café, Señor Núñez", "cp1252"),  # few bytes tell enough where the words are Western
        (RUSSIAN * 5, "cp1251"),
        (RUSSIAN * 5, "koi8_r"),
        (POLISH * 3, "cp1250"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        *((text, encoding) for text in REPETITIVE_JAPANESE for encoding in ("euc_jp", "shift_jis", "cp932")),
        ("항구의 기중기는 매일 아침 검사된다. " * 3, "euc_kr"),
        ("밤에만 문을 연다. " * 4, "cp949"),
        ("העטלפים יוצאים מהמערה בלילה וישנים ביום. " * 2, "cp1255"),
        ("ค้างคาวออกจากถ้ำในเวลากลางคืน " * 2, "cp874"),
        (
            "A denevérek éjjel repülnek, a tűlevelű erdőkből jönnek ősszel, és nappal barlangokban várnak. " * 3,
            "cp1250",
        ),
        ("Yarasalar gece uçar, gündüz uyur; mağaraların çoğu ışıksız ve şehirden uzaktır. " * 3, "cp1254"),
        ("Už každý žák ví, že netopýři létají v noci a přes den spí v jeskyních, šedé i žíhané. " * 3, "iso8859_2"),
        ("Em geral os cidadãos põem à noite as lanternas; são opiniões.", "cp1252"),
        ("Öösel lõunasse, õhtul küüni: nahkhiired on ärkvel.", "cp1252"),
        ("박쥐는 밤에 난다.", "iso2022_kr"),
        (CHINESE, "gb18030"),
        (CHINESE * 3, "gb18030"),
    ],
)
def test_a_code_page_is_told_from_enough_text(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_the_encoding_that_a_file_declares_is_believed_unless_it_is_utf_8() -> None:
    assert decode("żółw".encode("iso-8859-2"), "iso-8859-2") == "żółw"
    assert decode("żółw".encode(), "iso-8859-2") == "żółw"
    assert decode(FRENCH.encode("cp1252"), "x-no-such-encoding") == FRENCH
    assert decode(FRENCH.encode("cp1252"), "hex") == FRENCH  # Python's codecs that make no text are none


@pytest.mark.parametrize(
    ("data", "declared", "says"),
    [
        (RUSSIAN.encode("cp1251")[:20], "", "can't be told; save the file as UTF-8"),  # too few bytes to tell
        ((RUSSIAN * 3).encode() + b"\xff", "", r"UTF-8 that is damaged at byte \d+; mend it there"),
        (b"\xff\xfeb\x00a", "", "says that it is utf-16 and is not"),
        ("Летучие".encode("cp1251"), "ascii", "says that it is ascii and is not"),
        (bytes(range(0x80, 0x100)) * 20, "", "can't be told"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_to_do(data: bytes, declared: str, says: str) -> None:
    with pytest.raises(UnreadableError, match=says) as error:
        decode(data, declared)
    assert error.value.reason == "encoding"


SUPERSETS = [
    ("iso-8859-1", "cp1252", "“quoted” – for 5 €"),
    ("ISO-8859-1", "cp1252", "it’s"),
    ("latin1", "cp1252", "•…"),
    ("us-ascii", "cp1252", "naïve"),
    ("gb2312", "gbk", "朱镕基"),
    ("GBK", "gb18030", "𠮷"),  # of four bytes
    ("big5", "big5hkscs", "嘅"),
    ("shift_jis", "cp932", "①㈱髙"),
    ("x-cp1251", "cp1251", "мост"),
    ("x-sjis", "cp932", "Ⅳ"),
    ("euc-kr", "cp949", "똠방각하"),
    ("ks_c_5601-1987", "cp949", "펲시콜라"),
    ("iso-8859-9", "cp1254", "“İstanbul”"),
    ("tis-620", "cp874", "“ท่าเรือ”"),
    ("iso-2022-jp", "iso2022_jp", "港の船"),
]


@pytest.mark.parametrize(("label", "encoding", "text"), SUPERSETS)
def test_a_label_means_what_browsers_take_it_for(label: str, encoding: str, text: str) -> None:
    page = f'<html><head><meta http-equiv=content-type content="text/html; charset={label}"></head><p>{text}</p>'
    data = page.encode(encoding)
    assert f"<p>{text}</p>" in decode(data, find_declared_encoding(data))


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<?xml version="1.0" encoding="ISO-8859-2"?>\n<html>', "iso-8859-2"),
        ("<?xml version='1.0' encoding='windows-1250' standalone='yes'?><html>", "windows-1250"),
        ("<!-- <meta charset=utf-8> --><html><meta charset='iso-8859-2'>", "iso-8859-2"),
        (f"<html><head><script>{'x = 1;' * 900}</script><meta charset=iso-8859-2>", "iso-8859-2"),
        ('<?xml version="1.0" encoding="UTF-16"?><html>', "utf-16-le"),
        ('<?xml version="1.0" encoding="UTF-16"?><html>', "utf-16-be"),
        ('<html><meta charset="utf-16">', "utf-8"),  # what says so in single bytes is not UTF-16
    ],
)
def test_an_encoding_is_found_where_pages_declare_it(head: str, encoding: str) -> None:
    data = f"{head}<p>Žluťoučký kůň</p>".encode(encoding)
    assert decode(data, find_declared_encoding(data)).endswith("<p>Žluťoučký kůň</p>")


def test_bytes_that_no_western_writer_meant_are_no_obstacle() -> None:
    assert decode(b"caf\xe9\x81 bar\x9d", "latin1") == "café bar"
