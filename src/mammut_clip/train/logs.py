"""logs/: one file per attempt and rank, with the start, warnings, and the traceback of what ended it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("mammut_clip")


@contextmanager
def attempt_log(folder: Path, attempt: int, rank: int) -> Iterator[Path]:
    """Everything logged inside the block also goes to its own file; an exception goes there with its traceback."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"attempt-{attempt}-rank-{rank}.log"
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(handler)
    try:
        yield path
    except BaseException as error:
        logger.error("ended by %s", type(error).__name__, exc_info=error)
        raise
    finally:
        logging.getLogger("py.warnings").removeHandler(handler)
        logging.captureWarnings(False)
        logger.removeHandler(handler)
        handler.close()
