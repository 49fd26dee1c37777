import { defineTool } from "aih-plugin";

defineTool({
  name: "echo",
  description: "Gives the text back.",
  input: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
  handler: async ({ text }) => text,
});
