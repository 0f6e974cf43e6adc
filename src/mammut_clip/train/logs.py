"""logs/: one file per attempt and rank, with the start, warnings, and the traceback of what ended it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger("mammut_clip")


class _AttemptFile(logging.FileHandler):
    """A log that cannot be written (a full disk) must not bury the error that is being reported."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        sys.stderr.write(f"log not written to {self.baseFilename}: {record.getMessage()}\n")


@contextmanager
def attempt_log(folder: Path, attempt: int, rank: int) -> Iterator[Path]:
    """Everything logged inside the block also goes to its own file; an exception goes there with its traceback."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"attempt-{attempt}-rank-{rank}.log"
    handler = _AttemptFile(path, encoding="utf-8")
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
        with suppress(OSError):
            handler.close()


def tell(message: str) -> None:
    """A line in the log, and one on standard error."""
    logger.info(message)
    print(message, file=sys.stderr, flush=True)
