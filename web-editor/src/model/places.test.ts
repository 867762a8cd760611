import { describe, expect, it } from "vitest";
import type { FlowDoc } from "../api/types";
import { placeOf } from "./flow";
import { placed } from "./places";

const flow = (nodes: FlowDoc["nodes"], wires: [string, string][]): FlowDoc => ({
  flowcore: 1,
  id: "f",
  nodes,
  wires: wires.map(([from, to]) => ({ from: `${from}.out`, to: `${to}.in` })),
});
const at = (doc: FlowDoc) => Object.fromEntries(doc.nodes!.map((node) => [node.id, placeOf(node)]));
const some = (...ids: string[]) => ids.map((id) => ({ id, type: "core/debug" }));

describe("nodes without a place", () => {
  it("stand from left to right along the wires, none on another", () => {
    const found = at(
      placed(flow(some("d", "a", "b", "c"), [["a", "b"], ["a", "c"], ["b", "d"], ["c", "d"]])), // prettier-ignore
    );
    expect([found.a!.x, found.b!.x, found.c!.x, found.d!.x]).toEqual([60, 300, 300, 540]);
    expect(found.c!.y - found.b!.y).toBeGreaterThan(50);
  });
  it("stand somewhere also in a loop", () => {
    const found = at(placed(flow(some("a", "b"), [["a", "b"], ["b", "a"]]))); // prettier-ignore
    expect(new Set(Object.values(found).map(({ x, y }) => `${x} ${y}`)).size).toBe(2);
  });
  it("stand below those that have one, which stay", () => {
    const doc = flow([...some("a"), { id: "b", type: "core/debug", ui: { x: 10, y: 400 } }], []);
    expect(at(placed(doc))).toEqual({ a: { x: 60, y: 480 }, b: { x: 10, y: 400 } });
  });
  it("a flow in which all have one is the same flow", () => {
    const doc = flow([{ id: "b", type: "core/debug", ui: { x: 10, y: 400 } }], []);
    expect(placed(doc)).toBe(doc);
  });
  it("so do those of a template", () => {
    const doc = { ...flow([], []), subflows: { s: { nodes: some("a", "b") } } } as FlowDoc;
    const [a, b] = placed(doc).subflows!.s!.nodes!;
    expect(placeOf(a!)).not.toEqual(placeOf(b!));
  });
});
