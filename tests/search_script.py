"""A tiny search as a program of its own, to be killed: PHOTOGRAPHS OUT KNOBS(JSON) [TRIAL STEP to be killed at]."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from impasto.contract import Placement
from impasto.methods.settings import SearchKnobs
from impasto.train import Search, _run, _search, search
from tiny import tiny_decoder_weights, tiny_encoder_weights, training_styles


def main(folder, out, knobs, trial="", step=0):
    torch.set_num_threads(1)
    _run._SAVED_EVERY = 0.0  # a checkpoint after each step
    _search._VALIDATIONS = 2

    first = {}

    def report(progress):
        if progress.stage.endswith(": training"):
            first.setdefault(progress.stage, progress.step)
        if trial and progress.stage == f"{trial}: training" and progress.step >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    job = Search(
        source=Path(folder),
        folder=Path(out),
        knobs=SearchKnobs(**json.loads(knobs)),
        training_styles=training_styles(1),
        runtime="torch",
        sides=(32, 32),
        resume=Path(out).exists(),
    )
    weights = {"vgg19-normalised": tiny_encoder_weights(), "adain-decoder": tiny_decoder_weights()}
    found = search(job, weights=weights, placement=Placement(), on_progress=report)
    sys.stdout.write(json.dumps(found.as_plain() | {"first_steps": first}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:5], *map(int, sys.argv[5:]))
