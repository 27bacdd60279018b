// The API page, drawn from the server's own OpenAPI schema.

const schema = await (await fetch("/openapi.json")).json();
const make = (tag, text, parent) => {
  const node = document.createElement(tag);
  node.textContent = text;
  parent.append(node);
  return node;
};
const named = (reference) => schema.components.schemas[reference.split("/").pop()];
const kind = (field) => {
  if (field.$ref) return field.$ref.split("/").pop();
  if (field.anyOf || field.oneOf) return (field.anyOf ?? field.oneOf).map(kind).join(" | ");
  if (field.type === "array") return `[${kind(field.items ?? {})}]`;
  if (field.const !== undefined) return JSON.stringify(field.const);
  return field.enum ? field.enum.map((value) => JSON.stringify(value)).join(" | ") : field.type ?? "any";
};

for (const [path, operations] of Object.entries(schema.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    const section = document.createElement("section");
    section.className = "card";
    make("h2", `${method.toUpperCase()} ${path}`, section);
    make("p", operation.description ?? "", section);
    for (const [type, content] of Object.entries(operation.requestBody?.content ?? {})) {
      make("p", type, section).className = "hint";
      const list = section.appendChild(document.createElement("ul"));
      const body = content.schema.$ref ? named(content.schema.$ref) : content.schema;
      for (const [name, field] of Object.entries(body.properties ?? {})) {
        const wanted = body.required?.includes(name) ? ", required" : "";
        make("li", `${name}: ${kind(field)}${wanted}${field.description ? `. ${field.description}` : ""}`, list);
      }
    }
    document.getElementById("routes").append(section);
  }
}
