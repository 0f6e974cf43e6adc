"""What users write for a set of shards -> the tar files meant, each of which exists."""

from pathlib import Path

from mammut_clip.config.errors import InputError


def expand_sources(sources: list[str]) -> list[Path]:
    """The tar files of folders, single tars and brace patterns, in the order given; a folder's are sorted by
    name.

    Raises InputError naming the source and the file where one is missing or stands twice.
    """
    paths = [path for source in sources for path in _expand(source)]
    if not paths:
        raise InputError(
            "no shards named; expected folders, tar files or brace patterns such as data/{00000..00099}.tar"
        )
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            raise InputError(f"{path}: named twice in {', '.join(sources)}; expected each shard once")
        seen.add(path)
    return paths


def _expand(source: str) -> list[Path]:
    if "{" in source:
        return _expand_braces(source)
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        paths = sorted(p for p in path.glob("*.tar") if not p.name.startswith("."))
        if not paths:
            raise InputError(f"{source}: no .tar files in this folder; expected WebDataset shards such as 00000.tar")
        return paths
    if not path.is_file():
        raise InputError(
            f"{source}: no such file or folder; expected a folder of shards, a tar file or a brace pattern"
        )
    return [path]


def _expand_braces(source: str) -> list[Path]:
    import braceexpand

    try:
        names = list(braceexpand.braceexpand(source))
    except ValueError as error:
        raise InputError(
            f"{source}: unbalanced braces; expected a pattern such as data/{{00000..00099}}.tar"
        ) from error
    paths = [Path(name).expanduser().absolute() for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(f"{missing[0]}{more}: no such shard; named by the pattern {source} of {len(paths)} files")
    return paths
