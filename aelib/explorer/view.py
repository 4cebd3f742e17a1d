"""The explorer as a widget: messages from the browser to a session, and pictures back."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets
from jaxtyping import Float, UInt8

from aelib import faces, samplers
from aelib.codec import pixel_decoder
from aelib.explorer import planes
from aelib.explorer.cloud import Cloud, measure_cloud
from aelib.explorer.planes import Plane
from aelib.explorer.recipes import N_DRAWN, N_WALK, Row
from aelib.explorer.session import LEAST_TEMPERATURE, MOST_TEMPERATURE, N_AXES, Session
from aelib.images import Images
from aelib.maps import Map, tsne_map
from aelib.model import Autoencoder, check_images
from aelib.sampler import Sampler

_HERE = Path(__file__).parent


def usual_samplers() -> dict[str, Sampler]:
    """List the samplers that an explorer offers.

    Returns
    -------
    dict of str to Sampler
        Name to sampler, not fitted.

    Examples
    --------
    >>> usual_samplers()["normal N(μ, Σ)"]
    MultivariateNormal()
    """
    return {
        "normal N(μ, Σ)": samplers.MultivariateNormal(),
        "PCA marginals": samplers.PCAMarginals(),
        "between neighbours": samplers.NeighbourInterpolation(),
        "normal, 90 % ellipsoid": samplers.TruncatedNormal(),
        "ellipses at 2.5 σ": samplers.EllipseLimited(),
        "component ranges": samplers.ComponentRanges(),
        "N(0, Σ), mean dropped": samplers.MultivariateNormal(mean="dropped"),
        "N(0, I)": samplers.StandardNormal(),
        "uniform box ±1.5": samplers.UniformBox(),
        "mixture of cells (takes minutes)": samplers.CellMixture(),
    }


class Explorer(anywidget.AnyWidget):
    """The explorer's widget; `explore` makes one.

    Parameters
    ----------
    model : Autoencoder
        The network that decodes.
    images : Images
        The images behind the points.
    session : Session
        The state.

    Attributes
    ----------
    session : Session
        The state: `explorer.session.point` is the z-point that is shown, `explorer.session.code` the lines for it.
    """

    _esm = _HERE / "explorer.js"
    _css = _HERE / "explorer.css"
    about = traitlets.Dict().tag(sync=True)

    def __init__(self, model: Autoencoder, images: Images, session: Session) -> None:
        self.session = session
        self._images = images
        self._decode = pixel_decoder(model)
        self._decode_draws = pixel_decoder(model, n=N_DRAWN)
        self._colour = ""
        self._answers: dict[str, Callable[[dict[str, Any]], None]] = {
            "hello": self._greet,
            "look": self._look,
            "colour": self._paint,
            "code": lambda _: self._say("code", text=self.session.code),
            "draw": self._draw,
            "redraw": lambda _: self._show_draws(),
            "pin": self._pin,
        }
        super().__init__(about=_about(session, images, self._images.size))
        self.on_msg(self._on_message)

    def _on_message(self, _: Any, message: dict[str, Any], __: Any) -> None:
        """Answer a message of the browser; whatever goes wrong is told there, and the next one is awaited."""
        try:
            answer = self._answers.get(message["op"])
            if answer is None:
                self._act(message)
                self._show_point(message)
            else:
                answer(message)
        except (ValueError, TypeError, KeyError) as error:
            self._say("error", text=str(error))
        finally:
            self._say("done", id=message.get("id"))

    def _act(self, message: dict[str, Any]) -> None:
        """Do what moves the probe."""
        session, op = self.session, message["op"]
        if op == "probe":
            session.probe(float(message["x"]), float(message["y"]))
        elif op == "axis":
            session.set_axis(int(message["k"]), float(message["value"]))
        elif op == "factor":
            session.set_factor(str(message["k"]), float(message["value"]))
        elif op == "temperature":
            session.set_temperature(float(message["value"]))
        elif op == "choose":
            session.choose(int(message["k"]))
        elif op == "jump":
            session.jump(int(message["k"]))
        elif op == "walk":
            session.walk(int(message["k"]), message["way"])
        elif op == "follow":
            session.follow = bool(message["value"])
        elif op == "centre":
            session.centre()
        else:
            raise ValueError(f"the explorer does not know {op!r}.")

    def _say(self, op: str, *buffers: np.ndarray, **content: Any) -> None:
        self.send({"op": op, **content}, buffers=[b.tobytes() for b in buffers])

    def _show_point(self, message: dict[str, Any]) -> None:
        session = self.session
        picture = self._decode(session.point[None])
        start = session.recipe.start
        content = {"report": session.report(), "id": message.get("id")}
        if isinstance(start, Row):
            self._say("point", picture, self._images.bytes(start.k), **content)
        else:
            self._say("point", picture, **content)

    def _greet(self, message: dict[str, Any]) -> None:
        self._show_plane()
        self._paint({"name": self._colour})
        self._show_point(message)
        self._show_draws()
        for which in self.session.pins:
            self._show_pin(which)

    def _look(self, message: dict[str, Any]) -> None:
        self.session.look(Plane(message["kind"], int(message["i"]), int(message["j"])))
        self._show_plane()
        self._show_point(message)

    def _show_plane(self) -> None:
        plane, cloud = self.session.plane, self.session.cloud
        places = planes.places(cloud, plane)
        outlines = [outline.astype(np.float32) for outline in planes.outlines(cloud, plane)]
        pins = {which: self._pin_place(which) for which in self.session.pins}
        self._say("plane", places, *outlines, kind=plane.kind, i=plane.i, j=plane.j, pins=pins)

    def _paint(self, message: dict[str, Any]) -> None:
        name = str(message["name"])
        if not name:
            self._colour = name
            self._say("colours", name="")
            return
        colouring = self.session.colouring(name)
        self._colour = name
        unit = next((f["unit"] for f in self.about["factors"] if f["name"] == name), "σ")
        legend = {"low": colouring.low, "high": colouring.high, "binary": colouring.is_binary, "unit": unit}
        self._say("colours", colouring.levels, name=name, **legend)

    def _draw(self, message: dict[str, Any]) -> None:
        self.session.draw(str(message["name"]))
        self._show_draws()

    def _show_draws(self) -> None:
        drawn = self.session.drawn()
        if len(drawn):
            shown = {"name": self.session.draw_name, "temperature": self.session.draw_temperature}
            self._say("draws", self._decode_draws(drawn), **shown)

    def _pin(self, message: dict[str, Any]) -> None:
        self.session.pin(str(message["which"]))
        self._show_pin(str(message["which"]))

    def _show_pin(self, which: str) -> None:
        point = self.session.kitchen.point(self.session.pins[which])
        self._say("pin", self._decode(point[None]), which=which, place=self._pin_place(which))

    def _pin_place(self, which: str) -> list[float] | None:
        session = self.session
        place = planes.place(session.cloud, session.plane, session.kitchen.point(session.pins[which]))
        return None if place is None else [float(x) for x in place]


def explore(
    model: Autoencoder,
    z: Float[np.ndarray, "..."],
    images: Images | UInt8[np.ndarray, "n h w 3"] | Float[np.ndarray, "n h w 3"],
    *,
    tsne: Map | int | None = None,
    samplers: Mapping[str, Sampler] | None = None,
    seed: int = 0,
) -> Explorer:
    r"""Walk through latent space with mouse and keys.

    A widget for JupyterLab and Voilà. It shows the cloud in a plane of two components, of two principal axes, or on a
    t-SNE map, and a probe in it with its decoded picture. A click on a point shows its image beside its
    reconstruction. Sliders move the probe along principal axes and, where factors of the images are known, along their
    directions (`aelib.factors.factor_directions`). The distance from the centre is the Mahalanobis distance in all d
    dimensions, :math:`\sqrt{(z - \mu)^\mathsf{T} \Sigma^{-1} (z - \mu)}`, in standard deviations. "Code" gives the
    lines of aelib that make the point and its picture.

    Parameters
    ----------
    model : Autoencoder
        The network that decodes.
    z : array of float, shape (n, d)
        The z-points of the images: `aelib.encode(model, images)`.
    images : Images or array, shape (n, h, w, 3)
        The images; their table, if there is one, has the factors or attributes.
    tsne : Map, int or None
        A t-SNE map of the first points, or the number of points to make one of, which takes a while.
    samplers : mapping of str to Sampler or None
        Fitted samplers to draw from, by name, before the usual ones.
    seed : int
        Seed of the first draw; each further one has the next.

    Returns
    -------
    Explorer
        The widget. `explorer.session.point` is the z-point that is shown.

    Raises
    ------
    ValueError
        If there is not one image for each z-point, or they do not fit the model.

    Examples
    --------
    >>> from aelib.model import AutoencoderConfig, build
    >>> model = build(AutoencoderConfig(filters=(4, 8), z_dim=3, image_size=32))
    >>> rng = np.random.default_rng(0)
    >>> explorer = explore(model, rng.standard_normal((20, 3)), rng.random((20, 32, 32, 3)))
    >>> explorer.session.choose(7)
    >>> print(explorer.session.code)
    # model, z and images: as given to aelib.explore
    import aelib
    <BLANKLINE>
    point = z[7].astype("float64")
    face = aelib.decode(model, point[None])[0]
    """
    given = images if isinstance(images, Images) else Images.from_array(images)
    check_images(given, model.config)
    if z.ndim != 2 or len(z) != len(given) or z.shape[1] != model.config.z_dim:
        raise ValueError(
            f"z must be {len(given)} points of {model.config.z_dim} components, one per image, not of shape {z.shape}."
        )
    cloud = measure_cloud(z, given.table, tsne=_places(z, tsne))
    own = dict(samplers or {})
    has_gaps = given.table is not None and bool(
        given.table.select_dtypes(["number", "bool"]).isna().any(axis=None)
    )
    table = "images.table.dropna(axis=1)" if has_gaps else "images.table"
    session = Session(cloud, {**own, **usual_samplers()}, own=frozenset(own), table=table, seed=seed)
    return Explorer(model, given, session)


def _places(z: np.ndarray, tsne: Map | int | None) -> Float[np.ndarray, "k 2"] | None:
    if isinstance(tsne, int):
        return tsne_map(z[:tsne], random_state=0).points
    return None if tsne is None else tsne.points


def _about(session: Session, images: Images, size: int) -> dict[str, Any]:
    """Describe what does not change."""
    cloud = session.cloud
    wide = np.argsort(-cloud.moments.std)
    return {
        "n": cloud.n,
        "d": cloud.d,
        "size": size,
        "has_map": cloud.tsne is not None,
        "axes": [round(float(share), 4) for share in cloud.axes.explained[:N_AXES]],
        "n_axes": len(cloud.sigma),
        "wide": [int(wide[0]), int(wide[1])],
        "factors": _factors(cloud, images.source),
        "samplers": list(session.kitchen.samplers),
        "n_drawn": N_DRAWN,
        "n_walk": N_WALK,
        "temperature": [LEAST_TEMPERATURE, MOST_TEMPERATURE],
        "sigma": list(planes.N_SIGMA),
        "shell": [float(q) for q in np.quantile(cloud.distances, [0.01, 0.05, 0.5, 0.95, 0.99])],
    }


def _factors(cloud: Cloud, source: str) -> list[dict[str, Any]]:
    """List the factors, with what a linear map reads of them."""
    if cloud.directions is None:
        return []
    known = faces.factor_table() if source == "faces" else pd.DataFrame(columns=["meaning", "unit"])
    listed = []
    for name, share in zip(cloud.directions.names, cloud.directions.r_squared, strict=True):
        meaning, unit = known.loc[name, ["meaning", "unit"]] if name in known.index else ("", "")
        r_squared = round(float(share), 3) if np.isfinite(share) else None
        listed.append({"name": name, "meaning": meaning, "unit": unit, "r_squared": r_squared})
    return listed
