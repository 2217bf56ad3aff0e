"""The documentation keeps its word: its code runs, its links lead somewhere, it names every command and setting.

The rules for code in README.md, ARCHITECTURE.md, CONTRIBUTING.md and docs/:

- Python blocks of a page run in order and share their names; `photo.jpg` and `painting.jpg` lie beside them.
- Every `impasto` line of a bash block runs, the lines of one block in one folder, which also holds `photo2.jpg`,
  `sketch.png`, `mask.png`, `model.obj` and the folder `holiday`. Those in `PARSED` take long or change the machine
  and are only parsed.
- Sizes that are named are cut to 48 px (of a texture to 64, of letters to 160), and steps to 1 (to 2 in the script of
  docs/from-scratch.md); `impasto stylize` without steps takes 1. All else runs as it stands, with the real weights.
- The guides (controls, measuring, comparing, defaults, training) ask for extras, many pictures and videos: their
  shell lines are parsed. The Python of controls and watching runs.
"""

import ast
import importlib
import io
import json
import re
import shlex
import shutil
import sys
import textwrap
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image

import impasto
from impasto import api, errors, settings
from impasto.cli import app
from impasto.engine import engine
from impasto.methods import recipes, registry

ROOT = Path(__file__).parents[2]
ENGLISH = ["README.md", "docs/from-scratch.md", "docs/troubleshooting.md"]
PAGES = [*ENGLISH, "ARCHITECTURE.md", "CONTRIBUTING.md"]
GUIDES = ["docs/controls.md", "docs/measuring.md", "docs/comparing.md", "docs/defaults.md", "docs/training.md"]
GUIDES += ["docs/losses.md", "docs/encoders.md", "docs/watching.md", "docs/video.md", "docs/memory.md"]
GUIDES += ["docs/scenes.md", "docs/lettering.md", "docs/batch.md", "docs/scale.md", "docs/gallery.md", "docs/models.md"]
GUIDES += ["docs/methods.md"]
GUIDES += ["docs/gan.md"]
GUIDES += ["docs/deploy.md", "docs/serve.md", "docs/client.md", "docs/studio.md", "docs/words.md", "docs/keras.md"]
RUN = [*ENGLISH, "docs/controls.md", "docs/watching.md"]
PAIRS = [(name, name.replace(".md", ".zh.md")) for name in [*ENGLISH, "CONTRIBUTING.md", *GUIDES]]
ALL = [*PAGES, *GUIDES, "CHANGELOG.md", *(chinese for _, chinese in PAIRS)]
PAIRS.append(("docs/coming-from.md", "docs/coming-from.zh.md"))  # its flags, many of other tools, are test_site.py's

FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
MODEL = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\nf 1/1 3/2 4/3\nf 2/1 3/2 4/3\n"
PARSED = ("impasto demo", "impasto train", "impasto bench", "impasto assets fetch vgg19")
FOREIGN_FLAGS = {"--index-url", "--no-deps", "--no-build-isolation", "--editable"}


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, *languages):
    """The fenced blocks of a page, as (language, text), without their indentation."""
    found = [(language, textwrap.dedent(text)) for _, language, text in FENCE.findall(read(page))]
    return [(language, text) for language, text in found if not languages or language in languages]


def prose(page):
    return FENCE.sub("", read(page))


def spans(page):
    """Inline code of a page, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def cut(text):
    """The same code with small sizes and few steps."""
    for pattern, value in ((r"\b(SIZE = )\d+", "48"), (r"\b(STEPS = )\d+", "2"), (r"\b(size=)\d+", "48")):
        text = re.sub(pattern, rf"\g<1>{value}", text)
    return re.sub(r"\b(steps=)\d+", r"\g<1>1", text)


# --- the command line as a tree --------------------------------------------------------------------------------------


@cache
def tree():
    """Each command's words, such as "bench adain", and its parser; "" is `impasto` itself."""
    found = {}

    def walk(words, command):
        found[words] = command
        for name, child in getattr(command, "commands", {}).items():
            walk(f"{words} {name}".strip(), child)

    walk("", typer.main.get_command(app.app))
    return found


def flags(command):
    """All flags of a command."""
    written = [flag for entry in command.params for flag in (*entry.opts, *entry.secondary_opts)]
    return {flag for flag in written if flag.startswith("--")} | {"--help", "--debug"}


