"""Which rows train, which validate and which evaluate, so that nothing that evaluates has been trained on.

The unit is the document, else the section, else the chunk: the coarsest that gives every split its minimum of rows.
Units that contain near-duplicate or overlapping chunks, or share other text, share a split; but shared text joins no
more than a fifth of the chunks, and where it is in several splits all the same, one of them keeps its rows. Assignments
are kept in a register: what has a split keeps it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from raft_assets.core.errors import DataError
from raft_assets.core.identity import draw, short_digest
from raft_assets.core.tables import Chunk, QAPair, Split
from raft_assets.dataset.related_chunks import Join, RelatedChunks
from raft_assets.dataset.shared_text import MAX_DOCUMENTS, NOTHING_SHARED, SharedText
from raft_assets.settings.domain import DatasetSettings
from raft_assets.settings.domains import QUESTIONS_FILE

UnitName = Literal["document", "section", "chunk"]

UNIT_NAMES: Sequence[UnitName] = ("document", "section", "chunk")
PRECEDENCE: Sequence[Split] = ("eval", "valid", "train")  # evaluation keeps its rows if two splits claim the same text
_SPLIT_OF_NAME: Mapping[str, Split] = {split: split for split in PRECEDENCE}
MAX_JOINED_SHARE = 0.2  # of all chunks, that shared text may join into one unit
MIN_TRAIN_SHARE = 0.5  # of its share of the rows; a unit that leaves training less is too coarse


class AcceptedPair(NamedTuple):
    """The fields of an accepted pair that a split depends on."""

    chunk_id: str
    kind: str
    accepted: bool = True


@dataclass(frozen=True)
class SplitPlan:
    """The split of every chunk's rows.

    `register` is for the next plan, `dropped` counts rows without a split by reason.
    """

    unit_name: UnitName
    units: Mapping[str, str]  # chunk id to the group that never crosses splits
    splits: Mapping[str, Split]  # chunk id to its split; chunks of units without a row have none
    drop_reasons: Mapping[str, str]  # chunk id to the reason for which its rows are dropped
    # chunks that no train or valid row may show: oracles of evaluation, golden evidence, and their relatives
    held_out: frozenset[str]
    register: Mapping[str, str]
    dropped: Mapping[str, int]
    shared: SharedText = NOTHING_SHARED
    joined: Mapping[str, Sequence[Join]] = field(default_factory=dict)  # unit above a fifth of the chunks to its joins
    cut: Sequence[Join] = ()  # shared text that doesn't join units, because they would be too large

    def split_of(self, pair: AcceptedPair | QAPair) -> Split | None:
        """Return the split of an accepted pair's row, None if it is dropped."""
        return None if self.reason_to_drop(pair) else self.splits[pair.chunk_id]

    def reason_to_drop(self, pair: AcceptedPair | QAPair) -> str:
        """Return why an accepted pair becomes no row; empty if it does."""
        if pair.chunk_id in self.drop_reasons:
            return self.drop_reasons[pair.chunk_id]
        return "cloze_in_eval" if pair.kind == "cloze" and self.splits[pair.chunk_id] == "eval" else ""


class _Section(NamedTuple):
    doc_id: str
    heading: str


@dataclass(frozen=True)
class _Corpus:
    """What a plan is made from, whatever its unit; all pairs are accepted ones."""

    chunks: Mapping[str, _Section]  # those that a pair is about, and their sections
    pairs: Sequence[AcceptedPair]
    related: RelatedChunks
    golden: frozenset[str]  # with relatives
    settings: DatasetSettings
    eval_minimum_binds: bool = True


def drawn_by(settings: DatasetSettings) -> dict[str, Any]:
    """Return the settings by which splits are drawn: with others a register is of no use."""
    return settings.model_dump(mode="json", include={"seed", "eval_share", "valid_share"})


