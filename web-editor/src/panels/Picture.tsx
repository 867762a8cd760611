/** A small picture of a value that is one: a frame, a JPEG, a row of numbers. */

import type { Json } from "../api/types";
import { linePath, pictureOf, tensorOf } from "../model/values";

const [WIDTH, HEIGHT] = [128, 36];

export function Picture({ value }: { value: Json }) {
  const source = pictureOf(value);
  if (source) return <img className="picture" src={source} alt="small picture of the value" />;
  const line = tensorOf(value)?.line;
  const path = line && linePath(line, WIDTH, HEIGHT);
  if (!path) return null;
  return (
    <svg
      className="sparkline"
      viewBox={`-2 -2 ${WIDTH + 4} ${HEIGHT + 4}`}
      width={WIDTH}
      height={HEIGHT}
      role="img"
      aria-label="line through the values"
    >
      <path d={path} />
    </svg>
  );
}
