"""What the standard library says of the same bytes, record by record, with no limit on a cell."""

import contextlib
import csv
import io
from pathlib import Path

from tagferry.rows.dialect import BACKSLASH, RFC4180
from tagferry.rows.fault import Faults
from tagferry.rows.feed import RowFeed
from tagferry.rows.options import ReadOptions

DIALECTS = {"cdp": RFC4180, "saas": BACKSLASH}
FILE = Path("x.csv")


@contextlib.contextmanager
def no_cell_limit():
    """The limit belongs to the whole process; nothing else runs in this block."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def records(text, dialect):
    """Return the records before the first malformed one, and whether there is such a one.

    A last line gets its line end: without it the library calls a cell with an escaped line end unfinished.
    """
    if not text.endswith(("\n", "\r")):
        text += "\n"
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=dialect.delimiter, escapechar=dialect.escape, strict=True
    )
    found = []
    with no_cell_limit():
        try:
            found.extend(reader)
        except csv.Error:
            return found, True
    return found, False


def feed(plan, blocks, *, on_error="raise", file=FILE, header=None):
    """Push blocks through a feed; return the rows, what ended it, and what it notes."""
    faults = Faults(on_error)
    before = None
    if header is not None:
        before = RowFeed(plan, faults, Path("first.csv"))
        list(before.feed(",".join(header).encode() + b"\n"))
        list(before.finish())
    one = RowFeed(plan, faults, file, after=before)
    rows = []
    try:
        for block in blocks:
            for part in one.feed(block):
                rows += part
        for part in one.finish():
            rows += part
    except Exception as error:
        return rows, error, faults
    return rows, None, faults


def read(data, wanted=None, *, on_error="raise", file=FILE, header=None, **options):
    """Return the rows of a file that must be good."""
    rows, error, _ = feed(
        ReadOptions(wanted, **({"dialect": "cdp"} | options)),
        [data],
        on_error=on_error,
        file=file,
        header=header,
    )
    if error is not None:
        raise error
    return rows


def outcome(plan, blocks, **options):
    """Return all that a feed lets be seen, for comparing."""
    rows, error, faults = feed(plan, blocks, **options)
    return rows, type(error), str(error), faults.total, [str(one) for one in faults.kept]


def split(data, cuts):
    """Cut bytes at some places."""
    places = sorted({min(cut, len(data)) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
