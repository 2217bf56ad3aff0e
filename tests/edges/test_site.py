"""The documentation site: it builds without a warning, works offline, and has a page for everything.

`make docs` builds it from mkdocs.yml. What the pages say is checked without building: the gallery, the model cards, and
the tables for people who come from other tools.
"""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import typer

from impasto import assets, settings
from impasto.cli import app
from impasto.methods import recipes, registry

ROOT = Path(__file__).parents[2]
_NAMES = ("images", "videos", "assets", "metrics", "report", "train", "lettering", "keras")
PACKAGES = ["impasto", *(f"impasto.{name}" for name in _NAMES)]
FOR_PLUGINS = ["impasto.contract", "impasto.settings", "impasto.methods.registry", "impasto.errors"]
CHROMIUM = shutil.which("chromium")
CONTROLS = [
    *("--strength", "--strength-map", "--keep-color", "--color-only", "--region", "--feather", "--preserve"),
    *("--protect-faces", "--seamless", "--style-scale", "--content-weight", "--style-loss", "--init", "--canvas"),
    *("--encoder", "--tv-weight", "--detail", "impasto mix", "impasto texture"),
]


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def public_names(module):
    """What `__all__` lists; of a module without one, its classes, functions and types without an underscore."""
    path = ROOT / "src" / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
    return [name for name in names if not name.startswith("_")]


