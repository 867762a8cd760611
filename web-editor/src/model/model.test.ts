/** The model: what the editor decides, without a browser. */

import { describe, expect, test } from "vitest";
import type { FlowDoc, NodeType } from "../api/types";
import cases from "./fits.cases.json";
import { clip, paste } from "./clip";
import { addWire, dirty, freeId, problemsByNode, removeAndJoin, renameNode, splice } from "./flow";
import { formSchema, isSetAside, uiSchema, words, worthKeeping } from "./forms";
import { nodeMark, wireHealth, wireNow } from "./health";
import { difference, merge } from "./merge";
import { fits, portsOf } from "./ports";
import { fitness, search } from "./search";

const type = (name: string, inputs: string[], outputs: string[], more: Partial<NodeType> = {}): NodeType => ({
  type: name,
  title: name,
  category: "core",
  icon: "",
  doc: "",
  inputs: inputs.map((one) => ({ name: one.split(":")[0]!, type: one.split(":")[1] ?? "any", description: "" })),
  outputs: outputs.map((one) => ({ name: one.split(":")[0]!, type: one.split(":")[1] ?? "any", description: "" })),
  config_schema: { properties: {} },
  missing: null,
  is_source: false,
  virtual: null,
  outputs_from: null,
  inputs_from: null,
  follows: "",
  outside: false,
  live_config: false,
  distribution: "",
  ...more,
});

const types: Record<string, NodeType> = {
  "t/src": type("t/src", [], ["out"]),
  "t/num": type("t/num", ["value:number"], ["out:number"]),
  "t/map": type("t/map", ["in"], ["out:map"]),
  "t/many": type("t/many", ["in"], [], { outputs_from: "rules" }),
};

const line = (): FlowDoc => ({
  flowcore: 1,
  id: "line",
  nodes: [
    { id: "a", type: "t/src", ui: { x: 0, y: 0 } },
    { id: "b", type: "t/num", ui: { x: 200, y: 0 } },
    { id: "c", type: "t/map", ui: { x: 400, y: 0 } },
  ],
  wires: [
    { from: "a.out", to: "b.value" },
    { from: "b.out", to: "c.in", window: 7 },
  ],
});

describe("ports", () => {
  test("the table of types is that of the runtime", () => {
    const found = cases.names.flatMap((a) => cases.names.filter((b) => fits(a, b)).map((b) => `${a} > ${b}`));
    expect(found).toEqual(cases.fit);
  });

  test("outputs follow the config", () => {
    const ports = (config: any) =>
      portsOf({ id: "n", type: "t/many", config }, types, line()).outputs.map((one) => one.name);
    expect(ports({ rules: [{}, {}] })).toEqual(["out1", "out2"]);
    expect(ports({ rules: ["hot", "cold"] })).toEqual(["hot", "cold"]);
    expect(ports({ rules: 3 })).toEqual(["out1", "out2", "out3"]);
  });

  test("a type that is not there keeps the ports that its wires name", () => {
    const flow = { ...line(), nodes: [{ id: "b", type: "gone/node" }] };
    const ports = portsOf(flow.nodes[0]!, types, flow);
    expect([ports.inputs[0]!.name, ports.outputs[0]!.name]).toEqual(["value", "out"]);
  });
});

describe("changes of a flow", () => {
  test("a node that goes joins its neighbours where they fit, and keeps how the wire delivers", () => {
    expect(removeAndJoin(line(), "b", types).wires).toEqual([{ from: "a.out", to: "c.in", window: 7 }]);
  });

  test("a node is put into a wire only where it fits", () => {
    const flow = { ...line(), nodes: [...line().nodes!, { id: "d", type: "t/num" }, { id: "e", type: "t/map" }] };
    expect(splice(flow, "d", "b.out>c.in", types)!.wires).toContainEqual({ from: "b.out", to: "d.value", window: 7 });
    expect(splice(flow, "e", "a.out>b.value", types)).toBeNull();
  });

  test("another id is written into every wire", () => {
    expect(renameNode(line(), "b", "x").wires!.map((one) => one.from + one.to)).toEqual(["a.outx.value", "x.outc.in"]);
  });

  test("what is pasted gets free ids and brings the wires between", () => {
    const [next, ids] = paste(line(), clip(line(), new Set(["b", "c"])), { x: 300, y: 300 });
    expect([...ids]).toEqual(["b-2", "c-2"]);
    expect(next.wires).toContainEqual({ from: "b-2.out", to: "c-2.in", window: 7 });
    expect(next.nodes!.at(-1)!.ui).toEqual({ x: 500, y: 300 });
  });

  test("ids are made of names", () => {
    expect(freeId(line(), "Heizung Süd 1")).toBe("heizung-s-d-1");
    expect(freeId(line(), "a")).toBe("a-2");
  });

  test("another place is no change of the node, and still something to save", () => {
    const moved = { ...line(), nodes: line().nodes!.map((node) => ({ ...node, ui: { x: 9, y: 9 } })) };
    expect(dirty(moved, line())).toEqual({ any: true, nodes: new Set() });
    expect(dirty(line(), line()).any).toBe(false);
    expect(addWire(line(), { from: "a.out", to: "b.value" }).wires).toHaveLength(2);
  });

  test("problems find their node", () => {
    const found = problemsByNode(
      ["<document>:3 /nodes/1/config/band: must be greater than 0", "x:1 /wires/1/to: no port"],
      line(),
    );
    expect(found).toEqual({ b: ["must be greater than 0", "no port"] });
  });
});

