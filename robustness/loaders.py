"""The loaders of aelib that read files, each with whole files to spoil and a call that loads one."""

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from hypothesis import strategies as st
from PIL import Image

from robustness.mutations import as_json, spoiled_bytes, spoiled_content, spoiled_zip


@dataclass(frozen=True)
class Loader:
    """A loader under test.

    Parameters
    ----------
    name : str
        What the table calls it.
    inputs : hypothesis strategy of bytes
        Spoiled files.
    load : callable
        Loads such a file, with a folder to work in; returns whether something was skipped and reported.
    megabytes : float
        The most memory it may take beyond what the process held before.
    """

    name: str
    inputs: st.SearchStrategy[bytes]
    load: Callable[[bytes, Path], bool]
    megabytes: float


def _pictures() -> list[bytes]:
    """Make images of every format and many modes; decode one, so that what decodes is compiled and loaded."""
    from aelib.decoding import decode_square

    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = [
        (colour, "JPEG", {"exif": exif}), (colour, "JPEG", {"progressive": True}), (colour.convert("CMYK"), "JPEG", {}),
        (colour, "PNG", {}), (colour.convert("RGBA"), "PNG", {}), (colour.quantize(16), "PNG", {}),
        (Image.fromarray(rng.integers(0, 65536, (40, 48), dtype=np.uint16)), "PNG", {}),
        (colour, "PNG", {"save_all": True, "append_images": [colour.rotate(90)]}),
        (colour, "WEBP", {}), (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        (colour, "WEBP", {"save_all": True, "append_images": [colour.rotate(90)]}),
        (colour, "GIF", {}), (colour, "TIFF", {}),
    ]  # fmt: skip
    files = []
    for image, kind, options in made:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(file.getvalue())
    decode_square(files[0], size=32)
    return files


def _zip_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _open(source: str, cache: Path) -> bool:
    from aelib.images import open_images

    opened = open_images(source, size=32, cache=cache)
    read = opened[:]
    if read.shape[1:] != (32, 32, 3) or not np.isfinite(read).all():
        raise TypeError(f"images of shape {read.shape}")
    return bool(opened.skipped)


def image_folder() -> Loader:
    """Folders of photographs: one spoiled image beside a good one."""
    pictures = _pictures()

    def load(data: bytes, folder: Path) -> bool:
        place = folder / "photos"
        place.mkdir(exist_ok=True)
        (place / "good.png").write_bytes(pictures[3])
        (place / "odd.jpg").write_bytes(data)
        return _open(f"photos:{place}", folder / "cache")

    inputs = st.one_of([spoiled_bytes(picture) for picture in pictures])
    return Loader("image folder", inputs, load, 200)


def image_zip() -> Loader:
    """Zips of photographs, and CelebA's with its lists."""
    pictures = _pictures()
    rows = {f"{k}.jpg": pictures[k] for k in range(3)}
    lists = {
        "list_attr_celeba.txt": b"3\nMale Young\n0.jpg 1 -1\n1.jpg -1 -1\n2.jpg 1 1\n",
        "list_eval_partition.txt": b"0.jpg 0\n1.jpg 1\n2.jpg 2\n",
    }

    def load(data: bytes, folder: Path) -> bool:
        path = folder / "photos.zip"
        path.write_bytes(data)
        scheme = "celeba" if b"list_attr" in data else "photos"
        return _open(f"{scheme}:{path}", folder / "cache")

    inputs = st.one_of(spoiled_zip(_zip_of(rows)), spoiled_zip(_zip_of(rows | lists)))
    return Loader("image zip", inputs, load, 200)


def arrays() -> Loader:
    """Fitted samplers in `.npz` files."""
    from aelib.samplers import MultivariateNormal, load_sampler, save_sampler

    def load(data: bytes, folder: Path) -> bool:
        path = folder / "sampler.npz"
        path.write_bytes(data)
        load_sampler(path)
        return False

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "x.npz")
        save_sampler(MultivariateNormal().fit(np.random.default_rng(0).normal(size=(40, 3))), path)
        whole = path.read_bytes()
    return Loader("sampler (.npz)", st.one_of(spoiled_zip(whole), spoiled_bytes(whole)), load, 200)


