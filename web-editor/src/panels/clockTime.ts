/** The time of day of nanoseconds since 1970, to the millisecond. */
export function clockTime(ns: number): string {
  const ms = Math.floor(ns / 1e6);
  const day = new Date(ms).toLocaleTimeString("en-GB", { hour12: false });
  return `${day}.${String(ms % 1000).padStart(3, "0")}`;
}
