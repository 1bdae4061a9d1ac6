"""Either framework: a model with its weights as a function of arrays."""

import os
import platform
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from ..errors import ModelError, RunError, brief
from ..models import load_paddle, load_torch
from ..sides import NAMES, Side
from .device import choose_device, import_framework
from .gpu import check_paddle_gpu, driver, effective_tf32
from .setup import Setup
from .torch_reader import read_with_torch


class _Side(ABC):
    """What is the same in both frameworks."""

    name: Side
    layer_class: str  # that every model is of
    misfits: tuple[type[Exception], ...]  # raised when weights do not fit
    cuda: Any  # the framework's functions about GPUs
    autograd: Any  # the module with `grad`

    def __init__(self, setup: Setup) -> None:
        self.library, self.setup = import_framework(self.name), setup
        self.target = setup.subject.foreign()  # what Paddle's side runs
        self.whole: Any = None
        self.foreign = self.target if self.name == "paddle" else None
        self.device: str = choose_device(self.name, setup.device)
        self.reader = ""  # who reads the weights

    def environment(self) -> dict[str, Any]:
        """Return what ran where, settings read back and probed."""
        library = self.foreign.library() if self.foreign else ""
        facts = {
            self.name: self.library.__version__,
            "python": platform.python_version(),
            "device": self.device,
            **self._environment(),
            **({"library": library} if library else {}),
        }
        if self.device != "cpu":
            card = {"card": self.cuda.get_device_name(), "driver": driver()}
            facts = {**facts, **card, "tf32": effective_tf32(self._matmul)}
        return facts

    @abstractmethod
    def _environment(self) -> dict[str, Any]:
        """Return what each framework calls otherwise: threads and, on a GPU, CUDA and TF32."""

    def _matmul(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return self.array(self.put(one) @ self.put(other))

    @contextmanager
    def floating(self, dtype: str) -> Iterator[None]:
        """Make new tensors of a floating type meanwhile."""
        usual = self.library.get_default_dtype()
        self.library.set_default_dtype(self._dtype(dtype))
        try:
            yield
        finally:
            self.library.set_default_dtype(usual)

    @abstractmethod
    def _dtype(self, name: str) -> Any:
        """Return a floating type as the framework expects it."""

    def build(self, dtype: str) -> Any:
        """Build the model in a floating type, in evaluation mode.

        Raises:
            ModelError: The user's function returns something else.
        """
        subject = self.setup.subject
        others = subject.is_own or self.foreign
        with self.floating(dtype), self._own_names() if others else nullcontext():
            model = subject.build(self.name)
        if not isinstance(model, getattr(self.library.nn, self.layer_class)):
            expected = f"{self.name}.nn.{self.layer_class}"
            raise ModelError(f"{subject.name} returns a {type(model)}; expected a {expected}.")
        if others or self.name == "torch":
            self.cast(model, dtype)  # Paddle has built a shipped one in this type
        model.eval()
        self.whole = model
        return model

    def model(self, dtype: str) -> Any:
        """Build the model and load its weights.

        Raises:
            RunError: They do not fit.
        """
        model = self.build(dtype)
        try:
            self._load(model)
        except self.misfits as error:
            name = NAMES[self.name]
            raise RunError(f"the weights do not fit the {name} model: {brief(error)}") from error
        return model

    def _own_names(self) -> AbstractContextManager[Any]:
        """Return the context in which a model's tensors may be named as those of another one."""
        return nullcontext()

    @abstractmethod
    def _load(self, model: Any) -> None:
        """Load the weights of the checkpoint."""

    @abstractmethod
    def cast(self, model: Any, dtype: str) -> None:
        """Bring a model to another floating type, on the device."""

    def state_of(self, model: Any) -> dict[str, Any]:
        """Return parameters and buffers by key."""
        state = dict(model.state_dict())
        if self.foreign is None or model is not self.whole:
            return state
        ours = self.foreign.tensors(state, self.array, self.put)
        return ours | self.foreign.zeros(ours, str(self.library.get_default_dtype()), self.put)

    def left_out(self, key: str) -> str | None:
        """Give the reason why our model lacks a tensor of a target's own model."""
        return None if self.foreign is None else self.foreign.names.left_out(key)

    def gradients(self, by: dict[str, np.ndarray | None]) -> dict[str, np.ndarray | None]:
        """Give gradients by the names of `parameters` under those that the table has."""
        return by if self.foreign is None else self.foreign.gradients(by)

    def grad(self, loss: Any, wanted: list[Any]) -> Sequence[Any]:
        """Differentiate a loss; None for what it does not depend on."""
        return tuple(self.autograd.grad(loss, wanted, allow_unused=True))

    def no_grad(self) -> Any:
        """Return the context in which nothing is kept for gradients."""
        return self.library.no_grad()

    def is_tensor(self, value: Any) -> bool:
        """Tell whether a value is a tensor."""
        return isinstance(value, self.library.Tensor)

    def array(self, tensor: Any) -> np.ndarray:
        """Bring a tensor to NumPy.

        Raises:
            RunError: NumPy has no such numbers, or there are none yet.
        """
        dtype = str(tensor.dtype).rpartition(".")[2]
        if dtype == "bfloat16" or dtype.startswith("float8"):
            raise RunError(f"a layer takes or gives {dtype}, which cannot be compared.")
        return np.asarray(tensor.detach().cpu().numpy())

    @abstractmethod
    def put(self, array: np.ndarray) -> Any:
        """Bring an array to the device."""


class TorchSide(_Side):
    """Runs the PyTorch model."""

    name, layer_class, misfits = "torch", "Module", (RuntimeError,)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.cuda, self.autograd = self.library.cuda, self.library.autograd
        backends = self.library.backends
        self.device = "cuda" if self.device == "gpu" else "cpu"
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = setup.tf32
        backends.cudnn.deterministic, backends.cudnn.benchmark = True, False
        if hasattr(backends, "mha"):  # it passes by the layers within an attention
            backends.mha.set_fastpath_enabled(False)
        self.uncounted = count(-1, -1)
        if setup.checkpoint:
            self.state, self.reader = read_with_torch(setup.open())
            for key, dtype in setup.rounded.items():
                self.state[key] = self.state[key].to(self._dtype(dtype))

    def _environment(self) -> dict[str, Any]:
        torch, facts = self.library, {"threads": self.library.get_num_threads()}
        if self.device == "cuda":
            matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
            facts |= {"cuda": torch.version.cuda, "cudnn": cudnn.version()}
            facts["tf32_set"] = {"matmul": matmul.allow_tf32, "cudnn": cudnn.allow_tf32}
        return facts

    def _dtype(self, name: str) -> Any:
        return getattr(self.library, name)

    def build(self, dtype: str) -> Any:
        """Build the model in a floating type, in evaluation mode.

        Raises:
            ModelError: The user's function returns something else, or tensors without a shape.
        """
        model = super().build(dtype)
        is_lazy = self.library.nn.parameter.is_lazy
        named = (*model.named_parameters(), *model.named_buffers())
        if lazy := [key for key, tensor in named if is_lazy(tensor)]:
            raise ModelError(
                f"{self.setup.subject.name} returns a model whose {lazy[0]} has no shape yet, as "
                f"in any lazy layer. Let the function call the model once before it returns it."
            )
        return model

    def _load(self, model: Any) -> None:
        load_torch(model, self.state, self.setup.subject.read_table())

    def cast(self, model: Any, dtype: str) -> None:
        """Bring a model to another floating type, on the device."""
        model.to(self.device, self._dtype(dtype))

    def layers(self, model: Any) -> Iterator[tuple[str, Any]]:
        """Name every layer within the model."""
        for name, layer in model.named_modules(remove_duplicate=False):
            if name:
                yield name, layer

    def parameters(self, model: Any) -> dict[str, Any]:
        """Return what is trained, by key."""
        return {name: p for name, p in model.named_parameters() if p.requires_grad}

    def buffers(self, model: Any) -> dict[str, Any]:
        """Return what is not trained, by key, also what is never saved."""
        frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
        return {**frozen, **dict(model.named_buffers(remove_duplicate=False))}

    def put_trained(self, array: np.ndarray) -> Any:
        """Bring an array to the device, to differentiate by it."""
        return self.put(array).requires_grad_()

    def version(self, tensor: Any) -> int:
        """Count the changes of a tensor in place."""
        try:
            return int(tensor._version)
        except RuntimeError:  # a tensor of inference mode does not count
            return next(self.uncounted)

    def identity(self, tensor: Any) -> int:
        """Identify a tensor; two names of one give the same."""
        return int(tensor.data_ptr()) or id(tensor)

    def put(self, array: np.ndarray) -> Any:
        """Bring an array to the device."""
        return self.library.from_numpy(array).to(self.device)

    def set(self, tensor: Any, array: np.ndarray) -> None:
        """Fill a tensor that is not trained."""
        tensor.copy_(self.library.from_numpy(array))


class PaddleSide(_Side):
    """Runs the Paddle model."""

    name, layer_class, misfits = "paddle", "Layer", (AssertionError, ValueError)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.autograd = paddle = self.library
        self.cuda = paddle.device.cuda
        paddle.set_device(self.device)
        if setup.checkpoint:
            checkpoint, self.reader = setup.open(), "vitconvert"
            spelled = setup.rounded if self.foreign is None else self.foreign.spelled(setup.rounded)
            rounded = {key: checkpoint.tensors[key].cast(to) for key, to in spelled.items()}
            self.checkpoint = replace(checkpoint, tensors={**checkpoint.tensors, **rounded})
        if self.device == "gpu":
            paddle.set_flags({"FLAGS_cudnn_deterministic": True})
            capability = self.cuda.get_device_capability()
            check_paddle_gpu(
                paddle.__version__, str(paddle.version.cuda()), capability, self._matmul
            )

    def _environment(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"threads": int(os.environ.get("OMP_NUM_THREADS", "0"))}
        if self.device == "gpu":
            version, tf32 = self.library.version, "NVIDIA_TF32_OVERRIDE"
            facts |= {"cuda": version.cuda(), "cudnn": version.cudnn()}
            facts["tf32_set"] = {tf32: os.environ.get(tf32, "")}
        return facts

    def _dtype(self, name: str) -> Any:
        return name

    def _own_names(self) -> AbstractContextManager[Any]:
        # Where parameters are named by ParamAttr, a second model of the kind would be refused.
        guard: AbstractContextManager[Any] = self.library.utils.unique_name.guard()
        return guard

    def _load(self, model: Any) -> None:
        names = None if self.foreign is None else self.foreign.names
        load_paddle(model, self.checkpoint, self.setup.subject.read_table(), names)

    def cast(self, model: Any, dtype: str) -> None:
        """Bring a model to another floating type; Layer.to would cast integers, too."""

        def cast(tensor: Any, device: Any, dtype: Any, blocking: Any) -> Any:
            if not tensor.is_floating_point():
                return tensor
            return model._transform(tensor, device, dtype, blocking)

        model._apply(cast, None, dtype, None, True)

    def layers(self, model: Any) -> Iterator[tuple[str, Any]]:
        """Name every layer within the model."""
        if self.foreign is not None and model is self.whole:
            yield from self.foreign.layers(self._within(model))
        else:
            yield from self._within(model)

    def _within(self, model: Any) -> Iterator[tuple[str, Any]]:
        for name, layer in model._sub_layers.items():
            if layer is not None:
                yield name, layer
                yield from ((f"{name}.{inner}", found) for inner, found in self._within(layer))

    def parameters(self, model: Any) -> dict[str, Any]:
        """Return what is trained, by key."""
        return {name: p for name, p in model.named_parameters() if not p.stop_gradient}

    def buffers(self, model: Any) -> dict[str, Any]:
        """Return what is not trained, by key, also what is never saved."""
        frozen = {name: p for name, p in model.named_parameters() if p.stop_gradient}
        found = {**frozen, **dict(model.named_buffers())}
        return found if self.foreign is None else dict(self.foreign.layers(found.items()))

    def put_trained(self, array: np.ndarray) -> Any:
        """Bring an array to the device, to differentiate by it."""
        tensor = self.put(array)
        tensor.stop_gradient = False
        return tensor

    def version(self, tensor: Any) -> int:
        """Count the changes of a tensor in place."""
        return int(tensor.inplace_version)

    def identity(self, tensor: Any) -> int:
        """Identify a tensor; two names of one give the same."""
        return id(tensor)

    def put(self, array: np.ndarray) -> Any:
        """Bring an array to the device."""
        return self.library.to_tensor(array)

    def set(self, tensor: Any, array: np.ndarray) -> None:
        """Fill a tensor that is not trained."""
        tensor.set_value(array)


AnySide = TorchSide | PaddleSide


def make_side(setup: Setup) -> AnySide:
    """Import the framework of a setup and set up the device.

    Raises:
        CheckpointError: The weights cannot be read.
        RunError: The device does not exist, or cannot compute.
    """
    return TorchSide(setup) if setup.framework == "torch" else PaddleSide(setup)


def as_function(side: AnySide, model: Any, dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    """Wrap a model of one floating type as a function: images [B, 3, H, W] -> its one output."""

    def run(images: np.ndarray) -> np.ndarray:
        with side.floating(dtype), side.no_grad():
            output = model(side.put(images.astype(dtype, copy=False)))
            if not side.is_tensor(output):
                found = f"{side.setup.subject.name} gives a {type(output).__name__}"
                raise RunError(f"{found}; expected one tensor, such as logits [B, classes].")
            return side.array(output)

    return run


def find_class(name: str) -> type | None:
    """Give the class of that name; None if its module is not imported or has none."""
    module, _, own = name.rpartition(".")
    found = getattr(sys.modules.get(module), own, None)
    return found if isinstance(found, type) else None


def class_name(layer: Any) -> str:
    """Spell the class of a layer in full."""
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def is_class(layer: Any, names: Iterable[str]) -> bool:
    """Tell whether a layer is of exactly one of the classes of these names."""
    return any(type(layer) is find_class(name) for name in names)
