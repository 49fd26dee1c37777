// Web pages for models: readable text, metadata, links, tables and CSS-selected parts.
import { default as serialize } from "dom-serializer";
import { defineTool } from "aih-plugin";
import { getPage } from "./src/get.js";
import { all, drop, lineOf, links, metadata, parsePage, resolve, selector, table } from "./src/page.js";
import { mainPart, render } from "./src/readable.js";

const ADDRESS = {
  url: { type: "string", description: "The page's address, http or https", minLength: 1 },
  render: { type: "boolean", description: "Load the page in a browser and take it after its scripts ran. Needs a browser MCP server in the hub.", default: false },
  wait_for: { type: "string", description: "With render: a text that has to be on the page before it is taken" },
};
const READS = { readOnlyHint: true, openWorldHint: true };
const DEFAULT_CHARACTERS = 20_000;

/** What every answer says of where it came from. */
const origin = (page) => drop({ url: page.url, status: page.status ?? undefined, rendered: page.rendered || undefined, redirects: page.redirects });

async function open(args, context) {
  const got = await getPage(args.url, { render: args.render, waitFor: args.wait_for, signal: context.signal, deadline: context.deadline.getTime() });
  if (got.html === undefined) throw new Error(`${got.url} is ${got.type}: only fetch_page reads what is not HTML`);
  return { got, page: parsePage(got.html, got.url) };
}

function cut(text, start, most) {
  const part = text.slice(start, start + most);
  return drop({ content: part, length: text.length, next_start: start + most < text.length ? start + most : undefined });
}

defineTool({
  name: "fetch_page",
  title: "Fetch a page",
  description: "Reads a web page: its main content as Markdown, plain text or HTML, with title and metadata (description, language, canonical address, OpenGraph, JSON-LD). Long pages come in parts: call again with next_start.",
  annotations: READS,
  input: {
    type: "object",
    properties: {
      ...ADDRESS,
      format: { enum: ["markdown", "text", "html"], description: "The form of the content", default: "markdown" },
      whole: { type: "boolean", description: "Take the whole body, with navigation and the like, not only the main part", default: false },
      start: { type: "integer", minimum: 0, description: "Where to begin in the content, in characters", default: 0 },
      max_chars: { type: "integer", minimum: 200, maximum: 200_000, description: "The most characters of content", default: DEFAULT_CHARACTERS },
    },
    required: ["url"],
    additionalProperties: false,
  },
  handler: async (args, context) => {
    const got = await getPage(args.url, { render: args.render, waitFor: args.wait_for, signal: context.signal, deadline: context.deadline.getTime() });
    if (got.html === undefined) {
      const structured = { ...origin(got), type: got.type, ...cut(got.text, args.start, args.max_chars) };
      return { structured, content: structured.content ?? "" };
    }
    const page = parsePage(got.html, got.url);
    const part = args.whole ? (all(page.document, "body")[0] ?? page.document) : mainPart(page);
    const content = args.format === "html" ? serialize(part.children) : render(page, part, args.format);
    const about = metadata(page);
    const structured = { ...origin(got), title: about.title ?? null, metadata: about, ...cut(content, args.start, args.max_chars) };
    const more = structured.next_start === undefined ? "" : `\n\n[${structured.length - structured.next_start} characters more: start=${structured.next_start}]`;
    const head = args.start === 0 && args.format === "markdown" && about.title !== undefined && !/^# /m.test(content.slice(0, 2000)) ? `# ${about.title}\n\n` : "";
    return { structured, content: `${head}${structured.content ?? ""}${more}` };
  },
});

const FIELD = {
  type: "object",
  properties: {
    selector: { type: "string", description: "A CSS selector", minLength: 1 },
    get: { type: "string", description: 'What of each match: "text", "html", or the name of an attribute such as "href"', default: "text" },
    all: { type: "boolean", description: "Every match as a list, not only the first", default: false },
  },
  required: ["selector"],
  additionalProperties: false,
};
const ADDRESS_ATTRIBUTES = new Set(["href", "src", "action", "poster", "cite", "data-src"]);

function read(page, element, get) {
  if (get === "text") return lineOf(element);
  if (get === "html") return serialize(element);
  const value = element.attribs[get.toLowerCase()];
  if (value === undefined) return null;
  return ADDRESS_ATTRIBUTES.has(get.toLowerCase()) ? (resolve(page, value) ?? value) : value;
}

