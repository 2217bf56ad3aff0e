"""A step of the method in Keras against plain float32 PyTorch, in one process that has both."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from impasto import images
from impasto.assets import Store, load_weights
from impasto.bench.results import machine_row
from impasto.bench.sets import load_set, sized
from impasto.bench.timing import compared, time_in_turns
from impasto.contract import Placement
from impasto.keras import KerasEngine
from impasto.keras.descent import Descent
from impasto.methods.optimize.levels import levels_of
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import VGG19
from impasto.optim.schedule import Schedule
from impasto.report import reference

_STEPS = 3  # a sample of the descent; every step does the same work


def keras_step(*, backend: str, precision: str, size: int, runs: int) -> dict[str, Any]:
    """One step at full size: content, Gram matrices and total variation, compiled before the clock runs.

    Args:
        backend: "tensorflow" or "jax".
        precision: of the backend.
        size: longest side in pixels.
        runs: counted rounds.

    Raises:
        MissingExtra: Keras or the backend is not installed.
    """
    engine = KerasEngine(backend=backend, precision=precision)
    from impasto.keras.models import vgg19
    from impasto.keras.optimize import Optimize

    store, knobs = Store(), OptimizeKnobs(coarsest=size, init="content", optimizer="adam")
    ((photograph, painting),) = load_set("one", store, size=size)
    content, style = (sized(one.pixels, size) for one in (photograph, painting))
    layers = (*knobs.style_layers, *knobs.content_layers)
    (level,) = levels_of(content.shape[0], content.shape[1], knobs)
    first, wanted = (np.ascontiguousarray(one.transpose(2, 0, 1)) for one in (content, style))
    score = Optimize(vgg19(layers, store=store, dtype=engine.dtype)).score(first, [(1.0, wanted)], level, knobs)
    plain = reference.Gatys(load_weights(store, VGG19.asset), images.to_tensor(content), images.to_tensor(style))

    def ours() -> object:
        return Descent(first, score, Schedule(_STEPS, "adam"), lambda _: None).run(0.0)

    def tutorial() -> Tensor:
        plain.run(_STEPS)
        return plain.image

    timings = time_in_turns({"ours": ours, "reference": tutorial}, runs=runs, on_device="cpu")
    for lap in timings.values():
        lap.seconds = [seconds / _STEPS for seconds in lap.seconds]
    return {
        **machine_row(Placement("cpu", engine.precision, runtime=backend)),
        "benchmark": "keras step",
        "backend": f"{backend} {engine.version}",
        **compared(timings),
        "share_of_reference": timings["ours"].median / timings["reference"].median,
        "width": content.shape[1],
        "height": content.shape[0],
    }
