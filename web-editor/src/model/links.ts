/** Link nodes: who sends to whom without a wire, in one flow and across flows. */

import type { FlowDoc, NodeDef } from "../api/types";
import { nodesOf } from "./flow";
import { templateOf } from "./subflows";

export interface Partner {
  flow: string;
  /** As `reveal` takes it: the id, in a template after `subflow:<name>/`. */
  node: string;
  label: string;
}

const SENDERS = new Set(["core/link-out", "core/link-call"]);
const isLinkIn = (node: NodeDef) => node.type === "core/link-in";
const linksOf = (node: NodeDef) => (Array.isArray(node.config?.links) ? node.config.links.map(String) : []);
const namesOf = (node: NodeDef) => [node.id, node.name, node.config?.name].filter(Boolean).map(String);

/** Whether a sender in one flow names a link-in of another, or of its own. */
function leadsTo(sender: NodeDef, senderFlow: string, target: NodeDef, targetFlow: string): boolean {
  return linksOf(sender).some((link) => {
    const [flow, name] = link.includes("/") ? (link.split("/") as [string, string]) : [senderFlow, link];
    return flow === targetFlow && (name === "*" || namesOf(target).includes(name));
  });
}

export interface Partners {
  /** Ids of nodes on the same canvas. */
  here: string[];
  elsewhere: Partner[];
}

/** The partners of a link node on a canvas, which shows a flow or one of its templates. */
export function partnersOf(node: NodeDef, flows: FlowDoc[], shown: FlowDoc, template: string | null): Partners {
  const found: Partners = { here: [], elsewhere: [] };
  if (!isLinkIn(node) && !SENDERS.has(node.type)) return found;
  const isPartner = (other: NodeDef, flow: string) =>
    isLinkIn(node)
      ? SENDERS.has(other.type) && leadsTo(other, flow, node, shown.id)
      : isLinkIn(other) && leadsTo(node, shown.id, other, flow);
  for (const flow of flows)
    for (const name of [null, ...Object.keys(flow.subflows ?? {})]) {
      const isHere = flow.id === shown.id && name === template;
      const scope = isHere ? shown : name === null ? flow : templateOf(flow, name);
      for (const other of nodesOf(scope)) {
        if (!isPartner(other, flow.id)) continue;
        if (isHere) found.here.push(other.id);
        else if (name === null || flow.id === shown.id)
          found.elsewhere.push({
            flow: flow.id,
            node: name === null ? other.id : `subflow:${name}/${other.id}`,
            label: `${flow.name || flow.id}: ${other.name || other.id}`,
          });
      }
    }
  return found;
}
