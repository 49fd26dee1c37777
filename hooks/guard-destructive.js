// Stops calls that destroy something, unless the person at the client says yes. A client that cannot ask its
// person gets a no. This keeps a model from accidents; what a key must never do, take from its permissions.
import { defineHook, host, log } from "aih-plugin";

const WORDS = ["delete", "remove", "drop", "destroy", "purge", "reset", "force", "wipe", "truncate", "erase"];
// Git and the options that may stand before its command.
const GIT = "\\bgit\\s+(?:-\\S+\\s+(?:[^-\\s]\\S*\\s+)?){0,4}";
// Between a command and its option at most 200 characters that do not end the command.
const SHELL_AND_SQL = [
  ["removes files recursively", /\brm\s+(?:-\S+\s+){0,9}(?:-\w*[rR]\w*|--recursive)\b/],
  ["removes what `find` finds", /\bfind\s[^;|&]{0,200}\s-delete\b/],
  ["writes over a disk", /\bmkfs\b|\bdd\s[^;|&]{0,200}\bof=\/dev\/|>\s*\/dev\/(?:sd|nvme|disk)/],
  ["rewrites what was pushed", new RegExp(`${GIT}push\\s(?:[^;|&]{0,200}\\s)?(?:--force\\S*|-\\w*f\\w*|--mirror|--delete|\\+\\S+)(?=[\\s;|&"']|$)`)],
  ["throws uncommitted work away", new RegExp(`${GIT}(?:reset\\s[^;|&]{0,200}?--hard|clean\\s+-\\w*f|checkout\\s+--\\s|branch\\s+-D\\b)`)],
  ["drops what is in a database", /\b(?:drop\s+(?:table|database|schema|view|index|user|role|column)|truncate\s+(?:table\s+)?["`[\w]|flush(?:all|db)\b)/i],
  ["deletes all rows of a table", /\bdelete\s+from\s+[^\s;]+\s*(?:;|$)/im],
  ["destroys infrastructure", /\b(?:terraform|tofu|pulumi)\s[^;|&]{0,200}?\bdestroy\b|\bkubectl\s[^;|&]{0,200}?\bdelete\b|\bdocker\s+(?:system|volume)\s+prune\b|\baws\s+s3\s+(?:rb|rm\s[^;|&]{0,200}--recursive)\b/],
];

/** `createFile_v2` is create, file, v2. */
const words = (name) => name.replace(/([a-z\d])([A-Z])/g, "$1 $2").toLowerCase().split(/[^a-z\d]+/);
/** A pattern in which `*` is any text. */
const like = (pattern) => new RegExp(`^${String(pattern).replace(/[^*\w]/g, "\\$&").replace(/\*/g, "[^]*")}$`, "i");

/** Every text in the arguments, one a line: a command and its options may stand in fields of their own. */
function texts(value) {
  if (typeof value === "string") return [value];
  return value !== null && typeof value === "object" ? Object.values(value).flatMap(texts) : [];
}

/** What a rule of `config.rules` says of a call: its reason where each pattern that it has matches. */
function matches({ server = "*", tool = "*", argument }, call, text) {
  return like(server).test(call.server) && like(tool).test(call.tool) && (argument === undefined || new RegExp(argument, "im").test(text));
}

/** `{ action: "allow" | "ask" | "deny", reason }`. The first rule that matches decides, the defaults come last. */
function judge(call) {
  const text = texts(call.arguments).join("\n");
  for (const rule of host.config.get("rules", [])) {
    if (!matches(rule, call, text)) continue;
    const { action = "ask", reason = "it matches a rule of this hub" } = rule;
    if (!["allow", "ask", "deny"].includes(action)) throw new TypeError(`config.rules: an action is "allow", "ask" or "deny", not ${JSON.stringify(action)}`);
    return { action, reason };
  }
  if (host.config.get("defaults", true)) {
    const word = words(call.tool).find((word) => WORDS.includes(word));
    if (word !== undefined) return { action: "ask", reason: `the tool's name says "${word}"` };
    const found = SHELL_AND_SQL.find(([, pattern]) => pattern.test(text));
    if (found !== undefined) return { action: "ask", reason: `it ${found[0]}` };
  }
  return { action: "allow" };
}

/** Asks the person. Answers why not, or nothing for a yes. */
async function refused(call, reason, principal) {
  const json = JSON.stringify(call.arguments ?? {}, undefined, 1);
  const shown = json.length > 1000 ? `${json.slice(0, 1000)}… (${json.length} characters in all)` : json;
  try {
    const answer = await host.client.elicit(
      `${principal ? `"${principal}" wants to call` : "Call"} ${call.server}/${call.tool}: ${reason}. Arguments:\n${shown}`,
      { type: "object", properties: { run: { type: "boolean", title: "Run it", default: false } }, required: ["run"] },
    );
    if (answer.action === "accept" && answer.content?.run === true) return undefined;
    return answer.action === "cancel" ? "the person did not answer" : "the person said no";
  } catch (error) {
    if (error.code === "unsupported") return "this client cannot ask its person to confirm it";
    if (error.code === "not-granted") return "this hub may not ask the person: grants.client lacks elicit";
    return `the person could not be asked (${error.message})`;
  }
}

defineHook({
  on: ["tool.before", "manual"],
  async handler({ name, payload }) {
    // By hand, with `{"server": …, "tool": …, "arguments": …}`: what would be done, without asking anybody.
    const call = { server: "", tool: "", ...(name === "manual" ? payload.payload : payload) };
    const { action, reason } = judge(call);
    if (name === "manual") return { result: { action, reason } };
    if (action === "allow") return undefined;
    const why = action === "deny" ? "it is forbidden here" : await refused(call, reason, payload.principal);
    log.info(why === undefined ? "confirmed" : "denied", { server: call.server, tool: call.tool, reason, why });
    return why === undefined ? undefined : { deny: `${call.server}/${call.tool} was not run: ${reason}, and ${why}. Do not try another way around; tell the person.` };
  },
});
