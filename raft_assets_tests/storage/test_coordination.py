"""Coordination by files and by PostgreSQL: what processes share is whole, and a claim ends with its holder."""

import multiprocessing
from pathlib import Path

import pytest
from pydantic import SecretStr

from raft_assets.core.errors import SettingsError
from raft_assets.core.ports import Claim, Coordination, Shared
from raft_assets.settings.coordination import CoordinationDatabase
from raft_assets.settings.environment import Environment
from raft_assets.storage.coordination import FileCoordination
from raft_assets.storage.postgresql import CoordinationError, PostgresCoordination
from raft_assets_tests.azure import identity
from raft_assets_tests.azure.identity import audience_of
from raft_assets_tests.azure.internet import Authority
from raft_assets_tests.postgresql import PASSWORD, PostgresServer, opened
from raft_assets_tests.processes import printed_line, start_program

PROCESSES, TIMES = 3, 200
CLAIMS = """
import sys
from raft_assets_tests.postgresql import opened
claim = opened(sys.argv[1]).claim("locks/bats")
print("held" if claim else "taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["files", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, or the address of an empty database."""
    if request.param == "files":
        return str(tmp_path / "shared")
    server: PostgresServer = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture
def coordination(where: str) -> Coordination:
    return opened(where)


def test_a_state_is_empty_at_first_and_then_what_the_last_holder_left(coordination: Coordination) -> None:
    for before, after in (("", "a long state"), ("a long state", "short"), ("short", ""), ("", "ü")):
        with coordination.shared("limits/one") as state:
            assert state.text == before
            state.text = after
    with coordination.shared("limits/two") as other:
        assert other.text == ""


def test_a_holder_that_raises_changes_nothing_and_keeps_nobody_waiting(coordination: Coordination) -> None:
    with coordination.shared("one") as state:
        state.text = "kept"
    with pytest.raises(ZeroDivisionError):
        fail_while_holding(coordination)
    with coordination.shared("one") as state:
        assert state.text == "kept"


def fail_while_holding(coordination: Coordination) -> None:
    with coordination.shared("one") as state:
        state.text = "half done"
        raise ZeroDivisionError


