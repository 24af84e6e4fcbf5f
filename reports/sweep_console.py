"""The summary of a sweep for the terminal, in plain lines; with markup, everything that came from data is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assertions.model import Status
from reports.console import STYLES, Say
from reports.story import SYMBOLS
from reports.sweep import headline

_GROUPS_MAX = 8


def summary(told: Mapping[str, Any], root: str, *, markup: bool = False) -> list[str]:
    """What it came to, the groups of failures each with the command that replays the simplest, and what it cost."""
    say = Say(markup)
    status, sheet, rate, canary = Status(told["verdict"]), told["sheet"], told["rate"], told["canary"]
    out = [f"{say.style(f'{SYMBOLS[status]} {status.value}', STYLES[status])}  {say.data(headline(told))}"]
    counts = ", ".join(f"{count:,} {name}" for name, count in told["counts"].items() if count)
    how = "swarm" if sheet["swarm"] else "as it is"
    out.append("  " + say.style(say.data(f"{sheet['scenario']}, seeds {sheet['first']}:{sheet['last']}, {how}"), "dim"))
    out += ["", say.item("seeds", counts or "none")]
    for group in told["failures"][:_GROUPS_MAX]:
        simplest = group["simplest"]
        about = f"{group['count']:,} × {group['fingerprint']}; simplest: seed {simplest['seed']}"
        out.append(say.style("    ✕ ", "red") + say.data(about))
        out.append("      " + say.data(group["command"], 400))
        if group.get("unlike"):
            out.append("      " + say.data("run once more, it came to another digest"))
    if len(told["failures"]) > _GROUPS_MAX:
        out.append(f"    and {len(told['failures']) - _GROUPS_MAX} groups more in the report")
    for group in told["inconclusive"][:_GROUPS_MAX]:
        seeds = f"{group['count']:,} × {group['assertion']}: {group['what']} (seed {group['seeds'][0]})"
        out.append(say.style("    ? ", "yellow") + say.data(seeds, 240))
    twice = told["twice"]
    differ = f"; these differ: {', '.join(map(str, twice['differ']))}" if twice["differ"] else ", all the same"
    out.append(say.item("twice", f"{twice['compared']:,} seeds{differ}" if twice["compared"] else "none"))
    out.append(say.item("canary", _sung(canary)))
    if told["corpus"]:
        replayed, back = (sum(one[name] for one in told["corpus"]) for name in ("was_replayed", "is_back"))
        out.append(say.item("past", f"{replayed:,} of {len(told['corpus']):,} failures replayed, {back:,} back"))
    dropped = sum(fault["dropped"] for fault in told["faults"].values())
    acted = sum(fault["acted"] > 0 for fault in told["faults"].values())
    out.append(say.item("faults", f"{acted:,} kinds acted; {dropped:,} found nothing to befall and were left out"))
    news = told["behaviours"]
    out.append(
        say.item("news", f"{news['found']:,} behaviours; the last new one came with seed number {news['last_new']:,}")
    )
    out.append(
        say.item(
            "rate",
            f"{rate['per_second']:.2f} runs/s, {rate['per_core_second']:.2f} per second of a core; "
            f"{rate['workers']} workers busy {rate['efficiency']:.0%} of {rate['seconds']:,.0f} s",
        )
    )
    out.append(say.item("report", f"{root}/report.html", exact=True))
    return out


def _sung(canary: Mapping[str, Any] | None) -> str:
    if canary is None:
        return "not run"
    if canary["seed"] is None:
        return f"{canary['defect']} was NOT caught in {canary['tried']} seeds"
    return f"{canary['defect']} was caught, at seed {canary['seed']}"