def pixel_cache() -> Loader:
    """Spoil the pixels and the record of an image cache: they are to be made anew."""
    from aelib.images import open_images

    picture = _pictures()[3]

    def load(data: bytes, folder: Path) -> bool:
        place = folder / "some"
        if not place.exists():
            place.mkdir()
            (place / "a.png").write_bytes(picture)
        expected = open_images(f"photos:{place}", size=32, cache=folder / "fresh")[:]
        (cached,) = {path.parent for path in (folder / "fresh").rglob("cache.json")}
        target = "pixels.npy" if data[:1] == b"\x93" or b"NUMPY" in data else "cache.json"
        (cached / target).unlink()
        (cached / target).write_bytes(data)
        again = open_images(f"photos:{place}", size=32, cache=folder / "fresh")
        if target == "cache.json" and not np.array_equal(again[:], expected):
            raise TypeError("a spoiled record was taken for whole")
        shutil.rmtree(folder / "fresh")
        return False

    array = io.BytesIO()
    np.save(array, np.zeros((1, 32, 32, 3), np.uint8))
    record = {"key": "0" * 64, "replaced": [[0, 1]], "skipped": [[0, "x"]]}
    inputs = st.one_of(spoiled_bytes(array.getvalue()), spoiled_content(record).map(as_json))
    return Loader("image cache (.npy, JSON)", inputs, load, 200)


def checkpoint() -> Loader:
    """Checkpoints: the `.keras` file, with a checksum that was corrected, or the record beside it."""
    from aelib.model import AutoencoderConfig, build, load_checkpoint, save_checkpoint

    with tempfile.TemporaryDirectory() as scratch:
        save_checkpoint(build(AutoencoderConfig(filters=(2, 2), z_dim=2, image_size=32)), scratch)
        whole, record = (
            Path(scratch, "model.keras").read_bytes(),
            json.loads(Path(scratch, "checkpoint.json").read_text()),
        )

    def load(data: bytes, folder: Path) -> bool:
        place = folder / "checkpoint"
        place.mkdir(exist_ok=True)
        if data.startswith((b"{", b"[")):
            (place / "model.keras").write_bytes(whole)
            (place / "checkpoint.json").write_bytes(data)
        else:
            (place / "model.keras").write_bytes(data)
            forged = {**record, "model_sha256": hashlib.sha256(data).hexdigest()}
            (place / "checkpoint.json").write_bytes(as_json(forged))
        load_checkpoint(place)
        return False

    inputs = st.one_of(spoiled_bytes(whole), spoiled_zip(whole), spoiled_content(record).map(as_json))
    return Loader("checkpoint (.keras, JSON)", inputs, load, 400)


