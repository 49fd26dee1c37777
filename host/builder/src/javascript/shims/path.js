// Node's `path` for POSIX paths, with `/` as the working directory.
export const sep = "/";
export const delimiter = ":";

export function isAbsolute(path) {
  return path.startsWith("/");
}

export function normalize(path) {
  if (path === "") return ".";
  const parts = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (part !== ".." || !isAbsolute(path)) parts.push(part);
  }
  const joined = parts.join("/");
  const end = path.endsWith("/") && joined !== "" ? "/" : "";
  return isAbsolute(path) ? `/${joined}${end}` : `${joined || "."}${joined === "" && path.endsWith("/") ? "/" : end}`;
}

export function join(...paths) {
  return normalize(paths.filter((path) => path !== "").join("/"));
}

export function resolve(...paths) {
  let path = "";
  for (const next of ["/", ...paths]) {
    if (next !== "") path = isAbsolute(next) ? next : `${path}/${next}`;
  }
  const normal = normalize(path);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}

export function relative(from, to) {
  const [a, b] = [resolve(from), resolve(to)].map((path) => path.split("/").filter((part) => part !== ""));
  let same = 0;
  while (same < a.length && same < b.length && a[same] === b[same]) same += 1;
  return [...a.slice(same).map(() => ".."), ...b.slice(same)].join("/");
}

export function dirname(path) {
  const trimmed = path.replace(/(?<=.)\/+$/, "");
  const at = trimmed.lastIndexOf("/");
  if (at < 0) return ".";
  return trimmed.slice(0, at).replace(/(?<=.)\/+$/, "") || "/";
}

export function basename(path, suffix = "") {
  const name = path.replace(/\/+$/, "").split("/").at(-1);
  return suffix !== "" && name !== suffix && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}

export function extname(path) {
  const name = basename(path);
  const at = name.lastIndexOf(".");
  return at <= 0 ? "" : name.slice(at);
}

export function parse(path) {
  const base = basename(path);
  const ext = extname(path);
  const root = isAbsolute(path) ? "/" : "";
  const dir = path.includes("/") ? dirname(path) : "";
  return { root, dir, base, ext, name: ext === "" ? base : base.slice(0, -ext.length) };
}

export function format({ root = "", dir, base, name = "", ext = "" }) {
  const file = base ?? `${name}${ext === "" || ext.startsWith(".") ? ext : `.${ext}`}`;
  if (!dir) return `${root}${file}`;
  return dir === root ? `${dir}${file}` : `${dir}/${file}`;
}

export const toNamespacedPath = (path) => path;

const path = { sep, delimiter, isAbsolute, normalize, join, resolve, relative, dirname, basename, extname, parse, format, toNamespacedPath };
path.posix = path;
export const posix = path;
export default path;
