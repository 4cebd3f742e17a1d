"""The embedded image set: shaded, procedural faces whose every factor is known.

A face is a row of factors (pose, head, eyes, mouth, hair, light, wall …). `sample_factors` draws rows from a
documented joint distribution, `render` turns rows into images. Nothing is stored: image k of a seed is computed, and
it is the same whatever else is asked for with it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats
from tqdm.auto import tqdm

from aelib._face_kernels import draw
from aelib.threads import n_cores

VERSION = "1"  # of the picture that given factors make; a part of every cache key
BLOCK = 1024  # rows drawn from one random stream
_COMPILING = Lock()


@dataclass(frozen=True)
class Uniform:
    """Uniform distribution on [low, high].

    Parameters
    ----------
    low, high : float
        Its ends.
    """

    low: float
    high: float

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return the values below which the shares `u` lie.

        Parameters
        ----------
        u : array of float, shape (n,)
            Shares in [0, 1].

        Returns
        -------
        array of float, shape (n,)
            In the factor's unit.
        """
        return self.low + (self.high - self.low) * u

    def __str__(self) -> str:
        return f"uniform in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Normal:
    """Normal distribution truncated to [low, high].

    Parameters
    ----------
    mean, sd : float
        Mean and standard deviation before truncation.
    low, high : float
        Where it is cut off.
    """

    mean: float
    sd: float
    low: float
    high: float

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return the values below which the shares `u` lie.

        Parameters
        ----------
        u : array of float, shape (n,)
            Shares in [0, 1].

        Returns
        -------
        array of float, shape (n,)
            In the factor's unit.
        """
        low, high = (stats.norm.cdf((edge - self.mean) / self.sd) for edge in (self.low, self.high))
        return np.clip(self.mean + self.sd * stats.norm.ppf(low + (high - low) * u), self.low, self.high)

    def __str__(self) -> str:
        return f"normal, mean {self.mean:g}, sd {self.sd:g}, in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Quantiles:
    """Distribution with a piecewise linear quantile function.

    Parameters
    ----------
    shares : tuple of float
        Increasing, from 0 to 1.
    values : tuple of float
        The values below which these shares lie.
    """

    shares: tuple[float, ...]
    values: tuple[float, ...]

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return the values below which the shares `u` lie.

        Parameters
        ----------
        u : array of float, shape (n,)
            Shares in [0, 1].

        Returns
        -------
        array of float, shape (n,)
            In the factor's unit.
        """
        return np.interp(u, self.shares, self.values)

    def __str__(self) -> str:
        pairs = ", ".join(f"{100 * s:g} %: {v:g}" for s, v in zip(self.shares, self.values, strict=True))
        return f"quantiles {pairs}"


