// The documentation of the API, made from its OpenAPI document.
import { byId, el } from "./dom.js";

const api = await (await fetch("/openapi.json")).json();
const secured = Boolean(api.security);

byId("about").append(...marked(api.info.description));
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) byId("operations").append(describe(path, method, operation));
}

function describe(path, method, operation) {
  const name = `${method.toUpperCase()} ${path}`;
  const section = el("section", { class: "panel", "aria-label": name }, el("h2", {}, el("code", {}, name)));
  section.append(el("p", {}, ...marked(operation.description ?? operation.summary ?? "")));
  const rows = (operation.parameters ?? []).map((parameter) => [parameter.name, `${parameter.required ? "required " : ""}${parameter.in}`, type(parameter.schema), parameter.description ?? ""]);
  if (rows.length) section.append(table("Parameters", ["Name", "Place", "Type", "Meaning"], rows));
  const body = operation.requestBody;
  if (body) {
    const types = Object.entries(body.content).map(([kind, { schema }]) => [kind, kind.includes("json") ? type(schema) : "a file"]);
    section.append(table("Request body", ["Content-Type", "Content"], types));
    if (body.description) section.append(el("p", {}, ...marked(body.description)));
  }
  const responses = Object.entries(operation.responses).map(([status, { description, content }]) => {
    const [kind, media] = Object.entries(content ?? {})[0] ?? ["", {}];
    return [status, description, kind, type(media.schema)];
  });
  const parts = el("details", {}, el("summary", {}, "Responses"), table("", ["Status", "Meaning", "Content-Type", "Content"], responses));
  section.append(parts, el("p", {}, el("code", {}, command(path, method, operation))));
  if (method === "get" && !path.includes("{") && !rows.some(([, place]) => place.startsWith("required"))) {
    section.append(el("p", {}, el("a", { href: path }, "Open")));
  }
  return section;
}

/** A schema in words: the fields of an object, or a type. */
function type(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return api.components.schemas[name].properties ? `${name}: ${fields(api.components.schemas[name])}` : name;
  }
  if (schema.anyOf) return schema.anyOf.map(type).join(" or ");
  if (schema.properties) return fields(schema);
  if (schema.type === "array") return `list of ${type(schema.items).split(":")[0]}`;
  if (schema.enum) return schema.enum.join(" or ");
  const range = [schema.minimum, schema.maximum].some((limit) => limit !== undefined);
  return `${schema.format ?? schema.type ?? ""}${range ? `, ${schema.minimum ?? ""} to ${schema.maximum ?? ""}` : ""}`;
}

function fields({ properties }) {
  return Object.keys(properties).join(", ");
}

function command(path, method, { requestBody }) {
  const form = requestBody?.content["multipart/form-data"];
  const known = Object.entries(requestBody?.content["application/json"]?.schema.properties ?? {});
  const values = known.map(([name, { examples }]) => [name, examples?.[0]]).filter(([, value]) => value != null);
  const json = values.length ? ` -H 'Content-Type: application/json' -d '${JSON.stringify(Object.fromEntries(values))}'` : "";
  const sent = form ? " -F file=@photo.jpg" : json;
  const token = secured ? ' -H "Authorization: Bearer $PVLR_TOKEN"' : "";
  return `curl${form || method === "get" ? "" : ` -X ${method.toUpperCase()}`}${token}${sent} '${location.origin}${path}'`;
}

function table(title, names, rows) {
  const head = el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, ...marked(cell)))));
  const made = el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
  if (title) made.prepend(el("caption", {}, title));
  return el("div", { class: "wide", tabindex: 0, role: "group", "aria-label": title || "Responses" }, made);
}

/** Text with `code` in backquotes. */
function marked(text) {
  return text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}
