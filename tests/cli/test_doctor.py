import asyncio
import contextlib
import datetime as dt
import errno
import os
import resource
import shutil
import signal
import socket
import ssl
import threading
import time
import types
from importlib import metadata

import pytest
import trustme
from rich.cells import cell_len

from tagferry.__main__ import main
from tagferry.cli import probes
from tagferry.cli.probes import examine_address
from tagferry.emulator import DEMO_IDENTIFIER, DEMO_SDKAPPID, DEMO_SECRET_KEY
from tests.cli.conftest import CANARY, PROJECT, Terminal

CREDENTIALS = {"growingio": "GROWINGIO_TOKEN", "cdp": "CDP_TOKEN", "tencent": "TENCENT_SECRET_KEY"}


@pytest.fixture
def services(workdir, monkeypatch, tagferry_emulator):
    """An emulator, and settings of all services that point to it."""
    settings = {
        "GROWINGIO_TOKEN": tagferry_emulator.token,
        "GROWINGIO_BASE_URL": tagferry_emulator.base_url,
        "CDP_TOKEN": tagferry_emulator.token,
        "CDP_BASE_URL": tagferry_emulator.base_url,
        "TENCENT_SDKAPPID": str(DEMO_SDKAPPID),
        "TENCENT_IDENTIFIER": DEMO_IDENTIFIER,
        "TENCENT_SECRET_KEY": DEMO_SECRET_KEY,
        "TENCENT_BASE_URL": tagferry_emulator.base_url,
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"TAGFERRY_{name}", value)
    return tagferry_emulator


@pytest.fixture
def only_cdp(services, monkeypatch):
    """The same, with the settings of the CDP alone."""
    for name in list(os.environ):
        if name.startswith(("TAGFERRY_GROWINGIO_", "TAGFERRY_TENCENT_")):
            monkeypatch.delenv(name)
    return services


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(probes, "PATIENCE", 0.3)


@pytest.fixture
def mute_server():
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def checks(ran):
    """What was found, by subject and check."""
    return {(one["subject"], one["check"]): one for one in ran.document["checks"]}


# When all is well ---------------------------------------------------------------------------------------


def test_a_good_set_up_is_fine(run, services):
    ran = run("doctor", "--project-uid", PROJECT)
    assert (ran.code, ran.err) == (0, "all fine\n")
    lines = ran.out.splitlines()
    assert all(cell_len(line) <= 80 for line in lines)
    assert [line for line in lines if line[0] != " "] == [
        "GrowingIO",
        "GrowingIO CDP",
        "Tencent IM",
        "This machine",
    ]
    assert {line.split()[0] for line in lines if line[2] != " " and line[0] == " "} == {"ok"}
    for part in ("12 segments", "2 projects", "a look-up was answered", "GiB free", "aiohttp"):
        assert part in ran.out
    assert "from TAGFERRY_TENCENT_SECRET_KEY" in " ".join(ran.out.split())
    for secret in (services.token, DEMO_SECRET_KEY):
        assert secret not in ran.out


def test_nothing_is_exported_and_the_first_question_has_no_credential(run, services):
    run("doctor", "--project-uid", PROJECT)
    operations = {one.operation for one in services.seen}
    assert operations == {"unknown", "growingio-saas.list", "growingio-cdp.list", "tencent-im.get-tag"}
    for one in services.seen.of("unknown"):
        assert (one.method, one.target) == ("GET", "/")
        assert not one.values("Authorization")
    assert len(services.seen.of("unknown")) == 3


def test_json_is_one_document(run, services):
    ran = run("doctor", "--json")
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    document = ran.document
    assert (document["v"], document["outcome"], document["error"]) == (1, "complete", None)
    found = checks(ran)
    assert found["growingio", "token"] == {
        "subject": "growingio",
        "check": "token",
        "verdict": "ok",
        "text": "(secret), from TAGFERRY_GROWINGIO_TOKEN",
        "hint": None,
    }
    for subject in CREDENTIALS:
        for check in ("base_url", "name", "connection", "answer", "clock"):
            assert found[subject, check]["verdict"] == "ok", check
    for name in ("aiohttp", "pyarrow", "tagferry", "uvloop"):
        assert found["machine", name]["text"] == metadata.version(name)


