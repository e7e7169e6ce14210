"""What a service says in the body of an error: its own sentence, and what its words are about.

Services agree neither on the shape of the body nor on codes, so meaning is read from general signs in codes and words,
in English and Chinese. The signs were collected from public reports; `test_service_messages` names them. Nothing here
decides what to do about an error: `service_errors` does.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openai

# where a body repeats the request; its words say nothing about the error
ECHOED = frozenset({"input", "flagged_input", "prompt", "messages", "request", "ctx", "url", "loc"})
_CODES = {"code", "type", "__type", "status", "reason", "error_type", "block_reason", "inner_code"}
# where sentences stand, the most telling first
_SENTENCES = (
    *(
        "message",
        "msg",
        "detail",
        "error",
        "errors",
        "raw",
        "metadata",
        "details",
        "error_description",
        "error_message",
    ),
    *("errormessage", "error_msg", "status_msg", "base_resp", "description", "reason", "title", "fault", "faultstring"),
)
MAX_PAGE_CHARACTERS = 20_000  # of a page or text that is not JSON
MAX_CHARACTERS = 4000  # of a body that are searched for signs
_MARKUP = re.compile(r"<(style|script)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)
# but not the names of the answer's length, which are not about the tokens of a prompt
_IDENTIFIER = re.compile(r"\b(?!max_(?:\w+_)?tokens\b)\w*_\w*\b")
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Subject(StrEnum):
    """What an error is about, as far as its words say."""

    CREDIT = "credit"
    ACCOUNT = "account"  # closed or suspended
    CONTENT = "content"  # a filter or a moderator refuses what this prompt says
    LENGTH = "length"  # this prompt is too long
    PROMPT = "prompt"  # this prompt is not valid for another reason
    SIGN_IN = "sign-in"  # key, permission, region or network
    MODEL = "model"  # the service has no such model
    PARAMETER = "parameter"  # a parameter that isn't known or not permitted


@dataclass(frozen=True)
class ServiceMessage:
    """What a service says: `sentence` for people, as it came; `codes` are lower-case words, such as `content filter`.

    `text` is everything that isn't an echo of the request, in lower case. It may hold secrets, as may `sentence`.
    """

    sentence: str
    codes: frozenset[str]
    text: str
    is_filtered: bool = False  # a verdict of a content filter is in the body

    @cached_property
    def subject(self) -> Subject | None:
        """What the words are about; None where they don't say."""
        return next((subject for subject, is_about in _SIGNS if is_about(self)), None)

    @property
    def is_temporary(self) -> bool:
        """Whether a rate or a part of the service is what fails; then other words say which, not why."""
        return bool(_RATE.search(self.text) or _TEMPORARY.search(self.text))


def error_body(error: "openai.APIError") -> object:
    """Return all that came with an error, JSON or text; the client keeps a part of it only."""
    import openai

    response = error.response if isinstance(error, openai.APIStatusError) else None
    if response is None or not response.is_stream_consumed or not response.content:
        return error.body
    try:
        return response.json()
    except ValueError:
        return response.content.decode("utf-8", "replace")


def read_message(body: object) -> ServiceMessage:
    """Read an error's body, whatever its shape: JSON of any nesting, text or a page."""
    body = _parse(body)
    sentences = list(dict.fromkeys(" ".join(text.split()) for text in find_sentences(body)))
    told = [text for text in sentences if not any(text != other and text in other for other in sentences)]
    codes = frozenset(_to_words(code) for code in _find_codes(body))
    texts = ". ".join([*sorted(codes), *find_texts(body)])[:MAX_CHARACTERS]
    texts = _IDENTIFIER.sub(lambda found: found[0].replace("_", " "), texts)
    text = _CAMEL_CASE.sub(" ", texts).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return ServiceMessage("; ".join(told), codes, text, is_filtered=_has_filtered(body))


