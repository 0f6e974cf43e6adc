"""Looking shards up in what is stored of them, in whichever files of their places it is."""

from collections.abc import Sequence

from mammut_clip.data.shards.byte_ranges import Stamp
from mammut_clip.data.shards.index_files import IndexFile, Located, preferred, read_all
from mammut_clip.data.shards.index_places import index_place, split_url


class StoredIndex:
    """What is stored of some shards, as it was when they were first asked for."""

    def __init__(self, urls: Sequence[str], folder: str | None = None) -> None:
        """`folder`: where index files lie by the config; None as in index_places.py."""
        self._groups: dict[str, list[IndexFile]] = {}
        for group in dict.fromkeys(split_url(url)[0] for url in urls):
            self._groups[group] = [file for main in index_place(group, folder).read for file in read_all(main)]

    def matching(self, url: str, stamp: Stamp) -> Located | None:
        """What is known of the shard in this state: the deepest of what was found in it."""
        return _best([located for located in self._all(url) if located.entry.stamp == stamp])

    def newest(self, url: str) -> Located | None:
        """What was last known of the shard, which may have changed since."""
        return _best(self._all(url))

    def names(self, group: str) -> set[str]:
        """The shards of a group that are known."""
        return {name for file in self._groups[group] for name in file.shards}

    def _all(self, url: str) -> list[Located]:
        group, name = split_url(url)
        return [file.shards[name] for file in self._groups[group] if name in file.shards]


def _best(located: list[Located]) -> Located | None:
    best = None
    for one in located:
        best = preferred(best, one)
    return best
