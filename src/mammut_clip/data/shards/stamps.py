"""The stamps of many shards at once: folders are listed rather than each file asked for, servers asked in parallel."""

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from mammut_clip.data.shards.byte_ranges import Stamp
from mammut_clip.data.shards.index_places import split_url
from mammut_clip.data.shards.sources import PIPE, scheme_of
from mammut_clip.data.shards.storage import ShardStorage

_REQUESTS_AT_ONCE = 32


def stamps_of(urls: Sequence[str], storage: ShardStorage) -> dict[str, Stamp]:
    """The stamp of each shard. Raises InputError naming one that is not there."""
    found: dict[str, Stamp] = {}
    folders: dict[str, dict[str, str]] = {}
    for url in urls:
        if not scheme_of(url):
            folder, name = split_url(url)
            folders.setdefault(folder, {})[name] = url
    for folder, inside in folders.items():
        found |= {inside[name]: stamp for name, stamp in stamps_in_folder(folder, inside).items()}
    # What is left is elsewhere, or missing, which the storage says in its words.
    left = [url for url in urls if url not in found]
    if len(left) > 1 and any(scheme_of(url) != PIPE for url in left):
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            return found | dict(zip(left, pool.map(storage.stamp, left), strict=True))
    return found | {url: storage.stamp(url) for url in left}


def stamps_in_folder(folder: str, names: Collection[str]) -> dict[str, Stamp]:
    """Name -> stamp of those of these files that are there. Raises OSError where the folder cannot be listed."""
    found = {}
    with os.scandir(folder) as listing:
        for entry in listing:
            if entry.name in names:
                with suppress(OSError):  # a link to nothing
                    state = entry.stat()
                    found[entry.name] = Stamp(state.st_size, str(state.st_mtime_ns))
    return found
