// Posts failed tool calls to a Discord webhook. The same failure again within `window_minutes` is counted, not
// posted; the next message says how often it happened. Whatever cannot be posted now fails, and the hub's queue
// tries it again later.
import { defineHook, host, log } from "aih-plugin";

const DAY_MS = 86_400_000;
const MOST_TRIES = 3;
// Forms of tokens, passwords in `key=value` and in addresses, and any long run of letters and digits together.
const SECRETS = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, "[masked]"],
  [/\b(bearer|basic|token)(\s+)[\w.~+\/=-]{8,}/gi, "$1$2[masked]"],
  [/((?:api[_-]?key|secret|token|password|passwd|pwd)["']?\s*[:=]\s*["']?)[^\s"',;&]{4,}/gi, "$1[masked]"],
  [/(:\/\/)[^\s\/@]+@/g, "$1[masked]@"],
  [/\b(?:sk|pk|rk|whsec|gh[oprsu]|github_pat|glpat|xox[a-z]|npm|AKIA|ASIA|eyJ)[\w.-]{12,}/g, "[masked]"],
  [/\b(?=[\w+\/-]*\d)(?=[\w+\/-]*[A-Za-z])[\w+-]{32,}={0,2}/g, "[masked]"],
];
const mask = (text) => SECRETS.reduce((masked, [pattern, instead]) => masked.replace(pattern, instead), text);

