// Buffer, as Node.js has it: a Uint8Array that knows encodings and numbers of either byte order. And TextEncoder,
// TextDecoder. Everything is in the script's own context; nothing here reaches out of it.
(function () {
  "use strict";
  const { apply } = Reflect;
  const encode = encodeURIComponent, decode = decodeURIComponent, toBinary = unescape, fromBinary = escape;
  const charCode = String.fromCharCode, CHUNK = 8192;
  const ENCODINGS = {
    utf8: "utf8", "utf-8": "utf8", hex: "hex", base64: "base64", base64url: "base64url", ascii: "ascii",
    latin1: "latin1", binary: "latin1", ucs2: "utf16le", "ucs-2": "utf16le", utf16le: "utf16le", "utf-16le": "utf16le",
  };

  function encodingOf(name) {
    const found = ENCODINGS[String(name === undefined || name === null ? "utf8" : name).toLowerCase()];
    if (found === undefined) throw new TypeError(`Unknown encoding: ${name}`);
    return found;
  }

  function bytesOfBinary(text) {
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  function binaryOf(bytes, mask) {
    let text = "";
    for (let i = 0; i < bytes.length; i += CHUNK) {
      const part = bytes.subarray(i, i + CHUNK);
      text += apply(charCode, null, mask ? part.map((b) => b & mask) : part);
    }
    return text;
  }

  function utf8Bytes(text) {
    return bytesOfBinary(toBinary(encode(text.isWellFormed() ? text : text.toWellFormed())));
  }

  function utf8Text(bytes) {
    const binary = binaryOf(bytes);
    try {
      return decode(fromBinary(binary));
    } catch {
      return utf8Lossy(bytes);
    }
  }

  // What is not UTF-8 becomes U+FFFD, one for each maximal part of a character, as the encoding standard has it.
  function utf8Lossy(bytes) {
    let text = "", i = 0;
    while (i < bytes.length) {
      const first = bytes[i++];
      if (first < 0x80) { text += charCode(first); continue; }
      let need = 0, low = 0x80, high = 0xbf, code = 0;
      if (first >= 0xc2 && first <= 0xdf) { need = 1; code = first & 0x1f; }
      else if (first >= 0xe0 && first <= 0xef) {
        need = 2; code = first & 0xf;
        if (first === 0xe0) low = 0xa0; else if (first === 0xed) high = 0x9f;
      } else if (first >= 0xf0 && first <= 0xf4) {
        need = 3; code = first & 7;
        if (first === 0xf0) low = 0x90; else if (first === 0xf4) high = 0x8f;
      }
      let good = need > 0;
      for (; good && need > 0; need--, low = 0x80, high = 0xbf) {
        if (i < bytes.length && bytes[i] >= low && bytes[i] <= high) code = (code << 6) | (bytes[i++] & 0x3f);
        else good = false;
      }
      text += good ? String.fromCodePoint(code) : "\ufffd";
    }
    return text;
  }

  function bytesOf(text, encoding) {
    switch (encodingOf(encoding)) {
      case "utf8": return utf8Bytes(text);
      case "ascii": case "latin1": return bytesOfBinary(text);
      case "hex": {
        const whole = /^(?:[0-9a-f]{2})*/i.exec(text)[0]; // Node.js stops at the first that is no digit
        return Uint8Array.fromHex(whole);
      }
      case "utf16le": {
        const bytes = new Uint8Array(text.length * 2);
        for (let i = 0; i < text.length; i++) {
          const code = text.charCodeAt(i);
          bytes[2 * i] = code & 255;
          bytes[2 * i + 1] = code >> 8;
        }
        return bytes;
      }
      default: {
        let clean = text.replace(/-/g, "+").replace(/_/g, "/").replace(/=[^]*$/, "").replace(/[^A-Za-z0-9+/]/g, "");
        if (clean.length % 4 === 1) clean = clean.slice(0, -1);
        return Uint8Array.fromBase64(clean);
      }
    }
  }

  class Buffer extends Uint8Array {
    static poolSize = 8192;

    static from(value, encodingOrOffset, length) {
      if (typeof value === "string") return wrap(bytesOf(value, encodingOrOffset));
      if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) {
        return new Buffer(value, encodingOrOffset, length);
      }
      if (ArrayBuffer.isView(value) || Array.isArray(value)) return wrap(Uint8Array.from(value));
      if (value !== null && typeof value === "object") {
        if (value.type === "Buffer" && Array.isArray(value.data)) return wrap(Uint8Array.from(value.data));
        if (typeof value.length === "number") return wrap(Uint8Array.from(value));
        const inner = typeof value.valueOf === "function" ? value.valueOf() : value;
        if (inner !== value && inner !== null) return Buffer.from(inner, encodingOrOffset, length);
      }
      throw new TypeError("The first argument must be of type string or an instance of Buffer, ArrayBuffer, or Array " +
        `or an Array-like Object. Received ${value === null ? "null" : `type ${typeof value}`}`);
    }
    static of(...values) { return wrap(Uint8Array.from(values)); }
    static alloc(size, fill, encoding) {
      if (typeof size !== "number") throw new TypeError('The "size" argument must be of type number');
      const made = new Buffer(size);
      return fill === undefined || fill === 0 ? made : made.fill(fill, encoding);
    }
    static allocUnsafe(size) { return Buffer.alloc(size); }
    static allocUnsafeSlow(size) { return Buffer.alloc(size); }
    static isBuffer(value) { return value instanceof Buffer; }
    static isEncoding(name) { return typeof name === "string" && name.toLowerCase() in ENCODINGS; }
    static byteLength(value, encoding) {
      return typeof value === "string" ? bytesOf(value, encoding).length : value.byteLength;
    }
    static concat(list, total) {
      if (!Array.isArray(list)) throw new TypeError('The "list" argument must be an instance of Array');
      if (total === undefined) total = list.reduce((sum, each) => sum + each.length, 0);
      const made = Buffer.alloc(total);
      let at = 0;
      for (const each of list) {
        if (at >= total) break;
        made.set(each.length > total - at ? each.subarray(0, total - at) : each, at);
        at += each.length;
      }
      return made;
    }
    static compare(one, other) {
      const length = Math.min(one.length, other.length);
      for (let i = 0; i < length; i++) if (one[i] !== other[i]) return one[i] < other[i] ? -1 : 1;
      return Math.sign(one.length - other.length);
    }

    get parent() { return this.buffer; }
    toString(encoding, start = 0, end = this.length) {
      const bytes = start <= 0 && end >= this.length ? this : this.subarray(Math.max(0, start), Math.max(0, end));
      switch (encodingOf(encoding)) {
        case "utf8": return utf8Text(bytes);
        case "hex": return bytes.toHex();
        case "base64": return bytes.toBase64();
        case "base64url": return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
        case "latin1": return binaryOf(bytes);
        case "ascii": return binaryOf(bytes, 127);
        default: {
          let text = "";
          for (let i = 0; i + 1 < bytes.length; i += 2) text += charCode(bytes[i] | (bytes[i + 1] << 8));
          return text;
        }
      }
    }
    toLocaleString(encoding) { return this.toString(encoding); }
    toJSON() { return { type: "Buffer", data: Array.from(this) }; }
    equals(other) { return Buffer.compare(this, other) === 0; }
    compare(other, from = 0, to = other.length, start = 0, end = this.length) {
      return Buffer.compare(this.subarray(start, end), other.subarray(from, to));
    }
    slice(start, end) { return this.subarray(start, end); } // Node.js shares the memory here
    write(text, offset = 0, length, encoding) {
      if (typeof offset === "string") { encoding = offset; offset = 0; length = undefined; }
      else if (typeof length === "string") { encoding = length; length = undefined; }
      const room = this.length - offset;
      if (offset < 0 || room < 0) throw outOfRange("offset", offset);
      const bytes = bytesOf(String(text), encoding).subarray(0, length === undefined ? room : Math.min(room, length));
      this.set(bytes, offset);
      return bytes.length;
    }
    copy(target, at = 0, start = 0, end = this.length) {
      const part = this.subarray(start, Math.min(end, start + Math.max(0, target.length - at)));
      target.set(part, at);
      return part.length;
    }
    fill(value, offset, end, encoding) {
      if (typeof offset === "string") { encoding = offset; offset = 0; end = undefined; }
      else if (typeof end === "string") { encoding = end; end = undefined; }
      offset = offset ?? 0;
      end = end ?? this.length;
      if (typeof value === "number" || typeof value === "boolean") {
        Uint8Array.prototype.fill.call(this, value & 255, offset, end);
        return this;
      }
      const bytes = typeof value === "string" ? bytesOf(value, encoding) : value;
      if (bytes.length === 0) Uint8Array.prototype.fill.call(this, 0, offset, end);
      else for (let i = offset; i < end; i++) this[i] = bytes[(i - offset) % bytes.length];
      return this;
    }
    indexOf(value, from = 0, encoding) {
      if (typeof from === "string") { encoding = from; from = 0; }
      if (typeof value === "number") return Uint8Array.prototype.indexOf.call(this, value & 255, from);
      const wanted = typeof value === "string" ? bytesOf(value, encoding) : value;
      if (from < 0) from = Math.max(0, this.length + from);
      for (let i = from; i + wanted.length <= this.length; i++) {
        let k = 0;
        while (k < wanted.length && this[i + k] === wanted[k]) k++;
        if (k === wanted.length) return i;
      }
      return -1;
    }
    lastIndexOf(value, from, encoding) {
      if (typeof value === "number") return Array.prototype.lastIndexOf.call(this, value & 255);
      const wanted = typeof value === "string" ? bytesOf(value, encoding) : value;
      for (let i = Math.min(from ?? this.length, this.length - wanted.length); i >= 0; i--) {
        if (this.indexOf(wanted, i) === i) return i;
      }
      return -1;
    }
    includes(value, from, encoding) { return this.indexOf(value, from, encoding) !== -1; }
    swap16() { return swap(this, 2); }
    swap32() { return swap(this, 4); }
    swap64() { return swap(this, 8); }
    readUIntBE(offset, count) { return readBytes(this, offset, count, false); }
    readUIntLE(offset, count) { return readBytes(this, offset, count, true); }
    readIntBE(offset, count) { return signed(readBytes(this, offset, count, false), count); }
    readIntLE(offset, count) { return signed(readBytes(this, offset, count, true), count); }
    writeUIntBE(value, offset, count) { return writeBytes(this, value, offset, count, false, 0); }
    writeUIntLE(value, offset, count) { return writeBytes(this, value, offset, count, true, 0); }
    writeIntBE(value, offset, count) { return writeBytes(this, value, offset, count, false, 2 ** (8 * count - 1)); }
    writeIntLE(value, offset, count) { return writeBytes(this, value, offset, count, true, 2 ** (8 * count - 1)); }
  }

  function wrap(bytes) { return new Buffer(bytes.buffer, bytes.byteOffset, bytes.length); }

  function outOfRange(what, value) {
    const error = new RangeError(`The value of "${what}" is out of range. Received ${value}`);
    error.code = "ERR_OUT_OF_RANGE";
    return error;
  }

  function swap(buffer, size) {
    if (buffer.length % size) throw new RangeError(`Buffer size must be a multiple of ${size * 8}-bits`);
    for (let i = 0; i < buffer.length; i += size) buffer.subarray(i, i + size).reverse();
    return buffer;
  }

  function readBytes(buffer, offset, count, little) {
    if (!(count >= 1 && count <= 6)) throw outOfRange("byteLength", count);
    if (!(offset >= 0 && offset + count <= buffer.length)) throw outOfRange("offset", offset);
    let value = 0;
    for (let i = 0; i < count; i++) value = value * 256 + buffer[offset + (little ? count - 1 - i : i)];
    return value;
  }

  function signed(value, count) { return value >= 2 ** (8 * count - 1) ? value - 2 ** (8 * count) : value; }

  function writeBytes(buffer, value, offset, count, little, below) {
    if (!(count >= 1 && count <= 6)) throw outOfRange("byteLength", count);
    if (!(offset >= 0 && offset + count <= buffer.length)) throw outOfRange("offset", offset);
    const least = -below, most = below ? below - 1 : 2 ** (8 * count) - 1;
    if (!(value >= least && value <= most)) throw outOfRange("value", value);
    let left = value < 0 ? value + 2 ** (8 * count) : Math.trunc(value);
    for (let i = 0; i < count; i++) {
      buffer[offset + (little ? i : count - 1 - i)] = left % 256;
      left = Math.floor(left / 256);
    }
    return offset + count;
  }

  // readInt16BE, writeFloatLE ...: each is a DataView's method and the limits of what may be written.
  const NUMBERS = {
    UInt8: ["Uint8", 1, 0, 255], Int8: ["Int8", 1, -128, 127], UInt16: ["Uint16", 2, 0, 65535],
    Int16: ["Int16", 2, -32768, 32767], UInt32: ["Uint32", 4, 0, 2 ** 32 - 1], Int32: ["Int32", 4, -(2 ** 31), 2 ** 31 - 1],
    Float: ["Float32", 4], Double: ["Float64", 8], BigUInt64: ["BigUint64", 8, 0n, 2n ** 64n - 1n],
    BigInt64: ["BigInt64", 8, -(2n ** 63n), 2n ** 63n - 1n],
  };

  function define(name, method) {
    const about = { value: method, writable: true, configurable: true };
    Object.defineProperty(Buffer.prototype, name, about);
    if (name.includes("UInt")) Object.defineProperty(Buffer.prototype, name.replace("UInt", "Uint"), about);
  }

  for (const name of Object.keys(NUMBERS)) {
    const [view, size, least, most] = NUMBERS[name];
    const get = DataView.prototype["get" + view], set = DataView.prototype["set" + view];
    for (const order of size === 1 ? [""] : ["BE", "LE"]) {
      define(`read${name}${order}`, function (offset = 0) {
        if (!(offset >= 0 && offset + size <= this.length)) throw outOfRange("offset", offset);
        return apply(get, new DataView(this.buffer, this.byteOffset, this.length), [offset, order === "LE"]);
      });
      define(`write${name}${order}`, function (value, offset = 0) {
        if (!(offset >= 0 && offset + size <= this.length)) throw outOfRange("offset", offset);
        if (least !== undefined && (value < least || value > most)) throw outOfRange("value", value);
        apply(set, new DataView(this.buffer, this.byteOffset, this.length), [offset, value, order === "LE"]);
        return offset + size;
      });
    }
  }
  for (const [name, other] of [["readUIntBE", "readUintBE"], ["readUIntLE", "readUintLE"],
    ["writeUIntBE", "writeUintBE"], ["writeUIntLE", "writeUintLE"]]) {
    Object.defineProperty(Buffer.prototype, other, { value: Buffer.prototype[name], writable: true, configurable: true });
  }

  class TextEncoder {
    get encoding() { return "utf-8"; }
    encode(text = "") { return utf8Bytes(String(text)); }
  }

  class TextDecoder {
    constructor(label = "utf-8") {
      if (encodingOf(label) !== "utf8") throw new RangeError(`The "${label}" encoding is not supported`);
    }
    get encoding() { return "utf-8"; }
    decode(bytes = new Uint8Array(0)) {
      const view = ArrayBuffer.isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        : new Uint8Array(bytes);
      return utf8Text(view[0] === 0xef && view[1] === 0xbb && view[2] === 0xbf ? view.subarray(3) : view);
    }
  }

  const about = { writable: true, configurable: true };
  Object.defineProperties(globalThis, {
    Buffer: { value: Buffer, ...about },
    TextEncoder: { value: TextEncoder, ...about },
    TextDecoder: { value: TextDecoder, ...about },
  });
})();