def _parse(value: object) -> object:
    """Return the JSON in a text, the text of a page, and anything else as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith(("{", "[")):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    text = text[:MAX_PAGE_CHARACTERS]
    return " ".join(_MARKUP.sub(" ", text).split()) if text.startswith("<") else text


def find_sentences(value: object) -> Iterator[str]:
    """Yield the sentences of a body, the most telling first."""
    value = _parse(value)
    if isinstance(value, str):
        yield from [value] if value else []
    elif isinstance(value, list):
        for entry in value:
            yield from find_sentences(entry)
    elif isinstance(value, Mapping):
        by_name = {str(name).lower(): entry for name, entry in value.items()}
        where = by_name.get("loc")  # of FastAPI's validation errors: the way to the field
        place = ".".join(map(str, where[1:])) + ": " if isinstance(where, list) and len(where) > 1 else ""
        for name in _SENTENCES:
            for sentence in find_sentences(by_name.get(name)):
                if name != "reason" or " " in sentence:  # otherwise it is a code
                    yield place + sentence


def walk_body(value: object, *, skipped: AbstractSet[str] = ECHOED, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value of a body that is no list or object, with the name that it stands under.

    JSON in a text is walked as well. What is under one of the names `skipped` (lower case) is left out.
    """
    value = _parse(value)
    if isinstance(value, list):
        for entry in value:
            yield from walk_body(entry, skipped=skipped, name=name)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            if str(key).lower() not in skipped:
                yield from walk_body(entry, skipped=skipped, name=str(key))
    else:
        yield name, value


def find_texts(body: object, *, skipped: AbstractSet[str] = ECHOED) -> Iterator[str]:
    """Yield every text of a body, but for what is under the names `skipped`."""
    return (value for _, value in walk_body(body, skipped=skipped) if isinstance(value, str))


def _find_codes(body: object) -> Iterator[str]:
    for name, value in walk_body(body):
        key = _to_words(name).replace(" ", "_")
        if isinstance(value, (str, int)) and (key in _CODES or key.endswith("_code")):
            yield str(value)


def _has_filtered(body: object) -> bool:
    """Return whether a content filter's verdict is in the body, as Azure and Gemini put it there."""
    return any(
        (name == "filtered" and value is True) or (name in ("blockReason", "block_reason") and value)
        for name, value in walk_body(body, skipped=frozenset())
    )


def _to_words(code: str) -> str:
    """Return a code's words: `DataInspectionFailed` and `data_inspection_failed` are data inspection failed."""
    return " ".join(re.split(r"[\s_.\-]+", _CAMEL_CASE.sub(" ", code))).strip().lower()


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{alternative})" for alternative in alternatives))


# ---------------------------------------------------------------- signs

# the same words are about a rate, not about one request
_RATE = _pattern(
    r"throttl",
    r"\brate[ -]?limit",
    r"\bper[ -]?(?:min|minute|hour|day|second)\b",
    r"\b[tr]p[md]\b",
    r"too many requests|\btry again in \d",
    r"频率|速率|并发|限流|次数|频繁|每分钟|稍后",
)

_TEMPORARY = _pattern(r"\bunavailable\b|\btimed? ?out\b|\btemporar|\boverloaded\b|\b(?:retry|again) later\b")

