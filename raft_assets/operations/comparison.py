"""Comparing the students of a domain: their stored answers, what those cost, and what to do where they don't decide."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raft_assets.core.errors import DataError
from raft_assets.core.identity import digest
from raft_assets.evaluation.comparison import Comparison, RenderedAnswer, compare_answers, deciding_questions
from raft_assets.evaluation.comparison_page import ComparedStudent, ComparisonData, ServingFigures, describe_needed
from raft_assets.evaluation.verdict import MIN_CLUSTERS
from raft_assets.evaluation.wording import count_noun
from raft_assets.llm.keys import BATCH_SUFFIX
from raft_assets.llm.prices import PriceList
from raft_assets.llm.store import StoredCall
from raft_assets.operations.model_clients import ModelClients
from raft_assets.operations.students import (
    EvaluatedRun,
    KnownStudent,
    choose_student,
    known_students,
    latest_judged_run,
)
from raft_assets.settings.domains import QUESTIONS_FILE
from raft_assets.storage.call_store import open_call_store
from raft_assets.storage.results import ResultsStore

MAX_STUDENTS = 5  # compared where none is named: more columns than a page shows


def compare_domain(
    models: ModelClients, results: ResultsStore, domain: str, named: Sequence[str] = ()
) -> ComparisonData:
    """Compare students of a domain, of which the first is the one that the others are compared with.

    Without names: that of the latest verdict, and those that have enough questions in common with it, the newest first.
    Raises DataError for an unknown name, and where there are fewer than two evaluated students.
    """
    known = known_students(models.project, results, domain)
    evaluated = [student for student in reversed(known) if student.runs]
    chosen = [*{one.id: one for one in (choose_student(known, name, domain) for name in named)}.values()]
    if unevaluated := next((student for student in chosen if not student.runs), None):
        raise DataError(
            f"Student {unevaluated.id} of {domain!r} was never evaluated. Ask it first: {_command(domain, unevaluated)}"
        )
    if len(chosen) == 1:  # with the newest
        chosen += [student for student in evaluated if student.id != chosen[0].id][:1]
    if len(chosen or evaluated) < 2:
        raise DataError(_describe_lack(domain, known))
    answers = {student.id: _answers(results, domain, student.runs) for student in evaluated}
    chosen = chosen or _comparable(evaluated, answers)
    draws = models.project.settings(domain).values.verdict.bootstrap_draws
    comparison = compare_answers({student.id: answers[student.id] for student in chosen}, draws=draws)
    latest = latest_judged_run(evaluated)
    asked = {row.rendering for row in _answers(results, domain, [latest] if latest else [])}
    incomplete = [student for student in known if asked - {row.rendering for row in answers.get(student.id, ())}]
    rest = [student for student in reversed(known) if student not in chosen]
    data = ComparisonData(
        domain,
        _described(models, chosen, comparison),
        comparison,
        draws,
        settings=_differing_settings(chosen),
        left_out=[
            (_name(one), _why(one, chosen, named), _command(domain, one) if one in incomplete else "") for one in rest
        ],
    )
    return replace(data, next_steps=_next_steps(data, [student for student in chosen if student in incomplete]))


def to_record(data: ComparisonData) -> dict[str, Any]:
    """Return a comparison for scripts: the common questions first; shares of one, US dollars and seconds."""
    comparison, deciding = data.comparison, data.comparison.deciding
    return {
        "domain": data.domain,
        "questions": deciding.count,
        "passages": deciding.passages,
        "passages_needed": MIN_CLUSTERS,
        "source": deciding.basis.source,
        "arm": deciding.basis.arm,
        "same_prompts": not deciding.basis.own_retrieval,
        "decision": data.decision,
        "best": list(comparison.best),
        "sentence": data.sentence,
        "students": [
            {
                "id": student.id,
                "model": student.model,
                "service": student.service,
                "base_model": student.base_model or None,
                "preset": student.preset or None,
                "token_f1": comparison.mean(student.id),
                "dollars_per_1000_answers": student.figures.dollars,
                "median_seconds": student.figures.median_s,
                "slow_seconds": student.figures.slow_s,
                "training_dollars": student.figures.training,
            }
            for student in data.students
        ],
        "differences": [
            {
                "first": one.first,
                "second": one.second,
                "decision": one.decision,
                "difference": one.interval.mean if one.interval else None,
                "low": one.interval.low if one.interval else None,
                "high": one.interval.high if one.interval else None,
                "p_value": one.p_value,
            }
            for one in comparison.differences
        ],
        "left_out": [{"student": name, "because": why, "run": command} for name, why, command in data.left_out],
        "next_steps": list(data.next_steps),
    }


def _answers(results: ResultsStore, domain: str, runs: Iterable[EvaluatedRun]) -> list[RenderedAnswer]:
    """Return what was answered in a student's evaluations, in order; instructions are a part of what it was asked."""
    found = list[RenderedAnswer]()
    for run in runs:
        rows = results.rendered_answers(domain, run.run)
        found += [replace(row, rendering=digest(row.rendering, run.instructions)) for row in rows]
    return found


