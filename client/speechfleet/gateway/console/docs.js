// The documentation of the HTTP API, from the gateway's OpenAPI document.

import { el } from "./dom.js";

const main = document.getElementById("main");

async function load() {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`The gateway answered ${response.status}.`);
  return response.json();
}

function operations({ paths }) {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })));
}

/** Return the name of a type: the last part of a reference, "a or b" for a choice. */
function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).filter((name) => name !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  return schema.type ?? "any";
}

function fields(rows) {
  return el(
    "table", {},
    el("tbody", {}, ...rows.map(({ name, required, schema, description }) => el(
      "tr", {},
      el("th", { scope: "row" }, name, required ? " *" : ""),
      el("td", {}, typeOf(schema)),
      el("td", { class: "wrap" }, description ?? schema?.description ?? ""),
    ))),
  );
}

/** Return the fields of the JSON body, [] where there is none. */
function bodyOf(operation, { components }) {
  const name = operation.requestBody?.content["application/json"]?.schema?.$ref?.split("/").pop();
  if (!name) return [];
  const { properties, required = [] } = components.schemas[name];
  return Object.entries(properties).map(([field, schema]) => ({
    name: field, schema, required: required.includes(field),
  }));
}

function section(operation, document) {
  const rows = [...(operation.parameters ?? []), ...bodyOf(operation, document)];
  return el(
    "section", { class: "operation" },
    el("h2", {}, el("b", {}, operation.method.toUpperCase()), ` ${operation.path}`),
    el("p", {}, operation.description ?? operation.summary ?? ""),
    rows.length ? el("div", { class: "scroll" }, fields(rows)) : "",
  );
}

try {
  const document = await load();
  main.append(
    el("h1", {}, "HTTP API"),
    el("p", {}, document.info.description, " Errors have OpenAI's form."),
    ...operations(document).map((operation) => section(operation, document)),
  );
} catch (error) {
  main.append(el("p", { class: "failure", role: "alert" }, error.message));
}
