// The event loop of one call.
//
// The imports of the host are plain functions: waiting is a call to `system.sleep`, during which no job runs. So
// the loop has to know when no promise job is left to run, and QuickJS does not tell. There are two ways.
//
// The exact one. The engine's async exports run until the job queue is empty and then wait for an event of the host.
// A read of a component-model future whose value is there already is such an event: it comes when, and only when, nothing
// else can run. This needs a future type in the component's world: an export `turn: func(passed: future<u8>)`
// that nobody calls and no module has to define. With it jobs always go before timers, as in Node, and a handler that awaits what nothing can settle fails at once.
//
// The other, where the world has no such type. Jobs run first in, first out: a job of the loop's own goes to the back of
// the queue again and again, and whatever stood before it has run when it comes up. After QUIET turns of that the
// queue counts as empty. A timer never runs before its time nor in the middle of a job; a chain of more than QUIET promises
// that is under way when a timer comes due may be overtaken by that timer, and goes on behind it. The loop sleeps in growing slices
// and turns the queue between them, so a chain that was mistaken for silence goes on after at most MOST_SLEEP, and nothing is lost.
import * as host from "./host.js";
import { writeLog } from "./globals/console.js";
import { clearAll, dueTimers, failures, fire, hasImmediates, nextDue, now, runImmediate, takeImmediates } from "./globals/timers.js";

const QUIET = 512;
const QUIET_AFTER_CALLBACK = 64;
/** The longest sleep in one piece, in milliseconds: cancellation is looked at in between. */
const MOST_SLEEP = 50;
/** After how long with nothing scheduled the log is told that the handler waits in vain. */
const IN_VAIN = 2000;
const VAIN = "the handler waits, and neither a timer nor a call of the host is under way: does it await a promise that nothing settles?";

/** An idle round of QUIET turns, in milliseconds: the shortest that was seen. */
let idleRound = Infinity;

async function turn(count, isDone) {
  for (let i = 0; i < count && !isDone(); i++) await undefined;
}

/** The other way: lets the queue turn until it seems to be quiet, or the work is done. */
async function seemsQuiet(isDone) {
  for (;;) {
    const start = now();
    await turn(QUIET, isDone);
    if (isDone()) return;
    const took = now() - start;
    if (took < idleRound) idleRound = took;
    // A round that took clearly longer than an idle one is not taken for quiet.
    if (took <= idleRound * 1.5 + 0.2) return;
  }
}

/** The exact way. */
async function isQuiet() {
  const { readable, writable } = globalThis.wit.Future(globalThis.wit.Future.U8);
  const passed = readable.read();
  writable.write(1);
  await passed;
  readable.drop();
  writable.drop();
}

/**
 * Runs promises, timers and immediates until `work` is settled, and answers what it came to. `watch` is called
 * before each sleep: there the owner of the call's signal looks whether it was cancelled.
 */
export async function drive(work, watch) {
  const state = { done: false };
  const finish = () => { state.done = true; };
  work.then(finish, finish);
  // Most calls are over after a few turns, without a look at the clock.
  for (let i = 0; i < QUIET_AFTER_CALLBACK && !state.done; i++) await undefined;
  if (!state.done) await loop(state, watch);
  const failure = failures.length > 0 ? { error: failures[0] } : undefined;
  clearAll();
  if (failure !== undefined && !state.done) throw failure.error;
  return work;
}

async function loop(state, watch) {
  const isDone = () => state.done || failures.length > 0;
  const exact = globalThis.wit?.Future?.U8 !== undefined;
  const afterCallback = () => (exact ? isQuiet() : turn(QUIET_AFTER_CALLBACK, isDone));
  let slice = 1;
  let idleSince;
  while (!isDone()) {
    await (exact ? isQuiet() : seemsQuiet(isDone));
    if (isDone()) return;
    if (hasImmediates()) {
      for (const immediate of takeImmediates()) {
        runImmediate(immediate);
        await afterCallback();
        if (isDone()) return;
      }
      continue;
    }
    const time = now();
    const due = nextDue();
    if (due !== undefined && due <= time) {
      slice = 1;
      for (const timer of dueTimers(time)) {
        if (fire(timer)) await afterCallback();
        if (isDone()) return;
      }
      continue;
    }
    if (due !== undefined) {
      idleSince = undefined;
    } else if (exact) {
      failures.push(new Error(VAIN));
      return;
    } else if (idleSince === undefined) {
      idleSince = time;
    } else if (time - idleSince > IN_VAIN) {
      idleSince = Infinity;
      writeLog("warn", VAIN);
    }
    watch?.();
    await afterCallback();
    if (isDone()) return;
    const wait = due === undefined ? MOST_SLEEP : Math.max(0, due - now());
    host.system.sleep(Math.ceil(Math.min(wait, exact ? MOST_SLEEP : slice)));
    slice = Math.min(slice * 2, MOST_SLEEP);
  }
}
