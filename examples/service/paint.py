"""Paints a photograph through a running `impasto serve`: paint.py PHOTO STYLE OUT.

STYLE is a picture, or an id such as museum:436535. IMPASTO_SERVICE is the address, `http://` or `grpc://`, and
IMPASTO_KEY the key, if the service asks for one.
"""

import os
import sys
from pathlib import Path

from impasto.client import Client, Event
from impasto.errors import StyleError


def show(event: Event) -> None:
    if event.progress is not None:
        print(f"{event.progress.stage}: {100 * event.progress.share:.0f} %")


def main(photo: str, style: str, out: str) -> None:
    address = os.environ.get("IMPASTO_SERVICE", "http://127.0.0.1:8000")
    with Client(address, key=os.environ.get("IMPASTO_KEY")) as client:
        # at once, with progress; breaking off stops the painting
        client.stylize(photo, style, quality="draft", on_event=show).save(out)

        # as a job, which goes on while nobody waits
        job = client.submit(photo, style, quality="draft", size=48, format="jpg")
        for event in client.watch(job):
            print(event.kind)
        print(client.result(job).save(Path(out).with_suffix(".jpg")))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except StyleError as error:
        sys.exit(f"{error.message}; {error.hint}")
