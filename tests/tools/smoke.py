"""Try an installed wheel: whether it is complete and its commands run.

    cd build && wheel/bin/python ../tests/tools/smoke.py           converting, without frameworks
    cd build && wheel/bin/python ../tests/tools/smoke.py proved    and the proof, which needs both

Run it outside the repository, with the interpreter that the wheel is installed in. What the
commands do is tested in the repository; here it counts that nothing was left out of the wheel.
"""

import json
import subprocess
import sys
import tempfile
from importlib import metadata, util
from pathlib import Path

import click

import vitconvert
from vitconvert.cli import cli

ROOT = Path(__file__).parents[2]
INSTALLED = Path(vitconvert.__file__).parent
COMMAND = Path(sys.executable).with_name("vitconvert")
DEMO = ROOT / "docs" / "demo"
VARIANT = "shiftvit_cifar_tiny"
FOLDERS = {
    "converter": ".",
    "mappings": "mappings",
    "models_torch": "models_torch",
    "models_paddle": "models_paddle",
}


def missing() -> list[str]:
    """Name the files of the repository's packages that the wheel lacks or holds otherwise."""
    found = []
    for folder, place in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_dir() or "__pycache__" in file.parts:
                continue
            installed = INSTALLED / place / file.relative_to(ROOT / folder)
            if not installed.is_file() or installed.read_bytes() != file.read_bytes():
                found.append(str(file.relative_to(ROOT)))
    return found


def run(*arguments: object) -> str:
    """Run the command that the wheel installed, and give what it prints."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, (
        f"{arguments}: status {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout


def check_files() -> None:
    """Every file is there, the license too, and it is the wheel that is looked at."""
    assert ROOT not in INSTALLED.parents or "site-packages" in INSTALLED.parts, INSTALLED
    assert missing() == []
    listed = [str(file) for file in metadata.files("vitconvert") or ()]
    assert any(name.endswith("licenses/LICENSE") for name in listed), listed


def check_commands() -> None:
    """Every command has a help, and every variant is known."""
    assert metadata.version("vitconvert") in run("--version")
    for command in cli.list_commands(click.Context(cli)):
        assert run(command, "--help").startswith("Usage: vitconvert"), command
    shown = run("models")
    assert all(variant in shown for variant in vitconvert.list_models())


def check_conversion(folder: Path) -> None:
    """A checkpoint of PyTorch becomes one of Paddle, without either."""
    for framework in ("torch", "paddle"):
        assert util.find_spec(framework) is None, f"{framework} is installed"
    source, target = DEMO / f"{VARIANT}.pth", folder / "x.pdparams"
    assert "read back and equal" in run("shiftvit", "--src", source, "--dst", target, "--no-parity")
    assert VARIANT in run("inspect", target)


def check_proof(folder: Path) -> None:
    """The proof, and every report that is made of a page in the wheel."""
    source, target = DEMO / f"{VARIANT}.pth", folder / "x.pdparams"
    report, page = folder / "x.json", folder / "x.html"
    shown = run("shiftvit", "--src", source, "--dst", target, "--report", report)
    assert "PROVED: both checkpoints compute the same function." in shown
    assert json.loads(report.read_text())["proved"] is True
    pair = ("--torch", source, "--paddle", target)
    assert "PROVED" in run("parity", VARIANT, *pair, "--html", page)
    data = ("--data", DEMO / "images", "--report", folder / "eval")
    run("eval", VARIANT, "--weights", target, *data)
    for written in (page, folder / "eval" / "report.html"):
        assert "</html>" in written.read_text(), written


def main(*asked: str) -> None:
    """Try what was asked for, and count it."""
    checks = [check_proof] if asked == ("proved",) else [check_conversion]
    check_files()
    check_commands()
    with tempfile.TemporaryDirectory() as folder:
        for check in checks:
            check(Path(folder))
    print(f"{2 + len(checks)} passed, 0 failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
