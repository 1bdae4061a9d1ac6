"""PyTorch: a model as a function of arrays."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

from ..checkpoints import open_checkpoint
from ..errors import ModelError, RunError
from ..models import load_torch
from ..sides import Side
from .device import choose_device, import_framework
from .gpu import driver, effective_tf32
from .setup import Setup
from .torch_reader import read_with_torch


class TorchSide:
    """Runs the PyTorch model."""

    name: Side = "torch"

    def __init__(self, setup: Setup) -> None:
        self.torch, self.setup = import_framework("torch"), setup
        self.device = "cuda" if choose_device("torch", setup.device) == "gpu" else "cpu"
        backends = self.torch.backends
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = setup.tf32
        backends.cudnn.deterministic, backends.cudnn.benchmark = True, False
        if hasattr(backends, "mha"):  # it passes by the layers within an attention
            backends.mha.set_fastpath_enabled(False)
        self.uncounted = count(-1, -1)
        self.reader = ""  # who reads the weights
        if setup.checkpoint:
            checkpoint = open_checkpoint(setup.checkpoint, setup.weights)
            self.state, self.reader = read_with_torch(checkpoint)
            for key, dtype in setup.rounded.items():
                self.state[key] = self.state[key].to(getattr(self.torch, dtype))

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

    @contextmanager
    def floating(self, dtype: str) -> Iterator[None]:
        """Let what is made meanwhile be of a floating type."""
        usual = self.torch.get_default_dtype()
        self.torch.set_default_dtype(getattr(self.torch, dtype))
        try:
            yield
        finally:
            self.torch.set_default_dtype(usual)

    def build(self, dtype: str) -> Any:
        """Build the model in a floating type, in evaluation mode.

        Raises:
            ModelError: The function of the user's gives something else.
        """
        subject = self.setup.subject
        with self.floating(dtype):
            model = subject.build("torch")
        if not isinstance(model, self.torch.nn.Module):
            raise ModelError(f"{subject.name} gives a {type(model)}; expected a torch.nn.Module.")
        self.cast(model, dtype)
        return model.to(self.device).eval()

    def model(self, dtype: str) -> Any:
        """Build the model and load its weights.

        Raises:
            RunError: They do not fit.
        """
        model = self.build(dtype)
        try:
            load_torch(model, self.state, self.setup.subject.read_table())
        except RuntimeError as error:
            raise RunError(f"the weights do not fit the PyTorch model: {error}") from error
        return model

    def cast(self, model: Any, dtype: str) -> None:
        """Bring a model to another floating type, tensor by tensor."""
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
