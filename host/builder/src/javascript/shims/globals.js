// What packages for every platform look for, beside the SDK's globals.
import process from "./process.js";
import { Buffer } from "./buffer.js";

for (const [name, value] of Object.entries({ process, Buffer, global: globalThis })) {
  if (!(name in globalThis)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }
}
