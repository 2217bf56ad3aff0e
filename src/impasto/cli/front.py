"""The list of commands, and a group that loads a command when it is run.

Help and completion of `impasto` itself come from the table here, so that neither pictures nor networks are loaded to
say what there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from typer.core import TyperGroup


@dataclass(frozen=True)
class Row:
    """One command.

    Attributes:
        module: where its `register` stands.
        summary: first paragraph of its own help.
    """

    module: str
    summary: str


COMMANDS: Mapping[str, Row] = {
    "stylize": Row("stylize", "Paint photographs in the style of one picture or several."),
    "batch": Row("batch", "Paint folders of photographs; the same command again goes on where it was stopped."),
    "mix": Row(
        "mix", "Paint a photograph between two or four styles: a strip or a square of pictures, and a loop if you like."
    ),
    "texture": Row("mix", "Paint a square of pure style, with no photograph."),
    "letters": Row(
        "letters",
        "Paint words in a style: strokes run along the letters, edges are crisp, and the background is transparent.",
    ),
    "video": Row("video", "Paint a video without flicker; sound and subtitles are copied."),
    "live": Row("live", "Paint what a camera sees, live; frames that come too fast are dropped."),
    "scene": Row(
        "scene",
        "Paint a 3D model, a point cloud, voxels or a panorama; only colours change, and with --sculpt the shape.",
    ),
    "studio": Row("studio", "Open the studio: paint in a browser, on this machine."),
    "serve": Row("serve", "Serve painting over HTTP and gRPC, for applications and the studio."),
    "redo": Row("redo", "Paint a picture again from the settings in its metadata."),
    "measure": Row("measure", "Measure how much of the photograph is kept, and how near the style is."),
    "compare": Row(
        "compare", "Paint every photograph in every style by every method, and write one page that compares them."
    ),
    "export": Row(
        "export",
        "Write a network for another program; photographs are painted with it to check it.",
    ),
    "styles": Row(
        "library",
        "List and search the trained styles of the pack and the paintings of the library; --style takes each id.",
    ),
    "style": Row("style", "Keep a style in a file, and show what is in one."),
    "discover": Row(
        "discover", "Find the styles in a collection of paintings; each becomes a file that --style takes."
    ),
    "methods": Row(
        "library", "List the methods with what each costs here and takes into account, or the settings of one."
    ),
    "demo": Row(
        "demo", "Paint a photograph in the style of a Van Gogh as draft, good and best, and show all side by side."
    ),
    "doctor": Row("system", "Show the hardware, the chosen precision and runtime and why, versions, and assets."),
    "train": Row(
        "train",
        "Train a network that paints one style or several in a single pass; or any painting (arbitrary), or a decoder.",
    ),
    "gan": Row(
        "gan", "Make pictures with a StyleGAN: train one on paintings, sample it, mix, walk, project a photograph."
    ),
    "prune": Row(
        "shrink",
        "Take channels out of a trained network, or of AdaIN, and train it to paint the same pictures again.",
    ),
    "quantize": Row(
        "shrink", "Write a trained network in INT8, calibrated on photographs; the file is a style like any other."
    ),
    "assets": Row("library", "Weights and paintings: list, fetch and verify them."),
    "bench": Row("bench", "Time Impasto against plain reference code and other programs."),
}
"""All commands, in the order of the help. A test holds the summaries to the commands' own help."""


_AT_FIRST_TAB = """
if [ "$funcstack[1]" = "_%(prog_name)s" ]; then
  %(complete_func)s "$@"
fi
"""
"""zsh loads the script at the first TAB, as the function of that name: it has to complete then, too."""


class _Commands(MutableMapping[str, Any]):
    """The commands by name; each is imported when it is asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded |= _load(COMMANDS[name].module)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _load(module: str) -> dict[str, Any]:
    import typer
    from typer.main import get_group

    shelf = typer.Typer()
    import_module(f"impasto.cli.{module}").register(shelf)
    return dict(get_group(shelf).commands)


class Front(TyperGroup):
    """`impasto` itself: its help and its completion need no command to be loaded."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the base class's signature
        """Print the help as Typer would, without what it loads for markdown and tracebacks."""
        _print_help(self, ctx)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class's signature
        """The commands' names, in the order of the help."""
        return list(COMMANDS)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The commands' names with their summaries; options where a dash was typed."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from typer._click.shell_completion import CompletionItem

        return [CompletionItem(name, help=row.summary) for name, row in COMMANDS.items() if name.startswith(incomplete)]


def mend_completion() -> None:
    """Mend what Typer's completion lacks, before it is set up or asked.

    Help texts for a shell are cleaned by rich.text alone, where Typer would load markdown and tracebacks for it; and
    zsh completes at the first TAB, too, at which it loads the script. Both are private to Typer: where they are not
    found, all goes on as without them.
    """
    from typer import _completion_classes, _completion_shared

    if hasattr(_completion_classes, "_sanitize_help_text"):
        _completion_classes._sanitize_help_text = _without_markup
    scripts = getattr(_completion_shared, "_completion_scripts", {})
    if "zsh" in scripts and "funcstack" not in scripts["zsh"]:
        scripts["zsh"] += _AT_FIRST_TAB


def _without_markup(text: str) -> str:
    """Help as plain text; Typer doubles apostrophes for zsh, which then drops them."""
    from rich.text import Text

    return Text.from_markup(text.replace("''", "\u2019")).plain


def _print_help(group: TyperGroup, context: Any) -> None:
    """Usage, options and commands in two panels, and the epilogue."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    usage = Text.assemble(("Usage: ", "not bold yellow"), context.command.get_usage(context).removeprefix("Usage: "))
    console.print(Padding(usage, 1), style="bold")
    console.print(Padding(group.help or "", (0, 1, 1, 1)))
    options = [_option(entry) for entry in group.get_params(context)]
    console.print(_panel("Options", options, styles=("bold cyan", "bold green", "", "", "bold yellow", "")))
    commands = [(name, row.summary) for name, row in COMMANDS.items()]
    console.print(_panel("Commands", commands, styles=("bold cyan", "")))
    console.print(Padding(group.epilog or "", 1))


def _option(entry: Any) -> tuple[str, ...]:
    """Long and short form, the two columns in which Typer has the opposites of flags, type and help."""
    long, short = ([flag for flag in entry.opts if flag.startswith("--") is wanted] for wanted in (True, False))
    return ",".join(long), ",".join(short), "", "", "<bool>", entry.help or ""


def _panel(title: str, rows: Sequence[tuple[str, ...]], *, styles: tuple[str, ...]) -> Any:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, expand=True, box=None, pad_edge=False, padding=(0, 1))
    for style in styles[:-1]:
        table.add_column(style=style, no_wrap=True)
    table.add_column(ratio=10)
    for row in rows:
        table.add_row(*map(Text, row))
    return Panel(table, border_style="dim", title=title, title_align="left")
