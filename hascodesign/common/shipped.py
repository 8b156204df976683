"""Where rtl_templates, sim and flows are, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path


def share(*parts: str) -> Path:
    """Path of a shipped file or folder, e.g. ``share("flows", "pynq-z2.toml")``."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_share"
    return (installed if installed.is_dir() else package.parent).joinpath(*parts)
