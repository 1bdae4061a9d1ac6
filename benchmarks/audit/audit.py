"""Look for differences between models of one name in two libraries; `make audit` runs it.

    python benchmarks/audit/audit.py [NAME …]

Each pair of pairs.toml goes through `vitconvert table`, unaided: weights of seeded noise, nothing
renamed or repaired by hand. Its report is kept in build/audit/, and a pair that has one is left
out: remove the file to compare it again. At the end the table in docs/audit.md is written anew.
"""

import json
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo import PAIRS

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
KEPT = ROOT / "build" / "audit"
PAGE = ROOT / "docs" / "audit.md"
BEGIN, END = "<!-- written by make audit -->", "<!-- to here -->"
LIMIT_S = 1800  # for one pair


def audit(name: str) -> dict[str, Any]:
    """Compare one pair, and say what came out."""
    start = time.monotonic()
    report = KEPT / f"{name}.report.json"
    report.unlink(missing_ok=True)
    size = PAIRS[name].get("size", 224)
    command = [
        *(sys.executable, "-m", "vitconvert", "table"),
        *("--torch-model", f"zoo:torch.{name}", "--paddle-model", f"zoo:paddle.{name}"),
        *("--input-size", str(size), "--out", str(KEPT / f"{name}.toml"), "--force"),
        *("--report", str(report)),
    ]
    try:
        done = subprocess.run(
            command, cwd=HERE, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        said, status = (done.stdout + done.stderr).strip(), done.returncode
    except subprocess.TimeoutExpired:
        said, status = f"Error: not done after {LIMIT_S} s", 124
    found: dict[str, Any] = {"status": status, "said": said, "seconds": time.monotonic() - start}
    if report.exists():
        facts = json.loads(report.read_text(encoding="utf-8"))
        keys = ("verdict", "claim", "diagnosis", "output", "culprit", "parameters")
        found["report"] = {key: facts.get(key) for key in keys}
    return found


def row(name: str, found: dict[str, Any]) -> list[str]:
    """Spell one pair."""
    pair, report = PAIRS[name], found.get("report")
    models = [pair["torch"], pair["paddle"]]
    seconds = f"{found['seconds']:.0f}"
    if report is None:
        return [*models, "not compared", "", why_not(found["said"]), seconds]
    figures = next(one for one in report["output"] if one["run"] == "float64")
    largest = "" if figures["max"] is None else f"{figures['max']:.1e}"
    cause = "" if report["verdict"] == "PROVED" else report["claim"]
    if cause and report["diagnosis"]:
        cause = report["diagnosis"][0]
    return [*models, report["verdict"], largest, cause.replace("|", "\\|"), seconds]


def why_not(said: str) -> str:
    """Find why the models were not compared in what the command printed: one fact a line."""
    said = re.sub(r"/\S*/site-packages/", "", said)  # where it is on this machine
    facts = said.replace("\n  ", " ").splitlines() or [""]
    undecided = [one for one in facts if one.startswith("undecided: ") and " row" not in one[:30]]
    telling = [one for one in undecided if "not the same function" in one]
    return (telling or undecided or facts[-1:])[0].partition(": ")[2]


def write_page(rows: list[list[str]]) -> None:
    """Put the table between the marks in docs/audit.md."""
    headings = ["PyTorch", "Paddle", "result", "max \\|Δ\\| float64", "first difference", "s"]
    lines = [headings, ["---", "---", "---", "---:", "---", "---:"], *rows]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    libraries = ("torch", "timm", "torchvision", "paddlepaddle", "paddleclas")
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    proved = sum(cells[2] == "PROVED" for cells in rows)
    text = f"{proved} of {len(rows)} proved, with {versions}.\n\n{table}"
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Compare what is asked for, or everything that has not been."""
    KEPT.mkdir(parents=True, exist_ok=True)
    names = sys.argv[1:] or list(PAIRS)
    if unknown := set(names) - set(PAIRS):
        sys.exit(f"pairs.toml has no {', '.join(sorted(unknown))}; it has {', '.join(PAIRS)}.")
    for name in names:
        kept = KEPT / f"{name}.json"
        if not kept.exists():
            kept.write_text(json.dumps(audit(name), indent=1), encoding="utf-8")
        found = json.loads(kept.read_text(encoding="utf-8"))
        print(name, *row(name, found)[2:], sep=" | ", flush=True)
    kept_rows = [(n, KEPT / f"{n}.json") for n in PAIRS]
    write_page([row(n, json.loads(p.read_text("utf-8"))) for n, p in kept_rows if p.exists()])


if __name__ == "__main__":
    main()
