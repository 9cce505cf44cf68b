"""Writes a small seed to a device as a process of its own, so that it can be killed: `write_seed.py ROOT`.

Prints `durable <pack>` when a pack is promised and `sealed` when the device is. Ends with 1 on one of Wain's errors.
"""

import sys
from pathlib import Path

from device.making import MANIFEST, PARITY, make_pack, open_writer, sign_seal
from wain.base.errors import WainError
from wain.base.progress import Silent

PACKS = [make_pack(number, 4096 * (3 + number % 3)) for number in range(7)]
BLOB_LIMIT = 4096 * 16


def main(root: Path) -> int:
    try:
        with open_writer(root, blob_limit=BLOB_LIMIT, parity=PARITY) as writer:
            for pack in [] if writer.sealed else PACKS:
                writer.put(pack)
                for made in writer.written:
                    print("durable", made.id.hex(), flush=True)
            writer.finish(MANIFEST, sign_seal, Silent())
            print("sealed", flush=True)
    except WainError as error:
        print(type(error).__name__, error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
