"""How the program ends: 0 done, 2 bad input, 3 some parts failed, 128 + n stopped by signal n.

Bad input ends with one message, never a traceback.
"""

import sys
from collections.abc import Callable

from mammut_clip.config.errors import InputError, PartialFailureError, RunInterruptedError
from mammut_clip.runs.failures import leave_last_words


def guarded(work: Callable[[], int | None]) -> int:
    """Do the work and return the exit code; what the user can mend is printed as one message on standard error."""
    try:
        return work() or 0
    except (InputError, PartialFailureError) as error:
        print(f"error: {error}", file=sys.stderr)
        leave_last_words(error)
        return error.exit_code
    except RunInterruptedError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader, such as `head`, has gone; there is nobody to tell
        return 0
    except Exception as error:
        leave_last_words(error)
        raise
