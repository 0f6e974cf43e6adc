"""Metrics, from what a model gave and what is true; no model, no processes."""
