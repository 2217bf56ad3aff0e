"""How quick a network is beside a reference: both run in turn, so that other work on the machine hits both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from impasto import device
from impasto.errors import InputError
from impasto.models.network_specs import NetworkSpec
from impasto.models.networks import Network, pack
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.runtimes.sessions import RUNTIMES, NetworkGraph, installed

TORCH = "torch"
_ROUNDS = 12
_WARM = 2  # rounds that are not counted

Run = Callable[[], object]


@dataclass(frozen=True)
class Stopwatch:
    """Times networks on one runtime.

    Attributes:
        runtime, precision: that they run on.
        sides: height and width of the picture.
        reference: runs the reference network.
    """

    runtime: str
    precision: str
    sides: tuple[int, int]
    reference: Run = field(repr=False)

    @classmethod
    def of(cls, reference: NetworkSpec, runtime: str, sides: tuple[int, int]) -> Stopwatch:
        """A stopwatch with a reference; "auto" is the runtime that runs it quickest.

        Raises:
            InputError: there is no such runtime.
            MissingExtra: it is not installed.
        """
        names = (TORCH, *installed()) if runtime == "auto" else (runtime,)
        if runtime not in ("auto", TORCH, *RUNTIMES):
            raise InputError(f"--runtime is {runtime!r}", f"it takes auto, {TORCH}, {' or '.join(RUNTIMES)}")
        if runtime in RUNTIMES:
            RUNTIMES[runtime].check_installed()
        runs = {name: _runner(reference, name, _precision(name), sides) for name in names}
        best = _best(runs)
        chosen = min(best, key=lambda name: best[name])
        return cls(chosen, _precision(chosen), sides, runs[chosen])

    @property
    def title(self) -> str:
        """For people."""
        name = RUNTIMES[self.runtime].title if self.runtime in RUNTIMES else "PyTorch"
        return f"{name}, {self.precision}, {self.sides[1]}x{self.sides[0]}"

    def speed(self, spec: NetworkSpec) -> float:
        """The reference's least time divided by that of this network: above 1 for a quicker one."""
        best = _best({"reference": self.reference, "own": _runner(spec, self.runtime, self.precision, self.sides)})
        return best["reference"] / best["own"]


def _precision(runtime: str) -> str:
    fast = device.place("cpu", tested=("float32", "bfloat16")).precision
    return fast if runtime == TORCH or fast in RUNTIMES[runtime].precisions else "float32"


def _best(runs: dict[str, Run]) -> dict[str, float]:
    """The least seconds of each, in turn: the least is what other work disturbs least."""
    best = dict.fromkeys(runs, float("inf"))
    for number in range(_WARM + _ROUNDS):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if number >= _WARM:
                best[name] = min(best[name], time.perf_counter() - started)
    return best


def _runner(spec: NetworkSpec, runtime: str, precision: str, sides: tuple[int, int]) -> Run:
    """Runs an untrained network on one picture: weights do not change its time."""
    network = Network(spec, torch.Generator().manual_seed(0)).requires_grad_(False)
    code = network.neutral_code()
    image = np.random.default_rng(0).random((1, 3, *sides), np.float32)
    if runtime == TORCH:
        return lambda: _by_torch(network, code, image, getattr(torch, precision))
    tensors = {name: tensor.numpy() for name, tensor in pack(network, code, ["neutral"]).items()}
    session = NetworkGraph.of(tensors).open(runtime, precision)
    return lambda: session.run(image, code.numpy())


def _by_torch(network: Network, code: torch.Tensor, image: NDArray[np.float32], dtype: torch.dtype) -> torch.Tensor:
    height, width = image.shape[2:]
    with torch.inference_mode():
        padded = pad_to_multiple(torch.from_numpy(image), network.stride)
        inside = padded.to(dtype).contiguous(memory_format=torch.channels_last)
        return crop_to(network(inside, code), height, width).float()
