// The part of Node's `process` that says nothing about the machine.
const started = Date.now();
const nothing = () => process;

const process = {
  title: "aih",
  browser: true,
  env: { NODE_ENV: "production" },
  argv: [],
  execArgv: [],
  pid: 1,
  platform: "wasi",
  arch: "wasm32",
  version: "",
  versions: {},
  release: {},
  exitCode: undefined,
  cwd: () => "/",
  uptime: () => (Date.now() - started) / 1000,
  hrtime: Object.assign(
    (before = [0, 0]) => {
      const now = Date.now();
      const seconds = Math.floor(now / 1000) - before[0];
      const nanoseconds = (now % 1000) * 1e6 - before[1];
      return nanoseconds < 0 ? [seconds - 1, nanoseconds + 1e9] : [seconds, nanoseconds];
    },
    { bigint: () => BigInt(Date.now()) * 1000000n },
  ),
  memoryUsage: () => ({ rss: 0, heapTotal: 0, heapUsed: 0, external: 0, arrayBuffers: 0 }),
  nextTick: (job, ...args) => { Promise.resolve().then(() => job(...args)); },
  emitWarning: (warning) => { globalThis.console?.warn(String(warning)); },
  exit: (code) => { throw new Error(`process.exit(${code ?? ""}) was called`); },
  on: nothing, once: nothing, off: nothing, addListener: nothing, removeListener: nothing, removeAllListeners: nothing,
  emit: () => false,
  listeners: () => [],
  listenerCount: () => 0,
};

export default process;
export const { env, argv, platform, version, versions, cwd, hrtime, nextTick, exit, emitWarning, uptime, pid } = process;
