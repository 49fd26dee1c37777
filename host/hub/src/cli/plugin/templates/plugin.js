import { defineTool } from "aih-plugin";

defineTool({
  name: "count_words",
  description: "Counts the words of a text",
  input: {
    type: "object",
    properties: { text: { type: "string", description: "The text" } },
    required: ["text"],
    additionalProperties: false,
  },
  handler: ({ text }) => ({ words: text.split(/\s+/).filter((word) => word !== "").length }),
});
