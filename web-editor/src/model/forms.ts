/** From a node's schema to its form: which field shows what, and what of it goes back into the flow file. */

import type { Json, Schema } from "../api/types";

export const REFERENCES = ["$message", "$env", "$flow", "$global", "$secret"] as const;
export type ReferenceKind = (typeof REFERENCES)[number];

export function isReference(value: unknown): value is Record<string, Json> {
  return (
    !!value &&
    typeof value === "object" &&
    !Array.isArray(value) &&
    Object.keys(value).some((key) => key.startsWith("$"))
  );
}

const isTemplate = (value: unknown) => typeof value === "string" && value.includes("${");

/** `X or null` as an X that may be left out: a form needs no choice between the two. */
function withoutNull(schema: Schema, root: Schema): Schema {
  const choices = schema.anyOf as Schema[] | undefined;
  if (!choices?.some((one) => one.type === "null")) return schema;
  const others = choices.filter((one) => one.type !== "null");
  if (others.length !== 1) return schema;
  if (resolve(others[0]!, root).properties) return { ...schema, nullable: true }; // else the form would fill it in
  const { anyOf: _, default: otherwise, ...rest } = schema;
  return {
    ...others[0],
    ...rest,
    ...(otherwise === null || otherwise === undefined ? {} : { default: otherwise }),
    nullable: true,
  };
}

/** A field that has no title is called by its name. */
const titled = (name: string, schema: Schema, key: string): Schema =>
  key !== "properties" || schema.title ? schema : { ...schema, title: name };

/** The schema as the form takes it. */
export function formSchema(schema: Schema, root: Schema = schema): Schema {
  if (Array.isArray(schema)) return schema.map((one) => formSchema(one, root)) as unknown as Schema;
  if (!schema || typeof schema !== "object") return schema;
  const plain = withoutNull(schema, root);
  const next: Schema = {};
  for (const [key, value] of Object.entries(plain)) {
    if (key === "properties" || key === "$defs") {
      next[key] = Object.fromEntries(
        Object.entries(value as Schema)
          .filter(([, one]) => (one as Schema).widget !== "hidden") // deploying fills it in
          .map(([name, one]) => [name, formSchema(titled(name, one as Schema, key), root)]),
      );
    } else if (key === "items" || key === "anyOf" || key === "oneOf") next[key] = formSchema(value as Schema, root);
    else next[key] = value;
  }
  if (next.title && next.properties === undefined && !next.as_is) next.title = words(String(next.title));
  return next;
}

const UNITS: Record<string, string> = {
  s: "seconds",
  ms: "milliseconds",
  h: "hours",
  hz: "a second",
  mb: "MB",
  bytes: "bytes",
  m: "metres",
  c: "°C",
};

