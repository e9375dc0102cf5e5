"""Text from outside, made safe to print."""

from __future__ import annotations

import re

__all__ = ["excerpt"]

_LIMIT = 200
# The slashes of a link may be escaped, as in JSON, and its beginning may be missing.
_LOGIN = re.compile(r"(https?:\\?/\\?/)[^\s/\\\"'<>]*@", re.IGNORECASE)
_QUERY = re.compile(
    r"((?:https?:)?\\?/\\?/[^\s\"'<>?]*)\?[^\s\"'<>]*|\?(?=[^\s\"'<>]*=)[^\s\"'<>]*", re.IGNORECASE
)


def excerpt(text: bytes | str, limit: int = _LIMIT) -> str:
    """Return the beginning of a foreign text: printable, on one line, without login and query of any link.

    Args:
        text: Bytes (read as UTF-8) or text from a server or a file.
        limit: The most characters to return.
    """
    if isinstance(text, bytes):
        text = text[: limit * 16].decode("utf-8", "replace")
    text = _QUERY.sub(r"\1?…", _LOGIN.sub(r"\1…@", text[: limit * 16]))
    text = " ".join(text.split())
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
