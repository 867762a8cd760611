/** REST calls. An answer that is an error is thrown as `Refused`, with what to do. */

import type { Deployed, Example, FlowDoc, FlowSummary, Json, NodeType, Revision, TryAnswer, TryAsk } from "./types";
import { placed } from "../model/places";

export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly where: string,
    readonly advice: string,
    readonly details: Record<string, any>,
  ) {
    super(where ? `${where}: ${message}` : message);
  }
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(`/api${path}`, {
      method,
      headers: body === undefined ? undefined : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused(0, "away", "the gateway does not answer", "", "Is `flowcore up` running?", {});
  }
  if (answer.status === 401) location.assign("/login");
  const said = await answer.json();
  if (answer.ok) return said as T;
  const error = said.error ?? {};
  throw new Refused(answer.status, error.code, error.message, error.where, error.do, error.details ?? {});
}

/** What is not as it was in a flow that came from Node-RED. */
export interface Finding {
  kind: "not turned" | "setting" | "differs";
  flow: string;
  node: string;
  name: string;
  type: string;
  why: string;
  instead: string;
}

const node = (flow: string, id: string) => `/flows/${flow}/nodes/${encodeURIComponent(id)}`;

export type Scope = "full" | "flow" | "nodes";

export const api = {
  flows: () => call<{ flows: FlowSummary[] }>("GET", "/flows").then((said) => said.flows),
  types: () => call<{ types: NodeType[]; problems: string[] }>("GET", "/types"),
  flow: (flow: string, revision?: number) =>
    call<Revision>("GET", `/flows/${flow}${revision === undefined ? "" : `?revision=${revision}`}`).then((said) =>
      said.document ? { ...said, document: placed(said.document) } : said,
    ),
  revisions: (flow: string) =>
    call<{ revisions: Revision[] }>("GET", `/flows/${flow}/revisions`).then((r) => r.revisions),
  rollback: (flow: string, revision: number) => call<Deployed>("POST", `/flows/${flow}/rollback`, { revision }),
  deploy: (documents: FlowDoc[], scope: Scope, basedOn: Record<string, number>, nodes: string[] = []) =>
    call<{ flows: Deployed[] }>("POST", "/deploy", {
      documents: documents.map((document) => ({ document })),
      scope,
      based_on: basedOn,
      nodes,
    }).then((said) => said.flows),
  validate: (document: FlowDoc) =>
    call<{ valid: boolean; problems: string[]; notes: string[] }>("POST", "/validate", { document }),
  fromNodeRed: (text: string, name: string) =>
    call<{ flows: FlowDoc[]; findings: Finding[] }>("POST", "/import/nodered", { export: text, name }),
  remove: (flow: string) => call<Deployed>("DELETE", `/flows/${flow}`),
  steerFlow: (flow: string, what: "start" | "stop" | "restart" | "pause" | "resume") =>
    call<Json>("POST", `/flows/${flow}/${what}`, {}),
  steer: (flow: string, id: string, what: "restart" | "kill" | "pause" | "resume" | "bypass", body: object = {}) =>
    call<Json>("POST", `${node(flow, id)}/${what}`, body),
  inject: (flow: string, id: string, body: object = {}) => call<Json>("POST", `${node(flow, id)}/inject`, body),
  last: (flow: string, id: string, port: string) =>
    call<{ message: { payload: Json; topic: string; meta: Json; ts: number } | null }>(
      "GET",
      `${node(flow, id)}/last/${port}`,
    ).then((said) => said.message),
  logs: (flow: string, id: string) =>
    call<{ entries: any[] }>("GET", `/logs?flow=${flow}&node=${encodeURIComponent(id)}&limit=100`).then(
      (r) => r.entries,
    ),
  context: (flow: string | null) =>
    call<{ values: Record<string, Json> }>("GET", flow === null ? "/context" : `/flows/${flow}/context`).then(
      (said) => said.values,
    ),
  removeContext: (flow: string | null, key: string) => call<Json>("DELETE", "/context", { flow, key }),
  nodeState: (flow: string, id: string) =>
    call<{ values: Record<string, Json> }>("GET", `${node(flow, id)}/state`).then((said) => said.values),
  removeState: (flow: string, id: string, key: string) => call<Json>("DELETE", `${node(flow, id)}/state`, { key }),
  examples: (type: string) =>
    call<{ examples: Example[] }>("GET", `/types/${type}/examples`).then((said) => said.examples),
  removeSecret: (name: string) => call<Json>("DELETE", `/secrets/${encodeURIComponent(name)}`),
  secrets: () => call<{ names: string[] }>("GET", "/secrets").then((said) => said.names),
  attempt: (ask: TryAsk) => call<TryAnswer>("POST", "/try", ask),
  attemptReady: () => call<Json>("POST", "/try/ready", {}),
  setSecret: (name: string, value: string) => call<Json>("PUT", `/secrets/${encodeURIComponent(name)}`, { value }),
};
