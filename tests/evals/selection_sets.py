"""SugarCrepe and Winoground in small, from pictures of the toy world."""

import itertools
import json
from pathlib import Path

from mammut_clip.config.evals import TaskConfig
from mammut_clip.data.evalsets import open_eval_set
from mammut_clip.data.toy_shards import write_toy_evals


def write_toy_sets(folder: Path) -> Path:
    """Below `folder`: the toy world's sets, wds_crepe (39 samples) and wds_ground (20)."""
    _, retrieval, _ = write_toy_evals(folder, pairs_per_class=2, retrieval=40, segmentation=1)
    dataset = open_eval_set(TaskConfig(name="pairs", kind="retrieval"), retrieval)
    pairs = [(sample.image, str(sample.target[0])) for sample in dataset]  # type: ignore[index]
    crepe, ground = folder / "wds_crepe", folder / "wds_ground"
    (crepe / "images").mkdir(parents=True)
    (ground / "images").mkdir(parents=True)
    wrong = {}
    for number, ((image, caption), (_, other)) in enumerate(itertools.pairwise(pairs)):
        (crepe / "images" / f"{number}.jpg").write_bytes(image)
        wrong[str(number)] = {"filename": f"{number}.jpg", "caption": caption, "negative_caption": other}
    (crepe / "swap_obj.json").write_text(json.dumps(wrong))
    examples = []
    for number, both in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
        example: dict[str, object] = {"id": number}
        for side, (image, caption) in enumerate(both):
            name = f"ex_{number}_img_{side}"
            (ground / "images" / f"{name}.jpg").write_bytes(image)
            example |= {f"image_{side}": name, f"caption_{side}": caption}
        examples.append(json.dumps(example))
    (ground / "examples.jsonl").write_text("\n".join(examples))
    return folder


CREPE = {"name": "crepe", "layout": "sugar_crepe", "split": "swap_obj"}
GROUND = {"name": "ground", "layout": "winoground"}
"""Keys of a task on them."""
