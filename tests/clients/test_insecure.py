"""Who speaks in clear over the network is told once for each address, whatever the client."""

import logging

import pytest

from tagferry import GrowingIO, GrowingIOCDP, TencentIM
from tagferry.clients import insecure
from tagferry.clients.insecure import warn_of_clear_text
from tagferry.events import InsecureAddress

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch):
    monkeypatch.setattr(insecure, "_warned", set())


CLIENTS = {
    "growingio-saas": lambda url, emit: GrowingIO(token="t", base_url=url, on_event=emit),
    "growingio-cdp": lambda url, emit: GrowingIOCDP(token="t", base_url=url, on_event=emit),
    "tencent-im": lambda url, emit: TencentIM(
        sdkappid=1400000000, identifier="admin", secret_key="k" * 64, base_url=url, on_event=emit
    ),
}


@pytest.mark.parametrize("service", CLIENTS)
async def test_plain_http_is_told_once_for_each_address_and_when_the_client_is_opened(service, caplog):
    caplog.set_level(logging.WARNING, "tagferry")
    events = []
    clients = [
        CLIENTS[service](url, events.append) for url in ("http://a.example.com", "http://10.0.0.7:8080/x")
    ]
    assert events == []
    for client in (*clients, *clients, CLIENTS[service]("http://A.example.com:80/", events.append)):
        async with client:
            pass
    assert events == [
        InsecureAddress(service=service, address="http://a.example.com"),
        InsecureAddress(service=service, address="http://10.0.0.7:8080/x"),
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "http://a.example.com" in caplog.text


@pytest.mark.parametrize("service", CLIENTS)
@pytest.mark.parametrize(
    "url",
    [
        "https://cdp.example.com",
        "http://127.0.0.1:8080",
        "http://127.8.8.8",
        "http://localhost:1",
        "http://[::1]:1",
    ],
)
async def test_what_does_not_leave_the_machine_or_is_encrypted_is_not_told(service, url):
    events = []
    async with CLIENTS[service](url, events.append):
        pass
    assert events == []


async def test_the_address_of_the_files_is_told_as_well():
    events = []
    async with GrowingIOCDP(
        token="t",
        base_url="https://cdp.example.com",
        download_url="http://files.example.com",
        on_event=events.append,
    ):
        pass
    assert events == [InsecureAddress(service="growingio-cdp", address="http://files.example.com")]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://192.168.1.1", True),
        ("http://[fe80::1]", True),
        ("http://[2001:db8::1]:80", True),
        ("http://localhost.example.com", True),
        ("http://127.0.0.1.example.com", True),
        ("http://[::1]", False),
        ("https://192.168.1.1", False),
    ],
)
def test_only_loopback_is_this_machine(url, told):
    events = []
    for _ in range(2):
        warn_of_clear_text(url, "s", events.append)
    assert events == [InsecureAddress(service="s", address=url)] * told
