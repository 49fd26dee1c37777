// The plugin's tools on pages of its own, with the host faked: `npm test`, after `npm ci`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fake, thrown } from "../../../sdk/js/test/fake-host.mjs";

await import("../../../sdk/js/src/prelude.js");
const { tools } = await import("../../../sdk/js/src/plugin-entry.js");
await import("../web-scraper.js");
const { isAllowed, parseRobots } = await import("../src/robots.js");
const { evaluated } = await import("../src/get.js");

const encoder = new TextEncoder();
const pages = new Map();
let asked = [];
function serve(url, body, { status = 200, type = "text/html; charset=utf-8", headers = [] } = {}) {
  pages.set(url, { status, url, headers: [["content-type", type], ...headers], body: typeof body === "string" ? encoder.encode(body) : body });
}
fake.http.send = (request) => {
  asked.push(request);
  const page = pages.get(request.url);
  if (page === "down") throw thrown("connection", "refused");
  if (page !== undefined) return page;
  return { status: 404, url: request.url, headers: [["content-type", "text/plain"]], body: encoder.encode("no") };
};

async function call(tool, args) {
  asked = [];
  const output = await tools.callTool({ callId: "c", tool, argumentsJson: JSON.stringify(args), deadlineMs: 10000, extras: [] });
  const text = output.content.map((part) => part.val).join("\n");
  return { text, isError: output.isError, ...(output.structuredJson === undefined ? {} : JSON.parse(output.structuredJson)) };
}

const ARTICLE = `<!doctype html><html lang="en"><head><title> A  title </title><base href="/docs/">
<meta name="description" content="What it is"><meta property="og:title" content="OG"><meta property="og:image" content="a.png"><meta property="og:image" content="b.png">
<link rel="canonical" href="https://a.example/canonical"><script type="application/ld+json">{"@type":"Article"}</script><script>var x = "<p>no</p>"</script></head>
<body><header><nav><a href="/home">Home</a></nav></header><main><h1>Heading</h1><p>First <b>bold</b>, <em>slanted</em> and <a href="page?x=1#y">a link</a>.<br>Next line with <code>a*b</code> and a * star.</p>
<ul><li>one<ul><li>inner</li></ul></li><li>two</li></ul><ol start="3"><li>three</li><li><p>four</p><p>more</p></li></ol>
<pre><code class="language-js">let a = 1;
  b();</code></pre><blockquote><p>Quoted</p></blockquote><img src="/i.png" alt="An image"><table><caption>Prices</caption><tr><th>Thing</th><th>Price</th></tr><tr><td rowspan=2>A|B</td><td>1</td></tr><tr><td>2</td></tr></table>
<p>${"Enough text to be the main part of this page. ".repeat(6)}</p><p hidden>secret</p></main><footer>Foot <a href="https://other.example/">Other</a> <a href="mailto:x@y.example">Mail</a> <a href="javascript:x()">Script</a></footer></body></html>`;
serve("https://a.example/page", ARTICLE);

test("a page as Markdown", async () => {
  const page = await call("fetch_page", { url: "https://a.example/page" });
  assert.equal(page.isError, false, page.text);
  assert.equal(page.title, "A title");
  assert.equal(page.metadata.description, "What it is");
  assert.equal(page.metadata.language, "en");
  assert.equal(page.metadata.canonical, "https://a.example/canonical");
  assert.deepEqual(page.metadata.open_graph, { title: "OG", image: ["a.png", "b.png"] });
  assert.deepEqual(page.metadata.json_ld, [{ "@type": "Article" }]);
  assert.equal(page.content.replace(/(Enough text.*?page\. ?)+/, "ENOUGH"), `# Heading

First **bold**, *slanted* and [a link](https://a.example/docs/page?x=1#y).
Next line with \`a*b\` and a \\* star.

- one
  - inner
- two

3. three
4. four

   more

\`\`\`js
let a = 1;
  b();
\`\`\`

> Quoted

![An image](https://a.example/i.png)

**Prices**

| Thing | Price |
| --- | --- |
| A\\|B | 1 |
| A\\|B | 2 |

ENOUGH`);
  assert.equal(asked[0].url, "https://a.example/robots.txt");
  assert.equal(asked[1].headers.find(([name]) => name === "user-agent")[1], "aih-web-scraper/1.0");
});

test("plain text, HTML, and parts of a long page", async () => {
  const text = await call("fetch_page", { url: "https://a.example/page", format: "text", max_chars: 200 });
  assert.match(text.content, /^Heading\n\nFirst bold, slanted and a link\.\nNext line with a\*b and a \* star\./);
  assert.equal(text.next_start, 200);
  assert.match(text.text, /characters more: start=200\]$/);
  const rest = await call("fetch_page", { url: "https://a.example/page", format: "text", start: 200 });
  assert.equal(rest.next_start, undefined);
  assert.equal(rest.length, text.length);
  assert.match((await call("fetch_page", { url: "https://a.example/page", format: "html" })).content, /^<h1>Heading<\/h1>/);
  assert.match((await call("fetch_page", { url: "https://a.example/page", whole: true })).content, /Other/);
});

