"""Has Prometheus read the metrics of the demo, and answer the questions of the dashboard: drive.py DEMO BIN DASHBOARD HOME.

promtool lints the text of /metrics and parses the dashboard's expressions. Then Prometheus itself asks a demo that is in use,
and each expression that is about what the demo does has to have a value.
"""

import base64
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# The demo has no rooms of the library, is no client, and is never out of budget within this test.
WITHOUT_VALUES = re.compile(r"sockless_(rooms|room_members|connects_failed|turns_exhausted|round_trip)")
# A ping comes each 30 s, which is longer than this test.
DEADLINE = 60


class Client:
    """A WebSocket client of a few lines, which offers compression and does not compress."""

    def __init__(self, address, path):
        self.stream = socket.create_connection(address, timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        )
        self.stream.sendall(request.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.stream.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head

    def send(self, first, payload):
        assert len(payload) < 126
        # A mask of zeros changes nothing.
        self.stream.sendall(bytes([first, 0x80 | len(payload)]) + bytes(4) + payload)

    def receive(self):
        first, length = self.exactly(2)
        return first, self.exactly(length)

    def exactly(self, length):
        data = b""
        while len(data) < length:
            more = self.stream.recv(length - len(data))
            assert more, "the connection ended"
            data += more
        return data


def use(address):
    """Opens sessions, echoes, ends some in several ways, and is rejected."""
    clients = [Client(address, "/echo") for _ in range(3)]
    for client in clients:
        client.send(0x81, b"hello " * 20)
        assert client.receive()[0] & 0x0F == 1
    # A message of "Hello", compressed: RFC 7692, section 7.2.3.1.
    clients[0].send(0xC1, bytes.fromhex("f248cdc9c90700"))
    clients[0].receive()
    clients[0].send(0x88, struct.pack(">H", 1000))
    clients[0].receive()
    clients[1].stream.close()
    try:
        urllib.request.urlopen(f"http://{address[0]}:{address[1]}/nothing", timeout=10)
        raise AssertionError("nothing is served there")
    except urllib.error.HTTPError as error:
        assert error.code == 404, error
    # One stays open.
    return clients[2]


def expressions(dashboard):
    with open(dashboard, encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    for panel in panels:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
            yield panel["title"], text


def ask(url, deadline):
    """The body of the response, once there is one with the status 200."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.read().decode()
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)


def check(tool, arguments, text):
    done = subprocess.run([tool, "check", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, f"promtool check {arguments}:\n{done.stdout}{done.stderr}"


def main():
    demo, programs, dashboard, home = sys.argv[1:]
    promtool = os.path.join(programs, "promtool")
    asked = list(expressions(dashboard))
    rules = [{"record": f"panel:{number}", "expr": text} for number, (_, text) in enumerate(asked)]
    # JSON is YAML.
    with open(os.path.join(home, "rules.yml"), "w", encoding="utf-8") as file:
        json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
    check(promtool, ["rules", os.path.join(home, "rules.yml")], "")

    running = []
    try:
        server = subprocess.Popen([demo, "--listen", "127.0.0.1:0", "--metrics"], stdout=subprocess.PIPE, text=True)
        running.append(server)
        host, _, port = server.stdout.readline().strip().removeprefix("listening on http://").rpartition(":")
        address = (host, int(port))
        deadline = time.monotonic() + DEADLINE
        kept = [use(address)]
        page = ask(f"http://{host}:{port}/metrics", deadline)
        check(promtool, ["metrics"], page)
        families = len(re.findall(r"^# TYPE sockless_", page, re.MULTILINE))

        with socket.create_server(("127.0.0.1", 0)) as free:
            own = f"127.0.0.1:{free.getsockname()[1]}"
        jobs = [{"job_name": "demo", "scrape_interval": "1s", "static_configs": [{"targets": [f"{host}:{port}"]}]}]
        with open(os.path.join(home, "prometheus.yml"), "w", encoding="utf-8") as file:
            json.dump({"scrape_configs": jobs}, file)
        shutil.rmtree(os.path.join(home, "data"), ignore_errors=True)
        command = [os.path.join(programs, "prometheus"), f"--web.listen-address={own}"]
        command += [f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data"]
        with open(os.path.join(home, "prometheus.log"), "w", encoding="utf-8") as log:
            running.append(subprocess.Popen(command, stderr=log))
        ask(f"http://{own}/-/ready", deadline)
        valued = 0
        for title, text in asked:
            url = f"http://{own}/api/v1/query?" + urllib.parse.urlencode({"query": text})
            while True:
                result = json.loads(ask(url, deadline))["data"]["result"]
                # A rate takes two samples; a ratio of rates that are 0 has no value.
                valid = [sample for sample in result if sample["value"][1] != "NaN"]
                if valid or WITHOUT_VALUES.search(text):
                    valued += bool(valid)
                    break
                assert time.monotonic() < deadline, f"the panel {title!r} stays empty: {text}"
                kept.append(use(address))
                time.sleep(0.5)
        print(f"metrics: {families} families are valid, {len(asked)} expressions parse, {valued} have values in Prometheus")
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
