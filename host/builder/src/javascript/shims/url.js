// Node's `url`, over the global URL.
const { URL, URLSearchParams } = globalThis;
export { URL, URLSearchParams };

export const fileURLToPath = (url) => decodeURIComponent(new URL(url).pathname);
export const pathToFileURL = (path) => new URL(`file://${path.startsWith("/") ? "" : "/"}${encodeURI(path).replace(/[?#]/g, encodeURIComponent)}`);
export const domainToASCII = (domain) => new URL(`http://${domain}`).hostname;
export const domainToUnicode = (domain) => domain;

export function parse(text, query = false) {
  let url;
  let base = "";
  try {
    url = new URL(text);
  } catch {
    base = "relative://here";
    url = new URL(text, `${base}/`);
  }
  const given = (value) => (value === "" ? null : value);
  const relative = base !== "";
  return {
    protocol: relative ? null : url.protocol,
    slashes: relative ? null : text.includes("://"),
    auth: url.username === "" ? null : url.username + (url.password === "" ? "" : `:${url.password}`),
    host: relative ? null : given(url.host),
    port: given(url.port),
    hostname: relative ? null : given(url.hostname),
    hash: given(url.hash),
    search: given(url.search),
    query: query ? Object.fromEntries(url.searchParams) : given(url.search.slice(1)),
    pathname: relative && !text.startsWith("/") ? given(url.pathname.slice(1)) : given(url.pathname),
    path: given(url.pathname + url.search),
    href: text,
  };
}

export function format(url) {
  if (typeof url === "string" || url instanceof URL) return String(url);
  const protocol = url.protocol ? `${url.protocol.replace(/:$/, "")}:` : "";
  const host = url.host ?? (url.hostname ? url.hostname + (url.port ? `:${url.port}` : "") : "");
  const query = url.search ?? (url.query && typeof url.query === "object" ? String(new URLSearchParams(url.query)) : "");
  const search = query === "" || query === null || query.startsWith("?") ? query ?? "" : `?${query}`;
  return `${protocol}${host === "" ? "" : `//${url.auth ? `${url.auth}@` : ""}${host}`}${url.pathname ?? ""}${search}${url.hash ?? ""}`;
}

export function resolve(from, to) {
  const base = new URL(from, "resolve://");
  const resolved = new URL(to, base);
  return resolved.protocol === "resolve:" ? resolved.pathname + resolved.search + resolved.hash : resolved.href;
}

export default { URL, URLSearchParams, fileURLToPath, pathToFileURL, domainToASCII, domainToUnicode, parse, format, resolve };