_CREDIT_CODES = {
    *("insufficient quota", "insufficient balance", "insufficient credits", "insufficient user quota"),
    *("billing hard limit reached", "billing not active", "exceeded current quota error"),
    *("arrearage", "account overdue error", "budget exceeded"),
}
_CREDIT = _pattern(
    r"insufficient (?:account |user |remaining |api )?(?:balance|credit|fund)",
    r"insufficient user quota",
    r"\b(?:balance|credits?|funds?)\b[^.]{0,40}\b(?:insufficient|not enough|too low|exhausted|used up|depleted)",
    r"(?:not|n't) (?:have )?(?:enough|sufficient|any) (?:credit|balance|fund)",
    r"\bout of (?:credit|fund|balance)",
    r"\bno (?:remaining|available|more) (?:credits?|funds?|balance)",
    r"\bno (?:credits?|funds?|balance) (?:left|remaining|available)|\b(?:have|has) no (?:credits?|funds?)\b",
    r"\bbalance (?:is|of) (?:\$?0|zero|negative)|\b(?:buy|purchase|add) (?:more )?credits|\btop[ -]?up\b|\brecharge\b",
    r"\bfree (?:trial|tier|quota)\b[^.]{0,30}\b(?:expired|ended|used up|exhausted)|\bsubscription (?:has |is )?expired",
    r"\bpayment method\b|\bbilling (?:account |is |has )*(?:been )?(?:not |in|un|dis)",
    r"\b(?:used|consumed) (?:up )?all (?:of )?(?:your |its |the )?(?:available |included )?credits",
    r"exceeded your (?:monthly )?(?:included |available )*credits",
    r"requires more credits|can only afford|payment required",
    r"(?:credit|spending|billing|key) (?:hard )?limit (?:is |has been |was )?(?:exceeded|reached)",
    r"(?:reached|exceeded|reaching) (?:its|your|the) (?:\w+ ){0,3}?(?:spending|credit|usage) limit",
    r"budget has been exceeded",
    r"past[ -]due|\boverdue\b|in good standing",
    r"余额(?:不足|不够|为零|已用)|欠费|充值|额度(?:不足|已用|用尽|耗尽)",
)
_QUOTA = _pattern(r"exceeded your current quota")  # without credit; with 429 Gemini says so of a rate

_ACCOUNT = _pattern(
    r"\b(?:account|organi[sz]ation|api key|subscription)\b(?:[^.]{0,40}?)\b(?:is|was|has been|have been)"
    r" (?:\w+ )?(?:suspended|deactivated|terminated|disabled|banned|blocked|locked|closed|flagged)",
    r"\baccount (?:deactivated|suspended|disabled)|\baccess (?:is|was|has been) (?:terminated|revoked|suspended)",
    r"(?:账户|账号)[^。]{0,10}(?:冻结|封禁|停用|禁用)",
)

_CONTENT_CODES = {
    *("content filter", "content filtered", "content policy violation", "invalid prompt", "moderation blocked"),
    *("safety", "recitation", "blocklist", "spii", "prohibited content", "sensitive", "1301"),
}
_WHAT = r"(?:content|contents|words?|terms?|inputs?|text|prompts?|data|material|information|language|topics?|messages?)"
_CONTENT = _pattern(
    r"\bcontent[\s-]*(?:filter|polic|moderation|management|inspection|safety|guideline|violation)",
    r"(?<![-/\w])moderat(?:ion|ed|or)\b",
    r"\bflagged\b",
    r"\bresponsible[ -]?ai\b",
    rf"\b(?:inappropriate|objectionable|offensive|harmful|unsafe|sensitive|prohibited|disallowed|forbidden|illegal|toxic)"
    rf"(?: or \w+)? {_WHAT}\b",
    r"content exists risk|\bhigh[ -]risk\b|data ?inspection|\bguardrails?\b|\bjailbreak|prompt (?:injection|attack)",
    r"\bsafety (?:system|filter|reason|setting|concern|polic|check|guideline|violation|categor)",
    r"\b(?:for|due to|because of|by|reasons?:?) (?:the )?(?:safety|recitation|prohibited content|blocklist|spii)\b",
    r"(?<!case[ -])(?<![a-z])sensitive\b|\bunsafe\b(?! legacy)",
    r"\b(?:content|prompts?|inputs?|texts?|candidate) (?:(?:was|is|were|has been) )?(?:blocked|censored|filtered)\b",
    r"\bhate speech\b|\bself[ -]?harm|\bnsfw\b|\bprofan|\bobscen|\bsexual|\btoxic|\bharmful\b|\bhateful\b|"
    r"\bharassment\b|\bpornograph|\bviolence\b|\bpolicy violation\b|\bpii\b",
    r"\bviolat\w+\b[^.]{0,60}\b(?:polic|guideline|terms|rule|standard)",
    r"\b(?:usage|use|safety|community) (?:polic\w+|guidelines?|standards?)\b[^.]{0,40}\b(?:violat|block|reject|flag)",
    r"敏感|违规|不合规|违法|内容审核|审核(?:不|未)?通过|(?:触发|通过).{0,6}审核|风控|不当内容|不适当|不适宜|有害|涉黄|涉政|涉暴|不安全|安全(?:策略|检查|风险|政策|限制)",
    r"不符合.{0,8}(?:安全|规范|规定|政策)|不合法|非法内容",
    r"内容(?:安全|风险|存在风险|被拦截|过滤)",
)

