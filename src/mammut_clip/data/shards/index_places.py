"""Where the index of a shard is stored: one index per folder of shards, per parent of URLs, and for all pipes together.

It lies beside local shards as `shards.index`. Where that cannot be written, and for shards that are elsewhere, it lies
in the user's cache folder, or in the folder that the config names.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from mammut_clip.data.shards.sources import PIPE, scheme_of

INDEX_NAME = "shards.index"


@dataclass(frozen=True)
class IndexPlace:
    """One index, wherever its file is."""

    group: str
    """What its shards have in common: the folder, the URL up to the last slash, or `pipe:`."""
    written: tuple[Path, ...]
    """Where its main file may be written; each is tried if those before it cannot be."""
    read: tuple[Path, ...]
    """Where main files may be found."""

    @property
    def is_local(self) -> bool:
        """Whether the group is a folder that can be listed."""
        return not scheme_of(self.group)


def split_url(url: str) -> tuple[str, str]:
    """The group that a shard belongs to, and what it is called there."""
    if scheme_of(url) == PIPE:
        return f"{PIPE}:", url
    group, _, name = url.rpartition("/")
    return group or "/", name


def index_place(group: str, folder: str | None = None) -> IndexPlace:
    """Where the index of a group is, given the folder that the config names, if it does."""
    name = _file_name(group)
    cached = _cache_folder() / name
    beside = () if scheme_of(group) else (Path(group) / INDEX_NAME,)
    if folder is None:
        return IndexPlace(group, (*beside, cached), (*beside, cached))
    named = Path(folder).expanduser().absolute() / name
    return IndexPlace(group, (named,), (named, *beside, cached))


def _cache_folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "mammut-clip" / "indices"


def _file_name(group: str) -> str:
    """Readable, but without what is in front of a host's name: a password could be."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", "/".join(group.rpartition("@")[2].split("/")[-3:])).strip("-.")
    digest = hashlib.sha256(group.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{readable[-60:] or 'root'}-{digest}.index"
