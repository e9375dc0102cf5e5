"""What counts as an account: lines, fields and items, cleaned and checked before anything is sent.

The service takes any text that is not empty (protocol/tencent-im.md, 1.3): no alphabet and no length of its
own are enforced here. What is refused is damage: bytes that are no UTF-8, characters that cannot be seen.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Iterable, Sequence
from itertools import count

from tagferry.errors import ConfigError, RecordError

__all__ = [
    "LONGEST",
    "check_account",
    "check_accounts",
    "check_accounts_argument",
    "check_texts",
    "clean_lines",
]

LONGEST = 1024
"""The most bytes of one account; the longest that is documented has 36."""
_WINDOW = LONGEST // 2
_SHOWN = 40
_BLANKS = b" \t\r"
_EDGES = (b"\n\n", b"\n ", b" \n")
_CONTROLS = bytes([*range(0x0A), *range(0x0B, 0x20), 0x7F])
"""The control characters of ASCII but the LF, which ends lines."""
_WIDE_CONTROLS = re.compile(rb"\xc2[\x80-\x9f]")
_MARK = "\ufeff".encode()
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
_HINTS = {
    "\r": "end each line with LF or CRLF",
    "\x00": "save the file as UTF-8",
    "\ufeff": "it is invisible: remove it, files put together often have one at the seam",
}


def clean_lines(block: bytes, first: int) -> list[bytes]:
    """Return the accounts of whole text lines: blanks around them removed, blank lines dropped.

    Args:
        block: Lines, each ended by LF or CRLF; the last one may have no end.
        first: The number of the first line, from 1.

    Raises:
        RecordError: A line is no UTF-8, holds a control character or is longer than `LONGEST` bytes; the
            message has its number.
    """
    # Checks of the whole block cost a tenth of those line by line, which only name what they found.
    text = block.replace(b"\r\n", b"\n") if b"\r" in block else block
    if _has_blanks(text):
        accounts = [account for line in text.split(b"\n") if (account := line.strip(_BLANKS))]
        text = b"\n".join(accounts)
    else:
        accounts = text.split(b"\n")
        if not accounts[-1]:
            accounts.pop()
    if not _is_sound(text) or _is_too_long(text):
        lines = enumerate(block.split(b"\n"), first)
        return [_check_line(line, number) for number, raw in lines if (line := raw.strip(_BLANKS))]
    return accounts


def check_accounts_argument(accounts: object) -> None:
    """Refuse what can be no collection of accounts.

    Raises:
        TypeError: It is a text, whose characters would be taken for accounts, or nothing to iterate over.
    """
    if isinstance(accounts, (str, bytes, bytearray)):
        msg = (
            f"accounts is one {type(accounts).__name__}; give a list of accounts, [account] for a single one"
        )
        raise TypeError(msg)
    if not isinstance(accounts, (Iterable, AsyncIterable)):
        msg = f"accounts is of type {type(accounts).__name__}; give an iterable or async iterable of str"
        raise TypeError(msg)


def check_account(account: object, position: int) -> bytes:
    """Return one account of a caller as UTF-8, exactly as it is: nothing around it is removed.

    Args:
        account: The account.
        position: Its number among those of the caller, from 1.

    Raises:
        ConfigError: It is no `str`.
        RecordError: It is empty or blank, too long, or holds a control character or half a character.
    """
    if not isinstance(account, str):
        raise ConfigError(
            f"account number {position} is of type {type(account).__name__}",
            hint="accounts are texts: convert each with str()",
        )
    return _check_text(account, f"account number {position}")


def check_accounts(accounts: Sequence[object], first: int) -> list[bytes]:
    """Return accounts of a caller as UTF-8; many at once, otherwise as `check_account` does.

    Args:
        accounts: The accounts.
        first: The number of the first one, from 1.
    """
    texts = [account for account in accounts if isinstance(account, str)]
    if len(texts) == len(accounts):
        return check_texts(texts, count(first), "account number")
    return [check_account(account, number) for number, account in enumerate(accounts, first)]


def check_texts(texts: Sequence[str], numbers: Iterable[int], unit: str) -> list[bytes]:
    """Return accounts as UTF-8, exactly as they are.

    Args:
        texts: The accounts.
        numbers: Where each comes from, for the message.
        unit: What the numbers count, such as ``"line"``.

    Raises:
        RecordError: One is empty or blank, too long, or holds a control character or half a character.
    """
    try:
        block = "\n".join(texts).encode()
    except UnicodeEncodeError:
        block = b"\0"
    if (
        block.count(b"\n") != len(texts) - 1
        or not all(map(str.strip, texts))
        or not _is_sound(block)
        or _is_too_long(block)
    ):
        return [_check_text(text, f"{unit} {number}") for text, number in zip(texts, numbers, strict=False)]
    return block.split(b"\n")


def _has_blanks(text: bytes) -> bool:
    """Tell whether a line is blank or may have blanks around it."""
    return (
        text.startswith((b"\n", b" "))
        or text.endswith(b" ")
        or b"\t" in text
        or b"\r" in text
        or any(edge in text for edge in _EDGES)
    )


def _is_sound(text: bytes) -> bool:
    """Tell whether a block is UTF-8 without control characters but LF."""
    if len(text.translate(None, _CONTROLS)) != len(text):
        return False
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return _MARK not in text and not (b"\xc2" in text and _WIDE_CONTROLS.search(text))


def _is_too_long(text: bytes) -> bool:
    """Tell whether a line of a block is longer than `LONGEST` bytes."""
    # Such a line covers a window of half that size, wherever the windows begin. Looking for line ends in
    # each window takes a tenth of the time of measuring each line.
    windows = range(0, len(text), _WINDOW)
    if all(text.find(b"\n", at, at + _WINDOW) >= 0 for at in windows):
        return False
    return max(map(len, text.split(b"\n"))) > LONGEST


def _check_line(line: bytes, number: int) -> bytes:
    where = f"line {number}"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        shown = _show(line[: LONGEST * 2].decode("utf-8", "backslashreplace"))
        raise RecordError(f"{where} is not UTF-8: {shown}", hint="save the file as UTF-8") from None
    return _check_text(text, where)


def _check_text(text: str, where: str) -> bytes:
    if not text.strip(" "):
        raise RecordError(f"{where} is empty", hint="an empty account cannot be asked for: remove it")
    if match := _REFUSED.search(text):
        one = match[0]
        kind = "half a character" if "\ud800" <= one <= "\udfff" else "a control character"
        what = "a byte order mark" if one == "\ufeff" else kind
        msg = f"{where} holds {what} ({ascii(one)[1:-1]}): {_show(text)}"
        raise RecordError(msg, hint=_HINTS.get(one, "remove it"))
    account = text.encode()
    if len(account) > LONGEST:
        raise RecordError(
            f"{where} has {len(account)} bytes: {_show(text)}",
            hint=f"an account has at most {LONGEST}; give one account a line, and nothing else",
        )
    return account


def _show(text: str) -> str:
    """Return the beginning of a text, with what cannot be printed escaped."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_SHOWN])
    return f"'{shown}'" if len(text) <= _SHOWN else f"'{shown}…'"
