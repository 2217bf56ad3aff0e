"""A tiny training as a program of its own, to be killed or joined: FOLDER OUT KNOBS(JSON) [KILL [DEVICES]]."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from impasto.contract import Placement
from impasto.methods.settings import TrainKnobs
from impasto.train import StyleTraining, _run, train
from tiny import tiny_decoder_weights, tiny_encoder_weights, training_styles


def main(folder, out, knobs, kill_after=0, devices=1):
    torch.set_num_threads(1)
    _run._SAVED_EVERY = 0.0  # a checkpoint after each step

    def report(progress):
        if kill_after and progress.stage == "training" and progress.step >= kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    job = StyleTraining(
        source=Path(folder),
        target=Path(out),
        devices=devices,
        knobs=TrainKnobs(**json.loads(knobs)),
        training_styles=training_styles(2),
    )
    train(
        job,
        weights={"vgg19-normalised": tiny_encoder_weights(), "adain-decoder": tiny_decoder_weights()},
        placement=Placement(),
        on_progress=report,
    )


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