def _comparable(
    evaluated: Sequence[KnownStudent], answers: Mapping[str, Sequence[RenderedAnswer]]
) -> list[KnownStudent]:
    """Return the first student and those with enough questions in common with all before them; at least the second."""
    chosen = [evaluated[0]]
    for student in evaluated[1:]:
        wider = {one.id: answers[one.id] for one in (*chosen, student)}
        if len(chosen) < MAX_STUDENTS and deciding_questions(wider).passages >= MIN_CLUSTERS:
            chosen.append(student)
    return chosen if len(chosen) > 1 else list(evaluated[:2])


def _why(student: KnownStudent, chosen: Sequence[KnownStudent], named: Sequence[str]) -> str:
    """Return why a student is not compared."""
    if not student.runs:
        return "never evaluated"
    if named:
        return "not named"
    if len(chosen) == MAX_STUDENTS:
        return f"{MAX_STUDENTS} newer ones are compared"
    return f"fewer than {MIN_CLUSTERS} passages in common with the others"


def _described(models: ModelClients, students: Sequence[KnownStudent], comparison: Comparison) -> list[ComparedStudent]:
    with open_call_store(models.project) as store:
        calls = {
            student.id: store.get({answer.call for answer in comparison.deciding.answers[student.id]}).values()
            for student in students
        }
        trainings = store.get({student.training_call for student in students if student.training_call})
    return [
        ComparedStudent(
            id=student.id,
            model=student.model,
            service=student.service,
            base_model=student.base_model,
            preset=student.first_run.preset if student.first_run else "",
            evaluated=student.runs[0].recorded_at,
            figures=_figures(models.prices, student, [*calls[student.id]], trainings.get(student.training_call)),
        )
        for student in students
    ]


def _figures(
    prices: PriceList, student: KnownStudent, calls: Sequence[StoredCall], training: StoredCall | None
) -> ServingFigures:
    costs = [prices.at(call.service, student.priced_as(call.model)).call_cost(call.kind, call.usage) for call in calls]
    known = [cost for cost in costs if cost is not None]
    times = [call.latency_s for call in calls if not call.kind.endswith(BATCH_SUFFIX)]
    # a free student's job is no paid call, and of one that was trained elsewhere nothing is known
    trained = prices.at(student.service, student.model).training_cost(0) if student.training_call else None
    if training is not None:
        trained = prices.at(training.service, training.model).call_cost(training.kind, training.usage)
    return ServingFigures(
        calls=len(calls),
        dollars=1000 * sum(known) / len(known) if known and len(known) == len(costs) else None,
        median_s=float(np.quantile(times, 0.5)) if times else None,
        slow_s=float(np.quantile(times, 0.9)) if times else None,
        training=trained,
    )


def _differing_settings(students: Sequence[KnownStudent]) -> dict[str, list[str]]:
    """Return the settings in which the students' own evaluations differ; those of a student without one are unknown."""
    flat = [dict(_flatten(student.first_run.settings)) if student.first_run else None for student in students]
    names = sorted({name for values in flat if values for name in values})
    table = {
        name: ["unknown" if values is None else str(values.get(name, "default")) for values in flat] for name in names
    }
    return {name: values for name, values in table.items() if len(set(values) - {"unknown"}) > 1}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _next_steps(data: ComparisonData, incomplete: Sequence[KnownStudent]) -> list[str]:
    """Return what would settle a comparison that can't tell, in the reader's terms."""
    comparison, domain = data.comparison, data.domain
    if data.decision == "better":
        return []
    write = f"in data/{domain}/{QUESTIONS_FILE}, then: raft run {shlex.quote(domain)}"
    ask = [
        f"Ask {_name(student)} the prompts of the latest evaluation (the price is shown first): "
        f"{_command(domain, student)}"
        for student in incomplete
    ]
    if not comparison.has_enough:
        more = count_noun(MIN_CLUSTERS - comparison.deciding.passages, "more passage")
        return ask or [f"Write questions about {more} {write}"]
    needed = describe_needed(data)
    steps = [f"{needed[0].upper()}{needed[1:]}: write them {write}"] if needed else []
    return [*(ask if comparison.deciding.basis.own_retrieval else ()), *steps]


def _command(domain: str, student: KnownStudent) -> str:
    return f"raft evaluate {shlex.quote(domain)} --student {shlex.quote(student.id)}"


def _name(student: KnownStudent) -> str:
    return f"{student.id} ({student.base_model})" if student.base_model else student.id


def _describe_lack(domain: str, known: Sequence[KnownStudent]) -> str:
    """Return why the students of a domain can't be compared, and what to do."""
    evaluated = count_noun(sum(bool(student.runs) for student in known), "evaluated student")
    unasked = next((student for student in known if not student.runs), None)
    if unasked and any(student.runs for student in known):
        remedy = f"Ask another one: {_command(domain, unasked)}"
    else:
        remedy = (
            "Choose another base model for STUDENT or another preset, and train one: "
            f"raft run {shlex.quote(domain)} --preset NAME"
        )
    return f"{domain!r} has {evaluated}, and a comparison needs two. {remedy}"