_CONTENT_WEAK = _pattern(
    r"\b(?:content|prompts?|inputs?|texts?)\b[^.]{0,40}\b(?:rejected|refused|denied)\b|\bpolicy reasons?\b"
)

_TOO = r"(?<!took )(?<!take )(?<!takes )(?<!taking )too (?:long|large|big)\b"
_SIZED = (
    r"\b(?:prompts?|inputs?|context|texts?|messages?|contents?|sequences?|requests?|query|conversation|passages?|"
    r"documents?|length|tokens?|payload|entity|body|string)\b"
)
_LENGTH = _pattern(
    rf"{_SIZED}.{{0,80}}?{_TOO}",
    r"\btoo many (?:input |prompt |total |text )*(?:tokens|bytes|characters)",
    r"\b(?:request|query)\b.{0,40}\bexceed\w*\b.{0,40}\b(?:tokens?|length|size|context|bytes|characters)\b",
    r"\btokens? limit (?:exceeded|reached)|\bmaximum tokens exceeded",
    r"\bmax(?:imum)? (?:(?:context|prompt|input|sequence|seq) (?:length|len|size|window)|length of)",
    r"\bcontext (?:length|window|size) (?:is |of |has been )*(?:only|exceeded|overflow)|\bcontext (?:overflow|shift)",
    r"range of input length should be",
    r"\breduce (?:the )?(?:length|size|number) of (?:the |your )?(?:messages?|prompts?|inputs?|tokens)",
    r"\b(?:reduce|shorten) (?:your |the )(?:prompt|input|message|text)|\bshorter (?:input|prompt|message|text)",
    r"\bn keep\b.*\bn ctx\b|\boversized?\b",
    r"(?:输入|上下文|提示词?|内容|文本|消息|请求|长度|tokens?|prompt|input).{0,20}(?:超过|超出|超长|超限|过长|太长|过大)",
    r"最大(?:输入|上下文|长度|token)",
)
# in any order within a sentence: what is sent, that it is above, and a limit
_PROMPT = _pattern(r"\b(?:prompts?|inputs?|context|texts?|messages?|contents?|sequences?|documents?|payload|string)\b")
_TOKENS = _pattern(r"\btokens?\b")
_ABOVE = _pattern(
    r"\bexceed|\b(?:longer|greater|larger|bigger|more|higher) than\b|\babove\b|\bbeyond\b|\bat most\b|≤|<=",
    r"\bover\b|\d\)? ?>",
    r"\b(?:must|should|can) (?:be|have) (?:<|\[|less|fewer|no more|shorter|below|under)|\bdo(?:es)?(?: not|n't) fit\b",
    r"\b(?:limit|max|maximum|window|allowed)\b.{0,40}\b(?:is|are|of|reached)\b",
)
_LIMIT = _pattern(
    r"\b(?:tokens?|length|len|size|context|window|limit|max|maximum|characters?|bytes|n ctx|max_\w+|allow\w*)\b"
)
# the number of texts, or the length of an answer: of all requests, whatever their prompt
_NOT_LENGTH = _pattern(r"\bbatch\b|\barray\b|\blist\b|\bnumber of (?:inputs|texts|documents|items)\b")
_ANSWER_LENGTH = _pattern(r"\bmax_(?:\w+_)?tokens\b|\b(?:output|completion) tokens\b")
_PROMPT_LEAVES_NOTHING = _pattern(r"tokens must be at least 1, got -")  # vLLM, of a prompt that is too long
_TOO_LARGE_FOR_A_RATE = _pattern(r"request too large for\b[^.]*\btokens per min")  # larger than a minute's tokens