defineTool({
  name: "extract",
  title: "Extract parts of a page",
  description: 'Takes parts of a page by CSS selectors. fields maps names of yours to { selector, get, all }: get is "text" (default), "html" or an attribute; addresses become absolute. With each, a selector for repeated items such as products, fields are looked up in every one of them.',
  annotations: READS,
  input: {
    type: "object",
    properties: {
      ...ADDRESS,
      fields: { type: "object", description: "Name → what to take", minProperties: 1, maxProperties: 50, additionalProperties: FIELD },
      each: { type: "string", description: "A CSS selector of the items that the fields are looked up in", minLength: 1 },
      limit: { type: "integer", minimum: 1, maximum: 1000, description: "The most matches of a list", default: 100 },
    },
    required: ["url", "fields"],
    additionalProperties: false,
  },
  handler: async (args, context) => {
    const fields = Object.entries(args.fields).map(([name, field]) => [name, field, selector(field.selector)]);
    const each = args.each === undefined ? undefined : selector(args.each);
    const { got, page } = await open(args, context);
    const take = (node) => Object.fromEntries(fields.map(([name, field, query]) => {
      const found = all(node, query);
      const get = field.get ?? "text";
      return [name, field.all ? found.slice(0, args.limit).map((element) => read(page, element, get)) : found.length > 0 ? read(page, found[0], get) : null];
    }));
    if (each === undefined) return { structured: { ...origin(got), fields: take(page.document) } };
    const items = all(page.document, each);
    return { structured: { ...origin(got), count: items.length, items: items.slice(0, args.limit).map(take) } };
  },
});

defineTool({
  name: "links",
  title: "Links of a page",
  description: "The links of a page: absolute address, text, and whether it stays on the site.",
  annotations: READS,
  input: {
    type: "object",
    properties: {
      ...ADDRESS,
      within: { type: "string", description: "A CSS selector of the parts to look in", minLength: 1 },
      contains: { type: "string", description: "Only links with this text in their address or text" },
      internal: { type: "boolean", description: "Only links that stay on the site (true) or leave it (false)" },
      limit: { type: "integer", minimum: 1, maximum: 5000, description: "The most links", default: 200 },
    },
    required: ["url"],
    additionalProperties: false,
  },
  handler: async (args, context) => {
    const within = args.within === undefined ? undefined : selector(args.within);
    const { got, page } = await open(args, context);
    const parts = within === undefined ? [page.document] : all(page.document, within);
    const found = new Map();
    for (const part of parts) for (const link of links(page, part)) if (!found.has(link.url)) found.set(link.url, link);
    const wanted = args.contains?.toLowerCase();
    const fitting = [...found.values()].filter((link) => (wanted === undefined || `${link.url} ${link.text}`.toLowerCase().includes(wanted)) && (args.internal === undefined || link.internal === args.internal));
    return { structured: { ...origin(got), count: fitting.length, links: fitting.slice(0, args.limit) } };
  },
});

defineTool({
  name: "tables",
  title: "Tables of a page",
  description: "The tables of a page as rows of text, with caption and headers; cells that span several are repeated in each.",
  annotations: READS,
  input: {
    type: "object",
    properties: {
      ...ADDRESS,
      within: { type: "string", description: "A CSS selector of the tables, or of the parts that they stand in", minLength: 1 },
      max_rows: { type: "integer", minimum: 1, maximum: 10_000, description: "The most rows of a table", default: 500 },
    },
    required: ["url"],
    additionalProperties: false,
  },
  handler: async (args, context) => {
    const within = args.within === undefined ? undefined : selector(args.within);
    const { got, page } = await open(args, context);
    const parts = within === undefined ? [page.document] : all(page.document, within);
    const elements = new Set(parts.flatMap((part) => (part.name === "table" ? [part] : all(part, "table"))));
    const tables = [...elements].map(table).filter((found) => found.rows.length + found.headers.length > 0)
      .map((found) => drop({ ...found, caption: found.caption ?? undefined, row_count: found.rows.length, rows: found.rows.slice(0, args.max_rows) }));
    return { structured: { ...origin(got), count: tables.length, tables } };
  },
});

