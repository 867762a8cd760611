/** Validation for the form library by `@cfworker/json-schema`, which interprets: compiling is what the page's policy forbids. */

import { Validator, type OutputUnit } from "@cfworker/json-schema";
import { toErrorSchema, type RJSFValidationError, type ValidatorType } from "@rjsf/utils";
import type { Schema } from "../api/types";
import { isSetAside } from "../model/forms";

const VAGUE = new Set(["properties", "items", "anyOf", "oneOf", "allOf", "$ref", "additionalProperties"]);

function check(schema: Schema, data: unknown, root?: Schema): OutputUnit[] {
  const whole = root && root !== schema ? { ...schema, $defs: { ...root.$defs, ...schema.$defs } } : schema;
  const found = new Validator(whole as any, "2020-12", false).validate(data as any);
  return found.valid ? [] : found.errors;
}

/** Of "these fields or nothing", that it is not nothing: what is wrong is said by the others. */
const isOfNothing = (unit: OutputUnit) => unit.keyword === "type" && /Expected "null"/.test(unit.error);

function asError(unit: OutputUnit): RJSFValidationError {
  const path = unit.instanceLocation.replace(/^#\/?/, "").split("/").filter(Boolean);
  const message = unit.error.replace(/^Instance /, "").replace(/\.$/, "");
  return {
    name: unit.keyword,
    message,
    property: path.length ? `.${path.join(".")}` : ".",
    stack: `${path.join(".")}: ${message}`,
    schemaPath: unit.keywordLocation,
  };
}

export const validator: ValidatorType<any, any, any> = {
  validateFormData(data, schema) {
    const errors = check(schema, data)
      .filter((unit) => !VAGUE.has(unit.keyword) && !isOfNothing(unit) && !isSetAside(data, unit.instanceLocation))
      .map(asError);
    return { errors, errorSchema: toErrorSchema(errors) };
  },
  isValid: (schema, data, root) => {
    try {
      return check(schema, data, root).length === 0;
    } catch {
      return false;
    }
  },
  rawValidation: (schema, data) => ({ errors: check(schema, data) as any[] }),
};

export default validator;
