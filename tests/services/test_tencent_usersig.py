"""Signatures, held against the vendor's vectors and against the vendor's own package."""

import base64
import json
import zlib
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import TLSSigAPIv2
from hypothesis import given
from hypothesis import strategies as st

from tagferry.errors import ConfigError
from tagferry.services.tencent_usersig import LIFETIME, MAX_LIFETIME, check_secret_key, make_user_sig
from tagferry.wire.secret import Secret
from tests.standing import assert_no_secret

KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
VECTORS = [
    # key, sdkappid, identifier, lifetime, clock, TLS.sig
    (KEY, 1400000000, "administrator", 86400, 1700000000, "yLAe+w7WUeUuqbV9h/TX78u21oTGi+i9Zp1u3PpnY60="),
    (KEY, 1400000000, "xiaojun", 15552000, 1600000000.75, "1Z5PngDjGaufeSiPoBuxdHY7EK3JTdAjMP93S4KvV3M="),
    (KEY, 1400000000, "管理员01", 3600, 1700000000, "zxVRaZGo0m00It/6yJkqg0vRV4epUUplYc7omjpAEcA="),
    (
        "0123456789abcdef" * 4,
        20000001,
        "admin",
        604800,
        1735689600,
        "5XzovMhh8LTaLc112H7DItlwZS2pXTbQHW7yH0rNHLw=",
    ),
]
TEXTS = [
    (
        "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkElNyM-Myi0uKEkvyi2BKilOyEwsKMlOACgxNDKAAKpdaUZBZlAqUsT"
        "AzgQuWZOaChAzN0RQXZ6aDLKn0cUzVLjcPD00NLS1MCrPM0A*JMLcoNTLMD3HP1M60jCowLDUOKMiLNDOwVaoFAD4PNPI_"
    ),
    (
        "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkKjIT87NK82CSxSnZiQUFmSlAKUMTAyiAyqVWFGQWpYJkTE1NjRDiJZ"
        "m5YFEzNPXFmekgGwyjTAPy0l2y3BNL01KDMwPynUorUjwizV29jb1CUhyzfAMsjYNNvMvCjH1tlWoBGhAzGw__"
    ),
    (
        "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkYkrNkxINgaSJgVlMqamJqYWBIUxlcUp2YkFBZgpQnaGJARRA5VIrCj"
        "KLUoEyxmZwsZLMXJCIoTma2uLMdJBVVRVhQYlR7vkGuQYGniX6ZpVe2YXpBmVBYSapBaGhBTmRyeb5uVkFjq7JjrZKtQCZhzXj"
    ),
]


def fields_of(user_sig):
    """Undo a signature, one documented step after the other."""
    assert set(user_sig) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-_")
    text = user_sig.replace("*", "+").replace("-", "/").replace("_", "=")
    return json.loads(zlib.decompress(base64.b64decode(text, validate=True)))


@pytest.mark.parametrize(("key", "sdkappid", "identifier", "lifetime", "now", "sig"), VECTORS)
def test_a_signature_has_the_documented_fields(key, sdkappid, identifier, lifetime, now, sig):
    user_sig = make_user_sig(sdkappid, key, identifier, lifetime=lifetime, now=now)
    assert fields_of(user_sig) == {
        "TLS.ver": "2.0",
        "TLS.identifier": identifier,
        "TLS.sdkappid": sdkappid,
        "TLS.expire": lifetime,
        "TLS.time": int(now),
        "TLS.sig": sig,
    }


@pytest.mark.parametrize(("vector", "text"), list(zip(VECTORS[:3], TEXTS, strict=True)))
def test_a_signature_has_the_bytes_of_the_vectors_unless_another_zlib_packs_it(vector, text):
    key, sdkappid, identifier, lifetime, now, _ = vector
    user_sig = make_user_sig(sdkappid, key, identifier, lifetime=lifetime, now=now)
    assert user_sig == text or "ng" in zlib.ZLIB_RUNTIME_VERSION
    assert fields_of(user_sig) == fields_of(text)


@given(
    sdkappid=st.integers(1, 2**40),
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80),
    identifier=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    lifetime=st.integers(1, MAX_LIFETIME),
    now=st.floats(0, 2**33),
)
def test_a_signature_is_the_one_of_the_vendors_package(sdkappid, key, identifier, lifetime, now):
    with patch.object(TLSSigAPIv2, "time", SimpleNamespace(time=lambda: now)):
        theirs = TLSSigAPIv2.TLSSigAPIv2(sdkappid, key).gen_sig(identifier, lifetime)
    ours = make_user_sig(sdkappid, key, identifier, lifetime=lifetime, now=now)
    assert fields_of(ours) == fields_of(theirs)
    assert ours == theirs


def test_a_signature_is_hidden_and_so_is_a_key():
    for secret in (make_user_sig(1, KEY, "a", lifetime=LIFETIME, now=0.0), check_secret_key(KEY)):
        assert isinstance(secret, Secret)
        assert repr(secret) == "<hidden>"


@pytest.mark.parametrize("lifetime", [1, LIFETIME, MAX_LIFETIME])
def test_a_life_may_be_a_second_and_ten_years(lifetime):
    assert fields_of(make_user_sig(1, KEY, "a", lifetime=lifetime, now=5.0))["TLS.expire"] == lifetime


@pytest.mark.parametrize("lifetime", [0, -1, MAX_LIFETIME + 1, 1.5, "60", None, True])
def test_a_wrong_life_is_refused_with_the_limits(lifetime):
    with pytest.raises(ConfigError, match=r"whole number from 1 to 315360000 \(10 years\)") as caught:
        make_user_sig(1, Secret(KEY), "a", lifetime=lifetime, now=0.0)
    assert repr(lifetime) in str(caught.value)
    assert caught.value.service == "tencent-im"
    assert_no_secret(KEY, caught.value)


def test_blanks_around_a_key_are_removed():
    assert check_secret_key(f" {KEY}\r\n") == KEY


@pytest.mark.parametrize("key", ["", "  ", None, 5, b"abc"])
def test_no_key_is_refused_with_where_to_find_one(key):
    with pytest.raises(ConfigError, match="secret key is empty or no text") as caught:
        check_secret_key(key)
    assert "TAGFERRY_TENCENT_SECRET_KEY" in caught.value.hint


@pytest.mark.parametrize(
    "form",
    [
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        "-----BEGIN EC PARAMETERS-----\n{}",
        "EC PRIVATE KEY {}",
    ],
)
def test_a_key_of_the_old_scheme_is_refused_with_the_way_out(form, canary):
    with pytest.raises(ConfigError, match="old signature scheme") as caught:
        check_secret_key(form.format(canary))
    assert "upgrade the app" in caught.value.hint
    assert_no_secret(canary, caught.value)


@pytest.mark.parametrize("form", ["{}é", "{}\0", "{}\nx", "{}\udcff", "\ufeff{}"])
def test_a_key_with_characters_of_another_encoding_is_refused_without_showing_it(form, canary):
    with pytest.raises(ConfigError, match="characters that no key has") as caught:
        check_secret_key(form.format(canary))
    assert_no_secret(canary, caught.value)
