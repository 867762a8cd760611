/** Parameters of a subflow: the schema of an instance's form, and what is wrong with them. */

import type { FlowDoc, Json, Schema, SubflowDef } from "../api/types";

export const KINDS = {
  any: "anything",
  text: "text",
  number: "number",
  bool: "yes or no",
  select: "one of a list",
  list: "list",
  map: "map",
  env: "name of a value of the environment",
  secret: "secret",
  resource: "shared settings",
} as const;
export type Kind = keyof typeof KINDS;

export interface Param {
  type?: Kind;
  title?: string;
  description?: string;
  default?: Json;
  options?: (Json | { value: Json; label?: string })[];
  min?: number;
  max?: number;
  of?: string;
}

export const paramsOf = (subflow: SubflowDef | undefined) => (subflow?.params ?? {}) as Record<string, Param>;

const PLAIN: Partial<Record<Kind, Schema>> = {
  text: { type: "string" },
  number: { type: "number" },
  bool: { type: "boolean" },
  list: { type: "array", items: {} },
  map: { type: "object" },
  env: { type: "string" },
  secret: { type: "string", secret: true },
};

interface Choice {
  value: Json;
  label: string;
}

export function choicesOf(param: Param): Choice[] {
  return (param.options ?? []).map((one) => {
    const isPair = !!one && typeof one === "object" && !Array.isArray(one) && "value" in one;
    const value = isPair ? (one as { value: Json }).value : (one as Json);
    const label =
      (isPair && (one as { label?: string }).label) || (typeof value === "string" ? value : JSON.stringify(value));
    return { value, label };
  });
}

/** The schema of an instance's config, for its form. */
export function paramSchema(subflow: SubflowDef | undefined, flow: FlowDoc): Schema {
  const params = Object.entries(paramsOf(subflow));
  const properties = params.map(([name, param]): [string, Schema] => {
    const schema: Schema = { ...PLAIN[param.type ?? "any"], title: param.title || name, as_is: true };
    if (param.description) schema.description = param.description;
    if (param.default !== undefined && param.default !== null) schema.default = param.default;
    if (param.type === "number") {
      if (param.min != null) schema.minimum = param.min;
      if (param.max != null) schema.maximum = param.max;
    }
    if (param.type === "select") {
      const choices = choicesOf(param);
      const kinds = [...new Set(choices.map(({ value }) => (value === null ? "null" : typeof value)))];
      schema.type = kinds.length === 1 ? kinds[0] : kinds;
      schema.oneOf = choices.map(({ value, label }) => ({ const: value, title: label, as_is: true }));
    }
    if (param.type === "resource") {
      const fitting = Object.entries(flow.resources ?? {}).filter(([, one]) => !param.of || one.type === param.of);
      if (fitting.length) schema.enum = fitting.map(([id]) => id);
      schema.type = "string";
    }
    return [name, schema];
  });
  const required = params.filter(([, param]) => !("default" in param)).map(([name]) => name);
  return { type: "object", properties: Object.fromEntries(properties), required };
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** What is wrong with a parameter, as the runtime would say it; "" when nothing is. */
export function wrongParam(name: string, param: Param, names: string[]): string {
  if (!NAME.test(name)) return "a name is letters, digits and '_', not beginning with a digit";
  if (names.filter((one) => one === name).length > 1) return "another parameter has this name";
  if (param.type === "select" && !param.options?.length) return "give the values to choose from";
  if (param.min != null && param.max != null && param.min > param.max) return "the smallest is above the largest";
  const { default: value } = param;
  if (value === undefined || value === null) return "";
  if (param.type === "number" && typeof value !== "number") return "the default must be a number";
  if (param.type === "number" && param.min != null && (value as number) < param.min) return "the default is too small";
  if (param.type === "number" && param.max != null && (value as number) > param.max) return "the default is too large";
  if (param.type === "select" && !choicesOf(param).some((one) => JSON.stringify(one.value) === JSON.stringify(value)))
    return "the default is none of the values";
  return "";
}
