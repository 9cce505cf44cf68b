"""The Data Box service on ARM's wire (`Microsoft.DataBox`), for the official clients: Starlette routes over `jobs`.

Every request is authenticated first and allowed second; only then does it learn whether an order exists. Creating is a
long-running operation on the wire: the order is durable before the answer leaves, and the operation reads the catalog,
so a client that polls across a restart gets the same answer.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from wain.base.errors import RemoteError
from wain.databox.arm_inputs import skus_json, validation_json
from wain.databox.jobs import Jobs, Listing, Place
from wain.identity.http import NO_STORE, BodyTooLarge, BodyUnreadable, Call, endpoint
from wain.wire import arm_custody, arm_jobs
from wain.wire.arm_credentials import credentials_json
from wain.wire.arm_errors import ArmRefused, Code
from wain.wire.arm_paths import ETAG_CAP, PAGE, PROVIDER, check_version, group_scope, skip_token, skipped
from wain.wire.callers import Caller, Callers, Roles, Unauthenticated

BODY_CAP: Final = 256 * 1024
NAME_CAP: Final = 90
"""How long a subscription, resource group or order in a path may be (ARM: resource groups take 90)."""
_SUBSCRIPTION: Final = "/subscriptions/{subscription}"
_GROUP: Final = _SUBSCRIPTION + "/resourceGroups/{group}"
_JOBS: Final = f"/providers/{PROVIDER}/jobs"
_JOB: Final = _GROUP + _JOBS + "/{name}"
_LOCATION: Final = f"/providers/{PROVIDER}/locations/{{location}}"
_CREATE: Final = "create"
_CHALLENGE: Final = "WWW-Authenticate"
_LOG: Final = logging.getLogger("wain.databox")

Answer = Callable[["Asked"], Response]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be answered."""

    call: Call
    caller: Caller
    place: Place
    version: str

    def body(self) -> Mapping[str, Any]:
        """Return the JSON object that was sent.

        Raises:
            ArmRefused: there is none.
        """
        try:
            found = json.loads(self.call.body)
        except (ValueError, RecursionError):
            raise ArmRefused(Code.BODY, "the request content is no JSON") from None
        return arm_jobs.mapping(found, "the request content")


