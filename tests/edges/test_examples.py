"""The examples of the service run, each by its own program, against a real server."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from impasto.serve.service import Service
from impasto.serve.settings import Listening, ServeSettings
from serving import GrpcRunning, HttpRunning

FOLDER = Path(__file__).parents[2] / "examples" / "service"
KEY = "a-long-key-0123456789"


@pytest.fixture(params=["http"])
def environment(request, engine):
    service = Service(engine, ServeSettings())
    service.start()
    kind = {"http": HttpRunning, "grpc": GrpcRunning}[request.param]
    running = kind(service, Listening(http_port=0, grpc_port=0, keys=(KEY,)))
    yield {**os.environ, "IMPASTO_SERVICE": f"{request.param}://127.0.0.1:{running.port}", "IMPASTO_KEY": KEY}
    running.close()


def ran(program, script, folder, environment, style="painting.png", photo="photo.png"):
    words = [program, str(FOLDER / script), photo, style, "out.png"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(picture_file):
    picture_file("painting.png", seed=1)
    return picture_file("photo.png").parent


def size(path):
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.process
def test_the_example_of_curl(folder, environment):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    code, told = ran("bash", "paint.sh", folder, environment)
    assert code == 0, told
    assert (size(folder / "out.png"), size(folder / "out.jpg")) == ((64, 48), (64, 48))
    assert told.splitlines()[-1] == "event: done"
    code, told = ran("bash", "paint.sh", folder, {**environment, "IMPASTO_KEY": "wrong"})
    assert code != 0
    odd = {name: shutil.copy(folder / name, folder / f'a;b, "{name}') for name in ("photo.png", "painting.png")}
    (folder / "out.png").unlink()
    code, told = ran("bash", "paint.sh", folder, environment, photo=odd["photo.png"], style=odd["painting.png"])
    assert (code, size(folder / "out.png")) == (0, (64, 48)), told


@pytest.mark.process
@pytest.mark.parametrize("environment", ["http", "grpc"], indirect=True)
def test_the_example_of_python(folder, environment):
    code, told = ran(sys.executable, "paint.py", folder, environment)
    assert code == 0, told
    assert (size(folder / "out.png"), size(folder / "out.jpg")) == ((64, 48), (48, 36))
    assert "done" in told.split()
    code, told = ran(sys.executable, "paint.py", folder, environment, style="nowhere.png")
    assert code == 1
    assert "Traceback" not in told
    assert "nowhere.png" in told


@pytest.mark.process
def test_the_example_of_javascript(folder, environment):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.match(r"v(\d+)", version)[1]) < 20:
        pytest.skip(f"node is {version.strip()}; the example takes 20 or newer")
    code, told = ran(node, "paint.mjs", folder, environment)
    assert code == 0, told
    assert size(folder / "out.png") == (64, 48)
    assert "100 %" in told
    code, told = ran(node, "paint.mjs", folder, environment, style="nowhere.png")
    assert (code, "nowhere.png" in told) == (1, True)


@pytest.mark.parametrize("environment", ["http", "grpc"], indirect=True)
@pytest.mark.parametrize("page", ["client.md", "client.zh.md"])
def test_the_code_of_the_page_runs(folder, environment, monkeypatch, page):
    """The blocks of Python in order, against this server."""
    for name in ("photo", "painting"):
        Image.open(folder / f"{name}.png").save(folder / f"{name}.jpg")
    monkeypatch.chdir(folder)
    text = (FOLDER.parents[1] / "docs" / page).read_text(encoding="utf-8")
    here = f'Client("{environment["IMPASTO_SERVICE"]}", key="{KEY}")'
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(re.sub(r'Client\("[^"]*"\)', here, block), names)
    assert size(folder / "out.png") == size(folder / "out.jpg") == (64, 48)
    assert len(names["paintings"]) == 3


def test_the_notebook(folder, environment, monkeypatch):
    """Its cells run in order, made small; the last expression of each is evaluated, as a notebook does."""
    notebook = json.loads((FOLDER / "paint.ipynb").read_text())
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    for name in ("photo", "painting"):
        Image.open(folder / f"{name}.png").save(folder / f"{name}.jpg")
    monkeypatch.chdir(folder)
    for name in ("IMPASTO_SERVICE", "IMPASTO_KEY"):
        monkeypatch.setenv(name, environment[name])
    names = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = re.sub(r"\bsize=\d+", "size=48", re.sub(r"\bsteps=\d+", "steps=4", "".join(cell["source"])))
            exec(compile(source, "notebook", "exec"), names)
    assert names["ends"] == ["done"] * 3
    assert names["losses"][0] > names["losses"][-1]
    assert names["draft"].image.size == (48, 36)
    assert size(folder / "out.png") == (48, 36)
