"""Two lanes over an engine, so that long optimisations never keep quick requests waiting."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from impasto.contract import OnProgress
from impasto.engine.engine import Engine
from impasto.engine.request import Result
from impasto.serve.fields import Order


class Lanes:
    """Paints orders in bounded numbers of threads.

    Args:
        engine: what paints.
        quick, slow: threads for methods of one pass, and for optimisations.
    """

    def __init__(self, engine: Engine, *, quick: int, slow: int) -> None:
        self._engine = engine
        self._quick = ThreadPoolExecutor(quick, thread_name_prefix="impasto-quick")
        self._slow = ThreadPoolExecutor(slow, thread_name_prefix="impasto-slow")

    def submit(
        self, order: Callable[[], Order], *, slow: bool, client: str, on_progress: OnProgress
    ) -> Future[tuple[Order, Result]]:
        """Paint an order when its turn comes.

        Args:
            order: gives it, when it is needed.
            slow: whether it is an optimisation.
            client: for whom.
            on_progress: called as by `Engine.stylize`; once before it begins.
        """
        del client  # first come, first served
        lane = self._slow if slow else self._quick
        return lane.submit(self._paint, order, on_progress)

    def _paint(self, order: Callable[[], Order], on_progress: OnProgress) -> tuple[Order, Result]:
        from impasto.contract import Progress

        on_progress(Progress("reading", 0, 0))
        read = order()
        return read, self._engine.stylize(read.content, list(read.styles), read.request, on_progress=on_progress)

    def close(self) -> None:
        """End the threads once their jobs have ended; those that wait never begin."""
        self._quick.shutdown(wait=False, cancel_futures=True)
        self._slow.shutdown(wait=False, cancel_futures=True)
