"""Where tests find the real data, which is never copied into the project.

Invariant: missing data fails the test loudly; it never skips it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def data_dir() -> Path:
    """The folder that ABSENCE_DATA names, else ../shared/data beside the project; fails the test if it is not there."""
    named = os.environ.get("ABSENCE_DATA")
    folder = Path(named) if named else PROJECT_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.fail(
            f"no test data at {folder} ({'from ABSENCE_DATA' if named else 'the default, ABSENCE_DATA is not set'}): "
            f"set ABSENCE_DATA to the folder that holds golf/, stripe/ and winrm/",
            pytrace=False,
        )
    return folder
