"""What users write for a set of shards -> the shards meant: absolute paths, URLs and `pipe:` commands.

Folders are listed, local ones and those of object stores; braces are expanded. Local shards exist when they leave
here; whether remote ones do is seen when they are first asked for (`ShardStorage.stamp`).
"""

import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mammut_clip.config.errors import InputError

PIPE = "pipe"
WEB = ("http", "https")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def scheme_of(source: str) -> str:
    """`s3` for `s3://bucket/a.tar`, `pipe` for `pipe:cat a.tar`, nothing for a path."""
    if source.startswith("pipe:"):
        return PIPE
    match = _SCHEME.match(source)
    return match[1].lower() if match else ""


def expand_sources(sources: list[str]) -> list[str]:
    """The shards of folders, single tars, URLs, brace patterns of either and `pipe:` commands, in the order given; a
    folder's are sorted by name, and hidden files left out.

    Raises InputError naming the source and the shard where a local one is missing or any stands twice, and for web
    folders, which cannot be listed.
    """
    shards = [shard for source in sources for shard in _expand(source)]
    if not shards:
        raise InputError(
            "no shards named; expected folders, tar files, URLs or brace patterns such as data/{00000..00099}.tar"
        )
    seen: set[str] = set()
    for shard in shards:
        if shard in seen:
            raise InputError(f"{shard}: named twice in {', '.join(sources)}; expected each shard once")
        seen.add(shard)
    return shards


def _expand(source: str) -> list[str]:
    if "{" not in source:
        return _shards(source, source)
    import braceexpand

    try:
        names = list(braceexpand.braceexpand(source))
    except ValueError as error:
        raise InputError(
            f"{source}: unbalanced braces; expected a pattern such as data/{{00000..00099}}.tar, and \\{{ and \\}} for "
            "braces that are meant as they stand"
        ) from error
    missing = [path for path in map(_local_path, names) if path is not None and not path.exists()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(f"{missing[0]}{more}: no such shard; named by the pattern {source} of {len(names)} files")
    return [shard for name in names for shard in _shards(name, source)]


def _local_path(name: str) -> Path | None:
    """Where a name without braces is on this machine; None for what is not."""
    scheme = scheme_of(name)
    if scheme == "file":
        return Path(url2pathname(urlsplit(name).path)).absolute()
    return None if scheme else Path(name).expanduser().absolute()


def _shards(name: str, source: str) -> list[str]:
    """The shards of one name without braces, which stands in `source`."""
    path = _local_path(name)
    if path is not None:
        return _local_shards(path, source)
    if scheme_of(name) == PIPE or not urlsplit(name).path.endswith("/"):
        return [name]
    if scheme_of(name) in WEB:
        raise InputError(
            f"{source}: the folders of web servers cannot be listed; expected the names of the shards, such as "
            f"{name}{{00000..00099}}.tar"
        )
    from mammut_clip.data.shards.remote_files import list_tars

    return list_tars(name)


def _local_shards(path: Path, source: str) -> list[str]:
    if path.is_dir():
        paths = sorted(p for p in path.glob("*.tar") if not p.name.startswith("."))
        if not paths:
            raise InputError(f"{source}: no .tar files in this folder; expected WebDataset shards such as 00000.tar")
        return [str(p) for p in paths]
    if not path.is_file():
        raise InputError(
            f"{source}: no such file or folder; expected a folder of shards, a tar file, a brace pattern, a URL or a "
            "pipe: command"
        )
    return [str(path)]
