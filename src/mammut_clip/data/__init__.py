"""Shards and evaluation sets: packing and indexing them, the order of samples, the elastic stream, text, the
toy world.

    shard files -> ShardIndex (counts, offsets) -> SampleOrder (position -> shard, sample, augmentation seed)
    -> TrainStream (bytes -> uint8 pictures and token ids) -> Batch

The only state of the whole chain is one integer, the position in samples seen.
"""
