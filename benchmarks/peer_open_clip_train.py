"""open_clip_train with one more model config; runs in the peers' environment, so it imports nothing of ours.

python -m benchmarks.peer_open_clip_train MODEL.json [open_clip_train's own options]

The model's name is the file's stem.
"""

import sys

import open_clip
from open_clip_train.main import main

if __name__ == "__main__":
    open_clip.add_model_config(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