def assign_splits(
    pairs: Iterable[QAPair | AcceptedPair],
    chunks: Mapping[str, Chunk],
    *,
    related: RelatedChunks,
    golden_chunk_ids: AbstractSet[str],
    settings: DatasetSettings,
    register: Mapping[str, str],
) -> SplitPlan:
    """Return the split of every chunk that an accepted pair is about.

    Units in the register keep their split, and the
    register keeps its kind of unit as long as every split has rows. Raises DataError if the pairs are too few for
    training and evaluation.
    """
    corpus = _corpus(pairs, chunks, related, golden_chunk_ids, settings)
    registered = _registered_unit_name(register, corpus.chunks)
    for name in UNIT_NAMES[UNIT_NAMES.index(registered or "document") :]:
        plan = _plan(corpus, name, register)
        rows = Counter(plan.split_of(pair) for pair in corpus.pairs)
        stays = name == registered and rows["eval"] and rows["train"] and (rows["valid"] or not settings.valid_share)
        if stays or _has_enough_rows(rows, settings):
            return plan
    if not _keeps_training(rows, settings):  # with blocks of this size, evaluation's minimum would cost it too much
        plan = _plan(replace(corpus, eval_minimum_binds=False), name, register)
        rows = Counter(plan.split_of(pair) for pair in corpus.pairs)
    if not (rows["train"] and rows["eval"]):
        raise DataError(
            f"{len(corpus.pairs)} accepted question pairs of {len(corpus.chunks)} chunks are too few for training "
            "and evaluation, which need pairs of different chunks: add documents, raise "
            "questions.questions_per_chunk, or see in qa_pairs why pairs were rejected."
        )
    return plan


def describe_shortage(summary: Mapping[str, Any], settings: DatasetSettings) -> str:
    """Return why evaluation has fewer rows than its minimum, by an assembly's counts; empty where it has them."""
    rows, dropped = summary["eval_rows"], summary["dropped"]
    if rows >= settings.min_eval_rows:
        return ""
    total = sum(summary[f"{split}_rows"] for split in ("train", "valid", "eval")) + sum(dropped.values())
    cloze = dropped.get("cloze_in_eval", 0)
    fill_ins = f", {cloze:,} others there are fill-in questions, which don't evaluate" if cloze else ""
    return (
        f"Evaluation has {rows:,} rows of {summary['eval_passages']:,} passages, fewer than dataset.min_eval_rows "
        f"({settings.min_eval_rows:,}){fill_ins}: of {total:,} accepted pairs, training keeps at least half of its "
        "share, and what has a split keeps it. Add documents, raise questions.questions_per_chunk, or write golden "
        f"questions ({QUESTIONS_FILE}), which take nothing from training but their passages."
    )


def _corpus(
    pairs: Iterable[QAPair | AcceptedPair],
    chunks: Mapping[str, Chunk],
    related: RelatedChunks,
    golden_chunk_ids: AbstractSet[str],
    settings: DatasetSettings,
) -> _Corpus:
    sections: dict[_Section, _Section] = {}  # each once, however many chunks it has
    section_of: dict[str, _Section] = {}
    accepted: list[AcceptedPair] = []
    for pair in pairs:
        if pair.accepted:
            accepted.append(AcceptedPair(pair.chunk_id, pair.kind))
            if pair.chunk_id not in section_of:
                chunk = chunks[pair.chunk_id]
                section = _Section(chunk.doc_id, chunk.heading)
                section_of[pair.chunk_id] = sections.setdefault(section, section)
    return _Corpus(section_of, accepted, related, related.relatives(golden_chunk_ids), settings)


def _units(chunks: Mapping[str, _Section], name: UnitName) -> dict[str, str]:
    """Return the unit of each chunk id."""
    if name == "chunk":
        return {chunk_id: f"chunk:{chunk_id}" for chunk_id in chunks}
    unit_of = {section: _unit(section, name) for section in set(chunks.values())}
    return {chunk_id: unit_of[section] for chunk_id, section in chunks.items()}


def _unit(section: _Section, name: UnitName) -> str:
    return f"document:{section.doc_id}" if name == "document" else f"section:{short_digest('section', *section)}"


def _registered_unit_name(register: Mapping[str, str], chunks: Mapping[str, _Section]) -> UnitName | None:
    """Return the kind of unit of which the register knows one of the chunks'; None if it knows none."""
    known = (name for name in UNIT_NAMES if not register.keys().isdisjoint(_units(chunks, name).values()))
    return next(known, None)


def _has_enough_rows(rows: Mapping[Split | None, int], settings: DatasetSettings) -> bool:
    """Return whether every split has the rows that it needs."""
    valid_is_enough = not settings.valid_share or rows["valid"] >= max(settings.min_valid_rows, 1)
    return valid_is_enough and rows["eval"] >= settings.min_eval_rows and _keeps_training(rows, settings)


def _keeps_training(rows: Mapping[Split | None, int], settings: DatasetSettings) -> bool:
    train_share = 1 - settings.eval_share - settings.valid_share
    return rows["train"] >= max(MIN_TRAIN_SHARE * train_share * sum(rows.values()), 1)


