/** Run the selected nodes on a sample, apart from the flow: what goes in, what each of them sends, and when. */

import { useEffect, useMemo } from "react";
import { api } from "../api/http";
import type { FlowDoc, TryAnswer } from "../api/types";
import { milliseconds, outsideOf, placesOf, readSample, tried, withoutPorts } from "../model/trial";
import { activeTab, attempt, livePrefix, shownFlow, useEditor, type Tab } from "../state/editor";
import { reveal } from "../state/view";
import { useLive } from "../state/live";
import { change, runTrial, useTrial } from "../state/trial";
import { clockTime } from "./clockTime";
import { Tree } from "./Tree";

const MOST_CAUGHT = 30;

export default function Try() {
  const tab = useEditor(activeTab);
  useEffect(() => void api.attemptReady().catch(() => undefined), []);
  const shown = useEditor(shownFlow);
  const doc = useMemo(() => (shown ? withoutPorts(shown) : null), [shown]);
  return tab && doc ? <TryFlow tab={tab} doc={doc} /> : null;
}

/** `doc`: what the canvas shows, the flow or a template of it. */
function TryFlow({ tab, doc }: { tab: Tab; doc: FlowDoc }) {
  const prefix = useEditor(livePrefix);
  const types = useEditor((state) => state.types);
  const chosen = useEditor((state) => state.selected.nodes);
  const { place, text, topic, seconds, answers, isRunning, answer, of } = useTrial();
  const places = useMemo(() => placesOf(doc, chosen, types), [doc, chosen, types]);
  const outside = useMemo(() => outsideOf(doc, chosen, types), [doc, chosen, types]);
  const count = tried(doc, chosen).length;
  const into = places.some((one) => one.place === place) ? place : (places[0]?.place ?? "");
  const { wrong } = readSample(text);
  const run = () => void runTrial(doc, chosen, into);
  return (
    <form
      className="try"
      aria-label="Try on a sample"
      onSubmit={(event) => {
        event.preventDefault();
        run();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
      }}
    >
      <p className="hint">
        {chosen.size ? `${count} selected ${count === 1 ? "node runs" : "nodes run"}` : "The whole flow runs"}, apart
        from the flow that is deployed: nothing leaves it, its state begins empty and is forgotten.
      </p>
      {!places.length ? (
        <p>No node here takes a message. Select one that does.</p>
      ) : (
        <>
          <label>
            The message goes
            <select value={into} onChange={(event) => change({ place: event.target.value })}>
              {places.map((one) => (
                <option key={one.place} value={one.place}>
                  {one.label}
                </option>
              ))}
            </select>
          </label>
          <Caught
            flow={tab.id}
            prefix={prefix}
            wires={doc.wires?.filter((wire) => wire.to === into).map((wire) => wire.from)}
          />
          <label>
            Payload
            <textarea
              aria-label="Payload"
              rows={Math.min(12, Math.max(3, text.split("\n").length))}
              value={text}
              spellCheck={false}
              placeholder='{"temp_c": 21.5}'
              aria-invalid={!!wrong}
              onChange={(event) => change({ text: event.target.value })}
            />
          </label>
          {wrong && <p className="field-error">{wrong}</p>}
          <div className="row">
            <label>
              Topic
              <input value={topic} onChange={(event) => change({ topic: event.target.value })} />
            </label>
            <label title="What nodes would do later happens at once, in its order">
              Then time goes on, seconds
              <input
                type="number"
                min={0}
                max={86400}
                step="any"
                value={seconds}
                onChange={(event) => change({ seconds: Math.min(86400, Math.max(0, Number(event.target.value) || 0)) })}
              />
            </label>
          </div>
          {outside
            .filter((one) => one.answers)
            .map(({ node }) => (
              <label key={node}>
                {node} reaches beyond the flow: it answers
                <input
                  value={answers[node] ?? ""}
                  placeholder="nothing"
                  aria-invalid={!!readSample(answers[node] ?? "").wrong}
                  onChange={(event) => change({ answers: { ...answers, [node]: event.target.value } })}
                />
              </label>
            ))}
          <p className="row">
            <button className="is-main" disabled={isRunning || !!wrong}>
              {isRunning ? "Running …" : "Run"}
            </button>
            <span className="hint">{isRunning ? "the first try starts a runtime of its own" : "Ctrl+Enter"}</span>
          </p>
        </>
      )}
      {answer && <Answer flow={tab.id} answer={answer} of={of} />}
    </form>
  );
}

