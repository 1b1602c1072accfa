"""A Kafka broker of a test's own whose clients come over TLS and log in (SASL_SSL, mechanism PLAIN)."""

from __future__ import annotations

import ipaddress
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from millrace_contracts.settings import KafkaSettings
from millrace_stack.servers.kafka import cluster_id
from tests.support.ports import listening_ports
from tests.support.waiting import wait_until

USER, PASSWORD = "relay", "relay-secret"


class SecuredKafka:
    """Made from the shared broker's own command and properties; ``environ`` is how clients reach it."""

    def __init__(self, shared_bootstrap: str, folder: Path, ports: tuple[int, int]) -> None:
        command = _command_of_listener(int(shared_bootstrap.rsplit(":", 1)[1]))
        self._java, self._properties = command[:-2], Path(command[-1])
        self._folder = folder
        self._broker, self._controller = ports
        self._process: subprocess.Popen[bytes] | None = None
        self.environ = {
            "MILLRACE_KAFKA_BOOTSTRAP": f"127.0.0.1:{self._broker}",
            "MILLRACE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "MILLRACE_KAFKA_SASL_MECHANISM": "PLAIN",
            "MILLRACE_KAFKA_USERNAME": USER,
            "MILLRACE_KAFKA_PASSWORD": PASSWORD,
            "MILLRACE_KAFKA_CA_FILE": str(folder / "ca.pem"),
        }

    def __enter__(self) -> SecuredKafka:
        self._folder.mkdir()
        certify(self._folder)
        properties = self._folder / "server.properties"
        lines = dict(line.split("=", 1) for line in self._properties.read_text().splitlines())
        properties.write_text("".join(f"{name}={value}\n" for name, value in {**lines, **self._own()}.items()))
        tool = [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster_id(uuid.uuid4().bytes), "-c", str(properties)]
        subprocess.run(tool, check=True, capture_output=True)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([*self._java, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
        try:
            wait_until(self._answers, 120, f"the broker answers; {self._folder / 'log'}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _own(self) -> dict[str, str]:
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return {
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "listeners": f"SECURED://127.0.0.1:{self._broker},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"SECURED://127.0.0.1:{self._broker}",
            "inter.broker.listener.name": "SECURED",
            "listener.security.protocol.map": "SECURED:SASL_SSL,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self._folder / "topics"),
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.secured.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secured.plain.sasl.jaas.config": (
                f'{module} required username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._folder / "ca.pem"),
        }

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        try:
            client = AdminClient({**KafkaSettings.load(self.environ).client(), "log_level": 0})
            return len(client.list_topics(timeout=2.0).brokers) > 0
        except KafkaException:
            return False

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def certify(folder: Path) -> None:
    """``ca.pem``, and ``broker.pem`` with the key and certificate of 127.0.0.1, signed by it; good for a day."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _named("millrace tests")
    now = datetime.now(UTC)

    def certificate(subject: x509.Name, owner: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(owner.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        builder = builder.not_valid_after(now + timedelta(days=1)).add_extension(
            extension, critical=isinstance(extension, x509.BasicConstraints)
        )
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "ca.pem").write_bytes(certificate(issuer, authority, x509.BasicConstraints(ca=True, path_length=0)))
    own = key.private_bytes(encoding, form, serialization.NoEncryption())
    (folder / "broker.pem").write_bytes(own + certificate(_named("127.0.0.1"), key, address))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _command_of_listener(port: int) -> list[str]:
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "java" and port in listening_ports(process):
            return process.cmdline()
    raise AssertionError(f"no Java process listens on {port}")
