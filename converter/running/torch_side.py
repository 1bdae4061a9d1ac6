"""PyTorch: a model as a function of arrays."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np

from ..checkpoints import Checkpoint
from ..errors import ModelError, ParityError
from ..models import load_torch
from ..sides import Side
from ..tables.table import Table
from .gpu import driver, effective_tf32
from .job import Job
from .torch_reader import read_with_torch


class TorchSide:
    """Runs the PyTorch model."""

    name: Side = "torch"

    def __init__(self, job: Job, table: Table, checkpoint: Checkpoint) -> None:
        import torch

        self.torch, self.job, self.table = torch, job, table
        has_gpu = torch.cuda.is_available()
        if job.device == "gpu" and not has_gpu:
            raise ParityError("--device gpu: PyTorch sees no GPU here. Use --device cpu or auto.")
        self.device = "cuda" if has_gpu and job.device != "cpu" else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = job.tf32
        torch.backends.cudnn.allow_tf32 = job.tf32
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        if hasattr(torch.backends, "mha"):  # it passes by the layers within an attention
            torch.backends.mha.set_fastpath_enabled(False)
        self.uncounted = count(-1, -1)
        self.state, self.reader = read_with_torch(checkpoint)
        for key, dtype in job.rounded.items():
            self.state[key] = self.state[key].to(getattr(torch, dtype))

    def environment(self) -> dict[str, Any]:
        """Say what ran where, settings read back and probed."""
        torch = self.torch
        facts: dict[str, Any] = {"torch": torch.__version__, "device": self.device}
        facts["threads"] = torch.get_num_threads()
        if self.device == "cuda":
            facts["card"] = torch.cuda.get_device_name()
            facts["driver"] = driver()
            facts["cuda"] = torch.version.cuda
            facts["cudnn"] = torch.backends.cudnn.version()
            matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
            facts["tf32_set"] = {"matmul": matmul.allow_tf32, "cudnn": cudnn.allow_tf32}
            facts["tf32"] = effective_tf32(lambda a, b: self.array(self.put(a) @ self.put(b)))
        return facts

    def model(self, dtype: str) -> Any:
        """Build and fill the model in a floating type, in evaluation mode."""
        self.torch.set_default_dtype(getattr(self.torch, dtype))
        model = self.job.subject.build("torch")
        if not isinstance(model, self.torch.nn.Module):
            raise ModelError(f"{self.job.subject.name} gives a {type(model)}, no torch.nn.Module.")
        model = model.to(getattr(self.torch, dtype))
        try:
            load_torch(model, self.state, self.table)
        except RuntimeError as error:
            raise ParityError(f"the weights do not fit the PyTorch model: {error}") from error
        return model.to(self.device).eval()

    def cast(self, model: Any, dtype: str) -> None:
        """Bring a model to another floating type, tensor by tensor."""
        self.torch.set_default_dtype(getattr(self.torch, dtype))
        model.to(getattr(self.torch, dtype))

    def layers(self, model: Any) -> Iterator[tuple[str, Any]]:
        """Name every layer within the model."""
        for name, layer in model.named_modules(remove_duplicate=False):
            if name:
                yield name, layer

    def state_of(self, model: Any) -> dict[str, Any]:
        """Give parameters and buffers by key."""
        state: dict[str, Any] = model.state_dict()
        return state

    def parameters(self, model: Any) -> dict[str, Any]:
        """Give what is trained, by key."""
        return {name: p for name, p in model.named_parameters() if p.requires_grad}

    def put_trained(self, array: np.ndarray) -> Any:
        """Bring an array to the device, to be differentiated by."""
        return self.put(array).requires_grad_()

    def grad(self, loss: Any, wanted: list[Any]) -> Sequence[Any]:
        """Differentiate a loss; None for what it does not depend on."""
        made: Sequence[Any] = self.torch.autograd.grad(loss, wanted, allow_unused=True)
        return made

    def no_grad(self) -> Any:
        """Give the context in which nothing is kept for gradients."""
        return self.torch.no_grad()

    def is_tensor(self, value: Any) -> bool:
        """Tell whether a value is a tensor."""
        return isinstance(value, self.torch.Tensor)

    def version(self, tensor: Any) -> int:
        """Count the changes of a tensor in place."""
        try:
            version: int = tensor._version
        except RuntimeError:  # a tensor of inference mode does not count
            return next(self.uncounted)
        return version

    def identity(self, tensor: Any) -> int:
        """Tell a tensor from others; two names of one give the same."""
        place: int = tensor.data_ptr()
        return place or id(tensor)

    def array(self, tensor: Any) -> np.ndarray:
        """Bring a tensor to NumPy."""
        array: np.ndarray = tensor.detach().cpu().numpy()
        return array

    def put(self, array: np.ndarray) -> Any:
        """Bring an array to the device."""
        return self.torch.from_numpy(array).to(self.device)

    def set(self, tensor: Any, array: np.ndarray) -> None:
        """Fill a tensor that is not trained."""
        tensor.copy_(self.torch.from_numpy(array))