def test_a_saas_token_is_not_checked_without_a_project(run, services):
    found = checks(run("doctor", "--json"))["growingio", "credentials"]
    assert found["verdict"] == "skip"
    assert "--project-uid" in found["hint"]
    assert services.seen.of("growingio-saas.list") == []


def test_settings_of_a_file_are_named_with_their_place(run, services, workdir, monkeypatch):
    monkeypatch.delenv("TAGFERRY_CDP_TOKEN")
    monkeypatch.delenv("TAGFERRY_TENCENT_BASE_URL")
    file = workdir / "tagferry.toml"
    address = f'region = "china"\nbase_url = "{services.base_url}"\n'
    file.write_text(f'[cdp]\ntoken = "{services.token}"\n[profile.prod.tencent]\n{address}')
    file.chmod(0o644)
    ran = run("doctor", "--json", "--profile", "prod")
    found = checks(ran)
    assert found["cdp", "token"]["text"] == "(secret), from tagferry.toml [cdp] token"
    assert found["cdp", "credentials"]["verdict"] == "ok"
    assert "[profile.prod.tencent] region" in found["tencent", "region"]["text"]
    assert "chmod 600" in found["settings", "settings"]["text"]
    # Of a region and an address, the client takes one.
    assert found["tencent", "settings"]["verdict"] == "fail"
    assert ran.code == 2


def test_a_setting_that_a_stronger_layer_leaves_out_is_told(run, services, workdir):
    (workdir / "tagferry.toml").write_text('[tencent]\nregion = "china"\n')
    found = checks(run("doctor", "--json"))
    assert (
        found["tencent", "region"]["text"]
        == "left out: tencent.base_url comes from TAGFERRY_TENCENT_BASE_URL"
    )
    assert found["tencent", "credentials"]["verdict"] == "ok"


def test_colour_is_for_terminals_that_want_it(services, monkeypatch):
    def look():
        with Terminal() as screen, contextlib.redirect_stdout(screen):
            assert main(["doctor"]) == 0
            return screen.getvalue()

    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32m" in look()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in look()


# When something is wrong --------------------------------------------------------------------------------


def test_nothing_is_set_up(run, workdir):
    ran = run("doctor", "--json")
    assert (ran.code, ran.document["outcome"]) == (2, "failed")
    assert "TAGFERRY_GROWINGIO_TOKEN" in checks(ran)["settings", "services"]["hint"]
    assert ("machine", "disk") in checks(ran)
    assert run("doctor").err == "1 failure\n"


def test_a_config_file_that_cannot_be_read_is_a_finding(run, workdir):
    (workdir / "tagferry.toml").write_text("[growingio\n")
    ran = run("doctor", "--json")
    assert ran.code == 2
    assert "is no TOML" in checks(ran)["settings", "file"]["text"]
    assert ("machine", "disk") in checks(ran)


def test_half_a_set_up_names_what_is_missing(run, services, monkeypatch):
    monkeypatch.delenv("TAGFERRY_CDP_BASE_URL")
    monkeypatch.delenv("TAGFERRY_TENCENT_SECRET_KEY")
    ran = run("doctor", "--json")
    assert ran.code == 2
    assert "TAGFERRY_CDP_BASE_URL" in checks(ran)["cdp", "settings"]["hint"]
    assert "TAGFERRY_TENCENT_SECRET_KEY" in checks(ran)["tencent", "settings"]["hint"]
    assert checks(ran)["growingio", "answer"]["verdict"] == "ok"


