"""Domains in five languages that tests write: four towns each, with twelve buildings and three facts of each building.

Two facts of a building are asked and answered right; the third is answered wrongly on purpose, in a way that a quality
gate has to see. Everything follows from the numbers of town and building.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from raft_assets.core.prompt_contract import BEGIN_QUOTE, END_QUOTE, render_answer

NUMBERS, WORDS = ("year", "visitors"), ("material", "kept")  # relations whose answers are numbers, and are translated


@dataclass(frozen=True, eq=False)
class LanguageDomain:
    """A language to write domains in.

    `relations`: sentence, question and another wording of it, and the answer, by name. `said`: what stands before a
    quotation. `beside`: words that an answer may have too many. `english`: `words` as another language has them.
    `scenes`: sentences that nothing is asked about.
    """

    code: str
    towns: tuple[str, ...]
    buildings: tuple[str, ...]
    relations: Mapping[str, tuple[str, str, str, str]]
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]
    scenes: tuple[tuple[str, ...], tuple[str, ...], str]
    said: str
    beside: str
    abstentions: tuple[str, ...]
    joiner: str = " "
    digits: str = "0123456789"

    @cached_property
    def facts(self) -> list["Fact"]:
        """All facts, by town and building."""
        return list(self._facts())

    def _facts(self) -> Iterator["Fact"]:
        names = [self.joiner.join(pair) for pair in product(self.first_names, self.last_names)]
        for number, (town, building) in enumerate(product(self.towns, self.buildings)):
            values = {
                "year": str(1801 + 4 * number + number % 3),
                "visitors": str(2130 + 317 * number),
                "architect": names[number],
                **{name: words[(number * 5 + number // 7) % len(words)] for name, words in self.words.items()},
            }
            wrong = ("architect", NUMBERS[number % 2], WORDS[number % 2])[number % 3]
            right = [name for name in self.relations if name != wrong]
            for name in (right[number % 4], right[(number + 1) % 4], wrong):
                yield self._fact(name, number, town, building, values[name], is_right=name != wrong)

    def _fact(self, name: str, number: int, town: str, building: str, value: str, *, is_right: bool) -> "Fact":
        def told(value: str, template: str) -> str:
            shown = value.translate(str.maketrans("0123456789", self.digits))
            filled = template.format(T=town, B=building, b=building[:1].lower() + building[1:], v=shown)
            return unicodedata.normalize("NFC", filled)

        sentence, question, golden_question, answer = self.relations[name]
        return Fact(
            domain=self,
            relation=name,
            number=number,
            town=town,
            building=building,
            sentence=told(value, sentence),
            question=told(value, question),
            golden_question=told(value, golden_question),
            answer=told(value, answer),
            other_number=told(str(int(value) + 9), answer) if name in NUMBERS else "",
            english=ENGLISH[name][self.words[name].index(value)] if name in WORDS else "",
            is_right=is_right,
        )

    def documents(self) -> dict[str, str]:
        """Markdown files by path."""
        where, when, scene = self.scenes
        texts: dict[str, list[str]] = {}
        for fact in self.facts[::3]:
            filler = scene.format(
                T=fact.town,
                B=fact.building,
                where=where[fact.number % len(where)],
                when=when[fact.number // 2 % len(when)],
            )
            told = [filler, *(one.sentence for one in self.facts[3 * fact.number : 3 * fact.number + 3])]
            sections = texts.setdefault(fact.town, [f"# {fact.town}"])
            sections += [f"## {fact.town} {fact.number + 1}", self.joiner.join(told)]
        return {f"{town}.md": "\n\n".join(sections) + "\n" for town, sections in texts.items()}

    def golden(self) -> str:
        """The lines of `questions.jsonl`: another wording about every second building, which training then lacks."""
        return "".join(
            json.dumps(
                {
                    "id": f"g{fact.number}",
                    "question": fact.golden_question,
                    "answers": [fact.answer],
                    "document": f"{fact.town}.md",
                    "evidence": [fact.sentence],
                },
                ensure_ascii=False,
            )
            + "\n"
            for fact in self.facts[::6]
        )


@dataclass(frozen=True, eq=False)
class Fact:
    """A fact of a building. `is_right`: whether the teacher answers it as the document does.

    `other_number` and `english`: the answer with another number, and in another language, where it is one to change.
    """

    domain: LanguageDomain
    relation: str
    number: int
    town: str
    building: str
    sentence: str
    question: str
    golden_question: str
    answer: str
    other_number: str
    english: str
    is_right: bool

    def other(self, steps: int = 7) -> "Fact":
        """A fact of another town about the same."""
        same = [fact for fact in self.domain.facts if fact.relation == self.relation and fact.town != self.town]
        return next(fact for fact in same[steps + self.number % 3 :] + same if fact.answer != self.answer)

    @property
    def taught(self) -> str:
        """What the teacher answers."""
        if self.is_right:
            return self.answered(self.answer)
        if self.relation in NUMBERS:
            return self.answered(self.other_number)
        if self.relation in WORDS:
            return self.answered(self.english)
        other = self.other()
        return self.answered(other.answer, quoted=other.sentence if self.number % 2 else self.sentence)

    def answered(self, final: str, quoted: str | None = None) -> str:
        """An answer in the contract's form that quotes a sentence."""
        quote = f"{self.domain.said}{BEGIN_QUOTE}{quoted or self.sentence}{END_QUOTE}"
        return render_answer(quote, final)

    @property
    def abstaining(self) -> str:
        """An answer that there is none, in one of the language's ways to say so."""
        ways = self.domain.abstentions
        return render_answer(self.domain.said, ways[self.number % len(ways)])


