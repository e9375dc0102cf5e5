"""What has to be known after a crash: small documents in a SQLite file beside the output."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from tagferry.errors import DiskError
from tagferry.exports.disk import disk_errors

__all__ = ["Ledger"]

T = TypeVar("T")

_APPLICATION = 0x74616766
_VERSION = 1
_SCHEMA = "CREATE TABLE documents (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID"


class Ledger:
    """Documents by key, each written whole or not at all, locked by this process while it is open.

    Everything here blocks, so call it on a worker thread, one call at a time. It holds no secret.

    Args:
        path: The file.
        database: The open connection to it.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open and lock a ledger, making it if need be; only its owner can read it.

        Raises:
            DiskError: Another process holds it, or the file is something else.
        """
        with disk_errors(path, "open the ledger"):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            handle = os.open(path, flags, 0o600)
            try:
                status = os.fstat(handle)
            finally:
                os.close(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            msg = f"{path} is no plain file of its own"
            raise DiskError(msg, code="EEXIST", hint="remove it or choose another output")
        with _sqlite_errors(path):
            database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                _prepare(path, database)
            except BaseException:
                database.close()
                raise
        return cls(path, database)

    def get(self, key: str, type_: type[T]) -> T | None:
        """Return a document, or None if there is none.

        Raises:
            DiskError: It cannot be read as what it should be.
        """
        with _sqlite_errors(self.path):
            row = self._database.execute("SELECT body FROM documents WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            return msgspec.json.decode(row[0], type=type_)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            msg = f"{self.path} holds something that this version does not understand"
            raise DiskError(msg, hint=_OTHER_VERSION) from None

    def put(self, key: str, document: msgspec.Struct) -> None:
        """Write a document; when this returns, it survives a power cut."""
        with _sqlite_errors(self.path):
            self._database.execute(
                "INSERT OR REPLACE INTO documents VALUES (?, ?)", (key, msgspec.json.encode(document))
            )

    def keys(self) -> list[str]:
        """Return the keys of all documents, sorted."""
        with _sqlite_errors(self.path):
            rows = self._database.execute("SELECT key FROM documents ORDER BY key").fetchall()
        return [key for (key,) in rows]

    def delete(self, key: str) -> None:
        """Forget a document, if there is one."""
        with _sqlite_errors(self.path):
            self._database.execute("DELETE FROM documents WHERE key = ?", (key,))

    def remove(self) -> None:
        """Close the ledger and remove it from disk."""
        with _sqlite_errors(self.path):
            # Without a log at its side it is one file, unlinked while the lock still keeps others out.
            self._database.execute("PRAGMA journal_mode = DELETE")
        with disk_errors(self.path, "remove the ledger"):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Let go of the ledger; it stays on disk."""
        self._database.close()


_OTHER_VERSION = "use the version of tagferry that wrote it, or give --no-resume (resume=False) to start over"


def _prepare(path: Path, database: sqlite3.Connection) -> None:
    # The lock is held until the end, so that two processes never write one output.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("BEGIN IMMEDIATE")
    ours = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if (ours, version) == (0, 0) and not database.execute("SELECT * FROM sqlite_schema").fetchall():
        database.execute(_SCHEMA)
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {_VERSION}")
    elif ours != _APPLICATION:
        raise DiskError(f"{path} is no ledger of tagferry", code="EEXIST", hint="choose another output")
    elif version != _VERSION:
        msg = f"{path} is a ledger of another version ({version})"
        raise DiskError(msg, code="EEXIST", hint=_OTHER_VERSION)
    database.execute("COMMIT")


@contextmanager
def _sqlite_errors(path: Path) -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        failure = _translate(path, error)
    else:
        return
    raise failure


def _translate(path: Path, error: sqlite3.Error) -> DiskError:
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        msg = f"another process is writing this output ({path})"
        return DiskError(msg, code="EBUSY", hint="wait for it, or choose another output")
    if name.startswith("SQLITE_FULL"):
        hint = "free some space and run the same again: it goes on where it stopped"
        return DiskError(f"cannot write {path}: no space is left", code="ENOSPC", hint=hint)
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        hint = "choose another output, or give --no-resume (resume=False) to start over"
        return DiskError(f"{path} is damaged or no ledger", code=name, hint=hint)
    return DiskError(f"cannot use {path}: {error}", code=name, hint="check the disk and its permissions")
