"""Hooks of the documentation site: they gather the pages, say what is not translated, and find the words of Chinese.

The site has the folders of the repository: a link between README.md, docs/ and bench/ leads to the same place on both.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import rjieba
from mkdocs.plugins import event_priority

ROOT = Path(__file__).parents[2]
GATHERED = ROOT / "out" / "site-pages"
PAGES = ("README*.md", "ARCHITECTURE*.md", "CONTRIBUTING*.md", "CHANGELOG*.md", "LICENSE")
FOLDERS = ("docs", "bench", "src/impasto")
ENDINGS = {".md", ".jpg", ".png", ".svg", ".css", ".js", ".csv", ".json", ".toml", ".py"}

LANGUAGE_LINE = re.compile(r"^(English · \[.+\]\(.+\)|\[English\]\(.+\) · .+)$\n?", re.MULTILINE)
LINE_END = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n *(?=[\u3000-\u9fff\uff00-\uffef])")
HAN = re.compile("[\u4e00-\u9fff]+")
BREAK = "\u200b"
ONLY_ENGLISH = '!!! note "此页目前只有英文"\n\n'


@event_priority(100)
def on_config(config: Any) -> Any:
    """Copy what the site shows into one folder."""
    shutil.rmtree(GATHERED, ignore_errors=True)
    paths = [path for pattern in PAGES for path in ROOT.glob(pattern)]
    paths += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in ENDINGS]
    for path in paths:
        copy = GATHERED / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    config.docs_dir = str(GATHERED)
    config.watch += [str(ROOT / name) for name in ("README.md", "README.zh.md", *FOLDERS)]
    return config


@event_priority(100)
def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Leave out the line of languages, which the site's header replaces; say where only English is there.

    Lines of Chinese are joined without the space that a browser would put at their ends.
    """
    if page.file.norm_src_uri == "README.md":
        page.meta["hide"] = ["navigation"]
    markdown = LINE_END.sub("", LANGUAGE_LINE.sub("", markdown, count=1))
    if page.file.locale != page.file.locale_alternate_of:
        markdown = re.sub(r"^(# .+\n)", rf"\1\n{ONLY_ENGLISH}", markdown, count=1)
    return markdown


@event_priority(-100)
def on_page_context(context: Any, *, page: Any, config: Any, nav: Any) -> Any:
    """Lead the switch of languages to the same page by a relative link, which also works from a folder."""
    for alternate in config.extra["alternate"]:
        alternate["link"] = page.file.alternates[alternate["lang"]].url
    return context


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """Let Chinese pages search Chinese pages: their base, which the search index is looked for in, is zh/."""
    if page.file.locale_alternate_of != "zh":
        return output
    return re.sub(r'"base": "([^"]*)"', r'"base": "\1/zh/"', output, count=1)


@event_priority(-200)
def on_post_build(*, config: Any) -> None:
    """Write an index for each language, after all of them have been built; its words of Chinese are parted."""
    if config.plugins["i18n"].building:
        return
    site = Path(config.site_dir)
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    english = [entry for entry in index["docs"] if not entry["location"].startswith("zh/")]
    chinese = [_parted(entry) for entry in index["docs"] if entry["location"].startswith("zh/")]
    for folder, entries in ((site, english), (site / "zh", chinese)):
        text = json.dumps({**index, "docs": entries}, ensure_ascii=False, separators=(",", ":"))
        (folder / "search").mkdir(exist_ok=True)
        (folder / "search" / "search_index.json").write_text(text, encoding="utf-8")
        (folder / "search" / "search_index.js").write_text(f"var __index = {text}", encoding="utf-8")


def _parted(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of a Chinese page: words by zero-width spaces, since Chinese has none; the place from zh/ on."""
    title, text = (
        HAN.sub(lambda found: f"{BREAK}{BREAK.join(rjieba.cut(found[0]))}{BREAK}", entry[part])
        for part in ("title", "text")
    )
    return {**entry, "location": entry["location"].removeprefix("zh/"), "title": title, "text": text}