/** "Pattern Limit S" is "Pattern limit, seconds": the unit is in a field's name. */
export function words(title: string): string {
  const parts = title.split(/[\s_]+/);
  const unit = parts.length > 1 ? UNITS[parts.at(-1)!.toLowerCase()] : undefined;
  const name = (unit ? parts.slice(0, -1) : parts).join(" ").toLowerCase();
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}${unit ? `, ${unit}` : ""}`;
}

/** How fields are shown: typed values for dynamic ones, code, secrets, JSON for what no form field can hold. */
export function uiSchema(schema: Schema, root: Schema, value: unknown): Schema {
  const at = resolve(schema, root);
  if (isReference(value) && !("$use" in value && at.properties)) return TYPED;
  if (at.secret) return TYPED;
  if (at.widget === "code") return { "ui:widget": "code", "ui:options": { language: at.language ?? "python" } };
  if (at.dynamic || isAny(at)) return TYPED;
  if ((at.oneOf as Schema[] | undefined)?.every((one) => "const" in one)) return {};
  if (at.anyOf || at.oneOf || isOpenMap(at)) return { "ui:field": "json", "ui:fieldReplacesAnyOrOneOf": true };
  if (isTemplate(value) && at.type !== "string") return TYPED;
  if (at.type === "object") {
    const values = (value ?? {}) as Record<string, unknown>;
    return Object.fromEntries(
      Object.entries((at.properties ?? {}) as Record<string, Schema>).map(([name, one]) => {
        const group = at === root && root.shares ? groupOf(one, root) : null;
        if (!group) return [name, uiSchema(one, root, values[name])];
        return [name, { ...uiSchema(group, root, null), "ui:field": "shared", "ui:fieldReplacesAnyOrOneOf": true }];
      }),
    );
  }
  if (at.type === "array") {
    const items = at.items ? resolve(at.items as Schema, root) : {};
    if (isAny(items) || items.anyOf) return { "ui:field": "json" };
    return { items: uiSchema(items, root, undefined) };
  }
  if (at.type === "string" && at.format === "markdown") return { "ui:widget": "textarea" };
  if (at.nullable) return { "ui:emptyValue": null };
  return {};
}

/** The fields of a setting that is a map of them, or nothing; null: it is something else. */
export function groupOf(schema: Schema, root: Schema): Schema | null {
  const at = resolve(schema, root);
  if (at.properties) return at;
  const others = ((at.anyOf ?? []) as Schema[]).filter((one) => one.type !== "null");
  const only = others.length === 1 ? resolve(others[0]!, root) : null;
  return only?.properties ? only : null;
}

const TYPED = { "ui:field": "typed", "ui:fieldReplacesAnyOrOneOf": true };

export function resolve(schema: Schema, root: Schema): Schema {
  const ref = schema.$ref as string | undefined;
  if (!ref) return schema;
  const found = ref
    .replace(/^#\//, "")
    .split("/")
    .reduce<Schema | undefined>((at, part) => at?.[part] as Schema | undefined, root);
  return found ? { ...resolve(found, root), ...schema, $ref: undefined } : {};
}

const isAny = (schema: Schema) =>
  !schema.type && !schema.enum && !schema.anyOf && !schema.oneOf && !schema.$ref && schema.const === undefined;

const isOpenMap = (schema: Schema) => schema.type === "object" && !schema.properties;

/** The same JSON, in whatever order its keys stand. */
export const alike = (a: unknown, b: unknown) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isMap(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}

const isMap = (value: unknown): value is Record<string, Json> =>
  !!value && typeof value === "object" && !Array.isArray(value);

/** What a form holds, without what it holds only because it is the default. */
export function worthKeeping(
  data: Record<string, Json>,
  schema: Schema,
  before: Record<string, Json>,
  root: Schema = schema,
): Record<string, Json> {
  const kept: Record<string, Json> = {};
  for (const [name, value] of Object.entries(data)) {
    if (value === undefined) continue;
    const own = resolve((schema.properties?.[name] ?? {}) as Schema, root);
    const otherwise = (schema.properties?.[name]?.default ?? own.default ?? null) as Json;
    const isAsItWas = alike(value, before[name]);
    if (isAsItWas) kept[name] = value;
    else if (own.properties && isMap(value)) {
      const was = isMap(before[name]) ? before[name] : {};
      const defaults = isMap(otherwise) ? otherwise : {};
      const properties = Object.fromEntries(
        Object.keys(value).map((key) => [
          key,
          { ...own.properties[key], default: defaults[key] ?? own.properties[key]?.default },
        ]),
      );
      const inner = worthKeeping(value, { properties }, was, root);
      if (name in before || Object.keys(inner).length) kept[name] = inner;
    } else if (name in before || !alike(value, otherwise)) kept[name] = value;
  }
  return kept;
}

/** Where a value of the form may be what the schema does not know: a reference, or `${NAME}` in a text. */
export function isSetAside(data: unknown, pointer: string): boolean {
  let at: any = data;
  if (isReference(at)) return true;
  for (const part of pointer
    .replace(/^#?\/?/, "")
    .split("/")
    .filter(Boolean)) {
    at = at?.[part.replace(/~1/g, "/").replace(/~0/g, "~")];
    if (isReference(at) || isTemplate(at)) return true;
  }
  return false;
}
