"""Prove the models that targets of the shipped tables name; `make audit` runs it.

    python benchmarks/audit/targets.py [VARIANT …]

For each variant: timm's model, its weights moved by seeded noise, is converted with --target, and
`vitconvert parity --target` runs the target's own class with the file. Reports are kept in
build/audit/targets/, and a variant that has one is left out. Models above 100 M parameters are
built and loaded, but not run. At the end the table in docs/audit.md is written anew.
"""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from audit import PAGE, ROOT

KEPT = ROOT / "build" / "audit" / "targets"
BEGIN, END = "<!-- targets: written by make audit -->", "<!-- targets: to here -->"
LARGEST = 100e6  # parameters of a model that is run
NOISE = 0.05  # standard deviation of what is added to every weight
LIMIT_S = 1800


def write_weights(variant: str, file: Path) -> None:
    """Write timm's model with moved weights, so that no norm has ones and no bias zeros."""
    import torch
    from safetensors.torch import save_file

    from vitconvert import create_model

    model = create_model(variant, "torch")
    random = torch.Generator().manual_seed(0)
    state = {
        key: (value + NOISE * torch.randn(value.shape, generator=random)).contiguous()
        for key, value in model.state_dict().items()
    }
    save_file(state, str(file))


def load_alone(variant: str, target: str, file: Path) -> dict[str, Any]:
    """Load a file into the target's own class; every name and shape has to be there."""
    from vitconvert.checkpoints import Selection
    from vitconvert.running.setup import Setup, Subject
    from vitconvert.running.side import make_side

    subject = Subject(variant, 1000, output="logits", target=target)
    side = make_side(Setup("paddle", subject, str(file), Selection(spelling=target), "cpu"))
    model = side.model("float32")
    return {"verdict": "LOADED", "tensors": len(model.state_dict()), "class": type(model).__name__}


def prove(variant: str, target: str, large: bool) -> dict[str, Any]:
    """Convert, and run the target's own class; say what came out."""
    from vitconvert.tables.reading import find_variant

    family = find_variant(variant)[0].family
    source, made, report = (KEPT / f"{variant}.{end}" for end in ("safetensors", "pdparams", "out"))
    write_weights(variant, source)
    run = (sys.executable, "-m", "vitconvert")
    common = {"capture_output": True, "text": True, "timeout": LIMIT_S, "check": False}
    convert = [*run, family, "--src", str(source), "--dst", str(made), "--target", target]
    done = subprocess.run([*convert, "--no-parity", "--force"], **common)  # type: ignore[call-overload]
    if done.returncode:
        return {"verdict": "not converted", "said": done.stderr.strip()}
    if large:
        found = load_alone(variant, target, made)
    else:
        files = ["--torch", str(source), "--paddle", str(made), "--target", target]
        report.unlink(missing_ok=True)
        done = subprocess.run(
            [*run, "parity", variant, *files, "--report", str(report)],
            **common,  # type: ignore[call-overload]
        )
        found = {"verdict": "not compared", "said": (done.stdout + done.stderr).strip()}
        if report.exists():
            facts = json.loads(report.read_text(encoding="utf-8"))
            keys = ("verdict", "claim", "diagnosis", "output")
            found = {key: facts[key] for key in keys}
            found["class"] = facts["candidate"]["model"].rpartition(".")[2]
    for file in (source, made, report):
        file.unlink(missing_ok=True)
    return found


def row(variant: str, model: str, found: dict[str, Any]) -> list[str]:
    """Spell one model."""
    largest, cause = "", found.get("said", "").splitlines()[-1:]
    if "output" in found:
        figures = next(one for one in found["output"] if one["run"] == "float64")
        largest = "" if figures["max"] is None else f"{figures['max']:.1e}"
        cause = [] if found["verdict"] == "PROVED" else found["diagnosis"][:1]
    cells = [variant, model.partition(":")[2], found["verdict"], largest, "".join(cause)]
    return [cell.replace("|", "\\|") for cell in cells]


def main() -> None:
    """Prove what is asked for, or everything that has not been."""
    from vitconvert.tables.reading import families, load_table

    KEPT.mkdir(parents=True, exist_ok=True)
    rows = []
    for table in map(load_table, families()):
        for target, names in table.targets.items():
            for variant, model in names.models.items():
                kept = KEPT / f"{variant}.{target}.json"
                if not kept.exists() and (not sys.argv[1:] or variant in sys.argv[1:]):
                    large = table.parameters(table.variants[variant]) > LARGEST
                    kept.write_text(json.dumps(prove(variant, target, large), indent=1), "utf-8")
                if kept.exists():
                    rows.append(row(variant, model, json.loads(kept.read_text("utf-8"))))
                    print(*rows[-1], sep=" | ", flush=True)
    headings = ["variant", "Paddle", "result", "max \\|Δ\\| float64", "first difference"]
    lines = [headings, ["---", "---", "---", "---:", "---"], *rows]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    told = f"With timm {version('timm')} and paddleclas {version('paddleclas')}."
    PAGE.write_text(f"{before}{BEGIN}\n\n{told}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
