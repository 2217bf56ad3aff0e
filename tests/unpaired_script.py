"""Tiny trainings without pairs that are killed, and in two processes as torchrun starts them: FOLDER OUT KNOBS(JSON).

`alone` is killed at a step. `joined` trains in two processes; in `broken` one of two is killed at a step, and the other
ends with it as on a machine that fails; then both go on. Each of two leaves all that it has learnt beside the network.
The processes are forks of this one, and so share its imports.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.utils.tensorboard  # once for all

from cluster import free_port
from impasto.contract import Placement
from impasto.methods.settings import TranslationKnobs
from impasto.train import UnpairedTraining, _run, train
from tiny import inverted

STEP = 2  # at which one is killed
KEPT = []  # the learner of this process


class Remembered(UnpairedTraining):
    """Keeps its learner, and writes down what it is before the first step."""

    def learner(self, beginning):
        made = super().learner(beginning)
        if not self.resume:
            torch.save(made.state_dict(), self.target.with_suffix(".begun.pt"))
        KEPT.append(made)
        return made


def started(job, rank, count, port, *, killed):
    """The number of a new process, which trains as one of so many."""
    number = os.fork()
    if number:
        return number
    if count > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
        os.environ |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "GROUP_WORLD_SIZE": "1"}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"}

    def report(progress):  # of the first process
        if killed and progress.stage == "training" and progress.step >= STEP:
            os.kill(os.getpid(), signal.SIGKILL)

    train(job, weights={}, placement=Placement(), on_progress=report)
    torch.save(KEPT[0].state_dict(), job.target.with_suffix(f".{rank}.pt"))
    os._exit(0)


def run(job, count, *, killed=False):
    """Train in so many processes."""
    port = free_port()
    numbers = [started(job, rank, count, port, killed=killed) for rank in range(count)]
    told = [os.waitpid(numbers[0], 0)[1]]
    for number in numbers[1:]:
        if killed:
            os.kill(number, signal.SIGKILL)
        told.append(os.waitpid(number, 0)[1])
    assert told == [signal.SIGKILL if killed else 0] * count, told


def main(folder, out, knobs):
    torch.set_num_threads(1)
    _run._SAVED_EVERY, _run._VALIDATIONS = 0.0, 2  # a checkpoint after each step
    knobs, out = TranslationKnobs(**json.loads(knobs)), Path(out)

    def job(name, **options):
        source = {"source": Path(folder), "paintings": inverted(Path(folder)), "knobs": knobs}
        return Remembered(**source, target=out / f"{name}.safetensors", **options)

    run(job("alone"), 1, killed=True)
    run(job("joined"), 2)
    run(job("broken"), 2, killed=True)
    run(job("broken", resume=True), 2)


if __name__ == "__main__":
    main(*sys.argv[1:])
