"""Toy-world samples drawn, encoded, written and indexed per second of one core; the floor is our own."""

from benchmarks.result import Measurement, Row, Settings
from mammut_clip.data.toy_shards import measure as measure_writing

QUESTION = "How many toy-world samples are written per second of one core?"
FLOOR = 2000.0


def measure(settings: Settings) -> Measurement:
    """One row, in seconds of CPU time, which other work on the machine disturbs less than wall time."""
    speeds = [measure_writing()["samples_per_cpu_second"] for _ in range(settings.repeats)]
    row = Row("32 px, 8,192 samples", "samples / CPU second", "higher", speeds, target=FLOOR)
    return Measurement([row], ["There is no peer: no other program draws this world."])
