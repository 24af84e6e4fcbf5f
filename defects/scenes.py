"""The scene of a defect: the scenario in which it shows, as a scenario file."""

from __future__ import annotations

from pathlib import Path

import yaml

from defects.model import Defect
from defects.planting import ROOT


def scene(defect: Defect) -> str:
    """The text of the scenario: the one named, with the faults that the defect needs in the place of its own."""
    text = (ROOT / "scenarios" / f"{defect.scenario}.yaml").read_text()
    if defect.faults is None:
        return text
    values = yaml.safe_load(text)
    return yaml.safe_dump(
        {**values, "faults": [one.item() for one in defect.faults]}, sort_keys=False, allow_unicode=True
    )


def write_scene(defect: Defect, folder: Path) -> Path:
    path = folder / f"{defect.scenario}.yaml"
    path.write_text(scene(defect))
    return path
