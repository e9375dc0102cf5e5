"""The encoding of a file, told from its bytes; behind this module everything is UTF-8."""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from pathlib import Path
from typing import Literal, get_args

from tagferry.errors import ConfigError, IntegrityError

__all__ = ["Encoding", "Utf8", "check_encoding"]

Encoding = Literal["auto", "utf-8", "utf-16-le", "utf-16-be"]
_BOMS: tuple[tuple[bytes, Encoding], ...] = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_SAMPLE = 4096
_SHARE = 10
"""One byte of so many is a NUL in UTF-16, even in Chinese; in UTF-8 no writer has so many of them."""


class Utf8:
    """Bytes of a text in, the same text in UTF-8 out, without a byte order mark.

    UTF-8 goes through unchecked and lone surrogates become what UTF-8 forbids: whoever reads the records
    finds both there, and can name the line.

    Args:
        file: The file's name, for errors.
        encoding: The encoding of the file; ``"auto"`` looks at its first 4 KiB.
    """

    def __init__(self, file: Path, encoding: Encoding = "auto") -> None:
        self._file = file
        self._encoding: Encoding = encoding
        self._head = b""
        self._begun = False
        self._decoder: IncrementalDecoder | None = None

    def feed(self, block: bytes) -> bytes:
        """Return what the next bytes say."""
        if not self._begun:
            self._head += block
            if len(self._head) < _SAMPLE:
                return b""
            block = self._begin()
        return self._recode(block, final=False)

    def finish(self) -> bytes:
        """Return what is left at the end of the file.

        Raises:
            IntegrityError: The file ends within a character.
        """
        block = b"" if self._begun else self._begin()
        return self._recode(block, final=True)

    def _begin(self) -> bytes:
        head, self._head, self._begun = self._head, b"", True
        # However it came, it is judged by the same bytes.
        found = _detect(head[:_SAMPLE]) if self._encoding == "auto" else self._encoding
        for mark, name in _BOMS:
            if name == found:
                head = head.removeprefix(mark)
        if found != "utf-8":
            self._decoder = getincrementaldecoder(found)("surrogatepass")
        return head

    def _recode(self, block: bytes, *, final: bool) -> bytes:
        if self._decoder is None:
            return block
        try:
            return self._decoder.decode(block, final).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            msg = f"{self._file} is cut: it ends within a character"
        raise IntegrityError(msg, hint="export or download it again")


def check_encoding(encoding: Encoding) -> Encoding:
    """Return an encoding that can be read.

    Raises:
        ConfigError: It is none of them.
    """
    if encoding not in get_args(Encoding):
        msg = f"encoding is {encoding!r}"
        raise ConfigError(msg, hint=f"give one of {', '.join(get_args(Encoding))}")
    return encoding


def _detect(sample: bytes) -> Encoding:
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    # Separators and digits are ASCII, which in UTF-16 is every other byte a NUL, always on the same side.
    high, low = sample[1::2].count(0), sample[::2].count(0)
    few = max(len(sample) // _SHARE, 2)
    if high >= few and high > 2 * low:
        return "utf-16-le"
    if low >= few and low > 2 * high:
        return "utf-16-be"
    return "utf-8"
