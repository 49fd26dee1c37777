// Getting a page: robots.txt, redirects that are looked at one by one, limits, or a browser behind an MCP server.
import { HostError, host, log } from "aih-plugin";
import { contentType, decodePage } from "./decode.js";
import { isAllowed, parseRobots } from "./robots.js";

const PRODUCT = "aih-web-scraper";
const MOST_REDIRECTS = 10;
const ROBOTS_REDIRECTS = 5;
const ROBOTS_KEPT_MS = 24 * 60 * 60 * 1000;
const DEFAULT_MOST_BYTES = 5_000_000;
const DEFAULT_TIMEOUT_MS = 20_000;

const userAgent = () => host.config.get("user_agent", `${PRODUCT}/1.0`);
const mostBytes = () => host.config.get("max_bytes", DEFAULT_MOST_BYTES);

export function parseAddress(text) {
  const url = URL.parse(text);
  if (url === null) throw new Error(`"${text}" is no absolute URL, such as https://example.com/page`);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new Error(`"${text}" is not http or https`);
  url.username = "";
  url.password = "";
  return url;
}

/** A page: `{ url, status, redirects, type, html | text, charset }`. `get` answers only pages that came. */
export async function getPage(address, { render = false, waitFor, signal, deadline } = {}) {
  const url = parseAddress(address);
  return render ? renderPage(url, { waitFor, signal, deadline }) : fetchPage(url, signal);
}

function signals(signal) {
  const timeout = AbortSignal.timeout(host.config.get("timeout_ms", DEFAULT_TIMEOUT_MS));
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
}

async function send(url, accept, signal) {
  return fetch(url, { redirect: "manual", headers: { "user-agent": userAgent(), accept, "accept-language": host.config.get("accept_language", "en, *;q=0.5") }, signal: signals(signal) });
}

function nextHop(response, url) {
  const location = [301, 302, 303, 307, 308].includes(response.status) ? response.headers.get("location") : null;
  if (location === null) return undefined;
  const next = URL.parse(location, url);
  if (next === null || !/^https?:$/.test(next.protocol)) throw new Error(`${url.href} redirects to "${location}", which is no page on the web`);
  // The fragment of what was asked for stays, as in a browser.
  if (next.hash === "") next.hash = url.hash;
  return next;
}

async function fetchPage(start, signal) {
  const redirects = [];
  let url = start;
  for (;;) {
    await askRobots(url, signal);
    const response = await send(url, "text/html, application/xhtml+xml, text/*;q=0.8, */*;q=0.1", signal);
    const next = nextHop(response, url);
    if (next === undefined) return readPage(url, response, redirects);
    redirects.push({ status: response.status, from: url.href, to: next.href });
    if (redirects.length > MOST_REDIRECTS) throw new Error(`${start.href} redirects more than ${MOST_REDIRECTS} times; the last address was ${next.href}`);
    url = next;
  }
}

async function readPage(url, response, redirects) {
  const header = response.headers.get("content-type");
  const { type, isHtml, isText } = contentType(header);
  if (!response.ok) throw new Error(`${url.href} answered ${response.status}${response.statusText === "" ? "" : ` ${response.statusText}`}`);
  if (!isHtml && !isText && type !== "") throw new Error(`${url.href} is ${type}, not a page: HTML, XML, JSON and plain text can be read`);
  const bytes = await response.bytes();
  if (bytes.length > mostBytes()) throw new Error(`${url.href} has ${bytes.length} bytes, more than the ${mostBytes()} that max_bytes allows`);
  const looksLikeHtml = isHtml || (type === "" && /^\s*<(!doctype html|html|head|body)/i.test(new TextDecoder("latin1").decode(bytes.subarray(0, 512))));
  const { text, charset } = decodePage(bytes, header ?? (looksLikeHtml ? "text/html" : null));
  return { url: url.href, status: response.status, redirects, type: type || (looksLikeHtml ? "text/html" : "text/plain"), charset, rendered: false, [looksLikeHtml ? "html" : "text"]: text };
}

// ---- robots.txt -------------------------------------------------------------------------------------------------

/** Throws where robots.txt forbids an address. */
async function askRobots(url, signal) {
  if (host.config.get("robots", "honour") === "ignore") return;
  const robots = await robotsOf(url.origin, signal);
  if (robots.unreachable !== undefined) {
    throw new Error(`${url.origin}/robots.txt could not be read (${robots.unreachable}), so nothing of that site may be fetched (RFC 9309)`);
  }
  if (!isAllowed(parseRobots(robots.text, PRODUCT), url)) throw new Error(`${url.origin}/robots.txt does not allow ${PRODUCT} to fetch ${url.pathname}${url.search}`);
}

const asked = new Map();

async function robotsOf(origin, signal) {
  const known = asked.get(origin) ?? (await kept(origin));
  if (known !== undefined && Date.now() - known.time < ROBOTS_KEPT_MS) return known;
  const robots = { time: Date.now(), ...(await fetchRobots(origin, signal)) };
  asked.set(origin, robots);
  // A site that is down now is asked again at the next call.
  if (robots.unreachable === undefined) await keep(origin, robots);
  return robots;
}

