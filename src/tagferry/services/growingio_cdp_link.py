"""Where the files of a finished job of GrowingIO CDP are."""

from __future__ import annotations

import re
from urllib.parse import quote

__all__ = ["make_link"]

_NOT_SENDABLE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$'()*+,:;@/%-]")
"""What cannot stand for itself in the value of a query."""


def make_link(download_base: str, uri: str) -> str:
    """Return where a file of a finished job is.

    The REST pages show uris that are percent-encoded as a whole (``%2Fjobs%2F…``), other pages raw paths, and
    paths of which only the names are encoded. What is encoded goes out as it is, since encoding it again
    names another file; what is raw is encoded once, since ``&``, ``+`` and ``#`` would cut or change it.

    Args:
        download_base: The origin of the downloads, without a slash at its end.
        uri: What the service wrote; an http or https URL is returned as it is.
    """
    if uri[:8].lower().startswith(("http://", "https://")):
        return uri
    if uri[:3].lower() == "%2f":
        # Encoded for certain. Where something in it cannot be sent, the rest still must not be encoded again.
        file = _NOT_SENDABLE.sub(lambda match: quote(match[0], safe="", errors="replace"), uri)
    elif _NOT_SENDABLE.search(uri) or ("+" in uri and "%" not in uri):
        file = quote(uri, safe="", errors="replace")
    else:
        file = uri
    return f"{download_base}/download?file={file}"
