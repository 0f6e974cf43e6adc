"""Whether the training data of a sweep's runs are there: the shards that their configs name, without torch."""

from collections.abc import Iterable

from mammut_clip.config.errors import InputError, Problem
from mammut_clip.config.run import RunConfig
from mammut_clip.data.shards.sources import expand_sources
from mammut_clip.sweep.findings import Findings


def check_data(configs: Iterable[RunConfig]) -> list[Problem]:
    """What is missing, each with the runs that want it; each set of sources is looked at once.

    Local shards and folders are looked for, folders of object stores listed; whether single remote shards are there is
    seen when they are read. Paths hold from the working directory, as in training.
    """
    found, said = Findings("the data"), dict[tuple[str, ...], str | None]()
    for config in configs:
        for number, dataset in enumerate(config.data.datasets):
            sources = tuple(dataset.sources)
            if sources not in said:
                said[sources] = _missing(dataset.sources)
            if (missing := said[sources]) is not None:
                is_mixture = dataset in config.data.train
                key = f"data.train.{number}.sources" if is_mixture else "data.train"
                found.add(config.name, [Problem(key, missing)])
    return found.problems


def _missing(sources: list[str]) -> str | None:
    try:
        expand_sources(sources)
    except InputError as error:
        return str(error)
    return None
