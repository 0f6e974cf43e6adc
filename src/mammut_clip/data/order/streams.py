"""Numbers that keep the random streams of the order apart: the second part of every `mix` in this package.

Runs continue under later versions only if these stay as they are; a new stream takes a new number.
"""

SHARDS = 1
"""Order of a data set's shards in an epoch."""
SAMPLES = 2
"""Order of the samples in a window."""
AUGMENTATION = 3
"""Seed of a position's random crop."""
LANES = 4
"""Which segment of an epoch each lane reads."""
PHASES = 5
"""Where in a window (of a stretch, where resampled) each lane begins."""
COMPLETE = 6
"""Order of the samples of an epoch that is shuffled completely."""
DRAWS = 7
"""Samples of a resampled data set that are drawn one by one."""
STRETCHES = 8
"""Where a resampled lane's stretches start."""
REPLACEMENT = 9
"""Samples that stand in for damaged ones."""
TURNS = 10
"""By how many columns the rows of a mixture are turned."""
