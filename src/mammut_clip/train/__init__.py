"""One training run: the loop, parallelism, optimiser, schedule, checkpoints, telemetry and interruption.

What comes in is a run directory with a config; what goes out is written into it. Evaluation reaches the loop as a
callback: this package knows nothing of it.
"""
