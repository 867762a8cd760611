/** Colours: of categories for nodes, of port types for wires. CSS variables, so that themes change them. */

const CATEGORIES = new Set(["core", "iot", "vision", "ai", "subflow"]);
const TYPES = new Set(["any", "bool", "number", "text", "bytes", "time", "list", "map", "frame", "tensor", "model"]);

export const categoryColour = (category: string) => `var(--cat-${CATEGORIES.has(category) ? category : "other"})`;

export function typeColour(type: string) {
  const base = type.split(/[[:]/)[0] ?? "any";
  return `var(--type-${TYPES.has(base) ? base : "any"})`;
}
