"""How far a parity check has come, for one display."""

import threading

from ..sides import Side
from ..terminal import Progress


class Meter:
    """Adds up the progress of all workers for one display."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.expected = 0
        self.amounts: dict[Side, tuple[int, int]] = {}
        self.lock = threading.Lock()

    def expect(self, workers: int) -> None:
        """Say that models are being started."""
        self.expected = workers
        names = {1: "starting the framework", 2: "starting PyTorch and Paddle"}
        self.tell(names[workers], 0, 1)

    def tell(self, text: str, done: int, total: int) -> None:
        """Show how far something has come."""
        if self.progress is not None:
            self.progress(text, done, total)

    def worker(self, side: Side, amount: tuple[int, int]) -> None:
        """Take down what one worker tells: the calls of layers done, and all of them."""
        with self.lock:
            self.amounts[side] = amount
            if len(self.amounts) == self.expected:
                dones, totals = zip(*self.amounts.values(), strict=True)
                text = "running both models" if self.expected > 1 else "running the model"
                self.tell(text, sum(dones), sum(totals))
