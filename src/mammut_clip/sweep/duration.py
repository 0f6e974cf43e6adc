"""Times for people."""


def format_duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3.4 h` or `12 d`."""
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            value = seconds / divisor
            return f"{value:.1f} {unit}" if value < 10 and unit != "s" else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.1f} d"
