#!/usr/bin/env python3
"""Runs Autobahn|Testsuite against one of our programs: drive.py server|client BINARY PYTHON2 REPORTS (see run).

`server` starts BINARY as a server and wstest as the fuzzing client; `client` starts wstest as the fuzzing server and BINARY
once for each case.
"""

import ast
import json
import os
import pathlib
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading

sys.dont_write_bytecode = True  # nothing generated belongs beside this file
import check_report

HERE = pathlib.Path(__file__).resolve().parent
AGENT = "sockless"
START_LIMIT = 30  # seconds until a server must have said where it listens
STATUS_LIMIT = 30  # seconds until the fuzzing server must have noticed that the client is gone

# The groups of cases; 12 and 13 are permessage-deflate, with 18 message sizes in each subgroup.
BASIC = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
DEFLATE_GROUPS = [f"12.{n}" for n in range(1, 6)] + [f"13.{n}" for n in range(1, 8)]
# Messages of 64 KiB, and of 128 KiB: whole, and in fragments of 256 bytes to 32 KiB. One size takes as long as all smaller ones.
LARGE = [(9, 14), (10, 15, 16, 17, 18)]
DEFLATE = {
    "none": [],
    "short": [f"{group}.{size}" for group in DEFLATE_GROUPS for size in (3, 6)],  # messages of 256 and of 8,192 bytes
    "seven": [f"{group}.{size}" for group in DEFLATE_GROUPS for size in range(1, 8)],
    # Each size, each fragment length and each group, but not each with each other.
    "spread": [
        f"{group}.{size}"
        for turn, group in enumerate(DEFLATE_GROUPS)
        for size in [*range(1, 9), *range(11, 14), *(sizes[turn % len(sizes)] for sizes in LARGE)]
    ],
    "full": ["12.*", "13.*"],
}
# The default parameters of permessage-deflate for our programs: all that the cases of 13.* ask for is agreed on then. The
# server compresses as each client asks, and remembers where none does. The testsuite asks a client to forget, or to use a small
# window, only where the client offers it.
DEFLATE_ARGUMENTS = {
    "server": ["--deflate", "permessage-deflate"],
    "client": ["--deflate", "permessage-deflate; client_no_context_takeover"],
}
# Seconds without a case ending after which somebody hangs: the testsuite itself gives a case up to 100, with deflate 480.
CASE_LIMIT = {"none": 150, "short": 600, "seven": 600, "spread": 600, "full": 600}


class Broken(Exception):
    """The oracle could not be run to its end."""