def run_folder() -> Loader:
    """Run folders edited by hand: run.json, claims.json, versions.json, sweep.json, an executed notebook."""
    from aelib import record, sweeps

    claim = asdict(
        record.ClaimRecord("X-mean", "X", "t", "s", "m", "c", 1.0, 0.1, "reproduced", "01_a", "faces")
    )
    given = {
        "given": {"n": 1},
        "state": "done",
        "digest": "0",
        "seconds": 1.5,
        "finished": "x",
        "error": None,
    }
    run = {"format": "aelib run", "version": 1, "images": "faces", "checkpoint": "", "n_images": 5, "seed": 7,
           "notebooks": {"01_a": given}}  # fmt: skip
    output = nbformat.v4.new_output("display_data", {record.MIME: [{k: claim[k] for k in list(claim)[:9]}]})
    notebook = json.loads(
        nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])]))
    )
    sweep = {
        "format": "aelib sweep",
        "version": 1,
        "axes": ["seed"],
        "notebooks": [],
        "points": [["seed-1", [1]]],
    }
    whole = {
        "run": run,
        "claims": [claim],
        "versions": [{"python": "3"}],
        "sweep": sweep,
        "notebook": notebook,
    }

    def load(data: bytes, folder: Path) -> bool:
        place = folder / "run"
        (place / "notebooks").mkdir(parents=True, exist_ok=True)
        try:
            parts = json.loads(data)
        except (ValueError, RecursionError):
            parts = {}
        if not isinstance(parts, dict) or not parts:
            for name in ("run", "claims", "sweep"):
                (place / f"{name}.json").write_bytes(data)
        else:
            for name in ("run", "claims", "versions", "sweep"):
                (place / f"{name}.json").write_bytes(as_json(parts.get(name)))
            (place / "notebooks" / "01_a.ipynb").write_bytes(as_json(parts.get("notebook")))
        errors = []
        for read in (
            lambda: record.claims_text(record.gather_claims(place)),
            lambda: record.claims_text(record.read_claims(place)),
            lambda: record.note_versions(place),
            lambda: sweeps.survival(sweeps.sweep_table(place)),
        ):
            try:
                read()
            except (ValueError, OSError) as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return False

    inputs = st.one_of(spoiled_content(whole).map(as_json), spoiled_bytes(as_json(run)))
    return Loader("run folder (JSON, notebook)", inputs, load, 200)


_CELL = """images: str = "faces"  # source
n: int = 3  # number [1..9]
x: float = 0.5  # share [0..1 step 0.25]
t: tuple = (1, 2)  # two
"""


def parameter_file() -> Loader:
    """YAML files of parameters, and grids of sweeps."""
    from aelib import parameters, sweeps

    def load(data: bytes, folder: Path) -> bool:
        notebooks = folder / "notebooks"
        notebooks.mkdir(exist_ok=True)
        cell = nbformat.v4.new_code_cell(_CELL, metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebooks / "01_a.ipynb")
        path = folder / "p.yaml"
        path.write_bytes(data)
        if b"grid" in data:
            sweeps.plan(sweeps.read_grid(path)["grid"], notebooks=notebooks)
        else:
            parameters.assign(parameters.read_profile(path), [notebooks / "01_a.ipynb"])
        return False

    profile, grid = (
        {"n": 3, "x": 0.5, "t": [3, 4], "01.n": 2},
        {"grid": {"n": [1, 2], "seed": 3, "filters": [8, 8]}},
    )
    texts = (
        b"# scale\nn: 3\nx: 0.5\nt: [3, 4]\n01.n: 2\n",
        b"grid:\n  n: [1, 2]\n  z_dim: [8, 16]\nnotebooks: ['01']\n",
    )
    inputs = st.one_of(
        *(spoiled_content(content).map(as_json) for content in (profile, grid)), *map(spoiled_bytes, texts)
    )
    return Loader("parameter file (YAML)", inputs, load, 200)


def notebook() -> Loader:
    """Spoil the parameters cell of a notebook, and the notebook around it."""
    from aelib import parameters

    def load(data: bytes, folder: Path) -> bool:
        path = folder / "01_a.ipynb"
        path.write_bytes(data)
        parameters.declared_parameters(path)
        return False

    def around(source: Any) -> bytes:
        cell = nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}, id="a")
        whole = json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
        whole["cells"][0]["source"] = source
        return as_json(whole)

    inputs = st.one_of(
        spoiled_bytes(_CELL.encode()).map(lambda data: around(data.decode("utf-8", "surrogateescape"))),
        spoiled_content(json.loads(around(_CELL))).map(as_json),
        spoiled_bytes(around(_CELL)),
    )
    return Loader("notebook", inputs, load, 200)


LOADERS = (image_folder, image_zip, pixel_cache, arrays, checkpoint, run_folder, parameter_file, notebook)
"""Each makes its loader when it is called: some bring Keras in."""