_PROMPT_INVALID = _pattern(r"\binvalid (?:prompt|unicode|utf-?8|characters?)\b", r"\bsurrogates? not allowed")

_SIGN_IN = _pattern(
    r"\bapi[ -]?key\b",
    r"\bunauthori[sz]ed\b|\bnot authori[sz]ed\b|\bauthenticat|\bcredentials?\b",
    r"\b(?:invalid|expired) (?:access |bearer |auth )?token\b(?! count)|\btoken (?:is |has )?(?:expired|invalid)",
    r"\bpermissions?\b|\bscopes?\b",
    r"(?:country|region|location|territory)[^.]{0,40}not (?:supported|available|allowed)",
    r"not (?:supported|available|allowed) in (?:your|this) (?:country|region|location)|unsupported_country",
    r"\bfirewall\b|\bvirtual network\b|\bip (?:address )?(?:is )?not\b|\bpublic (?:network )?access\b",
)

_MODEL_CODES = {"model not found", "deployment not found", "model not available", "model not supported"}
_MODEL = _pattern(
    r"\bmodels?\b[^.]{0,60}\b(?:not (?:be )?(?:found|loaded|available)|(?:does not|doesn't|not) exist|is unknown|"
    r"has been (?:deprecated|decommissioned|removed|retired))",
    r"\b(?:no such|unknown|invalid|unsupported) model\b|not a valid model|\bno models? (?:is |are )?loaded",
    r"\bdeployment\b[^.]{0,40}\b(?:not found|does not exist)",
    r"模型[^。]{0,20}(?:不存在|未找到|已下线)",
)

_FIELD = r"(?:parameters?|params?|arguments?|fields?|keywords?|kwargs?|propert(?:y|ies)|options?)"
_PARAMETER = _pattern(
    rf"\b(?:unsupported|unrecogni[sz]ed|unknown|unexpected|extra|additional|no such)\b[^.]{{0,20}}\b{_FIELD}\b",
    rf"\b{_FIELD}\b[^.]{{0,40}}\b(?:not (?:be )?(?:supported|permitted|allowed|recogni[sz]ed)|unsupported)",
    r"extra inputs are not permitted|extra forbidden",
)


def _is_about_credit(said: ServiceMessage) -> bool:
    # OpenAI advises to add a payment method for a higher rate
    return bool(said.codes & _CREDIT_CODES or (_CREDIT.search(said.text) and not _RATE.search(said.text)))


def _is_about_account(said: ServiceMessage) -> bool:
    return bool(_ACCOUNT.search(said.text))


def _is_about_content(said: ServiceMessage) -> bool:
    return bool(said.is_filtered or said.codes & _CONTENT_CODES or _CONTENT.search(said.text))


def _is_about_length(said: ServiceMessage) -> bool:
    if _TOO_LARGE_FOR_A_RATE.search(said.text):
        return True
    if _RATE.search(said.text) or "quota" in said.text:
        return False
    sentences = re.split(r"(?<=[.;!?。])\s+|\n", said.text)
    return any(map(_says_too_long, sentences))


def _says_too_long(sentence: str) -> bool:
    names_prompt = _PROMPT.search(sentence)
    if _NOT_LENGTH.search(sentence) or (_ANSWER_LENGTH.search(sentence) and not names_prompt):
        return bool(_PROMPT_LEAVES_NOTHING.search(sentence))
    is_above = (names_prompt or _TOKENS.search(sentence)) and _ABOVE.search(sentence) and _LIMIT.search(sentence)
    return bool(is_above or _LENGTH.search(sentence))


def _is_about_prompt(said: ServiceMessage) -> bool:
    return bool(_PROMPT_INVALID.search(said.text))


def _is_about_sign_in(said: ServiceMessage) -> bool:
    return bool(_SIGN_IN.search(said.text))


