"""The OpenAPI document of the Data Box routes, made from the routes themselves so that it never says something else."""

import re
from collections.abc import Sequence
from typing import Any, Final

from starlette.routing import Route

from wain import __version__
from wain.wire.arm_errors import STATUS, Code
from wain.wire.arm_paths import API_VERSIONS

_PARAMETER: Final = re.compile(r"{(\w+)}")
_WITH_BODY: Final = frozenset({"PUT", "PATCH", "POST"})
_BODILESS: Final = "listCredentials"


def document(routes: Sequence[Route], url: str) -> dict[str, Any]:
    """Return the document. Schemas of orders are Azure's own (`Microsoft.DataBox`, JobResource)."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in sorted((route.methods or set()) - {"HEAD"}):
            paths.setdefault(route.path, {})[method.lower()] = _operation(route.path, method)
    error = {"type": "object", "properties": {"code": {"enum": [code.value for code in Code]}, "message": {}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Wain: Microsoft.DataBox", "version": __version__},
        "servers": [{"url": url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": {"Error": {"type": "object", "properties": {"error": error}}},
        },
    }


def _operation(path: str, method: str) -> dict[str, Any]:
    names = _PARAMETER.findall(path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    versions = {"type": "string", "enum": list(API_VERSIONS)}
    parameters.append({"name": "api-version", "in": "query", "required": True, "schema": versions})
    refusal = {"description": "A refusal", "content": {"application/json": {"schema": _ERROR}}}
    statuses = sorted({*STATUS.values(), 400})
    shown: dict[str, Any] = {
        "parameters": parameters,
        "responses": {"2XX": {"description": "Done"}, **{str(status): refusal for status in statuses}},
    }
    if method in _WITH_BODY and not path.endswith(_BODILESS):
        shown["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True}
    return shown


_ERROR: Final = {"$ref": "#/components/schemas/Error"}
