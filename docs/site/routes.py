"""The reference of the HTTP interface, read from the gateway's OpenAPI description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docs.site.tables import table

from speechfleet.gateway.app import create_app
from speechfleet.settings import Settings


def routes() -> str:
    """A section for each route: its parameters, its body, its answers."""
    api = create_app(Settings.load(redis_url="redis://127.0.0.1:6379")).openapi()
    return "\n\n".join(
        _route(api, method, path, operation)
        for path, operations in api["paths"].items()
        for method, operation in operations.items()
    )


def _route(api: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"### {method.upper()} {path}"]
    if text := operation.get("description"):
        parts.append(text.replace("``", "`"))
    rows = [*_parameters(operation), *_body(api, operation)]
    if rows:
        parts.append(table(("name", "in", "type", "meaning"), rows))
    answers = [
        f"`{status}` {answer.get('description', '')}".strip()
        for status, answer in operation["responses"].items()
    ]
    parts.append("Answers: " + "; ".join(answers) + ".")
    return "\n\n".join(parts).replace("..", ".")


def _parameters(operation: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for parameter in operation.get("parameters", []):
        yield (
            f"`{parameter['name']}`",
            parameter["in"],
            _type(parameter.get("schema", {})),
            parameter.get("description", ""),
        )


def _body(
    api: dict[str, Any], operation: dict[str, Any]
) -> Iterator[tuple[str, str, str, str]]:  # fmt: skip
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = _resolved(api, content["schema"])
        for name, field in schema.get("properties", {}).items():
            required = name in schema.get("required", ())
            meaning = field.get("description", "")
            if not required and field.get("default") not in (None, ""):
                meaning = f"{meaning} Default: `{field['default']}`.".strip()
            yield f"`{name}`", "body, required" if required else "body", _type(field), meaning


def _resolved(api: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rpartition("/")[2]
    found: dict[str, Any] = api["components"]["schemas"][name]
    return found


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        kinds = [_type(kind) for kind in schema["anyOf"] if kind.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "JSON value"))
