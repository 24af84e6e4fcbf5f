"""The messages of a host's WS-Management service: how it reads a request, and how it writes answers and faults.

Invariant: elements, namespaces and the shape of each fault are those of a real Windows (tests/test_winrm_captures.py).
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from xml.etree.ElementTree import Element, ParseError, fromstring

from contest_platform.ports import CommandResult
from contest_platform.transports.soap import escaped

S = "http://www.w3.org/2003/05/soap-envelope"
A = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
X = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
W = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
P = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
RSP = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
F = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
WMI = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/MSFT_WmiError"
ANONYMOUS = f"{A}/role/anonymous"

Operation = Literal["Create", "Command", "Send", "Receive", "Signal", "Delete"]
OPERATIONS: Mapping[str, Operation] = {
    f"{X}/Create": "Create",
    f"{RSP}/Command": "Command",
    f"{RSP}/Send": "Send",
    f"{RSP}/Receive": "Receive",
    f"{RSP}/Signal": "Signal",
    f"{X}/Delete": "Delete",
}
_ACTIONS = {operation: f"{action}Response" for action, operation in OPERATIONS.items()}
_COMMAND_OF = {"Send": "Stream", "Receive": "DesiredStream", "Signal": "Signal"}
_SECONDS = re.compile(r"PT(?:(\d+)M)?(\d+)(?:\.(\d{1,3}))?S")


@dataclass(frozen=True, slots=True)
class Message:
    """A request. `timeout_ms`: its OperationTimeout. `words`: executable and arguments of a Command."""

    operation: Operation
    message_id: str
    to: str
    timeout_ms: int
    shell_id: str = ""
    command_id: str = ""
    words: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    environment: tuple[tuple[str, str], ...] = ()


def parse(body: bytes) -> Message | None:
    """The message in `body`; None for what is no valid one."""
    try:
        root = fromstring(body)
    except ParseError:
        return None
    header, content = root.find(f"{{{S}}}Header"), root.find(f"{{{S}}}Body")
    if header is None or content is None:
        return None
    operation = OPERATIONS.get(header.findtext(f"{{{A}}}Action", ""))
    duration = _SECONDS.fullmatch(header.findtext(f"{{{W}}}OperationTimeout", "PT60S"))
    message_id = header.findtext(f"{{{A}}}MessageID", "")
    if operation is None or duration is None or not message_id:
        return None
    minutes, seconds, fraction = duration.groups()
    about = content.find(f".//{{{RSP}}}{_COMMAND_OF[operation]}") if operation in _COMMAND_OF else None
    words = tuple(
        (element.text or "").strip()
        for name in ("Command", "Arguments")
        for element in content.iterfind(f"{{{RSP}}}CommandLine/{{{RSP}}}{name}")
    )
    if (operation == "Command" and not words) or (operation in _COMMAND_OF and about is None):
        return None
    return Message(
        operation,
        message_id,
        header.findtext(f"{{{A}}}To", ""),
        (int(minutes or 0) * 60 + int(seconds)) * 1000 + int((fraction or "0").ljust(3, "0")),
        _named(header, "SelectorSet", "Selector").get("ShellId", ""),
        "" if about is None else about.get("CommandId", ""),
        words,
        _named(header, "OptionSet", "Option"),
        tuple((one.get("Name", ""), one.text or "") for one in content.iterfind(f".//{{{RSP}}}Variable")),
    )


def _named(header: Element, group: str, one: str) -> dict[str, str]:
    found = header.iterfind(f"{{{W}}}{group}/{{{W}}}{one}")
    return {element.get("Name", ""): (element.text or "").strip() for element in found}


def command_line(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """(command, arguments) that a host is to run: what PowerShell was given, in base64 or not, else the words as they
    stand."""
    flat = " ".join(words).split()
    if not _is_powershell(flat[0]):
        return words[0], tuple(words[1:])
    script = " ".join(word for word in flat[1:] if word.lower() not in _SWITCHES)
    for place, word in enumerate(flat[:-1]):
        if word.lower() == "-encodedcommand":
            try:
                script = b64decode(flat[place + 1], validate=True).decode("utf-16-le")
            except (NoBase64, UnicodeDecodeError):
                return words[0], tuple(words[1:])
    found = [quoted.replace("''", "'") or plain for quoted, plain in _WORD.findall(script)]
    return (found[0], tuple(found[1:])) if found else ("", ())


_SWITCHES = frozenset({"-noprofile", "-noninteractive", "-command"})


def _is_powershell(executable: str) -> bool:
    return executable.lower().rpartition("\\")[2] in ("powershell", "powershell.exe")


_WORD = re.compile(r"'((?:[^']|'')*)'(?=\s|$)|(\S+)")


# --- answers ---------------------------------------------------------------------------------------------------------


def answer(message: Message, message_id: str, content: str, *, relates_to: str = "", activity_id: str = "") -> bytes:
    """`relates_to`: another message than the one that it answers."""
    return _envelope(_ACTIONS[message.operation], message_id, relates_to or message.message_id, content, activity_id)


def _envelope(action: str, message_id: str, relates_to: str, content: str, activity_id: str) -> bytes:
    activity = f"<p:ActivityId>{activity_id}</p:ActivityId>" if activity_id else ""
    related = f"<a:RelatesTo>{escaped(relates_to)}</a:RelatesTo>" if relates_to else ""
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{S}" xmlns:a="{A}" xmlns:x="{X}" xmlns:w="{W}" xmlns:rsp="{RSP}"'
        f' xmlns:p="{P}"><s:Header><a:Action>{action}</a:Action><a:MessageID>{message_id}</a:MessageID>{activity}'
        f"<a:To>{ANONYMOUS}</a:To>{related}</s:Header><s:Body>{content}</s:Body></s:Envelope>"
    ).encode()


def created(message: Message, shell_id: str, owner: str, client_ip: str) -> str:
    variables = "".join(
        f'<rsp:Variable Name="{escaped(name)}">{escaped(value)}</rsp:Variable>' for name, value in message.environment
    )
    return (
        f"<x:ResourceCreated><a:Address>{escaped(message.to)}</a:Address><a:ReferenceParameters>"
        f"<w:ResourceURI>{RSP}/cmd</w:ResourceURI>"
        f'<w:SelectorSet><w:Selector Name="ShellId">{shell_id}</w:Selector></w:SelectorSet>'
        "</a:ReferenceParameters></x:ResourceCreated>"
        f"<rsp:Shell><rsp:ShellId>{shell_id}</rsp:ShellId><rsp:ResourceUri>{RSP}/cmd</rsp:ResourceUri>"
        f"<rsp:Owner>{owner}</rsp:Owner><rsp:ClientIP>{client_ip}</rsp:ClientIP>"
        + (f"<rsp:Environment>{variables}</rsp:Environment>" if variables else "")
        + "<rsp:IdleTimeOut>PT7200.000S</rsp:IdleTimeOut><rsp:InputStreams>stdin</rsp:InputStreams>"
        "<rsp:OutputStreams>stdout stderr</rsp:OutputStreams><rsp:ShellRunTime>P0DT0H0M0S</rsp:ShellRunTime>"
        "<rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity></rsp:Shell>"
    )


def began(command_id: str) -> str:
    return f"<rsp:CommandResponse><rsp:CommandId>{command_id}</rsp:CommandId></rsp:CommandResponse>"


def received(command_id: str, printed: CommandResult | None, *, exit_code: int | None, is_done: bool = True) -> str:
    """`printed`: what is new of the output. `exit_code`: None leaves it out."""
    streams = []
    if printed is not None:
        for name, text in (("stdout", printed.stdout), ("stderr", printed.stderr)):
            if text:
                encoded = b64encode(text.encode()).decode()
                streams.append(f'<rsp:Stream Name="{name}" CommandId="{command_id}">{encoded}</rsp:Stream>')
    if is_done:
        streams += [
            f'<rsp:Stream Name="{name}" CommandId="{command_id}" End="true"></rsp:Stream>'
            for name in ("stdout", "stderr")
        ]
    code = "" if exit_code is None else f"<rsp:ExitCode>{exit_code}</rsp:ExitCode>"
    state = f"{RSP}/CommandState/{'Done' if is_done else 'Running'}"
    stands = f'<rsp:CommandState CommandId="{command_id}" State="{state}">{code}</rsp:CommandState>'
    return f"<rsp:ReceiveResponse>{''.join(streams)}{stands}</rsp:ReceiveResponse>"


SENT, SIGNALLED, DELETED = "<rsp:SendResponse/>", "<rsp:SignalResponse/>", ""
HTML = b"<html><head><title>Sign in</title></head><body><p>Your session has ended.</p></body></html>"


# --- faults ----------------------------------------------------------------------------------------------------------

Form = Literal["plain", "nested", "provider", "wmi"]
"""How the detail is written: a WSManFault; one that holds its provider's; one that holds its provider's words; or
an MSFT_WmiError, which is no WSManFault at all."""


class FaultKind(NamedTuple):
    code: int
    sender: bool
    subcode: str
    reason: str
    form: Form = "plain"
    provider: str = ""
    detail: str = ""
    """The FaultDetail, where there is one."""
    message: str = ""
    """Where the WSManFault says something else than the reason."""


def _quota(code: int, exceeded: str, advice: str = "Retry the request later or raise the quota.") -> FaultKind:
    text = f"The WS-Management service cannot process the request. {exceeded} {advice} "
    return FaultKind(code, True, "w:QuotaLimit", text)


_SHELLS = "Close existing shells or raise the quota for this user."
_OPERATIONS = "Close existing operations for this user, or raise the quota for this user."
_INVALID = "The WS-Management service cannot process the request because the request contained invalid selectors for"
_UNEXPECTED = "http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/UnexpectedSelectors"
_IN_TIME = "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.  "
FAULTS: Mapping[str, FaultKind] = {
    "timed_out": FaultKind(2150858793, False, "w:TimedOut", _IN_TIME),
    "shell_not_found": FaultKind(
        2150858843, True, "w:InvalidSelectors", f"{_INVALID} the resource. ", "nested", "Shell provider", _UNEXPECTED
    ),
    "command_not_found": FaultKind(
        2150858843, True, "w:InvalidSelectors", f"{_INVALID} the resource. ", detail=_UNEXPECTED,
        message=(
            "The Windows Remote Shell received a request to perform an operation on a command identifier that does not"
            " exist. Either the command has completed execution or the client specified an invalid command identifier. "
        ),
    ),
    "parameter": FaultKind(
        87, False, "w:InternalError", "The parameter is incorrect. ", "provider", "Shell cmd plugin"
    ),
    "file_not_found": FaultKind(
        2147942402, False, "w:InternalError", "The system cannot find the file specified. ", "provider",
        "Shell cmd plugin",
    ),
    "schema": FaultKind(
        2150858817, True, "w:SchemaValidationError",
        "The SOAP XML in the message does not match the corresponding XML schema definition. ",
    ),
    "quota": _quota(2150858815, "The service is configured to not accept any more requests of this kind."),
    "shells": _quota(2150859173, "The maximum number of concurrent shells for this user has been exceeded.", _SHELLS),
    "operations": _quota(
        2150859174, "The maximum number of concurrent operations for this user has been exceeded.", _OPERATIONS
    ),
    "user": _quota(2150859175, "The load quota for the current user has been exceeded."),
    "system": _quota(2150859176, "The load quota of the system has been exceeded."),
    "users": _quota(2150859179, "The maximum number of users executing shell operations has been exceeded."),
    "not_allowed": FaultKind(
        2150859180, True, "w:AccessDenied",
        "The WS-Management service cannot process the request because remote shell access is not allowed. ",
    ),
    "plugin_shells": _quota(2150859236, "The maximum number of concurrent shells of this plugin has been exceeded."),
    "plugin_operations": _quota(
        2150859237, "The maximum number of concurrent operations of this plugin has been exceeded."
    ),
    "plugin_user_operations": _quota(
        2150859238, "The maximum number of operations of this user at this plugin has been exceeded."
    ),
    "plugin_user_shells": _quota(
        2150859239, "The maximum number of shells of this user at this plugin has been exceeded."
    ),
    "plugin_users": _quota(2150859240, "The maximum number of users of this plugin has been exceeded."),
    "commands": _quota(2150859241, "The maximum number of concurrent commands per shell has been exceeded."),
}  # fmt: skip
"""The faults of this service. The first five, and their shapes, are captured from real hosts but for 87, which Windows
Server 2008 R2 answers where a later one answers InvalidSelectors; quotas as in ServerSpec and Vagrant issues."""


def fault(name: str, message_id: str, relates_to: str, machine: str, activity_id: str, *, wmi: bool = False) -> bytes:
    """`wmi`: in the form without a WSManFault."""
    kind = FAULTS[name]
    value = "s:Sender" if kind.sender and not wmi else "s:Receiver"
    subcode = "w:InternalError" if wmi else kind.subcode
    faults = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"
    content = (
        f"<s:Fault><s:Code><s:Value>{value}</s:Value><s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{kind.reason}</s:Text></s:Reason><s:Detail>'
        + (f"<w:FaultDetail>{kind.detail}</w:FaultDetail>" if kind.detail else "")
        + _DETAILS["wmi" if wmi else kind.form](kind, f'Code="{kind.code}" Machine="{machine}"')
        + "</s:Detail></s:Fault>"
    )
    return _envelope(faults, message_id, relates_to, content, activity_id)


def _wsman_fault(attributes: str, message: str) -> str:
    return f'<f:WSManFault xmlns:f="{F}" {attributes}><f:Message>{message}</f:Message></f:WSManFault>'


def _provider(kind: FaultKind, inner: str) -> str:
    file = "WsmSvc.dll" if kind.form == "nested" else "winrscmd.dll"
    path = rf"%systemroot%\system32\{file}"
    return f'<f:ProviderFault provider="{kind.provider}" path="{path}">{inner}</f:ProviderFault>'


def _wmi_error(kind: FaultKind, attributes: str) -> str:
    return (
        f'<p:MSFT_WmiError xmlns:p="{WMI}" xmlns:b="http://schemas.dmtf.org/wbem/wsman/1/cimbinding.xsd"'
        ' b:IsCIM_Error="true"><p:CIMStatusCode>27</p:CIMStatusCode>'
        f"<p:Message>{kind.reason}</p:Message><p:MessageID>HRESULT 0x{kind.code:08x}</p:MessageID>"
        f"<p:error_Category>30</p:error_Category><p:error_Code>{kind.code}</p:error_Code>"
        "<p:error_Type>HRESULT</p:error_Type></p:MSFT_WmiError>"
    )


_DETAILS = {
    "plain": lambda kind, attributes: _wsman_fault(attributes, kind.message or kind.reason),
    "nested": lambda kind, attributes: _wsman_fault(attributes, _provider(kind, _wsman_fault(attributes, kind.reason))),
    "provider": lambda kind, attributes: _wsman_fault(attributes, _provider(kind, kind.reason)),
    "wmi": _wmi_error,
}