def _is_about_model(said: ServiceMessage) -> bool:
    return bool(said.codes & _MODEL_CODES or _MODEL.search(said.text))


def _is_about_parameter(said: ServiceMessage) -> bool:
    return bool(_PARAMETER.search(said.text))


def _may_be_about_content(said: ServiceMessage) -> bool:
    """Return whether this prompt is refused, without a word that says what for."""
    return bool(_CONTENT_WEAK.search(said.text))


# in this order: a closed account is told in words of a policy, a filtered prompt in words of a sign-in
_SIGNS: Sequence[tuple[Subject, Callable[[ServiceMessage], bool]]] = (
    (Subject.CREDIT, _is_about_credit),
    (Subject.ACCOUNT, _is_about_account),
    (Subject.CONTENT, _is_about_content),
    (Subject.LENGTH, _is_about_length),
    (Subject.CONTENT, _may_be_about_content),
    (Subject.PROMPT, _is_about_prompt),
    (Subject.SIGN_IN, _is_about_sign_in),
    (Subject.MODEL, _is_about_model),
    (Subject.PARAMETER, _is_about_parameter),
)


# of a model that is on its way into memory: llama.cpp, Ollama, TGI, Hugging Face, SGLang, Triton, vLLM
_LOADING = _pattern(
    r"(?<!error )(?<!failed )(?<!fail )(?<!failure )(?<!while )(?<!when )(?<!during )\bloading (?:the |a |your )?"
    r"(?:model|weights|checkpoint|llm)",
    r"\b(?:models?|weights|server|engine|backend|runner|instance|endpoint|replicas?|container|pod|service)\b[^.;]{0,80}?"
    r"\b(?:is|are|be) (?:still |currently |now |being |just )*(?:loading|loaded (?:now|into)|starting|warming|booting|"
    r"initiali[sz]ing|waking|scaling|being loaded|being pulled|being started)",
    r"\b(?:models?|server|engine|backend|runner|instance|endpoint|service)\b[^.;]{0,60}?\bnot (?:yet )?(?:ready|"
    r"started|finished loading|fully loaded)\b(?! for (?:this|your))",
    r"\b(?:starting|warming|booting|spinning) up\b|\bcold start|\bscaling from zero\b|\bno ready (?:replica|instance)",
    r"(?:模型|服务)[^。]{0,10}(?:加载中|正在加载|启动中|正在启动|未就绪)|正在加载",
)
# of one that has too much to do: Ollama, TGI, vLLM, llama.cpp, OpenAI, Anthropic, DashScope
_BUSY = _pattern(
    r"\b(?:server|model|service|engine|system|backend|gpu|workers?|instance|slots?)s?\b[^.;]{0,60}?\b(?:busy|overloaded|"
    r"saturated|at (?:full |max(?:imum)? )?capacity|out of capacity|unavailable at the moment)",
    r"\boverloaded\b|\btoo busy\b|\bbusy,? (?:please )?(?:try|retry)|\b(?:high|heavy) (?:load|demand|traffic)\b",
    r"\bmax(?:imum)? (?:pending|concurrent|queued?|waiting) requests\b|\bqueue (?:is |size )?(?:full|exceeded|limit)",
    r"\bno (?:free |available |idle )*(?:slots?|workers?|capacity|gpus?)(?: (?:is |are )?(?:available|free|left))?\b",
    r"\b(?:at|over|exceeded) capacity\b|\binsufficient capacity\b|\btoo many (?:concurrent |pending |queued )*requests",
    r"繁忙|过载|排队",
)


def is_loading(said: ServiceMessage) -> bool:
    """Return whether a service says that it is still loading the model, which is no failure to load it."""
    return bool(_LOADING.search(said.text))


def is_busy(said: ServiceMessage) -> bool:
    """Return whether a service says that it has too much to do at the moment."""
    return bool(_BUSY.search(said.text))


def names_quota(said: ServiceMessage) -> bool:
    """Return whether a quota is used up, which is credit or a rate."""
    return bool(_QUOTA.search(said.text))
