// context, flow, global and env of a function node. `context` is the node's own state, kept here and written with each
// message that changes it; flow and global are asked of the node.
(function (host, ask) {
  "use strict";
  const { parts, pack, unpack } = host;
  const values = new Map(); // of each key of `context`: {value, text}; the text is what was stored last
  let before = []; // of the last message: [key, text]
  let touched = new Set(); // keys that this message has set, or whose map or list it has in its hands

  function readFrom(key, get) {
    const [name, ...rest] = parts(`${key}`);
    let value = get(`${name}`);
    for (const part of rest) {
      if (value === undefined || value === null) return undefined;
      value = value[part];
    }
    return value;
  }

  function writeTo(key, value, get, set) {
    const [name, ...rest] = parts(`${key}`);
    if (rest.length === 0) return set(`${name}`, value);
    let root = get(`${name}`);
    if (typeof root !== "object" || root === null) {
      if (value === undefined) return undefined;
      root = typeof rest[0] === "number" ? [] : {};
    }
    let holder = root;
    for (let k = 0; k < rest.length - 1; k++) {
      let inner = holder[rest[k]];
      if (typeof inner !== "object" || inner === null) {
        if (value === undefined) return undefined;
        inner = holder[rest[k]] = typeof rest[k + 1] === "number" ? [] : {};
      }
      holder = inner;
    }
    if (value === undefined) delete holder[rest[rest.length - 1]];
    else holder[rest[rest.length - 1]] = value;
    return set(`${name}`, root);
  }

  // get(key), get([keys]), set(key, value), set([keys], [values]), each with a store's name and a callback as in
  // Node-RED; there is one store, so its name says nothing.
  function contextOf(get, set, keys) {
    const inTurn = (callback, work) => {
      if (typeof callback !== "function") return work();
      let result;
      try {
        result = work();
      } catch (error) {
        return callback(error);
      }
      callback(undefined, ...(Array.isArray(result) && result.isOfSeveral ? result : [result]));
      return undefined;
    };
    const last = (values) => values.find((value) => typeof value === "function");
    return {
      get: (key, ...more) => inTurn(last(more), () => {
        if (!Array.isArray(key)) return readFrom(key, get);
        const found = key.map((each) => readFrom(each, get));
        return Object.defineProperty(found, "isOfSeveral", { value: true });
      }),
      set: (key, value, ...more) => inTurn(last(more), () => {
        if (!Array.isArray(key)) { writeTo(key, value, get, set); return; }
        const given = Array.isArray(value) ? value : [value];
        key.forEach((each, k) => writeTo(each, given[k], get, set));
      }),
      keys: (...more) => inTurn(last(more), keys),
    };
  }

  const own = contextOf(
    (name) => {
      const entry = values.get(name);
      if (entry === undefined) return undefined;
      if (typeof entry.value === "object" && entry.value !== null) touched.add(name);
      return entry.value;
    },
    (name, value) => {
      touched.add(name);
      if (value === undefined || value === null) {
        if (values.has(name)) values.get(name).value = undefined;
      } else if (values.has(name)) values.get(name).value = value;
      else values.set(name, { value, text: undefined });
    },
    () => [...values.keys()].filter((name) => values.get(name).value !== undefined),
  );

  function shared(scope) {
    const asked = (op, key, text) => {
      const answer = ask(scope, op, key, text);
      const kind = answer[0], rest = answer.slice(1);
      if (kind === "e") throw new Error(rest);
      return kind === "n" ? undefined : unpack(rest, kind === "m");
    };
    return contextOf(
      (name) => asked("get", name, "null"),
      (name, value) => {
        const text = value === undefined ? "null" : pack(value);
        if (text === undefined) throw new TypeError(`${scope}: a ${typeof value} can't be stored`);
        asked("set", name, text);
      },
      () => { throw new Error(`${scope}.keys(): what others have stored is not listed; ask for it by name`); },
    );
  }

  // What this message has changed, as text: `"key":[value]`, `"key":[]` where it was taken away.
  host.changes = function () {
    let text = "";
    const changed = [];
    if (before.length) before = [];
    for (const name of touched) {
      const entry = values.get(name);
      if (entry === undefined) continue;
      const now = entry.value === undefined ? undefined : pack(entry.value);
      if (now === undefined && entry.value !== undefined) {
        throw new TypeError(`context: a ${typeof entry.value} can't be stored (${name})`);
      }
      if (now === entry.text && now !== undefined) continue;
      if (now === undefined && entry.text === undefined) { changed.push([name, undefined]); continue; }
      changed.push([name, now]);
      text += `${text ? "," : ""}${pack(name)}:[${now ?? ""}]`;
    }
    before = changed.map(([name]) => [name, values.get(name).text]);
    for (const [name, now] of changed) {
      if (now === undefined) values.delete(name);
      else values.get(name).text = now;
    }
    if (touched.size) touched = new Set();
    return text;
  };
  // What a failed message changed is as it was.
  host.undo = function () {
    for (const name of touched) {
      const entry = values.get(name);
      if (entry === undefined) continue;
      if (entry.text === undefined) values.delete(name);
      else entry.value = unpack(entry.text, true);
    }
    if (touched.size) touched = new Set();
  };
  // What `changes` told last could not be written.
  host.revert = function () {
    for (const [name, text] of before) {
      if (text === undefined) values.delete(name);
      else values.set(name, { value: unpack(text, true), text });
    }
    before = [];
  };
  host.restore = function (text, isMarked) {
    const stored = unpack(text, isMarked);
    for (const name of Object.keys(stored)) values.set(name, { value: stored[name], text: pack(stored[name]) });
  };

  const flow = shared("flow"), global = shared("global");
  const about = { writable: true, configurable: true };
  Object.defineProperties(globalThis, {
    context: { value: Object.assign(own, { flow, global }), ...about },
    flow: { value: flow, ...about }, global: { value: global, ...about },
    env: { value: { get: (name) => host.env[name] }, ...about },
  });
})
