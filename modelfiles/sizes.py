"""Sizes as people read them: one way of writing them for messages, tables and progress. Pure text."""

_UNITS = ("B", "KB", "MB", "GB", "TB")


def human_bytes(count: float) -> str:
    """Bytes in powers of 1000, with a decimal below ten: 999 B, 4.7 MB, 42 GB."""
    value, unit = float(count), 0
    # By what is shown: 999 999 bytes are 1.0 MB, and not 1000 KB.
    while round(value) >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit and value < 9.95 else f"{value:.0f} {_UNITS[unit]}"
