"""`python -m vitconvert`, as launchers of several processes start it."""

from .start import main

if __name__ == "__main__":
    main()
