"""Random numbers as a pure function of where they are used: integers in, 64 well mixed bits out.

Everything random about data (order, crops, the toy world) is drawn this way, so that sample N is the same
whatever was drawn before it. The mixer is SplitMix64 (Steele, Lea and Flood, 2014), whose bits, unlike those
of numpy's distributions, cannot change with a version.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)


def _finalize(word: Words) -> Words:
    word = (word ^ (word >> np.uint64(30))) * _MULTIPLY_1
    word = (word ^ (word >> np.uint64(27))) * _MULTIPLY_2
    return word ^ (word >> np.uint64(31))


def mix(*parts: int | npt.NDArray[np.integer]) -> Words:
    """64 random bits for each combination of the parts, which broadcast; at least one dimension comes out."""
    state = np.zeros(1, dtype=np.uint64)
    for part in parts:
        word = np.atleast_1d(np.asarray(part)).astype(np.uint64)
        state = _finalize((state + _GOLDEN) ^ _finalize(word * _GOLDEN + _GOLDEN))
    return state


def permutation(count: int, *parts: int) -> npt.NDArray[np.int64]:
    """A permutation of range(count) that depends on the parts alone: the ranking of `count` random words."""
    return np.argsort(mix(*parts, np.arange(count)), kind="stable")


def below(bound: int, *parts: int | npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """A uniformly random integer below the bound for each combination of the parts."""
    return (mix(*parts) % np.uint64(bound)).astype(np.int64)
