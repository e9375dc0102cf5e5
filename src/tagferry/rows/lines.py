"""Whole lines out of any blocks of bytes."""

from __future__ import annotations

__all__ = ["LARGE", "Lines", "count_lines"]

LARGE = 256 * 1024
"""Bytes of one record that take some milliseconds."""


class Lines:
    """Cuts a stream behind its last line end, and holds back the rest.

    Args:
        bare_cr: Whether a CR without LF ends a line too, where a block has no LF.
    """

    def __init__(self, *, bare_cr: bool = False) -> None:
        self._bare_cr = bare_cr
        # Joined only when a line ends: a long one must not be copied with every block.
        self._held: list[bytes] = []
        self._skipping = False
        self.pending = 0
        """Bytes held back."""

    def feed(self, block: bytes) -> bytes:
        """Return the whole lines of the bytes so far."""
        if self._skipping:
            block = self._skip(block)
        end = block.rfind(b"\n") + 1
        if not end and self._bare_cr:
            # The last byte may be the first half of a CRLF.
            end = block.rfind(b"\r", 0, -1) + 1
            if not end and self._held and self._held[-1].endswith(b"\r") and block:
                return self._release(b"", block)
        if not end:
            self._hold(block)
            return b""
        return self._release(block[:end], block[end:])

    def finish(self) -> bytes:
        """Return the last line, which has no line end, or nothing."""
        return self._release(b"", b"")

    def drop(self) -> None:
        """Forget the line that has begun, to its end."""
        self._held.clear()
        self.pending = 0
        self._skipping = True

    def _skip(self, block: bytes) -> bytes:
        end = block.find(b"\n") + 1
        self._skipping = not end
        return block[end:] if end else b""

    def _hold(self, block: bytes) -> None:
        if block:
            self._held.append(block)
            self.pending += len(block)

    def _release(self, block: bytes, rest: bytes) -> bytes:
        whole = b"".join([*self._held, block]) if self._held else block
        self._held.clear()
        self.pending = 0
        self._hold(rest)
        return whole


def count_lines(text: str, begin: int, end: int) -> int:
    """Return how many line ends a part of a text has: LF, CRLF and bare CR."""
    bare = text.count("\r", begin, end)
    bare = bare - text.count("\r\n", begin, end) if bare else 0
    return text.count("\n", begin, end) + bare
