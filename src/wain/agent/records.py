"""The agent's small records as JSON: one pair of functions for each. Only `home` reads and writes the files."""

import os
from datetime import datetime
from typing import Any

from wain.base.ids import PointId, RegistrationId
from wain.job.job import Job, JobKind, JobState, Problem
from wain.policy.compression import Compression
from wain.policy.consistency import NO_COMMANDS, Commands, SourceMode
from wain.policy.endpoint import Endpoint
from wain.policy.policy import PARITY_PERCENT, InitialBackup, Policy
from wain.policy.retention import format_retention, parse_retention
from wain.policy.schedule import format_schedule, parse_schedule
from wain.wire.vault import ProtectionState, Registration

_COUNTS = ("files", "directories", "source_bytes", "new_bytes", "stored_bytes", "skipped")


def registration_to_json(one: Registration) -> dict[str, Any]:
    """Return a registration as JSON."""
    return {
        "id": one.id.hex(),
        "name": one.name,
        "signKey": one.sign_key.hex(),
        "restoreKey": one.restore_key.hex(),
        "state": one.state.value,
        "registeredAt": one.registered_at.isoformat(),
    }


def registration_from_json(body: dict[str, Any]) -> Registration:
    """Return the registration that `registration_to_json` wrote."""
    return Registration(
        RegistrationId(bytes.fromhex(body["id"])),
        body["name"],
        bytes.fromhex(body["signKey"]),
        bytes.fromhex(body["restoreKey"]),
        ProtectionState(body["state"]),
        datetime.fromisoformat(body["registeredAt"]),
    )


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """Return a policy as JSON. Paths that are not UTF-8 keep their bytes as surrogate escapes."""
    return {
        "includes": [os.fsdecode(path) for path in policy.includes],
        "excludes": list(policy.excludes),
        "excludeCaches": policy.exclude_caches,
        "maxFileBytes": policy.max_file_bytes,
        "oneFileSystem": policy.one_file_system,
        "schedule": format_schedule(policy.schedule),
        "retention": format_retention(policy.retention),
        "initial": policy.initial.value,
        "order": policy.order,
        "device": policy.device,
        "gapCover": policy.gap_cover,
        "source": policy.source.value,
        "before": policy.commands.before,
        "after": policy.commands.after,
        "commandLimitSeconds": policy.commands.limit_seconds,
        "compression": policy.compression.value,
        "parityPercent": policy.parity_percent,
        "service": None if policy.service is None else _endpoint_to_json(policy.service),
    }


def policy_from_json(body: dict[str, Any]) -> Policy:
    """Return the policy that `policy_to_json` wrote.

    What an earlier Wain did not know of is as it was then; but one from before there was parity has the usual amount.
    """
    commands = (
        Commands(body["before"], body["after"], body["commandLimitSeconds"])
        if "commandLimitSeconds" in body
        else NO_COMMANDS
    )
    return Policy(
        includes=tuple(os.fsencode(path) for path in body["includes"]),
        excludes=tuple(body["excludes"]),
        exclude_caches=body["excludeCaches"],
        max_file_bytes=body["maxFileBytes"],
        one_file_system=body["oneFileSystem"],
        schedule=parse_schedule(body["schedule"]),
        retention=parse_retention(body["retention"]),
        initial=InitialBackup(body["initial"]),
        order=body["order"],
        device=body["device"],
        gap_cover=body["gapCover"],
        source=SourceMode(body.get("source", SourceMode.LIVE.value)),
        commands=commands,
        compression=Compression(body.get("compression", Compression.DEFAULT.value)),
        parity_percent=body.get("parityPercent", PARITY_PERCENT),
        service=None if body.get("service") is None else _endpoint_from_json(body["service"]),
    )


def _endpoint_to_json(one: Endpoint) -> dict[str, Any]:
    return {"url": one.url, "subscription": one.subscription, "resourceGroup": one.group, "caFile": one.ca_file}


def _endpoint_from_json(body: dict[str, Any]) -> Endpoint:
    return Endpoint(*(str(body[name]) for name in ("url", "subscription", "resourceGroup", "caFile")))


def job_to_json(job: Job) -> dict[str, Any]:
    """Return a job as JSON."""
    return {
        "id": job.id,
        "kind": job.kind.value,
        "state": job.state.value,
        "startedAt": job.started_at.isoformat(),
        "endedAt": None if job.ended_at is None else job.ended_at.isoformat(),
        "message": job.message,
        "notes": list(job.notes),
        **{_camel(name): getattr(job, name) for name in _COUNTS},
        "point": None if job.point is None else job.point.hex(),
        "problems": [{"path": os.fsdecode(one.path), "reason": one.reason} for one in job.problems],
    }


def job_from_json(body: dict[str, Any]) -> Job:
    """Return the job that `job_to_json` wrote."""
    return Job(
        id=body["id"],
        kind=JobKind(body["kind"]),
        state=JobState(body["state"]),
        started_at=datetime.fromisoformat(body["startedAt"]),
        ended_at=None if body["endedAt"] is None else datetime.fromisoformat(body["endedAt"]),
        message=body["message"],
        notes=tuple(body.get("notes", ())),
        **{name: body[_camel(name)] for name in _COUNTS},
        point=None if body["point"] is None else PointId(bytes.fromhex(body["point"])),
        problems=tuple(Problem(os.fsencode(one["path"]), one["reason"]) for one in body["problems"]),
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
