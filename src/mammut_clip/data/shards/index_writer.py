"""Adding to the stored index of some shards, while other processes may add to the same.

What is new is written as parts now and then (`flush`), so that little is lost when the program is stopped, and put
together with all that was there before at the end (`merge`).
"""

import logging
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.index_files import Entry, merge, part_of, write_index
from mammut_clip.data.shards.index_places import IndexPlace, index_place, split_url
from mammut_clip.data.shards.rows import Rows
from mammut_clip.data.shards.stamps import stamps_in_folder

_log = logging.getLogger(__name__)
_Content = tuple[Entry, Rows | None]


class IndexWriter:
    """What is found in some shards, on its way to index files."""

    def __init__(self, urls: Sequence[str], folder: str | None = None) -> None:
        """`folder`: where the config wants index files; None as in index_places.py."""
        self._places = {group: index_place(group, folder) for group in {split_url(url)[0] for url in urls}}
        self._mains: dict[str, Path] = {}
        self._new: dict[str, list[_Content]] = {}
        self.waiting = 0
        """Bytes of rows that are still to be written."""

    def add(self, url: str, entry: Entry, rows: Rows | None) -> None:
        """What was found in one shard."""
        self._new.setdefault(split_url(url)[0], []).append((entry, rows))
        self.waiting += 0 if rows is None else rows.nbytes

    def flush(self) -> None:
        """Write what is new. Raises InputError where none of the places can be written."""
        for group in list(self._new):
            contents = sorted(self._new[group], key=lambda content: content[0].name)
            if group in self._mains:
                write_index(part_of(self._mains[group]), contents)
            else:
                self._mains[group] = _write_first(self._places[group], contents)
            del self._new[group]
        self.waiting = 0

    def merge(self) -> None:
        """Put what was written together with what was there, but for shards that are gone. Failing does no harm."""
        for group, main in self._mains.items():
            try:
                merge(main, partial(_gone, self._places[group]))
            except InputError as error:
                _log.warning("the parts of %s stay as they are: %s", main, error)


def _write_first(place: IndexPlace, contents: list[_Content]) -> Path:
    """Write a part where that is possible; returns the main file that it belongs to."""
    problems = []
    for main in place.written:
        try:
            write_index(part_of(main), contents)
        except InputError as error:
            problems.append(str(error))
            continue
        because = f", since {'; '.join(problems)}" if problems else ""
        _log.info("the index of the shards in %s is kept in %s%s", place.group, main, because)
        return main
    raise InputError(
        f"the index of the shards in {place.group} can be kept nowhere: {'; '.join(problems)}; expected a folder that "
        "can be written as data.index (--folder of `mammut-clip data index`)"
    )


def _gone(place: IndexPlace, names: Collection[str]) -> set[str]:
    """Shards that do not exist any more; of those elsewhere nothing is known."""
    if not place.is_local:
        return set()
    try:
        return set(names) - stamps_in_folder(place.group, names).keys()
    except OSError:
        return set()
