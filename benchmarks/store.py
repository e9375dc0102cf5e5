"""A real nginx on loopback that serves one file, and answers polls for its export."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import BenchmarkError, require

__all__ = ["MIB", "PROJECT", "TAG", "Store", "serve"]

PROJECT = "nxog09md"
TAG = "5rREn4PL"
MIB = 1024 * 1024

_CONFIG = """\
daemon off;
{user}
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  default_type text/csv;
  client_body_temp_path {root}/t1;
  proxy_temp_path {root}/t2;
  fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4;
  scgi_temp_path {root}/t5;
  server {{
    listen 127.0.0.1:{port};
    root {files};
    location = /v3/exporter/projects/{project}/tags/{tag}/users {{
      default_type application/json;
      return 200 '{{"status":"done","downloadLinks":["http://127.0.0.1:{port}/export.csv"]}}';
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Store:
    """A server with one file."""

    url: str
    """The API's origin."""
    link: str
    """Where the file is."""
    size: int
    """Its bytes."""
    sha256: str

    def verify(self, path: Path) -> None:
        """Make sure that a downloaded file is the one that is served.

        Raises:
            BenchmarkError: It is not.
        """
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        if (size, found) != (self.size, self.sha256):
            raise BenchmarkError(f"{path.name} is not what was served: {size} bytes in place of {self.size}")


@contextmanager
def serve(size: int) -> Generator[Store]:
    """Serve a file of a size until the block ends.

    Raises:
        BenchmarkError: nginx is not there or does not start.
    """
    require("nginx")
    with tempfile.TemporaryDirectory(prefix="tagferry-nginx-") as name:
        root = Path(name)
        files = root / "files"
        files.mkdir()
        digest = _make_file(files / "export.csv", size)
        server, port = _start(root, files)
        try:
            url = f"http://127.0.0.1:{port}"
            yield Store(url, f"{url}/export.csv", size, digest)
        finally:
            server.terminate()
            server.wait()


def _make_file(path: Path, size: int) -> str:
    """Write a file in which every block is another one, and return its SHA-256."""
    block = random.Random(7).randbytes(MIB)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(0, size, MIB):
            chunk = (number.to_bytes(8) + block[8:])[: size - number]
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        # Else its pages would go to disk while the first runs are measured.
        os.fsync(file.fileno())
    return digest.hexdigest()


def _start(root: Path, files: Path) -> tuple[subprocess.Popen[bytes], int]:
    detail = ""
    # Between the choice of a free port and nginx's bind another program may take it.
    for _ in range(3):
        port = _free_port()
        config = root / "nginx.conf"
        config.write_text(
            _CONFIG.format(root=root, files=files, port=port, project=PROJECT, tag=TAG, user=_user())
        )
        log = (root / "stderr.txt").open("wb")
        with log:
            server = subprocess.Popen(
                ["nginx", "-p", str(root), "-c", str(config), "-e", str(root / "error.log")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if _answers(server, port):
            return server, port
        server.kill()
        server.wait()
        detail = (root / "stderr.txt").read_text(errors="replace").strip()[-600:]
    raise BenchmarkError(f"nginx does not start: {detail}")


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            # Another program may have the port while nginx is still trying for it.
            time.sleep(0.1)
            return server.poll() is None
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _user() -> str:
    """Let the worker of a root's nginx read our private directory; others cannot choose anyway."""
    if os.geteuid():
        return ""
    return f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
