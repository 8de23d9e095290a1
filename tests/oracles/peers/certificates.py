"""Certificates for one run, made by openssl: a CA, and a server's certificate for localhost and 127.0.0.1."""

import pathlib
import subprocess
import sys
import typing


class Certificates(typing.NamedTuple):
    ca: pathlib.Path
    cert: pathlib.Path
    key: pathlib.Path


def make(directory):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    made = Certificates(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    ca_key, request, extensions = directory / "ca-key.pem", directory / "request.pem", directory / "extensions"
    key_kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(
        "req", "-x509", *key_kind, "-keyout", ca_key, "-out", made.ca, "-days", "2", "-subj", "/CN=sockless oracles",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
    )
    openssl("req", *key_kind, "-keyout", made.key, "-out", request, "-subj", "/CN=localhost")
    extensions.write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
    )
    openssl(
        "x509", "-req", "-in", request, "-CA", made.ca, "-CAkey", ca_key, "-CAcreateserial", "-out", made.cert, "-days", "2",
        "-extfile", extensions,
    )
    return made


def openssl(*arguments):
    ran = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if ran.returncode != 0:
        raise OSError(f"openssl {arguments[0]} failed: {ran.stderr.strip()}")


if __name__ == "__main__":
    make(sys.argv[1])
