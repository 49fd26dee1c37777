import { defineTool } from "aih-plugin";

interface Count {
  words: number;
}

function count(text: string): Count {
  return { words: text.split(/\s+/).filter((word) => word !== "").length };
}

defineTool({
  name: "count_words",
  description: "Counts the words of a text",
  input: {
    type: "object",
    properties: { text: { type: "string", description: "The text" } },
    required: ["text"],
    additionalProperties: false,
  },
  handler: ({ text }) => count(text),
});