ENGLISH = {
    "material": ("red sandstone", "pale granite", "fired brick", "old oak", "white marble", "black basalt"),
    "kept": (
        "a collection of old maps",
        "the archive of the fishermen",
        "a workshop for violins",
        "an exhibition about salt",
        "a library of herbs",
        "the diaries of the glassblowers",
    ),
}

LANGUAGE_DOMAINS = {
    domain.code: domain
    for domain in (
        LanguageDomain(
            code="de",
            towns=("Altenfels", "Brunnsee", "Dorlau", "Eichhafen"),
            buildings=(
                "Die Brücke",
                "Der Leuchtturm",
                "Das Museum",
                "Die Bibliothek",
                "Das Theater",
                "Der Bahnhof",
                "Die Mühle",
                "Das Rathaus",
                "Die Schule",
                "Der Wasserturm",
                "Das Krankenhaus",
                "Die Markthalle",
            ),
            relations={
                "year": (
                    "{B} von {T} wurde im Jahr {v} feierlich eröffnet.",
                    "In welchem Jahr wurde {b} von {T} feierlich eröffnet?",
                    "Seit welchem Jahr steht {b} von {T} allen Bürgern offen?",
                    "{v}",
                ),
                "architect": (
                    "{B} von {T} wurde von {v} entworfen.",
                    "Von wem wurde {b} von {T} entworfen?",
                    "Von wem stammt der Entwurf, nach dem {b} von {T} gebaut ist?",
                    "{v}",
                ),
                "material": (
                    "{B} von {T} besteht vor allem aus {v}.",
                    "Woraus besteht {b} von {T} vor allem?",
                    "Aus welchem Material ist {b} von {T} gebaut?",
                    "{v}",
                ),
                "kept": (
                    "{B} von {T} beherbergt im obersten Stock {v}.",
                    "Was beherbergt {b} von {T} im obersten Stock?",
                    "Was ist zu sehen, wo {b} von {T} am höchsten ist?",
                    "{v}",
                ),
                "visitors": (
                    "{B} von {T} zählt in jedem Sommer {v} Besucher.",
                    "Wie viele Besucher zählt {b} von {T} in jedem Sommer?",
                    "Wie viele Menschen besuchen im Sommer, was {b} von {T} zeigt?",
                    "{v} Besucher",
                ),
            },
            first_names=("Anna", "Bruno", "Clara", "Dieter", "Erika", "Frieda", "Gustav"),
            last_names=("Ahlers", "Brandt", "Clausen", "Dörfler", "Ebert", "Falkner", "Grothe"),
            words={
                "material": (
                    "rotem Sandstein",
                    "hellem Granit",
                    "gebrannten Ziegeln",
                    "altem Eichenholz",
                    "weißem Marmor",
                    "schwarzem Basalt",
                ),
                "kept": (
                    "eine Sammlung vergilbter Landkarten",
                    "das Archiv der Fischerzunft",
                    "eine Werkstatt für Geigenbau",
                    "eine Ausstellung über den Salzhandel",
                    "einen Saal voller Heilkräuter",
                    "die Tagebücher der Glasbläser",
                ),
            },
            scenes=(
                (
                    "am Ufer des Flusses",
                    "hinter den Stadtmauern",
                    "auf einem Hügel",
                    "am Rand des Waldes",
                    "neben dem Hafen",
                ),
                ("im Morgenlicht", "bei Nebel", "an klaren Abenden", "unter dem ersten Schnee"),
                "{B} von {T} liegt {where} und sieht {when} am schönsten aus.",
            ),
            said="Das Dokument sagt: ",
            beside="laut Urkunde",
            abstentions=(
                "Die Dokumente enthalten die Antwort nicht.",
                "Das Dokument enthält keine Antwort auf diese Frage",
                "Keine Antwort in den vorliegenden Dokumenten!",
            ),
        ),
        LanguageDomain(
            code="ar",
            towns=("الزهراء", "النور", "الوادي", "الساحل"),
            buildings=("متحف", "مسرح", "جسر", "مستشفى", "ملعب", "سوق", "مسجد", "قصر", "ميناء", "مصنع", "معهد", "برج"),
            relations={
                "year": (
                    "افتتح {B} {T} أمام الجمهور في عام {v}.",
                    "في أي عام افتتح {B} {T} أمام الجمهور؟",
                    "متى كان افتتاح {B} {T} أمام الناس؟",
                    "{v}",
                ),
                "architect": (
                    "وضع تصميم {B} {T} المهندس {v}.",
                    "من وضع تصميم {B} {T}؟",
                    "ما اسم المهندس الذي صمم {B} {T}؟",
                    "{v}",
                ),
                "material": (
                    "بني {B} {T} في معظمه من {v}.",
                    "مم بني {B} {T} في معظمه؟",
                    "ما المادة التي بني منها {B} {T}؟",
                    "{v}",
                ),
                "kept": (
                    "يحفظ {B} {T} في طابقه الأعلى {v}.",
                    "ماذا يحفظ {B} {T} في طابقه الأعلى؟",
                    "ما الذي يراه الناس في أعلى {B} {T}؟",
                    "{v}",
                ),
                "visitors": (
                    "يزور {B} {T} في كل صيف {v} زائر.",
                    "كم زائرا يزور {B} {T} في كل صيف؟",
                    "ما عدد زوار {B} {T} في الصيف؟",
                    "{v} زائر",
                ),
            },
            first_names=("سالم", "ليلى", "خالد", "مريم", "يوسف", "هدى", "طارق"),
            last_names=("الحداد", "النجار", "القاضي", "الصباغ", "البستاني", "الخياط", "العطار"),
            words={
                "material": (
                    "حجر رملي أحمر",
                    "غرانيت فاتح",
                    "طوب محروق",
                    "خشب البلوط القديم",
                    "رخام أبيض",
                    "بازلت أسود",
                ),
                "kept": (
                    "مجموعة خرائط قديمة",
                    "أرشيف نقابة الصيادين",
                    "ورشة لصناعة الكمان",
                    "معرضا عن تجارة الملح",
                    "قاعة للأعشاب الطبية",
                    "مذكرات صناع الزجاج",
                ),
            },
            scenes=(
                ("على ضفة النهر", "خلف أسوار المدينة", "فوق تلة صغيرة", "عند طرف الغابة", "قرب الشاطئ"),
                ("مع ضوء الصباح", "تحت الضباب", "في الأمسيات الصافية", "بعد أول المطر"),
                "يقع {B} {T} {where} ويبدو أجمل {when}.",
            ),
            said="يقول المستند: ",
            beside="حسب السجل",
            abstentions=(
                "لا تحتوي المستندات على الإجابة.",
                "المستند لا يحتوي على إجابة لهذا السؤال",
                "لا توجد إجابة في الوثائق المقدمة!",
            ),
            digits="٠١٢٣٤٥٦٧٨٩",
        ),
        LanguageDomain(
            code="zh",
            towns=("红桥", "青塔", "白湖", "黑山"),
            buildings=(
                "火车站",
                "博物馆",
                "图书馆",
                "大剧院",
                "医院",
                "灯塔",
                "水厂",
                "植物园",
                "学校",
                "钟楼",
                "市场",
                "体育馆",
            ),
            relations={
                "year": (
                    "{T}{B}于{v}年正式向公众开放。",
                    "{T}{B}于哪一年正式向公众开放？",
                    "{T}{B}是什么时候开放的？",
                    "{v}年",
                ),
                "architect": (
                    "{T}{B}由建筑师{v}设计。",
                    "{T}{B}由哪位建筑师设计？",
                    "设计{T}{B}的人是谁？",
                    "{v}",
                ),
                "material": (
                    "{T}{B}主要用{v}建成。",
                    "{T}{B}主要用什么建成？",
                    "建造{T}{B}的主要材料是什么？",
                    "{v}",
                ),
                "kept": (
                    "{T}{B}的顶楼收藏着{v}。",
                    "{T}{B}的顶楼收藏着什么？",
                    "在{T}{B}的顶楼能看到什么？",
                    "{v}",
                ),
                "visitors": (
                    "每年夏天有{v}名游客参观{T}{B}。",
                    "每年夏天有多少名游客参观{T}{B}？",
                    "{T}{B}夏天接待多少人？",
                    "{v}名",
                ),
            },
            first_names=("王", "李", "张", "刘", "陈", "杨", "赵"),
            last_names=("建国", "晓梅", "志远", "文静", "海涛", "雅琴", "思源"),
            words={
                "material": ("红色砂岩", "浅色花岗石", "烧制青砖", "老橡木", "白色大理石", "黑色玄武岩"),
                "kept": (
                    "一批旧地图",
                    "渔民行会的档案",
                    "小提琴作坊的工具",
                    "盐业贸易的展品",
                    "各种草药标本",
                    "玻璃匠人的日记",
                ),
            },
            scenes=(
                ("河岸旁边", "城墙后面", "小山坡上", "树林边缘", "码头附近"),
                ("清晨", "有雾的日子", "晴朗的傍晚", "初雪之后"),
                "{T}{B}位于{where}，{when}看上去最美。",
            ),
            said="文档中写道：",
            beside="据记载",
            abstentions=("文档中没有答案。", "提供的文档不包含该问题的答案", "在这些文档中找不到答案！"),
            joiner="",
        ),
        LanguageDomain(
            code="ja",
            towns=("朝日町", "緑川市", "白浜市", "月島町"),
            buildings=(
                "中央駅",
                "博物館",
                "図書館",
                "大劇場",
                "病院",
                "灯台",
                "水車小屋",
                "植物園",
                "小学校",
                "時計塔",
                "市場",
                "体育館",
            ),
            relations={
                "year": (
                    "{T}の{B}は{v}年に一般公開されました。",
                    "{T}の{B}は何年に一般公開されましたか？",
                    "{T}の{B}が公開されたのはいつですか？",
                    "{v}年",
                ),
                "architect": (
                    "{T}の{B}を設計したのは{v}です。",
                    "{T}の{B}を設計したのは誰ですか？",
                    "{T}の{B}の設計者は誰ですか？",
                    "{v}",
                ),
                "material": (
                    "{T}の{B}は主に{v}で造られています。",
                    "{T}の{B}は主に何で造られていますか？",
                    "{T}の{B}の主な材料は何ですか？",
                    "{v}",
                ),
                "kept": (
                    "{T}の{B}の最上階には{v}が保管されています。",
                    "{T}の{B}の最上階には何が保管されていますか？",
                    "{T}の{B}の最上階で何が見られますか？",
                    "{v}",
                ),
                "visitors": (
                    "{T}の{B}には毎年の夏に{v}人が訪れます。",
                    "{T}の{B}には毎年の夏に何人が訪れますか？",
                    "{T}の{B}を夏に訪れる人は何人ですか？",
                    "{v}人",
                ),
            },
            first_names=("佐藤", "鈴木", "高橋", "田中", "伊藤", "渡辺", "山本"),
            last_names=("健一", "美咲", "大輔", "陽子", "直樹", "春香", "修平"),
            words={
                "material": ("赤い砂岩", "明るい花崗岩", "焼いた煉瓦", "古い樫の木", "白い大理石", "黒い玄武岩"),
                "kept": (
                    "古い地図",
                    "漁師組合の記録",
                    "バイオリンの道具",
                    "塩の貿易の資料",
                    "薬草の標本",
                    "ガラス職人の日記",
                ),
            },
            scenes=(
                ("川の岸", "城壁の裏", "小さな丘の上", "森のはずれ", "港の近く"),
                ("朝の光の中", "霧の日", "晴れた夕方", "初雪のあと"),
                "{T}の{B}は{where}にあり、{when}に最も美しく見えます。",
            ),
            said="文書にはこうあります。",
            beside="記録による",
            abstentions=(
                "文書には答えが含まれていません。",
                "提供された文書に答えは見つかりませんでした",
                "ドキュメントに回答はありません！",
            ),
            joiner="",
        ),
        LanguageDomain(
            code="hi",
            towns=("रामपुर", "सूर्यनगर", "नीलगढ़", "चंदनपुर"),
            buildings=(
                "पुस्तकालय",
                "संग्रहालय",
                "विद्यालय",
                "अस्पताल",
                "पुल",
                "स्टेशन",
                "रंगमंच",
                "मंदिर",
                "बाज़ार",
                "उद्यान",
                "डाकघर",
                "जलाशय",
            ),
            relations={
                "year": (
                    "{T} का {B} वर्ष {v} में जनता के लिए खोला गया था।",
                    "{T} का {B} किस वर्ष में जनता के लिए खोला गया था?",
                    "{T} के {B} का उद्घाटन किस वर्ष में हुआ था?",
                    "{v}",
                ),
                "architect": (
                    "{T} के {B} का नक्शा {v} ने बनाया था।",
                    "{T} के {B} का नक्शा किसने बनाया था?",
                    "किस वास्तुकार ने {T} के {B} का नक्शा तैयार किया?",
                    "{v}",
                ),
                "material": (
                    "{T} का {B} मुख्य रूप से {v} से बना है।",
                    "{T} का {B} मुख्य रूप से किससे बना है?",
                    "{T} का {B} बनाने में क्या लगा है?",
                    "{v}",
                ),
                "kept": (
                    "{T} के {B} की ऊपरी मंज़िल में {v} रखा है।",
                    "{T} के {B} की ऊपरी मंज़िल में क्या रखा है?",
                    "{T} के {B} में सबसे ऊपर क्या देखने को मिलता है?",
                    "{v}",
                ),
                "visitors": (
                    "{T} का {B} हर गर्मी में {v} लोग देखने आते हैं।",
                    "{T} का {B} हर गर्मी में कितने लोग देखने आते हैं?",
                    "गर्मियों में {T} के {B} के दर्शक कितने होते हैं?",
                    "{v} लोग",
                ),
            },
            first_names=("अमित", "बबीता", "चेतन", "दीपा", "गोपाल", "हेमा", "इंदर"),
            last_names=("शर्मा", "वर्मा", "जोशी", "मेहता", "नायर", "पटेल", "राठौर"),
            words={
                "material": ("लाल बलुआ पत्थर", "हल्के ग्रेनाइट", "पकी ईंटों", "पुराने सागौन", "सफ़ेद संगमरमर", "काले बेसाल्ट"),
                "kept": (
                    "पुराने नक्शों का संग्रह",
                    "मछुआरों का अभिलेख",
                    "वायलिन का कारख़ाना",
                    "नमक व्यापार का इतिहास",
                    "जड़ी बूटियों का भंडार",
                    "काँच कारीगरों का रोज़नामचा",
                ),
            },
            scenes=(
                ("नदी के किनारे", "पुरानी दीवार के पीछे", "एक छोटी पहाड़ी पर", "जंगल के छोर पर", "घाट के पास"),
                ("सुबह की धूप में", "कोहरे के बीच", "साफ़ शाम को", "पहली बारिश के बाद"),
                "{T} का {B} {where} है और {when} सबसे सुंदर दिखता है।",
            ),
            said="दस्तावेज़ कहता है: ",
            beside="अभिलेख अनुसार",
            abstentions=(
                "दस्तावेज़ों में उत्तर नहीं है।",
                "दस्तावेज़ में इस प्रश्न का उत्तर नहीं दिया गया है",
                "उत्तर दस्तावेजों में मौजूद नहीं है!",
            ),
        ),
    )
}
