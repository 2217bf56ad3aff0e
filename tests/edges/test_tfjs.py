"""What `impasto export --to tfjs` writes, in TensorFlow.js itself: in Node, and on the guide's page in a browser."""

import base64
import functools
import http.server
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from impasto import images
from impasto.assets import Store
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import StyleError
from impasto.export import tfjs
from impasto.export.model import Exportable
from impasto.metrics._pixels import ssim
from impasto.models import catalog, networks
from impasto.models.network_specs import NetworkSpec
from tiny import noise

CHROMIUM = shutil.which("chromium")
PAGES = Path(__file__).parents[2] / "docs"
ROWS = {
    "whole": NetworkSpec("", "", (4, 6, 8), 2, False, 9, 1, 5, 0, False),
    "separable": NetworkSpec("", "", (4, 6, 8), 2, True, 5, 2, 0, 0, True),
    "headed": NetworkSpec("", "", (4, 6, 8), 1, False, 5, 2, 3, 6, False),
}

pytestmark = [pytest.mark.real, pytest.mark.process]


@pytest.fixture(scope="module")
def library():
    store = Store()
    if not store.is_present(tfjs.LIBRARY) and shutil.which("npm") is None:
        pytest.skip("no npm here, which fetches TensorFlow.js")
    return store.file(tfjs.LIBRARY, "tf.min.js")


@pytest.fixture(params=ROWS)
def model(request, tmp_path):
    generator = torch.Generator().manual_seed(3)
    network = networks.Network(ROWS[request.param], generator).requires_grad_(False)
    tensors = dict(network.state_dict())
    for name in ("a", "b"):
        tensors[f"style.{name}"] = network.neutral_code()[0] + 0.3 * torch.randn(
            network.code_length, generator=generator
        )
    networks.Trained(tensors, {}).save(tmp_path / "net.safetensors")
    return Exportable.of_network(tmp_path / "net.safetensors")


@pytest.fixture
def painted(model, library, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("no Node here")
    tfjs.write(model, tmp_path / "model", None)
    painter, runtime = tfjs.load(tmp_path / "model", model)
    assert runtime == "TensorFlow.js 4.22.0 in Node"
    return painter


def test_odd_sides_edges_and_batches_in_node(painted, model):
    """Doubling, mirrored edges, a code for each picture, and sides that no stride divides."""
    two = np.concatenate(model.seconds)
    ramp = np.broadcast_to(np.linspace(0, 1, 47, dtype=np.float32), (2, 3, 33, 47)).copy()
    ramp[:, :, 0], ramp[:, :, -1] = 1, 0
    for image in (ramp, noise(40, 32, batch=2).numpy()):
        made = painted(image, two)
        np.testing.assert_allclose(made, model.reference(image, two), atol=2e-5)
        np.testing.assert_allclose(made[1:], painted(image[1:], two[1:]), atol=1e-6)


def test_faint_and_harsh_pictures_in_node(painted, model):
    """Instance normalisation of next to nothing, and of nothing but contrast."""
    noisy, code = noise(32, 48).numpy(), 2 * model.seconds[1]  # none of its styles
    for image in (0.25 + 0.02 * noisy, (noisy > 0.5).astype(np.float32)):
        np.testing.assert_allclose(painted(image, code), model.reference(image, code), atol=1e-4)


@pytest.mark.parametrize("model", ["whole"], indirect=True)
def test_a_broken_folder_is_told(painted, model, tmp_path):
    (tmp_path / "model" / "impasto-1.bin").write_bytes(b"")
    with pytest.raises(StyleError, match=r"TensorFlow\.js cannot paint"):
        painted(noise(32, 32).numpy(), model.seconds[0])


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory, library, photos):
    """The guide's pages, with the pack and a photograph, served."""
    if CHROMIUM is None:
        pytest.skip("no chromium here; make test installs it where it can (apt-get)")
    folder = tmp_path_factory.mktemp("tfjs")
    tfjs.write(Exportable.of_network(catalog.PACK), folder / "pack", None)
    (folder / "tf.min.js").write_bytes(library.read_bytes())
    images.write(images.read(images.read(photos / "coffee.png").resized(133, 200).pixels), folder / "photo.png")
    for page in ("deploy.md", "deploy.zh.md"):
        (text,) = re.findall(r"^```html\n(.*?)^```$", (PAGES / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
        (folder / f"{page}.html").write_text(f"<!doctype html>{text.replace('photo.jpg', 'photo.png')}")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_page_of_the_guide_paints_as_python_does(site):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it is in the extra dev")
    folder, address = site
    texts = {(folder / f"{page}.html").read_text() for page in ("deploy.md", "deploy.zh.md")}
    assert len(texts) == 1
    with sync_api.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab, complaints = browser.new_page(), []
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(address + "deploy.md.html")
        tab.wait_for_function("document.querySelector('#pastiche').width == 200", timeout=600_000)
        data = tab.evaluate("document.querySelector('#pastiche').toDataURL()")
        browser.close()
    assert complaints == []
    (folder / "made.png").write_bytes(base64.b64decode(data.partition(",")[2]))
    made = images.read(folder / "made.png").pixels
    meant = (
        Engine(precision="float32", device="cpu").stylize(folder / "photo.png", "pack:irises", Request()).picture.pixels
    )
    assert ssim(made, meant) > 0.999
    assert np.abs(made - meant).max() < 1 / 255
