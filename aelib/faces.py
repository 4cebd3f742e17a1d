"""The embedded image set: shaded, procedural faces whose every factor is known.

A face is a row of factors (pose, head, eyes, mouth, hair, light, wall …). `sample_factors` draws rows from a documented
joint distribution, `render` turns rows into images. Nothing is stored: image k of a seed is computed, and it is the same
whatever else is asked for with it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
import os

from jaxtyping import Float
import numpy as np
import pandas as pd
from scipy import stats

from aelib._face_kernels import draw

VERSION = "1"  # of the picture that given factors make; a part of every cache key
BLOCK = 1024  # rows drawn from one random stream


@dataclass(frozen=True)
class Uniform:
    """Uniform distribution on [low, high]."""

    low: float
    high: float

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Value below which a share `u` lies."""
        return self.low + (self.high - self.low) * u

    def __str__(self) -> str:
        return f"uniform in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Normal:
    """Normal distribution truncated to [low, high]."""

    mean: float
    sd: float
    low: float
    high: float

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Value below which a share `u` lies."""
        low, high = (stats.norm.cdf((edge - self.mean) / self.sd) for edge in (self.low, self.high))
        return np.clip(self.mean + self.sd * stats.norm.ppf(low + (high - low) * u), self.low, self.high)

    def __str__(self) -> str:
        return f"normal, mean {self.mean:g}, sd {self.sd:g}, in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Quantiles:
    """Distribution given by values at shares 0 … 1, linear between them."""

    shares: tuple[float, ...]
    values: tuple[float, ...]

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Value below which a share `u` lies."""
        return np.interp(u, self.shares, self.values)

    def __str__(self) -> str:
        pairs = ", ".join(f"{100 * s:g} %: {v:g}" for s, v in zip(self.shares, self.values, strict=True))
        return f"quantiles {pairs}"


