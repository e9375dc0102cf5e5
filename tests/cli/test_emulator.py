import io
import json
import os
import signal
import socket
import urllib.request

import pytest


def get(url):
    with urllib.request.urlopen(url) as response:
        return json.load(response)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_says_where_it_is_until_it_is_stopped(run, workdir, when, number, code):
    seen = {}

    def look():
        seen.update(json.loads((workdir / "ready.json").read_text()))
        seen["admin answer"] = get(f"{seen['admin']}/seen")
        os.kill(os.getpid(), number)

    when((workdir / "ready.json").exists, look)
    fault = "growingio-saas.poll=status=503 x3"
    words = ["--rows-of", "aaaaaaaa=5", "--parts-of", "aaaaaaaa=2", "--token", "tok", "--fault", fault]
    ran = run("emulator", "--ready-file", "ready.json", *words)
    assert (ran.code, ran.err) == (code, "")
    ready = json.loads(ran.out)
    assert set(ready) == {"base_url", "download_url", "token", "admin", "environment"}
    environment = ready["environment"]
    assert environment["TAGFERRY_TENCENT_BASE_URL"] == ready["base_url"]
    assert environment["TAGFERRY_TENCENT_SDKAPPID"] == "1400000000"
    assert environment["TAGFERRY_TENCENT_SECRET_KEY"]
    assert ready["token"] == "tok"
    assert {name: seen[name] for name in ready} == ready
    assert seen["admin answer"]["unused_faults"] == ["growingio-saas.poll: status=503 x3"]


def test_a_person_reads_what_to_paste(run, workdir, when, monkeypatch):
    when((workdir / "ready.json").exists, lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ran = run("emulator", "--ready-file", "ready.json", "--rate", "50/s")
    environment = json.loads((workdir / "ready.json").read_text())["environment"]
    assert ran.code == 0
    assert ran.out.splitlines() == [f"export {name}={value}" for name, value in environment.items()]
    assert "Ctrl-C" in ran.err
    assert "tagferry export" in ran.err


def test_it_ends_with_its_input(run, monkeypatch):
    reading, writing = os.pipe()
    os.write(writing, b"x")
    os.close(writing)
    with io.TextIOWrapper(io.FileIO(reading)) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert run("emulator", "--until-eof").code == 0


def test_a_port_that_is_taken(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = run("emulator", "--port", str(taken.getsockname()[1]))
    assert ran.code == 2
    assert "cannot listen" in ran.err
    assert "port 0 takes a free one" in ran.err


def test_a_ready_file_that_cannot_be_written(run):
    ran = run("emulator", "--ready-file", "nix/da.json")
    assert ran.code == 2
    assert "nix/da.json" in ran.err
