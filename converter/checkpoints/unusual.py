"""What stands in a checkpoint in place of a plain tensor, and what to type instead."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from . import pickles
from ._tensor import Tensor
from ._torch import WHOLE_MODEL

_DEQUANTIZE = (
    "Save the floating model instead, from before it was quantized, or {name: t.dequantize() ...}"
)

# Beginnings of the names of classes and functions -> what it is, what to do.
_KINDS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("torch.distributed.tensor.", "torch.distributed._tensor."),
        "a DTensor (FSDP2 or tensor parallelism), of which a file holds the part of one process",
        "Save whole tensors, on all processes: torch.distributed.checkpoint.state_dict."
        "get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, "
        "cpu_offload=True)), or tensor.full_tensor() of each; then torch.save on one of them",
    ),
    (
        ("torch.distributed._shard", "torch.distributed._sharded_tensor", "torch.distributed.fsdp"),
        "a ShardedTensor (FSDP), of which a file holds the part of one process",
        "Save whole tensors, within FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, "
        "FullStateDictConfig(offload_to_cpu=True, rank0_only=True)): "
        "torch.save(model.state_dict(), ...)",
    ),
    (
        ("torch.distributed.checkpoint.",),
        "the description of a distributed checkpoint, without its values",
        "Join its folder first: python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
        "DIR out.pth",
    ),
    (
        ("torch._utils._rebuild_qtensor",),
        "a quantized tensor, whose integers mean nothing without their scales",
        _DEQUANTIZE,
    ),
    (
        (
            "torchao.",
            "bitsandbytes.",
            "optimum.quanto",
            "quanto.",
            "hqq.",
            "transformer_engine.",
            "torch.ao.",
            "compressed_tensors.",
        ),
        "a quantized tensor, of a class that holds integers and scales",
        _DEQUANTIZE,
    ),
    (
        ("torch._utils._rebuild_sparse",),
        "a sparse tensor",
        "Save {name: t.to_dense() ...} instead",
    ),
    (
        ("torch._utils._rebuild_nested", "torch.nested."),
        "a nested tensor, whose rows differ in length",
        "Save its parts instead: tensor.unbind()",
    ),
    (
        ("torch._utils._rebuild_meta", "torch._subclasses.", "torch._meta"),
        "a tensor of the meta device, which has a shape and no values",
        "Load the weights before you save the model: model.load_state_dict(..., assign=True)",
    ),
    (
        ("torch.fx.", "torch.jit.", "torch._C.ScriptModule", "torch.export."),
        "a program, which is code",
        "Save the weights of the model: torch.save(model.state_dict(), ...)",
    ),
    (
        ("torch.nn.parameter.Uninitialized",),
        "a parameter of a lazy layer that never ran, without a shape",
        "Call the model once before you save it",
    ),
    (
        ("a conjugated or negated view",),
        "a conjugated or negated view",
        "Save {name: t.resolve_conj().resolve_neg() ...} instead",
    ),
)

_MOST = 10_000  # values that are looked at for a message


def what(value: pickles.Opaque) -> str:
    """Describe an object that is not a tensor; with what to do, in a sentence, where it is known.

    "a DTensor (...). Save whole tensors: ...", or only its name.
    """
    name = (
        value.name if value.name.isprintable() and len(value.name) < 200 else f"{value.name!r:.100}"
    )
    if value.is_model:
        return f"a whole model ({name}), not its weights. {WHOLE_MODEL[0].upper()}{WHOLE_MODEL[1:]}"
    for beginnings, told, advice in _KINDS:
        if value.name.startswith(beginnings):
            return f"{told}. {advice}"
    return name


def advice(tree: Any) -> str:
    """Say what a file without tensors holds in their place, and what to do; "" if unknown."""
    if isinstance(tree, pickles.Opaque) and not tree.is_model and ". " not in what(tree):
        return f" If it is a whole model, {WHOLE_MODEL}."
    if isinstance(tree, dict) and (told := _of_a_run(tree)):
        return f" {told}"
    found = Counter(told for told in map(what, _opaques(tree)) if ". " in told)
    if not found:
        return ""
    told, count = found.most_common(1)[0]
    return f" {'It is' if isinstance(tree, pickles.Opaque) else f'It holds {count} times'} {told}."


def _of_a_run(tree: dict[Any, Any]) -> str:
    """Recognise files of a training that hold no weights."""
    if {"ds_config", "ds_version"} & tree.keys():
        return (
            "It is one part of a checkpoint of DeepSpeed. Join them, in the folder of the "
            "checkpoint: python zero_to_fp32.py . pytorch_model.bin"
        )
    if {"state", "param_groups"} <= tree.keys():
        return "It is the state of an optimizer. Take the file of the model beside it."
    if {"scale", "growth_factor"} <= tree.keys() or {"scale", "incr_ratio"} <= tree.keys():
        return "It is the state of a gradient scaler. Take the file of the model beside it."
    return ""


def _opaques(tree: Any) -> Iterator[pickles.Opaque]:
    """Give the inert objects of a tree, as far as a message needs them."""
    todo, seen, steps = [tree], set[int](), 0
    while todo and steps < _MOST:
        value, steps = todo.pop(), steps + 1
        if isinstance(value, pickles.Opaque):
            yield value
        elif isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            todo += [one for one in value.values() if not isinstance(one, Tensor)]
