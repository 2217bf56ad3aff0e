"""`impasto studio`: the page for painting, in a browser of this machine."""

from __future__ import annotations

import socket
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli import flags
from impasto.cli.printing import say
from impasto.errors import require

if TYPE_CHECKING:
    from impasto.serve.run import Addresses

_EXAMPLES = """\b
Examples:
  impasto studio
  impasto studio --no-browser --port 8100
  impasto studio --training-photos photographs"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("studio", epilog=_EXAMPLES)(studio)


def studio(
    port: Annotated[
        int | None,
        typer.Option(help="Port on 127.0.0.1; 0 takes any free one, as when 8000 is taken.", min=0, max=65535),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only start it; open no browser.")] = False,
    training_photos: flags.TrainingPhotos = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
) -> None:
    """Open the studio: paint in a browser, on this machine."""
    flags.use_threads(threads)
    require("fastapi", "serve")
    require("uvicorn", "serve")
    from impasto.engine.engine import Engine
    from impasto.serve import run
    from impasto.serve.decode import DecodeProcesses
    from impasto.serve.service import Service
    from impasto.serve.settings import Listening, ServeSettings, state_folder
    from impasto.serve.store import JobStore

    def tell(addresses: Addresses) -> None:
        say(f"the studio is at {addresses.http} (Ctrl-C ends)")
        if not no_browser and addresses.http is not None:
            webbrowser.open(addresses.http)

    limits = ServeSettings(training_photos=flags.check_training_photos(training_photos))
    run.log_to_stderr(as_json=False, level="WARNING")
    engine = Engine(device=device, precision=precision)
    service = Service(engine, limits, store=JobStore(state_folder()), decoder=DecodeProcesses())
    run.serve(service, Listening(http_port=_free(8000) if port is None else port), drain_seconds=2.0, on_ready=tell)


def _free(port: int) -> int:
    """The port, or 0, which takes any, where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