async function fetchRobots(origin, signal) {
  let url = new URL("/robots.txt", origin);
  for (let hops = 0; hops <= ROBOTS_REDIRECTS; hops++) {
    let response;
    try {
      response = await send(url, "text/plain, */*;q=0.1", signal);
    } catch (error) {
      // Not granted, or cancelled: the page itself would end the same way, and the reason is the better one.
      if (error.cause?.code === "not-granted" || signal?.aborted) throw error;
      return { unreachable: error.message };
    }
    const next = nextHop(response, url);
    if (next === undefined) {
      if (response.status >= 500) return { unreachable: `it answered ${response.status}` };
      return { text: response.ok ? await response.text() : "" };
    }
    url = next;
  }
  return { text: "" };
}

async function kept(origin) {
  try {
    return await host.state.get(`robots:${origin}`);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return undefined;
  }
}

async function keep(origin, robots) {
  try {
    await host.state.set(`robots:${origin}`, robots);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    if (error.code !== "not-granted") log.debug(`robots.txt of ${origin} is not kept`, { why: error.message });
  }
}

// ---- rendering --------------------------------------------------------------------------------------------------

const READ = "() => ({ url: location.href, status: performance.getEntriesByType('navigation')[0]?.responseStatus, html: document.documentElement.outerHTML })";
const LOOK_AGAIN_MS = 50;

async function renderPage(url, { waitFor, signal, deadline }) {
  const server = host.config.get("browser");
  if (typeof server !== "string") {
    throw new Error('render needs a browser: add an MCP server such as @playwright/mcp to the hub, name it in this plugin\'s config ("browser: playwright") and grant it ("mcps: [playwright/*]")');
  }
  await askRobots(url, signal);
  const page = await alone(server, { signal, deadline }, async () => {
    await browse(server, "browser_navigate", { url: url.href });
    if (waitFor !== undefined) await browse(server, "browser_wait_for", { text: waitFor });
    const said = await browse(server, "browser_evaluate", { function: READ });
    const found = evaluated(said);
    if (typeof found?.html !== "string") throw new Error(`the browser "${server}" did not answer with a page: ${said.slice(0, 200)}`);
    return found;
  });
  if (page.html.length > mostBytes()) throw new Error(`${page.url} has ${page.html.length} characters once rendered, more than the ${mostBytes()} that max_bytes allows`);
  const redirects = page.url === url.href ? [] : [{ status: null, from: url.href, to: page.url }];
  // A browser that does not tell the status says 0 or nothing.
  return { url: page.url, status: page.status || null, redirects, type: "text/html", charset: "utf-8", rendered: true, html: page.html };
}

/**
 * Runs while no other call of this plugin uses the browser: all share its one page, and what another call opens in
 * between would be taken for this call's page. The turn is kept in the state, the only thing that sandboxes share; it
 * ends by itself with the time of the call that has it. Without `grants.state` there are no turns.
 */
async function alone(server, { signal, deadline }, run) {
  const turn = await takeTurn(`browser:${server}`, deadline, signal);
  try {
    return await run();
  } finally {
    await turn?.();
  }
}

async function takeTurn(key, deadline, signal) {
  const patience = Date.now() + host.config.get("timeout_ms", DEFAULT_TIMEOUT_MS);
  for (;;) {
    signal?.throwIfAborted();
    try {
      const found = await host.state.entry(key);
      if (found === undefined || found.value.until <= Date.now()) {
        const mine = await host.state.set(key, { until: deadline }, { expect: found?.version ?? 0 });
        return () => host.state.set(key, { until: 0 }, { expect: mine }).catch(unlessRefused);
      }
    } catch (error) {
      unlessRefused(error);
      if (error.code !== "conflict") return undefined;
    }
    if (Date.now() > patience) throw new Error("the browser is busy with other pages: try again later");
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

function unlessRefused(error) {
  if (!(error instanceof HostError)) throw error;
}

async function browse(server, tool, args) {
  const result = await host.mcp.callTool(server, tool, args);
  const text = (result.content ?? []).filter((block) => block.type === "text").map((block) => block.text).join("\n");
  if (result.isError) throw new Error(`the browser "${server}" could not ${tool.replace(/^browser_/, "").replace(/_/g, " ")}: ${text.slice(0, 500)}`);
  return text;
}

/** The JSON value in what `browser_evaluate` answers: a section "### Result" of Markdown, or the bare value. */
export function evaluated(text) {
  const section = /^### Result\r?\n([\s\S]*?)(?=\r?\n### |$(?![\s\S]))/m.exec(text)?.[1] ?? text;
  const bare = section.trim().replace(/^```(?:json)?\s*/, "").replace(/\s*```$/, "");
  try {
    const value = JSON.parse(bare);
    return typeof value === "string" ? JSON.parse(value) : value;
  } catch {
    return undefined;
  }
}
