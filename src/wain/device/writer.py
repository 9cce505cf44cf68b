"""Writes one server's seed to a device: packs, journal, manifest, read-back, seal (FORMAT.md, Order of writes)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Self

from blake3 import blake3

from wain.base.errors import Corrupt, DataError, Missing, Refused
from wain.base.ids import DeviceId, PackId
from wain.base.progress import Progress
from wain.device.appender import Appender, Condemned, Files
from wain.device.find import check_root
from wain.device.journal import End, JournalPack, Start, order_hash
from wain.device.journal_file import JournalFile
from wain.device.medium import Medium
from wain.device.parity_file import ParityFile, Shape, check_parity, cut_parity, parity_ends
from wain.device.readback import ReadBackFailed, check_packs
from wain.device.resume import check_start, look, recover
from wain.device.seal import Seal, check_seal, encode_seal, seal_part
from wain.device.target import DeviceTarget, check_identity, device_id
from wain.pack.writer import SealedPack
from wain.pageblob.names import MANIFEST_BLOB, SEAL_BLOB, packs_blob
from wain.pageblob.paged import decode_paged, encode_paged
from wain.storage.durable import unlink_at

__all__ = ["Condemned", "DeviceTarget", "DeviceWriter", "ReadBackFailed"]


def _parity_file(medium: Medium, target: DeviceTarget, written: list[JournalPack]) -> ParityFile:
    """Open the parity, cut behind the last record whose packs were all journalled. Raises `OSError`."""
    ends = parity_ends(medium, {pack.id for pack in written})
    cut_parity(medium, ends)
    return ParityFile(medium, Shape(target.parity, target.blob_limit), ends)


class DeviceWriter:
    """One seed's container on a device. For one thread. Make it with `open`; `close` it in any case.

    After an error that leaves the device in doubt every further method repeats it: open the device again to go on.

    Raises (all methods that write):
        OutOfSpace: the device is full; what was journalled is valid and can be resumed.
        DeviceLost: the device went away.
        Condemned: it failed twice.
        Refused: the container is sealed, or the writer closed.
    """

    def __init__(self, target: DeviceTarget, medium: Medium, start: Start, clock: Callable[[], datetime]) -> None:
        self._target = target
        self._medium = medium
        self._start = start
        self._clock = clock
        self._appender: Appender | None = None
        self._seal: Seal | None = None
        self._open = True

    @classmethod
    def open(cls, target: DeviceTarget, clock: Callable[[], datetime]) -> Self:
        """Open the device for a seed: begin, go on after the last durable pack, or find it sealed.

        Raises:
            Refused: no device there, another device, another order's device, or a container of another seed.
            DataError: label, seal or journal of the container are damaged.
        """
        root = check_root(target.root)
        check_identity(root, target)
        medium = Medium(root, target.container)
        file: JournalFile | None = None
        try:
            found = look(medium)
            device = device_id(root, target, found.start.device if found.start else None)
            start = Start(device, target.seed, target.registration, order_hash(target.order))
            if found.start is not None:
                check_start(found.start, start, medium.where)
            writer = cls(target, medium, start, clock)
            if found.seal is not None:
                if found.seal.sign_key != target.sign_key:
                    raise Corrupt(f"seal on the device at {medium.where}", "it was signed with another key")
                writer._seal = found.seal
                return writer
            with medium.errors():
                if found.journal is None:
                    written: list[JournalPack] = []
                    file = JournalFile.create(medium, start)
                else:
                    journal = recover(medium, found.journal)
                    written = list(journal.packs)
                    file = JournalFile.resume(medium, journal)
                parity = _parity_file(medium, target, written)
            writer._appender = Appender(medium, start, Files(file, parity), written, target.blob_limit)
        except BaseException:
            if file is not None:
                file.close()
            medium.close()
            raise
        return writer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def device(self) -> DeviceId:
        """The id of the device: remember it with the seed, and give it back as `expected_device`."""
        return self._start.device

    @property
    def sealed(self) -> Seal | None:
        """The seal, once the container has one: nothing more can be written then."""
        return self._seal

    @property
    def written(self) -> tuple[JournalPack, ...]:
        """The packs that are durable on the device, in order. After `open` this, not any memory of it, is the truth."""
        if self._seal is not None:
            return self._seal.packs
        return tuple(self._appender.written) if self._appender else ()

    @property
    def parity_bytes(self) -> int:
        """What the parity of those packs takes on an unsealed device."""
        return sum(self._appender.parity.ends.values()) if self._appender else 0

    def sealed_manifest(self) -> bytes:
        """Return the manifest of a sealed container, read from the medium: it is what `finish` was given.

        Raises:
            Missing: the container is not sealed.
            DataError: it is not the one that the seal names.
        """
        if self._seal is None:
            raise Missing(f"seal on the device at {self._medium.where}")
        with self._medium.uncached(MANIFEST_BLOB) as file:
            manifest = decode_paged(file.read(0, file.size), "manifest")
        if blake3(manifest).digest() != self._seal.manifest_hash:
            raise Corrupt(f"manifest on the device at {self._medium.where}", "it is not the one that was sealed")
        return manifest

    @property
    def free_bytes(self) -> int:
        """What the device has room for, in bytes."""
        return self._medium.free_bytes()

    def close(self) -> None:
        """Let go of the device. Packs that were not committed are not promised."""
        if self._open:
            self._open = False
            if self._appender is not None:
                self._appender.close()
            self._medium.close()

    def _unsealed(self) -> Appender:
        if not self._open:
            raise Refused(f"the device at {self._medium.where} was closed")
        if self._appender is None or self._seal is not None:
            raise Refused(
                f"the seed on the device at {self._medium.where} is sealed and cannot be written again",
                "Ship the device.",
            )
        return self._appender

    def put(self, pack: SealedPack) -> None:
        """Append a pack; one that is there already is left out. Every 2 packs or 128 MiB are committed as they come."""
        self._unsealed().put(pack)

    def commit(self) -> tuple[PackId, ...]:
        """Make all packs durable; return those that became so since the last call."""
        return self._unsealed().commit()

    def finish(self, manifest: bytes, sign: Callable[[bytes], bytes], progress: Progress) -> Seal:
        """Write the manifest, read everything back from the medium, then seal. The same call again changes nothing.

        `sign` returns the Ed25519 signature by `sign_key`, in the domain `wain.keys.signing.SEAL`.

        Raises:
            ReadBackFailed: the device does not return what was written; it must not be shipped.
            Refused: it was sealed with another manifest.
        """
        manifest_hash = blake3(manifest).digest()
        if self._seal is not None:
            if self._seal.manifest_hash != manifest_hash:
                raise Refused(f"{self._seal.container} was sealed with another manifest")
            with self._medium.errors():
                self._medium.sync()
            return self._seal
        appender = self._unsealed()
        stored_manifest = encode_paged(manifest)
        appender.finish((MANIFEST_BLOB, stored_manifest), End(manifest_hash, len(manifest)))
        self._read_back(appender, progress)
        self._prove(MANIFEST_BLOB, stored_manifest)
        seal = self._sign(manifest_hash, len(manifest), sign)
        stored = encode_paged(encode_seal(seal))
        self._medium.check()
        self._medium.write_small(SEAL_BLOB, stored)
        self._prove(SEAL_BLOB, stored)
        with self._medium.errors():
            self._medium.sync()
        self._seal = seal
        return seal

    def _read_back(self, appender: Appender, progress: Progress) -> None:
        packs = appender.written
        progress.phase("reading back", sum(pack.placement.length for pack in packs) + self.parity_bytes)
        findings = tuple(check_packs(lambda blob: self._medium.uncached(packs_blob(blob)), packs, progress))
        if findings:
            raise ReadBackFailed(self._medium.where, findings)
        try:
            check_parity(self._medium, appender.parity, packs, progress)
        except DataError as error:
            # A medium that has lost parity within hours will lose packs as well: it does not travel.
            raise Condemned(f"the device at {self._medium.where}", f"parity does not read back: {error}") from error

    def _prove(self, name: str, stored: bytes) -> None:
        """Read a small blob back from the medium; one that differs is removed."""
        with self._medium.uncached(name) as file:
            if file.size == len(stored) and file.read(0, file.size) == stored:
                return
        with self._medium.errors():
            unlink_at(self._medium.dirfd, name)
        raise Condemned(f"the device at {self._medium.where}", f"{name} does not read back as it was written")

    def _sign(self, manifest_hash: bytes, manifest_bytes: int, sign: Callable[[bytes], bytes]) -> Seal:
        seal = Seal(
            device=self._start.device,
            seed=self._start.seed,
            registration=self._start.registration,
            order=self._target.order,
            container=self._target.container,
            created_at=self._clock(),
            sign_key=self._target.sign_key,
            manifest_hash=manifest_hash,
            manifest_bytes=manifest_bytes,
            custody_previous=self._target.custody_previous,
            packs=self.written,
        )
        signed = replace(seal, signature=sign(seal_part(seal)))
        return check_seal(encode_seal(signed), self._target.sign_key)
