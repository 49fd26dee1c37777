// Evaluated before anything else: puts the globals in place that people expect from Node and the browser.
import { atob, btoa } from "./globals/base64.js";
import { Blob, File, FormData } from "./globals/blob.js";
import { structuredClone } from "./globals/clone.js";
import { console } from "./globals/console.js";
import { CryptoKey, crypto, random } from "./globals/crypto.js";
import { DOMException } from "./globals/dom-exception.js";
import { TextDecoder, TextEncoder } from "./globals/encoding.js";
import { AbortController, AbortSignal, CustomEvent, Event, EventTarget } from "./globals/events.js";
import { Request, Response, fetch } from "./globals/fetch.js";
import { Headers } from "./globals/headers.js";
import { performance } from "./globals/performance.js";
import { ReadableStream } from "./globals/stream.js";
import {
  clearImmediate, clearInterval, clearTimeout, queueMicrotask, setImmediate, setInterval, setTimeout,
} from "./globals/timers.js";
import { URL, URLSearchParams } from "./globals/url.js";

const globals = {
  atob, btoa, Blob, File, FormData, structuredClone, console, crypto, CryptoKey, DOMException, TextDecoder, TextEncoder,
  AbortController, AbortSignal, CustomEvent, Event, EventTarget, Request, Response, fetch, Headers, performance,
  ReadableStream, clearImmediate, clearInterval, clearTimeout, queueMicrotask, setImmediate, setInterval, setTimeout,
  URL, URLSearchParams,
};
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}
Object.defineProperty(Math, "random", { value: random, writable: true, configurable: true, enumerable: false });
for (const name of ["self", "global"]) {
  if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value: globalThis, writable: true, configurable: true, enumerable: false });
}
if (!("navigator" in globalThis)) {
  Object.defineProperty(globalThis, "navigator", { value: { userAgent: "aih-plugin" }, writable: true, configurable: true, enumerable: false });
}
