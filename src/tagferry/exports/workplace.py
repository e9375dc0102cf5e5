"""The unfinished files of one export, while this process works on them. Everything here blocks."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tagferry.errors import DiskError
from tagferry.exports.naming import final_name, find_finals, find_parts, part_name, record_name
from tagferry.exports.outcome import SavedFile
from tagferry.exports.part import PartFile, hash_file
from tagferry.exports.record import PartState, Record, RecordFile, Submission
from tagferry.files.disk import disk_errors, is_plain, look, names_in, sync_directory
from tagferry.files.place import check_free, check_there, place_file

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
        book, fresh = RecordFile.acquire(directory / record_name(stem)), False
        try:
            fresh = book.is_new
            if not book.holds():
                # Locks of this file system mean nothing, so the files under the usual names may be in use.
                if book.load() is None:
                    book.remove()
                book.close()
                stem, resume = f"{stem}.{writer}{next(_serial)}", False
                book, fresh = RecordFile.acquire(directory / record_name(stem)), True
            place = cls(export, directory, stem, book, Record(request=export.digest, writer=writer))
            place._begin(resume=resume)
        except BaseException:
            with contextlib.closing(book):
                # A record that says nothing owns nothing.
                if fresh and book.is_open:
                    book.remove()
            raise
        return place

    @classmethod
    def finish(cls, export: Export, directory: Path, *, replace: bool) -> tuple[SavedFile, ...] | None:
        """Finish the renaming that a crash interrupted; None if there is none."""
        if not is_committing(export, directory):
            return None
        place = cls.open(export, directory, resume=True)
        try:
            # Another process may have finished it before the lock was ours.
            if not place.committing:
                return None
            if place.is_intact():
                return place.commit(replace=replace)
            # Someone has moved or changed the files since.
            place.reset(0)
            return None
        finally:
            place.close()

    @classmethod
    def clear(cls, export: Export, directory: Path, *, replace: bool) -> None:
        """Leave nothing unfinished of an export that turned out to be empty.

        Args:
            export: The export.
            directory: Where its files are.
            replace: Whether the finished files of an older export go too: they would look like the answer.
                When a crash comes in between, the next run goes on with it.
        """
        if look(directory if replace else directory / record_name(export.stem)) is None:
            return
        place = cls.open(export, directory, resume=False)
        try:
            place.commit(replace=replace)
        finally:
            place.close()

    @property
    def submission(self) -> Submission | None:
        """What is known of the job that the files are of."""
        return self._record.submission

    def note_submission(self, submission: Submission | None) -> None:
        """Write down what is known of the job, so that it survives a power cut.

        Raises:
            DiskError: It could not be written; what was known before stands.
        """
        before, self._record.submission = self._record.submission, submission
        try:
            self.save()
            self._book.sync()
            if before is None:
                # The first time, the name of the record may be as new.
                sync_directory(self._directory)
        except DiskError:
            self._record.submission = before
            with contextlib.suppress(DiskError):
                self.save()
            raise

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
        if not self.committing:
            for number, state in enumerate(self.parts, 1):
                check_there(self._part(number, len(self.parts)))
                if not replace:
                    check_free(self._directory / (state.final or ""))
        self._record.committing = True
        # Whoever finishes this after a crash has to do what was asked for here.
        self._record.replacing = replace = replace or self._record.replacing
        self.save()
        files: list[SavedFile] = []
        for number, state in enumerate(self.parts, 1):
            path = self._directory / (state.final or "")
            unfinished = self._part(number, len(self.parts))
            if look(unfinished, follow=False):
                place_file(unfinished, path, replace=replace)
            files.append(SavedFile(path, state.offset, state.sha256))
        if replace:
            self._drop_others({file.path.name for file in files})
        sync_directory(self._directory)
        self._book.remove()
        return tuple(files)

    def close(self) -> None:
        """Keep what a next run can go on with, leave nothing else behind, and unlock."""
        kept = self.committing or self.submission or any(part.offset for part in self.parts)
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
            self._record.replacing, self._record.submission = old.replacing, old.submission
        elif old is not None:
            self._discard(len(old.parts))
        elif not self._book.is_new:
            if self._export.backend.submissions is not None and resume:
                msg = f"{self._book.path} cannot be read, and a job that was asked for may be written in it"
                raise DiskError(msg, hint="give --no-resume (resume=False) to ask for another one")
            # A record that cannot be read does not tell the number of parts.
            with disk_errors(self._directory, "clear"):
                for name in find_parts(names_in(self._directory), self._stem, self._export.ending):
                    (self._directory / name).unlink()
        self.save()

    def is_intact(self) -> bool:
        """Tell whether all parts are there as the record says, under one name or the other."""
        for number, state in enumerate(self.parts, 1):
            unfinished = self._part(number, len(self.parts))
            path = unfinished if look(unfinished) else self._directory / (state.final or "")
            if not is_plain(path) or hash_file(path) != (state.offset, state.sha256):
                return False
        return True

    def _drop_others(self, names: Collection[str]) -> None:
        with disk_errors(self._directory, "clear"):
            found = find_finals(names_in(self._directory), self._export.ending)
            for name in found.get(self._export.stem, ()):
                if name not in names:
                    (self._directory / name).unlink(missing_ok=True)

    def _part(self, number: int, parts: int) -> Path:
        return self._directory / part_name(self._stem, self._export.ending, number, parts)

    def _discard(self, parts: int) -> None:
        for number in range(1, parts + 1):
            path = self._part(number, parts)
            with disk_errors(path, "remove"):
                path.unlink(missing_ok=True)


def is_committing(export: Export, directory: Path) -> bool:
    """Tell whether an earlier run was ended while it gave the files of an export their final names.

    Raises:
        DiskError: It cannot be told. To go on as if it were not so could give two files one name.
    """
    path = directory / record_name(export.stem)
    # A pipe in its place would never end.
    if not is_plain(path):
        return False
    with disk_errors(path, "read the record"):
        try:
            record = Record.read(path.read_bytes())
        except FileNotFoundError:
            return False
    return record is not None and record.committing and record.request == export.digest
