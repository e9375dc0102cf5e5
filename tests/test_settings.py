from pathlib import Path

import pytest

from tagferry.errors import ConfigError
from tagferry.layers import layer
from tagferry.settings import SETTINGS, ConfigFile, Value

TOKEN = "growingio.token"
SECRET = "s3cret-canary"


def file(content, mode=0o600):
    return ConfigFile(Path("tagferry.toml"), content, mode)


FULL = {
    "growingio": {"token": "plain", "client_id": "c"},
    "profile": {"prod": {"growingio": {"token": "prod"}}, "test": {"growingio": {"base_url": "http://t"}}},
}
ENV = {"TAGFERRY_GROWINGIO_TOKEN": "env"}


@pytest.mark.parametrize(
    ("given", "text", "origin"),
    [
        ({}, None, "default"),
        ({"file": file(FULL)}, "plain", "tagferry.toml [growingio] token"),
        ({"file": file(FULL), "profile": "prod"}, "prod", "tagferry.toml [profile.prod.growingio] token"),
        ({"file": file(FULL), "profile": "test"}, "plain", "tagferry.toml [growingio] token"),
        (
            {"file": file(FULL), "profile": "prod", "environ": ENV},
            "env",
            "environment variable TAGFERRY_GROWINGIO_TOKEN",
        ),
        ({"environ": {"TAGFERRY_GROWINGIO_TOKEN": ""}}, None, "default"),
    ],
)
def test_the_later_layer_wins(given, text, origin):
    value = layer(**({"environ": {}} | given)).values[TOKEN]
    assert (value.text, value.origin) == (text, origin)


@pytest.mark.parametrize(
    ("in_file", "in_environment", "left"),
    [
        ({"region": "china"}, {"BASE_URL": "http://e"}, {"base_url": "http://e"}),
        ({"base_url": "http://f"}, {"REGION": "seoul"}, {"region": "seoul"}),
        ({"base_url": "http://f"}, {}, {"base_url": "http://f"}),
        ({"user_sig": "u"}, {"SECRET_KEY": "k"}, {"secret_key": "k"}),
        ({"secret_key": "k"}, {"USER_SIG": "u"}, {"user_sig": "u"}),
        # Nobody can say which of two in one layer is meant: who uses them has to.
        ({"region": "china", "base_url": "http://f"}, {}, {"region": "china", "base_url": "http://f"}),
    ],
)
def test_what_stands_in_the_place_of_something_else_wins_with_its_layer(in_file, in_environment, left):
    environ = {f"TAGFERRY_TENCENT_{name}": text for name, text in in_environment.items()}
    settings = layer(file=file({"tencent": in_file}), environ=environ)
    names = ("region", "base_url", "user_sig", "secret_key")
    assert {name: text for name in names if (text := settings.get(f"tencent.{name}"))} == left
    for name in in_file.keys() - left.keys():
        assert settings.values[f"tencent.{name}"].is_left_out
        assert settings.values[f"tencent.{name}"].origin.startswith("left out: tencent.")


def test_defaults_and_profile_of_other_keys():
    settings = layer(file=file(FULL), profile="test", environ={})
    assert settings.get("growingio.base_url") == "http://t"
    assert settings.get("growingio.client_id") == "c"
    assert layer(environ={}).need("growingio.base_url") == "https://www.growingio.com"


def test_names_of_variables_are_the_documented_ones():
    assert {one.env for one in SETTINGS} == {
        "TAGFERRY_GROWINGIO_TOKEN",
        "TAGFERRY_GROWINGIO_BASE_URL",
        "TAGFERRY_GROWINGIO_CLIENT_ID",
        "TAGFERRY_CDP_TOKEN",
        "TAGFERRY_CDP_BASE_URL",
        "TAGFERRY_CDP_DOWNLOAD_URL",
        "TAGFERRY_TENCENT_SDKAPPID",
        "TAGFERRY_TENCENT_IDENTIFIER",
        "TAGFERRY_TENCENT_SECRET_KEY",
        "TAGFERRY_TENCENT_USER_SIG",
        "TAGFERRY_TENCENT_BASE_URL",
        "TAGFERRY_TENCENT_REGION",
    }