def test_bytes_that_are_no_text_are_read_as_some_text(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(b"\xff\xfe")
    with FileCoordination(tmp_path).shared("one") as state:
        assert state.text


def test_processes_take_turns_with_a_state(where: str) -> None:
    processes = multiprocessing.get_context("spawn")
    started = [processes.Process(target=count, args=(where,)) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    with opened(where).shared("count") as state:
        assert state.text == str(PROCESSES * TIMES)


def count(where: str) -> None:
    coordination = opened(where)
    for _ in range(TIMES):
        with coordination.shared("count") as state:
            state.text = str(int(state.text or 0) + 1)


def test_a_claim_is_one_holders_until_it_is_closed(coordination: Coordination) -> None:
    claim = coordination.claim("locks/bats")
    assert claim
    assert coordination.claim("locks/bats") is None
    assert coordination.is_claimed("locks/bats")
    assert not coordination.is_claimed("locks/birds")
    claim.close()
    claim.close()
    assert not coordination.is_claimed("locks/bats")
    again = coordination.claim("locks/bats")
    assert again
    claim.close()  # which isn't this one
    assert coordination.is_claimed("locks/bats")
    again.close()


def test_a_claim_ends_when_its_process_is_killed(coordination: Coordination, where: str) -> None:
    with start_program(CLAIMS, where) as process:
        assert printed_line(process) == "held"
        assert coordination.is_claimed("locks/bats")
        assert coordination.claim("locks/bats") is None
        process.kill()
    while (claim := coordination.claim("locks/bats")) is None:  # PostgreSQL hears of it a moment later
        pass
    claim.close()


def test_a_file_that_a_claim_left_is_removed_by_whoever_looks(tmp_path: Path) -> None:
    coordination = FileCoordination(tmp_path)
    with start_program(CLAIMS, tmp_path) as process:
        assert printed_line(process) == "held"
        process.kill()
    assert list((tmp_path / "locks").iterdir())
    assert not coordination.is_claimed("locks/bats")
    assert list((tmp_path / "locks").iterdir()) == []


def test_of_processes_that_claim_at_once_and_again_one_holds_it_at_a_time(where: str, tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    started = [processes.Process(target=count_claimed, args=(where, tmp_path / "count")) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert (tmp_path / "count").read_text() == str(PROCESSES * TIMES)


def count_claimed(where: str, file: Path) -> None:
    """Counts in a file that only the claim guards."""
    coordination = opened(where)
    for _ in range(TIMES):
        while (claim := coordination.claim("count")) is None:
            pass
        file.write_text(str(int(file.read_text() if file.exists() else 0) + 1))
        claim.close()


@pytest.mark.parametrize("name", ["", "../one", "/one", "a/../../b"])
def test_a_name_that_leads_elsewhere_is_refused(coordination: Coordination, name: str) -> None:
    with pytest.raises(ValueError, match="can't be a name"):
        coordination.claim(name)


def test_all_processes_have_one_clock(where: str) -> None:
    here = opened(where)
    before = here.now()
    with start_program(f"{CLOCK}print(opened(sys.argv[1]).now(), flush=True)", where) as process:
        there = float(printed_line(process))
    assert before <= there + 0.01
    assert there <= here.now() + 0.01


CLOCK = "import sys; from raft_assets_tests.postgresql import opened; "


def test_who_lost_the_connection_has_lost_its_claims_and_shares_nothing_until_they_are_closed(
    postgresql: PostgresServer,
) -> None:
    where = postgresql.new_database()
    mine, theirs = opened(where), start_program(CLAIMS, where)
    with theirs as process:
        assert printed_line(process) == "held"
        claim = mine.claim("budget/me")
        assert claim
        end_sessions(postgresql, where)
        with pytest.raises(CoordinationError, match=r"is lost .* paid answers are kept"), mine.shared("budget"):
            pass
        with pytest.raises(CoordinationError, match="what this process held"), mine.shared("budget"):
            pass
        claim.close()
        with mine.shared("budget") as state:
            state.text = "1"
        assert not mine.is_claimed("budget/me")
        assert not mine.is_claimed("locks/bats")  # of the other process, whose connection was ended as well
        process.kill()


def test_a_state_is_unchanged_where_the_connection_ends_in_the_middle(postgresql: PostgresServer) -> None:
    where = postgresql.new_database()
    coordination = opened(where)
    with pytest.raises(CoordinationError), coordination.shared("budget") as state:
        end_sessions(postgresql, where, state)
    with coordination.shared("budget") as state:
        assert state.text == ""


def end_sessions(postgresql: PostgresServer, where: str, state: Shared | None = None) -> None:
    if state:
        state.text = "half done"
    postgresql.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{where.rpartition('/')[2]}'"
    )


def test_a_database_that_is_away_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(CoordinationError, match=r"can't be reached .*: no call is sent without it") as raised:
        opened("postgresql://raft@127.0.0.1:1/raft").claim("one")
    assert PASSWORD not in str(raised.value)
    assert "Traceback" not in str(raised.value)


def test_a_role_that_may_not_create_a_schema_is_told_what_its_owner_runs(postgresql: PostgresServer) -> None:
    where = postgresql.new_database()
    name = where.rpartition("/")[2]
    postgresql.sql(f"ALTER DATABASE {name} OWNER TO postgres")
    with pytest.raises(CoordinationError, match="CREATE SCHEMA raft AUTHORIZATION"):
        opened(where).claim("one")
    postgresql.sql("CREATE SCHEMA raft AUTHORIZATION raft", name)
    claim = opened(where).claim("one")
    assert claim
    claim.close()
    assert postgresql.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name) == "0"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgresql://raft:secret-word@db.example.com/raft", "contains a password.*RAFT_COORDINATION_PASSWORD"),
        ("postgresql://raft@db.example.com/raft?password=secret-word", "contains a password"),
        ("postgresql://raft@db.example.com/raft?sslmode=require", "sslmode=require on another machine"),
        ("postgresql://raft@db.example.com/raft?service=x", "option service"),
        ("postgresql://raft@db.example.com/raft?hostaddr=10.0.0.1", "option hostaddr"),
        ("postgresql://raft@localhost/raft?host=db.example.com&sslmode=disable", "sslmode=disable on another machine"),
        ("postgresql://raft@a.example.com,b.example.com/raft", "one host and a database"),
        ("postgresql://raft@db.example.com", "one host and a database"),
        ("mysql://raft@db.example.com/raft", "one host and a database"),
        ("postgresql://raft@db.example.com:port/raft", "is no address"),
        ("db.example.com", "one host and a database"),
    ],
)
def test_an_address_that_is_unsafe_or_none_is_refused(address: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as raised:
        CoordinationDatabase.of(Environment(process={"RAFT_COORDINATION": address}, files={}))
    assert "secret-word" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "options", "azure"),
    [
        ("postgresql://raft@db.example.com/raft", {"sslmode": "verify-full", "sslrootcert": "system"}, False),
        (
            "postgres://me@acme.postgres.database.azure.com/raft?sslrootcert=/ca.pem",
            {"sslmode": "verify-full", "sslrootcert": "/ca.pem"},
            True,
        ),
        ("postgresql://raft@127.0.0.1/raft", {"sslmode": "prefer", "sslrootcert": ""}, False),
        ("postgresql://raft@127.0.0.1/raft?sslmode=require", {"sslmode": "require", "sslrootcert": ""}, False),
        ("postgresql:///raft?host=/run/postgresql", {"sslmode": "prefer", "sslrootcert": ""}, False),
    ],
)
def test_another_machine_is_verified_and_azure_is_signed_in_to(
    address: str, options: dict[str, str], azure: bool
) -> None:
    database = CoordinationDatabase.of(Environment(process={"RAFT_COORDINATION": address}, files={}))
    assert database
    assert (dict(database.options), database.signs_in_to_azure) == (options, azure)


