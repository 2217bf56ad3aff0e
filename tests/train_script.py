"""A tiny training as a program of its own, to be killed or joined: FOLDER OUT KNOBS(JSON) [KILL [DEVICES]]."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from impasto.contract import Placement
from impasto.methods.settings import TrainKnobs, TranslationKnobs
from impasto.train import StyleTraining, UnpairedTraining, _run, train
from tiny import inverted, tiny_decoder_weights, tiny_encoder_weights, training_styles


def job_of(folder, out, knobs, devices):
    """By its settings: a network for styles, or a generator that learns to invert."""
    common = {"source": Path(folder), "target": Path(out), "devices": devices}
    if "objective" in knobs:
        return UnpairedTraining(**common, paintings=inverted(Path(folder)), knobs=TranslationKnobs(**knobs))
    return StyleTraining(**common, knobs=TrainKnobs(**knobs), training_styles=training_styles(2))


def main(folder, out, knobs, kill_after=0, devices=1):
    torch.set_num_threads(1)
    _run._SAVED_EVERY = 0.0  # a checkpoint after each step

    def report(progress):
        if kill_after and progress.stage == "training" and progress.step >= kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    train(
        job_of(folder, out, json.loads(knobs), devices),
        weights={"vgg19-normalised": tiny_encoder_weights(), "adain-decoder": tiny_decoder_weights()},
        placement=Placement(),
        on_progress=report,
    )


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
