"""Where the orders of a policy are kept when that is not the server's own home."""

from dataclasses import dataclass
from typing import Final

from wain.base.errors import Refused

AZURE: Final = "https://management.azure.com"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An ARM endpoint, the subscription and resource group in it, and the certificate authority to trust (or empty).

    It holds no secret: who signs in there is for the caller to know. The group is empty where none is named.

    Raises:
        Refused: the address is not https, or no subscription is named.
    """

    url: str
    subscription: str
    group: str
    ca_file: str = ""

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise Refused(f"{self.url} is not https", "Give --service an address that begins with https://.")
        if not self.subscription:
            raise Refused("no subscription is named", "Give it with --subscription.")
        object.__setattr__(self, "url", self.url.rstrip("/"))

    @property
    def is_azure(self) -> bool:
        """Whether Microsoft answers there; else it is a `wain serve`."""
        return self.url == AZURE
