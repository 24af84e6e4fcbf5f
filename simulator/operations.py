"""What operations brings into a run: its runbooks and alert rules, as read from the documents that the run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from operations.alerts import Group
    from operations.runbooks import Runbook


@dataclass(frozen=True, slots=True)
class Operations:
    """`runbooks` by the link that leads to each (`runbooks/<id>.md`); `documents`: their texts and those of the rule
    files, by path."""

    runbooks: Mapping[str, Runbook] = field(default_factory=dict)
    groups: Sequence[Group] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Over paths and contents: other documents make another run."""
        digest = sha256()
        for path, content in sorted(self.documents.items()):
            digest.update(f"{path}\0{sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()


NONE = Operations()
