import os
from pathlib import Path

import pytest

from tagferry.cli.config import MAX_FILE, load, read_file, user_directory
from tagferry.errors import ConfigError

TOKEN = "growingio.token"


def write(path: Path, token: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'[growingio]\ntoken = "{token}"\n[profile.p.growingio]\ntoken = "{token}-p"\n')
    path.chmod(0o600)
    return path


def resolve(tmp_path, *, config=None, profile=None, **environ):
    home = tmp_path / "home"
    return load(config=config, profile=profile, environ=environ, here=tmp_path, home=home).get(TOKEN)


def test_the_file_is_looked_for_here_then_at_home(tmp_path):
    assert resolve(tmp_path) is None
    write(tmp_path / "home" / "tagferry.toml", "home")
    assert resolve(tmp_path) == "home"
    write(tmp_path / "tagferry.toml", "here")
    assert resolve(tmp_path) == "here"
    write(tmp_path / "a.toml", "a")
    write(tmp_path / "b.toml", "b")
    assert resolve(tmp_path, TAGFERRY_CONFIG="a.toml") == "a"
    assert resolve(tmp_path, TAGFERRY_CONFIG="a.toml", config="b.toml") == "b"


def test_profiles_by_flag_and_by_variable(tmp_path):
    write(tmp_path / "tagferry.toml", "t")
    assert resolve(tmp_path, profile="p") == "t-p"
    assert resolve(tmp_path, TAGFERRY_PROFILE="p") == "t-p"
    assert resolve(tmp_path, TAGFERRY_PROFILE="nix", profile="p") == "t-p"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b'[growingio]\ntoken = "abc', "is no TOML"),
        (b"token: abc", "line 1, column"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"a = " + b"[" * 5000, "is no TOML"),
        (b"#" * (MAX_FILE + 1), "larger than"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, content, part):
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert part in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert "abc" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nix"):
        with pytest.raises(ConfigError, match="TAGFERRY_CONFIG"):
            read_file(path)


def test_a_mark_at_the_start_is_skipped_and_a_mode_is_kept(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf[growingio]\n")
    path.chmod(0o640)
    assert read_file(path).mode == 0o640
    assert read_file(path).content == {"growingio": {}}


def test_a_pipe_is_read_and_has_no_mode():
    reading, writing = os.pipe()
    os.write(writing, b"[growingio]\n")
    os.close(writing)
    assert read_file(Path(f"/dev/fd/{reading}")).mode == 0o600
    os.close(reading)


def test_the_user_directory_has_our_name():
    assert user_directory().name == "tagferry"
