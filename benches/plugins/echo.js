import { defineTool } from "aih-plugin";

defineTool({
  name: "echo",
  description: "Answers what it is given.",
  input: { type: "object", properties: { message: { type: "string" } }, required: ["message"] },
  handler: async ({ message }) => message,
});
