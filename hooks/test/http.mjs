// The host's HTTP for real: requests leave over a socket, while the hook waits for them as it does in the sandbox.
import { MessageChannel, Worker, receiveMessageOnPort } from "node:worker_threads";

const CLIENT = `
  const { workerData: { port, wake } } = require("node:worker_threads");
  port.on("message", async ({ method, url, headers, body, timeoutMs }) => {
    let answer;
    try {
      const redirect = headers.some(([name]) => name === "aih-redirect") ? "manual" : "follow";
      const response = await fetch(url, { method, headers: headers.filter(([name]) => name !== "aih-redirect"), body: body ?? undefined, redirect, signal: AbortSignal.timeout(timeoutMs ?? 10000) });
      answer = { status: response.status, url: response.url, headers: [...response.headers], body: new Uint8Array(await response.arrayBuffer()) };
    } catch (error) {
      answer = { error: String(error.cause?.code ?? error.message) };
    }
    port.postMessage(answer);
    Atomics.store(wake, 0, 1);
    Atomics.notify(wake, 0);
  });`;

const { port1: port, port2 } = new MessageChannel();
const wake = new Int32Array(new SharedArrayBuffer(4));
const client = new Worker(CLIENT, { eval: true, workerData: { port: port2, wake }, transferList: [port2] });
client.unref();
port.unref();

/** Sends one request and waits for the answer: `{ status, url, headers, body }`, or `{ error }`. */
export function exchange(request) {
  Atomics.store(wake, 0, 0);
  port.postMessage(request);
  if (Atomics.wait(wake, 0, 0, 20_000) === "timed-out") return { error: "no answer" };
  return receiveMessageOnPort(port).message;
}