def _plan(corpus: _Corpus, name: UnitName, register: Mapping[str, str]) -> SplitPlan:
    """Return a plan with units of one kind, whatever its splits get."""
    unit_of = _units(corpus.chunks, name)
    merged, joined, cut = _merge_units(corpus, unit_of)
    blocks = list(_blocks(merged, _registered_splits(corpus, name, register)))
    block_of = {unit: block.name for block in blocks for unit in block.units}
    units = {chunk_id: block_of[unit] for chunk_id, unit in unit_of.items()}
    split_of_block = _assign_blocks(
        blocks, _rows_by_split(corpus, units), corpus.settings, eval_minimum_binds=corpus.eval_minimum_binds
    )
    splits = {chunk_id: split_of_block[unit] for chunk_id, unit in units.items()}
    removed = dict(_find_drop_reasons(corpus, splits))
    oracles = {pair.chunk_id for pair in corpus.pairs if splits[pair.chunk_id] == "eval" and pair.kind != "cloze"}
    plan = SplitPlan(
        unit_name=name,
        units=units,
        splits=splits,
        drop_reasons=removed,
        held_out=corpus.related.relatives(oracles) | corpus.golden,
        register={unit: split for unit, split in register.items() if unit.startswith(f"{name}:")}
        | {unit: splits[chunk_id] for chunk_id, unit in unit_of.items()},
        dropped={},
        shared=corpus.related.shared,
        joined=joined,
        cut=cut,
    )
    reasons = Counter(reason for pair in corpus.pairs if (reason := plan.reason_to_drop(pair)))
    return replace(plan, dropped=dict(sorted(reasons.items())))


@dataclass(frozen=True)
class _Block:
    """Units that share a split, which may be registered already."""

    units: frozenset[str]
    split: Split | None

    @property
    def name(self) -> str:
        """The smallest of the units' names."""
        return min(self.units)


def _merge_units(
    corpus: _Corpus, unit_of: Mapping[str, str]
) -> tuple[list[set[str]], dict[str, list[Join]], list[Join]]:
    """Return sets of units that share a split, the large ones by name with what joins them, and the joins not made.

    The strongest join is made first. Near-duplicates join whatever comes of it, other shared text only what stays
    within `MAX_JOINED_SHARE` of the chunks, or within as many units as a text may have documents.
    """
    chunks_of = Counter(unit_of.values())
    most = MAX_JOINED_SHARE * len(unit_of)
    sets = {unit: {unit} for unit in chunks_of}
    sizes = dict(chunks_of)  # in chunks, of the set of which the unit is the first
    first_of = {unit: unit for unit in chunks_of}
    made: list[Join] = []
    cut: list[Join] = []
    for join in corpus.related.joins():
        if join.one not in unit_of or join.other not in unit_of:
            continue
        one, other = first_of[unit_of[join.one]], first_of[unit_of[join.other]]
        if one == other:
            continue
        size = sizes[one] + sizes[other]
        if not join.is_near_duplicate and size > most and len(sets[one]) + len(sets[other]) > MAX_DOCUMENTS:
            cut.append(join)
            continue
        made.append(join)
        larger, smaller = sorted((one, other), key=lambda unit: len(sets[unit]), reverse=True)
        first_of.update(dict.fromkeys(sets[smaller], larger))
        sets[larger] |= sets.pop(smaller)
        sizes[larger] = size
    large = [units for first, units in sets.items() if len(units) > 1 and sizes[first] > most]
    joined = {min(units): [join for join in made if unit_of[join.one] in units] for units in large}
    return list(sets.values()), joined, cut


def _registered_splits(corpus: _Corpus, name: UnitName, register: Mapping[str, str]) -> dict[str, Split]:
    """Return the splits of units that already have one.

    It is their own, or that of the larger unit that they are part of.
    """
    splits: dict[str, Split] = {}
    own = _units(corpus.chunks, name)
    for larger in UNIT_NAMES[: UNIT_NAMES.index(name) + 1]:  # the finest entry counts
        for chunk_id, unit in _units(corpus.chunks, larger).items():
            if split := _SPLIT_OF_NAME.get(register.get(unit, "")):
                splits[own[chunk_id]] = split
    return splits


def _blocks(merged: Iterable[AbstractSet[str]], registered: Mapping[str, Split]) -> Iterator[_Block]:
    """Yield a block per set of units, or per split if the register has several; then the first takes what is new."""
    for units in merged:
        claimed = sorted({registered[unit] for unit in units if unit in registered}, key=PRECEDENCE.index)
        if len(claimed) <= 1:
            yield _Block(frozenset(units), claimed[0] if claimed else None)
            continue
        for split in claimed:
            yield _Block(frozenset(unit for unit in units if registered.get(unit, claimed[0]) == split), split)


