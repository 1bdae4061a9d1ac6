"""`python -m vitconvert`, as launchers of several processes start it; the script calls it, too."""

from .start import begin


def main() -> None:
    """Run the command line; signals are minded before the rest of it is imported."""
    begin()
    from .cli import main as run

    run()


if __name__ == "__main__":
    main()
