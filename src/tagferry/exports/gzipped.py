"""Whether a gzip stream is whole."""

from __future__ import annotations

import zlib

__all__ = ["GzipWatch"]

_ROOM = 1024 * 1024


class GzipWatch:
    """Follows a gzip stream of one or more members to its end.

    Nothing of it is kept, so a bomb costs time only; the room for output bounds the memory.
    """

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._sound = True

    def feed(self, block: bytes) -> bool:
        """Take the next bytes; tell whether the stream is sound so far."""
        try:
            self._inflate(block)
        except zlib.error:
            self._sound = False
        return self._sound

    @property
    def whole(self) -> bool:
        """Whether the bytes so far end where a member ends."""
        return self._sound and self._member.eof

    def _inflate(self, block: bytes) -> None:
        more = True
        while block or more:
            if self._member.eof and block:
                self._member = zlib.decompressobj(wbits=31)
            more = len(self._member.decompress(block, _ROOM)) == _ROOM
            block = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
