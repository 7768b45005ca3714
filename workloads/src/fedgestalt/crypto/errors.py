"""What goes wrong in this package. Messages name the thing and the mending, never a secret."""


class CryptoError(Exception):
    """Base of this package's errors."""


class EncodingError(CryptoError):
    """Bytes that are not the one canonical encoding of an allowed value, or a value that has none."""


class KeyFileError(CryptoError):
    """A key file that is absent, no Ed25519 key, or readable by others."""


class SignatureError(CryptoError):
    """A signature that does not hold."""


class SealError(CryptoError):
    """A sealed message that was altered, cut, or sealed to another key, slot or purpose."""


class ShareError(CryptoError):
    """Secret shares that are malformed, doubled or too few."""
