/** What a flow's nodes have in common by name: shared settings, values of the environment, secrets. */

import type { FlowDoc, Json, NodeDef } from "../api/types";
import { nodesOf } from "./flow";

/** Calls `see` for every map and text in a value, at any depth. */
function walk(value: unknown, see: (value: Record<string, unknown> | string) => void) {
  if (typeof value === "string") see(value);
  else if (Array.isArray(value)) value.forEach((one) => walk(one, see));
  else if (value && typeof value === "object") {
    see(value as Record<string, unknown>);
    Object.values(value).forEach((one) => walk(one, see));
  }
}

/** Every node of a flow, those in subflows as `subflow:node`. */
function everyNode(flow: FlowDoc): [string, NodeDef][] {
  const inner = Object.entries(flow.subflows ?? {}).flatMap(([name, subflow]) =>
    (subflow.nodes ?? []).map((node): [string, NodeDef] => [`${name}:${node.id}`, node]),
  );
  return [...nodesOf(flow).map((node): [string, NodeDef] => [node.id, node]), ...inner];
}

function usersOf(flow: FlowDoc, key: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [id, node] of everyNode(flow))
    walk(node.config, (value) => {
      const name = typeof value === "string" ? undefined : value[key];
      if (typeof name !== "string") return;
      const users = found.get(name) ?? [];
      if (!users.includes(id)) found.set(name, [...users, id]);
    });
  return found;
}

export interface Shared {
  name: string;
  type: string;
  config: Record<string, Json>;
  note: string;
  users: string[];
}

export function sharedOf(flow: FlowDoc): Shared[] {
  const users = usersOf(flow, "$use");
  return Object.entries(flow.resources ?? {})
    .map(([name, one]) => ({
      name,
      type: one.type ?? "",
      config: one.config ?? {},
      note: one.note ?? "",
      users: users.get(name) ?? [],
    }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

export function putShared(flow: FlowDoc, name: string, config: Record<string, Json>, type = ""): FlowDoc {
  const before = flow.resources?.[name];
  return {
    ...flow,
    resources: { ...flow.resources, [name]: { ...(type ? { type } : {}), ...before, config } },
  };
}

export function removeShared(flow: FlowDoc, name: string): FlowDoc {
  const { [name]: _, ...resources } = flow.resources ?? {};
  return { ...flow, resources };
}

export const SHARED_NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** Names of the environment that the flow's nodes ask for. */
export function envUsed(flow: FlowDoc): Map<string, string[]> {
  const found = usersOf(flow, "$env");
  for (const [id, node] of everyNode(flow))
    walk(node.config, (value) => {
      if (typeof value !== "string") return;
      for (const [, name] of value.matchAll(/(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g)) {
        const users = found.get(name!) ?? [];
        if (!users.includes(id)) found.set(name!, [...users, id]);
      }
    });
  return found;
}

export function secretsUsed(flows: FlowDoc[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const flow of flows) {
    const own = usersOf({ ...flow, nodes: [...nodesOf(flow), ...resourcesAsNodes(flow)] }, "$secret");
    for (const [name, users] of own)
      found.set(name, [...(found.get(name) ?? []), ...users.map((user) => `${flow.id}.${user}`)]);
  }
  return found;
}

const resourcesAsNodes = (flow: FlowDoc): NodeDef[] =>
  Object.entries(flow.resources ?? {}).map(([name, one]) => ({ id: name, type: "", config: one.config ?? {} }));

export const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