def test_a_database_on_azure_takes_a_token_of_the_machine_as_password_over_tls_that_is_verified(
    postgresql: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, own = Authority(tmp_path), "acme.postgres.database.azure.com"
    name = postgresql.new_database().rpartition("/")[2]
    postgresql.sql("CREATE ROLE entra LOGIN")
    postgresql.sql(f"ALTER DATABASE {name} OWNER TO entra")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")  # libpq connects there, and verifies the name all the same
    with identity.serving() as machine, postgresql.encrypted(authority.pem(own)):
        machine.on_token = lambda token: postgresql.sql(f"ALTER ROLE entra PASSWORD '{token}'")
        for variable, value in machine.variables.items():
            monkeypatch.setenv(variable, value)

        def claim(host: str) -> Claim | None:
            address = f"postgresql://entra@{host}:{postgresql.port}/{name}?sslrootcert={authority.file}"
            database = CoordinationDatabase.of(Environment(process={"RAFT_COORDINATION": address}, files={}))
            assert database
            return PostgresCoordination(database).claim("one")

        with pytest.raises(CoordinationError, match=r"can't be reached \(.*does not match host name"):
            claim("another.postgres.database.azure.com")
        held = claim(own)
        assert held
        assert {audience_of(token) for token in machine.valid} == {"https://ossrdbms-aad.database.windows.net"}
        told = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'entra'"
        assert postgresql.sql(told) == "t"
        held.close()
    postgresql.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'entra'")
    postgresql.sql(f"DROP DATABASE {name}")
    postgresql.sql("DROP ROLE entra")


def test_a_database_of_this_machine_is_reached_whatever_other_databases_ask_for(
    postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "system"}.items():  # as in the image
        monkeypatch.setenv(name, value)
    claim = opened(postgresql.new_database()).claim("one")
    assert claim
    claim.close()


def test_the_password_is_read_from_a_file_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret-word\n")
    variables = {"RAFT_COORDINATION": "postgresql://raft@127.0.0.1/raft", "RAFT_COORDINATION_PASSWORD_FILE": str(file)}
    database = CoordinationDatabase.of(Environment(process=variables, files={}))
    assert database
    assert database.password == SecretStr("secret-word")
    assert "secret-word" not in repr(database)
    variables["RAFT_COORDINATION_PASSWORD_FILE"] = str(tmp_path / "none")
    with pytest.raises(SettingsError, match="can't be read"):
        CoordinationDatabase.of(Environment(process=variables, files={}))
