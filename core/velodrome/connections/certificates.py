"""Makes the certificates with which Redis proves who it is: an authority of the installation's own, and a server's."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from velodrome.errors import LocalError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

# Nobody renews a certificate that works for this long, so docs/redis.md says how, and `doctor --cluster` when.
AUTHORITY_DAYS = 7300
SERVER_DAYS = 3650
_CLOCKS_APART = timedelta(days=1)
# Probes in the pod, and `kubectl port-forward`, reach the server under these names.
_ALWAYS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A server's certificate and key, and the authority that vouches for it with its own key. All are PEM."""

    authority: str
    authority_key: str
    certificate: str
    key: str


def make(hosts: Sequence[str], now: datetime, renewed: ServerCertificate | None = None) -> ServerCertificate:
    """A certificate for these hosts, of a new authority, or of the one that made the certificate to be `renewed`.

    The certificate is also valid for this machine's own names. A renewed one is trusted by all who trusted the former.

    Raises:
        LocalError: the library `cryptography` is missing here.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise LocalError("certificates need a library: pip install 'velodrome[certificates]'") from None
    if renewed is None:
        owner = ec.generate_private_key(ec.SECP256R1())
        authority = _signed("Velodrome Redis CA", owner, None, now, AUTHORITY_DAYS, ())
    else:
        loaded = serialization.load_pem_private_key(renewed.authority_key.encode(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        owner, authority = loaded, x509.load_pem_x509_certificate(renewed.authority.encode())
    key = ec.generate_private_key(ec.SECP256R1())
    names = tuple(dict.fromkeys((*hosts, *_ALWAYS)))
    certificate = _signed("velodrome-redis", key, (authority, owner), now, SERVER_DAYS, names)
    return ServerCertificate(_pem(authority), _key_pem(owner), _pem(certificate), _key_pem(key))


def ends_at(certificate: str) -> datetime:
    """When a certificate expires."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def names_of(certificate: str) -> tuple[str, ...]:
    """The hosts that a certificate is for."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(certificate.encode()).extensions
    names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(name.value) for name in names)


def _signed(
    name: str,
    key: EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, EllipticCurvePrivateKey] | None,
    now: datetime,
    days: int,
    hosts: Sequence[str],
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    owner_key = key if issuer is None else issuer[1]
    is_authority = issuer is None
    usage = x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    owner_id = x509.SubjectKeyIdentifier.from_public_key(owner_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_APART)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(owner_id), critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(owner_key, hashes.SHA256())


def _general(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