def test_an_unknown_environment_variable_is_told(run, services, monkeypatch):
    monkeypatch.setenv("TAGFERRY_CDP_TOKN", "x")
    ran = run("doctor")
    assert ran.code == 0
    assert "TAGFERRY_CDP_TOKN" in ran.out
    assert ran.err == "1 warning, 1 check left out\n"


@pytest.mark.parametrize("subject", CREDENTIALS)
def test_refused_credentials(run, services, monkeypatch, subject):
    monkeypatch.setenv(f"TAGFERRY_{CREDENTIALS[subject]}", CANARY)
    ran = run("doctor", "--json", "--project-uid", PROJECT)
    assert ran.code == 4
    found = checks(ran)
    assert found[subject, "credentials"]["verdict"] == "fail"
    assert found[subject, "credentials"]["hint"]
    others = [found[one, "credentials"]["verdict"] for one in CREDENTIALS if one != subject]
    assert others == ["ok", "ok"]
    assert CANARY not in ran.out + ran.err


def test_a_token_that_the_server_sends_back_is_not_shown(run, only_cdp, monkeypatch):
    monkeypatch.setenv("TAGFERRY_CDP_TOKEN", CANARY)
    only_cdp.faults.add("growingio-cdp.list", f'body={{"token":"{CANARY}"}} x*')
    for argv in (["doctor"], ["doctor", "--json"]):
        ran = run(*argv)
        assert CANARY not in ran.out + ran.err


def test_an_older_cdp_is_asked_for_tags(run, only_cdp):
    only_cdp.faults.add("growingio-cdp.list", "status=404")
    found = checks(run("doctor", "--json"))["cdp", "credentials"]
    assert (found["verdict"], found["text"]) == ("ok", "accepted: 143 tags")


@pytest.mark.parametrize(("fault", "code"), [("status=503 x*", 5), ("html x*", 5), ("status=403 x*", 4)])
def test_other_failures_of_the_question(run, only_cdp, fault, code):
    only_cdp.faults.add("growingio-cdp.list", fault)
    ran = run("doctor", "--json")
    assert ran.code == code
    assert checks(ran)["cdp", "answer"]["verdict"] == "ok"


