"""The order of samples: a pure function from a position to the sample that stands there."""
