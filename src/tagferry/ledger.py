"""What has to be known after a crash: small documents in a SQLite file beside the output."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from tagferry.errors import DiskError
from tagferry.files.disk import disk_errors, look

__all__ = ["Ledger"]

T = TypeVar("T")

_APPLICATION = 0x74616766
_VERSION = 1
_FORM = (
    "CREATE TABLE documents (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)
_BUSY = "EBUSY"
_TRIES = 6
_WAIT = 0.05
"""Seconds before another try, at most. Two runs that begin in the same moment refuse each other, one time in
four when it was measured; after waits of chance one of them comes first."""


class Ledger:
    """Documents by key, each written whole or not at all, locked by this process while it is open.

    Everything here blocks, so call it on a worker thread, one call at a time. It holds no secret.

    Args:
        path: The file.
        database: The open connection to it.
        is_new: Whether there was none before.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, *, is_new: bool) -> None:
        self.path = path
        self.is_new = is_new
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open and lock a ledger, making it if need be; only its owner can read it.

        Raises:
            DiskError: Another run holds it, or the file is something else.
        """
        tries = 1
        while True:
            try:
                database, is_new = _connect(path)
                return cls(path, database, is_new=is_new)
            except DiskError as error:
                if not _is_busy(error) or tries == _TRIES:
                    raise
            tries += 1
            time.sleep(random.uniform(0, _WAIT))  # noqa: S311 - nothing depends on its secrecy

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

    def delete(self, key: str) -> None:
        """Forget a document, if there is one."""
        with _sqlite_errors(self.path):
            self._database.execute("DELETE FROM documents WHERE key = ?", (key,))

    def remove(self) -> None:
        """Close the ledger and remove it from disk."""
        with _sqlite_errors(self.path):
            # With no log beside it, it is one file, unlinked while the lock still keeps others out. A log in
            # a file would be removed after it, by its name, which may be that of the next run's log by then.
            self._database.execute("PRAGMA journal_mode = MEMORY")
        with disk_errors(self.path, "remove the ledger"):
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the ledger; it stays on disk."""
        self._database.close()


_OTHER_VERSION = "use the version of tagferry that wrote it, or remove it to start over"


def _connect(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Open and lock a ledger; tell whether there was none before."""
    before, made = _make(path)
    # An existing file is never opened but by SQLite: closing it, here or elsewhere in this process, would let
    # go of a lock that another run in this process has on it (POSIX). Nor does SQLite make it, with a mode of
    # its own.
    address = f"{path.absolute().as_uri()}?mode=rw"
    with _sqlite_errors(path):
        database = sqlite3.connect(
            address, uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            # The lock is held until the end, so that two runs never write one output.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN EXCLUSIVE")
            _check_place(path, before)
            is_new = _is_empty(path, database)
            if is_new:
                for statement in _FORM:
                    database.execute(statement)
            database.execute("COMMIT")
            # Not before: a file of someone else is left as it is.
            database.execute("PRAGMA journal_mode = WAL")
        except BaseException as error:
            if made and not _is_busy(error):
                path.unlink(missing_ok=True)
            database.close()
            raise
    return database, is_new


def _make(path: Path) -> tuple[tuple[int, int], bool]:
    """Make an empty file if there is none; return the identity of what is there, and whether it was made."""
    made = True
    with disk_errors(path, "open the ledger"):
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            made = False
            status = look(path, follow=False)
            if status and (not stat.S_ISREG(status.st_mode) or status.st_nlink != 1):
                msg = f"{path} is no plain file of its own"
                raise DiskError(msg, code="EEXIST", hint="remove it or choose another output") from None
    if (identity := _identity(path)) is None:
        raise _busy(path)
    return identity, made


def _check_place(path: Path, before: tuple[int, int]) -> None:
    """Make sure that the run that held a ledger did not remove it while it was being locked."""
    if _identity(path) != before:
        raise _busy(path)


def _identity(path: Path) -> tuple[int, int] | None:
    status = look(path, follow=False)
    return (status.st_dev, status.st_ino) if status else None


def _is_empty(path: Path, database: sqlite3.Connection) -> bool:
    """Tell whether there is nothing in a file yet; if there is, make sure that it is a ledger."""
    ours = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if (ours, version) == (0, 0) and not database.execute("SELECT * FROM sqlite_schema").fetchall():
        return True
    if ours != _APPLICATION:
        raise DiskError(f"{path} is no ledger of tagferry", code="EEXIST", hint="choose another output")
    if version != _VERSION:
        msg = f"{path} is a ledger of another version ({version})"
        raise DiskError(msg, code="EEXIST", hint=_OTHER_VERSION)
    return False


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
    if _is_busy(error):
        return _busy(path)
    if name.startswith("SQLITE_FULL"):
        hint = "free some space and run the same again: what is done is kept"
        return DiskError(f"cannot write {path}: no space is left", code="ENOSPC", hint=hint)
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        hint = "choose another output, or remove it to start over"
        return DiskError(f"{path} is damaged or no ledger", code=name, hint=hint)
    return DiskError(f"cannot use {path}: {error}", code=name, hint="check the disk and its permissions")


def _is_busy(error: BaseException) -> bool:
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or getattr(error, "code", None) == _BUSY


def _busy(path: Path) -> DiskError:
    msg = f"another run is writing this output ({path})"
    return DiskError(msg, code=_BUSY, hint="wait for it, or choose another output")
