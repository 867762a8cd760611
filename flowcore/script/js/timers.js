// setTimeout, setInterval, setImmediate. Nothing here waits: the worker asks when the next one is due, and lets it run.
(function (host) {
  "use strict";
  const clock = performance.now.bind(performance);
  const timers = new Map(); // id -> {due, every, run}
  let lastId = Math.floor(Math.random() * 1e9); // an id that was kept from an earlier worker is none of this one's
  let ahead = 0; // ms by which the node's clock is ahead of ours

  const now = () => clock() + ahead;

  function start(run, delay, values, repeats) {
    if (typeof run !== "function") throw new TypeError('The "callback" argument must be of type function');
    const wait = delay >= 1 && delay <= 2147483647 ? Number(delay) : 1;
    timers.set(++lastId, { due: now() + wait, every: repeats ? wait : 0, run: () => run(...values) });
    return lastId;
  }
  const stop = (id) => { timers.delete(Number(id)); };

  function first() {
    let found;
    for (const [id, timer] of timers) if (found === undefined || timer.due < found[1].due) found = [id, timer];
    return found;
  }

  // Milliseconds until the next one is due; null: there is none.
  host.due = () => {
    const next = first();
    return next === undefined ? null : Math.max(0, next[1].due - now());
  };
  // The time has come that `due` told: until when timers may run now.
  host.reach = () => {
    const next = first();
    if (next !== undefined && next[1].due > now()) ahead = next[1].due - clock();
    return now();
  };
  host.now = now;
  // Run the first one that is due by then; false: there was none.
  host.fire = (until) => {
    const next = first();
    if (next === undefined || next[1].due > until + 0.5) return false;
    const [id, timer] = next;
    if (timer.every) timer.due = Math.max(timer.due, until) + timer.every;
    else timers.delete(id);
    try {
      timer.run();
    } catch (error) {
      host.timerFailed(error);
    }
    return true;
  };
  host.stopTimers = () => timers.clear();

  const about = { writable: true, configurable: true };
  Object.defineProperties(globalThis, {
    setTimeout: { value: (run, delay, ...values) => start(run, delay, values, false), ...about },
    setInterval: { value: (run, delay, ...values) => start(run, delay, values, true), ...about },
    setImmediate: { value: (run, ...values) => start(run, 0, values, false), ...about },
    clearTimeout: { value: stop, ...about }, clearInterval: { value: stop, ...about },
    clearImmediate: { value: stop, ...about },
  });
})
