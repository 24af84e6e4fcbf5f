"""WS-Management messages: what the client sends, and what it reads out of an answer (DMTF DSP0226, MS-WSMV).

Invariant: an answer is read by namespaces, never by prefixes, and no document type or entity of it is ever expanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element, ParseError, XMLParser, fromstring

from contest_platform.ports import HostError, HttpAnswer

ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
MICROSOFT = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
FAULT = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
WMI_ERROR = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/MSFT_WmiError"
ANONYMOUS = f"{ADDRESSING}/role/anonymous"
CMD = f"{SHELL}/cmd"

ACTIONS = {
    "Create": f"{TRANSFER}/Create",
    "Command": f"{SHELL}/Command",
    "Receive": f"{SHELL}/Receive",
    "Signal": f"{SHELL}/Signal",
    "Delete": f"{TRANSFER}/Delete",
}
ANSWER_BYTES_MAX = 512_000
"""MaxEnvelopeSizekb is 500 where nobody has changed it; we ask for less."""
ENVELOPE_BYTES_MAX = 153_600

FAULTS: Mapping[int, str] = {
    2150858793: "host_timed_out",
    2150858843: "host_shell_not_found",
    2150858815: "host_quota",
    2150859173: "host_shells_quota",
    2150859174: "host_operations_quota",
    2150859175: "host_user_quota",
    2150859176: "host_system_quota",
    2150859179: "host_users_quota",
    2150859180: "host_shells_not_allowed",
    **dict.fromkeys(range(2150859236, 2150859242), "host_plugin_quota"),
    2147942402: "host_file_not_found",
    87: "host_command_not_found",
    2150858817: "host_request_invalid",
}
"""What each code of a fault is called here (winerror.h, wsmerror.h)."""
TIMED_OUT, SHELL_NOT_FOUND = "host_timed_out", "host_shell_not_found"
UNREADABLE, UNRELATED = "host_answer_unreadable", "host_answer_unrelated"
UNAUTHORIZED, UNAVAILABLE = "host_unauthorized", "host_unavailable"
PROVEN = frozenset({*FAULTS.values(), UNAUTHORIZED}) - {TIMED_OUT}
"""Answers that were given before anything was done."""


def escaped(text: str) -> str:
    """`text` as it stands in an element or, within double quotes, in an attribute."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def request(
    operation: str, message_id: str, to: str, timeout_ms: int, body: str, shell_id: str, options: Mapping[str, str]
) -> bytes:
    """One message, ready to be posted. `timeout_ms`: how long the service may take over it."""
    selectors = f'<w:SelectorSet><w:Selector Name="ShellId">{escaped(shell_id)}</w:Selector></w:SelectorSet>'
    chosen = "".join(f'<w:Option Name="{name}">{escaped(value)}</w:Option>' for name, value in options.items())
    return (
        f'<s:Envelope xmlns:s="{ENVELOPE}" xmlns:a="{ADDRESSING}" xmlns:w="{WSMAN}" xmlns:p="{MICROSOFT}"'
        f' xmlns:rsp="{SHELL}"><s:Header>'
        f'<a:Action s:mustUnderstand="true">{ACTIONS[operation]}</a:Action>'
        '<p:DataLocale s:mustUnderstand="false" xml:lang="en-US"/><w:Locale s:mustUnderstand="false" xml:lang="en-US"/>'
        f'<w:MaxEnvelopeSize s:mustUnderstand="true">{ENVELOPE_BYTES_MAX}</w:MaxEnvelopeSize>'
        f"<a:MessageID>{message_id}</a:MessageID>"
        f"<w:OperationTimeout>PT{timeout_ms // 1000}.{timeout_ms % 1000:03}S</w:OperationTimeout>"
        f'<a:ReplyTo><a:Address s:mustUnderstand="true">{ANONYMOUS}</a:Address></a:ReplyTo>'
        f'<w:ResourceURI s:mustUnderstand="true">{CMD}</w:ResourceURI><a:To>{escaped(to)}</a:To>'
        + (f'<w:OptionSet s:mustUnderstand="true">{chosen}</w:OptionSet>' if options else "")
        + (selectors if shell_id else "")
        + f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def parsed(document: bytes) -> Element | None:
    """The root of an XML document in UTF-8; None if it is none, or brings a document type."""
    if len(document) > ANSWER_BYTES_MAX or b"<!DOCTYPE" in document:
        return None
    try:
        return fromstring(document, XMLParser(encoding="utf-8"))
    except ParseError:
        return None


def read(answer: HttpAnswer, message_id: str) -> Element:
    """The body of an answer to the message `message_id`. Raises HostError for everything else that may have come: a
    fault by its code, an HTTP status without SOAP, what is no SOAP at all, and an answer to another message."""
    root = parsed(answer.body)
    body = None if root is None or root.tag != f"{{{ENVELOPE}}}Envelope" else root.find(f"{{{ENVELOPE}}}Body")
    if root is None or body is None:
        if answer.status == 401:
            raise HostError(UNAUTHORIZED, "the host did not accept our credentials: HTTP 401")
        if answer.status != 200:
            raise HostError(UNAVAILABLE, f"the host answered HTTP {answer.status} without SOAP")
        raise HostError(UNREADABLE, f"the host answered 200, and no SOAP: {answer.body[:40]!r}")
    related = root.findtext(f"{{{ENVELOPE}}}Header/{{{ADDRESSING}}}RelatesTo")
    found = body.find(f"{{{ENVELOPE}}}Fault")
    # Who could not read a message cannot say which it was.
    if related != message_id and not (found is not None and related is None):
        raise HostError(UNRELATED, f"the answer relates to {related}, we sent {message_id}")
    if found is not None:
        raise _error(found)
    if answer.status != 200:
        raise HostError(UNAVAILABLE, f"the host answered HTTP {answer.status} and no fault")
    return body


def _error(fault: Element) -> HostError:
    coded = fault.find(f"{{{ENVELOPE}}}Detail/{{{FAULT}}}WSManFault[@Code]")
    text = coded.get("Code") if coded is not None else fault.findtext(f".//{{{WMI_ERROR}}}error_Code")
    code = int(text) if text is not None and text.strip().isdigit() else 0
    subcode = fault.findtext(f"{{{ENVELOPE}}}Code/{{{ENVELOPE}}}Subcode/{{{ENVELOPE}}}Value", "").rpartition(":")[2]
    if not code and subcode == "TimedOut":
        code = 2150858793
    reason = fault.findtext(f"{{{ENVELOPE}}}Reason/{{{ENVELOPE}}}Text", "no reason given").strip()
    return HostError(FAULTS.get(code, "host_error"), f"{code or subcode or 'fault'}: {reason}")