@dataclass(frozen=True)
class Presence:
    """1 with the given probability, else 0."""

    probability: float

    def quantile(self, u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """1 for the upper share `probability` of `u`, else 0."""
        return (u > 1.0 - self.probability).astype(float)

    def __str__(self) -> str:
        return f"1 with probability {self.probability:g}, else 0"


Distribution = Uniform | Normal | Quantiles | Presence


@dataclass(frozen=True)
class Factor:
    """One property of a face.

    Attributes
    ----------
    name : str
        Column in the factor table.
    meaning : str
        What it does in the picture.
    unit : str
        Unit of its values; "relative" means 1 is typical, "share" means 0 to 1.
    distribution : Distribution
        Its marginal distribution.
    loadings : dict
        Loadings of its normal score on the hidden causes `CAUSES`; the rest of its unit variance is its own.
    """

    name: str
    meaning: str
    unit: str
    distribution: Distribution
    loadings: tuple[tuple[str, float], ...] = ()


CAUSES = ("masculine", "age", "melanin", "mood", "studio")


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
    _factor("head_width", "half-width at the cheekbones", "head unit", Normal(0.96, 0.045, 0.83, 1.09), masculine=0.3),
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
    _factor("iris_darkness", "blue (0) over green to black-brown (1)", "share", Quantiles((0, 0.25, 0.4, 1), (0, 0.25, 0.6, 1)), melanin=0.85),
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
    _factor("lip_upper", "fullness of the upper lip", "relative", _relative(0.25, 0.65), melanin=0.35, age=-0.3, masculine=-0.3),
    _factor("lip_lower", "fullness of the lower lip", "relative", _relative(0.22, 0.6), melanin=0.35, age=-0.2, masculine=-0.3),
    _factor("lip_colour", "natural (0) to painted (1)", "share", Quantiles((0, 0.5, 1), (0, 0.1, 0.95)), masculine=-0.75),
    _factor("lip_hue", "pink (-1) to orange-red (1)", "relative", Normal(0, 0.6, -1.5, 1.5)),
    _factor("smile", "corners of the mouth up", "relative", Normal(0.5, 0.42, -0.4, 1.3), mood=0.85),
    _factor("mouth_open", "opening of the mouth", "share", Quantiles((0, 0.45, 1), (0, 0, 0.75)), mood=0.65),
    # skin
    _factor("skin_melanin", "fair (0) to dark (1)", "share", Quantiles((0, 0.5, 0.8, 1), (0, 0.28, 0.58, 1)), melanin=0.95),
    _factor("skin_redness", "sallow to ruddy", "relative", Normal(0.0, 0.5, -1.2, 1.2)),
    _factor("skin_gloss", "matt to shiny", "relative", Normal(0.5, 0.2, 0.05, 1.1)),
    _factor("blush", "red of cheeks and nose", "share", Normal(0.4, 0.25, 0, 1), masculine=-0.25),
    _factor("age", "folds, bags and lines", "share", Quantiles((0, 0.6, 1), (0, 0.3, 1)), age=0.9),
    # hair
    _factor("hair_length", "cropped (0) to breast-long (1)", "share", Quantiles((0, 0.42, 0.5, 1), (0.03, 0.22, 0.45, 1.0)), masculine=-0.85),
    _factor("hair_volume", "thickness over the skull", "head unit", Normal(0.15, 0.05, 0.03, 0.32), age=-0.25),
    _factor("hair_flare", "widening of long hair", "relative", Normal(0.05, 0.09, -0.15, 0.3)),
    _factor("hairline", "height of the hairline", "head unit", Normal(0.98, 0.09, 0.75, 1.28), age=0.3, masculine=0.3),
    _factor("hair_parting", "parting to the image's right", "relative", Normal(0, 0.55, -1.3, 1.3)),
    _factor("fringe", "none (0) to full (1)", "share", Quantiles((0, 0.68, 1), (0, 0.1, 1.0)), masculine=-0.25, age=-0.3),
    _factor("hair_cover", "hair over the cheeks", "share", Uniform(0.0, 1.0)),
    _factor("hair_wave", "straight (0) to wavy", "relative", Quantiles((0, 0.5, 1), (0.0, 0.4, 2.2)), melanin=0.3),
    _factor("hair_darkness", "blond (0) to black (1)", "share", Quantiles((0, 0.22, 0.5, 1), (0, 0.42, 0.75, 1.0)), melanin=0.8),
    _factor("hair_red", "red tint", "share", Quantiles((0, 0.7, 1), (0, 0.12, 0.8)), melanin=-0.3),
    _factor("hair_grey", "grey", "share", Quantiles((0, 0.72, 0.85, 1), (0, 0.04, 0.3, 1.0)), age=0.8),
    _factor("hair_gloss", "matt to glossy", "relative", Normal(0.8, 0.3, 0.1, 1.7), age=-0.2),
    _factor("strand_contrast", "contrast of strands", "relative", Normal(0.5, 0.18, 0.1, 1.0)),
    _factor("strand_phase", "which strands are bright", "radian", Uniform(0.0, 6.283)),
    _factor("beard", "stubble to full beard", "share", Quantiles((0, 0.7, 0.82, 1), (0, 0, 0.25, 0.92)), masculine=0.85, age=0.15),
    _factor("moustache", "stubble to full moustache", "share", Quantiles((0, 0.68, 0.82, 1), (0, 0, 0.25, 0.95)), masculine=0.85, age=0.2),
    # glasses, ears, body
    _factor("glasses", "glasses are worn", "0 or 1", Presence(0.14), age=0.35),
    _factor("glasses_size", "size of the lenses", "relative", _relative(0.09, 0.22)),
    _factor("glasses_roundness", "angular (0) to round (1)", "share", Uniform(0.0, 1.0)),
    _factor("glasses_thickness", "thin (0) to thick (1) frame", "share", Uniform(0.0, 1.0)),
    _factor("glasses_tone", "black (0) to bright (1) frame", "share", Quantiles((0, 0.6, 1), (0, 0.25, 1))),
    _factor("ear_size", "size of the ears", "relative", _relative(0.1, 0.25), masculine=0.3, age=0.3),
    _factor("neck_width", "width of the neck", "relative", _relative(0.09, 0.22), masculine=0.6),
    _factor("shoulder_slope", "square to sloping shoulders", "relative", _relative(0.3, 0.8), masculine=-0.35),
    _factor("collar_depth", "high collar to deep neckline", "head unit", Quantiles((0, 0.5, 1), (-0.12, 0.12, 0.7)), masculine=-0.4),
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
    _factor("wall_saturation", "colourfulness of the background", "share", Quantiles((0, 0.6, 1), (0.02, 0.18, 0.48)), studio=-0.4),
    _factor("wall_value", "dark to bright background", "share", Quantiles((0, 0.5, 1), (0.08, 0.55, 0.97)), studio=0.6),
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
    """The factors as a table: name, meaning, unit, distribution and loadings on the hidden causes.

    Examples
    --------
    >>> factor_table().loc["yaw", "unit"]
    'degree'
    """
    rows = [
        (f.name, f.meaning, f.unit, str(f.distribution), ", ".join(f"{c} {v:+g}" for c, v in f.loadings))
        for f in FACTORS
    ]
    return pd.DataFrame(rows, columns=["name", "meaning", "unit", "distribution", "loadings"]).set_index(
        "name"
    )


def loading_matrix() -> Float[np.ndarray, "k c"]:
    """Loadings of the normal scores of all k factors on the c hidden causes."""
    return np.array([[dict(f.loadings).get(cause, 0.0) for cause in CAUSES] for f in FACTORS])


def typical_factors(n: int = 1) -> pd.DataFrame:
    """`n` equal rows with every factor at its median: the face to start from when one factor is varied."""
    median = {f.name: float(f.distribution.quantile(np.array([0.5]))[0]) for f in FACTORS}
    return pd.DataFrame([median] * n, columns=list(NAMES))


def sample_factors(indices: Sequence[int] | np.ndarray, *, seed: int) -> pd.DataFrame:
    """Draw the factors of the images with the given indices: a Gaussian copula."""
    wanted = np.asarray(indices, dtype=np.int64)
    blocks = {block: _block(block, seed) for block in np.unique(wanted // BLOCK).tolist()}
    rows = [blocks[index // BLOCK][index % BLOCK] for index in wanted.tolist()]
    return pd.DataFrame(np.reshape(rows, (len(wanted), len(FACTORS))), columns=list(NAMES))


def _block(block: int, seed: int) -> Float[np.ndarray, "b k"]:
    rng = np.random.default_rng([seed, block])
    own = rng.standard_normal((BLOCK, len(FACTORS)))
    causes = rng.standard_normal((BLOCK, len(CAUSES)))
    loadings = loading_matrix()
    scores = causes @ loadings.T + own * np.sqrt(1.0 - (loadings**2).sum(axis=1))
    return np.stack(
        [f.distribution.quantile(u) for f, u in zip(FACTORS, stats.norm.cdf(scores).T, strict=True)], axis=1
    )


def render(factors: pd.DataFrame, *, size: int = 96) -> Float[np.ndarray, "n size size 3"]:
    """Draw faces."""
    records = np.ascontiguousarray(
        factors[list(NAMES)].to_records(index=False, column_dtypes=dict.fromkeys(NAMES, "f8"))
    )
    images = np.empty((len(factors), size, size, 3), dtype=np.float32)
    workers = min(len(os.sched_getaffinity(0)), len(factors)) or 1
    edges = np.linspace(0, len(factors), workers + 1).astype(int)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda a, b: draw(records[a:b], images[a:b]), edges[:-1], edges[1:]))
    return images
