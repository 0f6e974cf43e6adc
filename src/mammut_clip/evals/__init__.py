"""Zero-shot evaluation: tasks, suites, running them over checkpoints, result records.

Results are CLIP_benchmark's: the same prompts averaged the same way, the same metrics, the same JSON keys.
"""
