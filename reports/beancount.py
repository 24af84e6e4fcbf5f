"""ledger.beancount: the platform's ledger in the language of beancount, an outside judge of double entry.

Invariant: different ledger accounts have different beancount names, and every account closes with a balance assertion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from reports import words

if TYPE_CHECKING:
    from evidence.run import Evidence

_ROOTS = {
    "assets": "Assets",
    "liabilities": "Liabilities",
    "equity": "Equity",
    "income": "Income",
    "expenses": "Expenses",
}
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def account_name(account: str) -> str:
    """The beancount name of a ledger account; no two accounts share one.

    Letters and digits stay, an underscore between two of them is a dash, anything else is `--<hex>-`. The first letter
    of a component becomes upper case; where there is none to become so (`Bob`, `_x`, nothing) the component starts with
    `X--x-`, which nothing else does: x is no hexadecimal digit. Accounts beyond the five types go under `Equity:X--r-`.
    """
    root, *components = account.split(":")
    known = _ROOTS.get(root)
    if known is None:
        return ":".join(["Equity", f"X--r-{_escaped(root)}", *map(_component, components)])
    return ":".join([known, *map(_component, components)]) if components else f"{known}:X--n-"


def _component(text: str) -> str:
    if text and text[0] in _FIRST:
        return text[0].upper() + _escaped(text)[1:]
    return f"X--x-{_escaped(text)}"


def _escaped(text: str) -> str:
    if text.isalnum() and text.isascii():
        return text
    parts = []
    last = len(text) - 1
    for place, char in enumerate(text):
        if char in _PLAIN:
            parts.append(char)
        elif char == "_" and 0 < place < last and text[place - 1] in _PLAIN and text[place + 1] in _PLAIN:
            parts.append("-")
        else:
            parts.append(f"--{ord(char):02x}-")
    return "".join(parts)


def quoted(text: object) -> str:
    """`text` as a beancount string."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def render(evidence: Evidence) -> bytes:
    """The whole file. Beancount knows days, not instants: the instant of a transaction is in its metadata `at`."""
    plan = evidence.plan
    balances: dict[str, int] = {}
    names: dict[str, str] = {}
    body: list[str] = []
    first_at, last_at = plan.starts_at, plan.starts_at
    for (txn_id, key, kind, at, correlation, cause), postings in _transactions(evidence):
        first_at, last_at = min(first_at, at), max(last_at, at)
        body.append(f"\n{words.date(at)} * {quoted(kind)} {quoted(key)}\n")
        body.append(f'  txn_id: "{txn_id}"\n  business_key: {quoted(key)}\n  at: "{words.iso(at)}"\n')
        body.append(f"  cause: {quoted(cause or '')}\n")
        if correlation:
            body.append(f"  correlation: {quoted(correlation)}\n")
        for account, cents in postings:
            name = names.get(account)
            if name is None:
                name = names[account] = account_name(account)
            balances[account] = balances.get(account, 0) + cents
            body.append(f"  {name}  {words.decimal(cents)} USD\n")
    head = [
        ";; The platform's ledger of one run. Debits are positive. `bean-check ledger.beancount` judges it.\n",
        f'option "title" {quoted(f"founder-absence: {plan.scenario}, seed {plan.seed}")}\n',
        'option "operating_currency" "USD"\n\n',
    ]
    opened = words.date(first_at)
    for account in sorted(balances):
        head.append(f"{opened} open {names[account]} USD\n  ledger_account: {quoted(account)}\n")
    closing = words.date(last_at + words.DAY_MS)
    tail = ["\n;; What each account holds in the ledger's own sums, exactly.\n"]
    for account in sorted(balances):
        # The tolerance is written out: beancount would infer half a cent's worth from the digits.
        tail.append(f"{closing} balance {names[account]}  {words.decimal(balances[account])} ~ 0.00 USD\n")
    return words.printable("".join(head + body + tail)).encode(errors="replace")


def _transactions(evidence: Evidence) -> Iterator[tuple[tuple[Any, ...], list[tuple[str, int]]]]:
    """Each transaction with its postings, by txn_id: both books stand in that order, and neither is held whole.

    Postings of a transaction that is not in the book come under one that says so: the outside judge sees them too.
    """
    columns = ("txn_id", "business_key", "kind", "at", "correlation", "cause")
    heads = iter(evidence.rows("platform.ledger_transactions", *columns))
    postings: Iterable[tuple[int, str, int]] = evidence.rows(
        "platform.ledger_postings", "txn_id", "account", "amount_cents"
    )
    head = next(heads, None)
    at = evidence.plan.starts_at
    for txn_id, group in groupby(postings, key=lambda posting: posting[0]):
        rows = [(account, cents) for _, account, cents in group]
        while head is not None and head[0] < txn_id:
            yield head, []
            head = next(heads, None)
        if head is not None and head[0] == txn_id:
            at = head[3]
            yield head, rows
            head = next(heads, None)
        else:
            yield (txn_id, "no transaction", "postings without a transaction", at, None, None), rows
    while head is not None:
        yield head, []
        head = next(heads, None)