def test_secrets_are_masked_everywhere():
    content = {"growingio": {"token": SECRET}}
    settings = layer(file=file(content), environ={})
    for thing in (settings, settings.values, settings.values[TOKEN], file(content)):
        assert SECRET not in repr(thing)
        assert SECRET not in str(thing)
    assert settings.values[TOKEN].shown == "(secret)"
    assert settings.values["growingio.base_url"].shown == "https://www.growingio.com"
    assert settings.values["growingio.client_id"].shown == "(not set)"
    assert settings.secrets == (SECRET,)


def test_a_missing_token_is_refused_with_the_way_to_get_one():
    with pytest.raises(ConfigError) as caught:
        layer(environ={}).need(TOKEN)
    text = str(caught.value)
    for part in ("TAGFERRY_GROWINGIO_TOKEN", "token in [growingio]", "tagferry.toml", "API Token management"):
        assert part in text
    with pytest.raises(ConfigError, match="TAGFERRY_GROWINGIO_CLIENT_ID"):
        layer(environ={}).need("growingio.client_id")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ({"growingo": {}}, ("unknown section [growingo]", "did you mean growingio?")),
        ({"xyz": {}}, ("unknown section [xyz]", "known: cdp, growingio, profile, tencent")),
        ({"growingio": {"tokn": SECRET}}, ("unknown key 'tokn' in [growingio]", "did you mean token?")),
        ({"growingio": {"zzz": 1}}, ("unknown key 'zzz'", "known: base_url, client_id, token")),
        ({"growingio": {"token": 5}}, ("token in [growingio] is of the type int", 'token = "…"')),
        ({"growingio": {"token": [SECRET]}}, ("of the type list",)),
        ({"growingio": {"token": " "}}, ("token in [growingio] is empty",)),
        ({"growingio": SECRET}, ("growingio is not a section", "[growingio]")),
        ({"profile": 1}, ("profile is not a section", "[profile.NAME.growingio]")),
        ({"profile": {"p": 1}}, ("profile.p is not a section",)),
        ({"profile": {"p": {"growingio": {"tokn": "x"}}}}, ("in [profile.p.growingio]", "token?")),
        ({"profile": {"p": {"profile": {}}}}, ("unknown section [profile.p.profile]",)),
    ],
)
def test_a_wrong_file_is_refused(content, parts):
    with pytest.raises(ConfigError) as caught:
        layer(file=file(content), environ={})
    assert SECRET not in str(caught.value)
    for part in ("tagferry.toml", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("content", "profile", "parts"),
    [
        (FULL, "prdo", ("no profile 'prdo'", "did you mean prod?")),
        (FULL, "zzz", ("it has prod, test", "TAGFERRY_PROFILE")),
        ({}, "x", ("it has none",)),
        (None, "x", ("there is no config file", "[profile.x.growingio]")),
    ],
)
def test_a_profile_that_is_not_there_is_refused(content, profile, parts):
    with pytest.raises(ConfigError) as caught:
        layer(file=None if content is None else file(content), profile=profile, environ={})
    for part in parts:
        assert part in str(caught.value)


def test_unknown_variables_are_one_notice():
    environ = {"TAGFERRY_GROWINGIO_TOKN": SECRET, "TAGFERRY_ZZZZZ": "1", "TAGFERRY_PROFILE": "x", "HOME": "/"}
    (notice,) = layer(environ=environ).notices
    assert "TAGFERRY_GROWINGIO_TOKN (did you mean TAGFERRY_GROWINGIO_TOKEN?)" in notice
    assert "TAGFERRY_ZZZZZ" in notice
    assert SECRET not in notice
    assert layer(environ={"HOME": "/"}).notices == ()


@pytest.mark.parametrize(
    ("content", "mode", "count"),
    [
        (FULL, 0o600, 0),
        (FULL, 0o640, 1),
        ({"growingio": {"base_url": "http://x"}}, 0o644, 0),
        ({"profile": {"p": {"growingio": {"token": "x"}}}}, 0o604, 1),
    ],
)
def test_a_secret_that_others_can_read_is_a_notice(content, mode, count):
    notices = layer(file=file(content, mode), environ={}).notices
    assert len(notices) == count
    assert all("chmod 600 tagferry.toml" in notice for notice in notices)


def test_the_repr_of_a_value_tells_its_origin():
    assert (
        repr(Value(SETTINGS[1], "http://x", "default")) == "Value(growingio.base_url=http://x, from default)"
    )