@dataclass(frozen=True)
class Presence:
    """1 with the given probability, else 0.

    Parameters
    ----------
    probability : float
        Of the 1, in [0, 1].
    """

    probability: float

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return 1 for the upper shares, as many as the probability, else 0.

        Parameters
        ----------
        u : array of float, shape (n,)
            Shares in [0, 1].

        Returns
        -------
        array of float, shape (n,)
            0 or 1.
        """
        return (u > 1.0 - self.probability).astype(float)

    def __str__(self) -> str:
        return f"1 with probability {self.probability:g}, else 0"


Distribution = Uniform | Normal | Quantiles | Presence


@dataclass(frozen=True)
class Factor:
    """One property of a face.

    Parameters
    ----------
    name : str
        Its column in a table of factors.
    meaning : str
        What a higher value does in the picture.
    unit : str
        Unit of its values. "head unit": the cheekbones lie at about 1 and -1; "relative": a multiple, or a
        strength without a natural unit; "share": between 0 and 1.
    distribution : Uniform, Normal, Quantiles or Presence
        Its marginal distribution.
    loadings : tuple of (str, float)
        Correlations of its normal score with the hidden causes named in `CAUSES`.
    """

    name: str
    meaning: str
    unit: str
    distribution: Distribution
    loadings: tuple[tuple[str, float], ...] = ()


CAUSES = ("masculine", "age", "melanin", "mood", "studio")
"""Hidden standard normal variables that several factors share; they are not factors themselves."""


def _factor(name: str, meaning: str, unit: str, distribution: Distribution, /, **loadings: float) -> Factor:
    return Factor(name, meaning, unit, distribution, tuple(loadings.items()))


def _relative(sd: float, reach: float) -> Normal:
    return Normal(1.0, sd, 1.0 - reach, 1.0 + reach)


FACTORS: tuple[Factor, ...] = (
    # pose and framing
    _factor("yaw", "turn to the image's right", "degree", Normal(0, 12, -30, 30)),
    _factor("pitch", "nod upward", "degree", Normal(0, 5.5, -14, 14)),
    _factor("roll", "tilt, counter-clockwise", "degree", Normal(0, 4.5, -13, 13)),
    _factor("scale", "size of the head", "relative", _relative(0.045, 0.13)),
    _factor("shift_x", "shift to the right", "image width", Normal(0, 0.012, -0.04, 0.04)),
    _factor("shift_y", "shift upward", "image height", Normal(0, 0.012, -0.04, 0.04)),
    # head
    _factor("head_width", "half-width at the cheekbones", "head unit",
            Normal(0.96, 0.045, 0.83, 1.09), masculine=0.3),
    _factor("head_height", "height of the skull", "relative", _relative(0.03, 0.09)),
    _factor("face_length", "eyes to chin", "relative", _relative(0.045, 0.13), masculine=0.4),
    _factor("jaw_width", "width of the jaw", "relative", _relative(0.075, 0.2), masculine=0.55),
    _factor("jaw_squareness", "egg-shaped (0) to square (1)", "share", Normal(0.4, 0.22, 0, 1), masculine=0.6),
    _factor("chin_size", "width and height of the chin", "relative", _relative(0.13, 0.35), masculine=0.4),
    _factor("cheekbones", "prominence of the cheekbones", "relative", _relative(0.35, 0.9), masculine=-0.2),
    _factor("cheek_fullness", "hollow to full cheeks", "relative", _relative(0.45, 1.0), age=-0.2),
    _factor("brow_ridge", "prominence of the brow ridge", "relative", _relative(0.35, 0.9), masculine=0.6),
    # nose
    _factor("nose_length", "eyes to the nose's base", "relative", _relative(0.06, 0.16), age=0.3),
    _factor("nose_width", "width of the wings", "relative", Normal(1.0, 0.13, 0.7, 1.4), melanin=0.45),
    _factor("nose_height", "how far the tip stands out", "head unit", Normal(0.33, 0.05, 0.2, 0.48), melanin=-0.25),
    _factor("nose_bridge", "height of the bridge", "relative", _relative(0.3, 0.8), melanin=-0.3),
    _factor("nose_tip", "upturned tip", "relative", Normal(0.0, 0.4, -1, 1), masculine=-0.3),
    # eyes
    _factor("eye_spacing", "distance of the eyes", "relative", _relative(0.045, 0.12)),
    _factor("eye_size", "size of the eyes", "relative", _relative(0.08, 0.2), masculine=-0.35),
    _factor("eye_open", "opening of the lids", "relative", Normal(0.92, 0.15, 0.45, 1.4), mood=-0.3, age=-0.2),
    _factor("eye_slant", "outer corners up", "relative", Normal(0.25, 0.7, -1.5, 2.0)),
    _factor("eye_depth", "depth of the sockets", "relative", _relative(0.3, 0.8), masculine=0.3),
    _factor("gaze_x", "look to the image's right", "relative", Normal(0, 0.35, -1, 1)),
    _factor("gaze_y", "look upward", "relative", Normal(0, 0.25, -0.8, 0.8)),
    _factor("iris_darkness", "blue (0) over green to black-brown (1)", "share",
            Quantiles((0, 0.25, 0.4, 1), (0, 0.25, 0.6, 1)), melanin=0.85),
    _factor("pupil", "radius of the pupil over the iris", "share", Normal(0.42, 0.07, 0.25, 0.62)),
    _factor("lid_crease", "fold of the upper lid", "relative", _relative(0.4, 1.0)),
    _factor("eye_makeup", "lashes and shadow", "share", Quantiles((0, 0.4, 1), (0, 0.08, 0.9)), masculine=-0.75),
    # brows
    _factor("brow_height", "height over the eyes", "relative", _relative(0.08, 0.2), masculine=-0.4, mood=0.2),
    _factor("brow_arch", "arch", "relative", Normal(0.8, 0.4, -0.2, 1.8), masculine=-0.4),
    _factor("brow_tilt", "outer ends up", "relative", Normal(0.0, 0.4, -1.1, 1.1)),
    _factor("brow_thickness", "thickness", "relative", _relative(0.2, 0.5), masculine=0.55),
    _factor("brow_density", "opacity", "share", Normal(0.8, 0.13, 0.4, 1.0), age=-0.2),
    # mouth
    _factor("mouth_drop", "nose to mouth", "relative", _relative(0.09, 0.25), masculine=0.2),
    _factor("mouth_width", "width", "relative", _relative(0.09, 0.24)),
    _factor("lip_upper", "fullness of the upper lip", "relative",
            _relative(0.25, 0.65), melanin=0.35, age=-0.3, masculine=-0.3),
    _factor("lip_lower", "fullness of the lower lip", "relative",
            _relative(0.22, 0.6), melanin=0.35, age=-0.2, masculine=-0.3),
    _factor("lip_colour", "natural (0) to painted (1)", "share",
            Quantiles((0, 0.5, 1), (0, 0.1, 0.95)), masculine=-0.75),
    _factor("lip_hue", "pink (-1) to orange-red (1)", "relative", Normal(0, 0.6, -1.5, 1.5)),
    _factor("smile", "corners of the mouth up", "relative", Normal(0.5, 0.42, -0.4, 1.3), mood=0.85),
    _factor("mouth_open", "opening of the mouth", "share", Quantiles((0, 0.45, 1), (0, 0, 0.75)), mood=0.65),
    # skin
    _factor("skin_melanin", "fair (0) to dark (1)", "share",
            Quantiles((0, 0.5, 0.8, 1), (0, 0.28, 0.58, 1)), melanin=0.95),
    _factor("skin_redness", "sallow to ruddy", "relative", Normal(0.0, 0.5, -1.2, 1.2)),
    _factor("skin_gloss", "matt to shiny", "relative", Normal(0.5, 0.2, 0.05, 1.1)),
    _factor("blush", "red of cheeks and nose", "share", Normal(0.4, 0.25, 0, 1), masculine=-0.25),
    _factor("age", "folds, bags and lines", "share", Quantiles((0, 0.6, 1), (0, 0.3, 1)), age=0.9),
    # hair
    _factor("hair_length", "cropped (0) to breast-long (1)", "share",
            Quantiles((0, 0.42, 0.5, 1), (0.03, 0.22, 0.45, 1.0)), masculine=-0.85),
    _factor("hair_volume", "thickness over the skull", "head unit", Normal(0.15, 0.05, 0.03, 0.32), age=-0.25),
    _factor("hair_flare", "widening of long hair", "relative", Normal(0.05, 0.09, -0.15, 0.3)),
    _factor("hairline", "height of the hairline", "head unit",
            Normal(0.98, 0.09, 0.75, 1.28), age=0.3, masculine=0.3),
    _factor("hair_parting", "parting to the image's right", "relative", Normal(0, 0.55, -1.3, 1.3)),
    _factor("fringe", "none (0) to full (1)", "share",
            Quantiles((0, 0.68, 1), (0, 0.1, 1.0)), masculine=-0.25, age=-0.3),
    _factor("hair_cover", "hair over the cheeks", "share", Uniform(0.0, 1.0)),
    _factor("hair_wave", "straight (0) to wavy", "relative", Quantiles((0, 0.5, 1), (0.0, 0.4, 2.2)), melanin=0.3),
    _factor("hair_darkness", "blond (0) to black (1)", "share",
            Quantiles((0, 0.22, 0.5, 1), (0, 0.42, 0.75, 1.0)), melanin=0.8),
    _factor("hair_red", "red tint", "share", Quantiles((0, 0.7, 1), (0, 0.12, 0.8)), melanin=-0.3),
    _factor("hair_grey", "grey", "share", Quantiles((0, 0.72, 0.85, 1), (0, 0.04, 0.3, 1.0)), age=0.8),
    _factor("hair_gloss", "matt to glossy", "relative", Normal(0.8, 0.3, 0.1, 1.7), age=-0.2),
    _factor("strand_contrast", "contrast of strands", "relative", Normal(0.5, 0.18, 0.1, 1.0)),
    _factor("strand_phase", "which strands are bright", "radian", Uniform(0.0, 6.283)),
    _factor("beard", "stubble to full beard", "share",
            Quantiles((0, 0.7, 0.82, 1), (0, 0, 0.25, 0.92)), masculine=0.85, age=0.15),
    _factor("moustache", "stubble to full moustache", "share",
            Quantiles((0, 0.68, 0.82, 1), (0, 0, 0.25, 0.95)), masculine=0.85, age=0.2),
    # glasses, ears, body
    _factor("glasses", "glasses are worn", "0 or 1", Presence(0.14), age=0.35),
    _factor("glasses_size", "size of the lenses", "relative", _relative(0.09, 0.22)),
    _factor("glasses_roundness", "angular (0) to round (1)", "share", Uniform(0.0, 1.0)),
    _factor("glasses_thickness", "thin (0) to thick (1) frame", "share", Uniform(0.0, 1.0)),
    _factor("glasses_tone", "black (0) to bright (1) frame", "share", Quantiles((0, 0.6, 1), (0, 0.25, 1))),
    _factor("ear_size", "size of the ears", "relative", _relative(0.1, 0.25), masculine=0.3, age=0.3),
    _factor("neck_width", "width of the neck", "relative", _relative(0.09, 0.22), masculine=0.6),
    _factor("shoulder_slope", "square to sloping shoulders", "relative", _relative(0.3, 0.8), masculine=-0.35),
    _factor("collar_depth", "high collar to deep neckline", "head unit",
            Quantiles((0, 0.5, 1), (-0.12, 0.12, 0.7)), masculine=-0.4),
    _factor("cloth_hue", "hue of the clothes", "turn", Uniform(0.0, 1.0)),
    _factor("cloth_saturation", "colourfulness of the clothes", "share", Quantiles((0, 0.5, 1), (0.0, 0.3, 0.85))),
    _factor("cloth_value", "dark to bright clothes", "share", Uniform(0.1, 0.95)),
    # light
    _factor("light_azimuth", "light from the image's right", "degree", Normal(0, 28, -62, 62)),
    _factor("light_elevation", "light from above", "degree", Normal(30, 13, -4, 62)),
    _factor("light_key", "strength of the key light", "relative", Normal(0.85, 0.13, 0.5, 1.2), studio=0.3),
    _factor("light_ambient", "strength of the ambient light", "relative", Normal(0.36, 0.08, 0.16, 0.6), studio=0.3),
    _factor("light_warmth", "cold (-1) to warm (1) light", "relative", Normal(0.15, 0.5, -1, 1.2), studio=-0.3),
    # wall
    _factor("wall_hue", "hue of the background", "turn", Uniform(0.0, 1.0)),
    _factor("wall_hue_shift", "change of hue across it", "turn", Normal(0, 0.06, -0.2, 0.2)),
    _factor("wall_saturation", "colourfulness of the background", "share",
            Quantiles((0, 0.6, 1), (0.02, 0.18, 0.48)), studio=-0.4),
    _factor("wall_value", "dark to bright background", "share",
            Quantiles((0, 0.5, 1), (0.08, 0.55, 0.97)), studio=0.6),
    _factor("wall_contrast", "change of brightness across it", "relative", Normal(0, 0.22, -0.55, 0.55)),
    _factor("wall_angle", "direction of the change", "degree", Uniform(-180.0, 180.0)),
    _factor("wall_offset", "where the change lies", "image width", Normal(0, 0.2, -0.5, 0.5)),
    _factor("wall_softness", "sharp to soft change", "image width", Quantiles((0, 0.3, 1), (0.03, 0.2, 0.7))),
    _factor("blob_hue", "hue of the blurred light", "turn", Uniform(0.0, 1.0)),
    _factor("blob_x", "its place, from the left", "image width", Uniform(-0.05, 1.05)),
    _factor("blob_y", "its place, from the top", "image height", Uniform(-0.05, 0.8)),
    _factor("blob_size", "its radius", "image width", Uniform(0.12, 0.4)),
    _factor("blob_strength", "its strength", "share", Quantiles((0, 0.45, 1), (0, 0.05, 0.7))),
    _factor("vignette", "darkening of the corners", "relative", Normal(0.35, 0.25, 0, 1)),
)  # fmt: skip
NAMES = tuple(factor.name for factor in FACTORS)


def factor_table() -> pd.DataFrame:
    """List the factors.

    Returns
    -------
    pandas.DataFrame
        One row per factor, indexed by its name: meaning, unit, distribution and loadings on the hidden causes.

    Examples
    --------
    >>> factor_table().loc["yaw", "unit"]
    'degree'
    """
    rows = [
        (f.name, f.meaning, f.unit, str(f.distribution), ", ".join(f"{c} {v:+g}" for c, v in f.loadings))
        for f in FACTORS
    ]
    columns = ["name", "meaning", "unit", "distribution", "loadings"]
    return pd.DataFrame(rows, columns=columns).set_index("name")


def score_correlation() -> Float[np.ndarray, "k k"]:
    """Return the correlation matrix of the factors' normal scores: what couples the factors.

    Returns
    -------
    array of float, shape (k, k)
        For the k factors, in the order of `FACTORS`.

    Examples
    --------
    >>> i, j = NAMES.index("beard"), NAMES.index("hair_length")
    >>> float(score_correlation()[i, j].round(4))
    -0.7225
    """
    loadings = _loadings()
    correlation = loadings @ loadings.T
    np.fill_diagonal(correlation, 1.0)
    return correlation


def typical_factors(n: int = 1) -> pd.DataFrame:
    """Return the face with every factor at its median, to start from when one factor is varied.

    Parameters
    ----------
    n : int
        Number of equal rows, at least 1.

    Returns
    -------
    pandas.DataFrame, shape (n, k)
        One column per factor.

    Raises
    ------
    ValueError
        If `n` is smaller than 1.

    Examples
    --------
    >>> faces = typical_factors(3)
    >>> faces["yaw"] = [-20, 0, 20]
    >>> render(faces, size=32).shape
    (3, 32, 32, 3)
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}.")
    median = {f.name: f.distribution.quantile(np.array([0.5]))[0] for f in FACTORS}
    return pd.DataFrame([median] * n, columns=list(NAMES), dtype=float)