class Program:
    """A child process that writes its output to a log, and that is gone when the `with` block is."""

    def __init__(self, arguments, log):
        self.log = log
        self.lines = queue.Queue()
        self.process = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with open(self.log, "wb") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                self.lines.put(line.decode(errors="replace").rstrip("\n"))
        self.lines.put(None)

    def line(self, limit):
        """The next line of output, or None after the last."""
        try:
            return self.lines.get(timeout=limit)
        except queue.Empty:
            raise Broken(f"nothing from {self.process.args[0]} for {limit} s; its output: {self.log}") from None

    def wait_for(self, pattern, limit):
        while (line := self.line(limit)) is not None:
            if found := re.match(pattern, line):
                return found
        raise Broken(f"{self.process.args[0]} ended without saying '{pattern}'; its output: {self.log}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            print(f"{self.process.args[0]} did not end within 10 s of SIGTERM and was killed")
            self.process.kill()
            self.process.wait()
        self.reader.join(10)


def announced_by(wstest):
    """wstest lists the cases it is going to run before it starts."""
    cases = ast.literal_eval(wstest.wait_for(r"Cases = (\[.*\])$", START_LIMIT).group(1))
    print(f"{len(cases)} cases", flush=True)
    return [str(case) for case in cases]


def wstest(python2, mode, directory, specification):
    specification_file = directory / f"{mode}.json"
    specification_file.write_text(json.dumps({"outdir": str(directory), **specification}, indent=2))
    arguments = ["-u", HERE / "wstest_local.py", "--mode", mode, "--spec", specification_file, "--webport", "0"]
    return Program([python2, *arguments], directory / "wstest.log")


def test_server(binary, arguments, python2, directory, cases, limit):
    demo_log = directory / "demo.log"
    with Program([binary, "--listen", "127.0.0.1:0", *arguments], demo_log) as demo:
        url = demo.wait_for(r"listening on http://(127\.0\.0\.1:\d+)$", START_LIMIT).group(1)
        servers = [{"agent": AGENT, "url": f"ws://{url}/echo"}]
        with wstest(python2, "fuzzingclient", directory, {"servers": servers, "cases": cases}) as client:
            announced = announced_by(client)
            while client.line(limit) is not None:  # one line for each case
                pass
        problems = []
        if demo.process.poll() is not None:
            problems.append(f"the server ended during the test, with status {demo.process.returncode}; its output: {demo_log}")
    if "panicked at" in demo_log.read_text(errors="replace"):
        problems.append(f"the server panicked: {demo_log}")
    return announced, problems


def test_client(binary, arguments, python2, directory, cases, limit):
    from websockets.sync.client import connect

    def open_path(path):
        """Connects to one of the fuzzing server's own paths."""
        return connect(f"{base}/{path}", open_timeout=STATUS_LIMIT, close_timeout=1, compression=None, proxy=None)

    def ask(path):
        with open_path(path) as socket:
            return json.loads(socket.recv(timeout=STATUS_LIMIT))

    client_log = directory / "echo-client.log"
    problems = []
    specification = {"url": "ws://127.0.0.1:9001", "cases": cases}  # wstest_local.py takes a free port instead
    with wstest(python2, "fuzzingserver", directory, specification) as server, open(client_log, "wb") as log:
        announced = announced_by(server)
        base = server.wait_for(r"listening on (ws://127\.0\.0\.1:\d+)$", START_LIMIT).group(1)
        count = ask("getCaseCount")
        if count != len(announced):
            problems.append(f"announced {len(announced)} cases, but serves {count}")
        stuck = 0
        for number, case in enumerate(announced, 1):
            log.write(f"-- {case}\n".encode())
            log.flush()
            url = f"{base}/runCase?case={number}&agent={AGENT}"
            with subprocess.Popen([binary, url, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log) as client:
                try:
                    status = client.wait(limit)
                except subprocess.TimeoutExpired:
                    problems.append(f"{case}: the client hung for {limit} s")
                    stuck += 1
                else:
                    if status != 0:
                        problems.append(f"{case}: the client ended with status {status}; its output: {client_log}")
                finally:
                    client.kill()
            if server.process.poll() is not None:
                raise Broken(f"wstest ended during {case}; its output: {server.log}")
            try:
                # The answer comes when the fuzzing server, too, has seen the end of the case.
                ask(f"getCaseStatus?case={number}&agent={AGENT}")
            except TimeoutError:
                problems.append(f"{case}: the client did not connect")
                stuck += 1
            if stuck >= 3:
                problems.append(f"gave up after {case}")
                break
        with open_path(f"updateReports?agent={AGENT}") as socket:
            for _ in socket:  # it closes when the report is written
                pass
    return announced, problems


def main():
    role, binary, python2, reports = sys.argv[1:]
    os.environ.pop("PYTHONPATH", None)  # Python 3's, no business of wstest's
    binary = pathlib.Path(binary).absolute()
    arguments = shlex.split(os.environ.get({"server": "DEMO_ARGS", "client": "ECHO_CLIENT_ARGS"}[role], ""))
    deflate = os.environ.get("AUTOBAHN_DEFLATE", "short")
    if deflate not in DEFLATE:
        sys.exit(f"AUTOBAHN_DEFLATE is '{deflate}'; it can be {', '.join(DEFLATE)}")
    title = f"autobahn {role}" + (f" ({' '.join(arguments)})" if arguments else "")
    # Runs with other arguments keep reports of their own.
    directory = pathlib.Path(reports).absolute() / re.sub(r"[^a-z0-9]+", "-", f"autobahn {role} {' '.join(arguments)}".lower()).strip("-")
    shutil.rmtree(directory, ignore_errors=True)  # an old report must not pass for a new one
    directory.mkdir(parents=True)

    if DEFLATE[deflate] and "--deflate" not in arguments:
        arguments += DEFLATE_ARGUMENTS[role]
    test = {"server": test_server, "client": test_client}[role]
    try:
        announced, problems = test(binary, arguments, python2, directory, BASIC + DEFLATE[deflate], CASE_LIMIT[deflate])
    except (Broken, OSError) as error:
        sys.exit(f"{title}: FAILED: {error}")
    if DEFLATE[deflate]:
        missing = (group for group in DEFLATE_GROUPS if not any(case.startswith(f"{group}.") for case in announced))
        problems += [f"no case of {group} was announced" for group in missing]
    announced_file = directory / "announced.json"
    announced_file.write_text(json.dumps(announced))
    print(f"report: {(directory / 'index.html').as_uri()}")
    sys.exit(0 if check_report.check(directory / "index.json", announced, title, problems) else 1)


def stop(number, _frame):
    """Leaves through every `with` block, each of which ends its program; a second signal does not disturb that."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    main()
