"""The npm packages `emoji-datasource-VENDOR` -> one CSV table of pictures, captions and groups per vendor.

    python docs/examples/emoji_tables.py data/emoji/node_modules data/emoji google twitter

reads NODE_MODULES/emoji-datasource-VENDOR/emoji.json and writes OUT/VENDOR.csv, a row per picture: the picture's
path, three captions (name, keywords, a sentence with the group) and the group that serves as its class.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

GROUPS = {
    "Smileys & Emotion": "smiley",
    "People & Body": "person",
    "Animals & Nature": "animal or plant",
    "Food & Drink": "food or drink",
    "Travel & Places": "place or vehicle",
    "Activities": "game or sport",
    "Objects": "object",
    "Symbols": "symbol",
    "Flags": "flag",
}
"""Category in emoji.json -> the class name that captions and zero-shot prompts use."""
COLUMNS = ("image", "name", "keywords", "sentence", "group")


def row(emoji: dict[str, Any], vendor: str) -> dict[str, str]:
    """A line of the table. A caption that would repeat the name stays empty; `data pack` leaves empty ones out."""
    name = emoji["name"].lower()
    words = " ".join(keyword.lower().replace("_", " ").replace("-", " ") for keyword in emoji["short_names"])
    group = GROUPS[emoji["category"]]
    return {
        "image": f"img/{vendor}/64/{emoji['image']}",
        "name": name,
        "keywords": words if words != name else "",
        "sentence": f"{group} emoji: {name}",
        "group": group,
    }


def write_table(package: Path, vendor: str, out: Path) -> int:
    """Write the table of a vendor's package; the number of its rows.

    Left out: pictures that the vendor does not have, and the five skin-tone swatches, which belong to no group.
    """
    emojis = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
    rows = [row(emoji, vendor) for emoji in emojis if emoji[f"has_img_{vendor}"] and emoji["category"] in GROUPS]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("node_modules", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("vendors", nargs="+", metavar="vendor")
    given = parser.parse_args()
    for vendor in given.vendors:
        table = given.out / f"{vendor}.csv"
        count = write_table(given.node_modules / f"emoji-datasource-{vendor}", vendor, table)
        print(f"{table}: {count:,} pictures")


if __name__ == "__main__":
    main()
