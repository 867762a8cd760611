"""TLS of the nodes: of those that serve, and whom the others trust."""

import ssl


def server_tls(certificate: str, key: str) -> ssl.SSLContext | None:
    """What a server with this certificate speaks (PEM files; an empty key: in the same file); None without one.

    Raises:
        ValueError: a file can't be read, names it.
    """
    if not certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key or None, password="")
    except OSError as e:  # an SSLError, too
        raise ValueError(f"tls_cert {certificate!r}, tls_key {key!r}: {e}") from None
    return context


def trusting(tls_ca: str) -> ssl.SSLContext:
    """What a client speaks that trusts the certificates in a file (PEM); empty: those of the system.

    Raises:
        ValueError: the file can't be read, names it.
    """
    try:
        return ssl.create_default_context(cafile=tls_ca or None)
    except OSError as e:  # an SSLError, too
        raise ValueError(f"tls_ca {tls_ca!r}: {e}") from None
