// A message's way through the script: `node`, what is sent and said, how a result is written for the worker.
(function (host, limits) {
  "use strict";
  const { apply } = Reflect;
  const { isArray } = Array, isBuffer = Buffer.isBuffer, then = Promise.prototype.then, PromiseOf = Promise;
  const slice = String.prototype.slice;
  const { id, name, flowId, outputs, env, mostOutputs, mostChars, mostNotes, mostNoteChars } = JSON.parse(limits);
  const { pack, unpack, due } = host;
  let sent = [], sentCount = 0, sentChars = 0, notes = [], noteChars = 0;
  let settled = null, ticket = 0; // what an async function came to; of which message
  let body = () => undefined, closed = () => undefined, isAsync = false;
  const closing = [];

  host.env = Object.assign(Object.create(null), {
    NR_NODE_ID: id, NR_NODE_NAME: name, NR_NODE_PATH: `${flowId}/${id}`, NR_FLOW_ID: flowId, NR_FLOW_NAME: flowId,
  }, env);

  host.note = function (kind, text, extra) {
    text = `${text}`;
    noteChars += text.length;
    if (notes.length >= mostNotes || (noteChars > mostNoteChars && notes.length > 0)) return;
    notes.push(`[${pack(kind)},${pack(text.slice(0, mostNoteChars))}${extra === undefined ? "" : `,${extra}`}]`);
  };

  // -- what is sent

  function tooMuch() {
    return new RangeError(`one message made more than ${mostOutputs} messages or ${mostChars} characters`);
  }

  function emit(port, msg, isLater) {
    if (port >= outputs) return;
    if (++sentCount > mostOutputs) throw tooMuch();
    if (isLater) { sent[sent.length] = { port, msg }; return; }
    const text = pack(msg);
    sentChars += text.length;
    if (sentChars > mostChars) throw tooMuch();
    sent[sent.length] = `[${port},${text}]`;
  }

  function typeName(value) {
    return typeof value !== "object" ? typeof value : isBuffer(value) ? "Buffer" : isArray(value) ? "Array" : "Date";
  }

  // As Node-RED reads what a function returns or sends: a message, a list with a place for each output, lists in it.
  function send(messages, cloneFirst) {
    if (messages === null || messages === undefined) return;
    const places = isArray(messages) ? messages : [messages];
    for (let port = 0; port < places.length; port++) {
      if (!places[port]) continue;
      const several = isArray(places[port]) ? places[port] : [places[port]];
      for (let k = 0; k < several.length; k++) {
        const msg = several[k];
        if (msg === null || msg === undefined) continue;
        if (typeof msg === "object" && !isBuffer(msg) && !isArray(msg) && !(msg instanceof Date)) {
          emit(port, msg, cloneFirst === false);
        } else {
          host.note("error", `Function tried to send a message of type ${typeName(msg)}`, "true");
        }
      }
    }
  }

  // -- `node`

  const about = (values) => (values.length === 1 && typeof values[0] === "string" ? values[0] : host.format(...values));
  const said = (kind) => (...values) => host.note(kind, about(values));
  const log = said("info"), warn = said("warning"), debug = said("info"), trace = said("info");
  const status = (shown) => {
    const { fill = "", text = "" } = typeof shown === "object" && shown !== null ? shown : { fill: "green", text: shown };
    host.note("status", text, pack(`${fill}`));
  };
  const error = (text, msg) => {
    const shown = text instanceof Error ? `${text.name}: ${text.message}` : about([text]);
    const isMessage = typeof msg === "object" && msg !== null && !isArray(msg) && !isBuffer(msg);
    host.note("error", shown, msg ? (isMessage ? pack(msg) : "true") : undefined);
  };
  const on = (event, run) => {
    if (event === "input") throw new Error("Cannot add listener to 'input' event within Function");
    if (event === "close") closing.push(run);
  };
  const shared = { id, name, path: `${flowId}/${id}`, outputCount: outputs, log, warn, error, debug, trace, status, on };
  const nodeOf = (canSend) => ({
    ...shared, done: () => undefined,
    send: canSend ? send : () => host.note("error", "Cannot send from close function"),
  });
  const node = nodeOf(true); // the same for all messages: what is sent belongs to the message in work

  // -- results

  function begin() {
    sent = [];
    notes = [];
    sentCount = sentChars = noteChars = 0;
    settled = null;
    ticket++;
    host.forgetPacking();
  }

  // A text in one piece: one that was put together from parts is no string to the engine's Python side.
  const whole = (text) => apply(slice, text, [0]);

  // {"o": [[port, msg], ...], "c": {changes}, "n": [notes], "d": ms to the next timer}, as text.
  function result() {
    let text = '{"o":[';
    for (let k = 0; k < sent.length; k++) {
      const each = sent[k];
      const piece = typeof each === "string" ? each : `[${each.port},${pack(each.msg)}]`;
      text += k ? `,${piece}` : piece;
    }
    text += "]";
    const changes = host.changes();
    if (changes) text += `,"c":{${changes}}`;
    return whole(`${text}${rest()}}`);
  }

  function rest() {
    let text = "";
    for (let k = 0; k < notes.length; k++) text += k ? `,${notes[k]}` : notes[k];
    if (text) text = `,"n":[${text}]`;
    const next = due();
    return next === null ? text : `${text},"d":${next}`;
  }

  function failed(error) {
    host.undo();
    let shown;
    try {
      shown = error instanceof Error ? [`${error.name}`, `${error.message}`, `${error.stack}`]
        : ["Error", typeof error === "string" ? error : pack(error) ?? `${error}`, ""];
    } catch {
      shown = ["Error", "(its text failed)", ""];
    }
    return whole(`{"e":${pack(shown)}${rest()}}`);
  }

  function done(returned) {
    try {
      send(returned);
      return result();
    } catch (error) {
      return failed(error);
    }
  }

  // The text of the result; null: it is async, and `poll` will tell.
  function follow(run) {
    let returned;
    try {
      returned = run();
      if (typeof returned !== "object" || returned === null || typeof returned.then !== "function") {
        if (!isAsync) return done(returned);
        settled = () => done(returned); // what it left to promises comes first
        return null;
      }
    } catch (error) {
      return failed(error);
    }
    const mine = ticket;
    const settle = (how) => (value) => { if (mine === ticket) settled = () => how(value); };
    try {
      if (returned instanceof PromiseOf) apply(then, returned, [settle(done), settle(failed)]);
      else returned.then(settle(done), settle(failed));
    } catch (error) {
      return failed(error);
    }
    return null;
  }

  host.define = (function_, cleanup, usesPromises) => { body = function_; closed = cleanup; isAsync = usesPromises; };
  host.start = (setup) => {
    begin();
    return follow(() => setup(node));
  };
  host.handle = (text, isMarked) => {
    begin();
    const msg = unpack(text, isMarked);
    return follow(() => body(msg, node));
  };
  // Once jobs have run: a result, or in how many ms a timer may bring it on; null: nothing will.
  host.poll = () => {
    if (settled === null) return due();
    const finish = settled;
    settled = null;
    return finish();
  };
  host.tick = () => {
    begin();
    return host.reach();
  };
  host.ticked = () => done(undefined);
  host.undone = () => { // after one that was stopped: its changes are taken back, what it has said stays
    host.forgetPacking();
    ticket++;
    return failed("");
  };
  host.timerFailed = (failure) => error(failure, {});
  host.close = () => {
    begin();
    host.stopTimers();
    return follow(() => {
      for (const run of closing) run(() => undefined);
      return closed(nodeOf(false));
    });
  };
})
