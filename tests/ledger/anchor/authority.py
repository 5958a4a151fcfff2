"""A real timestamp authority on loopback, for tests: `openssl ts` behind a small HTTP server."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CONFIGURATION = """
[ tsa ]
default_tsa = here
[ here ]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha3-256
clock_precision_digits = 6
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True)
class Holder:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(encoding, form, serialization.NoEncryption())


def certified(
    name: str,
    by: Holder | None = None,
    *,
    may_certify: bool = False,
    usage: Sequence[x509.ObjectIdentifier] = (),
    days: tuple[int, int] = (-1, 30),
    long: bool = False,
) -> Holder:
    """A new key under this name with a certificate by another one, or by itself, valid between these days from now.

    DER has the certificates of a token sorted, a short one first. openssl leaves them as they come, its own first: of
    those that it is given besides, each must be a `long` one.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(may_certify, None), critical=True)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=True)
    if long:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("x" * 60)]), critical=False)
    return Holder(key, builder.sign(by.key if by else key, hashes.SHA256()))


TIMESTAMPING = (ExtendedKeyUsageOID.TIME_STAMPING,)


@dataclass
class Authority:
    """What the server answers: `answer` may be replaced by a wrong one. `asked` are the queries that came."""

    folder: Path
    root: Holder
    holder: Holder
    url: str = ""
    asked: list[bytes] = field(default_factory=list)
    answer: Callable[[bytes], tuple[int, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.answer = lambda query: (200, self.stamp(query))

    def stamp(self, query: bytes, holder: Holder | None = None, more: Sequence[Holder] = ()) -> bytes:
        """A response in the name of `holder`, with more certificates in it beside the holder's own."""
        signer, folder = holder or self.holder, self.folder
        (folder / "configuration").write_text(_CONFIGURATION.format(folder=folder))
        (folder / "query").write_bytes(query)
        (folder / "signer.pem").write_bytes(signer.pem)
        (folder / "more.pem").write_bytes(b"".join(one.pem for one in more))
        (folder / "key.pem").write_bytes(signer.key_pem)
        command = "openssl ts -reply -config configuration -queryfile query -signer signer.pem -inkey key.pem"
        rest = ["-out", "reply", *(["-chain", "more.pem"] if more else [])]
        made = subprocess.run([*command.split(), *rest], cwd=folder, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        return (folder / "reply").read_bytes()

    def forge(self, query: bytes, holder: Holder) -> bytes:
        """What the authority would say, signed by someone whom `openssl ts` would not sign for."""
        self.stamp(query)
        (self.folder / "signer.pem").write_bytes(holder.pem + holder.key_pem)
        for command in (
            "openssl ts -reply -in reply -token_out -out token",
            "openssl cms -verify -noverify -inform DER -in token -out said",
            "openssl cms -sign -binary -nodetach -nosmimecap -md sha256 -in said -signer signer.pem -outform DER "
            "-econtent_type 1.2.840.113549.1.9.16.1.4 -out forged",
        ):
            made = subprocess.run(command.split(), cwd=self.folder, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr
        content = bytes.fromhex("3003020100") + (self.folder / "forged").read_bytes()  # granted
        assert 256 <= len(content) < 65536
        return b"\x30\x82" + len(content).to_bytes(2, "big") + content


@contextmanager
def serving(folder: Path) -> Iterator[Authority]:
    """Fails where there is no openssl: a Debian has it (`apt-get install openssl`)."""
    assert shutil.which("openssl"), "these tests need the command openssl: apt-get install openssl"
    root = certified("root", may_certify=True)
    authority = Authority(folder, root, certified("authority", root, usage=TIMESTAMPING))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-type"] == "application/timestamp-query"
            authority.asked.append(query)
            status, body = authority.answer(query)
            self.send_response(status)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    authority.url = f"http://127.0.0.1:{server.server_address[1]}/tsr"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
