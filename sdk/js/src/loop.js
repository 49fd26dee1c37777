// The event loop of one call.
//
// QuickJS runs promise jobs first in, first out, and tells nobody whether its queue is empty. The imports of the host
// are plain functions, so waiting is a call to `system.sleep` during which no job runs. `drive` therefore works in
// rounds: it lets the queue turn (a job of its own goes to the back of the queue again and again, and whatever
// stood before it has run when it comes up), and looks at the timers only after QUIET turns of that.
//
// What follows from it:
// - A timer never runs before its time, and never in the middle of a job.
// - Jobs go before timers, as in Node, for every chain of promises shorter than QUIET steps. A longer chain
//   that was already under way when a timer came due may be overtaken by that timer; it goes on behind it. To make
//   this rarer still a round that took clearly longer than an idle one is not taken for quiet.
// - While nothing is due the loop sleeps in growing slices, never past the next timer, and lets the queue turn between
//   them: a chain that was mistaken for silence goes on after at most MOST_SLEEP, and nothing is ever lost.
import * as host from "./host.js";
import { writeLog } from "./globals/console.js";
import { clearAll, dueTimers, failures, fire, hasImmediates, nextDue, now, runImmediate, takeImmediates } from "./globals/timers.js";

const QUIET = 512;
const QUIET_AFTER_CALLBACK = 64;
const MOST_SLEEP = 50;
/** After how long with nothing scheduled the log is told that the handler waits in vain. */
const IN_VAIN = 2000;
/** An idle round of QUIET turns, in milliseconds: the shortest that was seen. */
let idleRound = Infinity;

async function turn(count, isDone) {
  for (let i = 0; i < count && !isDone(); i++) await undefined;
}

/** Lets the queue turn until it seems to be quiet, or the work is done. */
async function settle(isDone) {
  for (;;) {
    const start = now();
    await turn(QUIET, isDone);
    if (isDone()) return;
    const took = now() - start;
    if (took < idleRound) idleRound = took;
    if (took <= idleRound * 1.5 + 0.2) return;
  }
}

/** Runs promises, timers and immediates until `work` is settled, and answers what it came to. */
export async function drive(work) {
  let done = false;
  const finish = () => { done = true; };
  work.then(finish, finish);
  const isDone = () => done || failures.length > 0;
  // Most calls are over after a few turns, without a look at the clock.
  await turn(QUIET_AFTER_CALLBACK, isDone);
  let slice = 1;
  let idleSince;
  while (!isDone()) {
    await settle(isDone);
    if (isDone()) break;
    if (hasImmediates()) {
      for (const immediate of takeImmediates()) {
        runImmediate(immediate);
        await turn(QUIET_AFTER_CALLBACK, isDone);
        if (isDone()) break;
      }
      continue;
    }
    const time = now();
    const due = nextDue();
    if (due !== undefined && due <= time) {
      slice = 1;
      for (const timer of dueTimers(time)) {
        if (fire(timer)) await turn(QUIET_AFTER_CALLBACK, isDone);
        if (isDone()) break;
      }
      continue;
    }
    if (due !== undefined) idleSince = undefined;
    else if (idleSince === undefined) idleSince = time;
    else if (time - idleSince > IN_VAIN) {
      idleSince = Infinity;
      writeLog("warn", "the handler waits, and neither a timer nor a call of the host is under way: does it await a promise that nothing settles?");
    }
    host.system.sleep(Math.ceil(Math.min(slice, MOST_SLEEP, due === undefined ? MOST_SLEEP : due - time)));
    slice *= 2;
  }
  const failure = failures.length > 0 ? { error: failures[0] } : undefined;
  clearAll();
  if (failure !== undefined && !done) throw failure.error;
  return work;
}
