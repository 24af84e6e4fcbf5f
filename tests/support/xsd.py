"""Holds an XML document against a schema, as far as junit.xsd beside this file goes: references and attributes.

Invariant: what it does not know of XML Schema it refuses to read, so that no rule of a schema is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

XS = "{http://www.w3.org/2001/XMLSchema}"
TYPES = {"xs:string": ".*", "xs:nonNegativeInteger": r"\+?[0-9]+"}


@dataclass(frozen=True)
class Element:
    """`children`: a pattern over the children's names, each with a space behind it."""

    children: re.Pattern[str]
    has_text: bool
    attributes: dict[str, str]
    required: frozenset[str]


class Schema:
    def __init__(self, path: Path) -> None:
        root = ET.parse(path).getroot()
        self.elements = {_known(node, "element", "name")["name"]: _element(node) for node in root}

    def problems(self, document: bytes) -> list[str]:
        """Everything in which `document` is not as the schema has it."""
        return list(self._problems(ET.fromstring(document), ""))

    def _problems(self, node: ET.Element, above: str) -> Iterator[str]:
        where = f"{above}/{node.tag}"
        rule = self.elements.get(node.tag)
        if rule is None:
            yield f"{where}: no such element"
            return
        yield from (f"{where}: {name} is missing" for name in sorted(rule.required - set(node.attrib)))
        for name, value in node.attrib.items():
            if name not in rule.attributes:
                yield f"{where}: {name} is not allowed"
            elif not re.fullmatch(TYPES[rule.attributes[name]], value, re.DOTALL):
                yield f"{where}: {name} is no {rule.attributes[name]}: {value!r}"
        if not rule.children.fullmatch("".join(f"{child.tag} " for child in node)):
            yield f"{where}: the children {[child.tag for child in node]} may not be so"
        text = "".join([node.text or "", *(child.tail or "" for child in node)])
        if text.strip() and not rule.has_text:
            yield f"{where}: text is not allowed"
        for child in node:
            yield from self._problems(child, where)


def _element(node: ET.Element) -> Element:
    (whole,) = node
    mixed = _known(whole, "complexType", "mixed").get("mixed") == "true"
    children, attributes, required = "", dict[str, str](), set[str]()
    for part in whole:
        if part.tag == f"{XS}attribute":
            told = _known(part, "attribute", "name", "type", "use")
            attributes[told["name"]] = told["type"]
            required |= {told["name"]} if told.get("use") == "required" else set()
            continue
        _known(part, "sequence")
        for reference in part:
            told = _known(reference, "element", "ref", "minOccurs", "maxOccurs")
            most = {"unbounded": "", "1": "1"}[told.get("maxOccurs", "1")]
            children += f"({re.escape(told['ref'])} ){{{told.get('minOccurs', '1')},{most}}}"
    return Element(re.compile(children), mixed, attributes, frozenset(required))


def _known(node: ET.Element, tag: str, *attributes: str) -> dict[str, str]:
    if node.tag != XS + tag or set(node.attrib) - set(attributes):
        raise NotImplementedError(f"this reader of schemas does not know {node.tag} with {sorted(node.attrib)}")
    return dict(node.attrib)
