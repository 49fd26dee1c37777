// The readable part of a page as Markdown or as plain text.
import { all, collapse, first, lineOf, nearest, resolve, table } from "./page.js";

const NOT_CONTENT = "script, style, template, noscript, svg, canvas, iframe, object, embed, link, meta, nav, aside, dialog, button, select, input, textarea, [hidden], [aria-hidden=true], [role=navigation], [role=banner], [role=contentinfo], [role=search], [role=complementary], [role=dialog]";
const FRAME = "body > header, body > footer, body > div > header, body > div > footer";
const ENOUGH = 200;

/** The element that holds what the page is about. */
export function mainPart(page) {
  const body = first(page.document, "body") ?? page.document;
  const named = all(body, "main, [role=main], article").map((element) => ({ element, length: lineOf(element).length })).sort((a, b) => b.length - a.length)[0];
  if (named !== undefined && named.length >= ENOUGH) return named.element;
  // No part is marked: the one whose own paragraphs hold the most text that is not links.
  const scores = new Map();
  for (const paragraph of all(body, "p, pre, blockquote, li, td, h2, h3")) {
    if (nearest(paragraph, "nav") || nearest(paragraph, "footer") || nearest(paragraph, "aside")) continue;
    const linked = all(paragraph, "a").reduce((sum, link) => sum + lineOf(link).length, 0);
    const score = lineOf(paragraph).length - 2 * linked;
    let at = paragraph.parent;
    for (let share = 1; at?.type === "tag" && at.name !== "body" && share > 0.2; at = at.parent, share /= 2) scores.set(at, (scores.get(at) ?? 0) + score * share);
  }
  let best;
  for (const [element, score] of scores) if (best === undefined || score > best.score) best = { element, score };
  const whole = lineOf(body).length;
  return best !== undefined && lineOf(best.element).length > whole / 3 ? best.element : body;
}

/** Renders a part of a page. `form` is "markdown" or "text". */
export function render(page, part, form) {
  const skipped = new Set([...all(part, NOT_CONTENT), ...(part.name === "body" ? all(part, FRAME) : [])]);
  return new Writer(page, form === "markdown", skipped).blocks(part.children ?? []).join("\n\n").replace(/\n{3,}/g, "\n\n").trim();
}

const INLINE = new Set("a abbr acronym b bdi bdo big br cite code data del dfn em font i img ins kbd label mark math meter output picture progress q ruby rt rp s samp small span strike strong sub sup time tt u var wbr video audio source track map area".split(" "));

class Writer {
  constructor(page, marks, skipped) {
    this.page = page;
    this.marks = marks;
    this.skipped = skipped;
  }

  /** The blocks that a list of nodes makes: each a text without blank lines around it. */
  blocks(nodes) {
    const blocks = [];
    let run = [];
    const flush = () => {
      const text = this.inline(run).replace(/ *\n */g, "\n").trim();
      if (text !== "") blocks.push(text);
      run = [];
    };
    for (const node of nodes) {
      if (this.skipped.has(node)) continue;
      if (node.type === "text" || (node.type === "tag" && INLINE.has(node.name) && !this.hasBlocks(node))) {
        run.push(node);
      } else if (node.type === "tag") {
        flush();
        blocks.push(...this.block(node));
      }
    }
    flush();
    return blocks;
  }

  hasBlocks(node) {
    return node.children.some((child) => child.type === "tag" && !this.skipped.has(child) && (!INLINE.has(child.name) || this.hasBlocks(child)));
  }

  block(node) {
    const inner = () => this.blocks(node.children);
    switch (node.name) {
      case "h1": case "h2": case "h3": case "h4": case "h5": case "h6": {
        const text = collapse(this.inline(node.children));
        return text === "" ? [] : [this.marks ? `${"#".repeat(Number(node.name[1]))} ${text}` : text];
      }
      case "hr": return this.marks ? ["---"] : [];
      case "pre": return this.code(node);
      case "blockquote": {
        const text = inner().join("\n\n");
        return text === "" ? [] : [this.marks ? text.replace(/^/gm, "> ").replace(/^> $/gm, ">") : text];
      }
      case "ul": case "ol": case "menu": return this.list(node);
      case "dl": return this.definitions(node);
      case "table": return this.table(node);
      default: return inner();
    }
  }

