"""The toy world on disk, as the quickstart and `mammut-clip data toy` want it: train/ and evals/ in one folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mammut_clip.config.errors import InputError
from mammut_clip.config.quantity import parse_quantity

Progress = Callable[[int, int], None]


def make_toy_data(
    folder: Path,
    samples: str | int,
    seed: int = 0,
    image_size: int = 32,
    *,
    processes: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write training shards and evaluation sets below `folder`; what exists of the same recipe is kept.

    Returns counts for display. Raises InputError where the folder holds another recipe.
    """
    try:
        count = parse_quantity(samples)
    except ValueError as error:
        raise InputError(f"--samples = {samples!r}: {error}") from error
    from mammut_clip.data.toy_shards import write_toy_evals, write_toy_train  # torch-side imports

    index = write_toy_train(
        folder / "train", count, seed, image_size=image_size, processes=processes, progress=progress
    )
    sets = write_toy_evals(folder / "evals", seed, image_size)
    return index.summary() | {"evaluation_sets": [path.name for path in sets]}
