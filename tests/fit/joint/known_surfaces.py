"""Surfaces of known parameters over a grid like the paper's, and noise about them."""

import numpy as np

SIZES = np.array([5.5, 9.7, 14.5, 20.8, 46.8, 132.0, 300.0])
SAMPLES = np.array([1.28e6, 3e6, 6.4e6, 1.28e7, 3e7, 6.4e7, 1.28e8, 3e8, 6.4e8, 1.28e9, 3e9])
PARAMS = {"A": 0.7, "alpha": 0.4, "B": 2.0e4, "beta": 0.58, "E": 0.05}


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Size and samples of every cell, [77] each."""
    size, samples = np.meshgrid(SIZES, SAMPLES, indexing="ij")
    return size.ravel(), samples.ravel()


def surface(
    form: str, size: np.ndarray, samples: np.ndarray, *, error_at_zero: float = 0.999, p: float = 2.5
) -> np.ndarray:
    """The surface of PARAMS, written out as in the docs."""
    a, b = PARAMS["A"] * size ** -PARAMS["alpha"], PARAMS["B"] * samples ** -PARAMS["beta"]
    if form == "chinchilla":
        return np.asarray(PARAMS["E"] + a + b)
    if form == "interaction":
        return np.asarray(PARAMS["E"] + (a**p + b**p) ** (1 / p))
    s = PARAMS["E"] + a + b
    return np.asarray(error_at_zero * s / np.sqrt(1 + s**2))


def noisy(rng: np.random.Generator, form: str, noise: float) -> np.ndarray:
    """The surface over the grid with log-normal noise."""
    y = surface(form, *grid())
    return np.asarray(y * np.exp(rng.normal(0, noise, y.shape)))
