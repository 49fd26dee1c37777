import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { fake, send, thrown } from "./run.mjs";

await import("../guard-destructive.js");

let asked = [];
const answers = (answer) => { fake.client.elicit = (json) => { asked.push(JSON.parse(json)); return JSON.stringify(answer); }; };
beforeEach(() => { asked = []; fake.configured = {}; answers({ action: "decline" }); });
const call = (tool, args = {}, { server = "s", config } = {}) => send("tool.before", { principal: "cursor", server, tool, arguments: args }, { config });
const shell = (command) => call("run", { command });

test("harmless calls pass and ask nobody", async () => {
  for (const [tool, args] of [
    ["get_issue", { n: 1 }], ["undelete_note", {}], ["dropbox_list", {}], ["enforce", {}],
    ["run", { command: "rm file.txt" }], ["run", { command: "git push origin main" }], ["run", { command: "git commit -m 'refresh the form'" }],
    ["run", { command: "ls -rf; echo firm -r" }], ["run", { command: "git push origin main; tail -f log" }], ["query", { sql: "SELECT * FROM drops" }], ["query", { sql: "DELETE FROM t WHERE id = 1" }],
    ["run", { command: "docker run --rm -v /x:/x image" }], ["run", { command: "git reset HEAD file" }],
  ]) assert.equal((await call(tool, args)).tag, "proceed", JSON.stringify([tool, args]));
  assert.equal(asked.length, 0);
});

test("destructive names and arguments are asked about, and denied without a yes", async () => {
  for (const [tool, args] of [
    ["delete_repo", {}], ["repo-remove", {}], ["dropTable", {}], ["forcePush", {}], ["DB.PURGE", {}],
    ...["rm -rf /", "cd x && rm  -r -f y", "rm -f -R y", "rm --recursive y", "find . -name x -delete", "mkfs.ext4 /dev/sda", "dd if=x of=/dev/sda",
      "git push --force", "git push origin main -f", "git -C x push --force-with-lease origin", "git push origin +main", "git reset --hard HEAD~1", "git clean -fd", "git branch -D x",
      "terraform -chdir=x destroy", "kubectl delete pod x", "docker system prune", "aws s3 rm s3://x --recursive", "redis-cli FLUSHALL"].map((command) => ["run", { command }]),
    ["run", { command: "rm", args: ["-rf", "/"] }], ["run", { command: "git", args: ["push", "origin", "--force"] }],
    ["query", { sql: "drop table users" }], ["query", { a: [{ b: "x;\nDELETE FROM users;" }] }], ["query", { sql: "TRUNCATE TABLE t" }],
  ]) {
    const { tag, value } = await call(tool, args);
    assert.equal(tag, "deny", JSON.stringify([tool, args]));
    assert.match(value, /was not run: .*, and the person said no\./);
  }
});

test("the person sees the call and decides", async () => {
  answers({ action: "accept", content: { run: true } });
  assert.equal((await call("delete_repo", { repo: "x" }, { server: "github" })).tag, "proceed");
  assert.match(asked[0].message, /^"cursor" wants to call github\/delete_repo: the tool's name says "delete"\. Arguments:\n\{\n "repo": "x"\n\}$/);
  assert.deepEqual(asked[0].requestedSchema.required, ["run"]);
  answers({ action: "accept", content: { run: false } });
  assert.match((await shell("rm -rf x")).value, /the person said no/);
  answers({ action: "accept" });
  assert.equal((await shell("rm -rf x")).tag, "deny");
  answers({ action: "cancel" });
  assert.match((await shell("rm -rf x")).value, /did not answer/);
  await shell(`rm -rf ${"x".repeat(5000)}`);
  assert.ok(asked.at(-1).message.length < 1300);
});

test("whoever cannot be asked is denied, with the reason", async () => {
  const cannot = (...error) => { fake.client.elicit = () => { throw thrown(...error); }; };
  cannot("unsupported", "elicitation");
  assert.match((await shell("rm -rf x")).value, /this client cannot ask its person/);
  cannot("not-granted", "elicit");
  assert.match((await shell("rm -rf x")).value, /grants\.client lacks elicit/);
  cannot("timed-out");
  assert.match((await shell("rm -rf x")).value, /could not be asked/);
});

test("rules of the operator come first", async () => {
  const config = { rules: [
    { server: "sandbox*", action: "allow" },
    { tool: "pay_*", argument: '^\\d{5,}$', action: "deny", reason: "it is a large sum" },
    { tool: "send_mail" },
  ] };
  assert.equal((await call("delete_all", {}, { server: "sandbox-1", config })).tag, "proceed");
  assert.equal((await call("pay_bill", { sum: "99" }, { config })).tag, "proceed");
  assert.match((await call("pay_bill", { sum: "99999" }, { config })).value, /s\/pay_bill was not run: it is a large sum, and it is forbidden here/);
  assert.equal(asked.length, 0);
  assert.equal((await call("send_mail", {}, { config })).tag, "deny");
  assert.equal(asked.length, 1);
  assert.equal((await call("delete_x", {}, { config: { defaults: false } })).tag, "proceed");
  await assert.rejects(call("x", {}, { config: { rules: [{ action: "forbid" }] } }), /an action is "allow", "ask" or "deny"/);
  await assert.rejects(call("x", {}, { config: { rules: [{ argument: "(" }] } }), /regular expression/i);
});

test("by hand it says what it would do", async () => {
  const { result } = await send("manual", { payload: { server: "s", tool: "delete_x" }, by: "cli" }, { config: {} });
  assert.deepEqual(result, { action: "ask", reason: `the tool's name says "delete"` });
  assert.equal(asked.length, 0);
});

test("arguments that are made to be slow end", async () => {
  for (const part of ["rm -", "rm -x ", "git push ", "git -a ", "dd ", "delete from ", "-", "aws s3 rm "]) await call("run", { text: part.repeat(100_000 / part.length) });
});
