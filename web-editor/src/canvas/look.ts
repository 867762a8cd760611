/** Colours: of categories for nodes, of port types for wires. CSS variables, so that themes change them. */

/** In the order of the palette; what packages add comes behind, by name. */
export const CATEGORIES = [..."common function sequence parser network storage iot vision ai".split(" "), "subflow"];
const TYPES = new Set(["any", "bool", "number", "text", "bytes", "time", "list", "map", "frame", "tensor", "model"]);

export const categoryColour = (category: string) => `var(--cat-${CATEGORIES.includes(category) ? category : "other"})`;

export function typeColour(type: string) {
  const base = type.split(/[[:]/)[0] ?? "any";
  return `var(--type-${TYPES.has(base) ? base : "any"})`;
}
