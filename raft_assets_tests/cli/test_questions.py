"""`raft questions`: a sheet goes out, and what people wrote into it comes back as golden questions."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_assets.dataset.golden import read_golden_questions
from raft_assets.dataset.question_sheet import COLUMNS
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.llm.service import Reply, Seen, Service, chat

DOMAIN = "piers"
SUBJECTS = ("Halden", "Marrow", "Gull", "Sound", "Brant", "Ness")
FIRST = '{"id": "own",   "question": "Who built the pier of Ness?", "answers": ["Lund"], "document": "f-Ness.md"}'


def text_of(name: str) -> str:
    """Two sections, each a passage of its own words."""
    return f"""# The pier of {name}

The pier of {name} stands on fourteen piles of {name.lower()} oak, which Marit Lund chose in 1907 because the finest
iron rusts in the salt air of {name}.[12] Its “deck” carries {len(name)} lamps and a shed for the nets of the {name}
fleet, as the harbour book says.

## The light of {name}

At the end of {name} a white light was lit in 1931 by the keeper of {name}, who lived in the tower with two assistants
and a goat until the winter storm of 1953 took the {name} gallery and with it the lamp that had come from Bergen by sea
in a crate of {name} straw.
"""


@pytest.fixture
def project(tmp_path: Path) -> ProjectHarness:
    made = ProjectHarness(tmp_path)
    for letter, name in zip("abcdef", SUBJECTS, strict=True):
        made.write(f"data/{DOMAIN}/{letter}-{name}.md", text_of(name))
    made.write(f"data/{DOMAIN}/domain.yaml", "chunks: {chunk_size: 80}")
    return made


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def write_rows(file: Path, rows: list[dict[str, str]]) -> None:
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, dict.fromkeys(name for row in rows for name in row))
        writer.writeheader()
        writer.writerows(rows)


def add(project: ProjectHarness, rows: list[dict[str, str]]) -> tuple[int, str]:
    write_rows(project.folder / "filled.csv", rows)
    done = project.raft_here("questions", "add", DOMAIN, "filled.csv")
    return done.returncode, done.stdout + done.stderr


def row(question: str, answer: str, evidence: str, document: str = "a-Halden.md", **more: str) -> dict[str, str]:
    return {"document": document, "question": question, "answer": answer, "evidence": evidence, **more}


def test_a_sheet_is_drawn_over_all_documents_and_leaves_out_what_is_covered(project: ProjectHarness) -> None:
    project.write(f"data/{DOMAIN}/g.md", "=cmd|' /C calc'!A0 " + "stands at the head of this passage about ropes. " * 5)
    written = project.raft_here("questions", "sheet", DOMAIN, "--count", "7")
    assert written.returncode == 0, written.stderr
    assert "7 passages of 7 documents" in written.stdout
    rows = rows_of(project.folder / f"{DOMAIN}-questions.csv")
    assert tuple(rows[0]) == COLUMNS
    assert len({row["document"] for row in rows}) == 7
    assert all(row["question"] == row["answer"] == row["evidence"] == "" for row in rows)
    assert all(not row["passage"].startswith(("=", "+", "-", "@")) for row in rows)

    kept = project.raft_here("questions", "sheet", DOMAIN)
    assert kept.returncode == 2
    assert "is there already and may hold somebody's questions" in kept.stderr
    inside = project.raft_here("questions", "sheet", DOMAIN, "--to", f"data/{DOMAIN}/sheet.csv")
    assert "would be read as a document" in inside.stderr

    first = next(row for row in rows if "Halden" in row["document"])
    sentence = next(line for line in first["passage"].splitlines() if line.startswith(("The pier", "At the end")))
    assert add(project, [row("Where is it?", "there", sentence, first["document"])])[0] == 0
    project.raft_here("questions", "sheet", DOMAIN, "--count", "100", "--to", "all.csv")
    later = [row["passage"] for row in rows_of(project.folder / "all.csv")]
    assert first["passage"] not in later
    assert {row["passage"] for row in rows} - {first["passage"]} <= set(later)


def test_evidence_is_found_however_it_was_copied_and_written_as_the_document_has_it(project: ProjectHarness) -> None:
    code, said = add(
        project,
        [
            row("Exactly?", "oak", "stands on fourteen piles of halden oak"),
            row("Spaces?", "oak", "stands  on\nfourteen   piles of halden oak"),
            row("Case?", "1907 | in 1907", "WHICH MARIT LUND CHOSE IN 1907"),
            row("Ligature and note?", "rust", "the ﬁnest iron rusts in the salt air of Halden. Its deck carries"),
            row("Quotation marks?", "6", 'Its "deck" carries 6 lamps'),
            row("Two strings?", "a goat", "two assistants and a goat | stands on fourteen piles of halden oak"),
            row("Where nobody named the document?", "Bergen", "a crate of Gull straw", document=""),
            row("Not there at all?", "", "", answerable="no"),
        ],
    )
    assert code == 0, said
    found = {
        question.question: question
        for question in read_golden_questions(project.folder / "data" / DOMAIN / "questions.jsonl")
    }
    assert found["Case?"].evidence == ("which Marit Lund chose in 1907",)
    assert found["Case?"].answers == ("1907", "in 1907")
    assert found["Ligature and note?"].evidence == (
        "the finest iron rusts in the salt air of Halden.[12] Its “deck” carries",
    )
    assert len(found["Two strings?"].evidence) == 2
    assert found["Where nobody named the document?"].document == "c-Gull.md"
    assert not found["Not there at all?"].answerable
    assert "row 4: evidence taken as it stands in a-Halden.md: “which Marit Lund chose in 1907”" in said

    checked = json.loads(project.raft_here("questions", "check", DOMAIN, "--json").stdout)
    assert checked["unresolved"] == {}
    assert (checked["unanswerable"], checked["coverage"]["questions"], checked["missing_passages"]) == (1, 7, 17)
    shown = project.raft_here("questions", "check", DOMAIN).stdout
    assert "Still needed for a verdict: questions about 17 passages" in shown
    assert "documents with a question: 2 of 6; none: b-Marrow.md" in shown


def test_a_mistyped_domain_is_told_which_was_meant(project: ProjectHarness) -> None:
    ended = project.raft_here("questions", "check", "Piars")
    assert ended.returncode == 2
    assert "There is no domain 'Piars'" in ended.stderr
    assert "Did you mean 'piers'?" in ended.stderr


def test_a_refused_row_says_why_and_loses_nothing_else(project: ProjectHarness) -> None:
    file = project.write(f"data/{DOMAIN}/questions.jsonl", FIRST)  # without a line break at its end
    rows = [
        row("How many piles?", "14", "stands on fourteen piles of halden oak"),
        row("", "", ""),
        row("", "14", ""),
        row("Which lamp?", "", "took the Halden gallery"),
        row("Which gallery?", "the lamp", ""),
        row("Elsewhere?", "Bergen", "a crate of Gull straw"),
        row("Nearly?", "a goat", "who lived in the tower with three assistants and a donkey until the winter"),
        row("Nowhere?", "cheese", "The moon is made of cheese"),
        row("No such document?", "x", "y", document="z.md"),
        row("how many PILES", "14", "stands on fourteen piles of halden oak"),
        row("Who built the pier of Ness?", "Lund", "Marit Lund", document="f-Ness.md"),
    ]
    code, said = add(project, rows)
    assert code == 1
    for number, reason in {
        4: "there is an answer or evidence, and no question",
        5: "there is no answer",
        6: "there is no evidence",
        7: "the evidence is not in a-Halden.md, but in c-Gull.md",
        8: "Nearest: “At the end of Halden a white light was lit",
        9: "no sentence is like it",
        10: "there is no document z.md",
    }.items():
        assert f"row {number} refused: " in said
        assert reason in said.split(f"row {number} refused: ")[1].splitlines()[0]
    assert "1 question added, 2 there already (rows 11, 12), 7 refused, 1 row empty" in said
    assert file.read_text("utf-8").splitlines()[0] == FIRST
    assert [question.question for question in read_golden_questions(file)] == [
        json.loads(FIRST)["question"],
        "How many piles?",
    ]

    before = file.read_bytes()
    assert "0 questions added, 3 there already" in add(project, rows)[1]
    assert file.read_bytes() == before
    file.write_text(before.decode().replace("How many piles?", "How many piles has Halden?"), "utf-8")
    assert "0 questions added" in add(project, rows[:1])[1]  # the row's question was reworded in the file
    assert len(read_golden_questions(file)) == 2


def test_a_suggestion_counts_only_once_a_person_has_asked_it_anew(project: ProjectHarness) -> None:
    sheet = project.raft_here("questions", "sheet", DOMAIN, "--count", "6", "--suggest", "--to", "suggested.csv")
    assert sheet.returncode == 0, sheet.stderr
    rows = rows_of(project.folder / "suggested.csv")
    suggested = [row for row in rows if row["suggested_question"]]
    assert suggested
    assert all(row["question"] == "" for row in rows)
    assert all(row["suggested_evidence"] in row["passage"] for row in suggested)
    taken = suggested[0]
    taken |= {name: taken[f"suggested_{name}"] for name in ("question", "answer", "evidence")}
    code, said = add(project, rows)
    assert code == 1
    assert "the question is the teacher's suggestion as it was" in said
    assert not (project.folder / "data" / DOMAIN / "questions.jsonl").exists()
    taken["question"] = f"Do you know: {taken['question']}"
    assert add(project, rows)[0] == 0


def test_a_workbook_goes_out_and_comes_back(project: ProjectHarness) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    project.write(
        f"data/{DOMAIN}/g.md", '=HYPERLINK("http://bank.example") ' + "stands at the head of a text about ropes. " * 5
    )
    assert project.raft_here("questions", "sheet", DOMAIN, "--to", "sheet.xlsx").returncode == 0
    book = openpyxl.load_workbook(project.folder / "sheet.xlsx")
    cells = [cell for line in book.active.iter_rows() for cell in line if cell.value is not None]
    assert any(str(cell.value).startswith("=HYPERLINK") for cell in cells)
    assert {cell.data_type for cell in cells} == {"s"}
    table = {cell.value: cell.column for cell in book.active[1]}
    line = next(line for line in range(2, 20) if "1931" in str(book.active.cell(line, table["passage"]).value))
    for name, value in {
        "question": "When was it lit?",
        "answer": 1931,
        "evidence": "a white light was lit in 1931",
    }.items():
        book.active.cell(line, table[name]).value = value
    book.save(project.folder / "sheet.xlsx")
    done = project.raft_here("questions", "add", DOMAIN, "sheet.xlsx")
    assert done.returncode == 0, done.stderr
    (added,) = read_golden_questions(project.folder / "data" / DOMAIN / "questions.jsonl")
    assert added.answers == ("1931",)


@pytest.fixture
def teacher() -> Iterator[Service]:
    service = Service()

    def rule(seen: Seen) -> Reply | None:
        if seen.question.rstrip().endswith("?"):
            return chat("##begin_quote##two assistants and a goat##end_quote##\n<ANSWER>: a goat")
        return chat("1. Who lived in the tower?")

    service.rule = rule
    yield service
    service.stop()


def test_paid_suggestions_are_priced_and_asked_first(project: ProjectHarness, teacher: Service) -> None:
    project.own_variables.clear()
    project.write(".env", f"TEACHER_OPENAI_BASE_URL={teacher.url}\nTEACHER_OPENAI_DEPLOYMENT=t\n")
    project.write("prices.yaml", "- {model: t, input: 10, output: 20, source: ours, date: 2026-11-28}")
    wanted = ("questions", "sheet", DOMAIN, "--count", "3", "--suggest")
    refused = project.raft_here(*wanted)
    assert refused.returncode == 2
    assert "TEACHER (t at http" in refused.stderr
    assert "at most 6 calls, at most US$ 0." in " ".join(refused.stderr.split())
    assert teacher.seen == []
    assert not (project.folder / f"{DOMAIN}-questions.csv").exists()
    done = project.raft_here(*wanted, "--yes")
    assert done.returncode == 0, done.stderr
    assert {row["suggested_answer"] for row in rows_of(project.folder / f"{DOMAIN}-questions.csv")} == {"a goat"}
