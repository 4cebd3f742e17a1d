"""The state of an explorer: what is looked at, where the probe is, what was drawn and pinned. No widget is in it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from aelib.explorer import planes, words
from aelib.explorer.cloud import Cloud, mahalanobis_distances
from aelib.explorer.planes import Plane
from aelib.explorer.recipes import (
    N_DRAWN,
    N_WALK,
    Between,
    Blend,
    Centre,
    Drawn,
    Kitchen,
    Recipe,
    Row,
    Shift,
    following,
    lines,
)
from aelib.sampler import Sampler

N_AXES = 12
"""Leading principal axes that have a slider."""
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.1, 2.0

_AROUND = 5  # points of a map that a place between them is a mean of


@dataclass(frozen=True)
class Colouring:
    """Colours of the points.

    Parameters
    ----------
    name : str
        What they show.
    levels : array of uint8, shape (n,)
        0 to 254 from least to most.
    low, high : float
        The values of 0 and 254; what lies beyond has these colours.
    is_binary : bool
        Whether there are but two values.
    """

    name: str
    levels: UInt8[np.ndarray, " n"]
    low: float
    high: float
    is_binary: bool


class Session:
    """A walk through latent space.

    Every method that moves the probe changes `recipe`, and `point` follows from it.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    samplers : mapping of str to Sampler
        Samplers by name; those not in `own` are fitted when they are first used.
    own : frozenset of str
        Names of samplers that come fitted.
    table : str
        What the lines call the table of factors.
    seed : int
        Seed of the first draw; each further one has the next.

    Attributes
    ----------
    recipe : Recipe
        How the point came about.
    point : array of float64, shape (d,)
        The z-point that is shown.
    plane : Plane
        The plane that is looked at.
    follow : bool
        Whether the other components follow when two are moved.
    pins : dict of str to Recipe
        The pinned points, "a" and "b".
    draw_name : str
        The sampler of the last draw; empty before the first.
    draw_temperature : float
        The temperature of the drawn points.
    """

    def __init__(
        self,
        cloud: Cloud,
        samplers: Mapping[str, Sampler],
        *,
        own: frozenset[str] = frozenset(),
        table: str = "images.table",
        seed: int = 0,
    ) -> None:
        self.cloud = cloud
        self.kitchen = Kitchen(cloud, samplers, own, table)
        self.plane = Plane("axes" if len(cloud.sigma) > 1 else "components")
        self.follow = False
        self.recipe = Recipe()
        self.point = self.kitchen.point(self.recipe)
        self.pins: dict[str, Recipe] = {}
        self.draw_name, self.draw_temperature = "", 1.0
        self._seed = seed - 1
        self._map_place: tuple[float, float] | None = None

    @property
    def code(self) -> str:
        """The lines of aelib that make the point and its picture."""
        return lines(self.recipe, self.kitchen)

    def look(self, plane: Plane) -> None:
        """Look at another plane; the probe stays where it is.

        Parameters
        ----------
        plane : Plane
            The plane.

        Raises
        ------
        ValueError
            If the cloud does not have it.
        """
        planes.check_plane(self.cloud, plane)
        self.plane = plane

    def choose(self, row: int) -> None:
        """Go to a point of the cloud, at temperature 1.

        Parameters
        ----------
        row : int
            Its row.

        Raises
        ------
        ValueError
            If there is no such row.
        """
        if not 0 <= row < self.cloud.n:
            raise ValueError(f"faces are counted from 0 to {self.cloud.n - 1}; there is no face {row}.")
        self._go(Recipe(Row(row)))

    def centre(self) -> None:
        """Go to the mean of the cloud."""
        self._go(Recipe(Centre()))

    def probe(self, x: float, y: float) -> None:
        """Move the probe in the plane; what else moves with it, `kept` says.

        Parameters
        ----------
        x, y : float
            The place, in units of z; on a map, in its own.

        Raises
        ------
        ValueError
            If a number is not finite.
        """
        if not np.isfinite([x, y]).all():
            raise ValueError(f"the probe needs a place of two finite numbers, not {x} and {y}.")
        at = planes.place(self.cloud, self.plane, self.point)
        if at is None:
            self._go(Recipe(self._blend(x, y)), place=(x, y))
        else:
            self._move(*self._steps(float(x - at[0]), float(y - at[1])))

    def set_axis(self, k: int, value: float) -> None:
        """Set the point's coordinate along a principal axis.

        Parameters
        ----------
        k : int
            The axis.
        value : float
            The coordinate, in standard deviations.

        Raises
        ------
        ValueError
            If there is no such axis.
        """
        if not 0 <= k < len(self.cloud.sigma):
            raise ValueError(f"axes are counted from 0 to {len(self.cloud.sigma) - 1}; there is no axis {k}.")
        self._move(Shift("axis", (k,), (value - float(self.cloud.axis_values(self.point)[k]),)))

    def set_factor(self, name: str, value: float) -> None:
        """Walk along a factor's direction until its linear reading has a value.

        Parameters
        ----------
        name : str
            The factor.
        value : float
            The reading, in standard deviations.

        Raises
        ------
        ValueError
            If no such factor is known.
        """
        directions = self.cloud.directions
        if directions is None or name not in directions.names:
            raise ValueError(f"no factor {name!r} is known for these images.")
        reading = directions.readings(self.point[None])[0, directions.names.index(name)]
        self._move(Shift("factor", (name,), (value - float(reading),)))

    def set_temperature(self, value: float) -> None:
        """Scale the deviations from the mean, of the point and of what was drawn.

        Parameters
        ----------
        value : float
            The temperature T, in [0.1, 2].

        Raises
        ------
        ValueError
            If it is out of range.
        """
        if not LEAST_TEMPERATURE <= value <= MOST_TEMPERATURE:
            raise ValueError(f"temperature must be {LEAST_TEMPERATURE} to {MOST_TEMPERATURE}, not {value}.")
        self.draw_temperature = round(float(value), 4)
        self._set(replace(self.recipe, temperature=self.draw_temperature))

    def draw(self, name: str) -> None:
        """Draw sixteen points, at the temperature of the point; the probe stays where it is.

        Parameters
        ----------
        name : str
            Name of the sampler.

        Raises
        ------
        ValueError
            If there is no such sampler, or it cannot be fitted to this cloud.
        """
        if name not in self.kitchen.samplers:
            raise ValueError(f"there is no sampler {name!r}; there are {', '.join(self.kitchen.samplers)}.")
        self.kitchen.draws(name, self._seed + 1)
        self.draw_name, self._seed = name, self._seed + 1
        self.draw_temperature = self.recipe.temperature

    def drawn(self) -> Float[np.ndarray, "n d"]:
        """Give the points of the last draw, at the temperature.

        Returns
        -------
        array of float64, shape (16, d)
            The points; (0, d) before the first draw.
        """
        if not self.draw_name:
            return np.empty((0, self.cloud.d))
        mean = self.cloud.moments.mean
        return mean + self.draw_temperature * (self.kitchen.draws(self.draw_name, self._seed) - mean)

    def jump(self, k: int) -> None:
        """Go to a point of the last draw.

        Parameters
        ----------
        k : int
            Which one.

        Raises
        ------
        ValueError
            If there is none.
        """
        if not self.draw_name or not 0 <= k < N_DRAWN:
            raise ValueError(f"draw first; then choose one of the faces 0 to {N_DRAWN - 1}, not {k}.")
        self._go(Recipe(Drawn(self.draw_name, self._seed, k), temperature=self.draw_temperature))

    def pin(self, which: str) -> None:
        """Keep the point as one end of a walk.

        Parameters
        ----------
        which : {"a", "b"}
            Which end.

        Raises
        ------
        ValueError
            If it is neither.
        """
        if which not in ("a", "b"):
            raise ValueError(f"there are the pins 'a' and 'b', not {which!r}.")
        self.pins[which] = self.recipe

    def walk(self, k: int, way: Literal["segment", "arc"] = "segment") -> None:
        """Go to a point of the way from pin a to pin b.

        Parameters
        ----------
        k : int
            Which of its 101 points; 0 is a, 100 is b.
        way : {"segment", "arc"}
            Straight, or round the centre on the cloud's ellipsoids.

        Raises
        ------
        ValueError
            If a pin is missing, both are the same point, or there is no such way or point.
        """
        if set(self.pins) != {"a", "b"} or way not in ("segment", "arc") or not 0 <= k < N_WALK:
            raise ValueError(f"pin two points first; then walk 0 to {N_WALK - 1}, 'segment' or 'arc'.")
        if (self.kitchen.point(self.pins["a"]) == self.kitchen.point(self.pins["b"])).all():
            raise ValueError("both pins are at the same point: move the probe and pin it again.")
        self._go(Recipe(Between(self.pins["a"], self.pins["b"], way, k)))

    def colouring(self, name: str) -> Colouring:
        """Turn a factor, or the distance from the centre, into colours.

        Parameters
        ----------
        name : str
            A column of the table, or "distance".

        Returns
        -------
        Colouring
            The colours: from the 2nd to the 98th percentile, or two.

        Raises
        ------
        ValueError
            If there is no such column.
        """
        if name == "distance":
            values = mahalanobis_distances(self.cloud.z, self.cloud.axes)
        elif name in self.cloud.table.columns:
            values = self.cloud.table[name].to_numpy(dtype=np.float64)
        else:
            raise ValueError(f"there is no factor {name!r} to colour by.")
        is_binary = len(np.unique(values)) == 2
        low, high = (values.min(), values.max()) if is_binary else np.quantile(values, [0.02, 0.98])
        scaled = (values - low) / (high - low) if high > low else np.zeros(len(values))
        return Colouring(
            name, (np.clip(scaled, 0, 1) * 254).astype(np.uint8), float(low), float(high), is_binary
        )

    def report(self) -> dict[str, Any]:
        """Say all that is shown about the point.

        Returns
        -------
        dict
            JSON-able: place in the plane, distances, what they mean, coordinates and readings, what is kept fixed.
        """
        cloud, distance = self.cloud, self.cloud.distance(self.point)
        in_plane = planes.plane_distance(cloud, self.plane, self.point)
        readings = [] if cloud.directions is None else cloud.directions.readings(self.point[None])[0]
        start = self.recipe.start
        return {
            "place": self._place(),
            "distance": distance if np.isfinite(distance) else None,
            "plane_distance": in_plane,
            "verdict": words.verdict(cloud, distance, in_plane)._asdict(),
            "axes": [round(float(u), 3) for u in cloud.axis_values(self.point)[:N_AXES]],
            "factors": [round(float(reading), 3) for reading in readings],
            "temperature": self.recipe.temperature,
            "start": words.start(start),
            "row": start.k if isinstance(start, Row) else None,
            "drawn": start.k if isinstance(start, Drawn) and start.seed == self._seed else None,
            "walk": start.k if isinstance(start, Between) else None,
            "moved": bool(self.recipe.shifts) or self.recipe.temperature != 1,
            "kept": words.kept(self.plane, self.follow, start, cloud),
        }

    def _place(self) -> list[float] | None:
        at = planes.place(self.cloud, self.plane, self.point)
        if at is not None:
            return [float(at[0]), float(at[1])]
        if self._map_place is not None and not self.recipe.shifts and isinstance(self.recipe.start, Blend):
            return list(self._map_place)
        start, tsne = self.recipe.start, self.cloud.tsne
        if isinstance(start, Row) and tsne is not None and start.k < len(tsne) and not self.recipe.shifts:
            return [float(x) for x in tsne[start.k]]
        return None

    def _blend(self, x: float, y: float) -> Blend:
        """Take the mean of the nearest points of the map, the nearer ones with more weight."""
        tsne = self.cloud.tsne
        if tsne is None:
            raise ValueError("there is no map.")
        squares = np.square(tsne - [x, y]).sum(axis=1)
        rows = np.argsort(squares)[:_AROUND]
        weights = 1.0 / (np.sqrt(squares[rows]) + 1e-6 * np.ptp(tsne))
        shares = [round(float(w), 4) for w in weights / weights.sum()]
        shares[0] = round(1.0 - sum(shares[1:]), 4)
        return Blend(tuple(int(row) for row in rows), tuple(shares))

    def _steps(self, dx: float, dy: float) -> tuple[Shift, ...]:
        i, j = self.plane.i, self.plane.j
        if self.plane.kind == "axes":
            sigma = self.cloud.sigma
            return Shift("axis", (i,), (dx / float(sigma[i]),)), Shift("axis", (j,), (dy / float(sigma[j]),))
        if self.follow:
            following(self.cloud, i, j)  # refuses two components that always go together
            return (Shift("follow", (i, j), (dx, dy)),)
        return Shift("component", (i,), (dx,)), Shift("component", (j,), (dy,))

    def _move(self, *steps: Shift) -> None:
        if not np.isfinite([step.by for step in steps]).all():
            raise ValueError("steps must be finite numbers.")
        self._set(self.recipe.shifted(*steps))

    def _go(self, recipe: Recipe, *, place: tuple[float, float] | None = None) -> None:
        self._set(recipe)
        self._map_place = place

    def _set(self, recipe: Recipe) -> None:
        self.point = self.kitchen.point(recipe)
        self.recipe = recipe
