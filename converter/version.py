"""What every report says of its origin: the version, which packaging reads from here, and when."""

from datetime import UTC, datetime

__version__ = "0.1.0"


def now() -> str:
    """Give the time as reports spell it: "2026-02-01 12:34 UTC"."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
