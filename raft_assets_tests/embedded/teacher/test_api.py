"""Questions about descriptions of API calls."""

from raft_assets.embedded.teacher.ask import GeneratedQuestion, generate_questions

DESCRIPTION = """api_name: Hash a file object
api_call: hashlib.file_digest(fileobj, 'sha256')
api_version: 3.11
api_arguments.fileobj: The binary file that is read.
api_arguments.usedforsecurity: Whether the digest serves a security purpose.
functionality: Computes the digest of an open file.
env_requirements: hashlib
example_code: import hashlib, io
print(hashlib.file_digest(io.BytesIO(b"abc"), "sha256").hexdigest())
meta_data.description: The function returns a hash object. A file opened in text mode makes the call raise OSError."""


def asked_of(description: str) -> dict[str, GeneratedQuestion]:
    return {asked.question: asked for asked in generate_questions(description, count=20)}


def test_every_field_is_asked_about() -> None:
    questions = {question: asked.answer for question, asked in asked_of(DESCRIPTION).items()}
    assert questions == {
        "Which call computes the digest of an open file?": "hashlib.file_digest(fileobj, 'sha256')",
        "What does hashlib.file_digest do?": "Computes the digest of an open file",
        "Which module is needed to compute the digest of an open file?": "hashlib",
        "Which API version is given for hashlib.file_digest?": "3.11",
        "Which argument of hashlib.file_digest holds the binary file that is read?": "fileobj",
        "Which argument of hashlib.file_digest says whether the digest serves a security purpose?": "usedforsecurity",
        "What does hashlib.file_digest return?": "a hash object",
        "What makes hashlib.file_digest raise OSError?": "A file opened in text mode",
    }


def test_the_quote_is_the_whole_line_or_the_sentence_of_the_description() -> None:
    questions = asked_of(DESCRIPTION)
    lines = DESCRIPTION.splitlines()
    assert questions["Which call computes the digest of an open file?"].sentence in lines
    assert questions["What does hashlib.file_digest return?"].sentence == "The function returns a hash object."
    assert all(asked.sentence in DESCRIPTION and asked.answer in asked.sentence for asked in questions.values())


def test_no_question_gives_its_answer_away() -> None:
    description = DESCRIPTION.replace("Computes the digest of an open file.", "Runs file digest of hashlib on data.")
    questions = asked_of(description)
    assert not any(question.startswith(("Which call", "Which module")) for question in questions)


def test_an_imperative_description_of_a_chained_call_is_asked_by_its_name() -> None:
    description = (
        "api_name: Gmail drafts\napi_call: service.users().drafts().create(userId='me').execute()\n"
        "api_arguments.userId: The address of the account.\nfunctionality: Create a new draft email in an account."
    )
    questions = asked_of(description)
    assert "Which call creates a new draft email in an account?" in questions
    assert "Which argument of the call “Gmail drafts” holds the address of the account?" in questions


def test_a_description_whose_functionality_stands_in_another_chunk_is_asked_about_its_arguments() -> None:
    rest = "api_name: Hash\napi_call: hashlib.new(name)\napi_arguments.name: The algorithm to use."
    assert list(asked_of(rest)) == ["Which argument of hashlib.new holds the algorithm to use?"]


def test_no_cloze_question_is_asked_of_an_api() -> None:
    assert asked_of("api_name: Hash\napi_call: f(x)\nfunctionality: Hash.") == {}


def test_a_part_of_a_description_that_does_not_name_its_call_gets_cloze_questions() -> None:
    part = "meta_data.description: The method returns a hash object. An absent key makes the call raise KeyError."
    questions = generate_questions(part, count=5)
    assert {asked.kind for asked in questions} == {"cloze"}
    assert "meta_data" not in questions[0].question