def test_a_closed_port(run, only_cdp, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("TAGFERRY_CDP_BASE_URL", f"http://127.0.0.1:{port}")
    ran = run("doctor", "--json")
    assert ran.code == 5
    found = checks(ran)
    assert found["cdp", "connection"]["text"] == f"no connection to 127.0.0.1:{port}: Connection refused"
    assert ("cdp", "credentials") not in found


def test_a_name_that_does_not_resolve(run, only_cdp, monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setenv("TAGFERRY_CDP_BASE_URL", "http://cdp.example.com")
    ran = run("doctor", "--json")
    found = checks(ran)
    assert ran.code == 5
    assert found["cdp", "name"]["text"] == "cdp.example.com cannot be resolved: Name or service not known"
    assert ("cdp", "connection") not in found
    assert len(only_cdp.seen) == 0


def test_a_name_that_cannot_be_one(run, only_cdp, monkeypatch):
    monkeypatch.setenv("TAGFERRY_CDP_BASE_URL", f"http://{'a' * 70}.example.com")
    found = checks(run("doctor", "--json"))["cdp", "name"]
    assert "cannot be resolved" in found["text"]


def test_a_resolver_that_hangs_holds_up_nobody(run, only_cdp, monkeypatch, impatient):
    released = threading.Event()
    asked = threading.Event()

    def hang(*_, **__):
        asked.set()
        released.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setenv("TAGFERRY_CDP_BASE_URL", "http://cdp.example.com")
    try:
        ran = run("doctor", "--json")
        assert asked.is_set()
    finally:
        released.set()
    assert ran.code == 5
    assert checks(ran)["cdp", "name"]["text"] == "nothing came within 0.3 s"


def test_a_server_that_never_answers(run, only_cdp, monkeypatch, impatient, mute_server):
    monkeypatch.setenv("TAGFERRY_CDP_BASE_URL", mute_server)
    ran = run("doctor", "--json")
    found = checks(ran)
    assert ran.code == 5
    assert found["cdp", "connection"]["verdict"] == "ok"
    assert "time-out after 0.3 s" in found["cdp", "answer"]["text"]
    assert found["cdp", "credentials"]["text"] == "nothing came within 0.3 s"


def test_a_region_is_an_address(run, services, monkeypatch):
    monkeypatch.delenv("TAGFERRY_TENCENT_BASE_URL")
    monkeypatch.setenv("TAGFERRY_TENCENT_REGION", "singapore")

    def fail(host, *_, **__):
        raise socket.gaierror(socket.EAI_NONAME, f"no {host}")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    found = checks(run("doctor", "--json"))
    assert "no adminapisgp.im.qcloud.com" in found["tencent", "name"]["text"]


def test_a_download_address_is_looked_at_without_a_credential(run, only_cdp, monkeypatch):
    monkeypatch.setenv("TAGFERRY_CDP_DOWNLOAD_URL", only_cdp.download_url)
    ran = run("doctor", "--json")
    found = checks(ran)
    assert found["cdp", "download answer"]["verdict"] == "ok"
    assert ("cdp", "download credentials") not in found
    monkeypatch.setenv("TAGFERRY_CDP_DOWNLOAD_URL", only_cdp.base_url + "/")
    assert ("cdp", "download name") not in checks(run("doctor", "--json"))


@pytest.mark.parametrize(("ahead", "verdict"), [(100.0, "warn"), (-100.0, "warn"), (10.0, "ok")])
def test_a_wrong_clock(run, services, monkeypatch, ahead, verdict):
    clock = types.SimpleNamespace(time=lambda: time.time() + ahead, monotonic=time.monotonic)
    monkeypatch.setattr(probes, "time", clock)
    ran = run("doctor", "--json")
    assert ran.code == 0
    for subject in CREDENTIALS:
        found = checks(ran)[subject, "clock"]
        assert found["verdict"] == verdict
        if verdict == "warn":
            assert ("ahead of" if ahead > 0 else "behind") in found["text"]
            assert ("signatures" in found["hint"]) == (subject == "tencent")


def test_machines_that_are_short_of_something(run, services, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    ran = run("doctor", "--json")
    assert ran.code == 9
    assert checks(ran)["machine", "disk"]["verdict"] == "fail"
    assert checks(ran)["machine", "open files"]["verdict"] == "warn"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert checks(run("doctor", "--json"))["machine", "open files"]["text"] == "no limit"


def test_a_directory_that_cannot_be_read_or_written(run, services, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    ran = run("doctor", "--json")
    assert (ran.code, checks(ran)["machine", "disk"]["verdict"]) == (0, "warn")

    def fail(_):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(shutil, "disk_usage", fail)
    ran = run("doctor", "--json")
    assert ran.code == 9
    assert "No such file" in checks(ran)["machine", "disk"]["text"]


@pytest.mark.parametrize(("package", "extra"), [("uvloop", "speed"), ("pyarrow", "parquet")])
def test_without_an_extra(run, services, monkeypatch, package, extra):
    found = metadata.version

    def version(name):
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(metadata, "version", version)
    one = checks(run("doctor", "--json"))["machine", package]
    assert one["verdict"] == "skip"
    assert f"pip install 'tagferry[{extra}]'" in one["hint"]


def test_a_signal_stops_it(run, only_cdp, monkeypatch):
    def stop():
        with server.accept()[0]:
            os.kill(os.getpid(), signal.SIGINT)

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("TAGFERRY_CDP_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread = threading.Thread(target=stop)
        thread.start()
        ran = run("doctor")
        thread.join()
    assert (ran.code, ran.out, ran.err) == (130, "", "tagferry: stopped by SIGINT\n")


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["doctor", "--service", "x"], '"timpush"'),
        (["doctor", "--project-uid", ""], "empty"),
        (["dctor"], "doctor"),
    ],
)
def test_wrong_words(run, workdir, argv, part):
    ran = run(*argv)
    assert ran.code == 2
    assert part in ran.err


def test_help(run):
    ran = run("doctor", "--help")
    assert ran.out.startswith("Examples:\n  tagferry doctor\n")
    assert "warn of" in " ".join(ran.out.split())


# TLS ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def tls_server(authority, **certificate):
    """A server on a thread that shakes hands and says nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", **certificate).configure_cert(context)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with (
                    contextlib.suppress(OSError),
                    connection,
                    context.wrap_socket(connection, server_side=True) as secure,
                ):
                    secure.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://localhost:{server.getsockname()[1]}"
        # A thread that accepts does not hear of a mere close.
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def trust(monkeypatch, authority):
    def create():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        return context

    monkeypatch.setattr(probes.tls, "create_default_context", create)


async def connection_of(url):
    found = await examine_address(url, "s", signs=False)
    return next(one for one in found if one.check == "connection")


@pytest.mark.anyio
async def test_a_trusted_certificate(monkeypatch):
    authority = trustme.CA()
    trust(monkeypatch, authority)
    with tls_server(authority) as url:
        found = await connection_of(url)
        assert (found.verdict, found.hint) == ("ok", None)
        assert "TLSv1.3, certificate good for" in found.text
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=5, hours=1)
    with tls_server(authority, not_after=ends) as url:
        found = await connection_of(url)
        assert found.verdict == "warn"
        assert "good for 5 days" in found.text


@pytest.mark.anyio
async def test_a_certificate_that_nobody_trusts():
    with tls_server(trustme.CA()) as url:
        found = await connection_of(url)
    assert (found.verdict, found.code) == ("fail", 7)
    assert "no trusted TLS to localhost" in found.text


@pytest.mark.anyio
@pytest.mark.parametrize(("answer", "code"), [(b"HTTP/1.1 400 Bad Request\r\n\r\n", 7), (b"", 5)])
async def test_a_server_that_knows_no_tls(answer, code):
    async def serve(_, writer):
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        found = await connection_of(f"https://localhost:{server.sockets[0].getsockname()[1]}")
    assert (found.verdict, found.code) == ("fail", code)
    assert found.hint


@pytest.mark.anyio
async def test_clear_text_over_a_network_is_warned_of(services, monkeypatch):
    monkeypatch.setattr(probes, "is_loopback", lambda _: False)
    found = await connection_of(services.base_url)
    assert found.verdict == "warn"
    assert "https" in found.hint


@pytest.mark.anyio
async def test_a_name_with_many_addresses_is_shortened(services, monkeypatch):
    port = int(services.base_url.rpartition(":")[2])
    addresses = [f"127.0.0.{n}" for n in range(1, 6)]

    async def resolve(*_):
        return addresses

    monkeypatch.setattr(probes, "_resolve", resolve)
    name, *_ = await examine_address(f"http://localhost:{port}", "s", signs=False)
    assert name.text == "localhost is 127.0.0.1, 127.0.0.2 and 3 more"


@pytest.mark.anyio
async def test_several_addresses_that_all_refuse(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    several = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (1, 2)]

    async def getaddrinfo(*_, **__):
        return several

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: several)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    found = await connection_of(f"http://somewhere:{port}")
    assert found.text == f"no connection to somewhere:{port}: Connection refused"


@pytest.mark.anyio
async def test_a_name_that_resolves_too_late_changes_nothing(monkeypatch, impatient):
    begun, released, done = threading.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def resolve(*_, **__):
        begun.set()
        released.wait()
        # Behind what the resolving thread hands over after this.
        threading.Timer(0.05, lambda: loop.call_soon_threadsafe(done.set)).start()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    try:
        (found,) = await examine_address("http://somewhere", "s", signs=False)
    finally:
        released.set()
    await done.wait()
    assert begun.is_set()
    assert (found.check, found.text) == ("name", "nothing came within 0.3 s")
