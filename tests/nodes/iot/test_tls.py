"""TLS with a broker that asks for certificates: mosquitto, with certificates made here."""

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flowcore_nodes.iot.mqtt_out import MqttOut

from flowcore.node.testing import drive


def make_certificate(folder: Path, name: str, issuer: tuple | None = None) -> tuple[Path, Path, tuple]:
    """Write `<name>.pem` and `<name>.key`; without an issuer it is a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ca_name, ca_key = issuer or (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file, (subject, key)


@pytest.fixture
async def safe_broker(mosquitto, tmp_path):
    """mosquitto with TLS, which lets in who has a certificate of our CA; and the settings that fit."""
    ca, _, issuer = make_certificate(tmp_path, "ca")
    certificate, key, _ = make_certificate(tmp_path, "broker", issuer)
    own, own_key, _ = make_certificate(tmp_path, "node", issuer)
    mosquitto.tls_files = (ca, certificate, key)
    await mosquitto.start()
    tls = {"ca": str(ca), "certificate": str(own), "key": str(own_key)}
    return mosquitto, mosquitto.config | {"url": f"mqtts://127.0.0.1:{mosquitto.port}", "tls": tls}


async def test_publishes_with_a_client_certificate(safe_broker):
    """Both sides prove who they are; a message gets through."""
    _, config = safe_broker
    async with drive(MqttOut, broker=config, topic="a") as node:
        await node.put("hello")
        assert node.statuses[-1][1] == "ok" and "mqtts://" in node.statuses[-1][0]


async def test_a_broker_that_cannot_prove_itself_is_not_talked_to(safe_broker, tmp_path):
    """A certificate of an unknown CA ends the try with a reason; `insecure` is needed to go on all the same."""
    _, config = safe_broker
    other, _, _ = make_certificate(tmp_path, "other-ca")
    stranger = config | {"tls": config["tls"] | {"ca": str(other)}}
    async with drive(MqttOut, broker=stranger, topic="a") as node:
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        assert "certificate verify failed" in node.statuses[-1][0]
    insecure = config | {"tls": config["tls"] | {"ca": str(other), "insecure": True}}
    async with drive(MqttOut, broker=insecure, topic="a") as node:
        await node.put("hello")


async def test_without_our_certificate_the_broker_lets_us_not_in(safe_broker):
    """The badge says that the line was cut; the node goes on trying."""
    _, config = safe_broker
    async with drive(MqttOut, broker=config | {"tls": {"ca": config["tls"]["ca"]}}, topic="a") as node:
        await node.wait_for(lambda: len([s for s in node.statuses if s[1] == "error"]) >= 2)