test("links, tables and selected parts", async () => {
  const { links } = await call("links", { url: "https://a.example/page" });
  assert.deepEqual(links.map((link) => link.url), ["https://a.example/home", "https://a.example/docs/page?x=1#y", "https://other.example/", "mailto:x@y.example"]);
  assert.deepEqual((await call("links", { url: "https://a.example/page", internal: false, contains: "OTHER" })).links, [{ url: "https://other.example/", text: "Other", internal: false }]);
  assert.deepEqual((await call("links", { url: "https://a.example/page", within: "main" })).count, 1);
  const { tables } = await call("tables", { url: "https://a.example/page" });
  assert.deepEqual(tables, [{ caption: "Prices", headers: ["Thing", "Price"], rows: [["A|B", "1"], ["A|B", "2"]], row_count: 2 }]);
  const { fields } = await call("extract", { url: "https://a.example/page", fields: { head: { selector: "h1" }, items: { selector: "main > ul > li", all: true }, image: { selector: "img", get: "src" }, none: { selector: "h6" }, html: { selector: "h1", get: "html" } } });
  assert.deepEqual(fields, { head: "Heading", items: ["one inner", "two"], image: "https://a.example/i.png", none: null, html: "<h1>Heading</h1>" });
  const each = await call("extract", { url: "https://a.example/page", each: "tr:has(td)", fields: { last: { selector: "td:last-child" } } });
  assert.deepEqual(each.items, [{ last: "1" }, { last: "2" }]);
  assert.match((await call("extract", { url: "https://a.example/page", fields: { a: { selector: "h1[" } } })).text, /is no CSS selector/);
});

test("redirects are followed one by one and reported", async () => {
  serve("https://r.example/", "", { status: 301, headers: [["location", "/two"]] });
  serve("https://r.example/two", "", { status: 302, headers: [["location", "https://a.example/page"]] });
  serve("https://loop.example/", "", { status: 302, headers: [["location", "/"]] });
  const page = await call("fetch_page", { url: "https://r.example/#top" });
  assert.equal(page.url, "https://a.example/page#top");
  assert.deepEqual(page.redirects, [{ status: 301, from: "https://r.example/#top", to: "https://r.example/two#top" }, { status: 302, from: "https://r.example/two#top", to: "https://a.example/page#top" }]);
  assert.ok(asked.every((request) => request.headers.some(([name, value]) => name === "aih-redirect" && value === "manual")));
  assert.match((await call("fetch_page", { url: "https://loop.example/" })).text, /redirects more than 10 times/);
  serve("https://out.example/", "", { status: 302, headers: [["location", "ftp://x/"]] });
  assert.match((await call("fetch_page", { url: "https://out.example/" })).text, /no page on the web/);
});

test("robots.txt is honoured, for redirects too", async () => {
  serve("https://n.example/robots.txt", "User-agent: *\nDisallow: /private", { type: "text/plain" });
  serve("https://n.example/private/x", ARTICLE);
  serve("https://n.example/public", "", { status: 302, headers: [["location", "/private/x"]] });
  assert.match((await call("fetch_page", { url: "https://n.example/private/x" })).text, /robots\.txt does not allow aih-web-scraper to fetch \/private\/x/);
  assert.match((await call("fetch_page", { url: "https://n.example/public" })).text, /does not allow/);
  serve("https://e.example/robots.txt", "", { status: 503 });
  assert.match((await call("fetch_page", { url: "https://e.example/" })).text, /could not be read \(it answered 503\)/);
  pages.set("https://d.example/robots.txt", "down");
  assert.match((await call("fetch_page", { url: "https://d.example/" })).text, /could not be read/);
});

test("robots.txt: groups, longest match, wildcards (RFC 9309)", () => {
  const allowed = (text, path) => isAllowed(parseRobots(text, "aih-web-scraper"), new URL(path, "https://x.example"));
  const rules = "User-agent: other\nDisallow: /\n\nUser-agent: AIH-Web-Scraper\nuser-agent: third\nDisallow: /a\nAllow: /a/b\nDisallow: /*.gif$\nDisallow: /q?x\n\nUser-agent: *\nDisallow: /every\n\nUser-agent: aih-web-scraper/2\nDisallow: /second";
  for (const [path, expected] of [["/", true], ["/a", false], ["/a/c", false], ["/a/b/c", true], ["/x.gif", false], ["/x.gif?y", true], ["/q?x=1", false], ["/every", true], ["/second", false], ["/robots.txt", true]]) assert.equal(allowed(rules, path), expected, path);
  assert.equal(allowed("User-agent: *\nDisallow: /p\nAllow: /p", "/p"), true);
  assert.equal(allowed("User-agent: *\nDisallow: /%7Ejoe", "/~joe"), false);
  assert.equal(allowed("User-agent: *\nDisallow: /caf\u00e9", "/caf%c3%a9"), false);
  assert.equal(allowed("Disallow: /", "/x"), true);
  assert.equal(allowed("User-agent: *\nDisallow:", "/x"), true);
  assert.equal(allowed("User-agent: *\nDisallow: /*/end$", "/a/b/end"), false);
  assert.equal(allowed(`User-agent: *\nDisallow: /${"*a".repeat(500)}$`, `/${"a".repeat(400)}b`), true);
});