describe("two at once", () => {
  test("changes of different nodes are put together", () => {
    const mine = { ...line(), nodes: line().nodes!.filter((node) => node.id !== "c"), wires: [line().wires![0]!] };
    const theirs = { ...line(), name: "Theirs", nodes: [...line().nodes!, { id: "d", type: "t/map" }] };
    const { flow, conflicts } = merge(line(), mine, theirs);
    expect(flow.nodes!.map((node) => node.id)).toEqual(["a", "b", "d"]);
    expect([flow.name, conflicts]).toEqual(["Theirs", []]);
  });

  test("what both changed is named, and mine is taken", () => {
    const change = (name: string) => ({
      ...line(),
      nodes: line().nodes!.map((node) => (node.id === "a" ? { ...node, name } : node)),
    });
    const { flow, conflicts } = merge(line(), change("mine"), change("theirs"));
    expect([flow.nodes![0]!.name, conflicts]).toEqual(["mine", ["a"]]);
  });

  test("what somebody changed is not lost because I removed it", () => {
    const mine = { ...line(), nodes: line().nodes!.slice(1), wires: [] };
    const theirs = {
      ...line(),
      nodes: line().nodes!.map((node) => (node.id === "a" ? { ...node, name: "new" } : node)),
    };
    const { flow, conflicts } = merge(line(), mine, theirs);
    expect(flow.nodes!.some((node) => node.name === "new")).toBe(true);
    expect(conflicts).toContain("a");
  });

  test("the difference leaves places out", () => {
    const moved = { ...line(), nodes: line().nodes!.map((node) => ({ ...node, ui: { x: 1, y: 1 } })) };
    const found = difference(line(), moved);
    expect([found.added.size, found.removed.size, found.changed.size]).toEqual([0, 0, 0]);
  });
});

describe("forms", () => {
  test("a field that may be null is a field that may be empty", () => {
    const schema = formSchema({
      properties: {
        at: { anyOf: [{ type: "number", minimum: 0 }, { type: "null" }], default: null, title: "After S" },
      },
    });
    expect(schema.properties.at).toEqual({ type: "number", minimum: 0, title: "After, seconds", nullable: true });
  });

  test("dynamic, secret and untyped fields get typed values", () => {
    const schema = {
      type: "object",
      properties: { a: { dynamic: true, type: "number" }, b: {}, c: { type: "string", widget: "code" } },
    };
    const ui = uiSchema(schema, schema, {});
    expect([ui.a["ui:field"], ui.b["ui:field"], ui.c["ui:widget"]]).toEqual(["typed", "typed", "code"]);
    expect(uiSchema({ type: "number" }, {}, { $env: "LIMIT" })["ui:field"]).toBe("typed");
  });

  test("defaults are not written into the file", () => {
    const schema = { properties: { a: { default: 1 }, b: { default: 2 } } };
    expect(worthKeeping({ a: 1, b: 2 }, schema, { b: 2 })).toEqual({ b: 2 });
  });

  test("references are not judged by the schema", () => {
    expect(isSetAside({ above: { $message: "payload.t" } }, "#/above")).toBe(true);
    expect(isSetAside({ above: "${LIMIT}" }, "#/above")).toBe(true);
    expect(isSetAside({ above: "x" }, "#/above")).toBe(false);
    expect(words("Pattern Limit S")).toBe("Pattern limit, seconds");
  });
});

describe("what runs", () => {
  const out = {
    wire: "",
    delivery: "reliable",
    window: 100,
    unacked: 60,
    drops: 0,
    age_s: 2,
    blocked: false,
    trouble: "",
  };

  test("a wire fills, is full, loses", () => {
    expect(wireHealth(undefined)).toBe("idle");
    expect(wireHealth(wireNow(out, undefined, undefined, 0))).toBe("filling");
    expect(wireHealth(wireNow({ ...out, blocked: true }, undefined, undefined, 0))).toBe("full");
    expect(wireHealth(wireNow({ ...out, drops: 3 }, undefined, undefined, 0))).toBe("losing");
  });

  test("the rate is counted between two looks", () => {
    const into = { wire: "", queued: 0, taken: 150, drops: 0, age_s: 0 };
    expect(wireNow(undefined, into, { taken: 50, atMs: 0 }, 2000).rateHz).toBe(50);
  });

  test("of several processes the worst state counts", () => {
    const states = (...all: string[]) =>
      all.map((state, k) => ({ node: "n", process: `n#${k}`, state, pid: 1, restarts: 0, reason: "" }));
    expect(nodeMark(states("running", "failed"))).toBe("failed");
    expect(nodeMark([])).toBe("none");
  });
});

describe("search", () => {
  test("over every property, and what has no wire", () => {
    const flow = { ...line(), nodes: [...line().nodes!, { id: "z", type: "t/map", config: { path: "payload.temp" } }] };
    const found = (query: string) => search([flow], query, (_, node) => node === "b").map((hit) => hit.node);
    expect([found("temp"), found("is:unused"), found("type:t/map"), found("is:invalid")]).toEqual([
      ["z"],
      ["z"],
      ["c", "z"],
      ["b"],
    ]);
  });

  test("what begins with the letters comes first", () => {
    expect(fitness("Threshold", "thr")).toBeGreaterThan(fitness("core/threshold", "thr"));
    expect(fitness("Switch", "xyz")).toBe(0);
  });
});
