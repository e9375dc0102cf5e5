"""Files that are no plain text: gzip is opened, zip and Parquet are refused. First bytes tell, not names."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from tagferry.errors import IntegrityError, RecordError

__all__ = ["Plain"]

_GZIP = b"\x1f\x8b"
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_PARQUET = b"PAR1\x15"
_MAGIC = 5
_ROOM = 64 * 1024


class Plain:
    """Bytes of a file in, uncompressed bytes out.

    Args:
        file: The file's name, for errors.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._head = b""
        self._begun = False
        self._gzip = False
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield what the next bytes hold, in pieces of at most 64 KiB when they are compressed.

        Raises:
            RecordError: It is a zip archive or a Parquet file.
            IntegrityError: It is a damaged gzip stream.
        """
        if not self._begun:
            self._head += block
            if len(self._head) < _MAGIC:
                return
            block = self._begin()
        yield from self._open(block)

    def finish(self) -> Iterator[bytes]:
        """Yield what is left at the end of the file.

        Raises:
            RecordError: It is a zip archive or a Parquet file.
            IntegrityError: It is a gzip stream that was cut.
        """
        if not self._begun:
            yield from self._open(self._begin())
        if self._gzip and not self._member.eof:
            msg = f"{self._file} is cut: its gzip stream has no end"
            raise IntegrityError(msg, hint="export or download it again")

    def _begin(self) -> bytes:
        head, self._head, self._begun = self._head, b"", True
        if head.startswith(_ZIPS):
            msg = f"{self._file} is a zip archive"
            hint = "unpack it, for example with unzip, and read what was in it"
            raise RecordError(msg, file=self._file, hint=hint)
        if head.startswith(_PARQUET):
            msg = f"{self._file} is a Parquet file"
            hint = "read it with pyarrow, DuckDB or polars: its columns are typed already"
            raise RecordError(msg, file=self._file, hint=hint)
        self._gzip = head.startswith(_GZIP)
        return head

    def _open(self, block: bytes) -> Iterator[bytes]:
        if not self._gzip:
            yield block
            return
        more = True
        while block or more:
            if self._member.eof:
                # Some writers fill up the last member with zeros.
                block = block.lstrip(b"\0")
                if not block:
                    return
                self._member = zlib.decompressobj(wbits=31)
            piece = self._inflate(block)
            more = len(piece) == _ROOM
            block = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece

    def _inflate(self, block: bytes) -> bytes:
        try:
            # The bound on one piece is what makes a bomb harmless.
            return self._member.decompress(block, _ROOM)
        except zlib.error:
            msg = f"{self._file} is damaged: its gzip stream breaks off or goes wrong"
        raise IntegrityError(msg, hint="export or download it again")
