"""Tests of aelib.application: what is shown, and to whom; that it is shown is tested in test_explorer_browser."""

import json
import os
import tomllib
from unittest import mock

import nbformat
import pytest
import yaml

from aelib import __main__ as command_line
from aelib import application
from aelib._websocket import PromptConnection, ZMQChannelsWebsocketConnection
from aelib.parameters import declared_parameters
from aelib.series import ROOT


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    asked = {"images": "photos:/pictures", "n_images": 500, "seed": 3, "few": 7}
    (folder / "parameters.yaml").write_text(yaml.safe_dump(asked))
    (folder / "data.json").write_text(json.dumps({"source": "photos:/pictures"}))
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "checkpoint.json").write_text(json.dumps({"model_sha256": "abc"}))
    (folder / "checkpoint.json").write_text(json.dumps({"folder": "checkpoint", "model_sha256": "abc"}))
    return folder


def test_without_a_choice_the_notebook_s_own_parameters_hold():
    assert application.chosen_parameters() == {}


def test_a_run_brings_its_images_and_its_network(run):
    expected = {
        "images": "photos:/pictures",
        "n_images": 500,
        "seed": 3,
        "checkpoint": str(run / "checkpoint"),
    }
    assert application.chosen_parameters(run) == expected
    assert application.chosen_parameters(run, n_images=99)["n_images"] == 99


def test_a_run_is_found_by_its_name(run, monkeypatch):
    monkeypatch.setattr(application, "RUNS", run.parent)
    assert application.chosen_parameters("mine")["seed"] == 3


def test_paths_do_not_depend_on_where_the_kernel_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = application.chosen_parameters(images="photos:holiday", checkpoint="nets/a")
    assert values == {"images": f"photos:{tmp_path / 'holiday'}", "checkpoint": str(tmp_path / "nets" / "a")}


def test_a_wrong_choice_is_refused_before_anything_starts(tmp_path, capsys):
    with pytest.raises(ValueError, match="no run 'none'"):
        application.chosen_parameters("none")
    with pytest.raises(ValueError, match="n_images"):
        application.chosen_parameters(n_images=2)
    assert command_line.main(["explore", "none"]) == 2
    assert "there is no run 'none'" in capsys.readouterr().err


def test_the_notebook_is_written_with_the_choice(tmp_path):
    path = application.write_notebook(tmp_path, {"n_images": 123})
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    injected = next(c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", ()))
    assert "n_images = 123" in injected.source
    assert declared_parameters(application.NOTEBOOK)["n_images"].default == 20_000


def test_the_served_notebook_is_gone_when_the_server_ends(monkeypatch):
    served = []

    def interrupted(notebook, **how):
        served.append((notebook, notebook.read_text(encoding="utf-8"), how))
        raise KeyboardInterrupt

    monkeypatch.setattr(application, "serve_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        application.serve({"n_images": 123}, port=9000, open_browser=False)
    ((notebook, text, how),) = served
    assert "n_images = 123" in text
    assert how == {"port": 9000, "open_browser": False}
    assert not notebook.parent.exists()


def test_the_environment_is_as_before_when_the_server_has_ended(monkeypatch):
    for path, bars in ((None, None), ("/mine", "0")):
        for name, value in (("JUPYTER_PATH", path), ("TQDM_DISABLE", bars)):
            monkeypatch.delenv(name, raising=False)
            if value:
                monkeypatch.setenv(name, value)
        with application._environment():
            first, *others = os.environ["JUPYTER_PATH"].split(os.pathsep)
            assert (first, others) == (str(application.TEMPLATES), [path] if path else [])
            assert os.environ["TQDM_DISABLE"] == "1"
        assert (os.environ.get("JUPYTER_PATH"), os.environ.get("TQDM_DISABLE")) == (path, bars)


def test_it_is_served_to_this_machine_only(tmp_path):
    options = application._options(tmp_path / "a.ipynb", port=5)
    assert options[0] == str(tmp_path / "a.ipynb")
    assert {"--Voila.ip=127.0.0.1", "--Voila.port=5", "--VoilaConfiguration.template=aelib"} <= set(options)


def test_jupyter_is_told_of_the_prompt_websocket():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    ((source, place),) = shared.items()
    assert place.startswith("etc/jupyter/jupyter_server_config.d/")
    named = json.loads((ROOT / source).read_text(encoding="utf-8"))["ServerApp"][
        "kernel_websocket_connection_class"
    ]
    assert named == "aelib._websocket.PromptConnection"


def test_the_websocket_sends_at_once(monkeypatch):
    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda connection: "connected")
    handler = mock.Mock()
    assert PromptConnection.connect(_Bare(handler)) == "connected"
    handler.set_nodelay.assert_called_once_with(True)


class _Bare(PromptConnection):
    """A connection without a kernel."""

    def __init__(self, handler):
        self._handler = handler

    websocket_handler = property(lambda self: self._handler)


def test_our_page_names_no_other_host():
    texts = [path.read_text(encoding="utf-8") for path in application.TEMPLATES.rglob("*.j2")]
    assert len(texts) == 2
    assert not any("http" in text for text in texts)
