#!/usr/bin/env python3
"""Judges a report of Autobahn|Testsuite: check_report.py INDEX_JSON ANNOUNCED_JSON [TITLE].

ANNOUNCED_JSON is the list of cases that wstest said it would run. wstest itself exits 0 whatever happened, even when the
peer died half way, so what counts is that every announced case is in the report and that each is OK.
"""

import collections
import html
import json
import pathlib
import re
import sys

# Here the testsuite only looks on: the case has no right answer. Nowhere else does INFORMATIONAL pass.
INFORMATIONAL = re.compile(r"7\.1\.6|7\.13\.\d+")


def passes(case, behaviour):
    return behaviour == "OK" or (behaviour == "INFORMATIONAL" and INFORMATIONAL.fullmatch(case) is not None)


def in_order(cases):
    return sorted(cases, key=lambda case: [int(part) for part in case.split(".")])


def plain(text):
    """The testsuite's descriptions are HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def explain(case, result, directory):
    print(f"{case}: {result['behavior']}, its close {result['behaviorClose']}")
    detail = directory / result["reportfile"]
    try:
        told = json.loads(detail.read_text())
    except (OSError, ValueError) as error:
        print(f"    no details: {error}")
        return
    for label, key in (("case", "description"), ("expected", "expectation"), ("result", "result"), ("close", "resultClose")):
        print(f"    {label}: {plain(str(told[key]))}")
    print(f"    {detail.with_suffix('.html').resolve().as_uri()}")


# What our end has to agree to in each group of 13.*, beside what it asks for by itself. In 13.7 the first offer of three will do.
AGREED = {
    "13.2": ["no_context_takeover"],
    "13.3": ["max_window_bits=9"],
    "13.4": ["max_window_bits=15"],
    "13.5": ["no_context_takeover", "max_window_bits=9"],
    "13.6": ["no_context_takeover", "max_window_bits=15"],
    "13.7": ["no_context_takeover", "max_window_bits=9"],
}


def deflate_problems(results, directory):
    """Finds what an echo that is right may hide: that another agreement was reached, or that we compress nothing."""
    received = collections.Counter()
    for case in in_order(case for case in results if case.startswith(("12.", "13."))):
        group = case.rpartition(".")[0]
        try:
            told = json.loads((directory / results[case]["reportfile"]).read_text())
        except (OSError, ValueError) as error:
            yield f"{case}: no details: {error}"
            continue
        # It is the testsuite that says whether it is the server.
        ours = "client" if told["isServer"] else "server"
        answer = next(iter(re.findall(r"(?im)^sec-websocket-extensions: *(.*?)\s*$", told["httpResponse"])), "none")
        agreed = re.split(r" *; *", answer)
        wanted = ["permessage-deflate", *(f"{ours}_{parameter}" for parameter in AGREED.get(group, []))]
        if not set(wanted) <= set(agreed):
            yield f"{case}: should agree to '{'; '.join(wanted)}', agreed to '{answer}'"
        traffic = told["trafficStats"] or collections.Counter()
        received[group, "messages"] += traffic["incomingOctetsAppLevel"]
        received[group, "frames"] += traffic["incomingOctetsWebSocketLevel"]
    for group in dict.fromkeys(group for group, _ in received):
        if received[group, "frames"] >= received[group, "messages"]:
            yield f"{group}.*: we sent {received[group, 'frames']} bytes for {received[group, 'messages']} that were compressible"


def check(index, announced, title, problems=()):
    """Prints what the report says and returns whether all of it is well; `problems` are the caller's own findings."""
    index = pathlib.Path(index)
    problems = list(problems)
    results = {}
    try:
        agents = json.loads(index.read_text())
    except (OSError, ValueError) as error:
        problems.append(f"no report: {error}")
    else:
        if len(agents) == 1:
            results = next(iter(agents.values()))
        else:
            problems.append(f"the report is about {len(agents)} agents, not one")
    if not announced:
        problems.append("no case was announced")
    missing = in_order(set(announced) - set(results))
    if missing:
        problems.append(f"announced {len(announced)} cases, reported {len(results)}; missing: {' '.join(missing)}")
    strangers = in_order(set(results) - set(announced))
    if strangers:
        problems.append(f"reported but never announced: {' '.join(strangers)}")

    problems += deflate_problems(results, index.parent)

    cases = collections.Counter(result["behavior"] for result in results.values())
    closes = collections.Counter(result["behaviorClose"] for result in results.values())
    print(f"{'behaviour':<20}{'cases':>7}{'closes':>8}")
    for behaviour in sorted(cases | closes, key=lambda name: -cases[name]):
        print(f"{behaviour:<20}{cases[behaviour]:>7}{closes[behaviour]:>8}")

    offending = [
        case
        for case in in_order(results)
        if not (passes(case, results[case]["behavior"]) and passes(case, results[case]["behaviorClose"]))
    ]
    for case in offending:
        explain(case, results[case], index.parent)
    for problem in problems:
        print(f"{title}: {problem}")
    well = not offending and not problems
    verdict = "" if well else f"; FAILED: {len(offending)} cases, {len(problems)} other problems"
    print(f"{title}: {len(results)} cases, {len(results) - len(offending)} ok or informational{verdict}")
    return well


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    announced_cases = json.loads(pathlib.Path(sys.argv[2]).read_text())
    sys.exit(0 if check(sys.argv[1], announced_cases, sys.argv[3] if len(sys.argv) == 4 else "autobahn") else 1)