/** At most `most` characters: Discord refuses a message with one that is too long. */
const clip = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, "")}…`);

async function sha256(text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The webhook's address, or nothing where the secret has no value yet. `config.base` puts another server in the place of discord.com, for tests. */
function webhook() {
  let secret;
  try {
    secret = host.secrets.get("DISCORD_WEBHOOK_URL");
  } catch (error) {
    if (error.code === "not-set") return undefined;
    throw error;
  }
  if (!URL.canParse(secret)) throw new Error("DISCORD_WEBHOOK_URL is not an address");
  const given = new URL(secret);
  if (!/^\/api(\/v\d+)?\/webhooks\/\d+\/[\w-]+$/.test(given.pathname)) throw new Error("DISCORD_WEBHOOK_URL is not the address of a Discord webhook");
  const url = new URL(given.pathname + given.search, host.config.get("base", "https://discord.com"));
  // Discord answers when the message is stored, not when it was received.
  url.searchParams.set("wait", "true");
  return url;
}

/** Seconds that a 429 asks for: a decimal in the header or in the body. */
function retryAfter(response, body) {
  const seconds = [response.headers.get("retry-after"), body?.retry_after].map((value) => (value == null ? NaN : Number(value)));
  return Math.max(0, ...seconds.filter(Number.isFinite), seconds.some(Number.isFinite) ? 0 : 5);
}

/** Posts a message and answers its id. Errors never hold the address, which is a secret. */
async function post(url, message) {
  for (let tries = 1; ; tries++) {
    let response;
    try {
      response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", "user-agent": "DiscordBot (aih notify-discord, 1.0)" },
        body: JSON.stringify(message),
        redirect: "manual",
        signal: AbortSignal.timeout(10_000),
      });
    } catch (error) {
      throw new Error(`Discord could not be reached: ${mask(String(error.cause?.code ?? error.message).replaceAll(url.pathname, "[masked]"))}`);
    }
    const body = await response.json().catch(() => undefined);
    if (response.ok) return body?.id;
    if (response.status !== 429) throw new Error(`Discord answered ${response.status}: ${clip(mask(String(body?.message ?? "")), 200)}`);

    const seconds = retryAfter(response, body);
    // All runs of this hook wait, not only this one: going on regardless gets a webhook blocked.
    await host.state.set("paused-until", Date.now() + seconds * 1000);
    if (seconds > host.config.get("max_wait_seconds", 2) || tries >= MOST_TRIES) throw new Error(`Discord wants ${seconds} s of silence`);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

/** Counts the failure. Answers its group where this event is the one to post, `before` being the group's last window. */
async function claim(key, id, now) {
  const window = host.config.get("window_minutes", 10) * 60_000;
  return host.state.update(key, (group) => {
    if (group?.id === id || group?.lastId === id) return group;
    if (group !== undefined && now - group.first < window) return { ...group, count: group.count + 1, last: now, lastId: id };
    const untold = (group?.count ?? 0) - (group?.told ?? 0);
    const before = untold > 0 ? { count: untold, last: group.last } : undefined;
    return { id, lastId: id, count: 1, first: now, last: now, before };
  });
}

/** Forgets groups of which nothing was heard for a day, so that the state stays small. */
async function forget(now) {
  const age = Math.max(DAY_MS, 2 * host.config.get("window_minutes", 10) * 60_000);
  for (const key of await host.state.keys("group:", { limit: 500 })) {
    const group = await host.state.get(key);
    if (group !== undefined && now - group.last > age) await host.state.delete(key);
  }
}

function compose(event, text, group, id) {
  const field = (name, value) => (value === undefined ? [] : [{ name, value: clip(String(value), 100), inline: true }]);
  const stamp = (time) => `<t:${Math.floor(time / 1000)}:R>`;
  return {
    content: clip(`**${mask(`${event.server}/${event.tool}`).replace(/[*_`~|>\\]/g, "\\$&")}** failed`, 2000),
    embeds: [{
      title: clip(`${event.server}/${event.tool}`, 256),
      // A fence, so that the message is shown as it is; at most 4,096 characters with it, and 6,000 in the whole embed.
      description: `\`\`\`\n${clip(text.replaceAll("```", "'''"), 4080)}\n\`\`\``,
      color: 0xd64545,
      timestamp: event.at,
      fields: [
        ...field("Key", event.principal),
        ...field("Client", event.client?.info?.name),
        ...field("Code", event.error?.code),
        ...field("Repeated", group.before && `${group.before.count} more before this, last ${stamp(group.before.last)}`),
        ...field("Since then", group.count > 1 ? `${group.count - 1} more` : undefined),
      ],
      // The id is the same when the event is tried again: two messages with one id are one failure.
      footer: { text: clip(`${event.hub} · ${id}`, 2048) },
    }],
    allowed_mentions: { parse: [] },
  };
}

defineHook({
  on: ["tool.error", "manual"],
  async handler({ id, name, payload }) {
    const url = webhook();
    if (url === undefined) {
      log.warn("nothing is posted: DISCORD_WEBHOOK_URL has no value");
      return { result: { posted: false, why: "DISCORD_WEBHOOK_URL has no value" } };
    }
    // By hand: `{"server": "x", "tool": "y", "error": {"message": "a test"}}`.
    const event = name === "manual" ? { server: "test", tool: "test", ...payload, ...payload.payload } : payload;
    const said = event.error?.message ?? (event.result?.content ?? []).map((block) => block.text ?? "").join("\n");
    const text = mask(clip(said || "It gave no message.", 20_000));

    const now = Date.now();
    // Ids and long numbers differ from one failure to the next.
    const key = `group:${await sha256(JSON.stringify([event.server, event.tool, text.replace(/[\da-f-]{8,}|\d{4,}/gi, "#")]))}`;
    const group = await claim(key, id, now);
    if (group.id !== id || group.posted !== undefined) return { result: { posted: false, count: group.count } };

    const paused = ((await host.state.get("paused-until")) ?? 0) - now;
    if (paused > 0) throw new Error(`Discord wants ${Math.ceil(paused / 1000)} s of silence`);
    const message = (await post(url, compose(event, text, group, id))) ?? true;
    await host.state.update(key, (latest) => ({ ...(latest ?? group), posted: message, told: group.count }));
    await forget(now);
    log.debug("posted", { message });
    return { result: { posted: true, message } };
  },
});
