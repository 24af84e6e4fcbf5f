"""Generic mutants of code: one expression changed at a time, by the operators of mutmut, sampled by keyed draws.

Left out are changes of words (strings, annotations, decorators), and those that hardly any code survives (a name or an
argument that is None): to kill them says little. mutmut is an extra (`pip install founder-absence[mutants]`), and
nothing else imports this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seams.draws import Draws

try:
    import libcst as cst
    from libcst.metadata import MetadataWrapper, PositionProvider
    from mutmut.mutation import mutators
except ImportError as missing:
    raise ImportError("generic mutants need mutmut: pip install 'founder-absence[mutants]'") from missing

_LEFT_OUT = (
    mutators.operator_string,
    mutators.operator_assignment,
    mutators.operator_arg_removal,
    mutators.operator_dict_arguments,
)
_OPERATORS = [(kind, operator) for kind, operator in mutators.mutation_operators if operator not in _LEFT_OUT]
_UNTOUCHED = (cst.Annotation, cst.Decorator, cst.FormattedString, cst.Import, cst.ImportFrom)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`file`, from `root` on, with `was` in `line` changed to `now`; `text` is the whole file then."""

    file: str
    line: int
    was: str
    now: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  {self.was} → {self.now}"


def sample(root: Path, files: Sequence[Path], count: int, draws: Draws) -> list[Mutant]:
    """`count` of all that there are of these files (or all, if there are fewer), in the order of file and place."""
    every = [change for file in sorted(files) for change in _changes(root, file)]
    return [every[index]() for index in sorted(draws.shuffled(range(len(every)), "mutants")[:count])]


def _changes(root: Path, file: Path) -> Iterator[Callable[[], Mutant]]:
    """Each change that there is of `file`, made when it is called."""
    name = file.relative_to(root).as_posix()
    wrapper = MetadataWrapper(cst.parse_module(file.read_text()), unsafe_skip_copy=True)
    module = wrapper.module

    def change(node: cst.CSTNode, now: cst.CSTNode) -> Callable[[], Mutant]:
        def made() -> Mutant:
            text = module.deep_replace(node, now).code  # type: ignore[attr-defined]
            line = wrapper.resolve(PositionProvider)[node].start.line
            return Mutant(name, line, _one_line(module, node), _one_line(module, now), text)

        return made

    for node in _nodes(module):
        for kind, operator in _OPERATORS:
            if isinstance(node, kind):
                yield from (change(node, now) for now in operator(node))


def _nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if isinstance(node, _UNTOUCHED) or _is_for_types_only(node):
        return
    yield node
    for child in node.children:
        yield from _nodes(child)


def _is_for_types_only(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.If) and isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING"


def _one_line(module: Any, node: cst.CSTNode) -> str:
    return " ".join(module.code_for_node(node).split())
