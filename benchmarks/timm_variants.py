"""Write mappings/variants/<family>.toml from the timm that is installed: `make variants`.

For each registered model of some of timm's files: the arguments that its class is built with, where
they differ from the defaults of the Paddle model's Config, and how the images of each released
checkpoint are preprocessed. Facts alone; what the Paddle model does not cover is left out, with a
line that says why.
"""

import functools
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vitconvert.checked import frozen
from vitconvert.reference import RELEASE, import_timm
from vitconvert.tables.reading import SHIPPED, read_toml
from vitconvert.tables.variant import PREPROCESSING

MODULES = {
    "vit": ("vision_transformer", "deit"),
    "swin": ("swin_transformer",),
    "swinv2": ("swin_transformer_v2",),
    "pvt_v2": ("pvt_v2",),
}
# What some classes say by their name alone.
CLASSES: Mapping[str, Mapping[str, Any]] = {"VisionTransformerDistilled": {"distilled": True}}
# timm's word for one thing where it has several, and for a class.
WORDS = {
    "rmsnorm": "rms_norm",
    "GluMlp": "swiglu_packed",
    "SwiGLU": "swiglu",
    "SiLU": "silu",
    "ParallelThingsBlock": "parallel_things",
    "ParallelScalingBlock": "parallel_scaling",
    "DiffParallelScalingBlock": "diff_parallel_scaling",
    "ResPostBlock": "res_post",
}
# Arguments that say nothing of what a built model computes for images of its size.
WITHOUT_EFFECT = {"weight_init", "fix_init", "dynamic_img_size", "strict_img_size"}
HEADER = f"""\
# Every model that timm {RELEASE} registers in {{modules}}:
# the arguments of Config in models_paddle/{{family}}.py where they differ from its defaults, and of
# each released checkpoint what differs from [published_defaults] of {{family}}.toml.
# Written by benchmarks/timm_variants.py.
"""


def word(name: str, value: Any) -> dict[str, Any]:
    """Spell one argument of a class of timm's as plain data.

    Raises:
        ValueError: It cannot be spelled.
    """
    if isinstance(value, functools.partial):
        rest = dict(value.keywords)
        if value == import_module("timm.layers").SwiGLUPacked:
            rest = {}
        spelled = word(name, value.func)
        if "eps" in rest:
            spelled[name.removesuffix("_layer") + "_eps"] = rest.pop("eps")
        if rest:
            raise ValueError(f"{name} is {value}")
        return spelled
    if isinstance(value, type):
        value = WORDS.get(value.__name__) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", value.__name__)
        return {name: value.lower()}
    if isinstance(value, str):
        return {name: WORDS.get(value, value)}
    if value is None or isinstance(value, bool | int | float):
        return {name: value}
    if isinstance(value, tuple | list):
        return {name: tuple(value)}
    raise ValueError(f"{name} is {value!r}")


def arguments(timm: Any, name: str, wanted: Iterable[str]) -> dict[str, Any]:
    """Give what the class of a model is built with, by keyword, as plain data.

    Args:
        timm: The module.
        name: Of the model.
        wanted: Arguments that are asked for even where the class's own default stands.
    """
    import torch

    entry = timm.models.model_entrypoint(name)
    kept: dict[Any, Any] = {
        cls: cls.__init__
        for cls in vars(sys.modules[entry.__module__]).values()
        if isinstance(cls, type) and issubclass(cls, torch.nn.Module)
    }
    seen: dict[str, Any] = {}

    def record(plain: Any) -> Any:
        def init(self: Any, *given: Any, **named: Any) -> None:
            if not seen:  # the model itself; its layers follow
                assert not given
                seen.update(named, cls=type(self))
            plain(self, *given, **named)

        return functools.wraps(plain)(init)

    try:
        for cls, plain in kept.items():
            setattr(cls, "__init__", record(plain))  # noqa: B010
        with torch.device("meta"):
            timm.create_model(name)
    finally:
        for cls, plain in kept.items():
            setattr(cls, "__init__", plain)  # noqa: B010
    cls = seen.pop("cls")
    for key, one in inspect.signature(cls).parameters.items():
        if key in wanted and one.default not in (one.empty, None):
            seen.setdefault(key, one.default)
    found: dict[str, Any] = dict(CLASSES.get(cls.__name__, {}))
    for key, value in seen.items():
        if key not in WITHOUT_EFFECT:
            found |= word(key, value)
    return found


