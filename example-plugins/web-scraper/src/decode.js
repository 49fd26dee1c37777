// Bytes of a page as text: the BOM, then the header, then what the page says of itself, as browsers do.

const HTML = /^(text\/html|application\/xhtml\+xml)$/;
const TEXT = /^(text\/|application\/(json|xml|javascript|ld\+json|x-yaml|yaml)|[a-z]+\/[a-z0-9.-]+\+(json|xml)$)/;

/** The media type and charset of a `content-type` header. */
export function contentType(header) {
  const type = (header ?? "").split(";")[0].trim().toLowerCase();
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(header ?? "")?.[1];
  return { type, charset, isHtml: HTML.test(type), isText: TEXT.test(type) };
}

/** The charset that the first kilobyte of a page names. */
function declared(bytes) {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 1024));
  const found = /<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)/i.exec(head) ?? /^<\?xml[^>]+encoding\s*=\s*["']([\w.:-]+)/.exec(head);
  // A page that was read as ASCII so far is not in UTF-16, whatever it says.
  return found === null ? undefined : /^utf-16/i.test(found[1]) ? "utf-8" : found[1];
}

function bom(bytes) {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return "utf-8";
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return "utf-16le";
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return "utf-16be";
  return undefined;
}

/** The text of a page and the charset that it was read in. */
export function decodePage(bytes, header) {
  const { charset, isHtml } = contentType(header);
  const named = bom(bytes) ?? charset ?? (isHtml ? declared(bytes) : undefined);
  if (named !== undefined) {
    try {
      const decoder = new TextDecoder(named);
      return { text: decoder.decode(bytes), charset: decoder.encoding };
    } catch (error) {
      if (charset === undefined || named !== charset) throw new Error(`the page is in the charset "${named}", which this plugin cannot read`);
      // A header with a misspelt charset is common; the page may know better.
      const inside = declared(bytes);
      if (inside === undefined) throw new Error(`the page is in the charset "${named}", which this plugin cannot read`);
      return { text: new TextDecoder(inside).decode(bytes), charset: inside };
    }
  }
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), charset: "utf-8" };
  } catch {
    return { text: new TextDecoder("windows-1252").decode(bytes), charset: "windows-1252" };
  }
}