def _rows_by_split(corpus: _Corpus, units: Mapping[str, str]) -> dict[str, Counter[Split]]:
    """Return the rows that a block would give to each split."""
    offers: dict[str, Counter[Split]] = defaultdict(Counter)
    for pair in corpus.pairs:
        offer = offers[units[pair.chunk_id]]
        offer["eval"] += pair.kind != "cloze"
        learnable = pair.chunk_id not in corpus.golden
        offer["valid"] += learnable
        offer["train"] += learnable
    return offers


def _assign_blocks(
    blocks: Iterable[_Block],
    offers: Mapping[str, Counter[Split]],
    settings: DatasetSettings,
    *,
    eval_minimum_binds: bool,
) -> dict[str, Split]:
    """Return the split of every block.

    By draw, evaluation is filled, then validation; the rest trains, at least one block. Evaluation gets its minimum of
    rows even beyond its share, as long as that leaves training half of its own.
    """
    splits = {block.name: block.split for block in blocks if block.split}
    free = sorted(
        (block.name for block in blocks if not block.split), key=lambda name: (draw(settings.seed, name, "split"), name)
    )
    wants: list[tuple[Split, float, int]] = [
        ("eval", settings.eval_share, settings.min_eval_rows),
        ("valid", settings.valid_share, settings.min_valid_rows),
    ]
    for split, share, minimum in wants:
        target = share * sum(offer[split] for offer in offers.values())
        have = sum(offers[name][split] for name, where in splits.items() if where == split)
        is_trained = any(where == "train" and offers[name]["train"] for name, where in splits.items())
        spare = sum(bool(offers[name]["train"]) for name in free) - (not is_trained)
        binds = split == "eval" and eval_minimum_binds and _can_spare(minimum, offers, settings)
        least = minimum if binds else min(max(minimum, 1), target)
        taken = _choose_blocks(free, offers, split, missing=target - have, needed=least - have, spare=spare)
        splits |= dict.fromkeys(taken, split)
        free = [name for name in free if name not in splits]
    return splits | dict.fromkeys(free, "train")


def _can_spare(rows: int, offers: Mapping[str, Counter[Split]], settings: DatasetSettings) -> bool:
    """Return whether so many rows of evaluation leave training half of its share, and validation its rows."""
    total, learnable = (sum(offer[split] for offer in offers.values()) for split in ("eval", "train"))
    valid = min(settings.min_valid_rows, settings.valid_share * learnable)
    share = 1 - settings.eval_share - settings.valid_share
    return rows <= total and learnable - rows - valid >= MIN_TRAIN_SHARE * share * learnable


def _choose_blocks(
    free: Sequence[str],
    offers: Mapping[str, Counter[Split]],
    split: Split,
    *,
    missing: float,
    needed: float,
    spare: int,
) -> list[str]:
    """Return blocks for a split.

    All that bring it nearer to the `missing` rows, then, up to `needed` rows, the best fitting. Of those with rows for
    training at most `spare` are taken.
    """
    rows = {name: offers[name][split] for name in free if offers[name][split]}
    costs = {name: bool(offers[name]["train"]) for name in rows}
    taken: list[str] = []
    have = 0

    def take(name: str) -> None:
        nonlocal have, spare
        taken.append(name)
        have += rows.pop(name)
        spare -= costs[name]

    for name in list(rows):
        if costs[name] <= spare and abs(have + rows[name] - missing) <= abs(have - missing):
            take(name)
    while have < needed and (affordable := [name for name in rows if costs[name] <= spare]):
        take(min(affordable, key=lambda name: abs(have + rows[name] - missing)))
    return taken


def _find_drop_reasons(corpus: _Corpus, splits: Mapping[str, Split]) -> Iterator[tuple[str, str]]:
    """Yield the chunks whose rows must be dropped, with the reason.

    They contain evidence of golden questions, or text that another split has as well.
    """
    for chunk_id, split in splits.items():
        if split != "eval" and chunk_id in corpus.golden:
            yield chunk_id, "golden_evidence"
            continue
        claims = {splits[relative] for relative in corpus.related.relatives([chunk_id]) if relative in splits}
        if split != min(claims, key=PRECEDENCE.index):
            yield chunk_id, "near_duplicate_in_other_split"
