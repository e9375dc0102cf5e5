"""Words and numbers for people's eyes."""

from __future__ import annotations

__all__ = ["plain", "show_bytes", "show_count", "show_seconds"]

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def plain(text: object) -> str:
    """Return a foreign text on one line, with every control character escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def show_count(count: int, noun: str) -> str:
    """Return a number of things like ``1 call`` or ``2,500 calls``.

    >>> show_count(2500, "call")
    '2,500 calls'
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def show_bytes(size: float) -> str:
    """Return a size like ``1.5 MiB``.

    >>> show_bytes(540077)
    '527.4 KiB'
    """
    if size < 1024:
        return f"{size:.0f} B"
    for unit in _UNITS:
        size /= 1024
        # What would be shown as 1024.0 belongs to the next unit.
        if size < 1023.95 or unit == _UNITS[-1]:
            return f"{size:.1f} {unit}"
    raise AssertionError


def show_seconds(seconds: float) -> str:
    """Return a duration like ``0.2 s``, ``9 s``, ``2:05`` or ``1:00:00``.

    >>> show_seconds(125)
    '2:05'
    """
    if 0.05 <= seconds < 0.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
