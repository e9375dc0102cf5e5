"""What is asserted of any bytes. The first ones choose settings, so that they are fuzzed too."""

import contextlib
import gzip
from pathlib import Path

import msgspec

from tagferry.errors import IntegrityError, RecordError, TagferryError
from tagferry.rows import arrow
from tagferry.rows.cdp import CDPRow
from tagferry.rows.dialect import BACKSLASH, RFC4180
from tagferry.rows.options import ReadOptions
from tests.rows import oracle

HEAD = 4
OTHERS = (b"\x1f\x8b", b"PK", b"\xef\xbb\xbf")
"""Bytes that make a file something else than text from its first byte on."""
POLICIES = ("raise", "skip", "collect")
LIMITS = (7, 40, 1_000_000)


class Two(msgspec.Struct):
    a: str
    b: int | None = None


TYPES = (None, Two, CDPRow)


def any_bytes(data):
    """Whatever the file: nothing but our errors, and the same for any split."""
    head, body = settings(data)
    name = ("x", "x.csv", "x.jsonl.gz")[head[0] % 3]
    plan = ReadOptions(
        TYPES[head[1] % 3], dialect=("auto", "saas", "cdp")[head[1] // 3 % 3], max_record=LIMITS[head[2] % 3]
    )
    same_for_any_split(plan, body, head, Path(name), POLICIES[head[2] // 3 % 3])


def csv_rows(data):
    """CSV: the rows of the standard library up to the first record that it refuses."""
    head, body = settings(data)
    dialect, name = ((RFC4180, "cdp"), (BACKSLASH, "saas"))[head[0] % 2]
    plan = ReadOptions(TYPES[head[1] % 2], dialect=name, encoding="utf-8", max_record=LIMITS[head[2] % 3])
    file = b"a,b\n" + body
    same_for_any_split(plan, file, head, oracle.FILE, POLICIES[head[2] // 3 % 3])
    try:
        text = file.decode()
    except UnicodeDecodeError:
        return
    plan = ReadOptions(None, dialect=name, encoding="utf-8")
    rows, error, _ = oracle.feed(plan, [file])
    expected, refused = oracle.records(text, dialect)
    good = []
    for cells in expected[1:]:
        if cells and len(cells) != 2:
            refused = True
            break
        if cells:
            good.append(cells)
    assert [[cell or "" for cell in row.values()] for row in rows] == good
    assert isinstance(error, RecordError) == refused
    batches, other, _ = oracle.feed(plan.of(None, make_engine=arrow.make_engine), [file])
    assert [row for batch in batches for row in batch.to_pylist()] == rows
    assert str(other) == str(error)


def jsonl_rows(data):
    """JSON Lines: a row is what the decoder says of its line."""
    head, body = settings(data)
    wanted, file = TYPES[head[1] % 3], Path("x.jsonl")
    plan = ReadOptions(wanted, encoding="utf-8", max_record=LIMITS[head[2] % 3])
    same_for_any_split(plan, body, head, file, POLICIES[head[2] // 3 % 3])
    if body.startswith(OTHERS):
        return
    decoder = msgspec.json.Decoder(wanted or dict, strict=False)
    good = []
    for line in body.split(b"\n"):
        if line.strip(b" \t\r"):
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                good.append(decoder.decode(line))
    rows, error, _ = oracle.feed(ReadOptions(wanted, encoding="utf-8"), [body], on_error="skip", file=file)
    assert (rows, error) == (good, None)


def gzip_rows(data):
    """Gzip: what is whole is opened, and what the standard library refuses is refused."""
    head, body = settings(data)
    whole = gzip.compress(body[: len(body) // 2], mtime=0) + gzip.compress(body[len(body) // 2 :], mtime=0)
    at = int.from_bytes(head[:2], "big") % (len(whole) + 1)
    damaged = whole[:at] + bytes([head[2]]) * (head[3] % 3) + whole[at + head[3] % 2 :]
    plan = ReadOptions(encoding="utf-8")
    same_for_any_split(plan, damaged, head, oracle.FILE, "skip")
    _, error, _ = oracle.feed(plan, [damaged], on_error="skip")
    if damaged == whole:
        assert not isinstance(error, IntegrityError)
    elif damaged.startswith(b"\x1f\x8b"):
        # What it opens may be refused here: it does not look at all of a header.
        try:
            gzip.decompress(damaged)
        except Exception:
            assert isinstance(error, TagferryError)


def same_for_any_split(plan, body, head, file, on_error):
    whole = oracle.outcome(plan, [body], on_error=on_error, file=file)
    size = 1 + head[3] % 13
    blocks = [body[i : i + size] for i in range(0, len(body), size)]
    assert oracle.outcome(plan, blocks, on_error=on_error, file=file) == whole
    assert whole[1] is type(None) or issubclass(whole[1], TagferryError)


def settings(data):
    return data[:HEAD].ljust(HEAD, b"\0"), data[HEAD:]


TARGETS = {one.__name__: one for one in (any_bytes, csv_rows, jsonl_rows, gzip_rows)}
CORPUS = Path(__file__).parent / "corpus"