def square(value: Any) -> tuple[int, ...]:
    """Give height and width of what may be one number."""
    return (value, value) if isinstance(value, int) else tuple(value)


def published(name: str, defaults: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give how the images of each released checkpoint are preprocessed, the default one first."""
    registry = import_module("timm.models._registry")
    tags = [full for full in registry._model_with_tags[name] if full != name]
    first = registry._model_default_cfgs[name].default
    for full in sorted(tags, key=lambda tag: registry._model_pretrained_cfgs[tag].tag != first.tag):
        cfg = registry._model_pretrained_cfgs[full]
        if full not in registry._model_has_pretrained and len(tags) > 1:
            continue
        facts = asdict(cfg)
        entry = {"weights": cfg.tag}
        if facts["input_size"] != first.input_size:
            entry["input_size"] = facts["input_size"][1:]
        if facts["num_classes"] != first.num_classes:
            entry["num_classes"] = facts["num_classes"]
        entry |= {
            key: tuple(facts[key]) if isinstance(facts[key], list | tuple) else facts[key]
            for key in PREPROCESSING
            if facts[key] != defaults[key]
        }
        yield entry


def spell(value: Any) -> str:
    """Spell a value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping) and value:
        return f"{{ {', '.join(f'{key} = {spell(one)}' for key, one in value.items())} }}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(spell, value))}]"
    return repr(value)  # an empty mapping, too


def render(family: str, timm: Any) -> tuple[str, list[str]]:
    """Spell all variants of a family, and say which were left out."""
    import paddle

    module = import_module(f"vitconvert.models_paddle.{family}")
    known = {one.name: one.default for one in fields(module.Config)}
    table = SHIPPED / f"{family}.toml"
    own = read_toml(table).get("published_defaults", {}) if table.is_file() else {}
    defaults = {**PREPROCESSING, **frozen(own)}
    registry = import_module("timm.models._registry")
    lines, left_out = [HEADER.format(family=family, modules=" and ".join(MODULES[family]))], []
    for name in registry._model_entrypoints:
        if (
            registry._model_to_module[name] not in MODULES[family]
            or name in registry._deprecated_models
        ):
            continue
        try:
            found = arguments(timm, name, known)
        except ValueError as error:
            left_out.append(f"{name}: {error}")
            continue
        if unknown := {k: v for k, v in found.items() if k not in known and v not in (None, 0, "")}:
            left_out.append(f"{name}: {unknown}")
            continue
        default = registry._model_default_cfgs[name].default
        size = square(found.pop("img_size", default.input_size[1:]))
        config = {k: value for k, value in found.items() if k in known and value != known[k]}
        if "img_size" in known and size != known["img_size"]:
            config["img_size"] = size
        try:
            with paddle.LazyGuard():
                module.build(module.Config(**config))
        except (KeyError, TypeError, ValueError) as error:
            left_out.append(f"{name}: the Paddle model has no {error}")
            continue
        lines += [f"[{name}]", f"input_size = {spell(size)}", f"config = {spell(config)}"]
        entries = [f"  {spell(entry)}," for entry in published(name, defaults)]
        lines += ["published = [", *entries, "]", ""]
    return "\n".join(lines).rstrip() + "\n", left_out


def main() -> None:
    """Write the files of all families whose Paddle model is there."""
    timm = import_timm()
    assert timm.__version__ == RELEASE, f"timm {timm.__version__}, expected {RELEASE}"
    for family in sys.argv[1:] or MODULES:
        if find_spec(f"vitconvert.models_paddle.{family}") is None:
            print(f"{family}: no models_paddle/{family}.py yet")
            continue
        text, left_out = render(family, timm)
        target = Path(SHIPPED) / "variants" / f"{family}.toml"
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
        print(f"{target} written: {text.count(chr(10) + '[')} variants.")
        for line in left_out:
            print(f"  left out: {line}")


if __name__ == "__main__":
    main()
