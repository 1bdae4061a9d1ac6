"""How far a parity check has come, for one display."""

import threading

from ..sides import Side
from ..terminal import Progress


class Meter:
    """Adds up the progress of all workers for one display."""

    def __init__(self, progress: Progress | None) -> None:
        self.tell = progress or (lambda _text, _done, _total: None)
        self.expected = 0
        self.amounts: dict[Side, tuple[int, int]] = {}
        self.lock = threading.Lock()

    def expect(self, workers: int) -> None:
        """Show that models are starting."""
        self.expected = workers
        what = "the framework" if workers == 1 else "PyTorch and Paddle"
        self.tell(f"starting {what}", 0, 1)

    def worker(self, side: Side, amount: tuple[int, int]) -> None:
        """Add what one worker reports: the calls of layers done, and all of them."""
        with self.lock:
            self.amounts[side] = amount
            if len(self.amounts) == self.expected:
                dones, totals = zip(*self.amounts.values(), strict=True)
                text = "running both models" if self.expected > 1 else "running the model"
                self.tell(text, sum(dones), sum(totals))
