"""AES-GCM does not commit to its key: makes one ciphertext that opens under two (reliability.md A7)."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16
NONCE = bytes(12)
_R = 0xE1 << 120


def _block(key: bytes, plain: bytes) -> int:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(plain), "big")


def _times(left: int, right: int) -> int:
    """Multiply in GCM's field, where the most significant bit is x to the 0."""
    product = 0
    for bit in range(127, -1, -1):
        if right >> bit & 1:
            product ^= left
        left = left >> 1 ^ (_R if left & 1 else 0)
    return product


def _power(value: int, exponent: int) -> int:
    product = 1 << 127
    while exponent:
        if exponent & 1:
            product = _times(product, value)
        value = _times(value, value)
        exponent >>= 1
    return product


def _sum(h: int, blocks: list[int]) -> int:
    """GHASH."""
    total = 0
    for block in blocks:
        total = _times(total ^ block, h)
    return total


def forge(first: bytes, second: bytes, aad: bytes, leading: bytes = bytes(BLOCK)) -> bytes:
    """Return 32 bytes of ciphertext and a tag that AES-256-GCM opens under both keys with the zero nonce."""
    padded = aad + bytes(-len(aad) % BLOCK)
    blocks = [int.from_bytes(padded[at : at + BLOCK], "big") for at in range(0, len(padded), BLOCK)]
    blocks.append(int.from_bytes(leading, "big"))
    lengths = (len(aad) * 8 << 64) | 2 * BLOCK * 8
    difference = weight = 0
    for key in (first, second):
        h = _block(key, bytes(BLOCK))
        difference ^= _sum(h, [*blocks, 0, lengths]) ^ _block(key, NONCE + b"\0\0\0\1")
        weight ^= _power(h, 2)
    free = _times(difference, _power(weight, 2**128 - 2))
    h = _block(first, bytes(BLOCK))
    tag = _sum(h, [*blocks, free, lengths]) ^ _block(first, NONCE + b"\0\0\0\1")
    return leading + free.to_bytes(BLOCK, "big") + tag.to_bytes(BLOCK, "big")
