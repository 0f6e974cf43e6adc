"""Counts of the runs of one to four words in a caption."""

from collections import Counter
from collections.abc import Sequence

LONGEST = 4
Counts = Counter[tuple[str, ...]]


def ngrams(words: Sequence[str]) -> Counts:
    """How often each run of at most LONGEST words occurs. A no-break space separates words here, as it does in
    pycocoevalcap."""
    parts = " ".join(words).split()
    return Counter(
        tuple(parts[start : start + size]) for size in range(1, LONGEST + 1) for start in range(len(parts) - size + 1)
    )


def length(counts: Counts) -> int:
    """The number of words that were counted."""
    return sum(count for ngram, count in counts.items() if len(ngram) == 1)
