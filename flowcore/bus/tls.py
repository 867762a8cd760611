"""TLS on the bus: whose certificate a connection trusts.

Three kinds of trust, as texts, so that they travel in `run.json` and in what a node process is given:

    SYSTEM          the authorities that this system trusts
    OWN             our own server on this machine: encrypted, not checked, because the packets do not leave the
                    machine, and an expired certificate must not keep our own processes from the bus
    a file's path   the authorities in this PEM file, or the one self-signed certificate in it

    BadCertificate   a file that cannot be used, with the reason
    Untrusted        a server showed a certificate that is not trusted, or has no TLS
"""

import ssl
from functools import cache

SYSTEM, OWN = "system", "own"


class BadCertificate(ValueError):
    """A certificate or a key that cannot be used."""


class Untrusted(Exception):
    """The server's certificate is not trusted, is not for the name it was reached by, or there is no TLS at all."""


def context(trust: str) -> ssl.SSLContext:
    """What a connection with this trust checks of the server.

    Raises:
        BadCertificate: the file of authorities cannot be read.
    """
    if trust == OWN:
        return unchecked()
    try:
        return ssl.create_default_context(cafile=None if trust == SYSTEM else trust)
    except OSError as e:
        raise BadCertificate(f"{trust}: {why(e)}; give a PEM file with the certificates to trust") from None


@cache
def unchecked() -> ssl.SSLContext:
    """The context of own processes; one for all: made before a fork, its 1.7 MB are shared with every node."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def refusal(error: ssl.SSLError) -> str:
    """Why a connection was not made, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "it has no TLS"
    return f"TLS failed: {why(error)}"


def why(error: Exception) -> str:
    """What is wrong with a PEM file, in words."""
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not the certificate's"
        return (error.reason or "not PEM").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
