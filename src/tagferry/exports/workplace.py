"""The unfinished files of one export, while this process works on them. Everything here blocks."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tagferry.exports.disk import disk_errors, sync_directory
from tagferry.exports.naming import final_name, find_finals, find_parts, part_name, record_name
from tagferry.exports.outcome import SavedFile
from tagferry.exports.part import PartFile, hash_file
from tagferry.exports.place import check_free, place_file
from tagferry.exports.record import PartState, Record, RecordFile

if TYPE_CHECKING:
    from tagferry.exports.export import Export

__all__ = ["Workplace", "is_committing"]

_serial = itertools.count()


class Workplace:
    """Part files and their record, locked by this process.

    Args:
        export: The export that the files are of.
        directory: Where they are.
        stem: The beginning of their names.
        book: The locked record on disk.
        record: What it says.
    """

    def __init__(self, export: Export, directory: Path, stem: str, book: RecordFile, record: Record) -> None:
        self._export = export
        self._directory = directory
        self._stem = stem
        self._book = book
        self._record = record

    @classmethod
    def open(cls, export: Export, directory: Path, *, resume: bool) -> Self:
        """Lock the files of an export, and take over what an earlier run left of the very same export.

        Raises:
            DiskError: Another process holds them, or something else is in their place.
        """
        stem, writer = export.stem, export.backend.writer
        book = RecordFile.acquire(directory / record_name(stem))
        try:
            if not book.holds():
                # Locks of this file system mean nothing, so the files under the usual names may be in use.
                if book.load() is None:
                    book.remove()
                book.close()
                stem, resume = f"{stem}.{writer}{next(_serial)}", False
                book = RecordFile.acquire(directory / record_name(stem))
            place = cls(export, directory, stem, book, Record(request=_digest(export), writer=writer))
            place._begin(resume=resume)
        except BaseException:
            book.close()
            raise
        return place

    @classmethod
    def finish(cls, export: Export, directory: Path, *, replace: bool) -> tuple[SavedFile, ...]:
        """Finish the renaming that a crash interrupted, if there is one."""
        if not is_committing(export, directory):
            return ()
        place = cls.open(export, directory, resume=True)
        try:
            # Another process may have finished it before the lock was ours.
            if not place.committing:
                return ()
            if place.is_intact():
                return place.commit(replace=replace)
            # Someone has moved or changed the files since.
            place.reset(0)
            return ()
        finally:
            place.close()

    @property
    def committing(self) -> bool:
        """Whether all parts are whole and the renaming to final names has begun."""
        return self._record.committing

    @property
    def parts(self) -> list[PartState]:
        """What is known of each part, in order; changes are kept by `save`."""
        return self._record.parts

    def open_part(self, number: int) -> PartFile:
        """Open the file of a part, with the bytes on disk that can be trusted; parts count from 1."""
        state = self.parts[number - 1]
        part = PartFile(self._part(number, len(self.parts)))
        try:
            part.adopt(state.offset, state.sha256)
        except BaseException:
            part.close()
            raise
        return part

    def reset(self, count: int) -> None:
        """Begin anew with a number of parts."""
        self._discard(len(self.parts))
        self._record.parts = [PartState() for _ in range(count)]
        self._record.committing = self._record.replacing = False
        self.save()

    def save(self) -> None:
        """Write down what is known of the parts."""
        self._book.save(self._record)

    def close_part(self, number: int, part: PartFile) -> None:
        """Sync a whole part and note its final name."""
        state = self.parts[number - 1]
        if not state.whole:
            part.sync()
        state.whole = True
        # An empty body writes nothing, so this may be the first time.
        state.offset, state.sha256 = part.size, part.sha256
        name = (self._export.stem, self._export.ending, number, len(self.parts))
        state.final = final_name(*name, gzip=part.is_gzip)
        self.save()

    def commit(self, *, replace: bool) -> tuple[SavedFile, ...]:
        """Give whole parts their final names, and forget the record.

        It may be run again after a crash in its middle: what has its final name already stays.

        Args:
            replace: Whether to replace all files of an older export; it may have had more parts, or another
                ending.
        """
        self._book.check_writer(self._record.writer)
        if not replace and not self.committing:
            for state in self.parts:
                check_free(self._directory / (state.final or ""))
        self._record.committing = True
        # Whoever finishes this after a crash has to do what was asked for here.
        self._record.replacing = replace = replace or self._record.replacing
        self.save()
        files: list[SavedFile] = []
        for number, state in enumerate(self.parts, 1):
            path = self._directory / (state.final or "")
            unfinished = self._part(number, len(self.parts))
            if unfinished.exists():
                place_file(unfinished, path, replace=replace)
            files.append(SavedFile(path, state.offset, state.sha256))
        if replace:
            self._drop_others({file.path.name for file in files})
        with disk_errors(self._directory, "sync"):
            sync_directory(self._directory)
        self._book.remove()
        return tuple(files)

    def close(self) -> None:
        """Keep what a next run can go on with, leave nothing else behind, and unlock."""
        kept = self.committing or any(part.offset for part in self.parts)
        try:
            # Files under names of this process only would not be found again.
            if self._book.is_open and not (kept and self._stem == self._export.stem):
                self._discard(len(self.parts))
                self._book.remove()
        finally:
            self._book.close()

    def _begin(self, *, resume: bool) -> None:
        old = self._book.load()
        if old is not None and resume and old.request == self._record.request:
            self._record.parts, self._record.committing = old.parts, old.committing
            self._record.replacing = old.replacing
        elif old is not None:
            self._discard(len(old.parts))
        elif not self._book.is_new:
            # A record that cannot be read does not tell the number of parts.
            with disk_errors(self._directory, "clear"):
                for name in find_parts(self._names(), self._stem, self._export.ending):
                    (self._directory / name).unlink()
        self.save()

    def is_intact(self) -> bool:
        """Tell whether all parts are there as the record says, under one name or the other."""
        for number, state in enumerate(self.parts, 1):
            unfinished = self._part(number, len(self.parts))
            path = unfinished if unfinished.exists() else self._directory / (state.final or "")
            if not path.is_file() or hash_file(path) != (state.offset, state.sha256):
                return False
        return True

    def _drop_others(self, names: Collection[str]) -> None:
        with disk_errors(self._directory, "clear"):
            for name in find_finals(self._names(), self._export.ending).get(self._export.stem, ()):
                if name not in names:
                    (self._directory / name).unlink(missing_ok=True)

    def _names(self) -> list[str]:
        return [path.name for path in self._directory.iterdir()]

    def _part(self, number: int, parts: int) -> Path:
        return self._directory / part_name(self._stem, self._export.ending, number, parts)

    def _discard(self, parts: int) -> None:
        for number in range(1, parts + 1):
            path = self._part(number, parts)
            with disk_errors(path, "remove"):
                path.unlink(missing_ok=True)


def is_committing(export: Export, directory: Path) -> bool:
    """Tell whether an earlier run was ended while it gave the files of an export their final names."""
    path = directory / record_name(export.stem)
    try:
        # A pipe in its place would never end.
        text = path.read_bytes() if path.is_file() else b""
    except OSError:
        return False
    record = Record.read(text)
    return record is not None and record.committing and record.request == _digest(export)


def _digest(export: Export) -> str:
    """Return what tells one export from another; it holds no secret."""
    request = export.request
    return hashlib.sha256(f"{export.kind} {request.method} {request.url}".encode() + request.body).hexdigest()
