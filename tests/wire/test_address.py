import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagferry.wire.address import is_private, looks_numeric


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "240.0.0.1",
        "::",
        "::1",
        "[::1]",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "::10.0.0.1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::7f00:1",
        "2001:0:53aa:64c:0:fffe:80ff:fffe",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.localhost",
        "127.0.0.1.",
    ],
)
def test_an_address_inside_is_private(host):
    assert is_private(host)


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.32.0.1",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "2002:808:808::",
        "64:ff9b::8.8.8.8",
        "gta.growingio.com",
        "localhost.example.com",
        "notlocalhost",
        "",
    ],
)
def test_a_public_address_and_a_name_are_not(host):
    assert not is_private(host)


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "127.0.1",
        "0",
        "127.0.0.1.",
        "0X7F.0.0.1",
        "256.1.1.1",
        "01.02.03.04",
    ],
)
def test_an_address_in_another_spelling_is_told(host):
    assert looks_numeric(host)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "8.8.8.8", "gta.growingio.com", "1.2.3.4.5", "0x7g", "a1", "::1", "", "1.example.com"],
)
def test_a_plain_address_and_a_name_are_no_other_spelling(host):
    assert not looks_numeric(host)


@given(st.text(max_size=40))
def test_any_host_can_be_judged(host):
    assert is_private(host) in {True, False}
    assert looks_numeric(host) in {True, False}


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_in_every_disguise(address):
    number = int(address)
    disguises = [
        f"::ffff:{address}",
        f"[::ffff:{address}]",
        str(ipaddress.IPv6Address(0x2002 << 112 | number << 80)),
        str(ipaddress.IPv6Address(0x0064FF9B << 96 | number)),
    ]
    assert {is_private(host) for host in disguises} == {is_private(str(address))}
