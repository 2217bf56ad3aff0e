"""Plug-ins of host programs, against a real service: Krita and GIMP 3 for real where they are installed.

GIMP has a stand-in as well, with the calls that the plug-in uses, and nothing more: a call that is misspelt fails.
"""

import enum
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.serve.service import Service
from impasto.serve.settings import Listening, ServeSettings
from serving import HttpRunning
from tiny import noise

ROOT = Path(__file__).parents[2] / "integrations"
KEY = "a-long-key-0123456789"


@pytest.fixture
def running(engine):
    service = Service(engine, ServeSettings())
    service.start()
    running = HttpRunning(service, Listening(http_port=0, keys=(KEY,)))
    yield running
    running.close()


@pytest.fixture
def address(running):
    return f"http://127.0.0.1:{running.port}"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Copies a plug-in as `make integrations` does, and imports it."""
    loaded = []

    def load(name, module):
        folder = tmp_path / "plugins" / name
        shutil.copytree(ROOT / name, folder)
        place = (folder / module).parent
        shutil.copy(ROOT / "impasto_service.py", place)
        spec = importlib.util.spec_from_file_location(
            f"plugin_{name}", folder / module, submodule_search_locations=[str(place)]
        )
        made = importlib.util.module_from_spec(spec)
        loaded.append(spec.name)
        sys.modules[spec.name] = made
        monkeypatch.setattr(sys, "path", list(sys.path))
        spec.loader.exec_module(made)
        return made

    yield load
    for name in [*sys.modules]:
        if name == "impasto_service" or any(name.startswith(one) for one in loaded):
            del sys.modules[name]


def codes(seed, width=64, height=48):
    return np.rint(255 * noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy()).astype(np.uint8)


def png(seed):
    stream = io.BytesIO()
    Image.fromarray(codes(seed)).save(stream, format="PNG")
    return stream.getvalue()


def painted_by(engine, photo, painting):
    import impasto

    own = engine.stylize(photo, painting, impasto.Request(quality="draft"))
    return np.asarray(own.image)


# --- the service by the standard library -----------------------------------------------------------------------------


@pytest.fixture
def plain():
    spec = importlib.util.spec_from_file_location("plain_service", ROOT / "impasto_service.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_standard_library_suffices(plain, address, engine):
    shares = []
    service = plain.Service(address, KEY, pause=0.01)
    data = service.stylize(png(0), png(1), {"quality": "draft", "steps": ""}, lambda share: not shares.append(share))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), painted_by(engine, codes(0), codes(1)))
    assert shares


def test_mistakes_are_one_line(plain, address):
    service = plain.Service(address, KEY, pause=0.01)
    with pytest.raises(plain.ServiceError, match="strength is '2'; it takes a number from 0 to 1"):
        service.stylize(png(0), png(1), {"strength": 2})
    with pytest.raises(plain.ServiceError, match="API key"):
        plain.Service(address).stylize(png(0), png(1), {})
    with pytest.raises(plain.ServiceError, match="impasto serve"):
        plain.Service("http://127.0.0.1:1").styles()
    for wrong in ("127.0.0.1:8000", "file:///etc/passwd"):
        with pytest.raises(plain.ServiceError, match="begins with"):
            plain.Service(wrong)


def test_a_job_that_is_no_longer_wanted_stops(plain, address, running):
    service = plain.Service(address, KEY, pause=0.05)
    with pytest.raises(plain.ServiceError, match="stopped"):
        service.stylize(png(0), png(1), {"method": "optimize", "steps": 5000}, lambda share: False)
    assert all(live.stop.is_set() for live in running.service._live.values())


# --- ComfyUI ---------------------------------------------------------------------------------------------------------


def test_the_node_of_comfyui_paints_a_batch(load, address, engine):
    module = load("comfyui", "__init__.py")
    node = module.NODE_CLASS_MAPPINGS["ImpastoStylize"]
    assert set(module.NODE_CLASS_MAPPINGS) == set(module.NODE_DISPLAY_NAME_MAPPINGS)
    inputs = node.INPUT_TYPES()
    image = torch.from_numpy(np.stack([codes(0), codes(2)]).astype(np.float32) / 255)
    style = torch.from_numpy(codes(1)[None].astype(np.float32) / 255)
    given = {name: spec[1]["default"] for name, spec in inputs["required"].items() if len(spec) > 1}
    given |= {"quality": "draft", "image": image, "style": style, "service": address, "key": KEY}
    (painted,) = getattr(node(), node.FUNCTION)(**given)
    assert (painted.shape, painted.dtype) == (image.shape, torch.float32)
    own = painted_by(engine, codes(2), codes(1)).astype(np.float32) / 255
    assert np.abs(painted[1].numpy() - own).max() < 1.5 / 255
    with pytest.raises(ValueError, match="needs a style"):
        getattr(node(), node.FUNCTION)(**{**given, "style": None})


def test_the_choices_of_comfyui_are_those_of_the_service(load):
    from impasto import settings
    from impasto.methods import recipes, registry

    inputs = load("comfyui", "__init__.py").ImpastoStylize.INPUT_TYPES()
    assert tuple(inputs["required"]["quality"][0]) == recipes.QUALITIES
    knobs = {knob.name: knob for knob in settings.knobs_of(registry.find("optimize").load_knobs())}
    given = inputs["required"]["strength"][1]
    assert (given["min"], given["max"]) == (knobs["strength"].low, knobs["strength"].high)


# --- GIMP ------------------------------------------------------------------------------------------------------------


class _Layer:
    def __init__(self, pixels, offsets=(0, 0)):
        self.pixels, self.offsets, self.name, self.parent = pixels, offsets, "", None

    def get_width(self):
        return self.pixels.shape[1]

    def get_height(self):
        return self.pixels.shape[0]

    def get_offsets(self):
        return (True, *self.offsets)

    def set_offsets(self, x, y):
        self.offsets = (x, y)

    def set_name(self, name):
        self.name = name

    def get_parent(self):
        return self.parent


class _Image:
    def __init__(self, width, height):
        self.size, self.layers, self.undo, self.deleted = (width, height), [], 0, False

    def insert_layer(self, layer, parent, position):
        assert parent is None
        self.layers.insert(position, layer)

    def get_item_position(self, layer):
        return self.layers.index(layer)

    def undo_group_start(self):
        self.undo += 1

    def undo_group_end(self):
        self.undo -= 1

    def delete(self):
        self.deleted = True


class _Procedure:
    """Takes what describes it; its configuration has the defaults."""

    def __init__(self, name, run):
        self.name, self.run, self.values, self.told = name, run, {}, {}

    def _argument(self, name, label, about, *more):
        assert label
        assert about
        self.values[name] = more[-2]

    add_string_argument = add_choice_argument = add_double_argument = add_file_argument = _argument

    def set_image_types(self, types):
        self.told["types"] = types

    def set_sensitivity_mask(self, mask):
        self.told["mask"] = mask

    def set_menu_label(self, label):
        self.told["label"] = label

    def add_menu_path(self, path):
        self.told["path"] = path

    def set_documentation(self, blurb, text, name):
        assert blurb
        assert text
        assert name == self.name

    def set_attribution(self, author, copied, year):
        assert author
        assert copied
        assert year

    def new_return_values(self, status, error):
        return status, error

    def get_property(self, name):
        return self.values[name]


class _File:
    def __init__(self, path):
        self.path = path

    def get_path(self):
        return self.path


@pytest.fixture
def gimp(monkeypatch):
    """A stand-in for `gi` with the parts of GIMP 3 that the plug-in uses."""
    shares = []
    status = enum.Enum("PDBStatusType", "SUCCESS CANCEL EXECUTION_ERROR")
    mode = enum.Enum("RunMode", "INTERACTIVE NONINTERACTIVE")
    kinds = types.SimpleNamespace

    class PlugIn:
        __gtype__ = "type"

    class Choice:
        words: list

        @classmethod
        def new(cls):
            made = cls()
            made.words = []
            return made

        def add(self, word, number, label, about):
            self.words.append(word)

    def save(run_mode, image, file, options):
        assert run_mode is mode.NONINTERACTIVE
        Image.fromarray(image.layers[0].pixels).save(file.path)

    def load_layer(run_mode, image, file):
        return _Layer(np.asarray(Image.open(file.path).convert("RGB")))

    gimp = kinds(
        PlugIn=PlugIn,
        Choice=Choice,
        PDBStatusType=status,
        RunMode=mode,
        PDBProcType=kinds(PLUGIN="plug-in"),
        ImageBaseType=kinds(RGB="rgb"),
        ProcedureSensitivityMask=kinds(DRAWABLE=1),
        FileChooserAction=kinds(OPEN="open"),
        ImageProcedure=kinds(new=lambda plug_in, name, kind, run, data: _Procedure(name, run)),
        Image=kinds(new=lambda width, height, kind: _Image(width, height)),
        Layer=kinds(new_from_drawable=lambda layer, image: _Layer(layer.pixels.copy())),
        file_save=save,
        file_load_layer=load_layer,
        progress_init=lambda text: None,
        progress_update=shares.append,
        displays_flush=lambda: None,
        main=lambda kind, arguments: None,
        shares=shares,
    )
    glib = kinds(Error=lambda text="": text)
    gio = kinds(File=kinds(new_for_path=_File))
    flags = kinds(ParamFlags=kinds(READWRITE=3))
    repository = kinds(Gimp=gimp, GimpUi=kinds(), Gio=gio, GLib=glib, GObject=flags)
    gi = types.ModuleType("gi")
    gi.require_version = lambda name, version: None
    gi.repository = repository
    monkeypatch.setitem(sys.modules, "gi", gi)
    monkeypatch.setitem(sys.modules, "gi.repository", repository)
    return gimp


def plugin_of_gimp(load):
    module = load("gimp", "impasto-stylize/impasto-stylize.py")
    plug_in = module.ImpastoStylize()
    (name,) = plug_in.do_query_procedures()
    return plug_in.do_create_procedure(name)


def test_the_plug_in_of_gimp_paints_a_layer(load, gimp, address, engine, tmp_path):
    procedure = plugin_of_gimp(load)
    painting = tmp_path / "painting.png"
    painting.write_bytes(png(1))
    procedure.values |= {"quality": "draft", "service": address, "key": KEY, "style-file": _File(str(painting))}
    image, layer = _Image(100, 90), _Layer(codes(0), (5, 7))
    image.layers = [_Layer(codes(3)), layer]
    answer = procedure.run(procedure, gimp.RunMode.NONINTERACTIVE, image, [layer], procedure, None)
    assert answer == (gimp.PDBStatusType.SUCCESS, "")
    made = image.layers[1]
    assert image.layers[2] is layer
    assert (made.name, made.offsets, image.undo) == ("Impasto", (5, 7), 0)
    assert np.array_equal(made.pixels, painted_by(engine, codes(0), codes(1)))
    assert gimp.shares


def test_gimp_shows_what_went_wrong(load, gimp, address):
    procedure = plugin_of_gimp(load)
    procedure.values |= {"service": address, "style": "/etc/passwd", "key": KEY}
    image = _Image(64, 48)
    image.layers = [_Layer(codes(0))]
    status, text = procedure.run(procedure, gimp.RunMode.NONINTERACTIVE, image, image.layers, procedure, None)
    assert status is gimp.PDBStatusType.EXECUTION_ERROR
    assert "passwd" in text
    assert len(image.layers) == 1


IN_GIMP = """
import json, sys
from gi.repository import Gimp, Gio
told = json.load(open({told!r}))
image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(told["photo"]))
layer = image.get_layers()[0]
layer.set_offsets(5, 7)
procedure = Gimp.get_pdb().lookup_procedure("impasto-stylize")
config = procedure.create_config()
config.set_property("image", image)
config.set_core_object_array("drawables", [layer])
for name, value in told["settings"].items():
    config.set_property(name, value)
