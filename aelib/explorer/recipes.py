"""How a z-point came about: where it starts, how it was moved, and the lines of aelib that do the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from aelib import paths
from aelib.explorer.cloud import Cloud
from aelib.sampler import Sampler

N_DRAWN = 16
"""Faces of one draw."""
N_WALK = 101
"""Points of a walk between two pins, both of them included."""

_DIGITS = 4
"""Decimals of what a recipe keeps, so that the lines show all of it."""


class Centre(NamedTuple):
    """The mean of the cloud."""


class Row(NamedTuple):
    """A point of the cloud.

    Parameters
    ----------
    k : int
        Its row.
    """

    k: int


class Blend(NamedTuple):
    """A mean of some points of the cloud.

    Parameters
    ----------
    rows : tuple of int
        Their rows.
    weights : tuple of float
        Their weights, which add up to 1.
    """

    rows: tuple[int, ...]
    weights: tuple[float, ...]


class Drawn(NamedTuple):
    """A point that a sampler drew.

    Parameters
    ----------
    sampler : str
        Name of the sampler.
    seed : int
        Seed of the draw of `N_DRAWN` points.
    k : int
        Which of them.
    """

    sampler: str
    seed: int
    k: int


class Between(NamedTuple):
    """A point on the way between two others.

    Parameters
    ----------
    a, b : Recipe
        The two ends.
    way : {"segment", "arc"}
        Straight, or round the centre on the cloud's ellipsoids.
    k : int
        Which of the `N_WALK` points.
    """

    a: "Recipe"
    b: "Recipe"
    way: Literal["segment", "arc"]
    k: int


Start: TypeAlias = Centre | Row | Blend | Drawn | Between


class Shift(NamedTuple):
    """A step away from the start.

    Parameters
    ----------
    kind : {"axis", "component", "follow", "factor"}
        Along a principal axis, in standard deviations; along a component, in units of z; along two components, with
        the others following by their covariance; along a factor's direction, in standard deviations of its reading.
    along : tuple
        Number of the axis or component, two numbers of components, or name of the factor.
    by : tuple of float
        How far: two numbers for two components.
    """

    kind: Literal["axis", "component", "follow", "factor"]
    along: tuple[int, ...] | tuple[str, ...]
    by: tuple[float, ...]


@dataclass(frozen=True)
class Recipe:
    r"""A z-point: a start, steps, and a temperature T that scales what came out to :math:`\mu + T (z - \mu)`.

    Parameters
    ----------
    start : Start
        Where it starts.
    shifts : tuple of Shift
        The steps, at most one of each kind along the same way.
    temperature : float
        T, above 0.
    """

    start: Start = field(default_factory=Centre)
    shifts: tuple[Shift, ...] = ()
    temperature: float = 1.0

    def shifted(self, *steps: Shift) -> "Recipe":
        """Add steps to those there are.

        Parameters
        ----------
        *steps : Shift
            Steps, after the temperature: they are divided by it.

        Returns
        -------
        Recipe
            The longer way; steps along the same way are one.
        """
        total = {(shift.kind, shift.along): shift.by for shift in self.shifts}
        for kind, along, by in steps:
            before = total.get((kind, along), (0.0,) * len(by))
            sums = [b + more / self.temperature for b, more in zip(before, by, strict=True)]
            total[kind, along] = tuple(round(float(value), _DIGITS) for value in sums)
        kept = tuple(Shift(kind, along, by) for (kind, along), by in total.items() if any(by))
        return replace(self, shifts=kept)


@dataclass(frozen=True, eq=False)
class Kitchen:
    """What recipes need to become points.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    samplers : mapping of str to Sampler
        Samplers by name; they are fitted when they are first used.
    own : frozenset of str
        Names of samplers that the user gave, fitted: in the lines they are called by these.
    table : str
        What the lines call the table of factors.
    """

    cloud: Cloud
    samplers: Mapping[str, Sampler]
    own: frozenset[str] = frozenset()
    table: str = "images.table"

    def point(self, recipe: Recipe) -> Float[np.ndarray, " d"]:
        """Follow a recipe.

        Parameters
        ----------
        recipe : Recipe
            The recipe.

        Returns
        -------
        array of float64, shape (d,)
            The z-point.

        Raises
        ------
        ValueError
            If there is no such way between two pins: they are the same, or an arc has no direction.
        """
        point, mean = self._start(recipe.start), self.cloud.moments.mean
        for shift in recipe.shifts:
            point = point + self._step(shift)
        return mean + recipe.temperature * (point - mean)

    @lru_cache(maxsize=8)  # noqa: B019, one kitchen lives as long as its explorer
    def draws(self, sampler: str, seed: int) -> Float[np.ndarray, "n d"]:
        """Draw points.

        Parameters
        ----------
        sampler : str
            Name of the sampler.
        seed : int
            Seed.

        Returns
        -------
        array of float64, shape (16, d)
            The points.
        """
        return self._fitted(sampler).sample(N_DRAWN, random_state=seed)

    @lru_cache(maxsize=8)  # noqa: B019, as above
    def walk(self, a: Recipe, b: Recipe, way: str) -> Float[np.ndarray, "n d"]:
        """Walk between two points.

        Parameters
        ----------
        a, b : Recipe
            The ends.
        way : {"segment", "arc"}
            How.

        Returns
        -------
        array of float64, shape (101, d)
            The points of the walk.

        Raises
        ------
        ValueError
            If there is no such way.
        """
        ends, moments = (self.point(a), self.point(b)), self.cloud.moments
        if way == "segment":
            return paths.segment(*ends, N_WALK)
        return paths.great_arc(*ends, N_WALK, mean=moments.mean, covariance=moments.covariance)

    @lru_cache(maxsize=16)  # noqa: B019, as above
    def _fitted(self, name: str) -> Sampler:
        sampler = self.samplers[name]
        return sampler if name in self.own else sampler.fit(self.cloud.z)

    def _start(self, start: Start) -> Float[np.ndarray, " d"]:
        cloud = self.cloud
        if isinstance(start, Row):
            return cloud.z[start.k].astype(np.float64)
        if isinstance(start, Blend):
            return np.asarray(start.weights) @ cloud.z[list(start.rows)]
        if isinstance(start, Drawn):
            return self.draws(start.sampler, start.seed)[start.k]
        if isinstance(start, Between):
            return self.walk(start.a, start.b, start.way)[start.k]
        return cloud.moments.mean

    def _step(self, shift: Shift) -> Float[np.ndarray, " d"]:
        cloud = self.cloud
        if shift.kind == "follow":
            return np.asarray(shift.by) @ following(cloud, *shift.along)
        (along,), (by,) = shift.along, shift.by
        if shift.kind == "axis":
            return by * cloud.sigma[along] * cloud.axes.axes[along]
        if shift.kind == "factor" and cloud.directions is not None:
            return by * cloud.directions.direction(str(along))
        return by * np.eye(1, cloud.d, int(along))[0]


def following(cloud: Cloud, *pair: int | str) -> Float[np.ndarray, "2 d"]:
    r"""Say how all components move with two of them, :math:`\Sigma_{SS}^{-1} \Sigma_{S \cdot}`.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    *pair : int
        Two components S.

    Returns
    -------
    array of float64, shape (2, d)
        The regression of all components on the two: the change of each for one unit of either.
    """
    plane, matrix = [int(k) for k in pair], cloud.moments.covariance
    return np.linalg.solve(matrix[np.ix_(plane, plane)], matrix[plane])


def lines(recipe: Recipe, kitchen: Kitchen) -> str:
    """Write a recipe as lines of aelib.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    kitchen : Kitchen
        What it is followed with.

    Returns
    -------
    str
        Python that makes the z-point as `point`, and its picture as `face`, from `model`, `z` and `images` as `explore`
        was given them.
    """
    writer = _Writer(kitchen)
    writer.write(recipe, "point")
    body = [*writer.setup, *writer.body, "face = aelib.decode(model, point[None])[0]"]
    text = "\n".join(body)
    head = ["import aelib"]
    if "np." in text:
        head.insert(0, "import numpy as np")
    needed = [name for name in ("factors", "moments", "paths", "pca") if f" {name}." in text]
    if needed:
        head.append(f"from aelib import {', '.join(needed)}")
    return "\n".join(["# model, z and images: as given to aelib.explore", *head, "", text]) + "\n"


class _Writer:
    """Lines in the making: each preparation once, then what makes the points."""

    def __init__(self, kitchen: Kitchen) -> None:
        self.kitchen = kitchen
        self.setup: list[str] = []
        self.body: list[str] = []
        self.count = 0

    def write(self, recipe: Recipe, name: str) -> None:
        self._start(recipe.start, name)
        for shift in recipe.shifts:
            self._step(shift, name)
        if recipe.temperature != 1:
            self._prepare("cloud")
            self.body.append(f"{name} = cloud.mean + {recipe.temperature:g} * ({name} - cloud.mean)")

    def _prepare(self, what: str) -> None:
        known = {
            "cloud": "cloud = moments.measure_moments(z)",
            "axes": "axes = pca.principal_axes(cloud)",
            "ways": f"ways = factors.factor_directions(z, {self.kitchen.table})",
        }
        if what == "axes":
            self._prepare("cloud")
        line = known.get(what, what)
        if line not in self.setup:
            self.setup.append(line)

    def _start(self, start: Start, name: str) -> None:
        if isinstance(start, Row):
            self.body.append(f'{name} = z[{start.k}].astype("float64")')
        elif isinstance(start, Blend):
            self.body.append(f"{name} = np.array({list(start.weights)}) @ z[{list(start.rows)}]")
        elif isinstance(start, Drawn):
            self._draw(start, name)
        elif isinstance(start, Between):
            self._walk(start, name)
        else:
            self._prepare("cloud")
            self.body.append(f"{name} = cloud.mean")

    def _draw(self, start: Drawn, name: str) -> None:
        own = start.sampler in self.kitchen.own
        sampler = self.kitchen.samplers[start.sampler]
        fitted = f"samplers[{start.sampler!r}]" if own else f"aelib.{_one_line(sampler)}.fit(z)"
        self.body.append(f"sampler = {fitted}")
        self.body.append(f"{name} = sampler.sample({N_DRAWN}, random_state={start.seed})[{start.k}]")

    def _walk(self, start: Between, name: str) -> None:
        self.count += 1
        a, b = (f"{end}{'' if self.count == 1 else self.count}" for end in "ab")
        self.write(start.a, a)
        self.write(start.b, b)
        if start.way == "segment":
            self.body.append(f"{name} = paths.segment({a}, {b}, {N_WALK})[{start.k}]")
        else:
            self._prepare("cloud")
            law = "mean=cloud.mean, covariance=cloud.covariance"
            self.body.append(f"{name} = paths.great_arc({a}, {b}, {N_WALK}, {law})[{start.k}]")

    def _step(self, shift: Shift, name: str) -> None:
        if shift.kind == "follow":
            self._prepare("cloud")
            self.body.append(f"plane = {list(shift.along)}")
            self.body.append(
                "slope = np.linalg.solve(cloud.covariance[np.ix_(plane, plane)], cloud.covariance[plane])"
            )
            self.body.append(f"{name} = {name} + np.array({list(shift.by)}) @ slope")
            return
        (along,), (signed,) = shift.along, shift.by
        sign, by = "-" if signed < 0 else "+", abs(signed)
        if shift.kind == "axis":
            self._prepare("axes")
            step = f"{by} * axes.variances[{along}] ** 0.5 * axes.axes[{along}]"
        elif shift.kind == "factor":
            self._prepare("ways")
            step = f"{by} * ways.direction({along!r})"
        else:
            step = f"{by} * np.eye({self.kitchen.cloud.d})[{along}]"
        self.body.append(f"{name} = {name} {sign} {step}")


def _one_line(sampler: Sampler) -> str:
    return " ".join(repr(sampler).split())
