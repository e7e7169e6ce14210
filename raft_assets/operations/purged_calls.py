"""Which stored calls a purge takes: those that were asked for the domain or the document alone.

Calls remember for what they were asked, whatever became of it. Of calls of versions before 0.3.0 only the domain is
known, or nothing: these are found by the calls behind the present tables, and by the words that they share with a text.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import groupby

from raft_assets.core.tables import ANSWERS, JudgedAnswer, QAPair
from raft_assets.llm.keys import EMBEDDING, TRAINING_KIND, truncated_key
from raft_assets.llm.store import CallSource, StoredCall
from raft_assets.settings.domains import PAIRS_FILE
from raft_assets.storage.lake import Lake

MIN_COMMON_WORDS = 8  # in a row: no two texts share them by chance, every quote of a sentence does
_WORD = re.compile(r"\w+")

HoldsText = Callable[[str], bool]


class PurgedCalls:
    """The calls of a domain, or of documents of it; `documents` is None for the domain.

    `sources`: for what all calls were asked. `table_keys`: the calls behind the present tables.
    """

    def __init__(
        self,
        domain: str,
        documents: Collection[str] | None,
        sources: Iterable[CallSource],
        *,
        table_keys: AbstractSet[str],
        holds_text: HoldsText,
    ) -> None:
        self._domain, self._documents = domain, documents
        self._table_keys, self._holds_text = table_keys, holds_text
        self._of_text, self._unclear, self._others = set[str](), set[str](), set[str]()
        self.shared = 0
        for key, of_call in groupby(sources, key=lambda source: source.key):
            self._classify(key, list(of_call))
        self.keys = self._of_text | {truncated_key(key) for key in self._of_text}

    def _classify(self, key: str, sources: list[CallSource]) -> None:
        documents = {source.document for source in sources if source.domain == self._domain}
        is_meant = bool(documents) if self._documents is None else not documents.isdisjoint(self._documents)
        if len(documents) < len(sources):  # another domain asked for it as well
            self._others.add(key)
            self.shared += is_meant
        elif is_meant:
            self._of_text.add(key)
        elif documents == {""}:
            self._unclear.add(key)
        else:
            self._others.add(key)

    def holds(self, call: StoredCall) -> bool:
        """Return whether the purge takes a call. A fine-tuning job has no text, and stays for what it cost."""
        if call.kind == TRAINING_KIND or call.key in self._others:
            return False
        if call.key in self.keys:
            return True
        if call.key not in self._unclear and call.origin.domain:  # of a version before, which came back in between
            return self._documents is None and call.origin.domain == self._domain
        # a vector doesn't show its text, and costs next to nothing
        return (
            call.kind == EMBEDDING
            or call.key in self._table_keys
            or self._holds_text(call.payload.decode("utf-8", "replace"))
        )

    def count(self, calls: Iterable[StoredCall]) -> Counter[str]:
        """Return the number of calls that the purge takes, by the asset that they were first made for."""
        return Counter(call.origin.asset or "previews" for call in calls if self.holds(call))


def other_names(
    domain: str,
    gone: Collection[str],
    sources: Iterable[CallSource],
    calls: Iterable[StoredCall],
    holds_text: HoldsText,
) -> set[str]:
    """Return those of the documents that are gone from which calls about them alone quote the text.

    So a document that was renamed is found under the names that it had.
    """
    about: dict[str, set[str]] = {}
    for source in sources:
        if source.domain == domain:
            about.setdefault(source.key, set()).add(source.document)
    of_one = {key: document for key, documents in about.items() for document in documents if len(documents) == 1}
    return {
        name
        for call in calls
        if call.kind != EMBEDDING
        and (name := of_one.get(call.key, "")) in gone
        and holds_text(call.payload.decode("utf-8", "replace"))
    }


def keys_of_tables(lake: Lake, domain: str, documents: Collection[str] | None) -> set[str]:
    """Return keys of the calls behind the present tables that asked about the text."""
    if not lake.exists("qa_pairs", domain):
        return set()
    pairs = [pair for pair in lake.rows(QAPair, domain) if _belongs_to_documents(pair, documents)]
    questions = {pair.question_id for pair in pairs}
    chunks = {pair.chunk_id for pair in pairs if documents is None or pair.path in documents}
    answers = [
        answer
        for model in ANSWERS.values()
        if lake.exists(model.table, domain)
        for answer in lake.rows(model, domain)
        if documents is None or answer.question_id in questions or not chunks.isdisjoint(answer.document_chunk_ids)
    ]
    judged = {
        row.call
        for row in (lake.rows(JudgedAnswer, domain) if lake.exists("judged_answers", domain) else ())
        if documents is None or row.question_id in questions
    }
    of_pairs = {key for pair in pairs for key in (pair.question_call, pair.answer_call, pair.judge_call)}
    return of_pairs | judged | {answer.call for answer in answers}


def _belongs_to_documents(pair: QAPair, documents: Collection[str] | None) -> bool:
    """Return whether a pair is purged with the documents; imported pairs are purged with their file, too."""
    return documents is None or pair.path in documents or (PAIRS_FILE in documents and pair.is_imported)


def text_matcher(texts: Iterable[str]) -> HoldsText:
    """Return a function that says whether a text shares `MIN_COMMON_WORDS` consecutive words with one of the texts."""
    wanted = {shingle for text in texts for shingle in _shingles(text)}
    return lambda text: not wanted.isdisjoint(_shingles(text))


def _shingles(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    for start in range(len(words) - MIN_COMMON_WORDS + 1):
        yield tuple(words[start : start + MIN_COMMON_WORDS])
