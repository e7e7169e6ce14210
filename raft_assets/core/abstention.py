"""How a model says that the documents don't hold the answer, in English and in every language of the table.

What belongs here: recognizing it. What models are asked to write is in `core/languages`. English is recognized by
patterns, other languages by a closed vocabulary each: an answer abstains if it is made of its words alone and names the
documents, the answer, and a denial. Any other word ("The document doesn't contain sugar") makes it an answer.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from raft_assets.core.identity import normalize

MAX_CHARACTERS = 300  # of what can be an abstention: three sentences
# classes of combining marks (Unicode, table "Canonical Combining Class Values")
NUKTA, POINTS, ACCENTS = 7, range(10, 37), 200
TEXT = r"(?:passage|text|document|article|excerpt|extract|paragraph|context|snippet|chunk|section|chapter)"
GIVEN = r"(?:above|following|given|provided|preceding|aforementioned|presented|supplied)"

_ENGLISH = re.compile(
    r"(?:(?:the|these|given|provided) )*documents? (?:do not|don['’]t|does not|doesn['’]t)"
    r" (?:contain|hold|provide|include) (?:the|an|any) answer(?: to (?:the|this|that) question)?[.。．]?",
    re.IGNORECASE,
)
_ENGLISH_DENIAL = re.compile(
    rf"""\W*(?:
        n/?a | unknown | none
      | (?:it\ is\ |that\ is\ |this\ is\ )?not\ (?:explicitly\ )?
        (?:mentioned|specified|stated|provided|given|available|known|clear|in\ the\ documents?)\b.*
      | (?:it\ |this\ |that\ |the\ answer\ )?(?:can\ ?not|can['’]t)\ be\ (?:determined|answered|found)\b.*
      | (?:the\ )?(?:{GIVEN}\ )?{TEXT}s?\ (?:do(?:es)?|did)(?:\ not|n['’]t)\ .*
      | (?:there\ is\ )?no\ (?:information|answer)\b.*
      | the\ (?:answer|information)\b.*\bis(?:\ not|n['’]t)\ (?:present|contained|found|given|in|stated|provided)\b.*
      | i\ (?:do\ not|don['’]t)\ know\b.*
    )\W*""",
    re.VERBOSE | re.IGNORECASE,
)


def is_abstention(answer: str) -> bool:
    """Return whether a final answer is the contract's sentence for "no answer", or says it in other words.

    Case, accents, punctuation, white space and singular or plural don't count. Of English, only the contract's own
    words are taken for it.
    """
    if _ENGLISH.fullmatch(normalize(answer)):
        return True
    return any(
        words & one.documents and words & one.denials and words & one.answers for one, words in _readings(answer)
    )


def denies_an_answer(answer: str) -> bool:
    """Return whether a final answer says that there is none, in any words: "Unknown", "not mentioned in the text".

    What the documents themselves call unknown reads the same: that is the caller's to tell apart.
    """
    if _ENGLISH_DENIAL.fullmatch(answer) or is_abstention(answer):
        return True
    return any(
        words & one.denials and words & (one.documents | one.answers | one.stated) for one, words in _readings(answer)
    )


@dataclass(frozen=True)
class _Vocabulary:
    """The words with which a language says that documents hold no answer, between spaces.

    An abstention has one of `documents`, of `denials` and of `answers`. `stated` are words that with a denial alone say
    that there is no answer ("not mentioned"); one that is a denial as well ("unknown") says it alone. `others` may
    stand beside them. `is_joined`: the words have no spaces between them or carry endings, and may follow one another
    in any way.
    """

    documents: str
    denials: str
    answers: str
    stated: str
    others: str
    is_joined: bool = False


@dataclass(frozen=True)
class _Folded:
    """A vocabulary as answers are compared with it."""

    documents: frozenset[str]
    denials: frozenset[str]
    answers: frozenset[str]
    stated: frozenset[str]
    known: frozenset[str]
    pieces: re.Pattern[str] | None  # of a joined vocabulary: its words, the longest first

    @classmethod
    def of(cls, vocabulary: _Vocabulary) -> "_Folded":
        """Return the vocabulary with all its words folded."""
        documents, denials, answers, stated, others = (
            frozenset(_fold(words).split())
            for words in (
                vocabulary.documents,
                vocabulary.denials,
                vocabulary.answers,
                vocabulary.stated,
                vocabulary.others,
            )
        )
        known = documents | denials | answers | stated | others
        pieces = None
        if vocabulary.is_joined:
            pieces = re.compile("|".join(map(re.escape, sorted(known, key=lambda word: (-len(word), word)))))
        return cls(documents, denials, answers, stated, known, pieces)

    def words_of(self, folded: str) -> frozenset[str] | None:
        """Return the words of a folded text, None if one of them isn't in the vocabulary."""
        if self.pieces is None:
            found = frozenset(folded.split())
            return found if found <= self.known else None
        text, pieces, start = folded.replace(" ", ""), set[str](), 0
        while start < len(text):
            piece = self.pieces.match(text, start)
            if piece is None:
                return None
            pieces.add(piece[0])
            start = piece.end()
        return frozenset(pieces)


def _readings(answer: str) -> Iterator[tuple[_Folded, frozenset[str]]]:
    """Yield each vocabulary that has all words of the answer, with these words."""
    if len(answer) > MAX_CHARACTERS:
        return
    folded = _fold(answer)
    for vocabulary in _folded_vocabularies().values():
        if words := vocabulary.words_of(folded):
            yield vocabulary, words


def _fold(text: str) -> str:
    """Return the text in one case, width and spelling: without accents, points, signs and what is not seen."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(
        " " if (category := unicodedata.category(letter))[0] in "PSZ" or category == "Cc" else letter
        for letter in letters
        if unicodedata.category(letter) != "Cf" and not _is_accent(letter)
    )
    return " ".join(unicodedata.normalize("NFC", kept).translate(_SPELLINGS).split())


def _is_accent(letter: str) -> bool:
    """Return whether a mark may be left out in writing: an accent, an Arabic or Hebrew point, a nukta.

    By the classes in which Unicode combines marks; vowel signs and tones of Indic and Thai script have others.
    """
    place = unicodedata.combining(letter)
    return place == NUKTA or place in POINTS or place >= ACCENTS


# letters that are written in two ways (Turkish i in capitals, Arabic and Persian kaf and yeh); a stroke
_SPELLINGS = str.maketrans({"ı": "i", "ك": "ک", "ي": "ی", "ى": "ی", "ـ": None})


@cache
def _folded_vocabularies() -> Mapping[str, _Folded]:
    return {code: _Folded.of(vocabulary) for code, vocabulary in _VOCABULARIES.items()}


_VOCABULARIES: Mapping[str, _Vocabulary] = {
    "de": _Vocabulary(
        documents="""Dokument Dokumente Dokumenten Dokuments Dokumentes Text Texte Texten Textes Passage Passagen
        Abschnitt Abschnitte Abschnitten Unterlagen Kontext Quelle Quellen""",
        denials="nicht kein keine keinen keiner keinem keines keinerlei nirgends nirgendwo weder unbekannt",
        answers="""Antwort Antworten beantwortet beantworten beantwortbar Information Informationen Auskunft
        Angabe Angaben""",
        stated="angegeben erwähnt genannt bekannt unbekannt ersichtlich bestimmbar",
        others="""der die das den dem des ein eine einen einer in im aus auf zu zur zum von mit für diese dieser
        dieses
        diesen vorliegende vorliegenden vorliegendes gegebene gegebenen bereitgestellte bereitgestellten angegebenen
        gezeigten angezeigten genannten obige obigen enthalten enthält enthielten beinhalten beinhaltet liefern
        liefert
        geben gibt es steht stehen findet finden sich ist sind wird werden kann können lässt lassen Frage Fragen
        gestellte gestellten hierzu dazu darüber hierüber darauf hierauf darin anhand basierend nach laut
        hervor geht leider
        vorhanden
        gefunden entnehmen entnommen direkte konkrete passende relevante relevanten noch ich uns bezüglich""",
    ),
    "fr": _Vocabulary(
        documents="document documents texte textes passage passages extrait extraits contexte source sources",
        denials="pas aucun aucune sans nulle non inconnu inconnue",
        answers="""réponse réponses répondre répond répondent information informations renseignement
        renseignements""",
        stated="""précisé précisée mentionné mentionnée indiqué indiquée spécifié spécifiée connu connue inconnu
        inconnue disponible""",
        others="""le la les l un une des du de d au aux à a ce ces cet cette dans ne n fournis fourni fournie donnés
        donné présentés présents présent présente contiennent contient contenue contenu comportent comporte figurent
        figure donnent donne fournissent fournit incluent inclut trouve trouvent trouvée se s y est sont
        question posée
        permettent permet partir il ils elle qu que sur en pour peut être ci dessus concernant relative relatives
        pertinente directement je selon""",
    ),
    "es": _Vocabulary(
        documents="documento documentos texto textos pasaje pasajes fragmento fragmentos contexto fuente fuentes",
        denials="no ningún ninguna ninguno sin tampoco desconocido desconocida",
        answers="respuesta respuestas responder responde responden contestar contestación información",
        stated="""especifica especificado especificada menciona mencionado mencionada indica indicado indicada
        conocido
        conocida desconocido desconocida disponible consta""",
        others="""el la los las un una unos unas de del en a al este esta estos estas ese esa esos esas que se es está
        están son contienen contiene contenida incluyen incluye incluida figuran figura aparece aparecen ofrecen
        ofrece
        proporcionan proporciona proporcionados proporcionado dados dado facilitados suministrados presentados
        anteriores mostrados hay encuentra encuentran puede pueden encontrar encontró encontrado tienen
        tiene pregunta formulada
        planteada para sobre
        con base según y ni esto respecto""",
    ),
    "it": _Vocabulary(
        documents="documento documenti testo testi brano brani passaggio passaggi contesto fonte fonti",
        denials="non nessun nessuna nessuno alcuna alcun sconosciuto sconosciuta",
        answers="risposta risposte rispondere risponde rispondono informazione informazioni",
        stated="""specificato specificata indicato indicata menzionato menzionata noto nota sconosciuto sconosciuta
        disponibile""",
        others="""il lo la i gli le l un uno una di del della dei degli delle dello dell a al alla alle ai in
        nel nella
        nei negli nelle nell da dai dal forniti fornito presentati dati dato questi questo queste questa contengono
        contiene contenuta includono include riportano riporta forniscono fornisce è sono c ci presente presenti trova
        trovano trovare trovata si può possono domanda posta sulla base per su esiste viene""",
    ),
    "pt": _Vocabulary(
        documents="documento documentos texto textos passagem passagens trecho trechos contexto fonte fontes",
        denials="não nenhum nenhuma sem desconhecido desconhecida",
        answers="resposta respostas responder responde respondem informação informações",
        stated="""especificado especificada mencionado mencionada indicado indicada informado informada conhecido
        conhecida desconhecido desconhecida disponível consta""",
        others="""o a os as um uma uns umas de do da dos das em no na nos nas ao à aos para pela este esta estes estas
        esse essa esses essas fornecidos fornecido apresentados dados dado contém contêm incluem inclui trazem traz
        apresentam apresenta fornecem fornece há existe existem encontra encontram encontrar encontrada se está
        estão é
        são contida pode podem ser pergunta questão feita com base sobre que possível qualquer possuem possui têm
        tem foi acima""",
    ),
    "nl": _Vocabulary(
        documents="document documenten tekst teksten passage passages context bron bronnen stukken",
        denials="niet geen nergens onbekend",
        answers="antwoord antwoorden beantwoord beantwoorden informatie gegevens",
        stated="vermeld genoemd bekend onbekend aangegeven gespecificeerd",
        others="""de het een in op van uit aan met voor deze dit die dat verstrekte gegeven aangeleverde bovenstaande
        getoonde bevatten bevat geven geeft staat staan is zijn er wordt worden kan kunnen te vinden gevonden vraag
        gestelde over daarop hierop opgenomen basis""",
    ),
    "pl": _Vocabulary(
        documents="""dokument dokumenty dokumentów dokumentach dokumencie dokumentu tekst tekstu tekście teksty
        tekstach
        fragment fragmencie fragmenty fragmentach kontekst kontekście źródła źródłach""",
        denials="nie brak żaden żadnej żadna żadnych żadnego nigdzie nieznany nieznana nieznane",
        answers="odpowiedź odpowiedzi odpowiedzieć odpowiada odpowiadają informacji informacja informacje",
        stated="podano określono wspomniano wiadomo nieznany nieznana nieznane",
        others="""w we na do z ze o tym te to ten ta tych tego tej podanych podane dostarczonych dostarczone
        udostępnionych
        przedstawionych przedstawione zawierają zawiera podają podaje zawarta zawartej zawarto ma jest są
        się znajduje znajdują
        znaleźć można pytanie pytania zadane postawione podstawie nich""",
    ),
    "ru": _Vocabulary(
        documents="""документ документы документе документах документов документа текст тексте тексты текста текстах
        отрывок отрывке отрывках контекст контексте фрагмент фрагменте фрагментах источниках материалах""",
        denials="""не нет отсутствует отсутствуют никакого никакой невозможно нельзя неизвестно неизвестен
        неизвестна""",
        answers="ответ ответа ответы ответов ответить отвечает отвечают информации информация информацию сведений",
        stated="указано указан указана упоминается упомянуто известно неизвестно неизвестен неизвестна сказано",
        others="""в во на из об о для к по с эти этот этих этом этого данные данный данном данных предоставленные
        предоставленных предоставленном представленные представленных приведённых содержат содержит дают даёт содержится
        содержатся имеется имеются есть найти найден найдено можно удалось вопрос вопроса вопросу заданный
        поставленный
        него них основе основании ни""",
    ),
    "uk": _Vocabulary(
        documents="""документ документи документі документах документів документа текст тексті тексти текстах уривок
        уривку уривках контекст контексті фрагмент фрагменті джерелах матеріалах""",
        denials="не немає нема відсутня відсутні жодної жодна неможливо невідомо невідомий невідома",
        answers="відповідь відповіді відповідей відповісти відповідає відповідають інформації інформація інформацію",
        stated="вказано зазначено згадано згадується відомо невідомо невідомий невідома",
        others="""у в на до з із про для цих ці цей цьому ця це надані наданих наданому наведених містять
        містить дають дає
        міститься містяться є знайти знайдено можна вдалося питання запитання поставлене задане основі ні""",
    ),
    "tr": _Vocabulary(
        documents="""belge belgeler belgelerde belgede belgelerin belgenin doküman dokümanlar dokümanlarda dokümanda
        metin metinler metinde metinlerde bağlam bağlamda kaynaklar kaynaklarda""",
        denials="""içermiyor içermemektedir içermez yok yoktur bulunmuyor bulunmamaktadır bulunamadı bulunamıyor
        bulunmaz değil almıyor almamaktadır vermiyor yanıtlanamıyor cevaplanamıyor belirtilmemiş belirtilmemiştir
        bilinmiyor""",
        answers="""yanıt yanıtı yanıta yanıtlar yanıtını cevap cevabı cevaba cevaplar cevabını bilgi bilgiler bilgisi
        yanıtlanamıyor cevaplanamıyor""",
        stated="belirtilmemiş belirtilmemiştir bilinmiyor",
        others="""bu verilen sağlanan sunulan içinde içerisinde sorunun soruya soru sorusunun için ilgili dair bir
        hiçbir herhangi yer mevcut olarak de da ile göre hakkında""",
    ),
    "ar": _Vocabulary(
        documents="""المستندات المستند مستندات الوثائق الوثيقة وثائق النص النصوص نص السياق المقطع المقاطع الملفات
        المصادر""",
        denials="لا لم ليس ليست لن غير عدم مجهول مجهولة",
        answers="الإجابة إجابة الإجابات إجابات للإجابة الجواب جواب الأجوبة أجوبة الرد معلومات المعلومات",
        stated="مذكور مذكورة معروف معروفة محدد محددة متاح متاحة متوفر متوفرة مجهول مجهولة",
        others="""تحتوي يحتوي تتضمن يتضمن تشمل يشمل تحوي يحوي تتوفر يتوفر توجد يوجد وجود ترد يرد تقدم يقدم تذكر يذكر
        على في من عن إلى هذه هذا تلك المقدمة المقدم المعطاة المتاحة المتوفرة المعروضة المرفقة أعلاه أي السؤال سؤال
        للسؤال المطروح المطلوبة ضمن داخل بها فيها به فيه يمكن العثور
        موجودة موجود لهذا لهذه توفر يوفر أجد عليه عليها أية كافية ذات صلة يتم بناء""",
    ),
    "he": _Vocabulary(
        documents="""המסמכים מסמכים המסמך מסמך במסמכים במסמך מהמסמכים מהמסמך הטקסט בטקסט הטקסטים הקטע בקטע הקטעים
        בקטעים ההקשר בהקשר""",
        denials="לא אינם אין אינו אינה אינן איננה איננו ללא",
        answers="התשובה תשובה תשובות מענה לענות מידע המידע",
        stated="ידוע ידועה צוין צוינה מוזכר מוזכרת נאמר",
        others="""את של על זה זו אלה אלו הללו האלה שסופקו שניתנו שסופק המצורפים הנתונים הנתון מכילים מכיל מכילה
        כוללים כולל כוללת נמצאת נמצא נמצאה מופיעה מופיע מצויה קיימת קיים יש ניתן אפשר למצוא לשאלה השאלה שאלה
        שנשאלה בהם בו
        כל שום הזו הזאת לגבי""",
    ),
    "fa": _Vocabulary(
        documents="اسناد سند سندها مستندات مدارک مدرک متن متون متن‌ها بافت منابع",
        denials="""ندارند ندارد نیست نیستند نشده نشد نمی نمی‌شود نمی‌شوند نمی‌کند نمی‌کنند نمی‌گیرند نمی‌گیرد
        نداده نداده‌اند نیامده
        نمی‌توان نمی‌باشد نکرده نکرده‌اند نامشخص نامعلوم""",
        answers="پاسخ پاسخی پاسخ‌ها جواب جوابی اطلاعات اطلاعاتی",
        stated="مشخص ذکر معلوم نامشخص نامعلوم",
        others="""را در بر از به این آن برای ارائه داده شده داده‌شده ارائه‌شده حاوی شامل موجود یافت پیدا وجود
        سؤال سوال پرسش
        مربوط مورد نظر است اند شود شد کرد کند کنند توان باشد ای ها های آنها هیچ و دربر""",
    ),
    "hi": _Vocabulary(
        documents="""दस्तावेज़ दस्तावेज़ों दस्तावेज दस्तावेजों प्रलेख प्रलेखों पाठ संदर्भ अंश लेख लेखों डॉक्यूमेंट
        डॉक्यूमेंट्स""",
        denials="नहीं नही अनुपस्थित अज्ञात",
        answers="उत्तर जवाब जानकारी सूचना",
        stated="उल्लेख उल्लिखित ज्ञात अज्ञात पता",
        others="""में मे का की के को इस इन यह ये प्रश्न सवाल दिए गए दिया गया दी गई प्रदान किए किया है हैं मौजूद
        उपलब्ध शामिल निहित कोई पाया मिला मिलता मिल सकता सका जा से पर लिए उस उन भी होता होते करते करता रखते देते देता
        संबंधित इनमें उनमें""",
    ),
    "vi": _Vocabulary(
        documents="tàiliệu vănbản ngữcảnh đoạnvăn",
        denials="không",  # nor "chưa": without its accents it is "chứa", which means to contain
        answers="trảlời câutrảlời đápán thôngtin",
        stated="rõ biết đềcập",
        others="""các những trong được cungcấp này đó có chứa baogồm cho câu hỏi câuhỏi tìm thấy nào bấtkỳ về
        nêu ra thể từ
        đã ở trên một của đến liênquan""",
        is_joined=True,
    ),
    "id": _Vocabulary(
        documents="dokumen dokumennya teks konteks sumber",
        denials="tidak tak tiada bukan belum tanpa",
        answers="jawaban jawabannya menjawab terjawab dijawab informasi informasinya",
        stated="disebutkan diketahui jelas dinyatakan",
        others="""ini itu tersebut yang di dalam pada dari untuk atas memuat mengandung berisi menyediakan memberikan
        mencakup menyertakan ada adanya terdapat ditemukan diberikan disediakan tersedia pertanyaan
        pertanyaannya apa pun
        apapun tentang dapat bisa berdasarkan mana terkandung""",
    ),
    "zh": _Vocabulary(
        documents="文档 文件 文本 资料 材料 文章 段落 文中 原文 上下文 文檔 資料 檔案",
        denials="没有 没 沒有 沒 找不到 不 未 并未 並未 无 無 无法 無法 未能 不能 未知 不详 不詳",
        answers="答案 答复 答覆 回答 解答 信息 资讯 資訊 訊息",
        stated="未知 不详 不詳 提及 提到 说明 說明 知道 确定 確定",
        others="""中 里 裡 裏 内 內 内容 內容 的 在 这 這 该 該 此 些 所 提供 给定 給定 给出 給出 给 給 上述
        以上 以下 并 並
        包含 包括 含有 含 有 存在 找到 出现 出現 任何 相关 相關 对 對 问题 問題 于 於 关于 關於 根据 根據 从 從
        可以 能
        得出 得到 了 到 是 个 個 来 來 用 直接 足够 足夠 我 被 具体 具體 明确 明確""",
        is_joined=True,
    ),
    "ja": _Vocabulary(
        documents="文書 ドキュメント 文章 資料 書類 本文 文脈 テキスト 文献",
        denials="ません ない なかった 無い 無し なし 不明",
        answers="答え 回答 解答 答 答える 答えられ こたえ 情報",
        stated="不明 わかり 分かり わから 分から 言及 記載 明記",
        others="""に には は が を の で では から も この その これら それら 提供された 与えられた 提示された
        示された
        質問 問い へ 対する 対して 関する 関連する 含まれて 含まれ 含んで 含み 含む い いる おり あり 存在
        されて され して
        し 書かれて 載って 見つかり 見つから 見当たり 見当たら ござい でき する こと 中 内 です でした た お
        ついて つい て
        該当する 該当 必要な 十分な ため 見つける""",
        is_joined=True,
    ),
    "ko": _Vocabulary(
        documents="문서 자료 본문 지문 텍스트 문맥",
        denials="없 않 못 불가능 알수없",
        answers="답 답변 정답 대답 해답 정보",
        stated="언급 명시 알수없 확인",
        others="""들 에 에는 에서 에서는 은 는 이 가 을 를 의 도 안에 안에는 안에서 속에 내에 제공된 제공되
        주어진 제시된 해당
        그 질문 에대한 대한 관련 포함 되어 돼 되 된 있 있지 지 하고 하지 나와 들어 찾 을수 수 습니다 합니다
        입니다 니다 다
        음 요 어요 아요 고 할 알 나타나 존재 담고 담겨 으로 로 만으로 과 와""",
        is_joined=True,
    ),
    "th": _Vocabulary(
        documents="เอกสาร ข้อความ บริบท เนื้อหา",
        denials="ไม่มี ไม่ได้ ไม่พบ ไม่สามารถ ไม่ ไม่ทราบ",
        answers="คำตอบ ตอบ ข้อมูล",
        stated="ไม่ทราบ ระบุ กล่าวถึง",
        others="""ใน ที่ ให้ มา นี้ เหล่านี้ ของ คำถาม สำหรับ อยู่ มี ถูก พบ ปรากฏ เกี่ยวข้อง เกี่ยวกับ กับ ดังกล่าว ข้างต้น
        บรรจุ รวม หา จาก ได้ ได้รับ ไว้ ใด ๆ เลย นั้น ต่อ การ ว่า ทั้งหมด""",
        is_joined=True,
    ),
}
