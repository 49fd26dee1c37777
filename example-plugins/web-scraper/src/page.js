// A parsed page and what stands in it: title, metadata, links, tables, selected parts.
import { compile, selectAll, is } from "css-select";
import { parse } from "parse5";
import { adapter } from "parse5-htmlparser2-tree-adapter";

export { is };

/** Parses HTML as browsers do. */
export function parsePage(html, url) {
  const document = parse(html, { treeAdapter: adapter });
  const base = first(document, "base[href]")?.attribs.href;
  return { document, url, base: (base === undefined ? null : URL.parse(base, url)) ?? new URL(url), addresses: new Map() };
}

/** A selector that can be used again, or an error that says what is wrong with it. */
export function selector(text) {
  try {
    return compile(text);
  } catch (error) {
    throw new Error(`"${text}" is no CSS selector: ${error.message}`);
  }
}

export const all = (node, query) => selectAll(query, node);
export const first = (node, query) => selectAll(query, node)[0];

const SILENT = new Set(["script", "style", "template", "noscript", "svg", "head"]);
const BLOCKS = new Set("address article aside blockquote br dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table tbody td tfoot th thead tr ul".split(" "));

/** The text of a node as one line. */
export function lineOf(node) {
  let text = "";
  const walk = (at) => {
    if (at.type === "text") text += at.data;
    else if (at.type === "tag" && !SILENT.has(at.name)) {
      const isBlock = BLOCKS.has(at.name);
      if (isBlock) text += " ";
      if (at.name === "img" && at.attribs.alt) text += at.attribs.alt;
      for (const child of at.children) walk(child);
      if (isBlock) text += " ";
    } else if (at.type === "root") for (const child of at.children) walk(child);
  };
  walk(node);
  return collapse(text);
}

export const collapse = (text) => text.replace(/[\s\u00a0]+/g, " ").trim();

/** An address in the page as an absolute one, or `undefined`. Pages name the same addresses again and again. */
export function resolve(page, address) {
  let known = page.addresses.get(address);
  if (known === undefined) {
    known = URL.parse(address.trim(), page.base)?.href ?? null;
    page.addresses.set(address, known);
  }
  return known ?? undefined;
}

const ABOUT = new Set(["html", "title", "meta", "link", "script", "time"]);

/** The elements that say something of the page, by name, in one walk. */
function aboutThePage(page) {
  const found = Object.fromEntries([...ABOUT].map((name) => [name, []]));
  const walk = (node) => {
    if (ABOUT.has(node.name)) found[node.name].push(node);
    // A title in a drawing is the drawing's.
    if (node.name !== "svg") for (const child of node.children ?? []) walk(child);
  };
  walk(page.document);
  return found;
}

/** Title, language, canonical address, OpenGraph, Twitter, JSON-LD and the rest that pages say of themselves. */
export function metadata(page) {
  const about = aboutThePage(page);
  const named = new Map();
  for (const { attribs } of about.meta) {
    const name = (attribs.property ?? attribs.name)?.toLowerCase();
    if (name === undefined || attribs.content === undefined) continue;
    const value = attribs.content.trim();
    // Images and the like may be there more than once.
    named.set(name, named.has(name) ? [].concat(named.get(name), value) : value);
  }
  const meta = (name) => [named.get(name)].flat()[0];
  const prefixed = (prefix) => {
    const found = [...named].filter(([name]) => name.startsWith(prefix)).map(([name, value]) => [name.slice(prefix.length), value]);
    return found.length > 0 ? Object.fromEntries(found) : undefined;
  };
  const related = (rel) => about.link.filter(({ attribs }) => attribs.href !== undefined && (attribs.rel ?? "").toLowerCase().split(/\s+/).includes(rel));
  const link = (rel) => related(rel).map(({ attribs }) => resolve(page, attribs.href))[0];
  const jsonLd = about.script.filter(({ attribs }) => attribs.type?.trim().toLowerCase() === "application/ld+json").flatMap((script) => {
    try {
      return [JSON.parse(rawOf(script))];
    } catch {
      return [];
    }
  });
  const html = about.html[0]?.attribs ?? {};
  return drop({
    title: about.title[0] === undefined ? undefined : collapse(rawOf(about.title[0])),
    description: meta("description"),
    language: html.lang ?? html["xml:lang"],
    canonical: link("canonical"),
    author: meta("author"),
    published: meta("article:published_time") ?? about.time.find(({ attribs }) => attribs.datetime !== undefined)?.attribs.datetime,
    keywords: meta("keywords"),
    robots: meta("robots"),
    icon: link("icon"),
    feeds: related("alternate").filter(({ attribs }) => /^application\/(rss|atom)\+xml$/i.test(attribs.type ?? "")).map(({ attribs }) => resolve(page, attribs.href)),
    open_graph: prefixed("og:"),
    twitter: prefixed("twitter:"),
    json_ld: jsonLd,
  });
}

const rawOf = (element) => element.children.map((child) => child.data ?? "").join("");

/** An object without what is missing or empty. */
export function drop(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined && value !== "" && !(Array.isArray(value) && value.length === 0)));
}

/** The links of a part of the page, absolute and each once. */
export function links(page, within = page.document) {
  const found = new Map();
  const site = new URL(page.url).origin;
  for (const element of all(within, "a[href], area[href]")) {
    const address = resolve(page, element.attribs.href);
    if (address === undefined || !/^(https?|mailto|tel):/.test(address)) continue;
    const text = lineOf(element) || element.attribs.title || element.attribs["aria-label"] || "";
    const known = found.get(address);
    if (known !== undefined) {
      if (known.text === "") known.text = text;
      continue;
    }
    found.set(address, drop({ url: address, text, rel: element.attribs.rel, internal: address === site || address.startsWith(`${site}/`) }));
    found.get(address).text ??= "";
  }
  return [...found.values()];
}

const MOST_SPAN = 200;

/** A table as rows of text, with what spans several cells in each of them. */
export function table(element) {
  const own = (query) => all(element, query).filter((node) => nearest(node.parent, "table") === element);
  const rows = [];
  const open = [];
  let heads = 0;
  for (const row of own("tr")) {
    const cells = row.children.filter((child) => child.type === "tag" && (child.name === "td" || child.name === "th"));
    const line = [];
    const take = () => {
      while (open[line.length]?.left > 0) {
        open[line.length].left--;
        line.push(open[line.length].text);
      }
    };
    for (const cell of cells) {
      take();
      const text = lineOf(cell);
      const wide = Math.min(Math.max(Number.parseInt(cell.attribs.colspan, 10) || 1, 1), MOST_SPAN);
      const high = Math.min(Math.max(Number.parseInt(cell.attribs.rowspan, 10) || 1, 1), MOST_SPAN);
      for (let i = 0; i < wide; i++) {
        open[line.length] = { left: high - 1, text };
        line.push(text);
      }
    }
    take();
    if (line.length === 0) continue;
    const isHead = row.parent.name === "thead" || (cells.length > 0 && cells.every((cell) => cell.name === "th"));
    if (isHead && rows.length === heads) heads++;
    rows.push(line);
  }
  // Several rows of headings become one: "2024 / Q1".
  const headers = heads === 0 ? [] : rows[0].map((_, column) => [...new Set(rows.slice(0, heads).map((row) => row[column] ?? "").filter((text) => text !== ""))].join(" / "));
  const caption = own("caption")[0];
  return { caption: caption === undefined ? null : lineOf(caption), headers, rows: rows.slice(heads) };
}

export function nearest(node, name) {
  for (let at = node; at !== null && at !== undefined; at = at.parent) if (at.type === "tag" && at.name === name) return at;
  return undefined;
}
