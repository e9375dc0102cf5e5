"""Files as a table: first its columns, then its rows. Everything here blocks: it runs on worker threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagferry.errors import RecordError
from tagferry.rows import arrow
from tagferry.rows.cdp import CDPRow
from tagferry.rows.fault import Faults
from tagferry.rows.layout import Layout, Survey, layout_of_header, layout_of_type
from tagferry.rows.options import ReadOptions
from tagferry.rows.source import Source

__all__ = ["Table"]


class Table:
    """The rows of some files, under the columns that all of them share.

    The columns of CSV are those of its header, and texts; those of a Struct are its fields. JSON Lines
    without a type are read twice: only the last row tells what columns there are, and what they hold.

    Args:
        files: The files.
        options: How they are read.
        faults: What is done about bad records. Those that the first of two readings finds do not count.

    Raises:
        ConfigError: Rows of the type make no table.
    """

    def __init__(self, files: Sequence[Path], options: ReadOptions[Any], faults: Faults) -> None:
        self._files = files
        wanted = None if options.wanted is CDPRow else options.wanted
        self._typed = wanted is not None
        self._options = options if self._typed else options.of(None)
        self.faults = faults
        self._survey = Survey()
        self._looking = Source(
            files, self._options, Faults("raise" if faults.on_error == "raise" else "skip")
        )
        self._layout = None if wanted is None else layout_of_type(wanted)
        self._reading: Source[Any] | None = None
        self._schema: Any = None

    @property
    def readings(self) -> int:
        """How often the files are read, as far as is known."""
        return 2 if self._looking.is_csv is False else 1

    @property
    def read(self) -> int:
        """Bytes read so far, of all readings."""
        # Of CSV only the header was looked at.
        looked = 0 if self._looking.is_csv else self._looking.size
        return looked + (self._reading.size if self._reading is not None else 0)

    @property
    def layout(self) -> Layout:
        """The columns; `look` has to be done."""
        assert self._layout is not None, "the files were looked at"
        return self._layout

    @property
    def schema(self) -> Any:
        """The columns as an Arrow schema."""
        if self._schema is None:
            self._schema = arrow.make_schema(self.layout)
        return self._schema

    def look(self) -> bool:
        """Look at some more of the files; tell whether the columns are known.

        Raises:
            TagferryError: They cannot be read.
        """
        if self._layout is not None:
            return True
        lists = self._looking.pull()
        if self._looking.is_csv and self._looking.header is not None:
            self._layout = layout_of_header(self._looking.header)
        elif lists is None:
            self._layout = self._survey.layout()
            if not self._layout.columns:
                msg = f"{self._files[0]} has no rows and no header"
                raise RecordError(msg, hint="convert it to jsonl, which needs no columns")
        else:
            for rows in lists:
                self._survey.add(rows)
        if self._layout is not None:
            self._looking.close()
        return self._layout is not None

    def pull(self) -> list[list[Any]] | None:
        """Return the next rows, if there are any in the next pieces, or None at the end.

        Raises:
            TagferryError: They cannot be read.
        """
        if self._reading is None:
            self._reading = Source(self._files, self._options, self.faults)
        return self._reading.pull()

    def pull_batches(self) -> list[arrow.RecordBatch] | None:
        """Return the next rows as Arrow record batches; use this, or `pull`.

        Raises:
            TagferryError: They cannot be read.
        """
        by_arrow = bool(self._looking.is_csv) and not self._typed
        if self._reading is None and by_arrow:
            options = self._options.of(None, make_engine=arrow.make_engine)
            self._reading = Source(self._files, options, self.faults)
        lists = self.pull()
        if lists is None:
            return None
        if by_arrow:
            return [batch for batches in lists for batch in batches]
        return [arrow.make_batch(self.layout, rows, self.schema) for rows in lists]

    def close(self) -> None:
        """Close the file that is open, if one is."""
        self._looking.close()
        if self._reading is not None:
            self._reading.close()
