"""The frequent words of languages: what a sentence has whatever it is about, and what tells languages apart.

A text is taken for a language in Latin script only where its frequent words occur: a list of names or a program would
otherwise be of any language. Of an answer they say nothing, so support is counted without them. English is in
`core.similarity`, whose words decide since the first version.
"""

from collections.abc import Mapping
from types import MappingProxyType

_WRITTEN = {
    "de": """der die das den dem des ein eine einen einem einer eines und oder aber in im an am auf aus
        bei mit nach von vom zu zum zur für über unter um durch ist sind war waren wird werden wurde
        wurden hat haben hatte hatten nicht auch als wie dass daß es er sie wir ich sich so nur noch
        kann können wenn sein seine ihre ihr was wer wann wo warum welche welcher welches dieser diese
        dieses""",
    "fr": """le la les un une des du de d l et ou mais dans en au aux sur sous par pour avec sans est
        sont était étaient fut furent a ont avait avaient été être ne pas plus que qui quoi dont où ce
        cet cette ces il elle ils elles on nous vous je se sa son ses leur leurs comme s n qu c quand
        quel quelle quels quelles comment pourquoi""",
    "es": """el la los las un una unos unas de del al a y e o u pero en con por para sin sobre entre es
        son era eran fue fueron ha han había ser está están no más que quien quienes cual cuál cuales
        donde dónde cuando cuándo cómo como qué quién su sus se lo le les este esta estos estas ese esa
        muy también desde hasta""",
    "it": """il lo la i gli le un uno una di del dello della dei degli delle a al alla ai alle da dal
        dalla in nel nella nei nelle su sul sulla con per tra fra e ed o ma è sono era erano fu furono
        ha hanno aveva stato stata non più che chi cui dove quando come quale quali perché si suo sua
        suoi sue questo questa anche l d dell nell""",
    "pt": """o a os as um uma uns umas de do da dos das em no na nos nas ao à aos às por pelo pela para
        com sem sobre entre e ou mas é são era eram foi foram tem têm tinha ser está estão não mais que
        quem qual quais onde quando como se seu sua seus suas este esta isto também até desde""",
    "nl": """de het een en of maar in op aan van voor met bij uit naar door over onder is zijn was waren
        wordt worden werd werden heeft hebben had hadden niet ook als dat die dit deze er zich hij zij
        ze wij we ik je te om tot dan nog wel wat wie waar wanneer waarom hoe welke kan""",
    "pl": """i w we z ze na do od po za o u przy przez dla pod nad nie się jest są był była było były
        będzie to ten ta te tego tej tym tych który która które których jak jako co kto gdzie kiedy
        dlaczego czy a ale lub oraz że jego jej ich również tylko może został została""",
    "tr": """ve bir bu şu o ile için de da den dan mi mı mu mü ne nasıl neden hangi kim nerede zaman çok
        daha en olarak olan oldu olduğu gibi kadar sonra önce ise ya veya ama değil var yok tarafından
        her""",
    "vi": """và của là có được cho các những một trong với không này đó ở từ đến khi như đã sẽ đang cũng
        về tại để vào ra bởi nào gì ai đâu bao nhiêu thế năm người theo""",
    "id": """yang dan di ke dari untuk dengan pada adalah ini itu tidak dalam oleh sebagai akan telah
        sudah juga atau karena dapat bisa ada para mereka ia dia apa siapa kapan mana bagaimana mengapa
        berapa tahun""",
    "sv": """och i att det som en ett på är av för med till den har de inte om var från men vid kan så
        också eller när hur vad vem vilken där efter under han hon sin blev""",
    "da": """og i at det som en et på er af for med til den har de ikke om var fra men ved kan så også
        eller når hvordan hvad hvem hvor efter under han hun sin blev""",
    "no": """og i å det som en et på er av for med til den har de ikke om var fra men ved kan så også
        eller når hvordan hva hvem hvor etter under han hun sin ble""",
    "fi": """ja on ei se että oli hän joka mutta myös kun kuin niin ovat olla sen ne tai jos mikä kuka
        missä milloin miksi miten vuonna hänen sekä""",
    "cs": """a v ve na s se z ze do od po za o u při pro pod nad je jsou byl byla bylo byli není to ten
        ta tento který která které jak jako co kdo kde kdy proč ale nebo že i jeho její také""",
    "hu": """a az és is nem hogy egy van volt ezt azt meg de ha mint csak már mi ki hol mikor miért
        hogyan melyik el vagy ez ami aki után által""",
    "ro": """și în la de cu pe din pentru este sunt era a au fost nu mai care ce cine unde când cum se
        sau dar o un unei unui lui sa său prin după""",
}
FREQUENT_WORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {code: frozenset(text.split()) for code, text in _WRITTEN.items()}
)
_RARELY_TELLING = {
    "ru": """и в во на с со к ко по из за от до у о об для при не что как это он она они был была было
        были есть или а но же который которая которое которые его её их также где когда кто какой почему""",
    "uk": """і й та в у на з із зі до по від за о об для при не що як це він вона вони був була було
        були є або а але який яка яке які його її їх також де коли хто чому""",
    "ar": """في من على إلى عن مع هذا هذه ذلك التي الذي الذين كان كانت هو هي أن إن لا ما لم قد و أو ثم
        بعد قبل بين كل حيث متى أين كيف لماذا هل أي""",
    "fa": """و در به از که این آن را با برای است بود شد شده می تا یا هم اما بر چه کی کجا چگونه چرا""",
    "he": """של את על הוא היא הם זה זו אל עם לא כי גם או אם היה היתה הייתה היו אשר מה מי מתי איפה איך למה""",
    "hi": """के का की में है हैं था थी थे को से पर और या ने यह वह एक कि जो भी नहीं हो कर लिए इस उस क्या
        कौन कब कहाँ कहां कैसे क्यों किस""",
}
# of scripts that tell their language, or whose languages differ in letters: they only say nothing of an answer
FUNCTION_WORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {**FREQUENT_WORDS, **{code: frozenset(text.split()) for code, text in _RARELY_TELLING.items()}}
)
# between things to choose from
ALTERNATIVES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "de": ("oder",),
        "fr": ("ou",),
        "es": ("o", "u"),
        "it": ("o", "oppure"),
        "pt": ("ou",),
        "nl": ("of",),
        "pl": ("czy", "lub", "albo"),
        "ru": ("или",),
        "uk": ("або", "чи"),
        "tr": ("veya", "yoksa", "ya da"),
        "ar": ("أم", "أو"),
        "he": ("או",),
        "fa": ("یا",),
        "hi": ("या",),
        "zh": ("还是", "還是", "或"),
        "ja": ("それとも", "または", "あるいは"),
        "ko": ("아니면", "또는", "혹은"),
        "vi": ("hay", "hoặc"),
        "th": ("หรือ",),
        "id": ("atau",),
        "sv": ("eller",),
        "da": ("eller",),
        "no": ("eller",),
        "fi": ("vai", "tai"),
        "cs": ("nebo", "či"),
        "hu": ("vagy",),
        "ro": ("sau",),
    }
)
# what a question asks for, by the type of a question; the first that occurs decides
QUESTION_WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "de": {"was": "what", "wer": "who", "wen": "who", "wem": "who", "wessen": "who", "wann": "when", "wo": "where",
               "wohin": "where", "woher": "where", "warum": "why", "weshalb": "why", "wieso": "why", "wie": "how",
               "welche": "which", "welcher": "which", "welches": "which", "welchem": "which", "welchen": "which"},
        "fr": {"que": "what", "quoi": "what", "qui": "who", "quand": "when", "où": "where", "pourquoi": "why",
               "comment": "how", "combien": "how", "quel": "which", "quelle": "which", "quels": "which",
               "quelles": "which"},
        "es": {"qué": "what", "quién": "who", "quiénes": "who", "cuándo": "when", "dónde": "where", "cómo": "how",
               "cuánto": "how", "cuánta": "how", "cuántos": "how", "cuántas": "how", "cuál": "which",
               "cuáles": "which"},
        "it": {"cosa": "what", "che": "what", "chi": "who", "quando": "when", "dove": "where", "perché": "why",
               "come": "how", "quanto": "how", "quanti": "how", "quante": "how", "quale": "which", "quali": "which"},
        "pt": {"que": "what", "quem": "who", "quando": "when", "onde": "where", "como": "how", "quanto": "how",
               "quantos": "how", "quantas": "how", "qual": "which", "quais": "which"},
        "nl": {"wat": "what", "wie": "who", "wanneer": "when", "waar": "where", "waarom": "why", "hoe": "how",
               "hoeveel": "how", "welke": "which", "welk": "which"},
        "pl": {"co": "what", "kto": "who", "kiedy": "when", "gdzie": "where", "dlaczego": "why", "jak": "how",
               "ile": "how", "który": "which", "która": "which", "które": "which", "którym": "which"},
        "ru": {"что": "what", "кто": "who", "когда": "when", "где": "where", "почему": "why", "как": "how",
               "сколько": "how", "какой": "which", "какая": "which", "какое": "which", "каком": "which"},
        "uk": {"що": "what", "хто": "who", "коли": "when", "де": "where", "чому": "why", "як": "how",
               "скільки": "how", "який": "which", "яка": "which", "якому": "which"},
        "tr": {"ne": "what", "kim": "who", "nerede": "where", "neden": "why", "nasıl": "how", "kaç": "how",
               "hangi": "which"},
        "ar": {"ما": "what", "ماذا": "what", "من": "who", "متى": "when", "أين": "where", "لماذا": "why",
               "كيف": "how", "كم": "how", "أي": "which"},
        "fa": {"چه": "what", "کی": "when", "کجا": "where", "چرا": "why", "چگونه": "how", "کدام": "which"},
        "he": {"מה": "what", "מי": "who", "מתי": "when", "איפה": "where", "היכן": "where", "למה": "why",
               "מדוע": "why", "איך": "how", "כיצד": "how", "איזה": "which", "איזו": "which"},
        "hi": {"क्या": "what", "कौन": "who", "किसने": "who", "कब": "when", "कहाँ": "where", "कहां": "where",
               "क्यों": "why", "कैसे": "how", "कितने": "how", "कितना": "how", "कितनी": "how", "किस": "which"},
        "zh": {"为什么": "why", "為什麼": "why", "什么时候": "when", "何时": "when", "哪一年": "when", "哪年": "when",
               "什么": "what", "什麼": "what", "谁": "who", "誰": "who", "哪里": "where", "哪裡": "where",
               "何处": "where",
               "怎么": "how", "如何": "how", "多少": "how", "几": "how", "哪": "which"},
        "ja": {"なぜ": "why", "いつ": "when", "何年": "when",
               "誰": "who", "だれ": "who", "どこ": "where", "何": "what",
               "なに": "what", "どのように": "how", "いくつ": "how", "いくら": "how", "どの": "which", "どれ": "which"},
        "ko": {"무엇": "what", "누구": "who", "누가": "who",
                "언제": "when", "어디": "where", "왜": "why", "어떻게": "how",
               "몇": "how", "얼마": "how", "어느": "which", "어떤": "which"},
        "th": {"อะไร": "what", "ใคร": "who", "เมื่อไร": "when", "เมื่อใด": "when", "ที่ไหน": "where", "ทำไม": "why",
               "อย่างไร": "how", "กี่": "how", "เท่าไร": "how", "ไหน": "which", "ใด": "which"},
        "id": {"apa": "what", "siapa": "who", "kapan": "when", "mana": "where", "mengapa": "why", "kenapa": "why",
               "bagaimana": "how", "berapa": "how"},
    }
)  # fmt: skip
