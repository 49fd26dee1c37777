// Tells each new conversation what a person at the desk would know: your own text, when it began, who is
// asking, and the state of a git repository. What cannot be had is left out, with a line in the log.
import { defineHook, host, log } from "aih-plugin";

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const two = (number) => String(number).padStart(2, "0");

/** One line of at most `most` characters: names and subjects come from outside, and may not add lines of their own. */
function line(text, most = 120) {
  const flat = String(text).replace(/[\s\p{C}]+/gu, " ").trim();
  return flat.length <= most ? flat : `${flat.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

/** `at` on the clock of an offset such as `+02:00`. The sandbox has no time zone tables, hence no zone names. */
function when(at, offset) {
  const [, sign, hours, minutes] = /^([+-])(\d\d):([0-5]\d)$/.exec(offset === "UTC" ? "+00:00" : offset) ?? [];
  if (sign === undefined) throw new TypeError(`config.utc_offset is "UTC" or as "+02:00", not ${JSON.stringify(offset)}`);
  const there = new Date(Date.parse(at) + (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000);
  const date = `${there.getUTCFullYear()}-${two(there.getUTCMonth() + 1)}-${two(there.getUTCDate())}`;
  const zone = offset === "UTC" ? "UTC" : `UTC${offset}`;
  return `This conversation began on ${DAYS[there.getUTCDay()]}, ${date}, at ${two(there.getUTCHours())}:${two(there.getUTCMinutes())} (${zone}).`;
}

function who({ principal, client }) {
  const name = client?.info?.title ?? client?.info?.name;
  const program = name === undefined ? "" : line(`${name} ${client.info.version ?? ""}`, 80);
  if (principal === undefined) return program === "" ? "" : `The client is ${program}.`;
  return `The caller is the key "${line(principal, 80)}"${program === "" ? "" : `, with ${program}`}.`;
}

/** The text that a tool of mcp-server-git answers, or nothing. */
async function ask(server, tool, args) {
  try {
    const result = await host.mcp.callTool(server, tool, args);
    const text = result.content.map((block) => block.text ?? "").join("\n");
    if (result.isError) throw new Error(line(text, 300));
    return text;
  } catch (error) {
    log.warn(`left out: ${tool} of ${server}: ${error.message}`);
    return "";
  }
}

/** A sentence for a repository, from the tools of mcp-server-git. */
async function git({ server = "git", repo_path }) {
  if (typeof repo_path !== "string") throw new TypeError("config.git wants `repo_path`, the path of a repository as the git server sees it");
  const status = await ask(server, "git_status", { repo_path });
  let branch = /^On branch (.+)$/m.exec(status)?.[1] ?? /^HEAD detached at .+$/m.exec(status)?.[0];
  if (branch === undefined) branch = /^\* (.+)$/m.exec(await ask(server, "git_branch", { repo_path, branch_type: "local" }))?.[1];
  const log = await ask(server, "git_log", { repo_path, max_count: 1 });
  // mcp-server-git writes the commit and its message as Python literals.
  const commit = /^Commit: '?([0-9a-f]{7,64})/m.exec(log)?.[1].slice(0, 10);
  const subject = /^Message: (['"]?)(.*?)(?:\\n.*)?\1$/m.exec(log)?.[2].replace(/\\(['"\\])/g, "$1");

  const facts = [];
  if (branch !== undefined) facts.push(branch.startsWith("HEAD") ? line(branch) : `branch ${line(branch)}`);
  if (commit !== undefined) facts.push(`last commit ${commit}${subject ? ` "${line(subject, 100)}"` : ""}`);
  if (status !== "") facts.push(/working tree clean/.test(status) ? "no uncommitted changes" : "uncommitted changes");
  return facts.length === 0 ? "" : `Git repository ${line(repo_path, 200)}: ${facts.join(", ")}.`;
}

defineHook({
  on: ["conversation.start", "manual"],
  async handler({ payload }) {
    const parts = [host.config.get("text", [])].flat().map(String);
    if (host.config.get("time", true)) parts.push(when(payload.at, host.config.get("utc_offset", "UTC")));
    if (host.config.get("caller", true)) parts.push(who(payload));
    for (const repository of [host.config.get("git", [])].flat()) parts.push(await git(repository));

    const instructions = parts.filter((part) => part !== "").join("\n");
    return instructions === "" ? undefined : { replace: { instructions } };
  },
});