  code(node) {
    const text = rawText(node).replace(/^\n/, "").trimEnd();
    if (text === "" || !this.marks) return text === "" ? [] : [text];
    const language = /(?:^|\s)(?:language|lang|highlight)-([\w+#-]+)/.exec(`${node.attribs.class ?? ""} ${first(node, "code")?.attribs.class ?? ""}`)?.[1] ?? "";
    const fence = "`".repeat(Math.max(3, ...(text.match(/`+/g) ?? []).map((ticks) => ticks.length + 1)));
    return [`${fence}${language}\n${text}\n${fence}`];
  }

  list(node) {
    let number = Number.parseInt(node.attribs.start, 10);
    if (Number.isNaN(number)) number = 1;
    const lines = [];
    for (const child of node.children) {
      if (child.type !== "tag" || this.skipped.has(child)) continue;
      const blocks = this.blocks(child.children);
      if (blocks.length === 0) continue;
      const mark = node.name === "ol" ? `${number++}. ` : "- ";
      // A list in an item follows it closely; other blocks stand apart.
      const text = blocks.reduce((sum, block, i) => sum + (i === 0 ? block : (/^(- |\d+\. )/.test(block) ? "\n" : "\n\n") + block), "");
      lines.push(mark + text.replace(/\n(?=.)/g, `\n${" ".repeat(mark.length)}`));
    }
    return lines.length === 0 ? [] : [lines.join("\n")];
  }

  definitions(node) {
    const lines = [];
    for (const child of all(node, "dt, dd")) {
      if (this.skipped.has(child) || nearest(child.parent, "dl") !== node) continue;
      const text = this.blocks(child.children).join("\n");
      if (text !== "") lines.push(child.name === "dt" ? (this.marks ? `**${text}**` : text) : `: ${text.replace(/\n/g, "\n  ")}`);
    }
    return lines.length === 0 ? [] : [lines.join("\n")];
  }

  table(node) {
    const { caption, headers, rows } = table(node);
    const width = Math.max(headers.length, ...rows.map((row) => row.length));
    // A table of one column, or with tables inside, is layout.
    if (width < 2 || all(node, "table").length > 0) return this.blocks(all(node, "td, th").filter((cell) => nearest(cell.parent, "table") === node).flatMap((cell) => [...cell.children, BREAK]));
    const cell = (text) => (text ?? "").replace(/\|/g, "\\|");
    const line = (cells) => (this.marks ? `| ${Array.from({ length: width }, (_, i) => cell(cells[i])).join(" | ")} |` : cells.join("\t"));
    const lines = this.marks ? [line(headers), `|${" --- |".repeat(width)}`, ...rows.map(line)] : [...(headers.length > 0 ? [line(headers)] : []), ...rows.map(line)];
    return [...(caption === null || caption === "" ? [] : [this.marks ? `**${caption}**` : caption]), lines.join("\n")];
  }

  inline(nodes) {
    let text = "";
    for (const node of nodes) {
      if (this.skipped.has(node)) continue;
      const piece = node.type === "text" ? (this.marks ? escape(node.data.replace(/[\s\u00a0]+/g, " ")) : node.data.replace(/[\s\u00a0]+/g, " ")) : node.type === "tag" ? this.element(node) : "";
      text += /[ \n]$/.test(text) ? piece.replace(/^ +/, "") : piece;
    }
    return text;
  }

  element(node) {
    const inner = () => this.inline(node.children);
    switch (node.name) {
      case "br": return "\n";
      case "img": return this.image(node);
      case "a": return this.link(node, inner());
      case "b": case "strong": return this.wrap("**", inner());
      case "i": case "em": return this.wrap("*", inner());
      case "s": case "del": case "strike": return this.wrap("~~", inner());
      case "code": case "kbd": case "samp": case "tt": return this.codeSpan(collapse(rawText(node)));
      case "q": return `"${inner()}"`;
      case "sup": case "sub": return inner();
      case "video": case "audio": case "source": case "track": case "math": return node.name === "math" ? collapse(lineOf(node)) : "";
      default: return inner();
    }
  }

  wrap(mark, text) {
    if (!this.marks) return text;
    const [, before, inner, after] = /^(\s*)([\s\S]*?)(\s*)$/.exec(text);
    return inner === "" ? text : `${before}${mark}${inner}${mark}${after}`;
  }

  codeSpan(text) {
    if (!this.marks || text === "") return text;
    const ticks = "`".repeat(Math.max(1, ...(text.match(/`+/g) ?? []).map((found) => found.length + 1)));
    return ticks.length > 1 ? `${ticks} ${text} ${ticks}` : `\`${text}\``;
  }

  image(node) {
    const alt = collapse(node.attribs.alt ?? "");
    if (!this.marks) return alt;
    const address = node.attribs.src === undefined ? undefined : resolve(this.page, node.attribs.src);
    return address === undefined || address.startsWith("data:") ? alt : alt === "" ? "" : `![${alt.replace(/[[\]]/g, "\\$&")}](${address})`;
  }

  link(node, text) {
    const inner = collapse(text);
    if (!this.marks || inner === "" || node.attribs.href === undefined) return text;
    const address = resolve(this.page, node.attribs.href);
    if (address === undefined || /^javascript:/i.test(address)) return text;
    const spaces = [/^\s/.test(text) ? " " : "", /\s$/.test(text) ? " " : ""];
    return `${spaces[0]}[${inner}](${address.replace(/[()]/g, (char) => (char === "(" ? "%28" : "%29"))})${spaces[1]}`;
  }
}

/** Stands between two cells of a layout table. */
const BREAK = { type: "tag", name: "hr-none", children: [], attribs: {} };

const escape = (text) => text.replace(/([\\`*_[\]<])/g, "\\$1");

function rawText(node) {
  if (node.type === "text") return node.data;
  if (node.name === "br") return "\n";
  return (node.children ?? []).map(rawText).join("");
}