if told["painting"]:
    config.set_property("style-file", Gio.File.new_for_path(told["painting"]))
answer = procedure.run(config)
error = Gimp.get_pdb().get_last_error()
layers = image.get_layers()
where = [(one.get_name(), list(one.get_offsets())[1:]) for one in layers]
found = {{"status": answer.index(0).value_nick, "error": error, "layers": where}}
if len(layers) > 1:
    painted = image.duplicate()
    for one in painted.get_layers()[1:]:
        painted.remove_layer(one)
    painted.resize_to_layers()
    Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, painted, Gio.File.new_for_path(told["result"]), None)
json.dump(found, open(told["found"], "w"))
"""


@pytest.mark.process
@pytest.mark.skipif(shutil.which("gimp-console-3.0") is None, reason="GIMP 3 is not installed: Debian 12 has none")
@pytest.mark.parametrize("style", ["picture", "unknown"])
def test_the_plug_in_runs_in_gimp(address, engine, tmp_path, style):
    folder = tmp_path / "gimp" / "plug-ins" / "impasto-stylize"
    shutil.copytree(ROOT / "gimp" / "impasto-stylize", folder)
    shutil.copy(ROOT / "impasto_service.py", folder)
    for name, seed in (("photo", 0), ("painting", 1)):
        (tmp_path / f"{name}.png").write_bytes(png(seed))
    settings = {"quality": "draft", "service": address, "key": KEY, "style": "no such painting"}
    told = {name: str(tmp_path / f"{name}.png") for name in ("photo", "painting", "result")}
    told |= {"settings": settings, "found": str(tmp_path / "found.json")}
    told["painting"] = told["painting"] if style == "picture" else ""
    (tmp_path / "told.json").write_text(json.dumps(told))
    code = IN_GIMP.format(told=str(tmp_path / "told.json"))
    words = ["gimp-console-3.0", "-i", "--batch-interpreter=python-fu-eval", "-b", code, "--quit"]
    environment = {**os.environ, "HOME": str(tmp_path), "GIMP3_DIRECTORY": str(tmp_path / "gimp")}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert (tmp_path / "found.json").exists(), done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    if style == "unknown":
        assert found["status"] != "success"
        assert "there is no museum here" in found["error"]  # as the service of these tests says
        assert len(found["layers"]) == 1
        return
    assert found["status"] == "success", found
    assert found["layers"][0] == ["Impasto", [5, 7]]
    with Image.open(tmp_path / "result.png") as made:
        assert np.array_equal(np.asarray(made.convert("RGB")), painted_by(engine, codes(0), codes(1)))


def test_gimp_finds_the_plug_in():
    """Its file is called like its folder, and may be run."""
    (script,) = (ROOT / "gimp").glob("*/*.py")
    assert script.stem == script.parent.name
    assert os.access(script, os.X_OK)


# --- Krita -----------------------------------------------------------------------------------------------------------

IN_KRITA = """
import json, os
from krita import Krita
from PyQt5.QtCore import QByteArray
import impasto_stylize
from impasto_stylize.impasto_service import Service, ServiceError