/** A sample that need not be typed: what debug nodes caught, and what last went along the wires into this place. */
function Caught({ flow, prefix, wires }: { flow: string; prefix: string | null; wires: string[] | undefined }) {
  const messages = useLive((now) => now.debug);
  const caught = messages
    .filter((one) => one.flow === flow && !one.is_cut)
    .slice(-MOST_CAUGHT)
    .reverse();
  const pick = async (chosen: string) => {
    const [kind, what] = [chosen.slice(0, 1), chosen.slice(2)];
    if (kind === "d") {
      const one = caught[Number(what)];
      if (one) change({ text: JSON.stringify(one.value, null, 2), topic: one.topic });
    } else {
      const [node, port] = what.split(".") as [string, string];
      await attempt(
        api.last(flow, `${prefix ?? ""}${node}`, port).then((message) => {
          if (message) change({ text: JSON.stringify(message.payload, null, 2), topic: message.topic ?? "" });
        }),
      );
    }
  };
  if (!caught.length && !wires?.length) return null;
  return (
    <label>
      Take a message that was caught
      <select value="" onChange={(event) => void pick(event.target.value)}>
        <option value="" />
        {wires?.map((wire) => (
          <option key={wire} value={`w ${wire}`}>
            the last one of {wire}
          </option>
        ))}
        {caught.map((one, k) => (
          <option key={k} value={`d ${k}`}>
            {clockTime(one.ts)} {one.node} {JSON.stringify(one.value).slice(0, 40)}
          </option>
        ))}
      </select>
    </label>
  );
}

const KINDS: Record<string, string> = {
  out: "sent",
  withheld: "would have left the flow",
  debug: "shown",
  status: "status",
  log: "logged",
};

function Answer({ flow, answer, of }: { flow: string; answer: TryAnswer; of: string }) {
  const Link = ({ node }: { node: string }) => (
    <button type="button" className="node-link" onClick={() => reveal(flow, node)}>
      {node}
    </button>
  );
  const isQuiet = !answer.outputs.length && !answer.errors.length && answer.outcome === "done";
  return (
    <section aria-label="What came of it" aria-live="polite">
      <h3>
        {answer.outcome === "done" ? "Done" : "Not done"}
        {answer.took_ms > 0 && ` after ${milliseconds(answer.took_ms)}`}
      </h3>
      <p className="hint">{of}</p>
      {answer.lines.map((line, k) => (
        <p key={k} className="field-error">
          {line}
        </p>
      ))}
      <ul className="messages">
        {answer.errors.map((one, k) => (
          <li key={`e${k}`} className="is-error">
            <div className="message-head">
              <Link node={one.node} /> failed <time className="took">{milliseconds(one.at_ms)}</time>
            </div>
            <strong>
              {one.error}: {one.text}
            </strong>
            {one.traceback && (
              <details>
                <summary>Traceback</summary>
                <pre>{one.traceback}</pre>
              </details>
            )}
          </li>
        ))}
        {answer.outputs.map((one, k) => (
          <li key={k} className={one.kind === "withheld" ? "is-withheld" : ""}>
            <div className="message-head">
              <Link node={one.node} /> {one.port} {KINDS[one.kind] ?? one.kind} {one.topic && <em>{one.topic}</em>}
              <time
                className="took"
                title={`since the message that caused it, with the way; ${milliseconds(one.at_ms)} since the beginning`}
              >
                {milliseconds(one.ms)}
              </time>
            </div>
            <Tree value={one.payload} open />
            {one.is_cut && <p className="hint">cut: it is larger than is shown here</p>}
          </li>
        ))}
      </ul>
      {answer.left_out ? <p className="hint">{answer.left_out} more are not shown</p> : null}
      {isQuiet && <p>Nothing came out.</p>}
      {answer.notes.map((note) => (
        <p key={note} className="hint">
          {note}
        </p>
      ))}
    </section>
  );
}
