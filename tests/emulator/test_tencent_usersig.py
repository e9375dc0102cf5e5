import json

import pytest

from tagferry.emulator.tencent_usersig import check_signature, read_usersig
from tests.emulator.tencent import document, pack, sign

KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
VECTORS = [
    (
        "administrator",
        86400,
        1700000000,
        "yLAe+w7WUeUuqbV9h/TX78u21oTGi+i9Zp1u3PpnY60=",
        (
            "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkElNyM-Myi0uKEkvyi2BKilOyEwsKMlOACgxNDKAAKpdaUZBZlAqUsTAz"
            "gQuWZOaChAzN0RQXZ6aDLKn0cUzVLjcPD00NLS1MCrPM0A*JMLcoNTLMD3HP1M60jCowLDUOKMiLNDOwVaoFAD4PNPI_"
        ),
    ),
    (
        "xiaojun",
        15552000,
        1600000000,
        "1Z5PngDjGaufeSiPoBuxdHY7EK3JTdAjMP93S4KvV3M=",
        (
            "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkKjIT87NK82CSxSnZiQUFmSlAKUMTAyiAyqVWFGQWpYJkTE1NjRDiJZm5"
            "YFEzNPXFmekgGwyjTAPy0l2y3BNL01KDMwPynUorUjwizV29jb1CUhyzfAMsjYNNvMvCjH1tlWoBGhAzGw__"
        ),
    ),
    (
        "管理员01",
        3600,
        1700000000,
        "zxVRaZGo0m00It/6yJkqg0vRV4epUUplYc7omjpAEcA=",
        (
            "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkYkrNkxINgaSJgVlMqamJqYWBIUxlcUp2YkFBZgpQnaGJARRA5VIrCjKL"
            "UoEyxmZwsZLMXJCIoTma2uLMdJBVVRVhQYlR7vkGuQYGniX6ZpVe2YXpBmVBYSapBaGhBTmRyeb5uVkFjq7JjrZKtQCZhzXj"
        ),
    ),
]


def check(text, sdkappid=1400000000, identifier="administrator", key=KEY, now=1700000000):
    return check_signature(
        read_usersig(text), sdkappid=sdkappid, identifier=identifier, secret_key=key, now=now
    )


@pytest.mark.parametrize(("identifier", "expire", "made", "mac", "text"), VECTORS)
def test_usersigs_of_the_official_package(identifier, expire, made, mac, text):
    signature = read_usersig(text)
    assert (signature.identifier, signature.sdkappid) == (identifier, 1400000000)
    assert (signature.made, signature.expire, signature.mac) == (made, expire, mac)
    assert check(text, identifier=identifier, now=made + expire) == 0
    assert check(text, identifier=identifier, now=made + expire + 1) == 70001
    assert check(text, identifier=identifier, now=made, key=KEY[::-1]) == 70009
    # No age is too young: clocks of callers may be ahead.
    assert check(text, identifier=identifier, now=made - 10_000) == 0


def test_a_fourth_by_its_parts():
    key = "0123456789abcdef" * 4
    facts = {"sdkappid": 20000001, "identifier": "admin", "expire": 604800, "made": 1735689600, "key": key}
    assert document(**facts)["TLS.sig"] == "5XzovMhh8LTaLc112H7DItlwZS2pXTbQHW7yH0rNHLw="
    assert check(sign(**facts), sdkappid=20000001, identifier="admin", key=key, now=1735689600) == 0


def test_faults_are_told_in_the_order_of_the_official_verifier():
    text = VECTORS[0][-1]
    wrong = {"sdkappid": 1, "identifier": "other", "now": 1800000000, "key": "x"}
    for name, code in zip(list(wrong), (70014, 70013, 70001, 70009), strict=True):
        assert check(text, **wrong) == code
        del wrong[name]
    assert check(text) == 0


@pytest.mark.parametrize("level", [0, 1, 9])
def test_any_level_and_layout_is_read(level):
    facts = document(key=KEY, made=1700000000)
    for text in (
        json.dumps(facts, separators=(",", ":")) + "\n",
        json.dumps(facts, indent=1, sort_keys=True),
    ):
        assert check(pack(text.encode(), level)) == 0


def test_the_hmac_is_over_every_member():
    for change in ({"TLS.time": 1700000001}, {"TLS.expire": 601}, {"TLS.sig": "x" * 44}, {"TLS.sig": "é"}):
        facts = document(key=KEY, made=1700000000) | change
        assert check(pack(json.dumps(facts).encode())) == 70009


def _changed(**changes):
    facts = document() | {f"TLS.{name}": value for name, value in changes.items()}
    return pack(json.dumps({name: value for name, value in facts.items() if value is not None}).encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "xxx",
        VECTORS[0][-1][:-4],
        VECTORS[0][-1][:100],
        VECTORS[0][-1].replace("_", "="),
        VECTORS[0][-1].replace("*", "+"),
        VECTORS[0][-1] + "AAAA",
        VECTORS[1][-1].rstrip("_"),
        f" {VECTORS[0][-1]}",
        "AAAA",
        pack(b"not json"),
        pack(b"\xff"),
        pack(b"[]"),
        pack(b"[" * 10_000),
        pack(b"{}" + b" " * (1 << 20)),
        _changed(sig=None),
        _changed(ver="1.0"),
        _changed(sdkappid="1400000000"),
        _changed(time=True),
        _changed(expire=1.5),
        _changed(userbuf="eA=="),
    ],
)
def test_what_is_no_usersig(text):
    assert read_usersig(text) is None


def test_the_hmac_is_not_shown():
    signature = read_usersig(VECTORS[0][-1])
    assert signature.mac not in repr(signature)