def command_of(words):
    """Splits the words after `impasto` into a command of the tree and its arguments."""
    words = [word for word in words if word != "--debug"]
    name = next(name for name in (" ".join(words[:2]), " ".join(words[:1]), "") if name in tree())
    return name, words[len(name.split()) :]


# --- code runs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch, photos, painting, store):
    """A folder with the pictures of the examples, small.

    Nothing is fetched, weights are loaded once for all, and one thread does: at 48 px two only wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    monkeypatch.setattr(engine, "Engine", shared_engine)
    (tmp_path / "holiday").mkdir()
    with Image.open(photos / "chelsea.png") as photo, Image.open(painting) as painted:
        small = photo.convert("RGB").resize((72, 48))
        for name in ("photo.jpg", "photo2.jpg", "sketch.png", "holiday/one.jpg", "holiday/two.jpg"):
            small.save(tmp_path / name)
        painted.convert("RGB").resize((96, 76)).save(tmp_path / "painting.jpg")
    (tmp_path / "model.obj").write_text(MODEL)
    Image.linear_gradient("L").resize((72, 48)).save(tmp_path / "mask.png")
    shutil.copy(store.file("clips", "bigbuckbunny.mp4"), tmp_path / "clip.mp4")
    yield tmp_path
    torch.set_num_threads(threads)


shared_engine = cache(engine.Engine)


def run(line, monkeypatch, capfd):
    """Run one shell line of ours in process. Returns what it printed."""
    line, _, target = line.partition(" > ")
    source, _, ours = line.rpartition(" | ")
    words = shlex.split(ours)[1:]
    for flag, value in (("--size", {"texture": "64", "letters": "160"}.get(words[0], "48")), ("--steps", "1")):
        if flag in words:
            words[words.index(flag) + 1] = value
    if words[0] == "stylize" and not re.search("--quality draft|--method adain|--steps|--color-only|pack:", ours):
        words += ["--steps", "1"]
    if source:
        piped = io.TextIOWrapper(io.BytesIO(Path(source.removeprefix("cat ")).read_bytes()))
        monkeypatch.setattr(sys, "stdin", piped)
    if target:
        with monkeypatch.context() as patched, Path(target).open("w") as file:
            patched.setattr(sys, "stdout", file)
            code = app.run(words)
    else:
        code = app.run(words)
    out, err = capfd.readouterr()
    assert code == 0, f"{line}\n{err}"
    return out


def check_foreign(line):
    """A line of the shell that is not ours: make must know its target and its variables."""
    words = line.split()
    if words[0] == "make":
        makefile = read("Makefile")
        for word in words[1:]:
            variable, assigned, _ = word.partition("=")
            assert re.search(rf"^{variable} \?=" if assigned else rf"^{word}:", makefile, re.MULTILINE), line
    else:
        assert words[0] in ("source", "export", ".venv/bin/python"), line


def parse(line):
    """Parse a line of ours without running it."""
    name, words = command_of(shlex.split(line)[1:])
    tree()[name].make_context(name, words)


BASH = [(page, index) for page in PAGES for index in range(len(blocks(page, "bash")))]


@pytest.mark.real
@pytest.mark.parametrize(("page", "index"), BASH)
def test_shell_lines_run(page, index, folder, monkeypatch, capfd):
    for line in blocks(page, "bash")[index][1].splitlines():
        if not re.match(r"(cat \S+ \| )?impasto ", line):
            check_foreign(line)
        elif line.startswith(PARSED):
            parse(line)
        else:
            run(line, monkeypatch, capfd)
    if "> out.png" in blocks(page, "bash")[index][1]:
        with Image.open("out.png") as picture:
            assert picture.size == (72, 48)


@pytest.mark.parametrize("page", GUIDES)
def test_the_lines_of_the_guides_parse(page):
    for line in re.findall(r"^(?: {4})?(impasto [a-z].+)$", read(page), re.MULTILINE):
        parse(line)


@pytest.mark.real
@pytest.mark.parametrize("page", [page for page in RUN if blocks(page, "python")])
def test_python_runs(page, folder, capsys):
    names = {"__name__": "__main__"}
    for number, (_, text) in enumerate(blocks(page, "python"), start=1):
        exec(compile(cut(text), f"{page}, python block {number}", "exec"), names)
    if page == "docs/from-scratch.md":
        assert capsys.readouterr().out.splitlines()[-2:] == ["True", "True"]


@pytest.mark.real
def test_json_has_the_keys_of_the_readme(folder, monkeypatch, capfd):
    [(_, example)] = blocks("README.md", "json")
    out = run("impasto stylize photo.jpg --style painting.jpg --quality draft --json", monkeypatch, capfd)
    assert list(json.loads(out)) == list(json.loads(example))


@pytest.mark.real
def test_the_error_of_the_readme_is_what_is_printed(folder, capfd):
    [(_, example)] = blocks("README.md", "text")
    assert app.run(["stylize", "photo.jpg", "--style", "van gogh"]) == errors.InputError.exit_code
    assert capfd.readouterr().err.startswith(example.strip().removesuffix("..."))


# --- the method that ARCHITECTURE.md adds ----------------------------------------------------------------------------


@pytest.fixture
def palette(folder, monkeypatch):
    """The row of the example, written to files and announced as a plug-in."""
    for _, text in blocks("ARCHITECTURE.md", "python"):
        path = folder / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(folder)
    [(_, announcement)] = blocks("ARCHITECTURE.md", "toml")
    group, name, value = re.match(r'\[project\.entry-points\."(.+)"\]\n(\w+) = "(.+)"', announcement).groups()
    assert group == registry.ENTRY_POINT_GROUP
    monkeypatch.setattr(registry, "announced", lambda: [EntryPoint(name, value, group)])
    yield registry.find(name)
    for module in [module for module in sys.modules if module.startswith("impasto_palette")]:
        del sys.modules[module]


@pytest.mark.real
def test_the_example_method_paints(palette, folder):
    result = api.stylize("photo.jpg", ["painting.jpg", "irises"], method="palette", strength=0.9)
    assert result.image.size == (72, 48)
    assert result.record["method"] == "palette"


@pytest.mark.real
def test_the_example_method_passes_the_common_suite(palette, placement):
    suite = importlib.import_module("methods.test_common")
    stylizer = palette.load_class()({}, placement)
    for height, width in ((61, 83), (20, 400), (8, 8)):
        suite.test_any_size_comes_back_in_its_size_and_range(palette, stylizer, height, width)
    for check in (
        suite.test_smallest_legal_style,
        suite.test_a_batch_equals_its_items_apart,
        suite.test_each_item_of_a_batch_has_its_own_style,
        suite.test_a_seed_settles_everything,
        suite.test_cancelled_at_the_first_report,
        suite.test_progress_ends_at_its_total_with_a_preview,
        suite.test_strength_goes_evenly_from_the_photograph,
        suite.test_several_styles_lie_between_their_own,
        suite.test_weights_of_styles_count_by_their_ratio,
    ):
        check(palette, stylizer)


# --- everything is mentioned, and what is mentioned exists -----------------------------------------------------------


def test_every_command_and_flag_is_mentioned():
    text = "\n".join(map(read, [*ENGLISH, *GUIDES]))
    missing = [f"impasto {words}" for words in tree() if f"impasto {words}".strip() not in text]
    missing += [
        f"impasto {words} {flag}"
        for words, command in tree().items()
        for flag in sorted(flags(command))
        if not re.search(rf"{flag}\b", text)
    ]
    assert not missing, f"neither README.md nor docs/ mentions {missing}"


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_every_knob_has_its_row_with_its_default(page):
    rows = dict(re.findall(r"^\| `(--[\w-]+)` \| ([^|]+) \| [^|]+ \| [^|]+ \|$", read(page), re.MULTILINE))
    by_quality = {name for presets in recipes._PRESETS.values() for knobs in presets.values() for name in knobs}
    for method in registry.BUILT_IN:
        for knob in settings.knobs_of(method.load_knobs()):
            assert knob.flag in rows, f"{page} has no row for {knob.flag} of {method.name}"
            if knob.name not in by_quality:
                own = re.search(rf"`{method.name}`: ([^,;)]+)", rows[knob.flag])
                told = own[1] if own else rows[knob.flag].partition(" (`")[0]
                assert told == written(knob.default), f"{page}: {knob.flag}, see knobs.py"


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_what_the_qualities_set_is_told(page):
    rows = re.findall(r"^\| `(--[\w-]+)` \| ([^|]+) \| ([^|]+) \|$", read(page), re.MULTILINE)
    defaults = {knob.name: knob.default for knob in settings.knobs_of(registry.find("optimize").load_knobs())}
    good, best = ({**defaults, **recipes._PRESETS["optimize"][quality]} for quality in ("good", "best"))
    told = [(name, written(good[name]), written(best[name])) for name in recipes._PRESETS["optimize"]["best"]]
    assert [(flag[2:].replace("-", "_"), *values) for flag, *values in rows] == told


def written(value):
    """A default as people write it."""
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_method_and_quality_is_mentioned():
    for page in ("README.md", "README.zh.md"):
        for name in (*registry.methods(), *recipes.QUALITIES):
            assert f"`{name}`" in read(page)


@pytest.mark.parametrize("page", ["README.md", "README.zh.md", "docs/memory.md", "docs/memory.zh.md"])
def test_who_paints_in_tiles_is_told(page):
    tiled = [method.name for method in registry.BUILT_IN if method.tiling != "no"]
    assert f"`{'`, `'.join(tiled[:-1])}`" in read(page).replace("`、`", "`, `")
    assert re.search(rf"`{tiled[-2]}` ?(and|和)\s`{tiled[-1]}`", read(page))


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_every_error_has_its_exit_code(page):
    rows = {name: int(code) for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", read(page), re.MULTILINE)}
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert rows == {cls.__name__: cls.exit_code for cls in classes if issubclass(cls, errors.StyleError)}


@pytest.mark.parametrize("page", ALL)
def test_every_flag_in_the_prose_exists(page):
    known = set.union(*(flags(command) for command in tree().values())) | FOREIGN_FLAGS
    named = {flag for span in spans(page) for flag in re.findall(r"(?<!\S)--[\w-]+", span)}
    assert named <= known


@pytest.mark.parametrize("page", ALL)
def test_every_command_in_the_prose_exists(page):
    for span in spans(page):
        if span.startswith("impasto "):
            name, words = command_of(span.split()[1:])
            assert name or words[0].startswith("--"), span
            assert {word for word in words if word.startswith("--")} <= flags(tree()[name]), span


@pytest.mark.parametrize("page", ALL)
def test_relative_links_lead_somewhere(page):
    targets = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose(page))]
    lost = [link for link in targets if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()]
    assert not lost, f"{page} links to {lost}"


def test_the_drawing_is_that_of_the_folders():
    drawing = blocks("ARCHITECTURE.md", "text")[0][1]
    words = set(re.findall(r"[a-z_][a-z0-9_]*/?", drawing))
    package = Path(impasto.__file__).parent
    assert {word for word in words if word.endswith("/")} == {
        f"{p.parent.name}/" for p in package.glob("*/**/__init__.py")
    }
    public = {path.stem for path in package.glob("**/*.py") if path.stem == "__main__" or not path.name.startswith("_")}
    assert public - words == set()
    assert read("ARCHITECTURE.md").count("\n") < 200


# --- both languages say the same -------------------------------------------------------------------------------------


def code_alone(language, text):
    """Code without comments and docstrings, which are translated."""
    if language != "python":
        return re.sub(r"(^|\s)# .*$", "", text, flags=re.MULTILINE)
    module = ast.parse(text)
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(module)


def outline(page):
    """The level of each heading, and the number of rows of all tables and of all items of lists."""
    text = prose(page)
    headings = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    return headings, len(re.findall(r"^\|", text, re.MULTILINE)), len(re.findall(r"^(-|\d+\.) ", text, re.MULTILINE))


def test_every_page_is_there_in_both_languages():
    pages = {path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("[RC]*.md"), *ROOT.glob("docs/*.md")]}
    assert {page for pair in PAIRS for page in pair} == pages - {"CHANGELOG.md"}


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_have_one_outline(english, chinese):
    assert outline(english) == outline(chinese)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_have_the_same_code(english, chinese):
    assert [code_alone(*block) for block in blocks(english)] == [code_alone(*block) for block in blocks(chinese)]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_chinese_pages_lead_to_chinese_pages(english, chinese):
    text = read(chinese).replace(f"[English]({Path(english).name})", "")
    targets = [(ROOT / chinese).parent / link for link in re.findall(r"\]\(([^)\s#]+\.md)", text)]
    assert not [path for path in targets if ".zh" not in path.name and path.with_suffix(".zh.md").exists()]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_are_linked(english, chinese):
    assert f"]({Path(chinese).name})" in read(english)
    assert f"]({Path(english).name})" in read(chinese)