def main(args=None):
    given = json.load(open(os.environ["GIVEN"]))
    document = Krita.instance().createDocument(64, 48, "test", "RGBA", "U8", "", 120.0)
    layer = document.topLevelNodes()[0]
    layer.setPixelData(QByteArray(bytes(given["pixels"])), 0, 0, 64, 48)
    document.refreshProjection()
    service = Service(given["address"], given["key"], pause=0.01)
    style = open(given["style"], "rb").read()
    told = {}
    made = impasto_stylize.stylize(document, layer, style, {"quality": "draft"}, service, lambda share: True)
    told["names"] = [node.name() for node in document.topLevelNodes()]
    told["pixels"] = list(bytes(made.pixelData(0, 0, 64, 48)))
    other = Krita.instance().createDocument(64, 48, "deep", "RGBA", "U16", "", 120.0)
    try:
        impasto_stylize.stylize(other, other.topLevelNodes()[0], style, {}, service, lambda share: True)
    except ServiceError as error:
        told["error"] = str(error)
    dialog = impasto_stylize._Dialog()
    dialog._style.setText(given["style"])
    told["dialog"] = [len(dialog.style()), dialog.settings(), type(dialog.service()).__name__]
    dialog._quality.setCurrentText("best")
    dialog._accepted()
    again = impasto_stylize._Dialog()
    told["again"] = [again._style.text() == given["style"], again.settings()["quality"]]
    json.dump(told, open(os.environ["TOLD"], "w"))

