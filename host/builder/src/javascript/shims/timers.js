// Node's `timers`, over the globals.
const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate } = globalThis;
export { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate };
export default { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate };
