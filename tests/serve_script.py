"""Serves tiny networks, for tests that end a process: `python serve_script.py FOLDER [DATABASE]`."""

import sys
import time
from pathlib import Path

from impasto.engine.engine import Engine
from impasto.serve import run
from impasto.serve.service import Service
from impasto.serve.settings import Listening, ServeSettings
from impasto.serve.store import JobStore
from tiny import TinyStore, tiny_decoder_weights, tiny_encoder_weights


class SlowEngine(Engine):
    """Takes a moment for each report, so that there is a middle in which to end the process."""

    def stylize(self, content, styles, request=None, *, on_progress, **named):
        def slowly(progress):
            time.sleep(2)  # a picture of one pass takes four seconds and no processor
            on_progress(progress)

        return super().stylize(content, styles, request, on_progress=slowly, **named)


def tell(addresses):
    sys.stdout.write(f"{addresses.http}\n")
    sys.stdout.flush()


def main(folder, database=None):
    weights = {"vgg19-normalised": tiny_encoder_weights(), "adain-decoder": tiny_decoder_weights()}
    (folder / "weights").mkdir(exist_ok=True, parents=True)
    engine = SlowEngine(store=TinyStore(folder / "weights", weights), device="cpu", precision="float32")
    service = Service(
        engine, ServeSettings(header_seconds=1.0, body_seconds=2.0), JobStore(folder / "state", url=database)
    )
    listening = Listening(http_port=0, grpc_port=None)
    run.serve(service, listening, drain_seconds=0.2, on_ready=tell)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