def __main__(args):
    main(args)
"""


@pytest.mark.process
def test_the_plug_in_of_krita_paints_a_layer(address, engine, tmp_path):
    runner = shutil.which("kritarunner")
    if runner is None:
        pytest.skip("Krita is not installed")
    shutil.copytree(ROOT / "krita" / "impasto_stylize", tmp_path / "impasto_stylize")
    shutil.copy(ROOT / "impasto_service.py", tmp_path / "impasto_stylize")
    (tmp_path / "in_krita.py").write_text(IN_KRITA)
    (tmp_path / "style.png").write_bytes(png(1))
    blue_first = np.dstack([codes(0)[..., ::-1], np.full((48, 64), 255, np.uint8)])
    given = {
        "pixels": blue_first.ravel().tolist(),
        "address": address,
        "key": KEY,
        "style": str(tmp_path / "style.png"),
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    places = {name: str(tmp_path / "home") for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")}
    (tmp_path / "home").mkdir(mode=0o700)
    more = {"PYTHONPATH": str(tmp_path), "QT_QPA_PLATFORM": "offscreen", "GIVEN": str(tmp_path / "given.json")}
    told = tmp_path / "told.json"
    environment = {"PATH": os.environ["PATH"], **places, **more, "TOLD": str(told)}
    done = subprocess.run(
        [runner, "-s", "in_krita"], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if "No module named 'PyQt5'" in done.stdout + done.stderr:
        pytest.skip("Krita is installed without PyQt5")
    assert told.exists(), done.stdout + done.stderr
    found = json.loads(told.read_text())
    assert found["names"] == ["Background", "Impasto"]
    shown = np.array(found["pixels"], np.uint8).reshape(48, 64, 4)
    assert np.array_equal(shown[..., 2::-1], painted_by(engine, codes(0), codes(1)))
    assert (shown[..., 3] == 255).all()
    assert "8 bits" in found["error"]
    assert found["dialog"] == [len(png(1)), {"quality": "good", "strength": 1.0}, "Service"]
    assert found["again"] == [True, "best"]


def test_krita_finds_the_plug_in():
    lines = dict(
        line.split("=", 1)
        for line in (ROOT / "krita" / "impasto_stylize.desktop").read_text().splitlines()
        if "=" in line
    )
    assert (ROOT / "krita" / lines["X-KDE-Library"] / "__init__.py").is_file()
    assert (ROOT / "krita" / lines["X-KDE-Library"] / lines["X-Krita-Manual"]).is_file()
    assert lines["ServiceTypes"] == "Krita/PythonPlugin"
