"""The two frameworks, side by side: build, fill and run a model, bring tensors to NumPy."""

from ..checkpoints import Checkpoint
from ..tables.table import Table
from .job import Job
from .paddle_side import PaddleSide
from .torch_side import TorchSide


def make_side(job: Job, table: Table, checkpoint: Checkpoint) -> TorchSide | PaddleSide:
    """Import the framework of a job and set it up."""
    kind = TorchSide if job.framework == "torch" else PaddleSide
    return kind(job, table, checkpoint)
