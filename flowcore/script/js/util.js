// RED.util, util and console, as far as function nodes use them; paths such as `payload.list[0]["a b"]`.
(function (host) {
  "use strict";

  function parts(path) {
    if (typeof path !== "string" || path.length === 0) throw new Error("Invalid property expression: zero-length");
    const found = [], next = /\.?([^.[\]"'\s]+)|\[\s*(\d+)\s*\]|\[\s*"((?:[^"\\]|\\.)*)"\s*\]|\[\s*'((?:[^'\\]|\\.)*)'\s*\]/y;
    while (next.lastIndex < path.length) {
      const at = next.lastIndex, match = next.exec(path);
      if (match === null || (at === 0) === (match[0][0] === ".") && match[1] !== undefined) {
        throw new Error(`Invalid property expression: unexpected ${path[at]} at position ${at}`);
      }
      const [, name, index, double, single] = match;
      found.push(index !== undefined ? Number(index) : name ?? (double ?? single).replace(/\\(.)/g, "$1"));
    }
    return found;
  }

  function lookUp(object, path) {
    let value = object;
    for (const part of parts(path)) value = value[part];
    return value;
  }

  function setAt(object, path, value, createMissing = value !== undefined) {
    const way = parts(path);
    let holder = object;
    for (let k = 0; k < way.length - 1; k++) {
      let inner = holder[way[k]];
      if (inner === undefined || inner === null) {
        if (!createMissing) return value === undefined;
        inner = holder[way[k]] = typeof way[k + 1] === "number" ? [] : {};
      } else if (typeof inner !== "object") {
        if (!createMissing) return value === undefined;
        throw new Error(`Cannot set property of non-object type: ${way[k]}`);
      }
      holder = inner;
    }
    const last = way[way.length - 1];
    if (value !== undefined) holder[last] = value;
    else if (Array.isArray(holder)) holder.splice(last, 1);
    else delete holder[last];
    return true;
  }

  const ofMessage = (path) => (path.startsWith("msg.") ? path.slice(4) : path);

  function clone(value, seen = new Map()) {
    if (typeof value !== "object" || value === null) return value;
    if (seen.has(value)) return seen.get(value);
    const keep = (made) => (seen.set(value, made), made);
    if (value instanceof Date) return keep(new Date(value.getTime()));
    if (Buffer.isBuffer(value)) return keep(Buffer.from(value));
    if (value instanceof ArrayBuffer) return keep(value.slice(0));
    if (ArrayBuffer.isView(value)) {
      return keep(new value.constructor(value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength)));
    }
    if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
    if (value instanceof Map) {
      const made = keep(new Map());
      for (const [key, each] of value) made.set(clone(key, seen), clone(each, seen));
      return made;
    }
    if (value instanceof Set) {
      const made = keep(new Set());
      for (const each of value) made.add(clone(each, seen));
      return made;
    }
    if (Array.isArray(value)) {
      const made = keep(new Array(value.length));
      for (let i = 0; i < value.length; i++) made[i] = clone(value[i], seen);
      return made;
    }
    if (Object.isFrozen(value)) return keep(value); // what stands for a tensor
    const made = keep(Object.create(Object.getPrototypeOf(value)));
    for (const key of Object.keys(value)) {
      const each = clone(value[key], seen);
      if (key === "__proto__") Object.defineProperty(made, key, { value: each, enumerable: true, writable: true });
      else made[key] = each;
    }
    return made;
  }

  function isSame(one, other) {
    if (Object.is(one, other)) return true;
    if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
    if (Array.isArray(one) !== Array.isArray(other) || Buffer.isBuffer(one) !== Buffer.isBuffer(other)) return false;
    if (one instanceof Date && other instanceof Date) return one.getTime() === other.getTime();
    const keys = Object.keys(one);
    return keys.length === Object.keys(other).length &&
      keys.every((key) => Object.hasOwn(other, key) && isSame(one[key], other[key]));
  }

  // As Node.js prints a value, in one line.
  function inspect(value, depth = 4, isInner = false, seen = []) {
    if (typeof value === "string") return isInner ? `'${value.replace(/\\/g, "\\\\").replace(/'/g, "\\'").replace(/\n/g, "\\n")}'` : value;
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value === "symbol") return value.toString();
    if (typeof value === "function") return `[Function: ${value.name || "(anonymous)"}]`;
    if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "-0" : `${value}`;
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp) return `${value}`;
    if (Buffer.isBuffer(value)) {
      const shown = value.subarray(0, 50).toString("hex").replace(/../g, " $&");
      return `<Buffer${shown}${value.length > 50 ? ` ... ${value.length - 50} more bytes` : ""}>`;
    }
    if (seen.includes(value)) return "[Circular *1]";
    if (seen.length > depth) return Array.isArray(value) ? "[Array]" : "[Object]";
    const within = [...seen, value], each = (inner) => inspect(inner, depth, true, within);
    const several = (open, items, more, close) =>
      items.length ? `${open} ${items.join(", ")}${more > 0 ? `, ... ${more} more` : ""} ${close}` : `${open}${close}`;
    if (Array.isArray(value)) return several("[", value.slice(0, 100).map(each), value.length - 100, "]");
    if (ArrayBuffer.isView(value)) {
      return several(`${value.constructor.name}(${value.length}) [`, Array.from(value.slice(0, 100), each), value.length - 100, "]");
    }
    if (value instanceof Map) {
      return several(`Map(${value.size}) {`, [...value].slice(0, 100).map(([k, v]) => `${each(k)} => ${each(v)}`), value.size - 100, "}");
    }
    if (value instanceof Set) return several(`Set(${value.size}) {`, [...value].slice(0, 100).map(each), value.size - 100, "}");
    if (value instanceof Promise) return "Promise {}";
    const keys = Object.keys(value), name = value.constructor?.name;
    const items = keys.slice(0, 100).map((key) => `${/^[A-Za-z_$][\w$]*$/.test(key) ? key : `'${key}'`}: ${each(value[key])}`);
    return several(`${name && name !== "Object" ? `${name} ` : ""}{`, items, keys.length - 100, "}");
  }

  function format(...values) {
    let text = "", rest = values;
    if (typeof values[0] === "string") {
      rest = values.slice(1);
      text = values[0].replace(/%([sdifjoOc%])/g, (whole, kind) => {
        if (kind === "%") return "%";
        if (rest.length === 0) return whole;
        const value = rest.shift();
        switch (kind) {
          case "s": return typeof value === "string" ? value : inspect(value, 1);
          case "d": return typeof value === "object" ? "NaN" : `${Number(value)}`;
          case "i": return `${parseInt(value, 10)}`;
          case "f": return `${parseFloat(value)}`;
          case "j": return JSON.stringify(value);
          case "c": return "";
          default: return inspect(value);
        }
      });
    }
    const more = rest.map((value) => inspect(value));
    return (typeof values[0] === "string" ? [text, ...more] : more).join(" ");
  }

  function generateId() {
    let id = "";
    for (let k = 0; k < 4; k++) id += Math.floor(Math.random() * 65536).toString(16).padStart(4, "0");
    return id;
  }

  const util = {
    inspect: (value, options) => inspect(value, typeof options === "object" ? options?.depth ?? 4 : 4, true),
    format, isDeepStrictEqual: isSame, isArray: Array.isArray, types: { isDate: (value) => value instanceof Date },
    inherits: (child, parent) => Object.setPrototypeOf(child.prototype, parent.prototype),
    promisify: (takesCallback) => function (...values) {
      return new Promise((resolve, reject) => {
        takesCallback.call(this, ...values, (error, value) => (error ? reject(error) : resolve(value)));
      });
    },
  };

  const ofRed = {
    cloneMessage: (msg) => clone(msg),
    generateId,
    getMessageProperty: (msg, path) => lookUp(msg, ofMessage(path)),
    setMessageProperty: (msg, path, value, createMissing) => setAt(msg, ofMessage(path), value, createMissing),
    getObjectProperty: lookUp,
    setObjectProperty: setAt,
    normalisePropertyExpression: parts,
    compareObjects: isSame,
    ensureString: (value) => (Buffer.isBuffer(value) ? value.toString()
      : typeof value === "object" && value !== null ? JSON.stringify(value) : typeof value === "string" ? value : `${value}`),
    ensureBuffer: (value) => (Buffer.isBuffer(value) ? value
      : Buffer.from(typeof value === "object" && value !== null ? JSON.stringify(value) : `${value}`)),
    parseContextStore: (key) => {
      const match = /^#:\((\S+?)\)::(.*)$/.exec(key);
      return match ? { store: match[1], key: match[2] } : { store: undefined, key };
    },
  };

  const said = (kind) => (...values) => host.note(kind, format(...values));
  const console = { log: said("info"), info: said("info"), debug: said("info"), trace: said("info"), dir: said("info"),
    warn: said("warning"), error: said("error") };

  Object.assign(host, { parts, clone, inspect, format });
  const about = { writable: true, configurable: true };
  Object.defineProperties(globalThis, {
    RED: { value: { util: ofRed }, ...about }, util: { value: util, ...about }, console: { value: console, ...about },
    promisify: { value: util.promisify, ...about }, structuredClone: { value: (value) => clone(value), ...about },
  });
})
