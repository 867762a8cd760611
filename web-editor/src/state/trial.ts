/** The try that is being made: what goes in, what came of it. Kept while other panels are looked at. */

import { create } from "zustand";
import { api, Refused } from "../api/http";
import type { FlowDoc, TryAnswer } from "../api/types";
import { readSample, tried } from "../model/trial";
import { toast } from "./editor";

interface Trial {
  place: string;
  text: string;
  topic: string;
  seconds: number;
  answers: Record<string, string>;
  isRunning: boolean;
  answer: TryAnswer | null;
  /** Of which nodes the answer is. */
  of: string;
}

export const useTrial = create<Trial>(() => ({
  place: "",
  text: "",
  topic: "",
  seconds: 0,
  answers: {},
  isRunning: false,
  answer: null,
  of: "",
}));

export const change = (some: Partial<Trial>) => useTrial.setState(some);

export async function runTrial(flow: FlowDoc, chosen: Set<string>, place: string) {
  const { text, topic, seconds, answers, isRunning } = useTrial.getState();
  const sample = readSample(text);
  if (isRunning || sample.wrong || !place) return;
  const nodes = chosen.size ? tried(flow, chosen).map((node) => node.id) : [];
  const given = Object.entries(answers).filter(([, said]) => said.trim() && !readSample(said).wrong);
  change({ isRunning: true });
  try {
    const answer = await api.attempt({
      document: flow,
      nodes,
      put: place,
      payload: sample.value,
      topic,
      seconds,
      answers: Object.fromEntries(given.map(([node, said]) => [node, readSample(said).value])),
    });
    change({ answer, of: nodes.join(", ") || (flow.name ?? flow.id) });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    toast("error", error.message, [error.advice].filter(Boolean));
  } finally {
    change({ isRunning: false });
  }
}