class ArmRoutes:
    """Answers the paths of `Microsoft.DataBox`. `base_url` is where clients reach the service."""

    def __init__(self, jobs: Jobs, callers: Callers, roles: Roles, base_url: str) -> None:
        self._jobs = jobs
        self._callers = callers
        self._roles = roles
        self._base = base_url.rstrip("/")

    def routes(self) -> list[Route]:
        """Return the routes, each with the action that the caller must be allowed."""
        table: tuple[tuple[str, str, str, Answer], ...] = (
            ("GET", _SUBSCRIPTION + _JOBS, "", self._list),
            ("GET", _GROUP + _JOBS, "jobs/read", self._list),
            ("GET", _JOB, "jobs/read", self._get),
            ("PUT", _JOB, "jobs/write", self._create),
            ("PATCH", _JOB, "jobs/write", self._update),
            ("DELETE", _JOB, "jobs/delete", self._delete),
            ("POST", _JOB + "/cancel", "jobs/cancel/action", self._cancel),
            ("POST", _JOB + "/listCredentials", "jobs/listCredentials/action", self._credentials),
            ("POST", _JOB + "/bookShipmentPickUp", "jobs/bookShipmentPickUp/action", self._book),
            ("POST", _JOB + "/markDevicesShipped", "jobs/markDevicesShipped/action", self._shipped),
            ("POST", _JOB + "/mitigate", "jobs/mitigate/action", self._mitigate),
            ("GET", _JOB + f"/{arm_jobs.LOGS}/{{log}}", "jobs/read", self._log),
            ("GET", f"{_JOB}/{arm_custody.PATH}", "jobs/read", self._chain),
            ("POST", f"{_JOB}/{arm_custody.PATH}", f"jobs/{arm_custody.PATH}/action", self._hand_in),
            ("POST", _GROUP + _LOCATION + "/availableSkus", "locations/availableSkus/action", self._skus),
            ("POST", _GROUP + _LOCATION + "/validateInputs", "locations/validateInputs/action", self._validate),
            ("POST", _SUBSCRIPTION + _LOCATION + "/validateInputs", "locations/validateInputs/action", self._validate),
            ("GET", _GROUP + _LOCATION + "/operationResults/{operation}", "jobs/read", self._operation),
        )
        return [
            Route(path, endpoint(self._guarded(action, answer), self._refusal, BODY_CAP), methods=[method])
            for method, path, action, answer in table
        ]

    def _guarded(self, action: str, answer: Answer) -> Callable[[Call], Response]:
        def run(call: Call) -> Response:
            caller = self._callers.caller(call.bearer)
            place = _place(call)
            if action and not self._roles.may(caller, f"{PROVIDER}/{action}", _scope(place)):
                raise _denied(caller, f"{PROVIDER}/{action}", _scope(place))
            return answer(Asked(call, caller, place, check_version(call.query)))

        return run

    def _list(self, asked: Asked) -> Response:
        """List a page of orders; in a subscription, those of the groups that the caller may read."""
        group = asked.place.group or None
        listing = Listing(asked.place.subscription, group, skipped(asked.call.query.get("$skipToken", "")), PAGE + 1)
        found = self._jobs.listed(listing)
        more, found = len(found) > PAGE, found[:PAGE]
        seen: dict[str, bool] = {}
        shown = [arm_jobs.job_json(job, details=False) for _, job in found if self._sees(asked, job, seen)]
        path = (_GROUP if group else _SUBSCRIPTION).format(subscription=asked.place.subscription, group=group)
        query = {"api-version": asked.version, "$skipToken": skip_token(found[-1][0]) if found else ""}
        return _json(arm_jobs.page_json(shown, f"{self._base}{path}{_JOBS}?{urlencode(query)}" if more else ""))

    def _sees(self, asked: Asked, job: arm_jobs.Job, seen: dict[str, bool]) -> bool:
        scope = group_scope(asked.place.subscription, job.order.resource_group)
        if scope not in seen:
            seen[scope] = self._roles.may(asked.caller, f"{PROVIDER}/jobs/read", scope)
        return seen[scope]

    def _get(self, asked: Asked) -> Response:
        wants = asked.call.query.get("$expand", "").lower() == "details"
        return self._job(self._jobs.one(asked.place), details=wants)

    def _job(self, job: arm_jobs.Job, *, details: bool) -> Response:
        return _json(arm_jobs.job_json(job, self._base, details=details), 200, {"ETag": job.etag})

    def _log(self, asked: Asked) -> Response:
        path = self._jobs.log(asked.place, asked.call.path["log"])
        return FileResponse(path, headers=NO_STORE, media_type="text/xml")

    def _chain(self, asked: Asked) -> Response:
        return _json(arm_custody.chain_json(self._jobs.chain(asked.place)))

    def _hand_in(self, asked: Asked) -> Response:
        who = f"{asked.caller.name} ({asked.caller.object_id})"
        self._jobs.hand_in(asked.place, arm_custody.handed_in(asked.body()), who)
        return _empty()

    def _create(self, asked: Asked) -> Response:
        wanted = arm_jobs.wanted(asked.body())
        job = self._jobs.create(asked.place, wanted)
        location = _LOCATION.format(location="global")
        operation = f"{_scope(asked.place)}{location}/operationResults/{_CREATE}-{asked.place.name}"
        url = f"{self._base}{operation}?{urlencode({'api-version': asked.version})}"
        headers = {"Azure-AsyncOperation": url, "Retry-After": "0"}
        return _json(arm_jobs.job_json(job, self._base, details=True), 202, headers)

    def _operation(self, asked: Asked) -> Response:
        verb, _, name = asked.call.path["operation"].partition("-")
        if verb != _CREATE:
            raise ArmRefused(Code.NOT_FOUND, "there is no such operation", "operation")
        self._jobs.one(Place(asked.place.subscription, asked.place.group, name))
        return _json({"id": asked.call.path["operation"], "name": asked.call.path["operation"], "status": "Succeeded"})

    def _update(self, asked: Asked) -> Response:
        etag = asked.call.headers.get("if-match", "")[: ETAG_CAP + 1]
        return self._job(self._jobs.update(asked.place, asked.body(), etag), details=True)

    def _delete(self, asked: Asked) -> Response:
        return _empty(200 if self._jobs.delete(asked.place) else 204)

    def _cancel(self, asked: Asked) -> Response:
        reason = asked.body().get("reason", "")
        self._jobs.cancel(asked.place, reason if isinstance(reason, str) else "")
        return _empty()

    def _credentials(self, asked: Asked) -> Response:
        job = self._jobs.one(asked.place)
        return _json(credentials_json(job, self._jobs.passkey(job)))

    def _book(self, asked: Asked) -> Response:
        body = asked.body()
        fact = {key: arm_jobs.text(body, key, "pickup") for key in ("startTime", "endTime", "shipmentLocation")}
        job = self._jobs.note_return(asked.place, "pickup", fact)
        return _json({"confirmationNumber": f"{job.order.name}-{job.version}", "readyByTime": fact["startTime"]})

    def _shipped(self, asked: Asked) -> Response:
        target = "deliverToDcPackageDetails"
        package = arm_jobs.mapping(asked.body().get(target), target)
        fact = {key: arm_jobs.text(package, key, target) for key in ("carrierName", "trackingId")}
        self._jobs.note_return(asked.place, "package", fact)
        return _empty()

    def _mitigate(self, asked: Asked) -> Response:
        self._jobs.mitigate(asked.place, str(asked.body().get("customerResolutionCode", "")))
        return _empty()

    def _skus(self, asked: Asked) -> Response:
        return _json(skus_json(self._jobs.skus(), asked.body(), asked.call.path["location"]))

    def _validate(self, asked: Asked) -> Response:
        return _json(validation_json(self._jobs, asked.body()))

    def _refusal(self, error: Exception, call: Call) -> Response:
        """Answer an error in ARM's form. What is none of ours is logged, and told to strangers as nothing more."""
        headers: dict[str, str] = {}
        match error:
            case ArmRefused():
                refused = error
            case Unauthenticated():
                refused = ArmRefused(Code.UNAUTHENTICATED, error.reason)
                headers[_CHALLENGE] = f'Bearer authorization_uri="{self._base}", error="invalid_token"'
            case BodyTooLarge():
                refused = ArmRefused(Code.TOO_LARGE, f"a request may hold {BODY_CAP} bytes")
            case BodyUnreadable():
                refused = ArmRefused(Code.BODY, str(error))
            case _:
                _LOG.error("request %s: %s", call.id, error, exc_info=error)
                later = isinstance(error, RemoteError)
                refused = ArmRefused(Code.LATER if later else Code.INTERNAL, f"request {call.id} failed")
        return _json(refused.body(), refused.status, {**headers, "x-ms-request-id": call.id})


def _place(call: Call) -> Place:
    parts = [call.path.get(key, "") for key in ("subscription", "group", "name")]
    if any(len(part) > NAME_CAP or not part.isprintable() for part in parts):
        raise ArmRefused(Code.NOT_FOUND, "no resource has such a name")
    return Place(*parts)


def _scope(place: Place) -> str:
    return group_scope(place.subscription, place.group) if place.group else f"/subscriptions/{place.subscription}"


def _denied(caller: Caller, action: str, scope: str) -> ArmRefused:
    who = f"the client '{caller.name}' with object id '{caller.object_id}'"
    reason = f"{who} does not have authorization to perform action '{action}' over scope '{scope}'"
    return ArmRefused(Code.FORBIDDEN, reason, hint="Ask an Owner for a role that allows it.")


def _json(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(dict(body), status, {**NO_STORE, **(headers or {})})


def _empty(status: int = 204) -> Response:
    return Response(status_code=status, headers=NO_STORE)
