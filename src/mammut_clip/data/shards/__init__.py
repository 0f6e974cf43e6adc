"""Shards: where they are, how their bytes are read, and the index of what is in them."""