# --- the built site --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built once."""
    for package in ("mkdocs", "material", "mkdocstrings", "mkdocs_static_i18n", "rjieba"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: it is in the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")  # strict: no broken link, no lost anchor
    return folder


@pytest.mark.process
@pytest.mark.parametrize("module", [*PACKAGES, *FOR_PLUGINS])
def test_every_public_name_is_on_a_page(module, site):
    from mkdocstrings import Inventory

    with (site / "objects.inv").open("rb") as file:
        shown = Inventory.parse_sphinx(file)
    assert f"::: {module}\n" in "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    missing = [name for name in public_names(module) if f"{module}.{name}" not in shown]
    assert not missing, f"docs/reference/ shows nothing of {missing}; has it a docstring?"


@pytest.mark.process
def test_every_page_is_there_in_both_languages(site):
    english = {path.relative_to(site) for path in site.rglob("*.html") if path.relative_to(site).parts[0] != "zh"}
    chinese = {path.relative_to(site / "zh") for path in (site / "zh").rglob("*.html")}
    assert english - {Path("404.html")} == chinese - {Path("404.html")}
    assert Path("docs/reference/impasto.html") in english


@pytest.mark.process
def test_the_switch_of_languages_leads_to_the_same_page(site):
    page = (site / "docs" / "gallery.html").read_text(encoding="utf-8")
    assert re.search(r'href="\.\./zh/docs/gallery\.html" hreflang="zh"', page)
    page = (site / "zh" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'href="\.\./index\.html" hreflang="en"', page)


@pytest.mark.process
def test_nothing_is_loaded_from_elsewhere(site):
    loaded = re.compile(r"<(?:script|img|iframe|source)[^>]+src=\"(?:https?:)?//|<link[^>]+href=\"(?:https?:)?//")
    foreign = [path for path in site.rglob("*.html") if loaded.search(path.read_text(encoding="utf-8"))]
    foreign += [path for path in site.rglob("*.css") if re.search(r"url\(\s*[\"']?(https?:)?//", path.read_text())]
    assert not foreign


@pytest.mark.process
def test_each_language_has_its_own_index(site):
    def titles(folder):
        index = json.loads((folder / "search" / "search_index.json").read_text(encoding="utf-8"))
        return {entry["location"]: entry["title"] for entry in index["docs"]}

    assert titles(site)["docs/from-scratch.html"] == "Neural style transfer from scratch"
    assert {"神经", "风格"} <= set(titles(site / "zh")["docs/from-scratch.html"].split("\u200b"))
    assert not [location for location in (*titles(site), *titles(site / "zh")) if location.startswith("zh/")]


@pytest.mark.process
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; make test installs it where it can (apt-get)")
def test_search_works_from_a_folder(site):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it is in the extra dev")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 1000})
        for page, words, found in (
            ("docs/gallery.html", "wasserstein", "Which loss to choose"),
            ("zh/docs/gallery.html", "神经风格迁移", "从零开始的神经风格迁移"),
        ):
            tab.goto((site / page).as_uri())
            tab.locator(".md-search__input").click()
            tab.keyboard.insert_text(words)
            tab.keyboard.press("Shift")  # what an input method also sends
            tab.wait_for_selector(".md-search-result__article h1")
            results = tab.locator(".md-search-result__article h1").all_text_contents()
            assert found in [text.replace("\u200b", "") for text in results]
            tab.locator(".md-search-result__link", has=tab.locator("h1")).nth(0).click()
            tab.wait_for_load_state()
            opened = Path(tab.url.split("?")[0].removeprefix("file://"))
            assert opened.exists()
            assert opened.is_relative_to((site / page).parents[1])
        browser.close()


# --- what the pages say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["docs/gallery.md", "docs/gallery.zh.md"])
def test_the_gallery_has_every_method_quality_and_control(page):
    text = read(page)
    named = [*(f"`{name}`" for name in (*registry.methods(), *recipes.QUALITIES[1:])), "`--quality draft`", *CONTROLS]
    assert not [name for name in named if name not in text]
    check_pictures(text, {path for path in (ROOT / "docs/images").glob("*/*.jpg") if path.parent.name != "studio"})


@pytest.mark.parametrize("page", ["docs/studio.md", "docs/studio.zh.md"])
def test_the_studio_is_shown_in_every_state(page):
    check_pictures(read(page), (ROOT / "docs/images/studio").glob("*.jpg"))


def check_pictures(text, paths):
    """A page shows all these pictures, and what it shows is small."""
    shown = set(re.findall(r"\]\((images/[^)]+)\)", text))
    assert {path.relative_to(ROOT / "docs").as_posix() for path in paths} <= shown
    for picture in shown:
        assert (ROOT / "docs" / picture).stat().st_size < 250_000


@pytest.mark.parametrize("page", ["docs/models.md", "docs/models.zh.md"])
def test_every_weight_has_a_card_that_says_what_is_declared(page):
    cards = dict(re.findall(r"^### ([\w-]+)\n(.+?)(?=^##|\Z)", read(page), re.MULTILINE | re.DOTALL))
    declared = {key: asset for key, asset in assets.declared_assets().items() if asset.kind in ("weights", "networks")}
    assert set(cards) == set(declared)
    for name, asset in declared.items():
        assert f"{asset.bytes:,}" in cards[name], name
        assert set(re.findall(r"arXiv:[\d.]+\d", asset.paper)) <= set(re.findall(r"arXiv:[\d.]+\d", cards[name])), name
        assert asset.licence.split(",")[0] in cards[name], name
        assert re.split(r"[ ;,]", asset.trained_on)[0] in cards[name] or "portrait" in asset.trained_on, name
    for name in ("pack", "arbitrary"):
        size = (ROOT / f"src/impasto/assets/{name}.safetensors").stat().st_size
        assert f"{size:,}" in read(page)


@cache
def options_of(words):
    """The flags of a command, such as "train arbitrary"."""
    command = typer.main.get_command(app.app)
    for word in words.split():
        command = command.commands[word]
    return {flag for entry in command.params for flag in entry.opts}


def tables(page):
    """Each table as rows of cells."""
    for table in re.findall(r"(?:^\|.+\|\n)+", read(page), re.MULTILINE):
        yield [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()]


@pytest.mark.parametrize("page", ["docs/coming-from.md", "docs/coming-from.zh.md"])
def test_our_options_for_people_who_come_from_elsewhere_exist(page):
    seen = 0
    for header, _, *rows in tables(page):
        [column] = [index for index, cell in enumerate(header) if cell.startswith("`impasto ")]
        flags = options_of(header[column].strip("`").removeprefix("impasto "))
        known = flags | options_of("stylize") | options_of("train") | options_of("train arbitrary")
        for row in rows:
            assert len(row) == len(header), row
            named = re.findall(r"--[\w-]+", row[column])
            seen += len(named)
            assert set(named) <= flags, row
            remarks = " ".join(row[column + 1 :])
            assert {flag for flag in re.findall(r"--[\w-]+", remarks) if "_" not in flag} <= known, row
    assert seen > 50


def test_both_languages_map_the_same_options():
    spans = [re.findall(r"`([^`]+)`", "\n".join(map(str, tables(f"docs/coming-from{end}.md")))) for end in ("", ".zh")]
    assert spans[0] == spans[1]


def test_settings_that_have_a_picture_exist():
    knobs = {knob.flag for method in registry.BUILT_IN for knob in settings.knobs_of(method.load_knobs())}
    known = knobs | options_of("stylize") | options_of("texture")
    assert {name for name in CONTROLS if name.startswith("--")} <= known
