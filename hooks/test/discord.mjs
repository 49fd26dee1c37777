// A server that treats messages of a webhook as Discord does: it checks the address, the form and the limits, answers
// 204 or, with `wait=true`, the message, and says 429 with a time to wait where the test wants it.
import { once } from "node:events";
import { createServer } from "node:http";
import { Worker, isMainThread, parentPort } from "node:worker_threads";

export const PATH = "/api/webhooks/123456789012345678/abcDEF-ghi_JKL0123456789";

if (!isMainThread) {
  const messages = [];
  let answers = [];
  let number = 1000;

  /** What Discord would refuse. */
  function problem(message) {
    const embeds = message.embeds ?? [];
    const texts = embeds.flatMap((embed) => [embed.title, embed.description, embed.footer?.text, ...(embed.fields ?? []).flatMap((field) => [field.name, field.value])]);
    if (!message.content && embeds.length === 0) return "Cannot send an empty message";
    if ((message.content ?? "").length > 2000) return "content: Must be 2000 or fewer in length.";
    if (embeds.length > 10) return "embeds: Must be 10 or fewer in length.";
    for (const embed of embeds) {
      if ((embed.title ?? "").length > 256 || (embed.description ?? "").length > 4096 || (embed.footer?.text ?? "").length > 2048) return "embeds: too long";
      if ((embed.fields ?? []).length > 25 || (embed.fields ?? []).some(({ name, value }) => !name || !value || name.length > 256 || value.length > 1024)) return "embeds: fields";
      if (embed.timestamp !== undefined && Number.isNaN(Date.parse(embed.timestamp))) return "embeds: timestamp";
    }
    return texts.reduce((sum, text) => sum + (text ?? "").length, 0) > 6000 ? "Embed size exceeds maximum size of 6000" : undefined;
  }

  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    const url = new URL(request.url, "http://x");
    const answer = (status, json, headers = {}) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(json === undefined ? undefined : JSON.stringify(json));
    };
    if (url.pathname === "/test/answers") { answers = JSON.parse(body); return answer(200, {}); }
    if (url.pathname === "/test/messages") return answer(200, messages.splice(0));
    if (request.method !== "POST" || url.pathname !== PATH) return answer(404, { message: "Unknown Webhook", code: 10015 });
    const planned = answers.shift();
    if (planned?.seconds !== undefined) {
      const headers = planned.inBody ? {} : { "retry-after": String(planned.seconds) };
      return answer(429, { message: "You are being rate limited.", retry_after: planned.seconds, global: false }, headers);
    }
    if (planned?.status !== undefined) return answer(planned.status, { message: "upstream trouble" }, planned.headers);
    const message = JSON.parse(body);
    const wrong = problem(message);
    if (wrong !== undefined) return answer(400, { message: wrong, code: 50035 });
    messages.push(message);
    if (url.searchParams.get("wait") !== "true") { response.writeHead(204); return response.end(); }
    return answer(200, { id: String(++number), ...message });
  });
  server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
}

/** Starts it in a thread of its own: this one stands still while the hook waits for an answer. */
export async function discord() {
  const worker = new Worker(new URL(import.meta.url));
  const [port] = await once(worker, "message");
  worker.unref();
  return `http://127.0.0.1:${port}`;
}
