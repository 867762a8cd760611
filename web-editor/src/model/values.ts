/** Values that JSON has no form for, as the gateway writes them: tensors, pictures, bytes. */

import type { DebugMessage, Json } from "../api/types";

export interface TensorTold {
  dtype: string;
  shape: number[];
  device?: string;
  min?: number | null;
  max?: number | null;
  mean?: number | null;
  is_sample?: boolean;
  picture?: Json;
  line?: (number | null)[];
  values?: Json;
  expired?: boolean;
}

export interface ImageTold {
  format: string;
  size_bytes: number;
  picture?: Json;
}

const isMap = (value: any): value is Record<string, any> =>
  !!value && typeof value === "object" && !Array.isArray(value);

export function tensorOf(value: Json): TensorTold | null {
  const told: any = isMap(value) ? (value as any).$tensor : null;
  return isMap(told) && Array.isArray(told.shape) ? (told as unknown as TensorTold) : null;
}

export function imageOf(value: Json): ImageTold | null {
  const told: any = isMap(value) ? (value as any).$image : null;
  return isMap(told) && typeof told.format === "string" ? (told as unknown as ImageTold) : null;
}

export const isBytes = (value: unknown): value is { $bytes: string } =>
  isMap(value) && typeof value.$bytes === "string" && Object.keys(value).length === 1;

const number = (value: number) => (Number.isInteger(value) ? String(value) : value.toPrecision(4));

/** "uint8 [1080, 1920, 3], 0 to 255, mean 42.5" */
export function tensorInWords(tensor: TensorTold): string {
  const parts = [`${tensor.dtype} [${tensor.shape.join(", ")}]`];
  if (tensor.device && tensor.device !== "cpu") parts.push(`on ${tensor.device}`);
  if (typeof tensor.min === "number" && typeof tensor.max === "number" && typeof tensor.mean === "number")
    parts.push(
      `${number(tensor.min)} to ${number(tensor.max)}, mean ${tensor.is_sample ? "about " : ""}${number(tensor.mean)}`,
    );
  if (tensor.expired) parts.push("no longer there");
  return parts.join(", ");
}

export function bytesInWords(size: number): string {
  if (size < 1000) return `${size} bytes`;
  return size < 1e6 ? `${(size / 1e3).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

const SIGNS: [string, string][] = [
  ["/9j/", "jpeg"],
  ["iVBORw0KGgo", "png"],
  ["R0lGOD", "gif"],
];
const FORMATS = new Set(["jpeg", "png", "gif", "webp"]);

/** A picture that a browser can draw, as a `data:` address; "" where there is none. */
export function pictureOf(value: Json): string {
  const image = imageOf(value);
  const tensor = tensorOf(value);
  const told = image?.picture ?? tensor?.picture ?? value;
  if (!isBytes(told) || !/^[A-Za-z0-9+/=]*$/.test(told.$bytes)) return "";
  const format = image?.format ?? (tensor ? "png" : SIGNS.find(([sign]) => told.$bytes.startsWith(sign))?.[1]);
  return format && FORMATS.has(format) ? `data:image/${format};base64,${told.$bytes}` : "";
}

/** A line through numbers as an SVG path in a box; gaps where there is no number. */
export function linePath(points: (number | null)[], width: number, height: number): string {
  const there = points.filter((one): one is number => one !== null);
  if (there.length < 2) return "";
  const [low, high] = [Math.min(...there), Math.max(...there)];
  const spread = high - low || 1;
  let isDown = false;
  return points
    .map((one, k) => {
      if (one === null) {
        isDown = false;
        return "";
      }
      const [x, y] = [(k / (points.length - 1)) * width, height - ((one - low) / spread) * height];
      const part = `${isDown ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`;
      isDown = true;
      return part;
    })
    .join("");
}

/** Whether a picture that came as such is anywhere in a value. */
export function isDrawn(value: Json): boolean {
  if (!value || typeof value !== "object") return false;
  if (Array.isArray(value)) return value.some(isDrawn);
  return !!(imageOf(value)?.picture ?? tensorOf(value)?.picture) || Object.values(value).some(isDrawn);
}

function bare(value: Json): Json {
  if (!value || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(bare);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, one]) => key !== "picture" || !isBytes(one))
      .map(([key, one]) => [key, bare(one)]),
  );
}

export const withoutPictures = (one: DebugMessage): DebugMessage => ({
  ...one,
  value: bare(one.value),
  isDrawn: false,
});
