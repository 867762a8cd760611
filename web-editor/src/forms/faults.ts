/** Fields whose text is no value (JSON that is not, a number that is none): with one of them a form is not saved. */

import { createContext, useContext, useEffect } from "react";

export const Faults = createContext<Map<string, string>>(new Map());

/** Say what is wrong in a field, as long as it is shown. */
export function useFault(id: string, wrong: string) {
  const faults = useContext(Faults);
  useEffect(() => {
    if (wrong) faults.set(id, wrong);
    else faults.delete(id);
    return () => void faults.delete(id);
  }, [faults, id, wrong]);
}
