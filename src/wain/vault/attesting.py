"""The vault's own word in the chain of custody: it has taken a seed in."""

from blake3 import blake3

from wain.base.errors import Missing
from wain.base.ids import RegistrationId, SeedId
from wain.device.seal import decode_seal
from wain.order.custody import Event, Handling, append_signed, decode_record, encode_record
from wain.tree.receipt import decode_receipt
from wain.vault.importing import kept_receipt
from wain.vault.objects import seal_name
from wain.vault.site import Site

PARTY = "vault"


def attest_import(site: Site, rid: RegistrationId, seed: SeedId, tail: bytes) -> bytes:
    """Return the custody record that follows `tail`: this vault holds the seed. Its detail is the receipt.

    Raises:
        Missing: the vault gave no receipt for such a seed.
        DataError: `tail` is no record, or one about another order or device.
    """
    site.row(rid)
    receipt = kept_receipt(site, rid, seed)
    if receipt is None:
        raise Missing(f"the receipt of seed {seed.hex()}")
    seal = decode_seal(site.objects.read(seal_name(rid, seed)))
    before = decode_record(tail)
    at = decode_receipt(receipt.body).received_at
    step = Handling(Event.IMPORTED, seal.order, seal.device, at, PARTY, blake3(receipt.body).digest())
    return encode_record(append_signed(before, step, site.signer.public, site.signer.sign))