test("charsets, content types, sizes and failures", async () => {
  serve("https://c.example/1", new Uint8Array([...encoder.encode("<meta charset=windows-1251><body><p>"), 0xcf, 0xf0, 0xe8]), { type: "text/html" });
  serve("https://c.example/2", new Uint8Array([0x63, 0x61, 0x66, 0xe9]), { type: "text/plain; charset=ISO-8859-1" });
  serve("https://c.example/3", "<meta charset=gbk>x", { type: "text/html" });
  serve("https://c.example/4", "x", { type: "image/png" });
  serve("https://c.example/5", '{"a":1}', { type: "application/json" });
  serve("https://c.example/6", "x".repeat(2000), { type: "text/plain" });
  assert.equal((await call("fetch_page", { url: "https://c.example/1" })).content, "При");
  assert.equal((await call("fetch_page", { url: "https://c.example/2" })).content, "café");
  assert.match((await call("fetch_page", { url: "https://c.example/3" })).text, /charset "gbk"/);
  assert.match((await call("fetch_page", { url: "https://c.example/4" })).text, /is image\/png, not a page/);
  assert.equal((await call("fetch_page", { url: "https://c.example/5" })).content, '{"a":1}');
  assert.match((await call("links", { url: "https://c.example/5" })).text, /only fetch_page reads/);
  fake.configured.max_bytes = 1000;
  assert.match((await call("fetch_page", { url: "https://c.example/6" })).text, /2000 bytes, more than the 1000/);
  delete fake.configured.max_bytes;
  assert.match((await call("fetch_page", { url: "https://c.example/none" })).text, /answered 404 Not Found/);
  assert.match((await call("fetch_page", { url: "nonsense" })).text, /no absolute URL/);
  assert.match((await call("fetch_page", { url: "file:///etc/passwd" })).text, /not http or https/);
});

test("render goes through the browser that the operator named", async () => {
  assert.match((await call("fetch_page", { url: "https://a.example/page", render: true })).text, /render needs a browser/);
  fake.configured.browser = "playwright";
  const calls = [];
  fake.mcp.callTool = (server, tool, args) => {
    calls.push([server, tool, JSON.parse(args)]);
    const text = tool === "browser_evaluate" ? `### Result\n${JSON.stringify({ url: "https://a.example/page#done", html: "<html><body><p>By\n### script</p></body></html>" }, null, 2)}\n\n### Ran Playwright code\n\`\`\`js\nawait page.evaluate()\n\`\`\`` : "ok";
    return JSON.stringify({ content: [{ type: "text", text }] });
  };
  const page = await call("fetch_page", { url: "https://a.example/page", render: true, wait_for: "By" });
  assert.equal(page.content, "By ### script");
  assert.equal(page.rendered, true);
  assert.deepEqual(calls.map(([server, tool]) => `${server} ${tool}`), ["playwright browser_navigate", "playwright browser_wait_for", "playwright browser_evaluate"]);
  fake.mcp.callTool = () => JSON.stringify({ content: [{ type: "text", text: "net::ERR" }], isError: true });
  assert.match((await call("fetch_page", { url: "https://a.example/page", render: true })).text, /the browser "playwright" could not navigate: net::ERR/);
  // Whoever has the turn is waited for, and then given up on.
  const held = { until: Date.now() + 60_000 };
  const { host } = await import("../../../sdk/js/src/index.js");
  await host.state.set("browser:playwright", held);
  fake.configured.timeout_ms = 100;
  assert.match((await call("fetch_page", { url: "https://a.example/page", render: true })).text, /the browser is busy/);
  await host.state.set("browser:playwright", { until: 0 });
  delete fake.configured.timeout_ms;
  assert.match((await call("fetch_page", { url: "https://a.example/page", render: true })).text, /net::ERR/);
  delete fake.configured.browser;
  assert.deepEqual(evaluated('"{\\"html\\":1}"'), { html: 1 });
  assert.deepEqual(evaluated('### Result\n```json\n{"html":1}\n```'), { html: 1 });
  assert.equal(evaluated("nothing"), undefined);
});
