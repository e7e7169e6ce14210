"""The address of a hosted platform and its token: what is taken, and what is refused without being repeated."""

from pathlib import Path

import pytest

from raft_assets.core.errors import SettingsError
from raft_assets.settings.environment import Environment
from raft_assets.settings.hosted import HostedPlatform


def read(**variables: str) -> HostedPlatform | None:
    return HostedPlatform.of(Environment(process=variables, files={}))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RAFT_HOSTED_URL": "http://raft.example.com"}, "use https:// for raft.example.com"),
        ({"RAFT_HOSTED_URL": "https://me:s3cret@raft.example.com"}, "put a token into RAFT_HOSTED_TOKEN instead"),
        ({"RAFT_HOSTED_URL": "raft.example.com"}, "such as https://"),
        ({"RAFT_HOSTED_URL": "https://a", "RAFT_HOSTED_TOKEN": "s3cret\r\nHost: b"}, "must be one word"),
        ({"RAFT_HOSTED_URL": "https://a", "RAFT_HOSTED_TOKEN_FILE": "/nowhere/token"}, "/nowhere/token, which can't"),
    ],
)
def test_what_would_show_a_secret_is_refused(variables: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(**variables)
    assert said in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_token_comes_first_then_entra_and_neither_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n", "utf-8")
    by_file = read(RAFT_HOSTED_URL="https://a/", RAFT_HOSTED_TOKEN_FILE=str(file), RAFT_AUTH_CLIENT_ID="abc")
    assert by_file is not None
    assert by_file.token is not None
    assert (by_file.address, by_file.token.get_secret_value(), by_file.scope) == ("https://a", "s3cret", None)
    assert "s3cret" not in repr(by_file)
    by_entra = read(RAFT_HOSTED_URL="https://a", RAFT_AUTH_CLIENT_ID="abc")
    assert by_entra is not None
    assert (by_entra.token, by_entra.scope) == (None, "api://abc/.default")
    assert read(RAFT_HOSTED_URL="http://127.0.0.1:3000") == HostedPlatform("http://127.0.0.1:3000")
    assert read() is None
