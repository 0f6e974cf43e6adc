"""How many samples shards hold, as the programs noted that wrote them, so that no shard need be opened.

img2dataset leaves `00000_stats.json` beside each `00000.tar`, with `successes`; open_clip reads `sizes.json`, which
maps the shards' names in its folder to their samples.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.index_places import split_url
from mammut_clip.data.shards.retries import MissingShardError
from mammut_clip.data.shards.sources import PIPE, scheme_of
from mammut_clip.data.shards.storage import ShardStorage

_SIZES = "sizes.json"
_LARGEST = 64 * 2**20
_AT_ONCE = 16


def noted_counts(urls: Sequence[str], storage: ShardStorage) -> dict[str, int]:
    """The count of each shard. Raises InputError naming the first without one, or a file that cannot be understood."""
    sizes = {group: _sizes(group, storage) for group in {split_url(url)[0] for url in urls}}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        counts = list(pool.map(partial(_count, storage, sizes), urls))
    without = [url for url, count in zip(urls, counts, strict=True) if count is None]
    if without:
        more = f" (and {len(without) - 1} more of {len(urls)})" if len(without) > 1 else ""
        raise InputError(
            f"{without[0]}{more}: nobody noted how many samples it holds; expected {_SIZES} with it in its folder, or "
            "img2dataset's <name>_stats.json beside it; without --counts-only the shards are walked"
        )
    return {url: count for url, count in zip(urls, counts, strict=True) if count is not None}


def _count(storage: ShardStorage, sizes: dict[str, dict[str, Any]], url: str) -> int | None:
    group, name = split_url(url)
    if name in sizes[group]:
        return _checked(sizes[group][name], f"{group}/{_SIZES}: {name}")
    if scheme_of(url) == PIPE:
        return None
    path, mark, query = url.partition("?") if scheme_of(url) else (url, "", "")
    if not path.endswith(".tar"):
        return None
    stats = _json(f"{path.removesuffix('.tar')}_stats.json{mark}{query}", storage)
    return None if stats is None else _checked(stats.get("successes"), f"{path}: successes in its _stats.json")


def _checked(count: Any, what: str) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise InputError(f"{what} = {count!r}: expected a number of samples")
    return count


def _sizes(group: str, storage: ShardStorage) -> dict[str, Any]:
    return {} if scheme_of(group) == PIPE else _json(f"{group}/{_SIZES}", storage) or {}


def _json(url: str, storage: ShardStorage) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no such file."""
    try:
        text = storage.read(url, [(0, _LARGEST)])[0]
    except MissingShardError:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{url}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{url}: expected a JSON object, found {type(value).__name__}")
    return value
