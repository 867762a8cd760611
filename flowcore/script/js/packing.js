// How values travel between the script and its worker: as JSON, and what JSON has no form for as a text that begins
// with a mark: b bytes, i whole numbers beyond 2^53, f NaN and infinities, t what stands for a tensor.
//
// The mark is drawn for each worker, so no text from outside begins with it. A script that finds it out can write only
// what it may send anyhow: the worker looks each mark up as it would the value.
(function (host, mark) {
  "use strict";
  const { parse, stringify } = JSON;
  const { apply, getPrototypeOf } = Reflect;
  const includes = String.prototype.includes, startsWith = String.prototype.startsWith, slice = String.prototype.slice;
  const toBase64 = Uint8Array.prototype.toBase64, fromBase64 = Uint8Array.fromBase64, Bytes = Uint8Array;
  const isFinite = Number.isFinite, arrayFrom = Array.from, fromEntries = Object.fromEntries;
  const TypedArray = getPrototypeOf(Uint8Array), bigText = BigInt.prototype.toString, BigNumber = BigInt, Num = Number;
  const Buf = Buffer, bufferJson = Buffer.prototype.toJSON;
  let isPacking = false;

  // `JSON.stringify` asks these; for the script itself they do what they do in Node.js.
  function asJson(prototype, packed, unpacked) {
    Object.defineProperty(prototype, "toJSON", {
      value: function toJSON() { return isPacking ? packed(this) : unpacked ? unpacked(this) : this; },
      writable: true, configurable: true,
    });
  }
  const bytesText = (bytes) => `${mark}b${apply(toBase64, bytes, [])}`;
  asJson(Buf.prototype, bytesText, (buffer) => apply(bufferJson, buffer, []));
  asJson(TypedArray.prototype, (array) => (array instanceof Bytes ? bytesText(array) : arrayFrom(array)));
  asJson(ArrayBuffer.prototype, (buffer) => bytesText(new Bytes(buffer)));
  asJson(DataView.prototype, (view) => bytesText(new Bytes(view.buffer, view.byteOffset, view.byteLength)));
  asJson(BigInt.prototype, (number) => `${mark}i${apply(bigText, number, [])}`, () => {
    throw new TypeError("Do not know how to serialize a BigInt");
  });
  asJson(Map.prototype, (map) => fromEntries(map));
  asJson(Set.prototype, (set) => arrayFrom(set));
  asJson(RegExp.prototype, (expression) => `${expression}`);
  asJson(Error.prototype, (error) => ({ name: error.name, message: error.message, ...error }));

  class Tensor {
    #number;
    constructor({ number, ...about }) {
      this.#number = number;
      Object.freeze(Object.assign(this, about));
    }
    toJSON() { return isPacking ? `${mark}t${this.#number}` : { ...this }; }
    toString() { return `<Tensor ${this.dtype} ${this.shape.join("x") || "scalar"} on ${this.device}>`; }
  }

  function markNumbers(key, value) {
    return typeof value === "number" && !isFinite(value) ? `${mark}f${value}` : value;
  }

  function revive(key, value) {
    if (typeof value !== "string" || !apply(startsWith, value, [mark])) return value;
    const rest = apply(slice, value, [mark.length + 1]);
    switch (value[mark.length]) {
      case "b": {
        const bytes = fromBase64(rest);
        return new Buf(bytes.buffer, bytes.byteOffset, bytes.length);
      }
      case "i": return BigNumber(rest);
      case "f": return Num(rest);
      case "t": return new Tensor(parse(rest));
      default: return value;
    }
  }

  // The text of a value; undefined where it has none (a function, undefined).
  host.pack = function (value) {
    isPacking = true;
    try {
      const text = stringify(value);
      // NaN has become null, so only where there is a null it has to be looked for.
      return text !== undefined && apply(includes, text, ["null"]) ? stringify(value, markNumbers) : text;
    } finally {
      isPacking = false;
    }
  };
  host.unpack = (text, isMarked) => (isMarked ? parse(text, revive) : parse(text));
  host.forgetPacking = () => { isPacking = false; }; // who was stopped in the middle ran no `finally`
})