def sample_factors(indices: Sequence[int] | Int[np.ndarray, " n"], *, seed: int) -> pd.DataFrame:
    """Draw the factors of images from their joint distribution, a Gaussian copula.

    Each factor has a standard normal score. A score is a sum of hidden causes, weighted by the factor's loadings,
    and of its own noise; the factor's quantile function turns it into a value. So the factors have the stated
    distributions, and `score_correlation` says how they go together.

    Parameters
    ----------
    indices : sequence of int, length n
        Which images of the seed's endless sequence, counted from 0; in any order, repeated or not.
    seed : int
        Names the sequence, at least 0.

    Returns
    -------
    pandas.DataFrame, shape (n, k)
        One row per index, one column per factor. A row depends on its index and the seed alone.

    Raises
    ------
    ValueError
        If an index or the seed is negative or not a whole number.

    References
    ----------
    .. [1] R. B. Nelsen (2006), An Introduction to Copulas, 2nd ed., Springer.

    Examples
    --------
    >>> first = sample_factors([0, 1, 2], seed=7)
    >>> bool((sample_factors([2], seed=7).loc[0] == first.loc[2]).all())
    True
    """
    wanted = np.asarray(indices)
    if wanted.ndim != 1 or (wanted.size and (wanted.dtype.kind not in "iu" or wanted.min() < 0)):
        raise ValueError("indices must be a sequence of whole numbers of at least 0.")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, not {seed!r}.")
    rows = np.empty((wanted.size, len(FACTORS)))
    for block in np.unique(wanted // BLOCK).tolist():
        here = wanted // BLOCK == block
        rows[here] = _draw_block(block, seed)[wanted[here] % BLOCK]
    return pd.DataFrame(rows, columns=list(NAMES))


@lru_cache(maxsize=4)
def _draw_block(block: int, seed: int) -> Float[np.ndarray, "b k"]:
    rng = np.random.default_rng([seed, block])
    own, causes = rng.standard_normal((BLOCK, len(FACTORS))), rng.standard_normal((BLOCK, len(CAUSES)))
    loadings = _loadings()
    scores = own * np.sqrt(1.0 - (loadings**2).sum(axis=1))
    for cause, loading in zip(
        causes.T, loadings.T, strict=True
    ):  # in this order on all machines, unlike a product
        scores += np.outer(cause, loading)
    shares = stats.norm.cdf(scores)
    return np.stack([f.distribution.quantile(u) for f, u in zip(FACTORS, shares.T, strict=True)], axis=1)


def _loadings() -> Float[np.ndarray, "k c"]:
    return np.array([[dict(f.loadings).get(cause, 0.0) for cause in CAUSES] for f in FACTORS])


def render(
    factors: pd.DataFrame, *, size: int = 96, n_threads: int | None = None
) -> Float[np.ndarray, "n size size 3"]:
    """Draw faces.

    Parameters
    ----------
    factors : pandas.DataFrame, shape (n, k)
        One row per face with all columns of `NAMES`, as `sample_factors` and `typical_factors` give. Values outside a
        factor's usual range are drawn as they are; the picture may then be odd.
    size : int
        Height and width of the images in pixels, at least 8.
    n_threads : int or None
        Threads to draw with, at least 1: one where whoever calls has others at work. None takes all cores.

    Returns
    -------
    array of float32, shape (n, size, size, 3)
        RGB images with values in [0, 1], the same for any number of threads.

    Raises
    ------
    ValueError
        If a column is missing, a value is not a finite number, or the size or the number of threads is too small.

    Notes
    -----
    The first call on a machine compiles the renderer, which takes some twenty seconds and shows a bar; Numba keeps the
    result.

    Examples
    --------
    >>> render(sample_factors(range(4), seed=7), size=48).shape
    (4, 48, 48, 3)
    """
    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, not {size}.")
    if n_threads is not None and n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, not {n_threads}.")
    records = _records(factors)
    _compile_once()
    images = np.empty((len(records), size, size, 3), dtype=np.float32)
    parts = max(1, min(n_threads or n_cores(), len(records)))
    if parts == 1:
        draw(records, images)
        return images
    edges = np.linspace(0, len(records), parts + 1).astype(int)
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(lambda low, high: draw(records[low:high], images[low:high]), edges[:-1], edges[1:]))
    return images


def _compile_once() -> None:
    """Compile the renderer, with a bar where that is not on disk yet: it takes a while."""
    with _COMPILING:
        if draw.signatures or any(Path(draw.stats.cache_path).glob("_face_kernels.draw-*.nbc")):
            return
        with tqdm(total=1, desc="compiling the renderer (once)") as bar:
            draw(_records(typical_factors()), np.empty((1, 8, 8, 3), np.float32))
            bar.update()


def _records(factors: pd.DataFrame) -> np.ndarray:
    """Return the factors as the contiguous records that the compiled renderer reads."""
    missing = [name for name in NAMES if name not in factors.columns]
    if missing:
        raise ValueError(
            f"factors lacks the columns {missing}: start from typical_factors() or sample_factors()."
        )
    values = factors[list(NAMES)].to_numpy(dtype=float)
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(k[0]) for k in np.nonzero(bad))
        raise ValueError(
            f"factors must be finite, but {NAMES[column]} of row {row} is {values[row, column]}."
        )
    record = np.dtype([(name, np.float64) for name in NAMES])
    return np.ascontiguousarray(values).view(record).reshape(len(values))
