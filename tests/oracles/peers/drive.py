#!/usr/bin/env python3
"""Has our programs and the peers' talk to each other: drive.py DEMO ECHO_CLIENT MODULES CERTIFICATES
OUT (see run).

What they do together is the table in scenarios.py. Each combination of a runtime, a scheme and a deflate configuration has one
demo; each peer has one process for a combination and a role.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True  # nothing generated belongs beside this file
from scenarios import BOTH_FORGET, CONFIGURATIONS, LACKS, PEERS, ROLES, SCENARIOS

HERE = pathlib.Path(__file__).resolve().parent
LIMIT = 60  # seconds that a scenario may take, or a program to start
AT_ONCE = 2  # combinations
FAILURES = 3  # scenarios of one peer in one role that may fail before the rest is given up: each may wait for its limit


class Broken(Exception):
    """The oracle could not be run to its end."""


class Program:
    """A child process that is gone when the `with` block is."""

    running = set()

    def __init__(self, arguments, log):
        self.log = log
        self.errors = open(log, "wb")
        self.process = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        Program.running.add(self)

    def line(self, limit=LIMIT):
        """The next line of output. A program that says nothing for `limit` seconds is killed."""
        watchdog = threading.Timer(limit, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise Broken(f"{self.process.args[0]} ended, or said nothing for {limit} s; its log: {self.log}")
        return line.rstrip("\n")

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
        Program.running.discard(self)


class Combination:
    """One runtime, scheme and deflate configuration, and what every peer does with it."""

    def __init__(self, setup, runtime, scheme, deflate):
        self.setup = setup
        self.runtime = runtime
        self.scheme = scheme
        self.deflate = deflate
        self.deflate_arguments = deflate["arguments"] if deflate else []
        self.name = " ".join([runtime, scheme] + ([deflate["name"]] if deflate else []))
        self.directory = setup.out / self.name.replace(" ", "-")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.outcomes = {}

    def record(self, peer, role, scenario, error):
        self.outcomes[f"{self.name}, {peer} as {role}: {scenario}"] = error

    def run(self):
        """Returns what went wrong with each scenario, or None."""
        tls = ["--tls-cert", self.setup.tls["cert"], "--tls-key", self.setup.tls["key"]] if self.scheme == "wss" else []
        demo_arguments = [self.setup.demo, "--listen", "127.0.0.1:0", "--runtime", self.runtime, *tls, *self.deflate_arguments]
        with Program(demo_arguments, self.directory / "demo.log") as demo:
            said = demo.line()
            found = re.fullmatch(r"listening on https?://(127\.0\.0\.1:\d+)", said)
            if not found:
                raise Broken(f"the demo's first line should say where it listens; it is '{said}'")
            descriptors = None
            for peer in PEERS:
                self.peer_as_client(peer, f"{self.scheme}://{found.group(1)}")
                # Not before the first: a server opens some for itself when it is under way.
                descriptors = descriptors or demo.descriptors()
            self.record("the demo", "server", "goes on, without a panic or an error", self.verdict(demo))
            self.record("the demo", "server", "has closed every descriptor", leaked(demo, descriptors))
        for peer in PEERS:
            self.peer_as_server(peer)
        return self.outcomes

    def verdict(self, demo):
        if demo.process.poll() is not None:
            return f"it ended with status {demo.process.returncode}; its log: {demo.log}"
        bad = re.search(r"panicked at|ERROR|WARN", demo.log.read_text(errors="replace"))
        return f"'{bad.group()}' stands in its log: {demo.log}" if bad else None

    def scenarios(self, peer, role):
        """Those that this peer can do in this role, as the peer programs want them."""
        return [
            {
                "name": name,
                "path": scenario.get("path", "/echo"),
                "offered": scenario.get("offered", []),
                "served": scenario.get("served", []),
                "chosen": scenario.get("chosen"),
                "steps": scenario["steps"],
            }
            for name, scenario in SCENARIOS.items()
            if role in scenario.get("roles", ROLES) and (peer, name) not in LACKS and self.includes(scenario)
        ]

    def includes(self, scenario):
        """One agreement about deflate goes with everything, and the others with messages."""
        if self.deflate is None:
            return not scenario.get("deflate")
        return self.deflate is BOTH_FORGET or scenario.get("deflate") or scenario.get("messages")

    def start(self, peer, role, scenarios, **more):
        program = HERE / PEERS[peer]["program"]
        start = ["node", program, self.setup.modules] if program.suffix == ".mjs" else [sys.executable, "-B", program]
        process = Program(start, self.directory / f"{peer}-{role}.log")
        tls = self.setup.tls if self.scheme == "wss" else dict.fromkeys(self.setup.tls)
        deflate = self.deflate and self.deflate["parameters"]
        agreed = self.deflate and self.deflate["agreed"][peer, role]
        task = {"role": role, "deflate": deflate, "agreed": agreed, "scenarios": scenarios}
        process.tell(json.dumps(task | tls | more))
        return process

    def peer_as_client(self, peer, url):
        scenarios = self.scenarios(peer, "client")
        with self.start(peer, "client", scenarios, url=url) as client:
            self.go_through(peer, "client", scenarios, lambda _, name: outcome(client, name))

    def go_through(self, peer, role, scenarios, outcome_of):
        failures = 0
        for number, scenario in enumerate(scenarios):
            name = scenario["name"]
            error = outcome_of(number, name) if failures < FAILURES else f"not tried, after {FAILURES} failures"
            failures += error is not None
            self.record(peer, role, name, error)

    def peer_as_server(self, peer):
        scenarios = self.scenarios(peer, "server")
        with self.start(peer, "server", scenarios) as server:
            port = json.loads(server.line())["listening"]

            def outcome_of(number, name):
                ours = self.our_client(peer, name, f"{self.scheme}://127.0.0.1:{port}/{number}")
                # A client that did not get through to the server leaves it with nothing to say.
                theirs = None if ours and ours.startswith("no handshake") else outcome(server, name)
                return "; ".join(filter(None, [theirs, ours])) or None

            self.go_through(peer, "server", scenarios, outcome_of)

    def our_client(self, peer, name, url):
        """Runs our client and says what was wrong with it."""
        scenario = SCENARIOS[name]
        arguments = [self.setup.echo_client, "--runtime", self.runtime, *scenario.get("arguments", [])]
        arguments += [argument for offered in scenario.get("offered", []) for argument in ("--subprotocol", offered)]
        arguments += ["--ca", self.setup.tls["ca"]] if self.scheme == "wss" else []
        arguments += self.deflate_arguments
        try:
            ran = subprocess.run([str(argument) for argument in [*arguments, url]], capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return f"our client did not end within {LIMIT} s"
        if ran.returncode != 0:
            return f"no handshake, or a crash: our client ended with status {ran.returncode}: {ran.stderr.strip()}"
        says = scenario.get("says") or "closed by .*"
        if not any(re.fullmatch(says, line) for line in ran.stdout.splitlines()):
            return f"our client should say '{says}', and says: {ran.stdout.strip()}"
        extensions = [line.removeprefix("extension: ") for line in ran.stdout.splitlines() if line.startswith("extension: ")]
        if [parameters(extension) for extension in extensions] != ([self.deflate["agreed"][peer, "server"]] if self.deflate else []):
            return f"our client agreed to other extensions: {extensions}"
        return None


def parameters(extension):
    """The parameters of permessage-deflate, from a header."""
    name, *listed = extension.split("; ")
    pairs = (parameter.partition("=") for parameter in listed)
    return {name: int(value) if equals else True for name, equals, value in pairs} if name == "permessage-deflate" else None


def outcome(peer, name):
    """What the peer says of a scenario, which is the next that it tells of."""
    told = json.loads(peer.line())
    if told["scenario"] != name:
        raise Broken(f"expected to be told of '{name}', was told of '{told['scenario']}'; the peer's log: {peer.log}")
    return told["error"]


def leaked(demo, before):
    """A connection that has just ended may take a moment to be dropped."""
    limit = time.monotonic() + 10
    while (now := demo.descriptors()) > before:
        if time.monotonic() > limit:
            return f"{before} were open after the first peer had left, {now} are after the last"
        time.sleep(0.05)
    return None


class Setup:
    def __init__(self, *paths):
        self.demo, self.echo_client, self.modules, certificates, self.out = (pathlib.Path(path).absolute() for path in paths)
        self.tls = {name: str(certificates / f"{name}.pem") for name in ("ca", "cert", "key")}


def main():
    setup = Setup(*sys.argv[1:])
    combinations = [
        Combination(setup, runtime, scheme, deflate)
        for deflate, runtimes, schemes in CONFIGURATIONS
        for scheme in schemes
        for runtime in runtimes
    ]
    passed, failed = 0, 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(combination.run): combination for combination in combinations}
        for ended in concurrent.futures.as_completed(running):
            combination = running[ended]
            try:
                outcomes = ended.result()
            except (Broken, OSError) as error:
                outcomes = combination.outcomes | {f"{combination.name} runs through to its end": str(error)}
            for name, error in outcomes.items():
                if error:
                    print(f"FAIL  {name}: {error}")
            well = sum(error is None for error in outcomes.values())
            passed, failed = passed + well, failed + len(outcomes) - well
            print(f"{combination.name}: {well} passed, {len(outcomes) - well} failed", flush=True)
    print(f"logs: {setup.out}")
    print(f"peers: {passed} passed, {failed} failed")
    sys.exit(0 if failed == 0 and passed > 0 else 1)


def stop(number, _frame):
    """Ends what was started; a second signal does not disturb that."""
    signal.signal(number, signal.SIG_IGN)
    for program in list(Program.running):
        program.process.kill()
    os._exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    main()
