// robots.txt by RFC 9309: groups, the longest match, `*` and `$`.

const MOST_CHARACTERS = 512_000;

/** The rules of a robots.txt that hold for a product token, such as "aih-web-scraper". */
export function parseRobots(text, product) {
  const wanted = product.toLowerCase();
  const own = [];
  const others = [];
  let agents = [];
  let inRules = false;
  let named = false;
  for (const raw of text.slice(0, MOST_CHARACTERS).split(/\r\n|\r|\n/)) {
    const line = raw.replace(/#.*$/, "").trim();
    const colon = line.indexOf(":");
    if (colon < 0) continue;
    const key = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (key === "user-agent") {
      if (inRules) agents = [];
      inRules = false;
      // The token ends where a version begins: "aih-web-scraper/1.0".
      const agent = /^[a-zA-Z_-]+|^\*/.exec(value)?.[0].toLowerCase();
      if (agent !== undefined) agents.push(agent);
      if (agent === wanted) named = true;
    } else if (key === "allow" || key === "disallow") {
      inRules = true;
      // An empty rule matches nothing.
      if (value === "") continue;
      const rule = { allow: key === "allow", pattern: normalise(value) };
      if (agents.includes(wanted)) own.push(rule);
      if (agents.includes("*")) others.push(rule);
    }
  }
  return named ? own : others;
}

/** Whether the rules let an address be fetched. */
export function isAllowed(rules, url) {
  const path = normalise(url.pathname + url.search);
  if (path === "/robots.txt") return true;
  let best;
  for (const rule of rules) {
    if (!matches(rule.pattern, path)) continue;
    const longer = best === undefined || rule.pattern.length > best.pattern.length;
    if (longer || (rule.pattern.length === best.pattern.length && rule.allow)) best = rule;
  }
  return best?.allow ?? true;
}

/** The same path for `/a%7eb`, `/a%7Eb` and `/a~b`. */
function normalise(path) {
  return path
    .replace(/[^\x21-\x7e]+/g, (found) => encodeURI(found.replace(/[\ud800-\udfff]/g, "")))
    .replace(/%[0-9a-fA-F]{2}/g, (code) => {
      const char = String.fromCharCode(parseInt(code.slice(1), 16));
      return /[A-Za-z0-9\-._~]/.test(char) ? char : code.toUpperCase();
    });
}

/** `*` is any text, `$` at the end is the end. Without backtracking: a pattern cannot make it slow. */
function matches(pattern, path) {
  const anchored = pattern.endsWith("$");
  const parts = (anchored ? pattern.slice(0, -1) : pattern).split("*");
  const last = parts.length - 1;
  if (!path.startsWith(parts[0])) return false;
  let at = parts[0].length;
  for (let i = 1; i <= last; i++) {
    if (i === last && anchored) return path.length - parts[i].length >= at && path.endsWith(parts[i]);
    const found = path.indexOf(parts[i], at);
    if (found < 0) return false;
    at = found + parts[i].length;
  }
  return !anchored || at === path.length;
}
